//! Metadata of another time: table sectors that a disk never brought up to date, damaged copies of what stands twice.

use super::damage_tests::{full_volume, read_all};
use super::driver::{Cuts, Driver, open_engine, shared};
use super::material::{Pushed, Run, Shape, VIDEO};
use super::{Verdict, demand, for_seeds};
use crate::disk::ReadAt;
use crate::disk::sim::{SimDisk, SimImage};
use crate::format::SECTOR_BYTES;
use crate::recover::{Recovered, newest_record, recover};
use crate::report::{Item, TimeRange};
use crate::sample::SampleFlags;
use crate::scan::Scanner;
use crate::types::{BlockIndex, ChunkNumber, StreamName};
use crate::writer::Input;
use std::collections::BTreeSet;
use std::path::Path;

#[test]
fn an_outdated_table_sector_is_found_and_costs_no_new_footage() {
    for_seeds("outdated table", 4400, 2, outdated_table);
}

/// Each sector of the table in turn is as it was a lap ago.
pub(super) fn outdated_table(seed: u64) -> Verdict<u64> {
    let (old, model) = full_volume(seed)?;
    let mut driver = Driver::on(old.clone(), Shape::SMALL, model, seed, Cuts::NONE)?;
    driver.lap()?;
    let (new, model) = driver.close()?;
    let (_, whole, _) = read_all(shared(&new), &model)?;
    let newest: BTreeSet<i64> = whole.iter().skip(whole.len() * 2 / 3).copied().collect();
    let geometry = Shape::SMALL.geometry();
    let mut judged = 0;
    for sector in 0..(geometry.blocks as usize).div_ceil(crate::format::table::ROWS_PER_SECTOR) {
        let at = geometry.table_at() + (sector * SECTOR_BYTES) as u64;
        let mut bytes = vec![0; SECTOR_BYTES];
        old.read_exact_at(&mut bytes, at).map_err(|error| error.to_string())?;
        let mut stale = new.clone();
        stale.write(at, &bytes);
        let rows = |image: &SimImage| recover(image, Path::new("proof")).map(|state| state.rows);
        if rows(&stale).map_err(|error| error.to_string())?
            == rows(&new).map_err(|error| error.to_string())?
        {
            // The newest record says what the sector does not.
            continue;
        }
        let context = |why: String| format!("sector {sector}: {why}");
        let (volume, _, _) = read_all(shared(&stale), &model).map_err(context)?;
        let report = volume.check(&mut |_, _| ()).map_err(|error| error.to_string())?;
        demand!(!report.findings.is_empty(), "sector {sector} of another time goes unnoticed");
        let written = written_a_little(&stale, seed)?;
        let (_, seen, _) = read_all(shared(&written), &model).map_err(context)?;
        let lost: Vec<_> = newest.difference(&seen).collect();
        demand!(
            lost.is_empty(),
            "sector {sector}: of the newest third {lost:?} is gone after a little writing"
        );
        judged += 1;
    }
    Ok(judged)
}

/// The volume after some rounds of a stream that it does not know yet, which take a few blocks.
fn written_a_little(image: &SimImage, seed: u64) -> Verdict<SimImage> {
    let disk = SimDisk::from_image(image.clone(), seed);
    let control = disk.control();
    let mut engine = open_engine(disk)?;
    let index = engine
        .admit(&StreamName::new("cam9").map_err(|error| error.to_string())?)
        .map_err(|error| error.to_string())?;
    let run = Run::default();
    engine.accept(index, Input::Run(run.id));
    engine.accept(index, Input::Anchor(run.anchor(VIDEO, 1)));
    for number in 1..20 {
        let (track, flags) = (VIDEO, SampleFlags::SYNC);
        let (length, configuration, anchored) = (1000, Default::default(), 1);
        let pushed = Pushed { number, track, flags, length, run, configuration, anchored };
        engine.accept(index, Input::Sample(pushed.sample()));
        engine.round();
    }
    engine.close().map_err(|error| error.to_string())?;
    Ok(control.snapshot())
}

#[test]
fn damaged_copies_are_whole_again_after_opening() {
    for_seeds("damaged copies", 4500, 1, damaged_copies);
}

