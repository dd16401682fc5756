//! A check of a volume of which footage is being overwritten in place, beside the writer or after it was cut off: no damage is told of
//! what is not zeros yet, and it is counted; of what is said to be finished, damage is.

use super::driver::{Driver, open_engine, shared};
use super::hold_tests::lapped;
use super::oracle::{Entry, StreamModel};
use super::{Verdict, demand, for_seeds};
use crate::disk::ReadAt;
use crate::disk::sim::{CrashPlan, SimControl, SimDisk, SimImage, SimReader, SimRng};
use crate::error::Error;
use crate::format::SECTOR_BYTES;
use crate::reader::Volume;
use crate::recover::{Recovered, contents, recover};
use crate::report::CheckReport;
use crate::scan::Scanner;
use crate::types::{StreamName, WallTime};
use crate::writer::EraseRequest;
use crate::writer::engine::Engine;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

fn checked(image: &SimImage) -> Verdict<CheckReport> {
    let volume = Volume::from_disk(shared(image), Path::new("proof")).map_err(|error| error.to_string())?;
    volume.check(&mut |_, _| ()).map_err(|error| error.to_string())
}

/// A writer that has begun to erase a stretch of a stream, the seed says which.
pub(super) fn erasing(seed: u64) -> Verdict<(Engine<SimDisk>, SimControl, SimRng)> {
    let (image, _) = lapped(seed, super::driver::Cuts::NONE)?.close()?;
    let mut rng = SimRng::new(seed);
    let volume = Volume::from_disk(shared(&image), Path::new("proof")).map_err(|error| error.to_string())?;
    let stream = StreamName::new("cam0").map_err(|error| error.to_string())?;
    let summary = volume.stream(&stream).map_err(|error| error.to_string())?;
    let (first, last) = summary.first.zip(summary.last).ok_or("nothing is there")?;
    let span = usize::try_from(last.since_ns(first)).unwrap_or_default();
    let (from, to) = match rng.coin() {
        true => (WallTime::MIN, WallTime::MAX),
        false => {
            let from = rng.below(span / 2);
            (first.plus_ns(from as i64), first.plus_ns((from + span / 2) as i64))
        }
    };
    let disk = SimDisk::from_image(image, seed);
    let control = disk.control();
    let mut engine = open_engine(disk)?;
    engine.begin_erase(&EraseRequest { stream, from, to }).map_err(|error| error.to_string())?;
    Ok((engine, control, rng))
}

#[test]
fn what_a_power_cut_left_half_overwritten_is_counted_and_is_no_damage() {
    for_seeds("checking what is half overwritten", 8760, 6, cut_off);
}

pub(super) fn cut_off(seed: u64) -> Verdict<u64> {
    let (mut engine, disk, mut rng) = erasing(seed)?;
    let (mut judged, mut counted) = (0, 0);
    for round in 0..40 {
        engine.round();
        let plans = CrashPlan::enumerate(disk.pending_sectors(), 6, rng.next_u64());
        for plan in plans {
            let image = disk.crash(plan);
            let report = checked(&image)?;
            demand!(report.findings.is_empty(), "round {round}, {plan:?}: {:#?}", report.findings);
            counted += report.overwriting;
            judged += 1;
        }
    }
    demand!(counted > 0, "nothing was ever half overwritten");
    engine.close().map_err(|error| error.to_string())?;
    let report = checked(&disk.crash(CrashPlan::None))?;
    demand!(report.findings.is_empty() && report.overwriting == 0, "after all: {report:#?}");
    Ok(judged)
}

#[test]
fn what_is_said_to_be_overwritten_and_is_not_zeros_is_damage() {
    for_seeds("checking what is overwritten", 8770, 4, finished);
}

