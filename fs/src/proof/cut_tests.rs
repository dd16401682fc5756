//! Images that are cut short, or of which a region was overwritten: what is there is served, what is missing is said, and
//! nobody writes to what is cut short.

use super::driver::open_engine;
use super::material::payload;
use super::truth::{Served, Truth};
use super::{Verdict, demand, for_seeds};
use crate::disk::sim::{SimDisk, SimImage, SimRng};
use crate::format::SECTOR_BYTES;
use crate::recover::recover;
use crate::types::BlockIndex;
use std::ops::Range;
use std::path::Path;

/// Everything else that can be asked of a volume goes through, too.
fn ask_all(served: &Served) -> Verdict<usize> {
    let volume = &served.volume;
    for block in volume.blocks() {
        volume.dump(block.block).map_err(|error| error.to_string())?;
    }
    let report = volume.check(&mut |_, _| ()).map_err(|error| error.to_string())?;
    Ok(report.findings.len())
}

#[test]
fn an_image_cut_short_anywhere_serves_what_it_has_and_says_what_is_missing() {
    for_seeds("cut short", 8000, 1, cut_short);
}

/// The image ends at every sector, and a little before it.
pub(super) fn cut_short(seed: u64) -> Verdict<u64> {
    let truth = Truth::full(seed)?;
    let whole = truth.image.len_bytes();
    let mut rng = SimRng::new(seed);
    let mut judged = 0;
    for sector in 0..whole / SECTOR_BYTES {
        let length = sector * SECTOR_BYTES + if sector % 3 == 0 { rng.below(SECTOR_BYTES) } else { 0 };
        let mut image = truth.image.clone();
        image.truncate(length);
        cut_at(&truth, &image, sector % 16 == 0).map_err(|why| format!("cut to {length} bytes: {why}"))?;
        judged += 1;
    }
    Ok(judged)
}

fn cut_at(truth: &Truth, image: &SimImage, thoroughly: bool) -> Verdict {
    let length = image.len_bytes() as u64;
    let served = truth.serve(image, |block| truth.place(block).end <= length)?;
    let Some(served) = served else {
        demand!(length < SECTOR_BYTES as u64, "it does not open although its superblock stands");
        return Ok(());
    };
    let missing = truth.image.len_bytes() as u64 - length;
    let said = |detail: &str| detail.contains(&format!("{missing} bytes are missing"));
    let findings = served.volume.findings();
    demand!(
        findings.iter().any(|finding| said(&finding.detail)),
        "nobody says that {missing} bytes are missing"
    );
    demand!(findings.len() < 40, "{} findings for one cut", findings.len());
    let lost = truth.whole().len() - served.seen.len();
    let begins = truth.geometry.block_at(BlockIndex(0));
    demand!(lost == 0 || length < begins || !served.damage.is_empty(), "{lost} samples are missing silently");
    if thoroughly {
        demand!(ask_all(&served)? > 0, "check finds nothing");
        let disk = SimDisk::from_image(image.clone(), length);
        let control = disk.control();
        demand!(open_engine(disk).is_err(), "it is opened for writing");
        demand!(control.snapshot() == *image, "something was written to it");
    }
    Ok(())
}

#[test]
fn a_region_overwritten_anywhere_costs_only_what_stood_in_it() {
    for_seeds("overwritten regions", 8100, 1, overwritten_regions);
}

/// Regions of several sizes, everywhere, are zeroed or full of another program's bytes.
pub(super) fn overwritten_regions(seed: u64) -> Verdict<u64> {
    let truth = Truth::full(seed)?;
    let size = truth.image.len_bytes();
    let mut judged = 0;
    for length in [3000, 20_000, size / 8, size / 4] {
        for at in (0..size).step_by(length * 2 / 3) {
            let region = at as u64..(at + length).min(size) as u64;
            let mut image = truth.image.clone();
            let bytes = (region.end - region.start) as usize;
            let junk = if judged % 2 == 0 { vec![0; bytes] } else { payload(judged, bytes) };
            image.write(region.start, &junk);
            overwritten(&truth, &image, &region).map_err(|why| format!("{region:?}: {why}"))?;
            judged += 1;
        }
    }
    Ok(judged)
}

