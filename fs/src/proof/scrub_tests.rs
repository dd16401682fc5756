//! The scrub: whatever is changed in a live block is found within a pass, however often the writer is started anew on the way, and
//! counts once; beside a writer that goes round the ring nothing is found that is not damaged.

use super::damage_tests::{full_volume, held_volume, live_area};
use super::driver::{Cuts, Driver, open_engine_at, shared};
use super::hold_tests::lapped_on_time;
use super::material::Shape;
use super::oracle::StreamModel;
use super::overwriting_tests::{erasing, overwrite_some};
use super::{Verdict, demand, for_seeds};
use crate::clock::SimClock;
use crate::disk::ReadAt;
use crate::disk::sim::{CrashPlan, Errno, Kinds, SimControl, SimDisk, SimImage, SimRng};
use crate::format::geometry::Geometry;
use crate::format::scrub::{DAMAGED_MAX, DamageRecord, PassRecord, ScrubSlot};
use crate::format::table::PART_VOID;
use crate::format::{Framed, SECTOR_BYTES};
use crate::reader::Volume;
use crate::recover::{Recovered, contents, recover};
use crate::retention::Retention;
use crate::scan::Scanner;
use crate::scrub::{Order, ScrubReport, Task, Verification};
use crate::types::{BlockIndex, Sequence, StreamName, VolumeId, WallTime};
use crate::writer::EraseRequest;
use crate::writer::engine::Engine;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Longer than a place goes unwritten.
const TURN: Duration = Duration::from_secs(61);

/// The scrub's thread, without the thread.
#[derive(Default)]
struct Thread {
    verification: Option<Verification>,
}

impl Thread {
    /// Does one thing: asks, reads a chunk, or hands over what came of a block.
    fn step(
        &mut self,
        engine: &mut Engine<SimDisk>,
        disk: &SimControl,
        (geometry, volume): (&Geometry, VolumeId),
        clock: &SimClock,
    ) {
        super::count_judged();
        let reader = disk.reader();
        let scanner = Scanner { disk: &reader, geometry, volume };
        match &mut self.verification {
            None => match engine.scrub_next() {
                Order::Verify(task) => self.verification = Some(Verification::new(&scanner, *task)),
                Order::Rest(rest) => clock.advance(rest),
            },
            Some(verification) => {
                if !verification.step(&scanner)
                    && let Some(verification) = self.verification.take()
                {
                    engine.scrub_done(&verification.outcome());
                }
            }
        }
    }
}

/// A writer that scrubs and does nothing else, and can be started anew.
struct Scrubbed {
    disk: SimControl,
    engine: Engine<SimDisk>,
    clock: Arc<SimClock>,
    thread: Thread,
    geometry: Geometry,
    volume: VolumeId,
    unreadable: Option<Range<u64>>,
    rng: SimRng,
}

impl Scrubbed {
    fn new(image: &SimImage, seed: u64) -> Verdict<Scrubbed> {
        let state = recover(image, Path::new("proof")).map_err(|error| error.to_string())?;
        let clock = Arc::new(SimClock::new(WallTime(1_700_000_000_000_000_000)));
        let disk = SimDisk::from_image(image.clone(), seed);
        let control = disk.control();
        let (engine, _) = open_engine_at(disk, Arc::clone(&clock))?;
        let volume = state.volume();
        Ok(Scrubbed {
            disk: control,
            engine,
            clock,
            thread: Thread::default(),
            geometry: state.geometry,
            volume,
            unreadable: None,
            rng: SimRng::new(seed),
        })
    }

    /// Starts anew from this image.
    fn start(&mut self, image: SimImage) -> Verdict {
        let disk = SimDisk::from_image(image, self.rng.next_u64());
        self.disk = disk.control();
        self.refuse();
        self.thread = Thread::default();
        (self.engine, _) = open_engine_at(disk, Arc::clone(&self.clock))?;
        Ok(())
    }

    fn refuse(&self) {
        if let Some(place) = &self.unreadable {
            self.disk.fail_range(place.clone(), Errno::EIO, Kinds::READS);
        }
    }

    fn step(&mut self) {
        self.thread.step(&mut self.engine, &self.disk, (&self.geometry, self.volume), &self.clock);
    }

    fn round(&mut self) -> ScrubReport {
        self.clock.advance(TURN);
        self.engine.round().scrub
    }

    fn report(&self) -> ScrubReport {
        self.engine.report().scrub
    }
}

