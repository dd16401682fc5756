//! What an erasure leaves where the disk refuses: withheld for good, and finished as soon as it can be.

use super::driver::{Cuts, open_engine};
use super::erase_tests::{chunk_amid, range, unwiped};
use super::hold_tests::lapped;
use super::{Verdict, demand, for_seeds};
use crate::disk::sim::{CrashPlan, Errno, Kinds, Repeat, SimDisk};
use crate::report::{BlockState, TimeRange};
use crate::types::{BlockIndex, StreamName, WallTime};
use crate::writer::EraseRequest;
use std::time::Duration;

#[test]
fn what_could_not_be_overwritten_is_given_to_nobody_whatever_comes() {
    for_seeds("withheld footage", 8980, 2, withheld);
}

/// More blocks refuse to be overwritten than may be withdrawn: the others stay in use, with what is withheld of them.
pub(super) fn withheld(seed: u64) -> Verdict<u64> {
    let mut driver = lapped(seed, Cuts::NONE)?;
    driver.faulty = true;
    let mine = driver.live_of("cam0");
    let newest = mine.last().ok_or("no block")?.block;
    let bad = mine.iter().skip(2).step_by(2).take(5).map(|live| live.block).chain([newest]);
    let places: Vec<_> = bad.map(|block| driver.place(block)).collect();
    // What was withheld is never given again: the oracle asks for that in every image. What an erasure that failed did not reach is.
    let (middle, _) = range(&driver, "cam0", 40, 1)?;
    driver.refuse_writes(&places);
    demand!(
        !driver.erase("cam0", WallTime::MIN, WallTime::MAX)?,
        "what cannot be written is said to be erased"
    );
    driver.cuts = Cuts { one_in: 6, plans: 4, deep_one_in: 40 };
    // Whoever is told so asks again.
    driver.erase("cam0", WallTime::MIN, WallTime::MAX)?;
    driver.power_cut()?;
    driver.reopen()?;
    // Once the disk is well, some of it is overwritten, and then all.
    driver.refuse_writes(&[]);
    driver.erase("cam0", WallTime::MIN, middle)?;
    driver.power_cut()?;
    driver.reopen()?;
    driver.erase("cam0", WallTime::MIN, WallTime::MAX)?;
    driver.gives_nothing_of("cam0")?;
    driver.lap()?;
    Ok(driver.judged)
}

/// All that is told of those who ask again.
pub(super) fn again(seed: u64) -> Verdict<u64> {
    let all = [asked_again, given_up, refused_left, unreadable_asked];
    all.into_iter().try_fold(0, |judged, one| Ok(judged + one(seed)?))
}

#[test]
fn whoever_asks_again_for_what_could_not_be_erased_is_told_again_until_it_is_gone() {
    for_seeds("asked again", 8991, 4, asked_again);
}

/// The header of a void chunk lands, and the zeros behind it do not: of a part of a block, or of all of it.
pub(super) fn asked_again(seed: u64) -> Verdict<u64> {
    let mut driver = lapped(seed, Cuts::NONE)?;
    driver.faulty = true;
    let (block, place) = chunk_amid(&driver)?;
    let begins = driver.place(block).start + u64::from(place.offset);
    let end = begins + u64::from(place.bytes);
    let (from, to) = match seed.is_multiple_of(2) {
        true => (place.wall_min, place.wall_max.plus_ns(1)),
        false => (WallTime::MIN, WallTime::MAX),
    };
    let last_sector = end - 512..end;
    driver.refuse_writes(std::slice::from_ref(&last_sector));
    // What is withdrawn for it stays so: all but one of these are what is in use after two.
    for turn in 0..3 {
        demand!(!driver.erase("cam0", from, to)?, "asked {turn} times before, it is said to be erased");
        if turn == 1 {
            driver.power_cut()?;
        }
    }
    driver.refuse_writes(&[]);
    let withdrawn = driver.volume()?.blocks().iter().any(|block| block.state == BlockState::Bad);
    demand!(driver.erase("cam0", from, to)? != withdrawn, "withdrawn: {withdrawn}");
    driver.lap()?;
    Ok(driver.judged)
}

#[test]
fn what_was_given_up_and_cannot_be_erased_stays_given_up_and_is_told_again() {
    for_seeds("given up and asked for", 8995, 3, given_up);
}

pub(super) fn given_up(seed: u64) -> Verdict<u64> {
    let mut driver = lapped(seed, Cuts::NONE)?;
    driver.faulty = true;
    let granted = driver.view().granted;
    demand!(granted.len() > 1, "only {granted:?} are set aside");
    driver.power_cut_with(CrashPlan::None)?;
    let mine = driver.live_of("cam0");
    let others = mine.iter().take(2).map(|live| live.block);
    let places: Vec<_> = granted.into_iter().chain(others).map(|block| driver.place(block)).collect();
    driver.refuse_writes(&places);
    for turn in 0..2 {
        demand!(
            !driver.erase("cam0", WallTime::MIN, WallTime::MAX)?,
            "asked {turn} times before, it is said to be erased"
        );
    }
    driver.refuse_writes(&[]);
    driver.power_cut()?;
    (0..2).try_for_each(|_| driver.lap())?;
    Ok(driver.judged)
}

#[test]
fn what_a_crash_left_half_erased_and_the_disk_refuses_then_is_not_said_to_be_erased() {
    for_seeds("half erased and refused", 8996, 2, refused_left);
}

