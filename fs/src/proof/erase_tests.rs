//! Footage erased under power cuts, beside holds, over laps and rebuilds: gone when that is said, whole or gone before, never
//! damage, and nothing else missing.

use super::driver::{Cuts, Driver, open_engine};
use super::erasures::stays_gone;
use super::hold_tests::lapped;
use super::oracle::Entry;
use super::repair_tests::{regions, repaired};
use super::{Verdict, demand, for_seeds};
use crate::disk::ReadAt;
use crate::disk::sim::{CrashPlan, Errno, Kinds, Repeat, SimDisk, SimImage};
use crate::error::Error;
use crate::format::chunk::ChunkKind;
use crate::format::footer::ChunkPlace;
use crate::format::geometry::LOG_SLOTS;
use crate::reader::Volume;
use crate::recover::{Recovered, contents, recover};
use crate::repair::RepairOptions;
use crate::report::{Item, TimeRange};
use crate::scan::Scanner;
use crate::types::{BlockIndex, StreamName, WallTime};
use crate::writer::EraseRequest;
use std::path::Path;
use std::sync::Arc;

/// A range that takes in so many of a stream's samples that are there, from the `first`-th on.
pub(super) fn range(
    driver: &Driver,
    name: &str,
    first: usize,
    samples: usize,
) -> Verdict<(WallTime, WallTime)> {
    let there = super::holds::numbers(&driver.volume()?, name, Default::default())?;
    let stream = driver.model.streams.get(name).ok_or("no such stream")?;
    let walls = stream.entries.iter().filter_map(|entry| match entry {
        Entry::Sample(pushed) if there.contains(&(pushed.number as i64)) => {
            Some(pushed.run.wall(pushed.number as i64))
        }
        _ => None,
    });
    let walls: Vec<WallTime> = walls.collect();
    let first = first % walls.len().max(1);
    let (from, to) = walls
        .iter()
        .skip(first)
        .take(samples)
        .min()
        .zip(walls.iter().skip(first).take(samples).max())
        .ok_or("nothing is there")?;
    Ok((*from, to.plus_ns(1)))
}

#[test]
fn what_is_erased_is_nowhere_any_more_and_the_rest_stays_over_laps_and_power_cuts() {
    for_seeds("erasing", 8400, 4, erasing);
}

pub(super) fn erasing(seed: u64) -> Verdict<u64> {
    let mut driver = lapped(seed, Cuts::NONE)?;
    for (name, first, samples) in [("cam0", 12, 3), ("cam1", 30, 60), ("cam0", 40, 30), ("cam0", 0, 5)] {
        let (from, to) = range(&driver, name, first, samples)?;
        demand!(driver.erase(name, from, to)?, "{name}: nothing is erased");
        driver.power_cut_with(CrashPlan::None)?;
        driver.push_any(0)?;
        driver.push_any(1)?;
        driver.reopen()?;
    }
    driver.lap()?;
    driver.lap()?;
    Ok(driver.judged)
}

#[test]
fn all_of_a_stream_can_be_erased_while_it_is_recorded_and_it_goes_on() {
    for_seeds("erasing all", 8450, 3, |seed| {
        let mut driver = lapped(seed, Cuts::NONE)?;
        driver.push(0, 700)?;
        demand!(driver.erase("cam0", WallTime::MIN, WallTime::MAX)?, "nothing is erased");
        driver.gives_nothing_of("cam0")?;
        driver.push(0, 700)?;
        driver.round()?;
        driver.power_cut()?;
        driver.lap()?;
        driver.reopen()?;
        Ok(driver.judged)
    });
}

#[test]
fn what_is_held_is_not_erased_and_nothing_of_the_rest_is_either() {
    for_seeds("erasing what is held", 8500, 3, held);
}

pub(super) fn held(seed: u64) -> Verdict<u64> {
    let mut driver = lapped(seed, Cuts::NONE)?;
    let (from, to) = range(&driver, "cam0", 20, 4)?;
    let hold = driver.hold("cam0", from, to, None)?.ok_or("there is room")?;
    let before = super::holds::numbers(&driver.volume()?, "cam0", Default::default())?;
    demand!(!driver.erase("cam0", WallTime::MIN, WallTime::MAX)?, "what is held is erased");
    let after = super::holds::numbers(&driver.volume()?, "cam0", Default::default())?;
    demand!(
        after.is_superset(&before) || after.len() + 40 > before.len(),
        "some of it is erased all the same"
    );
    driver.lap()?;
    driver.lift(hold.id)?;
    demand!(driver.erase("cam0", WallTime::MIN, WallTime::MAX)?, "what was lifted is not erased");
    Ok(driver.judged)
}