/// A full volume with damage in some of its blocks, what a check finds in each of them, and where nothing can be read.
type Damaged = (SimImage, BTreeMap<BlockIndex, u32>, Option<Range<u64>>);

fn damaged(seed: u64) -> Verdict<Damaged> {
    let (image, _) = if seed.is_multiple_of(2) { full_volume(seed)? } else { held_volume(seed)? };
    let state = recover(&image, Path::new("proof")).map_err(|error| error.to_string())?;
    // What is set aside at once is not live.
    let doomed = Scrubbed::new(&image, seed)?.engine.view().granted;
    let areas = live_area(&image, &state);
    let areas: Vec<_> =
        areas.iter().filter(|area| area.block.is_some_and(|block| !doomed.contains(&block))).collect();
    let mut rng = SimRng::new(seed);
    let (mut hurt, mut unreadable) = (image.clone(), None);
    for turn in 0..1 + rng.below(9) {
        let area = areas.get(rng.below(areas.len())).ok_or("no live area")?;
        let at = area.bytes.start + rng.below((area.bytes.end - area.bytes.start) as usize) as u64;
        if turn == 2 {
            let begin = at / SECTOR_BYTES as u64 * SECTOR_BYTES as u64;
            unreadable = Some(begin..begin + SECTOR_BYTES as u64);
            continue;
        }
        let mut byte = [0];
        image.read_exact_at(&mut byte, at).map_err(|error| error.to_string())?;
        hurt.write(at, &[byte[0] ^ (1 + rng.below(255) as u8)]);
    }
    let disk = SimDisk::from_image(hurt.clone(), seed);
    if let Some(place) = &unreadable {
        disk.fail_range(place.clone(), Errno::EIO, Kinds::READS);
    }
    let volume = Volume::from_disk(Arc::new(disk.control().reader()), Path::new("proof"));
    let volume = volume.map_err(|error| error.to_string())?;
    let check = volume.check(&mut |_, _| ()).map_err(|error| error.to_string())?;
    let mut places = BTreeMap::new();
    for block in check.findings.iter().filter_map(|finding| finding.block) {
        *places.entry(block).or_insert(0) += 1;
    }
    demand!(!places.is_empty(), "a check finds nothing");
    Ok((hurt, places, unreadable))
}

#[test]
fn every_damaged_block_is_found_once_within_a_pass_whatever_restarts_come_between() {
    for_seeds("scrub", 9500, 150, finds_all);
}

pub(super) fn finds_all(seed: u64) -> Verdict<u64> {
    let (image, places, unreadable) = damaged(seed)?;
    let before = super::judged();
    let mut scrubbed = Scrubbed::new(&image, seed)?;
    scrubbed.unreadable = unreadable;
    scrubbed.refuse();
    // How far the place that stands on the disk was.
    let (mut noted, mut restarts) = (ScrubReport::default(), 0);
    for _ in 0..200_000 {
        match scrubbed.rng.below(60) {
            0..8 => noted = scrubbed.round(),
            8 => {
                let plans =
                    CrashPlan::enumerate(scrubbed.disk.pending_sectors(), 24, scrubbed.rng.next_u64());
                let plan = plans[scrubbed.rng.below(plans.len())];
                scrubbed.start(scrubbed.disk.crash(plan))?;
                restarts += 1;
            }
            9 => {
                scrubbed.engine.close().map_err(|error| error.to_string())?;
                noted = scrubbed.report();
                scrubbed.start(scrubbed.disk.crash(CrashPlan::None))?;
                restarts += 1;
            }
            _ => scrubbed.step(),
        }
        let now = scrubbed.report();
        let far = |report: &ScrubReport| (report.pass.map_or(0, |pass| pass.number), report.blocks_done);
        demand!(
            far(&now) >= far(&noted),
            "after {restarts} restarts it is at {:?}, and was at {:?}",
            far(&now),
            far(&noted)
        );
        if now.last.is_some() {
            noted = scrubbed.round();
            break;
        }
    }
    let report = scrubbed.report();
    let last = report.last.ok_or(format!("no pass has ended with {restarts} restarts: {report:?}"))?;
    let all: u32 = places.values().sum();
    demand!(
        (last.damaged as usize, last.places) == (places.len(), all),
        "of {places:?} it counts {last:?} with {restarts} restarts"
    );
    let listed: BTreeMap<BlockIndex, u32> =
        report.damaged.iter().map(|damage| (damage.block, damage.places)).collect();
    demand!(listed.len() == places.len().min(7), "of {places:?} it lists {listed:?}");
    demand!(
        listed.iter().all(|listed| places.get(listed.0) == Some(listed.1)),
        "{places:?}, listed {listed:?}"
    );
    // A reader is told the same.
    let volume = Volume::from_disk(shared(&scrubbed.disk.snapshot()), Path::new("proof"));
    let told = volume.map_err(|error| error.to_string())?.scrub();
    demand!(
        ScrubReport { every: None, ..noted.clone() } == told,
        "a reader is told {told:?}, it was {noted:?}"
    );
    Ok(super::judged() - before)
}

