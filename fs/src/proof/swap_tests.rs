//! Blocks and metadata in the place of others: blocks swapped, an older copy put back, one of another volume put in; table
//! sectors, directories and round records of an earlier time. Never served as something else, named by `check`, the rest
//! served.

use super::damage_tests::full_volume;
use super::driver::{Cuts, Driver};
use super::material::Shape;
use super::truth::Truth;
use super::{Verdict, demand, for_seeds};
use crate::disk::ReadAt;
use crate::disk::sim::SimImage;
use crate::format::SECTOR_BYTES;
use crate::recover::recover;
use crate::types::BlockIndex;
use std::collections::BTreeSet;
use std::path::Path;

/// Added to a seed, it makes another volume: its identity differs from the first byte on.
const OTHER: u64 = 1 << 60;

fn bytes_of(image: &SimImage, at: u64, length: usize) -> Verdict<Vec<u8>> {
    let mut bytes = vec![0; length];
    image.read_exact_at(&mut bytes, at).map_err(|error| error.to_string())?;
    Ok(bytes)
}

/// A volume, as it was a lap ago and as it is now, and what it holds now.
fn two_laps(seed: u64) -> Verdict<(SimImage, Truth)> {
    let (old, model) = full_volume(seed)?;
    let mut driver = Driver::on(old.clone(), Shape::SMALL, model, seed, Cuts::NONE)?;
    driver.lap()?;
    let (new, model) = driver.close()?;
    Ok((old, Truth::of(new, model)?))
}

/// Reads and checks an image in which these blocks are not what they were: each is named, everything else is served.
fn judge(truth: &Truth, image: &SimImage, hit: &BTreeSet<BlockIndex>, says: &str) -> Verdict {
    let served = truth.serve(image, |block| !hit.contains(&block))?.ok_or("it does not open")?;
    let lost = truth.whole().len() - served.seen.len();
    demand!(lost == 0 || !served.damage.is_empty(), "{lost} samples are missing silently");
    let report = served.volume.check(&mut |_, _| ()).map_err(|error| error.to_string())?;
    for block in hit.intersection(&truth.used_blocks()) {
        let named = report.findings.iter().find(|finding| finding.block == Some(*block));
        let named = named.ok_or_else(|| format!("check does not name block {block}"))?;
        demand!(named.footage_lost && named.detail.contains(says), "of block {block} it says {named:?}");
    }
    let others =
        report.findings.iter().filter_map(|finding| finding.block).find(|block| !hit.contains(block));
    demand!(others.is_none(), "check names block {others:?}, which is whole");
    Ok(())
}

#[test]
fn blocks_that_were_swapped_are_named_and_served_as_nothing_else() {
    for_seeds("swapped blocks", 8400, 2, swapped_blocks);
}

pub(super) fn swapped_blocks(seed: u64) -> Verdict<u64> {
    let truth = Truth::full(seed)?;
    let size = truth.geometry.block_bytes;
    let mut judged = 0;
    for first in truth.used_blocks() {
        for second in truth.used_blocks().into_iter().filter(|second| *second > first) {
            let mut image = truth.image.clone();
            for (from, to) in [(first, second), (second, first)] {
                let bytes = bytes_of(&truth.image, truth.geometry.block_at(from), size)?;
                image.write(truth.geometry.block_at(to), &bytes);
            }
            let context = |why: String| format!("blocks {first} and {second}: {why}");
            judge(&truth, &image, &BTreeSet::from([first, second]), "of this volume stands here")
                .map_err(context)?;
            judged += 1;
        }
    }
    Ok(judged)
}

#[test]
fn an_older_copy_of_a_block_is_named_and_not_served() {
    for_seeds("older copies of blocks", 8500, 2, older_blocks);
}

pub(super) fn older_blocks(seed: u64) -> Verdict<u64> {
    let (old, truth) = two_laps(seed)?;
    let mut judged = 0;
    for block in truth.geometry.all_blocks() {
        let mut image = truth.image.clone();
        let at = truth.geometry.block_at(block);
        image.write(at, &bytes_of(&old, at, truth.geometry.block_bytes)?);
        if image == truth.image {
            continue;
        }
        let context = |why: String| format!("block {block}: {why}");
        judge(&truth, &image, &BTreeSet::from([block]), "an older take").map_err(context)?;
        judged += 1;
    }
    demand!(judged > 5, "only {judged} blocks had changed");
    Ok(judged)
}

#[test]
fn a_block_of_another_volume_is_named_and_not_served() {
    for_seeds("blocks of another volume", 8600, 2, foreign_blocks);
}