pub(super) fn refused_left(seed: u64) -> Verdict<u64> {
    let mut driver = lapped(seed, Cuts::NONE)?;
    driver.faulty = true;
    let (from, to) = range(&driver, "cam0", 12, 30)?;
    driver.begin_erasing("cam0", from, to)?;
    let mut rounds = 0;
    while unwiped(&driver.disk.crash(CrashPlan::None))?.is_empty() {
        demand!(rounds < 20, "nothing is ever half erased");
        driver.round()?;
        rounds += 1;
    }
    driver.power_cut_with(CrashPlan::None)?;
    let left = unwiped(&driver.disk.crash(CrashPlan::None))?;
    let plan =
        driver.volume()?.plan_erase(driver.id_of("cam0"), TimeRange { from: Some(from), to: Some(to) });
    demand!(plan.left as usize >= left.len(), "of {left:?} a reader knows {}", plan.left);
    let tail = |block: &BlockIndex| driver.place(*block).end - 512..driver.place(*block).end;
    let tails: Vec<_> = left.iter().map(tail).collect();
    driver.refuse_writes(&tails);
    for turn in 0..2 {
        demand!(!driver.erase("cam0", from, to)?, "asked {turn} times before, it is said to be erased");
    }
    driver.refuse_writes(&[]);
    let withdrawn = driver.volume()?.blocks().iter().any(|block| block.state == BlockState::Bad);
    demand!(driver.erase("cam0", from, to)? != withdrawn, "withdrawn: {withdrawn}");
    driver.lap()?;
    Ok(driver.judged)
}

#[test]
fn a_block_of_which_nobody_can_tell_what_a_crash_left_keeps_no_erasure_from_ending() {
    for_seeds("half erased, unreadable, asked for", 8998, 2, unreadable_asked);
}

pub(super) fn unreadable_asked(seed: u64) -> Verdict<u64> {
    let mut driver = lapped(seed, Cuts::NONE)?;
    driver.faulty = true;
    let (from, to) = range(&driver, "cam0", 12, 30)?;
    driver.begin_erasing("cam0", from, to)?;
    for _ in 0..20 {
        if !unwiped(&driver.disk.crash(CrashPlan::None))?.is_empty() {
            break;
        }
        driver.round()?;
    }
    driver.power_cut_with(CrashPlan::None)?;
    let left = unwiped(&driver.disk.crash(CrashPlan::None))?;
    demand!(!left.is_empty(), "nothing is half erased");
    for block in &left {
        driver.disk.fail_range(driver.place(*block), Errno::EIO, Kinds::READS);
    }
    (0..20).try_for_each(|_| driver.round())?;
    demand!(!driver.erase("cam0", WallTime::MIN, WallTime::MAX)?, "what cannot be read is said to be erased");
    demand!(!driver.view().erasing, "it waits for what cannot be read");
    driver.push(0, 700)?;
    driver.settle()?;
    driver.disk.clear_faults();
    driver.clock.advance(Duration::from_secs(61));
    (0..20).try_for_each(|_| driver.round())?;
    let still = unwiped(&driver.disk.crash(CrashPlan::None))?;
    demand!(still.is_empty(), "what can be read again is not overwritten: {still:?}");
    demand!(driver.erase("cam0", WallTime::MIN, WallTime::MAX)?, "what can be read again is not erased");
    driver.lap()?;
    Ok(driver.judged)
}

#[test]
fn what_a_crash_left_half_erased_is_finished_however_long_it_cannot_be_read() {
    for_seeds("half erased and unreadable", 8990, 1, unreadable_left);
}

pub(super) fn unreadable_left(seed: u64) -> Verdict<u64> {
    let driver = lapped(seed, Cuts::NONE)?;
    let (from, to) = range(&driver, "cam0", 12, 30)?;
    let (image, _) = driver.close()?;
    let disk = SimDisk::from_image(image, seed);
    let control = disk.control();
    let mut engine = open_engine(disk)?;
    let stream = StreamName::new("cam0").map_err(|error| error.to_string())?;
    engine.begin_erase(&EraseRequest { stream, from, to }).map_err(|error| error.to_string())?;
    let (mut judged, mut begun) = (0, 0);
    for _ in 0..12 {
        engine.round();
        let image = control.crash(CrashPlan::None);
        begun += unwiped(&image)?.len();
        for closes in [false, true] {
            let disk = SimDisk::from_image(image.clone(), seed);
            let control = disk.control();
            let mut engine = open_engine(disk)?;
            control.fail_reader(control.reader_reads(), Errno::EIO, Repeat::Forever);
            (0..20).for_each(|_| drop(engine.round()));
            if closes {
                engine.close().map_err(|error| error.to_string())?;
                control.clear_faults();
                let disk = SimDisk::from_image(control.crash(CrashPlan::None), seed);
                let control = disk.control();
                finished(open_engine(disk)?, &control)?;
            } else {
                control.clear_faults();
                finished(engine, &control)?;
            }
            judged += 1;
        }
    }
    demand!(begun > 0, "no crash left anything");
    Ok(judged)
}

/// What was begun is overwritten after some rounds.
fn finished(
    mut engine: crate::writer::engine::Engine<SimDisk>,
    control: &crate::disk::sim::SimControl,
) -> Verdict {
    (0..40).for_each(|_| drop(engine.round()));
    engine.close().map_err(|error| error.to_string())?;
    let left = unwiped(&control.crash(CrashPlan::None))?;
    demand!(left.is_empty(), "{left:?} are never finished");
    Ok(())
}
