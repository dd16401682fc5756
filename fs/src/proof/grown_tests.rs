//! A volume that has grown is a volume: laps, power cuts, holds, lost descriptions, and the new blocks first.

use super::damage_tests::{full_volume, read_all};
use super::driver::{Cuts, Driver, shared};
use super::grow_tests::{grown, on_disk_of, planned};
use super::material::{Shape, payload};
use super::repair_tests::{plan, repaired, without};
use super::truth::Truth;
use super::{Verdict, crash_tests, demand, for_seeds, lap_tests, scrub_tests};
use crate::disk::sim::{SimDisk, SimImage, SimRng};
use crate::error::Error;
use crate::format::block::{BlockHeader, seal_header_page};
use crate::format::extents::EXTENTS;
use crate::format::superblock::Superblock;
use crate::format::{Framed, SECTOR_BYTES};
use crate::reader::Volume;
use crate::recover::{Recovered, recover, seen};
use crate::repair::RepairOptions;
use crate::report::BlockState;
use crate::retention::Retention;
use crate::scan::Scanner;
use crate::types::BlockIndex;
use std::path::Path;
use std::time::Duration;

const SHAPES: [Shape; 2] = [Shape::GROWN, Shape::GROWN_OF_LARGE_SECTORS];

#[test]
fn power_cuts_laps_and_every_event_are_as_on_any_volume() {
    for_seeds("power cuts, grown", 13_000, 4, power_cuts);
    for_seeds("laps, grown", 13_100, 2, laps);
    for_seeds("every event, grown", 13_200, 2, every_event);
}

pub(super) fn power_cuts(seed: u64) -> Verdict<u64> {
    crash_tests::power_cuts_on(SHAPES[seed as usize % 2], seed)
}

pub(super) fn laps(seed: u64) -> Verdict<u64> {
    lap_tests::laps_on(SHAPES[seed as usize % 2], seed)
}

pub(super) fn every_event(seed: u64) -> Verdict<u64> {
    crash_tests::every_event_on(SHAPES[seed as usize % 2], seed)
}

#[test]
fn new_blocks_are_taken_before_anything_is_overwritten() {
    for_seeds("new blocks first", 13_300, 3, new_blocks_first);
}

/// A full ring grows; until its new blocks are used up nothing of it goes.
pub(super) fn new_blocks_first(seed: u64) -> Verdict<u64> {
    let (image, model) = full_volume(seed)?;
    let (_, whole, _) = read_all(shared(&image), &model)?;
    let to = 640 << 10;
    let once = grown(&image, to, seed)?;
    let shape = Shape { grown_bytes: [to, 0], ..Shape::SMALL };
    let geometry = shape.geometry();
    let mut driver = Driver::on(once, shape, model, seed, Cuts::NONE)?;
    driver.clock.advance(Duration::from_secs(5 * 3600));
    let fresh = |driver: &Driver| -> Verdict<u32> {
        let blocks = driver.volume()?.blocks();
        let new = blocks.iter().skip(geometry.first_blocks as usize);
        Ok(new.filter(|block| matches!(block.state, BlockState::Free)).count() as u32)
    };
    let mut rounds = 0;
    // As many as a writer sets aside are left to it.
    while fresh(&driver)? > 3 {
        driver.push(0, 3000)?;
        driver.round()?;
        let (_, seen, damage) = read_all(shared(&driver.disk.snapshot()), &driver.model)?;
        demand!(
            whole.is_subset(&seen),
            "after {rounds} rounds footage is gone, and {} blocks are new",
            fresh(&driver)?
        );
        demand!(damage.is_empty(), "damage: {damage:?}");
        rounds += 1;
    }
    demand!(rounds > 4, "the new blocks are used up after {rounds} rounds");
    // Then the ring goes round all of them.
    driver.lap()?;
    driver.lap()?;
    let live = driver.view().live.iter().filter(|live| live.block.0 >= geometry.first_blocks).count();
    demand!(
        live as u32 + 4 >= geometry.blocks - geometry.first_blocks,
        "{live} of the new blocks are in use"
    );
    driver.reopen()?;
    Ok(driver.judged + rounds)
}

#[test]
fn holds_reach_over_extents_and_erasing_does() {
    for_seeds("holds and erasures, grown", 13_400, 2, held_and_erased);
}