/// Each copy of what stands twice in turn is wiped.
pub(super) fn damaged_copies(seed: u64) -> Verdict<u64> {
    let (image, model) = full_volume(seed)?;
    let geometry = Shape::SMALL.geometry();
    let (_, whole, _) = read_all(shared(&image), &model)?;
    let mut judged = 0;
    for at in geometry.copies_at.iter().copied().chain(geometry.directories_at()) {
        let mut damaged = image.clone();
        damaged.write(at, &[0; SECTOR_BYTES]);
        let (_, seen, _) = read_all(shared(&damaged), &model)?;
        demand!(seen == whole, "a copy at {at} wiped costs samples");
        let written = written_a_little(&damaged, seed)?;
        let state = recover(&written, Path::new("proof")).map_err(|error| error.to_string())?;
        let [one, two] = &state.directories;
        demand!(
            state.superblocks_good.iter().all(|good| *good) && one == two && one.is_some(),
            "the copy at {at} is not whole again"
        );
        judged += 1;
    }
    Ok(judged)
}

#[test]
fn a_block_of_another_volume_is_never_served() {
    for_seeds("foreign blocks", 4700, 2, foreign_blocks);
}

/// A volume as it would be had it been recorded under another id, down to the streams and takes.
fn of_another_id(image: &SimImage, state: &Recovered) -> Verdict<SimImage> {
    let (old, new) = (state.volume().0.as_bytes().to_vec(), [0x5a; 16]);
    let mut other = image.clone();
    let geometry = &state.geometry;
    for block in geometry.all_blocks() {
        for page in (0..geometry.block_bytes).step_by(256) {
            let at = geometry.block_at(block) + page as u64;
            let mut bytes = vec![0; 256];
            image.read_exact_at(&mut bytes, at).map_err(|error| error.to_string())?;
            let magic =
                [b"KEHA-BLK", b"KEHA-CHK", b"KEHA-CHT"].into_iter().any(|magic| bytes.starts_with(magic));
            let place = bytes.windows(16).position(|window| window == old);
            if let Some(place) = place.filter(|_| magic) {
                bytes[place..place + 16].copy_from_slice(&new);
                let checksum = crc32c::crc32c(&bytes[8..252]);
                bytes[252..].copy_from_slice(&checksum.to_le_bytes());
                other.write(at, &bytes);
            }
        }
    }
    Ok(other)
}

/// Each block in turn is that of the other volume, with its row in the table and without.
pub(super) fn foreign_blocks(seed: u64) -> Verdict<u64> {
    let (image, model) = full_volume(seed)?;
    let state = recover(&image, Path::new("proof")).map_err(|error| error.to_string())?;
    let other = of_another_id(&image, &state)?;
    let (volume, _, _) = read_all(shared(&image), &model)?;
    let mut given: Vec<(i64, ChunkNumber)> = Vec::new();
    for stream in volume.streams() {
        let read = volume.read(stream.id, TimeRange::default());
        let mut cursor = read.map_err(|error| error.to_string())?;
        while let Some(item) = cursor.next_item().map_err(|error| error.to_string())? {
            if let Item::Sample(sample) = item {
                given.push((sample.ticks, sample.chunk));
            }
        }
    }
    let geometry = &state.geometry;
    let scanner = Scanner { disk: &image, geometry, volume: state.volume() };
    let record = newest_record(&scanner).ok_or("no record")?;
    let recorded: BTreeSet<BlockIndex> = record.rows.iter().map(|row| row.block).collect();
    let mut judged = 0;
    for (index, row) in state.rows.iter().enumerate().filter(|(_, row)| row.has_samples()) {
        let block = BlockIndex(index as u32);
        let mut bytes = vec![0; geometry.block_bytes];
        other.read_exact_at(&mut bytes, geometry.block_at(block)).map_err(|error| error.to_string())?;
        for without_row in [false, true] {
            let mut foreign = image.clone();
            foreign.write(geometry.block_at(block), &bytes);
            if without_row {
                let sector = index / crate::format::table::ROWS_PER_SECTOR * SECTOR_BYTES;
                foreign.write(geometry.table_at() + sector as u64, &[0; SECTOR_BYTES]);
            }
            let context = |why: String| format!("block {block} {without_row}: {why}");
            let (volume, seen, _) = read_all(shared(&foreign), &model).map_err(context)?;
            let chunks = row.first_chunk..=row.last_chunk();
            let mine = given.iter().filter(|(_, chunk)| chunks.contains(chunk)).map(|(ticks, _)| *ticks);
            let served: Vec<i64> = mine.filter(|ticks| seen.contains(ticks)).collect();
            demand!(served.is_empty(), "block {block} of another volume is served: {served:?}");
            let listed = volume.blocks().get(index).is_some_and(|block| block.samples > 0);
            // Of the newest rows the record tells.
            let told = recorded.contains(&block);
            demand!(!without_row || told || !listed, "block {block} of another volume is listed");
            judged += 1;
        }
    }
    Ok(judged)
}
