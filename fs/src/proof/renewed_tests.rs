//! A look that goes on from the one before finds what opening the volume finds, at every instant of what a recorder does; and it
//! costs what changed, however much there is.

use super::driver::{Cuts, Driver};
use super::material::Shape;
use super::{Verdict, count_judged, demand, for_seeds};
use crate::disk::ReadAt;
use crate::disk::sim::{CrashPlan, CrashPoint, SimControl, SimImage};
use crate::reader::Volume;
use crate::recover::Recovered;
use crate::types::WallTime;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// A disk of which the content is another from time to time, and that counts what is read.
#[derive(Default)]
struct Shown {
    image: Mutex<Option<SimImage>>,
    reads: AtomicU64,
}

impl Shown {
    fn image(&self) -> SimImage {
        let image = self.image.lock().unwrap_or_else(PoisonError::into_inner).clone();
        image.unwrap_or_else(|| SimImage::zeroed(0))
    }

    fn show(&self, image: &SimImage) {
        *self.image.lock().unwrap_or_else(PoisonError::into_inner) = Some(image.clone());
        self.reads.store(0, Ordering::Relaxed);
    }

    fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }
}

impl ReadAt for Shown {
    fn size_bytes(&self) -> u64 {
        self.image().size_bytes()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.image().read_exact_at(buffer, offset)
    }
}

/// Who looks again and again.
pub(super) struct Looker {
    disk: Arc<Shown>,
    pub(super) last: Option<Volume>,
    /// How many looks went on from the one before.
    pub(super) renewed: u64,
    pub(super) looks: u64,
}

impl Looker {
    pub(super) fn new() -> Looker {
        Looker { disk: Arc::default(), last: None, renewed: 0, looks: 0 }
    }

    fn open(&self) -> Verdict<Volume> {
        let disk: Arc<dyn ReadAt> = Arc::<Shown>::clone(&self.disk);
        Volume::from_disk(disk, Path::new("proof")).map_err(|error| error.to_string())
    }

    /// Looks at what stands there, from the look before and anew, and goes on from there.
    pub(super) fn look(&mut self, image: &SimImage) -> Verdict {
        self.last = Some(self.compare(image)?);
        Ok(())
    }

    /// Looks at what stands there, from the look before and anew. The next look goes on from the same.
    pub(super) fn compare(&mut self, image: &SimImage) -> Verdict<Volume> {
        self.disk.show(image);
        count_judged();
        let fresh = self.open()?;
        let Some(last) = &self.last else { return Ok(fresh) };
        self.looks += 1;
        self.renewed += u64::from(crate::recover::renewed(&*self.disk, last.state()).is_some());
        let now = last.renewed().map_err(|error| error.to_string())?;
        same(now.state(), fresh.state())?;
        Ok(now)
    }
}

/// What of two looks differs.
fn same(now: &Recovered, fresh: &Recovered) -> Verdict {
    for (block, (one, other)) in now.rows.iter().zip(&fresh.rows).enumerate() {
        demand!(one == other, "block {block} is {one:?} in a later look, {other:?} in a first one");
    }
    demand!(now.chains == fresh.chains, "the chains differ");
    demand!(now.ends == fresh.ends, "the ends are {:?} and {:?}", now.ends, fresh.ends);
    let sets = |look: &Recovered| {
        [&look.changed, &look.unlisted, &look.given_up, &look.unfinished].map(Clone::clone)
    };
    demand!(sets(now) == sets(fresh), "blocks differ: {:?} and {:?}", sets(now), sets(fresh));
    let numbers = |look: &Recovered| {
        (look.round, look.epoch, look.highest, look.running_seconds, look.last_round_at, look.after_crash)
    };
    demand!(numbers(now) == numbers(fresh), "{:?} and {:?}", numbers(now), numbers(fresh));
    let names = |look: &Recovered| (look.directories.clone(), look.directory_places.clone(), look.clock);
    demand!(names(now) == names(fresh), "the directories differ");
    demand!(now.directory == fresh.directory && now.orphans == fresh.orphans, "the streams differ");
    demand!(now.holds == fresh.holds, "the holds differ");
    demand!(now.superblock == fresh.superblock, "the superblocks differ");
    demand!(now.findings == fresh.findings, "found {:?} and {:?}", now.findings, fresh.findings);
    Ok(())
}