pub(super) fn held_and_erased(seed: u64) -> Verdict<u64> {
    let mut driver = Driver::new(SHAPES[seed as usize % 2], seed, Cuts::NONE)?;
    driver.clock.advance(Duration::from_secs(5 * 3600));
    driver.admit("cam0")?;
    driver.admit("cam1")?;
    driver.lap()?;
    driver.cuts = Cuts { one_in: 80, plans: 6, deep_one_in: 0 };
    let (from, to) = super::hold_tests::oldest(&driver, "cam0", 12)?;
    let hold = driver.hold("cam0", from, to, None)?.ok_or("there is room")?;
    driver.lap()?;
    let walls = driver.model.streams.get("cam1").ok_or("no stream")?.durable_walls();
    let [.., from, _, _, to, _, _] = walls[..] else { return Err("too little is recorded".to_owned()) };
    demand!(driver.erase("cam1", from, to)?, "nothing was erased");
    let quota_bytes = 6 * driver.shape.block_bytes as u64;
    driver.retain("cam1", Retention { quota_bytes, ..Retention::default() })?;
    driver.power_cut()?;
    driver.lap()?;
    driver.lift(hold.id)?;
    driver.lap()?;
    driver.reopen()?;
    Ok(driver.judged)
}

/// A recorded volume that has grown twice, and what it holds.
fn truth(seed: u64) -> Verdict<Truth> {
    let mut driver = Driver::new(SHAPES[seed as usize % 2], seed, Cuts::NONE)?;
    driver.admit("cam0")?;
    driver.admit("cam1")?;
    driver.lap()?;
    driver.lap()?;
    let (image, model) = driver.close()?;
    Truth::of(image, model)
}

fn is_back(truth: &Truth, image: &SimImage) -> Verdict {
    let served = truth.serve(image, |_| true)?.ok_or("it does not open")?;
    demand!(served.damage.is_empty(), "damage: {:?}", served.damage);
    let whole = truth.whole();
    demand!(served.seen == whole, "{} of {} samples are back", served.seen.len(), whole.len());
    let found = served.volume.check(&mut |_, _| ()).map_err(|error| error.to_string())?.findings;
    demand!(found.is_empty(), "check finds {found:?}");
    Ok(())
}

#[test]
fn one_superblock_of_any_extent_is_enough_and_the_tables_of_all_come_back_from_the_blocks() {
    for_seeds("one superblock left", 13_500, 2, one_superblock);
}

/// Each superblock alone is left; beside that the whole table is lost, or only that of the extents.
pub(super) fn one_superblock(seed: u64) -> Verdict<u64> {
    let truth = truth(seed)?;
    let geometry = &truth.geometry;
    let mut judged = 0;
    for kept in &geometry.copies_at {
        for tables in 0..3 {
            let mut image = truth.image.clone();
            for at in geometry.copies_at.iter().filter(|at| *at != kept) {
                image.write(*at, &payload(seed + at, SECTOR_BYTES));
            }
            let lost = geometry
                .tables()
                .skip(usize::from(tables == 1))
                .filter(|(.., bytes)| tables > 0 && *bytes > 0);
            lost.for_each(|(_, at, bytes)| image.write(at, &vec![0; bytes]));
            let (mended, report) = repaired(&image, &RepairOptions::default(), seed)?;
            demand!(!report.steps.is_empty(), "nothing is repaired");
            is_back(&truth, &mended)
                .map_err(|why| format!("only the copy at {kept}, tables {tables}: {why}"))?;
            judged += 1;
        }
    }
    Ok(judged)
}

#[test]
fn without_any_superblock_nothing_is_made_of_a_part_of_it() {
    for_seeds("no superblock, grown", 13_600, 2, no_superblock);
}

/// None is left, on a disk of the size that it has, or of any that it had.
pub(super) fn no_superblock(seed: u64) -> Verdict<u64> {
    let truth = truth(seed)?;
    let (geometry, mut judged) = (&truth.geometry, 0);
    let headless = without(&truth, 0b000001, seed);
    let sizes = std::iter::once(geometry.first_size_bytes)
        .chain(geometry.extents.iter().map(|extent| extent.size_bytes));
    for size in sizes {
        let mut image = headless.clone();
        image.truncate(size as usize);
        let planned = plan(&image).map(|survey| survey.report());
        demand!(planned.is_err(), "cut to {size} bytes it would become {planned:?}");
        judged += 1;
    }
    // None of its blocks says that it has grown.
    let once = grown(&full_volume(seed)?.0, 640 << 10, seed)?;
    let state = recover(&once, Path::new("proof")).map_err(|error| error.to_string())?;
    let mut headless = once.clone();
    state.geometry.copies_at.iter().for_each(|at| headless.write(*at, &[0; Superblock::SIZE]));
    let planned = plan(&headless).map(|survey| survey.report());
    demand!(planned.is_err(), "it would become {planned:?}");
    Ok(judged + 1)
}

#[test]
fn of_a_volume_that_is_cut_back_to_its_first_size_no_whole_one_is_made() {
    for_seeds("cut back, grown", 13_650, 3, cut_back);
}