#[test]
fn a_power_cut_at_every_event_of_erasing_leaves_each_stretch_whole_or_gone() {
    for_seeds("erasing, every event", 8600, 1, every_event);
}

pub(super) fn every_event(seed: u64) -> Verdict<u64> {
    let mut driver = lapped(seed, Cuts::NONE)?;
    let part = range(&driver, "cam0", 15, 3)?;
    let more = range(&driver, "cam1", 20, 40)?;
    driver.cuts = Cuts { one_in: 1, plans: 8, deep_one_in: 80 };
    driver.erase("cam0", part.0, part.1)?;
    driver.erase("cam1", more.0, more.1)?;
    driver.push(0, 3000)?;
    driver.round()?;
    Ok(driver.judged)
}

#[test]
fn a_rebuild_from_the_blocks_alone_brings_nothing_erased_back() {
    for_seeds("erasing and rebuilding", 8700, 3, rebuilt);
}

pub(super) fn rebuilt(seed: u64) -> Verdict<u64> {
    let mut driver = lapped(seed, Cuts::NONE)?;
    for (name, first, samples) in [("cam0", 10, 4), ("cam1", 20, 50), ("cam0", 30, 40)] {
        let (from, to) = range(&driver, name, first, samples)?;
        driver.erase(name, from, to)?;
    }
    let geometry = driver.shape.geometry();
    let (image, model) = driver.close()?;
    stays_gone(&image, &model)?;
    let table = vec![0; geometry.table_bytes];
    let log = vec![0; geometry.log_slot_bytes * LOG_SLOTS as usize];
    for wiped in [&[true, false][..], &[false, true], &[true, true]] {
        let mut image = image.clone();
        if wiped[0] {
            image.write(geometry.table_at(), &table);
        }
        if wiped[1] {
            geometry.logs_at().iter().for_each(|at| image.write(*at, &log));
        }
        stays_gone(&image, &model).map_err(|why| format!("wiped {wiped:?}: {why}"))?;
    }
    // Repaired, from whatever is left of the descriptions, and written again.
    for which in 0..64_u64 {
        let mut image = image.clone();
        let lost = regions(&geometry);
        let lost = lost.iter().enumerate().filter(|(kind, _)| which & 1 << kind != 0);
        for (at, length) in lost.flat_map(|(_, places)| places) {
            image.write(*at, &vec![0; *length]);
        }
        let (repaired, _) = repaired(&image, &RepairOptions::default(), seed)?;
        stays_gone(&repaired, &model).map_err(|why| format!("lost {which:#b}, repaired: {why}"))?;
    }
    Ok(68)
}

#[test]
fn a_reader_in_the_midst_of_it_meets_no_damage_and_nothing_that_is_erased() {
    for_seeds("erasing beside a reader", 8750, 6, |seed| {
        let mut driver = lapped(seed, Cuts::NONE)?;
        let reader = Arc::new(driver.disk.reader());
        let volume = Volume::from_disk(reader, Path::new("proof")).map_err(|error| error.to_string())?;
        let id = driver.id_of("cam0");
        let mut cursor = volume.read(id, TimeRange::default()).map_err(|error| error.to_string())?;
        let mut next = || match cursor.next_item() {
            Err(Error::Overwritten { .. }) => Ok(None),
            other => other.map_err(|error| error.to_string()),
        };
        let mut chunk = None;
        for _ in 0..driver.rng.below(60) {
            if let Some(Item::Sample(sample)) = next()? {
                chunk = Some(sample.chunk);
            }
        }
        let first = driver.rng.below(40);
        let (from, to) = range(&driver, "cam0", first, 50)?;
        demand!(driver.erase("cam0", from, to)?, "nothing is erased");
        let erased = driver.model.streams.get("cam0").map(|stream| stream.erased.clone()).unwrap_or_default();
        let mut told = 0;
        while let Some(item) = next()? {
            match item {
                // What it had in memory it has.
                Item::Sample(sample) if Some(sample.chunk) == chunk => {}
                Item::Sample(sample) => {
                    chunk = None;
                    demand!(!erased.contains(&(sample.ticks as u64)), "{} was erased", sample.ticks);
                }
                Item::Erased(_) => told += 1,
                Item::Damage(finding) => return Err(format!("the reader meets damage: {finding:?}")),
                _ => {}
            }
        }
        Ok(told)
    });
}

