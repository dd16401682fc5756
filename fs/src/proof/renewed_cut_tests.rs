//! A later look at a volume of which the power failed since the look before, or that another writer opens, or of which a record is
//! lost: it finds what a first look finds there, whatever became of what was not durable when the volume was looked at before.

use super::driver::{Cuts, Driver, open_engine};
use super::material::Shape;
use super::renewed_tests::{Looker, instants};
use super::{Verdict, demand, for_seeds, hold_tests};
use crate::disk::sim::{CrashPlan, CrashPoint, SimDisk, SimImage, SimRng};
use crate::format::geometry::record_capacity;
use crate::recover::{record_copies, recover};
use crate::scan::Scanner;
use crate::types::RoundNumber;
use std::collections::HashSet;
use std::path::Path;

/// What a power cut leaves at these instants, looked at from a look at the disk before it failed, which is not always the last one
/// possible. Another writer opens some of it.
fn cut_at(
    points: &[CrashPoint],
    driver: &mut Driver,
    looker: &mut Looker,
    opened_one_in: usize,
) -> Verdict<u64> {
    let mut seen = HashSet::new();
    let mut opened = 0;
    for point in points {
        for plan in CrashPlan::enumerate(point.pending_sectors(), 8, driver.rng.next_u64()) {
            let image = point.image(plan);
            if !seen.insert(image.digest()) {
                continue;
            }
            let context = |why| format!("event {}, {plan:?}: {why}", point.event());
            looker.compare(&image).map_err(context)?;
            if driver.rng.below(opened_one_in) == 0 {
                let seed = driver.rng.next_u64();
                opened += u64::from(open_on(&image, &driver.shape, looker, seed).map_err(context)?);
            }
        }
        if driver.rng.below(3) == 0 {
            looker.look(&point.image(CrashPlan::All))?;
        }
    }
    Ok(opened)
}

/// Another writer opens an image, in the midst of which the power may fail again: from the look before the first power cut, and from
/// one behind it. Whether it writes to the table before its first record.
fn open_on(image: &SimImage, shape: &Shape, looker: &mut Looker, seed: u64) -> Verdict<bool> {
    let disk = SimDisk::from_image(image.clone(), seed);
    let control = disk.control();
    control.set_alignment(shape.alignment_bytes);
    let (points, engine) = instants(&control, || open_engine(disk));
    engine?;
    let mut behind = Looker::new();
    behind.look(image)?;
    let mut rng = SimRng::new(seed);
    for point in &points {
        let plans = CrashPlan::enumerate(point.pending_sectors(), 16, rng.next_u64());
        for plan in [CrashPlan::All, plans[rng.below(plans.len())]] {
            let left = point.image(plan);
            let context = |why| format!("opening, event {}, {plan:?}: {why}", point.event());
            looker.compare(&left).map_err(context)?;
            behind.compare(&left).map_err(context)?;
        }
    }
    let found = recover(image, Path::new("proof")).map_err(|error| error.to_string())?;
    let (_, _, rows_max) = record_capacity(shape.streams);
    Ok(found.changed.len() > rows_max / 2)
}

#[test]
fn what_a_power_cut_leaves_of_what_was_seen_before_is_found_as_by_a_first_look() {
    for_seeds("later looks across power cuts", 9170, 4, power_cuts);
}

/// Two cameras are recorded and erased; the power fails at every instant of some rounds, and of some openings after that.
pub(super) fn power_cuts(seed: u64) -> Verdict<u64> {
    let mut driver = Driver::new(hold_tests::shape(seed), seed, Cuts::NONE)?;
    let mut looker = Looker::new();
    driver.admit("cam0")?;
    driver.admit("cam1")?;
    for turn in 0..90 {
        match driver.rng.below(30) {
            0 => driver.power_cut()?,
            1 => driver.erase_any()?,
            2 => drop(driver.hold_any()?),
            _ => driver.step()?,
        }
        if turn % 3 > 0 {
            continue;
        }
        let disk = driver.disk.clone();
        let (points, done) = instants(&disk, || driver.round());
        done?;
        cut_at(&points, &mut driver, &mut looker, 64)?;
        looker.look(&disk.snapshot())?;
    }
    demand!(looker.renewed * 4 > looker.looks, "only {} of {} looks go on", looker.renewed, looker.looks);
    Ok(looker.looks)
}

#[test]
fn what_another_writer_puts_into_the_table_before_its_first_record_changes_no_later_look() {
    for_seeds("later looks while another opens", 9190, 2, opened_anew);
}

/// The table refuses its rows until a record has no room for more; then the power fails, and another writer, that can write them,
/// opens: it does so first.
pub(super) fn opened_anew(seed: u64) -> Verdict<u64> {
    let shape = Shape { size_bytes: 1 << 20, ..Shape::SMALL };
    let geometry = shape.geometry();
    let mut driver = Driver::new(shape, seed, Cuts::NONE)?;
    driver.faulty = true;
    driver.model.any_spared = true;
    driver.admit("cam0")?;
    driver.admit("cam1")?;
    let table = geometry.table_at()..geometry.table_at() + geometry.table_bytes as u64;
    driver.refuse_writes(std::slice::from_ref(&table));
    let mut looker = Looker::new();
    let mut opened = 0;
    for turn in 0..160 {
        for _ in 0..4 {
            let length = 500 + driver.rng.below(3000);
            driver.push(turn, length)?;
        }
        let disk = driver.disk.clone();
        let (points, done) = instants(&disk, || driver.round());
        done?;
        looker.look(&disk.snapshot())?;
        // Until there were enough of them: how full the record is differs from turn to turn.
        if turn >= 72 && turn % 8 == 0 && opened < 2 {
            opened += cut_at(&points, &mut driver, &mut looker, 48)?;
            let seed = driver.rng.next_u64();
            opened += u64::from(open_on(&disk.snapshot(), &shape, &mut looker, seed)?);
        }
    }
    demand!(opened > 0, "nobody writes to the table before the first record");
    Ok(looker.looks)
}

#[test]
fn a_record_that_is_lost_hides_none_of_those_behind_it_from_a_later_look() {
    for_seeds("later looks over a hole", 9195, 2, hole);
}

/// Both copies of the record behind the known one are overwritten.
pub(super) fn hole(seed: u64) -> Verdict<u64> {
    let mut driver = Driver::new(hold_tests::shape(seed), seed, Cuts::NONE)?;
    driver.faulty = true;
    let mut looker = Looker::new();
    driver.admit("cam0")?;
    for _ in 0..40 {
        driver.push(0, 1500)?;
        driver.round()?;
        looker.look(&driver.disk.snapshot())?;
        let known = looker.last.as_ref().map_or(0, |volume| volume.state().round.0);
        for _ in 0..2 {
            driver.push(0, 1500)?;
            driver.round()?;
        }
        let mut image = driver.disk.snapshot();
        let now = recover(&image, Path::new("proof")).map_err(|error| error.to_string())?;
        let scanner = Scanner { disk: &image.clone(), geometry: &now.geometry, volume: now.volume() };
        for (at, _) in record_copies(&scanner, RoundNumber(known + 1)) {
            image.write(at, &vec![0xee; now.geometry.log_slot_bytes]);
        }
        looker.compare(&image)?;
    }
    demand!(looker.renewed == looker.looks, "{} of {} looks go on", looker.renewed, looker.looks);
    Ok(looker.looks)
}