fn overwritten(truth: &Truth, image: &SimImage, region: &Range<u64>) -> Verdict {
    let apart = |place: Range<u64>| place.end <= region.start || region.end <= place.start;
    let served = truth.serve(image, |block| apart(truth.place(block)))?;
    let served = served.ok_or("it does not open although copies of the superblock stand")?;
    let lost = truth.whole().len() - served.seen.len();
    let findings = ask_all(&served)?;
    demand!(lost == 0 || findings > 0, "{lost} samples are missing and check finds nothing");
    // The table, where it stands, knows of every sample.
    let table = truth.geometry.table_at()..truth.geometry.block_at(BlockIndex(0));
    demand!(lost == 0 || !apart(table) || !served.damage.is_empty(), "{lost} samples are missing silently");
    Ok(())
}

#[test]
fn where_the_front_is_overwritten_and_the_end_missing_the_middle_is_served() {
    for_seeds("front and end lost", 8200, 1, front_and_end_lost);
    // Of this one the end falls into a block that others follow.
    for_seeds("front and end lost", 100_042, 1, front_and_end_lost);
}

/// Everything before the blocks is another program's, and the end is missing: an inner superblock and the blocks are left.
pub(super) fn front_and_end_lost(seed: u64) -> Verdict<u64> {
    let truth = Truth::full(seed)?;
    let size = truth.image.len_bytes();
    let front = truth.geometry.block_at(BlockIndex(0));
    // Without table, log and what came before it, nobody can tell the newest block from what a crash discarded.
    let newest = truth.newest_block();
    let mut judged = 0;
    for length in (SECTOR_BYTES..size).rev().step_by(7 * SECTOR_BYTES) {
        let mut image = truth.image.clone();
        image.write(0, &payload(seed, front as usize));
        image.truncate(length);
        // The newest record that is left may be one of some rounds before, and what that one set aside is given up.
        let given_up = recover(&image, Path::new("proof")).map(|state| state.given_up).unwrap_or_default();
        let is_whole = |block| {
            truth.place(block).end <= length as u64 && Some(block) != newest && !given_up.contains(&block)
        };
        let served = truth.serve(&image, is_whole).map_err(|why| format!("cut to {length} bytes: {why}"))?;
        let stands = truth
            .geometry
            .copies_at
            .iter()
            .any(|at| *at >= front && at + SECTOR_BYTES as u64 <= length as u64);
        demand!(served.is_some() == stands, "cut to {length} bytes: an inner superblock stands: {stands}");
        if let Some(served) = served {
            demand!(ask_all(&served)? > 0, "cut to {length} bytes: check finds nothing");
        }
        judged += 1;
    }
    Ok(judged)
}

#[test]
fn without_a_directory_streams_are_read_by_their_identity_and_nobody_writes() {
    for_seeds("no directory", 8300, 1, no_directory);
}

pub(super) fn no_directory(seed: u64) -> Verdict<u64> {
    let truth = Truth::full(seed)?;
    let mut image = truth.image.clone();
    for at in truth.geometry.directories_at() {
        image.write(at, &payload(seed, truth.geometry.directory_bytes));
    }
    let served = truth.serve(&image, |_| true)?.ok_or("it does not open")?;
    demand!(served.seen == truth.whole() && served.damage.is_empty(), "footage is missing with the names");
    let names: Vec<String> = served.volume.streams().iter().map(|stream| stream.name.to_string()).collect();
    demand!(names.iter().all(|name| name.starts_with("recovered-")), "names are invented: {names:?}");
    demand!(
        served.volume.findings().iter().any(|finding| finding.what == "stream name"),
        "nobody says that names are lost"
    );
    let disk = SimDisk::from_image(image.clone(), seed);
    let control = disk.control();
    demand!(open_engine(disk).is_err(), "it is opened for writing");
    demand!(control.snapshot() == image, "something was written to it");
    Ok(1)
}