#[test]
fn erasing_at_random_survives_random_power_cuts() {
    for_seeds("erasing at random", 8800, 3, at_random);
}

pub(super) fn at_random(seed: u64) -> Verdict<u64> {
    let mut driver = lapped(seed, Cuts { one_in: 50, plans: 5, deep_one_in: 60 })?;
    for step in 0..90 {
        let result = match driver.rng.below(30) {
            0 | 1 => driver.erase_any(),
            2 => driver.power_cut(),
            3 => driver.reopen(),
            4 => driver.lap(),
            _ => driver.step(),
        };
        result.map_err(|why| format!("step {step}: {why}"))?;
    }
    Ok(driver.judged)
}

#[test]
fn a_block_that_cannot_be_overwritten_fails_the_request_and_recording_goes_on() {
    for_seeds("erasing a bad place", 8900, 2, bad_place);
}

pub(super) fn bad_place(seed: u64) -> Verdict<u64> {
    let mut driver = lapped(seed, Cuts::NONE)?;
    driver.faulty = true;
    let bad = driver.live_of("cam0").get(6).ok_or("too few blocks")?.block;
    driver.disk.fail_range(driver.place(bad), Errno::EIO, Kinds::WRITES);
    let done = driver.erase("cam0", WallTime::MIN, WallTime::MAX)?;
    demand!(!done, "block {bad} cannot be written, and is said to be erased");
    // Its bytes stand on the disk, and nobody is given them, whatever comes.
    driver.gives_nothing_of("cam0")?;
    driver.reopen()?;
    driver.gives_nothing_of("cam0")?;
    driver.push(0, 700)?;
    driver.round()?;
    driver.disk.clear_faults();
    driver.power_cut()?;
    driver.lap()?;
    driver.lap()?;
    Ok(driver.judged)
}

#[test]
fn where_nobody_can_tell_what_lies_in_a_range_nothing_is_said_to_be_erased() {
    for_seeds("erasing what cannot be read", 8950, 4, unreadable);
}

pub(super) fn unreadable(seed: u64) -> Verdict<u64> {
    let mut driver = lapped(seed, Cuts::NONE)?;
    driver.faulty = true;
    let (block, place) = chunk_amid(&driver)?;
    let begins = driver.shape.geometry().block_at(block) + u64::from(place.offset);
    driver.disk.fail_range(begins..begins + u64::from(place.bytes), Errno::EIO, Kinds::READS);
    let (from, to) = (place.wall_min, place.wall_max.plus_ns(1));
    demand!(!driver.erase("cam0", from, to)?, "what cannot be read is said to be erased");
    driver.disk.clear_faults();
    demand!(driver.erase("cam0", from, to)?, "what can be read again is not erased");
    driver.power_cut()?;
    driver.lap()?;
    Ok(driver.judged)
}

/// A chunk of media in a block of the first camera, between others of other moments.
pub(super) fn chunk_amid(driver: &Driver) -> Verdict<(BlockIndex, ChunkPlace)> {
    let id = driver.id_of("cam0");
    let volume = driver.volume()?;
    let state = volume.state();
    let image = driver.disk.snapshot();
    let scanner = Scanner { disk: &image, geometry: &state.geometry, volume: state.volume() };
    let mine = state
        .rows
        .iter()
        .enumerate()
        .filter(|(_, row)| row.stream == id && row.state == crate::report::BlockState::Sealed);
    let media = mine.filter_map(|(index, row)| {
        let block = crate::types::BlockIndex(index as u32);
        let (footer, _) = contents(&scanner, block, row);
        let mut media = footer.chunks.into_iter().filter(|place| place.kind == ChunkKind::MEDIA);
        let (first, second) = (media.next()?, media.next()?);
        let alone = first.wall_max < second.wall_min
            && media.next().is_some_and(|next| next.wall_min > second.wall_max);
        alone.then_some((block, second))
    });
    media.last().ok_or_else(|| "no block has three chunks of media".to_owned())
}