/// Does something, and looks at what stands on the disk at each of its I/O events, and after it.
fn watched(driver: &mut Driver, looker: &mut Looker, deed: impl FnOnce(&mut Driver) -> Verdict) -> Verdict {
    let disk = driver.disk.clone();
    let (points, done) = instants(&disk, || deed(driver));
    done?;
    points.iter().try_for_each(|point| looker.look(&point.image(CrashPlan::All)))?;
    looker.look(&disk.snapshot())
}

/// Does something; the disk at each of its I/O events meanwhile.
pub(super) fn instants<T>(disk: &SimControl, deed: impl FnOnce() -> T) -> (Vec<CrashPoint>, T) {
    let points: Arc<Mutex<Vec<CrashPoint>>> = Arc::default();
    let seen = Arc::clone(&points);
    disk.on_event(move |point| seen.lock().unwrap_or_else(PoisonError::into_inner).push(point.clone()));
    let done = deed();
    disk.off_event();
    let points = std::mem::take(&mut *points.lock().unwrap_or_else(PoisonError::into_inner));
    (points, done)
}

#[test]
fn a_later_look_finds_what_a_first_one_finds_whatever_happens_in_between() {
    for_seeds("later looks", 9100, 10, histories);
}

/// Two cameras are recorded, erased, held, cut off and opened again, looked at all the while.
pub(super) fn histories(seed: u64) -> Verdict<u64> {
    let mut driver = Driver::new(super::hold_tests::shape(seed), seed, Cuts::NONE)?;
    let mut looker = Looker::new();
    driver.admit("cam0")?;
    driver.admit("cam1")?;
    for turn in 0..160 {
        match driver.rng.below(40) {
            0 => driver.erase_any()?,
            1 => drop(driver.hold_any()?),
            2 => driver.lift_any()?,
            // Where nothing is recorded yet nothing is begun.
            3 if driver.volume()?.holds().is_empty()
                && driver.begin_erasing("cam0", WallTime::MIN, WallTime::MAX).is_ok() =>
            {
                for _ in 0..12 {
                    watched(&mut driver, &mut looker, Driver::round)?;
                }
                driver.nothing_waits_to_be_erased()?;
            }
            4..14 => watched(&mut driver, &mut looker, Driver::round)?,
            _ => driver.step()?,
        }
        if turn % 2 == 0 {
            looker.look(&driver.disk.snapshot())?;
        }
    }
    // The others come behind another writer, or more rounds than the log has.
    demand!(looker.renewed * 8 > looker.looks, "only {} of {} looks go on", looker.renewed, looker.looks);
    Ok(looker.looks)
}

#[test]
fn a_later_look_sees_what_the_table_says_of_neighbours_that_no_record_tells_of() {
    for_seeds("later looks at what was held", 9130, 4, lifted);
}

/// The oldest footage of a full ring is held, and let go when it is next to be overwritten: its row changes, and the block is set
/// aside before any record tells of that. The table has it from the next write of a neighbour's row.
pub(super) fn lifted(seed: u64) -> Verdict<u64> {
    let mut driver = super::hold_tests::lapped(seed, Cuts::NONE)?;
    let mut looker = Looker::new();
    for _ in 0..8 {
        let (from, to) = super::hold_tests::oldest(&driver, "cam0", 4)?;
        let hold = driver.hold("cam0", from, to, None)?.ok_or("there is room")?;
        for _ in 0..5 {
            driver.push(0, 3000)?;
            driver.round()?;
        }
        looker.look(&driver.disk.snapshot())?;
        watched(&mut driver, &mut looker, |driver| driver.lift(hold.id))?;
        for _ in 0..5 {
            (0..1 + driver.rng.below(6)).try_for_each(|_| driver.push(0, 3000))?;
            watched(&mut driver, &mut looker, Driver::round)?;
        }
    }
    Ok(looker.looks)
}