#[test]
fn beside_a_writer_that_goes_round_the_ring_nothing_is_found() {
    for_seeds("scrub beside a writer", 9700, 40, finds_nothing);
}

pub(super) fn finds_nothing(seed: u64) -> Verdict<u64> {
    let mut rng = SimRng::new(seed);
    let shape = Shape::random(&mut rng);
    finds_nothing_on(shape, seed, rng)
}

/// [`finds_nothing`] on a volume of this shape.
pub(super) fn finds_nothing_on(shape: Shape, seed: u64, mut rng: SimRng) -> Verdict<u64> {
    let before = super::judged();
    let mut driver = Driver::new(shape, seed, Cuts::NONE)?;
    let (geometry, clock) = (shape.geometry(), Arc::clone(&driver.clock));
    let volume = volume_of(&driver)?;
    let (mut thread, mut epoch, mut passes) = (Thread::default(), driver.model.epoch, BTreeSet::new());
    // How many steps of the scrub come to one of the recorder.
    let eagerness = 1 + rng.below(6);
    for _ in 0..1500 {
        driver.step()?;
        if driver.model.epoch != epoch {
            (thread, epoch) = (Thread::default(), driver.model.epoch);
        }
        for _ in 0..rng.below(2 * eagerness) {
            let disk = driver.disk.clone();
            thread.step(driver.engine()?, &disk, (&geometry, volume), &clock);
            let report = driver.engine()?.report().scrub;
            let passed = [report.pass, report.last].into_iter().flatten();
            let damaged = passed.clone().map(|pass| pass.damaged).max().unwrap_or(0);
            demand!(damaged == 0 && report.damaged.is_empty(), "damage where there is none: {report:?}");
            passes.extend(passed.filter(|pass| pass.blocks > 0).map(|pass| pass.number));
        }
    }
    demand!(!passes.is_empty(), "it verified nothing");
    Ok(super::judged() - before)
}

#[test]
fn beside_erasures_and_expiry_and_power_cuts_nothing_is_found_and_passes_end() {
    for_seeds("scrub beside overwriting", 9720, 12, finds_nothing_overwritten);
}

pub(super) fn finds_nothing_overwritten(seed: u64) -> Verdict<u64> {
    let before = super::judged();
    let mut driver = lapped_on_time(seed)?;
    let (geometry, clock) = (driver.shape.geometry(), Arc::clone(&driver.clock));
    let volume = volume_of(&driver)?;
    driver.retain("cam0", Retention { maximum_age_s: 3 * 3600, ..Retention::default() })?;
    let (mut thread, mut epoch, mut ended) = (Thread::default(), driver.model.epoch, BTreeSet::new());
    let mut voids = 0;
    for step in 0..900 {
        overwrite_some(&mut driver).map_err(|why| format!("step {step}: {why}"))?;
        if driver.model.epoch != epoch {
            (thread, epoch) = (Thread::default(), driver.model.epoch);
        }
        for _ in 0..driver.rng.below(12) {
            let disk = driver.disk.clone();
            thread.step(driver.engine()?, &disk, (&geometry, volume), &clock);
            let report = driver.engine()?.report().scrub;
            let passed = [report.pass, report.last].into_iter().flatten();
            let damaged = passed.map(|pass| pass.damaged).max().unwrap_or(0);
            demand!(damaged == 0 && report.damaged.is_empty(), "step {step}: no damage, but {report:?}");
            ended.extend(report.last.filter(|pass| pass.blocks > 0).map(|pass| pass.number));
        }
        if step % 100 == 0 {
            voids += driver.volume()?.state().rows.iter().filter(|row| row.flags & PART_VOID != 0).count();
        }
    }
    demand!(!ended.is_empty() && voids > 0, "it ended passes {ended:?}, and {voids} blocks were overwritten");
    Ok(super::judged() - before)
}