/// Recorded on, but not so long that a block that it was created with was taken again; then cut back, with and without superblocks.
pub(super) fn cut_back(seed: u64) -> Verdict<u64> {
    let (image, model) = full_volume(seed)?;
    let first_bytes = image.len_bytes();
    let to = 640 << 10;
    let shape = Shape { grown_bytes: [to, 0], ..Shape::SMALL };
    let mut driver = Driver::on(grown(&image, to, seed)?, shape, model, seed, Cuts::NONE)?;
    for _ in 0..2 + seed % 2 {
        driver.push(0, 2000)?;
        driver.round()?;
    }
    let (mut cut, _) = driver.close()?;
    cut.truncate(first_bytes);
    let geometry = shape.geometry();
    let scanner = Scanner { disk: &cut, geometry: &geometry, volume: recovered(&cut)?.volume() };
    let first = (0..geometry.first_blocks).map(BlockIndex);
    let said = first.filter_map(|block| scanner.block_header(block).ok().flatten());
    demand!(said.filter(|header| header.incompat != 0).count() == 0, "a block in the first part was taken");
    let said = Volume::from_disk(shared(&cut), Path::new("proof")).map_err(|error| error.to_string())?;
    let missing = said.findings().iter().filter(|finding| finding.detail.contains("cut short"));
    demand!(missing.count() == 1, "nobody is told that a part is missing: {:?}", said.findings());
    let planned = plan(&cut).map(|survey| survey.report());
    demand!(matches!(planned, Err(Error::CutShort { .. })), "with superblocks it becomes {planned:?}");
    for at in geometry.copies_at.iter().filter(|at| **at < first_bytes as u64) {
        cut.write(*at, &[0; Superblock::SIZE]);
    }
    let planned = plan(&cut).map(|survey| survey.report());
    demand!(matches!(planned, Err(Error::Corrupt { .. })), "without superblocks it becomes {planned:?}");
    Ok(2)
}

fn recovered(image: &SimImage) -> Verdict<Recovered> {
    recover(image, Path::new("proof")).map_err(|error| error.to_string())
}

#[test]
fn one_block_that_was_taken_since_is_enough_to_know_that_a_part_is_missing() {
    // So many blocks, and so many of them taken, that not all are looked at to find out where they are.
    let shape = Shape { size_bytes: 12 << 20, ..Shape::SMALL };
    let told = || -> Verdict {
        let mut driver = Driver::new(shape, 13_680, Cuts::NONE)?;
        driver.admit("cam0")?;
        for _ in 0..120 {
            driver.push(0, 3000)?;
            driver.round()?;
        }
        let (mut image, _) = driver.close()?;
        let state = recovered(&image)?;
        let (geometry, volume) = (&state.geometry, state.volume());
        demand!(geometry.blocks > 600, "{} blocks", geometry.blocks);
        geometry.copies_at.iter().for_each(|at| image.write(*at, &[0; Superblock::SIZE]));
        plan(&image).map_err(|error| format!("it is not rebuilt: {error}"))?;
        let scanner = Scanner { disk: &image, geometry, volume };
        let taken = scanner.block_header(BlockIndex(0)).ok().flatten().ok_or("no block was taken")?;
        let step = geometry.blocks / 256;
        let block = BlockIndex(geometry.blocks / 2 / step * step + 1);
        let header = BlockHeader { block, incompat: EXTENTS, ..taken };
        let mut page = vec![0; geometry.page_bytes];
        seal_header_page(&header, &mut page);
        image.write(geometry.block_at(block), &page);
        let planned = plan(&image).map(|survey| survey.report());
        demand!(matches!(planned, Err(Error::Corrupt { .. })), "it becomes {planned:?}");
        Ok(())
    };
    told().unwrap_or_else(|why| panic!("{why}"));
}

#[test]
fn a_volume_without_its_outer_superblocks_is_seen_by_who_would_write_over_it() {
    for_seeds("seen, grown", 13_690, 2, |seed| {
        let (recorded, _) = full_volume(seed)?;
        let fresh = Driver::new(Shape::SMALL, seed, Cuts::NONE)?.close()?.0;
        let mut judged = 0;
        for (image, is_fresh) in [(recorded, false), (fresh, true)] {
            for to in [600 << 10, 640 << 10, 3 << 20, 24 << 20, 90 << 20] {
                let mut disk = grown(&image, to, 0)?;
                let state = recovered(&disk)?;
                let (volume, copies) = (state.volume(), &state.geometry.copies_at);
                let is_seen = |disk: &SimImage, why: &str| -> Verdict<usize> {
                    let seen = seen(disk).ok_or(format!("{why}: nothing is seen"))?;
                    demand!(seen.volume == volume && seen.outer_lost, "{why}: {seen:?}");
                    Ok(seen.superblocks_at.len())
                };
                for at in copies.first().into_iter().chain(copies.last()) {
                    disk.write(*at, &[0; SECTOR_BYTES]);
                }
                is_seen(&disk, "the outer ones are lost")?;
                copies.iter().for_each(|at| disk.write(*at, &[0; SECTOR_BYTES]));
                demand!(is_seen(&disk, "all are lost")? == 0, "superblocks are seen where none is");
                disk.write(0, &vec![0; state.geometry.stretches_at[0] as usize]);
                demand!(is_fresh || is_seen(&disk, "the front is lost").is_ok(), "its blocks are not seen");
                judged += 3;
            }
        }
        let blank = SimImage::zeroed(3 << 20);
        demand!(seen(&blank).is_none(), "something is seen where nothing is");
        Ok(judged)
    });
}

