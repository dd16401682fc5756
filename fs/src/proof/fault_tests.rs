//! Every n-th I/O of a scripted recording fails, once or from then on: nothing panics, nothing hangs, nothing that was
//! reported durable is lost, and when the fault is gone the volume writes again by itself.

use super::driver::{Cuts, Driver, after_crash, open_engine, shared};
use super::material::Shape;
use super::oracle::{Claim, Holdings, Model, judge};
use super::{Verdict, demand, for_seeds, nth_tests};
use crate::disk::sim::{CrashPlan, Errno, Kinds, Repeat, SimDisk, SimImage};
use crate::format::table::{NO_FOOTER, Row};
use crate::recover::recover;
use crate::report::BlockState;
use std::path::Path;

const SHAPE: Shape = Shape::SMALL;

/// What fails.
#[derive(Clone, Copy, Debug)]
struct Fault {
    errno: Errno,
    repeat: Repeat,
    kinds: Kinds,
}

const FAULTS: [Fault; 6] = [
    Fault { errno: Errno::EIO, repeat: Repeat::Once, kinds: Kinds::WRITES },
    Fault { errno: Errno::EIO, repeat: Repeat::Forever, kinds: Kinds::WRITES },
    Fault { errno: Errno::EIO, repeat: Repeat::Once, kinds: Kinds::FLUSHES },
    Fault { errno: Errno::EIO, repeat: Repeat::Forever, kinds: Kinds::FLUSHES },
    Fault { errno: Errno::ENOSPC, repeat: Repeat::Once, kinds: Kinds::WRITES },
    Fault { errno: Errno::ENOSPC, repeat: Repeat::Forever, kinds: Kinds::ALL },
];

/// A volume on its second lap, closed cleanly.
fn recorded(seed: u64) -> Verdict<(SimImage, Model)> {
    let mut driver = Driver::new(SHAPE, seed, Cuts::NONE)?;
    driver.admit("cam0")?;
    driver.lap()?;
    driver.close()
}

/// It is written to again, and faults are judged from now on.
fn recording(base: &(SimImage, Model), seed: u64, cuts: Cuts) -> Verdict<Driver> {
    let (image, model) = base.clone();
    let mut driver = Driver::on(image, SHAPE, model, seed, Cuts::NONE)?;
    driver.faulty = true;
    driver.cuts = cuts;
    Ok(driver)
}

/// A bit of everything. What is refused while the disk fails is tried again by whoever calls.
fn script(driver: &mut Driver) -> Verdict {
    for turn in 0..4 {
        driver.push(0, 2500)?;
        driver.push(0, 700)?;
        driver.work()?;
        driver.round()?;
        driver.push(0, 6000)?;
        driver.gap(0)?;
        driver.round()?;
        if turn == 1 {
            driver.configure(0, 3)?;
            driver.park(0)?;
            driver.round()?;
        }
        if turn == 2 {
            driver.push(0, 20_000)?;
        }
    }
    driver.round()
}

/// The fault is gone: all that waits becomes durable, stays so, and recording goes on.
pub(super) fn goes_on(driver: &mut Driver, lap: bool) -> Verdict {
    driver.settle().map_err(|why| format!("after the fault: {why}"))?;
    driver.push_any(0)?;
    driver.settle().map_err(|why| format!("after the fault: {why}"))?;
    // All that was reported must stand although nothing more reaches the disk.
    driver.power_cut_with(CrashPlan::None).map_err(|why| format!("reopening: {why}"))?;
    driver.push_any(0)?;
    driver.reopen().map_err(|why| format!("closing and reopening: {why}"))?;
    if lap { driver.lap() } else { Ok(()) }
}

#[test]
fn whichever_write_or_flush_fails_nothing_durable_is_lost_and_recording_goes_on() {
    for_seeds("failing I/O", 2000, 1, failing_io);
}