#[test]
fn what_a_crash_left_half_overwritten_is_not_read_before_it_is_finished() {
    for_seeds("scrub after a crash", 9960, 6, finds_nothing_begun);
}

pub(super) fn finds_nothing_begun(seed: u64) -> Verdict<u64> {
    let before = super::judged();
    let (mut engine, disk, mut rng) = erasing(seed)?;
    for _ in 0..12 {
        engine.round();
        let plans = CrashPlan::enumerate(disk.pending_sectors(), 4, rng.next_u64());
        for plan in plans {
            let mut scrubbed = Scrubbed::new(&disk.crash(plan), seed)?;
            for step in 0..600 {
                scrubbed.step();
                if step % 50 == 49 {
                    scrubbed.round();
                }
            }
            let report = scrubbed.report();
            let damaged = [report.pass, report.last].iter().flatten().map(|pass| pass.damaged).sum::<u32>();
            demand!(damaged == 0 && report.damaged.is_empty(), "{plan:?}: no damage, but {report:?}");
        }
    }
    Ok(super::judged() - before)
}

#[test]
fn a_large_void_is_read_piece_by_piece_and_to_its_end() {
    for_seeds("scrub, a large void", 9950, 1, large_void);
}

pub(super) fn large_void(seed: u64) -> Verdict<u64> {
    const PIECE_BYTES: u64 = 1 << 20;
    let shape = Shape { size_bytes: 64 << 20, block_bytes: 8 << 20, streams: 1, ..Shape::OF_LARGE_SECTORS };
    let mut driver = Driver::new(shape, seed, Cuts::NONE)?;
    driver.admit("cam0")?;
    for _ in 0..600 {
        driver.push(0, 30_000)?;
    }
    driver.settle()?;
    let walls = driver.model.streams.get("cam0").map(StreamModel::durable_walls).unwrap_or_default();
    let (from, to) = walls.get(20).copied().zip(walls.get(180).copied()).ok_or("too little was recorded")?;
    let stream = StreamName::new("cam0").map_err(|error| error.to_string())?;
    let request = EraseRequest { stream, from: from.min(to), to: from.max(to) };
    driver.engine()?.begin_erase(&request).map_err(|error| error.to_string())?;
    (0..20).for_each(|_| drop(driver.engine().map(Engine::round)));
    let image = driver.disk.crash(CrashPlan::None);
    let state = recover(&image, Path::new("proof")).map_err(|error| error.to_string())?;
    let mut voids =
        state.rows.iter().enumerate().filter(|(_, row)| row.is_live() && row.flags & PART_VOID != 0);
    let (index, row) = voids.next().ok_or("nothing was erased of a block")?;
    let block = BlockIndex(index as u32);
    let take = Recovered::take(block, row);
    let (geometry, volume) = (&state.geometry, state.volume());
    let scanner = Scanner { disk: &image, geometry, volume };
    let (footer, _) = contents(&scanner, block, row);
    let mut places = footer.chunks.iter().filter(|place| place.kind.is_void());
    let void = places.next().ok_or("there is no void chunk")?;
    demand!(u64::from(void.bytes) > 3 * PIECE_BYTES, "the void has {} bytes alone", void.bytes);
    let last = geometry.block_at(block) + u64::from(void.offset + void.bytes) - PIECE_BYTES / 2;
    let mut rotten = image.clone();
    rotten.write(last, &[1]);
    for (image, places) in [(&image, None), (&rotten, Some(1))] {
        let scanner = Scanner { disk: image, geometry, volume };
        let mut verification = Verification::new(&scanner, Task { take, row: row.clone(), pace: u64::MAX });
        let (mut bytes, mut more) = (0, true);
        while more {
            more = verification.step(&scanner);
            let step = verification.bytes() - bytes;
            demand!(step <= PIECE_BYTES, "{step} bytes are read in one step");
            bytes += step;
        }
        let found = verification.outcome().found.map(|found| found.places);
        demand!(found == places, "found {found:?} instead of {places:?}");
    }
    Ok(2)
}

fn volume_of(driver: &Driver) -> Verdict<VolumeId> {
    let state = recover(&driver.disk.snapshot(), Path::new("proof")).map_err(|error| error.to_string())?;
    Ok(state.volume())
}

#[test]
fn with_one_copy_of_its_place_it_goes_on_and_with_none_it_begins_anew() {
    for_seeds("scrub, damaged place", 9900, 6, damaged_place);
}

