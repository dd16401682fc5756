//! Places of the metadata that can never be written again: recording goes on over laps, the volume opens without an operator,
//! and nothing that was reported durable is lost.

use super::driver::{Cuts, Driver};
use super::material::Shape;
use super::oracle::Model;
use super::{Verdict, demand, for_seeds};
use crate::disk::sim::SimImage;
use crate::format::SECTOR_BYTES;
use crate::format::geometry::Geometry;
use std::ops::Range;

/// More blocks than a round record has room for rows.
const SHAPE: Shape = Shape { size_bytes: 1 << 20, streams: 2, ..Shape::SMALL };

fn full(seed: u64) -> Verdict<(SimImage, Model)> {
    let mut driver = Driver::new(SHAPE, seed, Cuts::NONE)?;
    driver.admit("cam0")?;
    driver.lap()?;
    driver.close()
}

/// Sectors `places` of a region.
fn sectors(at: u64, places: Range<usize>) -> impl Iterator<Item = Range<u64>> {
    places.map(move |place| {
        let begin = at + (place * SECTOR_BYTES) as u64;
        begin..begin + SECTOR_BYTES as u64
    })
}

fn table_sectors(geometry: &Geometry) -> usize {
    (geometry.blocks as usize).div_ceil(crate::format::table::ROWS_PER_SECTOR)
}

/// Two laps, an end, a power cut and a lap while a place refuses to be written; then it is whole again.
fn goes_round(mut driver: Driver, bad: &[Range<u64>]) -> Verdict<u64> {
    driver.refuse_writes(bad);
    driver.lap()?;
    driver.lap()?;
    driver.reopen()?;
    driver.lap()?;
    driver.power_cut()?;
    driver.lap()?;
    driver.refuse_writes(&[]);
    (0..130).try_for_each(|_| driver.round())?;
    driver.lap()?;
    driver.reopen()?;
    Ok(driver.judged)
}

#[test]
fn a_sector_of_the_table_or_the_log_that_cannot_be_written_stops_nothing() {
    for_seeds("unwritable metadata", 8000, 1, unwritable_metadata);
}

pub(super) fn unwritable_metadata(seed: u64) -> Verdict<u64> {
    let (image, model) = full(seed)?;
    let geometry = SHAPE.geometry();
    let table = sectors(geometry.table_at(), 0..table_sectors(&geometry));
    let in_log = 16 * geometry.log_slot_bytes / SECTOR_BYTES;
    let logs = geometry.logs_at().into_iter().flat_map(|at| sectors(at, 0..in_log).step_by(23));
    let mut judged = 0;
    for bad in table.chain(logs) {
        let driver = Driver::faulty_on(image.clone(), SHAPE, model.clone(), seed)?;
        judged +=
            goes_round(driver, std::slice::from_ref(&bad)).map_err(|why| format!("bytes {bad:?}: {why}"))?;
    }
    Ok(judged)
}

#[test]
fn a_damaged_copy_that_cannot_be_repaired_keeps_no_volume_closed() {
    for_seeds("unwritable copies", 8200, 1, unwritable_copies);
}

/// Each copy of superblock, directory and holds in turn is destroyed, and its place refuses to be written.
pub(super) fn unwritable_copies(seed: u64) -> Verdict<u64> {
    let (image, model) = full(seed)?;
    let geometry = SHAPE.geometry();
    let places =
        geometry.copies_at.iter().copied().chain(geometry.directories_at()).chain(geometry.holds_at());
    let mut judged = 0;
    for at in places {
        let bad = at..at + SECTOR_BYTES as u64;
        let trial = || -> Verdict<u64> {
            let mut damaged = image.clone();
            damaged.write(at, &[0xa5; SECTOR_BYTES]);
            let mut driver =
                Driver::refusing_on(damaged, SHAPE, model.clone(), seed, std::slice::from_ref(&bad))?;
            driver.clock.advance(std::time::Duration::from_secs(5 * 3600));
            driver.admit("cam1")?;
            driver.push(1, 500)?;
            driver.settle()?;
            let (from, to) = super::hold_tests::oldest(&driver, "cam0", 4)?;
            let hold = driver.hold("cam0", from, to, None)?.ok_or("there is room")?;
            driver.lap()?;
            driver.reopen()?;
            driver.lap()?;
            driver.power_cut()?;
            driver.lift(hold.id)?;
            driver.lap()?;
            driver.power_cut()?;
            demand!(driver.volume()?.holds().is_empty(), "what was lifted is back");
            driver.refuse_writes(&[]);
            (0..130).try_for_each(|_| driver.round())?;
            demand!(driver.volume()?.findings().is_empty(), "the copy is never repaired");
            driver.faulty = false;
            driver.reopen()?;
            Ok(driver.judged)
        };
        judged += trial().map_err(|why| format!("the copy at {at}: {why}"))?;
    }
    Ok(judged)
}

#[test]
fn while_one_copy_of_the_directory_cannot_be_written_the_other_is_never_older_than_acknowledged() {
    for_seeds("a directory in one place", 8250, 1, directory_in_one_place);
}

/// A stream is admitted while one place refuses; the power fails at any event until that place is tried again.
pub(super) fn directory_in_one_place(seed: u64) -> Verdict<u64> {
    let (image, model) = full(seed)?;
    let geometry = SHAPE.geometry();
    let mut judged = 0;
    for at in geometry.directories_at() {
        let mut driver = Driver::faulty_on(image.clone(), SHAPE, model.clone(), seed)?;
        let bad = at..at + SECTOR_BYTES as u64;
        driver.refuse_writes(std::slice::from_ref(&bad));
        driver.admit("cam1")?;
        driver.push(1, 500)?;
        driver.settle()?;
        driver.cuts = Cuts { one_in: 1, plans: 4, deep_one_in: 0 };
        (0..70).try_for_each(|_| driver.round()).map_err(|why| format!("the copy at {at}: {why}"))?;
        judged += driver.judged;
    }
    Ok(judged)
}

#[test]
fn a_table_that_cannot_be_written_at_all_stops_nothing() {
    for_seeds("unwritable table", 8100, 2, |seed| {
        let (image, model) = full(seed)?;
        let geometry = SHAPE.geometry();
        let at = geometry.table_at();
        let table = at..at + geometry.table_bytes as u64;
        let mut driver = Driver::faulty_on(image, SHAPE, model, seed)?;
        driver.model.any_spared = true;
        goes_round(driver, std::slice::from_ref(&table))
    });
}