#[test]
fn what_a_block_lost_before_a_look_is_lost_to_all_later_ones() {
    for_seeds("later looks at damage", 9150, 4, damaged);
}

/// A chunk's first header, or both, or a block's are overwritten before anyone looks; or behind what was seen in the look before.
pub(super) fn damaged(seed: u64) -> Verdict<u64> {
    let shape = Shape { streams: 2, ..super::hold_tests::shape(seed) };
    let mut driver = Driver::new(shape, seed, Cuts::NONE)?;
    driver.faulty = true;
    let mut looker = Looker::new();
    driver.admit("cam0")?;
    let page = shape.page_bytes as u64;
    let mut hits = 0;
    for turn in 0..60 {
        let length = 300 + driver.rng.below(1200);
        driver.push(0, length)?;
        driver.round()?;
        let image = driver.disk.snapshot();
        if turn % 3 == 0 {
            looker.look(&image)?;
            continue;
        }
        // From a look that knows nothing of it, and from the one before.
        let volume = looker.open()?;
        let open = volume.state().ends.values().filter_map(|end| end.block).next_back();
        let Some(block) = open else { continue };
        let at = volume.block_at(block) + page * driver.rng.below(6) as u64;
        let mut broken = image;
        broken.write(at, &vec![0xee; page as usize]);
        let mut other = Looker::new();
        (0..3).try_for_each(|_| other.look(&broken))?;
        hits += u64::from(other.last.is_some_and(|volume| !volume.findings().is_empty()));
    }
    demand!(hits > 0, "nothing was ever hit");
    Ok(hits)
}

#[test]
fn a_later_look_costs_what_was_recorded_since_and_not_what_there_is() {
    let outcome = || -> Verdict {
        const STREAMS: u64 = 6;
        let shape =
            Shape { size_bytes: 8 << 20, block_bytes: 256 << 10, streams: STREAMS as u32, ..Shape::SMALL };
        let mut driver = Driver::new(shape, 7, Cuts::NONE)?;
        (0..STREAMS).try_for_each(|which| driver.admit(&format!("cam{which}")))?;
        let mut looker = Looker::new();
        let mut costs = Vec::new();
        for turn in 0..120 {
            (0..STREAMS as usize).try_for_each(|which| driver.push(which, 400))?;
            driver.round()?;
            looker.look(&driver.disk.snapshot())?;
            let last = looker.last.as_ref().ok_or("no look")?;
            looker.disk.reads.store(0, Ordering::Relaxed);
            last.renewed().map_err(|error| error.to_string())?;
            let quiet = looker.disk.reads();
            (0..STREAMS as usize).try_for_each(|which| driver.push(which, 400))?;
            driver.round()?;
            looker.disk.show(&driver.disk.snapshot());
            last.renewed().map_err(|error| error.to_string())?;
            let renewed = looker.disk.reads();
            looker.disk.show(&driver.disk.snapshot());
            looker.open()?;
            costs.push((turn, quiet, renewed, looker.disk.reads()));
        }
        let opened = costs.iter().map(|(.., opened)| *opened).max().unwrap_or(0);
        demand!(opened > 90 * STREAMS, "opening takes only {opened} reads: {costs:?}");
        // The first rounds take blocks, which are found from their headers.
        let settled = costs.iter().filter(|(turn, ..)| *turn > 4);
        let most = settled.map(|(_, quiet, renewed, _)| (*quiet, *renewed)).max().unwrap_or_default();
        // A few for the volume, and for each open block the chunk that was the last one, the new one, and the one to come; and what of
        // these was not durable is read whole.
        let (quiet, renewed) = (32 + 6 * STREAMS, 44 + 11 * STREAMS);
        demand!(most.0 <= quiet && most.1 <= renewed, "at most {most:?} of {quiet}, {renewed}: {costs:?}");
        Ok(())
    };
    assert_eq!(outcome(), Ok(()));
}