#[test]
fn where_the_disk_fails_as_footage_is_to_be_erased_nothing_stays_set_aside_for_it() {
    for_seeds("erasing while the disk fails", 8970, 4, stuck);
}

pub(super) fn stuck(seed: u64) -> Verdict<u64> {
    let mut driver = lapped(seed, Cuts::NONE)?;
    driver.faulty = true;
    for operation in 0..24 {
        driver.settle()?;
        let first = driver.disk.submitted() + operation;
        driver.disk.fail_nth(first, Errno::EIO, Repeat::Forever, Kinds::ALL);
        driver.erase("cam0", WallTime::MIN, WallTime::MAX)?;
        driver.disk.clear_faults();
        driver.settle()?;
        driver.nothing_waits_to_be_erased()?;
        for _ in 0..30 {
            driver.push(0, 700)?;
        }
        driver.settle()?;
    }
    Ok(driver.judged)
}

/// A crash came while footage was being overwritten, and something else is to be repaired: the repair once went on overwriting.
#[test]
fn a_repair_writes_into_no_block_and_the_next_recorder_finishes_what_was_begun() {
    for_seeds("repairing beside an erasure", 8950, 1, repaired_meanwhile);
}

pub(super) fn repaired_meanwhile(seed: u64) -> Verdict<u64> {
    let driver = lapped(seed, Cuts::NONE)?;
    let geometry = driver.shape.geometry();
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
        let mut image = control.crash(CrashPlan::None);
        let [_, back] = geometry.directories_at();
        image.write(back, &[0x5a; 512]);
        for with_log in [true, false] {
            if !with_log {
                let log = vec![0; geometry.log_slot_bytes * LOG_SLOTS as usize];
                geometry.logs_at().iter().for_each(|at| image.write(*at, &log));
            }
            let before = unwiped(&image)?;
            begun += before.len();
            let (done, report) = repaired(&image, &RepairOptions::default(), seed)?;
            demand!(!report.steps.is_empty(), "nothing was repaired");
            for block in geometry.all_blocks() {
                let [then, now] = [&image, &done].map(|image| {
                    let mut bytes = vec![0; geometry.block_bytes];
                    image.read_exact_at(&mut bytes, geometry.block_at(block)).map(|()| bytes).ok()
                });
                demand!(then == now, "block {block} was written to, with the log: {with_log}");
            }
            let after = unwiped(&done)?;
            demand!(after == before, "{before:?} were begun, and now {after:?}");
            let disk = SimDisk::from_image(done, seed);
            let control = disk.control();
            let mut engine = open_engine(disk)?;
            (0..40).for_each(|_| drop(engine.round()));
            engine.close().map_err(|error| error.to_string())?;
            let left = unwiped(&control.crash(CrashPlan::None))?;
            demand!(left.is_empty(), "{left:?} are never finished, with the log: {with_log}");
            judged += 2;
        }
    }
    demand!(begun > 0, "no crash left anything");
    Ok(judged)
}

/// Blocks in which a void chunk stands that is not zeros.
pub(super) fn unwiped(image: &SimImage) -> Verdict<Vec<BlockIndex>> {
    let state = recover(image, Path::new("proof")).map_err(|error| error.to_string())?;
    let scanner = Scanner { disk: image, geometry: &state.geometry, volume: state.volume() };
    let is_unwiped = |block: &BlockIndex| {
        let row = state.row(*block);
        let take = Recovered::take(*block, &row);
        let (footer, _) = contents(&scanner, *block, &row);
        let mut voids = footer.chunks.iter().filter(|place| place.kind.is_void() && place.bytes > 0);
        row.is_linked()
            && voids.any(|place| {
                let found = scanner.chunk_at(&take, place.offset as usize);
                !found.is_some_and(|(located, _)| scanner.is_wiped(&located.header))
            })
    };
    Ok(state.geometry.all_blocks().filter(is_unwiped).collect())
}