pub(super) fn damaged_place(seed: u64) -> Verdict<u64> {
    let (image, ..) = damaged(seed)?;
    let mut scrubbed = Scrubbed::new(&image, seed)?;
    for _ in 0..400 {
        scrubbed.step();
        if scrubbed.rng.below(9) == 0 {
            scrubbed.round();
        }
    }
    let (before, last) = (scrubbed.round(), scrubbed.round());
    demand!(before.last.is_some(), "no pass has ended: {last:?}");
    let places = scrubbed.geometry.scrub_at();
    let image = scrubbed.disk.snapshot();
    for lost in [&places[..1], &places[1..], &places[..]] {
        let mut damaged = image.clone();
        lost.iter().for_each(|at| damaged.write(at + 100, &[0xa5; 8]));
        scrubbed.start(damaged)?;
        let report = scrubbed.report();
        let (passes, anew) = ((report.pass, report.last), lost.len() == 2);
        demand!(anew == passes.0.is_none(), "lost {lost:?}: {report:?}");
        // Whichever copy is lost, of what was noted last no more than one turn is gone.
        demand!(anew || report.last.is_some(), "lost {lost:?}: {report:?}");
        // Going on puts it right.
        for _ in 0..30 {
            scrubbed.step();
            scrubbed.round();
        }
        let volume = Volume::from_disk(shared(&scrubbed.disk.snapshot()), Path::new("proof"));
        let check = volume.map_err(|error| error.to_string())?.check(&mut |_, _| ());
        let findings = check.map_err(|error| error.to_string())?.findings;
        demand!(!findings.iter().any(|finding| finding.what == "scrub"), "lost {lost:?}: {findings:?}");
    }
    Ok(3)
}

#[test]
fn a_forged_place_ends_neither_a_writer_nor_a_reader() {
    for_seeds("scrub, forged place", 9950, 4, forged_place);
}

/// Both copies of the place have right checksums and say what no writer ever did.
pub(super) fn forged_place(seed: u64) -> Verdict<u64> {
    let (image, ..) = damaged(seed)?;
    let Scrubbed { geometry, volume, .. } = Scrubbed::new(&image, seed)?;
    let nowhere = [geometry.blocks, u32::MAX, geometry.blocks - 1, 0, u32::MAX - 1, geometry.blocks + 1, 1];
    for (turn, next) in nowhere.into_iter().enumerate() {
        let far = if turn % 2 == 0 { u32::MAX } else { 3 };
        let (bytes, began_running_s) = (u64::MAX, u64::MAX);
        let pass =
            PassRecord { number: far, blocks: far, damaged: far, places: far, ..PassRecord::default() };
        let pass = PassRecord { footage_lost: far, bytes, began_running_s, ..pass };
        let damage = |place: usize| DamageRecord {
            block: BlockIndex(nowhere[(turn + place) % nowhere.len()]),
            offset: far,
            sequence: Sequence(place as u64),
            places: far,
            ..DamageRecord::default()
        };
        let slot = ScrubSlot {
            volume,
            revision: if turn == 0 { u64::MAX } else { 1 << 40 },
            next: BlockIndex(next),
            damaged: DAMAGED_MAX as u32,
            last: pass.clone(),
            pass,
            damaged_blocks: std::array::from_fn(damage),
        };
        let mut page = vec![0; geometry.scrub_bytes];
        slot.seal(&mut page);
        let mut forged = image.clone();
        geometry.scrub_at().iter().for_each(|at| forged.write(*at, &page));
        let told =
            Volume::from_disk(shared(&forged), Path::new("proof")).map_err(|error| error.to_string())?;
        let mut reports = vec![told.scrub()];
        let mut scrubbed = Scrubbed::new(&forged, seed)?;
        for _ in 0..40 {
            (0..10).for_each(|_| scrubbed.step());
            reports.push(scrubbed.round());
        }
        scrubbed.engine.close().map_err(|error| error.to_string())?;
        let named = reports.iter().flat_map(|report| &report.damaged);
        let outside: Vec<_> = named.filter(|damage| damage.block.0 >= geometry.blocks).collect();
        demand!(outside.is_empty(), "blocks are named that the volume does not have: {outside:?}");
        demand!(reports.iter().all(|report| report.blocks_done <= geometry.blocks), "more than all is done");
    }
    Ok(nowhere.len() as u64)
}