pub(super) fn failing_io(seed: u64) -> Verdict<u64> {
    let base = recorded(seed)?;
    let mut driver = recording(&base, seed, Cuts::NONE)?;
    let before = driver.disk.submitted();
    script(&mut driver)?;
    let operations = driver.disk.submitted() - before;
    let mut judged = 0;
    for (turn, fault) in FAULTS.into_iter().enumerate() {
        // Each operation is struck by half of the faults; another seed swaps the halves.
        let first = (seed + turn as u64 / 2) % 2;
        for nth in (first..operations).step_by(2) {
            let cuts = Cuts { one_in: 400, plans: 3, deep_one_in: 0 };
            let trial = || -> Verdict<u64> {
                let mut driver = recording(&base, seed ^ nth, cuts)?;
                let first = driver.disk.submitted() + nth;
                driver.disk.fail_nth(first, fault.errno, fault.repeat, fault.kinds);
                script(&mut driver)?;
                driver.disk.clear_faults();
                goes_on(&mut driver, (nth + turn as u64).is_multiple_of(16))?;
                Ok(driver.judged)
            };
            judged +=
                trial().map_err(|why| format!("{fault:?} at operation {nth} of {operations}: {why}"))?;
        }
    }
    Ok(judged)
}

/// A cable that fails in the middle of a round: writes of that round had succeeded before, which once passed for a proof that
/// the disk still writes elsewhere, and each such failure cost the blocks that were being written.
#[test]
fn a_disk_that_refuses_everything_costs_no_block() {
    for_seeds("a failing disk", 2050, 2, failing_disk);
}

fn failing_disk(seed: u64) -> Verdict<u64> {
    let base = recorded(seed)?;
    let mut driver = recording(&base, seed, Cuts::NONE)?;
    let before = driver.disk.submitted();
    script(&mut driver)?;
    let operations = driver.disk.submitted() - before;
    for nth in 0..operations {
        let trial = || -> Verdict {
            let mut driver = recording(&base, seed, Cuts::NONE)?;
            let first = driver.disk.submitted() + nth;
            driver.disk.fail_nth(first, Errno::EIO, Repeat::Forever, Kinds::WRITES);
            script(&mut driver)?;
            demand!(driver.view().withdrawn == 0, "{} blocks were withdrawn", driver.view().withdrawn);
            driver.disk.clear_faults();
            driver.settle()
        };
        trial().map_err(|why| format!("no write succeeds from operation {nth} of {operations} on: {why}"))?;
    }
    Ok(operations)
}

#[test]
fn a_stream_leaves_a_block_that_cannot_be_written_and_loses_nothing() {
    for_seeds("bad places", 2100, 1, bad_places);
}

pub(super) fn bad_places(seed: u64) -> Verdict<u64> {
    let base = recorded(seed)?;
    let geometry = SHAPE.geometry();
    let mut judged = 0;
    for block in geometry.all_blocks() {
        for place in [0, 4096, geometry.block_bytes - 600] {
            let at = geometry.block_at(block) + place as u64;
            let bad = at..if place == 0 { at + geometry.block_bytes as u64 } else { at + 1 };
            let trial = || -> Verdict<u64> {
                let cuts = Cuts { one_in: 300, plans: 4, deep_one_in: 0 };
                let mut driver = recording(&base, seed ^ at, cuts)?;
                driver.disk.fail_range(bad.clone(), Errno::EIO, Kinds::WRITES);
                for _ in 0..4 {
                    script(&mut driver)?;
                }
                driver.settle().map_err(|why| format!("while the place is bad: {why}"))?;
                // The block with the bad place, not its neighbours that were being written at that moment.
                demand!(driver.view().withdrawn <= 1, "{} blocks were withdrawn", driver.view().withdrawn);
                driver.disk.clear_faults();
                goes_on(&mut driver, place == 4096)?;
                Ok(driver.judged)
            };
            judged += trial().map_err(|why| format!("bad bytes {bad:?} in block {block}: {why}"))?;
        }
    }
    Ok(judged)
}

#[test]
fn chunks_of_many_sync_samples_that_move_leave_room_for_the_footer_of_their_block() {
    for_seeds("moved sync samples", 2200, 2, moved_syncs);
}

/// Nothing but tiny sync samples is recorded, so that footers are long, and one place refuses writes, so that chunks move.
pub(super) fn moved_syncs(seed: u64) -> Verdict<u64> {
    let geometry = SHAPE.geometry();
    let mut judged = 0;
    for block in geometry.all_blocks() {
        for page in (seed as usize % 3..geometry.block_bytes / geometry.page_bytes).step_by(3) {
            let at = geometry.block_at(block) + (page * geometry.page_bytes) as u64;
            judged += moved_from(at, seed).map_err(|why| format!("page {page} of block {block}: {why}"))?;
        }
    }
    Ok(judged)
}