#[test]
fn the_other_descriptions_come_back_in_every_combination() {
    for_seeds("repair, grown", 13_700, 2, |seed| {
        let truth = truth(seed)?;
        let mut judged = 0;
        // Not the directory: names are lost with it.
        for which in (0..64).filter(|which| which & 0b000011 == 0 && *which > 0) {
            let image = without(&truth, which, seed);
            let (mended, _) = repaired(&image, &RepairOptions::default(), seed)?;
            is_back(&truth, &mended).map_err(|why| format!("{which:06b}: {why}"))?;
            judged += 1;
        }
        Ok(judged)
    });
}

#[test]
fn an_image_that_ends_within_an_extent_serves_what_is_there() {
    for_seeds("cut short, grown", 13_800, 2, |seed| {
        let truth = truth(seed)?;
        let geometry = &truth.geometry;
        let mut judged = 0;
        for block in geometry.all_blocks() {
            let length = geometry.block_at(block);
            let mut image = truth.image.clone();
            image.truncate(length as usize);
            let whole = |block: BlockIndex| truth.place(block).end <= length;
            let served = truth.serve(&image, whole).map_err(|why| format!("cut to {length}: {why}"))?;
            demand!(served.is_some(), "cut to {length} it does not open");
            let disk = SimDisk::from_image(image.clone(), seed);
            demand!(super::driver::open_engine(disk).is_err(), "cut to {length} it is written to");
            judged += 1;
        }
        Ok(judged)
    });
}

#[test]
fn a_volume_on_a_disk_that_grew_again_is_found_and_grows_again() {
    for_seeds("a larger disk, grown", 13_900, 2, |seed| {
        let truth = truth(seed)?;
        let bytes = truth.image.len_bytes() as u64;
        let larger = on_disk_of(&truth.image, bytes * 3, seed);
        is_back(&truth, &larger)?;
        // Without its front it is found by one of the others.
        let mut headless = larger.clone();
        headless.write(0, &[0; Superblock::SIZE]);
        let (mended, _) = repaired(&headless, &RepairOptions::default(), seed)?;
        is_back(&truth, &mended)?;
        let before = recover(&larger, Path::new("proof")).map_err(|error| error.to_string())?;
        let growth = planned(&larger).map_err(|error| error.to_string())?;
        demand!(growth.geometry.blocks > before.geometry.blocks, "it does not grow");
        let again = grown(&truth.image, bytes * 3, seed)?;
        is_back(&truth, &again)?;
        let volume =
            Volume::from_disk(shared(&again), Path::new("proof")).map_err(|error| error.to_string())?;
        demand!(volume.info().blocks == growth.geometry.blocks, "{} blocks", volume.info().blocks);
        Ok(4)
    });
}

#[test]
fn the_scrub_goes_over_extents_and_finds_nothing_where_nothing_is() {
    for_seeds("scrub, grown", 13_950, 4, |seed| {
        scrub_tests::finds_nothing_on(SHAPES[seed as usize % 2], seed, SimRng::new(seed))
    });
}

#[test]
fn rot_in_an_extent_is_found_and_named() {
    for_seeds("rot, grown", 13_960, 2, |seed| {
        let truth = truth(seed)?;
        let mut judged = 0;
        for block in truth.geometry.all_blocks().skip(truth.geometry.first_blocks as usize) {
            let place = truth.place(block);
            let state = recover(&truth.image, Path::new("proof")).map_err(|error| error.to_string())?;
            let row = state.row(block);
            if !row.is_live() {
                continue;
            }
            let mut image = truth.image.clone();
            image.flip_bit(place.start + u64::from(row.used_bytes) / 2, 3);
            let served = truth.serve(&image, |whole| whole != block)?.ok_or("it does not open")?;
            let found = served.volume.check(&mut |_, _| ()).map_err(|error| error.to_string())?.findings;
            let named = found.iter().all(|finding| place.contains(&finding.at)) && !found.is_empty();
            demand!(named, "rot in block {block}, {place:?}: {found:?}");
            judged += 1;
        }
        Ok(judged)
    });
}
