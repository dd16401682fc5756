//! Rows of the table that are lost, on volumes with holds and after crashes: found again from the blocks, they say what they
//! said before, and none of them costs footage of another block.

use super::driver::{Cuts, Driver, shared};
use super::hold_tests::{lapped, oldest};
use super::oracle::{Claim, judge};
use super::words::{deeds, recorder};
use super::{Verdict, demand, for_seeds};
use crate::disk::sim::{CrashPlan, Errno, Kinds};
use crate::format::SECTOR_BYTES;
use crate::format::footer::ChunkPlace;
use crate::format::table::ROWS_PER_SECTOR;
use crate::recover::Recovered;
use crate::scan::Scanner;
use crate::types::BlockIndex;

/// Loses each sector of the table in turn, then all of it.
fn each_sector_lost(driver: &Driver) -> Verdict<u64> {
    let (image, view) = (driver.disk.crash(CrashPlan::None), driver.view());
    let geometry = driver.shape.geometry();
    let sectors = (geometry.blocks as usize).div_ceil(ROWS_PER_SECTOR);
    let each = (0..sectors).map(|sector| (sector, 1)).chain([(0, sectors)]);
    let mut judged = 0;
    for (first, count) in each {
        let mut damaged = image.clone();
        let at = geometry.table_at() + (first * SECTOR_BYTES) as u64;
        damaged.write(at, &vec![0xa5; count * SECTOR_BYTES]);
        let claim = Claim { model: &driver.model, views: vec![view.clone()], faulty: true, clean: false };
        judge(&shared(&damaged), &claim)
            .map_err(|why| format!("{count} sectors of the table from {first} on lost: {why}"))?;
        judged += 1;
    }
    Ok(judged)
}

/// The second camera's older footage is held, and all between that and its newest, of which there is little, overwritten.
fn little_behind_a_hold(seed: u64) -> Verdict<Driver> {
    let mut driver = lapped(seed, Cuts::NONE)?;
    let (from, to) = oldest(&driver, "cam1", 4)?;
    driver.hold("cam1", from, to, None)?.ok_or("there is room")?;
    // A block that is open would stay.
    driver.park(1)?;
    for _ in 0..120 {
        for _ in 0..3 {
            driver.push(0, 3000)?;
        }
        driver.round()?;
    }
    Ok(driver)
}

#[test]
fn a_lost_table_sector_costs_nothing_of_a_stream_with_little_behind_a_hold() {
    for_seeds("lost rows behind a hold", 8900, 6, behind_a_hold);
}

pub(super) fn behind_a_hold(seed: u64) -> Verdict<u64> {
    let mut driver = little_behind_a_hold(seed)?;
    for _ in 0..1 + seed % 3 {
        driver.push(1, 700)?;
    }
    driver.round()?;
    driver.park(1)?;
    // Its row goes into the table, and out of the record.
    for _ in 0..12 {
        driver.push(0, 500)?;
        driver.round()?;
    }
    driver.settle()?;
    each_sector_lost(&driver)
}

#[test]
fn a_stream_behind_a_hold_that_leaves_a_bad_block_keeps_what_was_reported() {
    for_seeds("leaving a bad block behind a hold", 9000, 4, leaves_a_bad_block);
}

/// The block that it takes refuses to be written; the power fails right after it moved to another one.
pub(super) fn leaves_a_bad_block(seed: u64) -> Verdict<u64> {
    let mut judged = 0;
    let granted = little_behind_a_hold(seed)?.view().granted;
    demand!(!granted.is_empty(), "nothing is set aside");
    for block in granted {
        let mut driver = little_behind_a_hold(seed)?;
        driver.faulty = true;
        driver.disk.fail_range(driver.place(block), Errno::EIO, Kinds::WRITES);
        driver.push(1, 900)?;
        driver.round()?;
        driver.disk.clear_faults();
        driver.power_cut_with(CrashPlan::None).map_err(|why| format!("block {block}: {why}"))?;
        driver.lap()?;
        judged += driver.judged;
    }
    Ok(judged)
}

#[test]
fn a_lost_table_sector_costs_nothing_after_a_power_cut_in_any_way() {
    for_seeds("lost rows after a crash", 9100, 3, after_a_crash);
}

/// Footers that landed before their chunks stand in blocks of which the table knew better. (Where what was lost lies before
/// what landed, the blocks alone cannot tell it from damage; nor can they tell that no record knew of what landed.)
pub(super) fn after_a_crash(seed: u64) -> Verdict<u64> {
    let (mut judged, mut with_footers) = (0, 0);
    for word in ["srff", "srfff", "srfdf", "srtff"] {
        for plan in (0..24).map(CrashPlan::AllButWrite) {
            let mut driver = recorder(seed)?;
            let context = |why: String| format!("`{word}`, {plan:?}: {why}");
            deeds(word).into_iter().try_for_each(|deed| deed.run(&mut driver)).map_err(context)?;
            driver.power_cut_with(plan).map_err(context)?;
            for _ in 0..8 {
                driver.push(1, 200).map_err(context)?;
                driver.round().map_err(context)?;
            }
            let ends = lost_ends(&driver)?;
            with_footers += ends.iter().filter(|at_end| **at_end).count();
            if ends.iter().all(|at_end| *at_end) {
                judged += each_sector_lost(&driver).map_err(context)?;
            }
        }
    }
    demand!(with_footers > 0, "no footer outlived its chunks");
    Ok(judged)
}

/// Of each footer of which a chunk does not stand: whether what is lost lies at its end.
fn lost_ends(driver: &Driver) -> Verdict<Vec<bool>> {
    let volume = driver.volume()?;
    let (state, image) = (volume.state(), driver.disk.snapshot());
    let scanner = Scanner { disk: &image, geometry: &state.geometry, volume: state.volume() };
    let mut ends = Vec::new();
    for (index, row) in state.rows.iter().enumerate().filter(|(_, row)| row.is_live()) {
        let take = Recovered::take(BlockIndex(index as u32), row);
        let Some((_, footer)) = scanner.footer(&take) else { continue };
        let stands = |place: &ChunkPlace| {
            let loaded = scanner.load_at(&take, place.offset as usize, place.bytes as usize);
            loaded.is_some_and(|loaded| loaded.problems().is_empty())
        };
        let first_lost = footer.chunks.iter().position(|place| !stands(place));
        let last_stands = footer.chunks.iter().rposition(stands);
        ends.extend(first_lost.map(|first| last_stands.is_none_or(|last| last < first)));
    }
    Ok(ends)
}
