//! Power cuts at random instants of random recordings.

use super::driver::{Cuts, Driver};
use super::material::Shape;
use super::words::{deeds, recorder};
use super::{Verdict, for_seeds};
use crate::disk::sim::{CrashPlan, SimRng};

#[test]
fn after_a_power_cut_at_any_instant_all_that_was_durable_is_there_and_nothing_else() {
    for_seeds("power cuts", 1000, 25, power_cuts);
}

#[test]
fn a_footer_that_came_before_its_chunks_is_not_believed_where_the_table_knew_the_block_as_parked() {
    // Long runs found it: the table, written with a neighbour's row, said open of a block that the record did not name yet.
    for_seeds("power cuts, found before", 100_532, 1, power_cuts);
}

pub(super) fn power_cuts(seed: u64) -> Verdict<u64> {
    let shape = Shape::random(&mut SimRng::new(seed));
    let mut driver = Driver::new(shape, seed, Cuts { one_in: 40, plans: 8, deep_one_in: 40 })?;
    for step in 0..250 {
        driver.step().map_err(|why| format!("step {step}: {why}"))?;
    }
    Ok(driver.judged)
}

#[test]
fn after_a_power_cut_at_every_single_event_of_a_short_recording_the_same_holds() {
    for_seeds("every event", 1500, 4, every_event);
}

pub(super) fn every_event(seed: u64) -> Verdict<u64> {
    let shape = Shape::SMALL;
    let mut driver = Driver::new(shape, seed, Cuts { one_in: 1, plans: 20, deep_one_in: 0 })?;
    driver.admit("cam0")?;
    driver.push(0, 900)?;
    driver.round()?;
    driver.admit("cam1")?;
    driver.push(1, 200)?;
    driver.push(0, 5000)?;
    driver.work()?;
    driver.gap(0)?;
    driver.round()?;
    driver.push(0, 15_000)?;
    driver.park(1)?;
    driver.configure(0, 2)?;
    driver.round()?;
    driver.push(1, 200)?;
    driver.push(0, 12_000)?;
    driver.round()?;
    driver.reopen()?;
    driver.push(1, 300)?;
    driver.round()?;
    Ok(driver.judged)
}

#[test]
fn what_a_power_cut_discarded_never_joins_what_is_written_after_it() {
    for_seeds("discarded suffixes", 1600, 4, discarded_suffixes);
}

/// Two power cuts, the same being recorded before each: chunks of the first recording that a cut left behind a lost one stand
/// where the second recording puts its own.
pub(super) fn discarded_suffixes(seed: u64) -> Verdict<u64> {
    let mut judged = 0;
    for word in ["ll", "ltlr"] {
        let first_cuts = (0..6).map(CrashPlan::AllButWrite).chain((2..40).step_by(9).map(CrashPlan::Suffix));
        for plan in first_cuts {
            let mut driver = recorder(seed)?;
            let mut twice = || -> Verdict {
                deeds(word).into_iter().try_for_each(|deed| deed.run(&mut driver))?;
                driver.power_cut_with(plan)?;
                deeds(word).into_iter().try_for_each(|deed| deed.run(&mut driver))?;
                driver.cuts = Cuts { one_in: 2, plans: 32, deep_one_in: 0 };
                driver.round()
            };
            twice().map_err(|why| format!("`{word}` twice, with {plan:?} in between: {why}"))?;
            judged += driver.judged;
        }
    }
    Ok(judged)
}
