//! What an erasure leaves where the disk refuses: withheld for good, and finished as soon as it can be.

use super::driver::{Cuts, open_engine};
use super::erase_tests::{range, unwiped};
use super::hold_tests::lapped;
use super::{Verdict, demand, for_seeds};
use crate::disk::sim::{CrashPlan, Errno, Repeat, SimDisk};
use crate::types::{StreamName, WallTime};
use crate::writer::EraseRequest;

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