fn moved_from(at: u64, seed: u64) -> Verdict<u64> {
    let mut driver = Driver::new(SHAPE, seed ^ at, Cuts::NONE)?;
    driver.admit("cam0")?;
    driver.faulty = true;
    driver.disk.fail_range(at..at + 1, Errno::EIO, Kinds::WRITES);
    for _ in 0..6 {
        for _ in 0..100 + driver.rng.below(400) {
            let length = 1 + driver.rng.below(6);
            driver.push_as(0, length, true)?;
        }
        driver.round()?;
    }
    driver.settle().map_err(|why| format!("while the place is bad: {why}"))?;
    driver.reopen()?;
    let judged = driver.judged;
    let (image, _) = driver.close()?;
    let state = recover(&image, Path::new("proof")).map_err(|error| error.to_string())?;
    let without = |row: &&Row| row.state == BlockState::Sealed && row.flags & NO_FOOTER != 0;
    let without = state.rows.iter().filter(without).count();
    demand!(without <= 1, "{without} blocks have no footer, and one was left");
    Ok(judged)
}

#[test]
fn a_header_that_cannot_be_read_leaves_no_hole_in_what_is_kept() {
    for_seeds("unreadable headers", 2300, 1, unreadable_headers);
}

pub(super) fn unreadable_headers(seed: u64) -> Verdict<u64> {
    let (image, model) = recorded(seed)?;
    let geometry = SHAPE.geometry();
    for block in geometry.all_blocks().step_by(4) {
        let mut driver = Driver::on(image.clone(), SHAPE, model.clone(), seed, Cuts::NONE)?;
        let at = geometry.block_at(block);
        driver.disk.fail_range(at..at + 512, Errno::EIO, Kinds::READS);
        driver.lap().map_err(|why| format!("header of block {block}: {why}"))?;
        driver.lap().map_err(|why| format!("header of block {block}: {why}"))?;
    }
    Ok(u64::from(geometry.blocks.div_ceil(4)))
}

#[test]
fn opening_for_writing_fails_cleanly_at_any_io_and_succeeds_later() {
    for_seeds("failing recovery", 2200, 2, |seed| failing_recovery(seed, false));
}

/// A volume after a power cut, with copies to repair, and what it holds.
fn crashed(seed: u64) -> Verdict<(SimImage, Model, Holdings)> {
    let base = recorded(seed)?;
    let mut driver = recording(&base, seed, Cuts::NONE)?;
    driver.push(0, 9000)?;
    driver.round()?;
    driver.push(0, 9000)?;
    driver.work()?;
    let mut image = driver.disk.crash(CrashPlan::Subset(seed));
    image.write(0, &[0; 512]);
    image.write(SHAPE.geometry().directories_at()[1], &[0; 512]);
    let held = judge(&shared(&image), &after_faults(&driver.model))?;
    Ok((image, after_crash(&driver.model, &held), held))
}

fn after_faults(model: &Model) -> Claim<'_> {
    Claim { model, views: Vec::new(), faulty: true, clean: false }
}

/// Each write or flush of recovery fails, by one of the errors in turn or (`all`) by every one of them.
pub(super) fn failing_recovery(seed: u64, all: bool) -> Verdict<u64> {
    let (image, model, held) = crashed(seed)?;
    let disk = SimDisk::from_image(image.clone(), seed);
    let control = disk.control();
    open_engine(disk)?;
    let mut judged = 0;
    for nth in 0..control.submitted() {
        for (errno, repeat) in nth_tests::faults_for(nth + seed, all) {
            let disk = SimDisk::from_image(image.clone(), seed ^ nth);
            let control = disk.control();
            control.fail_nth(nth, errno, repeat, Kinds::ALL);
            let opened = open_engine(disk).is_ok();
            let left = control.crash(CrashPlan::Subset(nth));
            judged += recovers_all_the_same(&left, &model, &held, seed, nth == 7)
                .map_err(|why| format!("{errno} {repeat:?} at operation {nth}, opened: {opened}: {why}"))?;
        }
    }
    Ok(judged)
}