pub(super) fn finished(seed: u64) -> Verdict<u64> {
    let (mut engine, disk, _) = erasing(seed)?;
    let mut judged = 0;
    for closed in [false, true] {
        match closed {
            false => (0..40).for_each(|_| drop(engine.round())),
            true => engine.close().map_err(|error| error.to_string())?,
        }
        let image = disk.crash(CrashPlan::None);
        let state = recover(&image, Path::new("proof")).map_err(|error| error.to_string())?;
        let scanner = Scanner { disk: &image, geometry: &state.geometry, volume: state.volume() };
        for block in state.geometry.all_blocks() {
            let row = state.row(block);
            let take = Recovered::take(block, &row);
            let (footer, _) = contents(&scanner, block, &row);
            let mut voids = footer.chunks.iter().filter(|place| place.kind.is_void() && place.bytes > 0);
            let Some(place) = voids.next().filter(|_| row.is_linked()) else { continue };
            let at = state.geometry.block_at(take.block) + u64::from(place.offset);
            let mut rotten = image.clone();
            rotten.write(at + SECTOR_BYTES as u64 + 7, &[0x40]);
            let report = checked(&rotten)?;
            let told: Vec<_> = report.findings.iter().map(|finding| (finding.what, finding.at)).collect();
            demand!(told == [("erased chunk", at)], "{block}, closed: {closed}: {report:#?}");
            demand!(report.overwriting == 0, "{block} is said to be unfinished: {report:#?}");
            judged += 1;
        }
    }
    demand!(judged > 0, "nothing was erased");
    Ok(judged)
}

/// A disk beside whose reader the writer goes on, between any two reads.
struct Beside {
    reader: SimReader,
    /// The writer, and for how many reads more it does nothing.
    writer: Mutex<(Engine<SimDisk>, usize, SimRng)>,
}

impl ReadAt for Beside {
    fn size_bytes(&self) -> u64 {
        self.reader.size_bytes()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let (engine, rest, rng) = &mut *writer;
        match rest.checked_sub(1) {
            Some(less) => *rest = less,
            None => {
                engine.round();
                *rest = rng.below(400);
            }
        }
        self.reader.read_exact_at(buffer, offset)
    }
}

#[test]
fn a_check_beside_a_writer_that_overwrites_meets_no_damage() {
    for_seeds("checking beside an erasure", 8780, 40, beside);
}

pub(super) fn beside(seed: u64) -> Verdict<u64> {
    let (engine, disk, rng) = erasing(seed)?;
    let writer = Mutex::new((engine, 0, rng));
    let disk: Arc<dyn ReadAt> = Arc::new(Beside { reader: disk.reader(), writer });
    for turn in 0..12 {
        let volume = Volume::from_disk(Arc::clone(&disk), Path::new("proof"));
        let volume = volume.map_err(|error| error.to_string())?;
        let report = volume.check(&mut |_, _| ()).map_err(|error| error.to_string())?;
        demand!(report.findings.is_empty(), "check {turn}: {:#?}", report.findings);
    }
    Ok(12)
}

/// What a writer that overwrites in place is told to do between two deeds of the scrub.
pub(super) fn overwrite_some(driver: &mut Driver) -> Verdict {
    // What is gone and when is judged elsewhere: here any of it may be.
    for stream in driver.model.streams.values_mut() {
        stream.erasing = stream.entries.iter().map(Entry::key).collect();
    }
    match driver.rng.below(40) {
        0..3 => {
            let name = if driver.rng.coin() { "cam0" } else { "cam1" };
            let walls = driver.model.streams.get(name).map(StreamModel::durable_walls).unwrap_or_default();
            let first = driver.rng.below(walls.len().max(1));
            let some = walls.get(first..).unwrap_or_default().iter().take(1 + driver.rng.below(80));
            let Some((from, to)) = some.clone().min().zip(some.max()) else { return Ok(()) };
            let stream = StreamName::new(name).map_err(|error| error.to_string())?;
            let request = EraseRequest { stream, from: *from, to: to.plus_ns(1) };
            match driver.watched_with(|engine| engine.begin_erase(&request), true)? {
                Ok(()) | Err(Error::NotRecorded { .. } | Error::Erasing { .. }) => Ok(()),
                Err(error) => Err(error.to_string()),
            }
        }
        3 => {
            driver.clock.advance(Duration::from_secs(600));
            (0..2).try_for_each(|which| driver.begin_configured_run(which))
        }
        4 => driver.power_cut(),
        5 => driver.reopen(),
        _ => driver.step(),
    }
}
