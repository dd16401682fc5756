//! Power cuts at random instants of random recordings.

use super::damage_tests::{full_volume, read_all};
use super::driver::{Cuts, Driver, open_engine, shared};
use super::material::Shape;
use super::words::{deeds, recorder};
use super::{Verdict, demand, for_seeds};
use crate::disk::sim::{CrashPlan, SimDisk, SimRng};
use std::sync::{Arc, Mutex, PoisonError};

#[test]
fn after_a_power_cut_at_any_instant_all_that_was_durable_is_there_and_nothing_else() {
    for_seeds("power cuts", 1000, 25, power_cuts);
}

#[test]
fn a_footer_that_came_before_its_chunks_is_not_believed_where_the_table_knew_the_block_as_parked() {
    for_seeds("resumed beside a neighbour", 1800, 1, resumed_beside_a_neighbour);
}

/// A parked block is written on to its end in the very round in which the table's sector is written for its neighbour's row:
/// then the table speaks of a block that the record does not name yet.
pub(super) fn resumed_beside_a_neighbour(seed: u64) -> Verdict<u64> {
    let mut judged = 0;
    for bytes in [9_000, 12_000, 14_500] {
        let mut driver = Driver::new(Shape::SMALL, seed, Cuts::NONE)?;
        for (stream, name) in ["cam0", "cam1"].into_iter().enumerate() {
            driver.admit(name)?;
            driver.push(stream, 300)?;
        }
        driver.round()?;
        driver.park(1)?;
        for _ in 0..4 {
            driver.push(0, 100)?;
            driver.round()?;
        }
        driver.push(0, 16_000)?;
        driver.round()?;
        // Now a record has its row, and the table is to have it.
        driver.round()?;
        driver.cuts = Cuts { one_in: 1, plans: 256, deep_one_in: 0 };
        for piece in [bytes, 3000] {
            driver.push(1, piece)?;
        }
        driver.round().map_err(|why| format!("{bytes} bytes: {why}"))?;
        driver.round()?;
        judged += driver.judged;
    }
    Ok(judged)
}

pub(super) fn power_cuts(seed: u64) -> Verdict<u64> {
    power_cuts_on(Shape::random(&mut SimRng::new(seed)), seed)
}

/// [`power_cuts`] on a volume of this shape.
pub(super) fn power_cuts_on(shape: Shape, seed: u64) -> Verdict<u64> {
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
    every_event_on(Shape::SMALL, seed)
}

/// [`every_event`] on a volume of this shape.
pub(super) fn every_event_on(shape: Shape, seed: u64) -> Verdict<u64> {
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
fn a_torn_page_of_a_new_block_is_taken_for_nothing() {
    for_seeds("torn pages", 1700, 1, torn_pages);
}

/// Pages of two sectors. What was taken although half its page is missing shows once an opening has made it durable.
pub(super) fn torn_pages(seed: u64) -> Verdict<u64> {
    let shape = Shape { page_bytes: 1024, ..Shape::SMALL };
    let mut driver = Driver::new(shape, seed, Cuts { one_in: 1, plans: 64, deep_one_in: 2 })?;
    driver.admit("cam0")?;
    for _ in 0..2 {
        driver.push(0, 600)?;
        driver.round()?;
    }
    driver.reopen()?;
    driver.push(0, 15_000)?;
    driver.round()?;
    driver.push(0, 600)?;
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

#[test]
fn a_writer_that_records_nothing_costs_nothing_however_it_ends() {
    for_seeds("idle writers", 1900, 2, idle_writer);
}

/// Opens a full volume for writing, as whoever holds or sets something does, and loses power at every event of it.
pub(super) fn idle_writer(seed: u64) -> Verdict<u64> {
    let (image, model) = full_volume(seed)?;
    let (_, whole, _) = read_all(shared(&image), &model)?;
    let disk = SimDisk::from_image(image, seed);
    let control = disk.control();
    let images = Arc::new(Mutex::new(vec![]));
    let met = Arc::clone(&images);
    control.on_event(move |point| {
        met.lock().unwrap_or_else(PoisonError::into_inner).push(point.image(CrashPlan::All))
    });
    let mut engine = open_engine(disk)?;
    engine.round();
    control.off_event();
    let images = std::mem::take(&mut *images.lock().unwrap_or_else(PoisonError::into_inner));
    for (event, image) in images.iter().enumerate() {
        let (_, left, damage) = read_all(shared(image), &model)?;
        demand!(
            left == whole && damage.is_empty(),
            "event {event}: {} of {} are left",
            left.len(),
            whole.len()
        );
    }
    Ok(images.len() as u64)
}