pub(super) fn foreign_blocks(seed: u64) -> Verdict<u64> {
    let truth = Truth::full(seed)?;
    let (other, _) = full_volume(seed + OTHER)?;
    let mut judged = 0;
    for block in truth.geometry.all_blocks() {
        let mut image = truth.image.clone();
        let at = truth.geometry.block_at(block);
        image.write(at, &bytes_of(&other, at, truth.geometry.block_bytes)?);
        let context = |why: String| format!("block {block}: {why}");
        judge(&truth, &image, &BTreeSet::from([block]), "another volume").map_err(context)?;
        judged += 1;
    }
    Ok(judged)
}

#[test]
fn a_table_sector_of_another_volume_or_time_is_found() {
    for_seeds("table sectors of another time", 8700, 2, stale_sectors);
}

/// Each sector as it was when the volume was empty, a lap ago, and in another volume: what is served is right, and what is
/// missing is named.
pub(super) fn stale_sectors(seed: u64) -> Verdict<u64> {
    let (old, truth) = two_laps(seed)?;
    let empty = super::material::empty_volume(&Shape::SMALL, seed);
    let (other, _) = full_volume(seed + OTHER)?;
    let mut judged = 0;
    let sectors = (truth.geometry.blocks as usize).div_ceil(crate::format::table::ROWS_PER_SECTOR);
    for sector in 0..sectors {
        let at = truth.geometry.table_at() + (sector * SECTOR_BYTES) as u64;
        for (which, source) in [&old, &empty, &other].into_iter().enumerate() {
            let mut image = truth.image.clone();
            image.write(at, &bytes_of(source, at, SECTOR_BYTES)?);
            let context = |why: String| format!("sector {sector} from source {which}: {why}");
            let rows = |image: &SimImage| recover(image, Path::new("proof")).map(|state| state.rows).ok();
            if rows(&image) == rows(&truth.image) {
                continue;
            }
            let served = truth.serve(&image, |_| false).map_err(context)?.ok_or("it does not open")?;
            let report = served.volume.check(&mut |_, _| ()).map_err(|error| error.to_string())?;
            let named = report.findings.iter().any(|finding| finding.what == "block table");
            demand!(named, "sector {sector} from source {which}: not named in {:?}", report.findings);
            judged += 1;
        }
    }
    Ok(judged)
}

#[test]
fn an_older_copy_of_a_directory_or_a_round_record_is_found_and_costs_nothing() {
    for_seeds("older copies of metadata", 8900, 4, older_metadata);
}

/// One copy, then both, of the directory and of the round log are as they were a lap and a stream ago.
pub(super) fn older_metadata(seed: u64) -> Verdict<u64> {
    let (old, model) = full_volume(seed)?;
    let mut driver = Driver::on(old.clone(), Shape::SMALL, model, seed, Cuts::NONE)?;
    driver.admit("cam1")?;
    for _ in 0..30 {
        driver.push(0, 2000)?;
        driver.push(1, 300)?;
        driver.round()?;
    }
    let (new, model) = driver.close()?;
    let truth = Truth::of(new, model)?;
    let geometry = &truth.geometry;
    let [front, back] = geometry.directories_at();
    let logs = geometry.logs_at();
    let log_bytes = geometry.log_slot_bytes * crate::format::geometry::LOG_SLOTS as usize;
    let mut judged = 0;
    let cases: [(&str, &[u64], usize, &str); 5] = [
        ("the front directory", &[front], geometry.directory_bytes, "stream directory"),
        ("the back directory", &[back], geometry.directory_bytes, "stream directory"),
        ("both directories", &[front, back], geometry.directory_bytes, "stream name"),
        ("the front log", &logs[..1], log_bytes, "round record"),
        ("the back log", &logs[1..], log_bytes, "round record"),
    ];
    for (what, places, length, named) in cases {
        let mut image = truth.image.clone();
        for at in places {
            image.write(*at, &bytes_of(&old, *at, length)?);
        }
        let context = |why: String| format!("{what}: {why}");
        let served = truth.serve(&image, |_| true).map_err(context)?.ok_or("it does not open")?;
        demand!(
            served.seen == truth.whole() && served.damage.is_empty(),
            "{what} of another time costs samples"
        );
        let report = served.volume.check(&mut |_, _| ()).map_err(|error| error.to_string())?;
        let found = report.findings.iter().any(|finding| finding.what == named);
        demand!(found, "{what} of another time goes unnoticed: {:?}", report.findings);
        judged += 1;
    }
    // Both logs: the newest record is of an earlier time than the table, which says so.
    let mut image = truth.image.clone();
    for at in logs {
        image.write(at, &bytes_of(&old, at, log_bytes)?);
    }
    let served =
        truth.serve(&image, |_| true).map_err(|why| format!("both logs: {why}"))?.ok_or("no volume")?;
    let said = served.volume.findings().iter().any(|finding| finding.what == "round log");
    demand!(said, "that both logs are of another time goes unnoticed");
    Ok(judged + 1)
}