#[test]
fn a_read_that_fails_while_opening_loses_nothing_that_was_there() {
    for_seeds("failing reads", 2400, 1, |seed| failing_reads(seed, false));
}

/// Each read of recovery fails, alone or with all that follow, by one of the errors in turn or (`all`) by every one of them.
/// Opening may then fail; whatever it does, a later one finds all.
pub(super) fn failing_reads(seed: u64, all: bool) -> Verdict<u64> {
    let (image, model, held) = crashed(seed)?;
    let disk = SimDisk::from_image(image.clone(), seed);
    let control = disk.control();
    open_engine(disk)?;
    let mut judged = 0;
    for nth in 0..control.reader_reads() {
        let errors = nth_tests::read_errors_for(nth + seed, all);
        let faults = errors.into_iter().flat_map(|errno| [(errno, Repeat::Once), (errno, Repeat::Forever)]);
        for (errno, repeat) in faults {
            let disk = SimDisk::from_image(image.clone(), seed ^ nth);
            let control = disk.control();
            control.fail_reader(nth, errno, repeat);
            let opened = open_engine(disk).is_ok();
            let left = control.crash(CrashPlan::All);
            judged += recovers_all_the_same(&left, &model, &held, seed, nth == 7)
                .map_err(|why| format!("{errno} {repeat:?} at read {nth}, opened: {opened}: {why}"))?;
        }
    }
    Ok(judged)
}

/// What a recovery with faults left holds what was there before, and is written on.
fn recovers_all_the_same(
    left: &SimImage,
    model: &Model,
    held: &Holdings,
    seed: u64,
    lap: bool,
) -> Verdict<u64> {
    let now = judge(&shared(left), &after_faults(model))?;
    demand!(
        now.iter().all(|(name, now)| held.get(name).is_some_and(|held| held.to == now.to)),
        "held was {held:?}, now it is {now:?}"
    );
    let mut driver = recording_on(left.clone(), model, seed)?;
    goes_on(&mut driver, lap)?;
    Ok(driver.judged + 1)
}

fn recording_on(image: SimImage, model: &Model, seed: u64) -> Verdict<Driver> {
    let mut driver = Driver::faulty_on(image, SHAPE, model.clone(), seed)?;
    driver.push_any(0)?;
    Ok(driver)
}

#[test]
fn faults_take_no_more_than_a_few_blocks_a_day_however_often_the_recorder_is_started() {
    for_seeds("faults and restarts", 2500, 2, faults_and_restarts);
}

/// Whatever is behind the first pages of a block cannot be written; a supervisor starts the recorder again and again.
pub(super) fn faults_and_restarts(seed: u64) -> Verdict<u64> {
    let base = recorded(seed)?;
    let geometry = SHAPE.geometry();
    let bad: Vec<_> = geometry
        .all_blocks()
        .map(|block| geometry.block_at(block) + 8192..geometry.block_at(block) + geometry.block_bytes as u64)
        .collect();
    let mut driver = recording(&base, seed, Cuts::NONE)?;
    let before = driver.view().takes;
    for _ in 0..12 {
        driver.refuse_writes(&bad);
        for _ in 0..6 {
            driver.push(0, 3000)?;
            driver.round()?;
        }
        driver.power_cut()?;
    }
    // However they were left. Recording alone fills two.
    let view = driver.view();
    let given = view.takes.iter().filter(|(block, take)| before.get(block) != Some(take)).count();
    demand!(given <= 5, "{given} blocks were taken from what stood there");
    // Two a day, and what a stream has under way when the last of them is spent.
    let taken = driver.view().live.iter().filter(|live| live.state == BlockState::Bad).count();
    let empty = withdrawn_empty(&driver);
    demand!(taken + empty <= 4, "{taken} blocks and {empty} empty ones were withdrawn");
    driver.refuse_writes(&[]);
    goes_on(&mut driver, true)?;
    Ok(driver.judged)
}

/// Withdrawn blocks in which nothing stands.
fn withdrawn_empty(driver: &Driver) -> usize {
    let open = driver.volume().map(|volume| volume.blocks()).unwrap_or_default();
    open.iter().filter(|block| block.state == BlockState::Bad && block.chunks == 0).count()
}
