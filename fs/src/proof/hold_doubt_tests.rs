//! Holds on a bad disk: damaged copies, lost changes, failing writes. What is known stays held, what is not known raises an
//! alarm and is overwritten last, and recording goes on.

use super::driver::{Cuts, Driver, shared};
use super::fault_tests::goes_on;
use super::hold_tests::{lapped, oldest, shape};
use super::holds::numbers;
use super::nth_tests::faults_for;
use super::oracle::Model;
use super::{Verdict, demand, for_seeds};
use crate::disk::ReadAt;
use crate::disk::sim::{Kinds, SimImage};
use crate::format::SECTOR_BYTES;
use crate::reader::Volume;
use crate::report::TimeRange;
use crate::types::HoldId;
use std::collections::BTreeSet;
use std::path::Path;

/// A volume with a hold, closed cleanly.
struct Held {
    image: SimImage,
    model: Model,
    /// The same before the hold was made.
    before: SimImage,
    id: HoldId,
    kept: BTreeSet<i64>,
}

fn held(seed: u64) -> Verdict<Held> {
    let driver = lapped(seed, Cuts::NONE)?;
    let (before, model) = driver.close()?;
    let mut driver = Driver::on(before.clone(), shape(seed), model, seed, Cuts::NONE)?;
    driver.clock.advance(std::time::Duration::from_secs(5 * 3600));
    let (from, to) = oldest(&driver, "cam0", 8)?;
    let hold = driver.hold("cam0", from, to, None)?.ok_or("there is room")?;
    let kept = driver.model.holds.get(&hold.id).map(|held| held.numbers.clone()).unwrap_or_default();
    // Rows are marked as held one by one, with the next rounds.
    (0..8).try_for_each(|_| driver.round())?;
    let (image, model) = driver.close()?;
    Ok(Held { image, model, before, id: hold.id, kept })
}

fn volume(image: &SimImage) -> Verdict<Volume> {
    Volume::from_disk(shared(image), Path::new("proof")).map_err(|error| error.to_string())
}

/// Destroys a sector of one copy of the holds, or of both.
fn destroy(image: &mut SimImage, seed: u64, slot: usize, copies: &[usize]) {
    for copy in copies {
        let at = shape(seed).geometry().holds_at()[*copy] + (slot * SECTOR_BYTES) as u64;
        image.write(at, &[0xa5; SECTOR_BYTES]);
    }
}

#[test]
fn one_damaged_copy_of_a_hold_costs_nothing_and_is_repaired() {
    for_seeds("a damaged copy of a hold", 7800, 2, |seed| {
        let held = held(seed)?;
        for copy in [0, 1] {
            let mut image = held.image.clone();
            destroy(&mut image, seed, 0, &[copy]);
            let found = volume(&image)?;
            demand!(found.findings().iter().any(|finding| finding.what == "hold"), "it goes unnoticed");
            let check = found.check(&mut |_, _| ()).map_err(|error| error.to_string())?;
            demand!(check.findings.iter().any(|finding| finding.what == "hold"), "check does not say so");
            let mut driver = Driver::faulty_on(image, shape(seed), held.model.clone(), seed)?;
            demand!(driver.volume()?.findings().is_empty(), "the copy is not repaired");
            driver.faulty = false;
            driver.lap()?;
            driver.power_cut()?;
            driver.lap()?;
        }
        Ok(2)
    });
}

/// Opens a volume of which a hold was lost, and judges that what it held is overwritten last, until that is lifted.
fn is_spared(mut held: Held, seed: u64) -> Verdict {
    let lost: Vec<HoldId> =
        volume(&held.image)?.holds().iter().filter(|hold| hold.lost).map(|hold| hold.id).collect();
    demand!(lost.len() == 1, "{} holds are said to be lost", lost.len());
    held.model.holds.clear();
    held.model.holds_lost = true;
    let mut driver = Driver::faulty_on(held.image, shape(seed), held.model, seed)?;
    for _ in 0..2 {
        driver.lap()?;
        driver.reopen()?;
    }
    let there = |driver: &Driver| numbers(&driver.volume()?, "cam0", TimeRange::default());
    let missing: Vec<i64> = held.kept.difference(&there(&driver)?).copied().collect();
    demand!(missing.is_empty(), "of what a lost hold kept, {missing:?} are overwritten before anything else");
    let lost: Vec<_> = driver.volume()?.holds().into_iter().filter(|hold| hold.lost).collect();
    let [lost] = lost.as_slice() else { return Err(format!("after reopening {lost:?} are lost")) };
    driver.lift(lost.id)?;
    driver.model.holds_lost = false;
    driver.lap()?;
    driver.lap()?;
    demand!(there(&driver)?.is_disjoint(&held.kept), "it is spared although nothing is lost any more");
    driver.reopen()
}

#[test]
fn what_a_hold_kept_that_nobody_can_read_any_more_is_overwritten_last() {
    for_seeds("a lost hold", 7820, 4, lost_hold);
}

pub(super) fn lost_hold(seed: u64) -> Verdict<u64> {
    let mut held = held(seed)?;
    destroy(&mut held.image, seed, 0, &[0, 1]);
    is_spared(held, seed).map(|()| 1)
}

#[test]
fn a_hold_that_a_lying_disk_never_wrote_is_missed_and_what_it_kept_is_overwritten_last() {
    for_seeds("an outdated hold", 7840, 4, |seed| {
        let mut held = held(seed)?;
        let geometry = shape(seed).geometry();
        for at in geometry.holds_at() {
            let mut bytes = vec![0; geometry.holds_bytes];
            held.before.read_exact_at(&mut bytes, at).map_err(|error| error.to_string())?;
            held.image.write(at, &bytes);
        }
        demand!(volume(&held.image)?.holds().iter().all(|hold| hold.id != held.id), "it is there after all");
        is_spared(held, seed).map(|()| 1)
    });
}

#[test]
fn whichever_operation_fails_while_a_hold_is_made_it_is_refused_or_it_stands() {
    for_seeds("holds on a failing disk", 7860, 1, |seed| {
        let mut judged = 0;
        for nth in 0..40 {
            for (errno, repeat) in faults_for(nth, false).into_iter().chain(faults_for(nth + 1, false)) {
                let trial = || -> Verdict<u64> {
                    let mut driver = lapped(seed, Cuts::NONE)?;
                    driver.faulty = true;
                    let (from, to) = oldest(&driver, "cam0", 4)?;
                    driver.disk.fail_nth(driver.disk.submitted() + nth, errno, repeat, Kinds::ALL);
                    driver.hold("cam0", from, to, None)?;
                    driver.disk.clear_faults();
                    goes_on(&mut driver, nth.is_multiple_of(4))?;
                    Ok(driver.judged)
                };
                judged += trial().map_err(|why| format!("{errno} {repeat:?} at {nth}: {why}"))?;
            }
        }
        Ok(judged)
    });
}
