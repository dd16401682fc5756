//! Volumes that lie: writes that were never done or went elsewhere, metadata wiped or of another time, and structures whose
//! checksums are right but whose content is nonsense. Nothing wrong is ever served, nothing panics, nothing runs for ever.

use super::damage_tests::{full_volume, held_volume, read_all};
use super::driver::{Cuts, Driver, open_engine, shared};
use super::material::Shape;
use super::oracle::Model;
use super::{Verdict, demand, for_seeds};
use crate::disk::ReadAt;
use crate::disk::sim::{SimDisk, SimImage, SimRng};
use crate::format::SECTOR_BYTES;
use crate::format::table::table_magic;
use crate::reader::Volume;
use crate::recover::recover;
use crate::report::TimeRange;
use crate::types::{BlockIndex, StreamName};
use crate::writer::Input;
use std::path::Path;

/// Reads all there is, in whatever state; gives how many items there were.
pub(super) fn read_whatever_is_there(volume: &Volume) -> Verdict<usize> {
    let mut items = 0;
    for stream in volume.streams() {
        let _spans = volume.spans(stream.id, TimeRange::default());
        let Ok(mut cursor) = volume.read(stream.id, TimeRange::default()) else { continue };
        while let Ok(Some(_)) = cursor.next_item() {
            items += 1;
            demand!(items < 1_000_000, "reading never ends");
        }
    }
    Ok(items)
}

/// Opens, reads and checks all there is; gives how many items there were.
fn open_whatever_is_there(image: &SimImage) -> Verdict<usize> {
    let Ok(volume) = Volume::from_disk(shared(image), Path::new("proof")) else { return Ok(0) };
    let items = read_whatever_is_there(&volume)?;
    volume.check(&mut |_, _| ()).map_err(|error| error.to_string())?;
    for block in 0..volume.info().blocks {
        let _lines = volume.dump(BlockIndex(block));
    }
    Ok(items)
}

/// Opens for writing, writes, closes, whatever comes of it.
fn write_whatever_goes(image: &SimImage, seed: u64) {
    let Ok(mut engine) = open_engine(SimDisk::from_image(image.clone(), seed)) else { return };
    for name in ["cam0", "cam9"] {
        let Ok(index) =
            StreamName::new(name).map_err(drop).and_then(|name| engine.admit(&name).map_err(drop))
        else {
            continue;
        };
        let run = super::material::Run::default();
        engine.accept(index, Input::Run(run.id));
        engine.accept(index, Input::Anchor(run.anchor(super::material::VIDEO, 1)));
        for number in 1..60 {
            let pushed = super::material::Pushed {
                number,
                track: super::material::VIDEO,
                flags: crate::sample::SampleFlags::SYNC,
                length: 700,
                run,
                configuration: Default::default(),
                anchored: 1,
            };
            engine.accept(index, Input::Sample(pushed.sample()));
            if number % 8 == 0 {
                engine.round();
            }
        }
    }
    let _closed = engine.close();
}

/// Every framed structure: where it begins and how long it is.
fn frames(image: &SimImage) -> Verdict<Vec<(usize, usize)>> {
    let state = recover(image, Path::new("proof")).map_err(|error| error.to_string())?;
    let bytes = image.to_vec();
    let table = table_magic(state.volume());
    let known: [(&[u8; 8], usize); 10] = [
        (b"KEHA-VOL", 512),
        (b"KEHA-DIR", 512),
        (b"KEHA-HLD", 512),
        (b"KEHA-RND", 128),
        (&table, 512),
        (b"KEHA-BLK", 256),
        (b"KEHA-CHK", 256),
        (b"KEHA-CHT", 256),
        (b"KEHA-FTR", 64),
        (b"KEHA-END", 512),
    ];
    let places = (0..bytes.len()).step_by(64);
    Ok(places
        .filter_map(|at| {
            let size = known.iter().find(|(magic, _)| bytes[at..].starts_with(&magic[..]))?.1;
            (at + size <= bytes.len()).then_some((at, size))
        })
        .collect())
}

/// Puts nonsense into a frame and seals it again.
fn forge(image: &mut SimImage, (at, size): (usize, usize), rng: &mut SimRng) -> Verdict {
    let mut bytes = vec![0; size];
    image.read_exact_at(&mut bytes, at as u64).map_err(|error| error.to_string())?;
    for _ in 0..1 + rng.below(3) {
        let place = 8 + rng.below((size - 16) / 4) * 4;
        let value = match rng.below(6) {
            0 => 0,
            1 => u32::MAX,
            2 => i32::MAX as u32,
            3 => rng.below(100_000) as u32,
            4 => 1 << rng.below(32),
            _ => rng.next_u64() as u32,
        };
        bytes[place..place + 4].copy_from_slice(&value.to_le_bytes());
    }
    let checksum = crc32c::crc32c(&bytes[8..size - 4]);
    bytes[size - 4..].copy_from_slice(&checksum.to_le_bytes());
    image.write(at as u64, &bytes);
    Ok(())
}

#[test]
fn nonsense_under_right_checksums_neither_panics_nor_runs_for_ever() {
    for_seeds("forged structures", 4000, 1, forged_structures);
}

pub(super) fn forged_structures(seed: u64) -> Verdict<u64> {
    let (image, _) = held_volume(seed)?;
    let frames = frames(&image)?;
    let mut rng = SimRng::new(seed);
    for turn in 0..700 {
        let mut forged = image.clone();
        for _ in 0..1 + rng.below(3) {
            let which = rng.below(frames.len());
            forge(&mut forged, frames[which], &mut rng).map_err(|why| format!("turn {turn}: {why}"))?;
        }
        open_whatever_is_there(&forged)?;
        if turn % 3 == 0 {
            write_whatever_goes(&forged, seed);
        }
    }
    Ok(700)
}

#[test]
fn junk_over_any_region_is_survived() {
    for_seeds("junk", 4100, 1, junk);
}

pub(super) fn junk(seed: u64) -> Verdict<u64> {
    let (image, model) = full_volume(seed)?;
    let mut rng = SimRng::new(seed);
    for turn in 0..300 {
        let length = 1 << rng.below(17);
        let at = rng.below(image.len_bytes() - length);
        let mut damaged = image.clone();
        damaged.write(at as u64, &super::material::payload(rng.next_u64(), length));
        open_whatever_is_there(&damaged)?;
        if recover(&damaged, Path::new("proof")).is_ok_and(|state| state.directory.entries.len() == 1) {
            read_all(shared(&damaged), &model)
                .map_err(|why| format!("turn {turn}, {length} bytes at {at}: {why}"))?;
        }
        if turn % 3 == 0 {
            write_whatever_goes(&damaged, seed);
        }
    }
    Ok(300)
}

#[test]
fn a_lost_table_or_round_log_is_found_again_from_the_blocks() {
    for_seeds("lost metadata", 4200, 6, lost_metadata);
}

pub(super) fn lost_metadata(seed: u64) -> Verdict<u64> {
    let (image, model) = held_volume(seed)?;
    let state = recover(&image, Path::new("proof")).map_err(|error| error.to_string())?;
    let geometry = &state.geometry;
    let (_, whole, _) = read_all(shared(&image), &model)?;
    let table = (geometry.table_at(), geometry.table_bytes);
    let log = geometry.log_slot_bytes * 16;
    let logs = geometry.logs_at().map(|at| (at, log));
    let front = (0, geometry.table_at() as usize + geometry.table_bytes);
    for wiped in [vec![table], logs.to_vec(), vec![table, logs[0], logs[1]], vec![front]] {
        let mut damaged = image.clone();
        for (at, length) in &wiped {
            damaged.write(*at, &vec![0; *length]);
        }
        let (volume, seen, damage) = read_all(shared(&damaged), &model)?;
        let missing: Vec<_> = whole.difference(&seen).collect();
        demand!(missing.is_empty() && damage.is_empty(), "{wiped:?}: {missing:?} missing, {damage:?}");
        demand!(!volume.findings().is_empty(), "{wiped:?} goes unnoticed");
        write_whatever_goes(&damaged, seed);
    }
    // Where only the second copies of block headers are left, they do.
    let mut headless = image.clone();
    [table, logs[0], logs[1]].into_iter().for_each(|(at, length)| headless.write(at, &vec![0; length]));
    geometry.all_blocks().for_each(|block| headless.flip_bit(geometry.block_at(block) + 20, 3));
    let (_, seen, damage) = read_all(shared(&headless), &model)?;
    demand!(seen == whole && damage.is_empty(), "first copies of block headers are needed: {damage:?}");
    // A table sector that a disk wrote to the place of another is none.
    let mut sector = vec![0; SECTOR_BYTES];
    image.read_exact_at(&mut sector, table.0).map_err(|error| error.to_string())?;
    let mut misplaced = image.clone();
    misplaced.write(table.0 + SECTOR_BYTES as u64, &sector);
    let (volume, seen, damage) = read_all(shared(&misplaced), &model)?;
    demand!(seen == whole && damage.is_empty(), "a misplaced table sector costs samples: {damage:?}");
    demand!(!volume.findings().is_empty(), "a misplaced table sector goes unnoticed");
    Ok(6)
}

#[test]
fn a_write_that_was_lost_or_went_elsewhere_is_never_served_as_something_else() {
    for_seeds("lying disk", 4300, 1, lying_disk);
}

pub(super) fn lying_disk(seed: u64) -> Verdict<u64> {
    let shape = Shape::SMALL;
    let (image, model) = full_volume(seed)?;
    let mut judged = 0;
    for nth in 0..60 {
        for elsewhere in [None, Some(3), Some(7)] {
            let mut driver = Driver::on(image.clone(), shape, model.clone(), seed ^ nth, Cuts::NONE)?;
            let number = driver.disk.submitted() + nth;
            match elsewhere {
                None => driver.disk.lose(number),
                Some(part) => {
                    let sectors = image.len_bytes() / SECTOR_BYTES;
                    let to = (sectors / 10 * part + nth as usize % 97) * SECTOR_BYTES;
                    driver.disk.misdirect(number, to as u64);
                }
            }
            driver.faulty = true;
            let ended = lied_to(driver).map_err(|why| format!("write {nth}, {elsewhere:?}: {why}"))?;
            let context = |why| format!("write {nth}, {elsewhere:?}: {why}");
            read_all(shared(&ended.0), &ended.1).map_err(context)?;
            judged += 1;
        }
    }
    Ok(judged)
}

fn lied_to(mut driver: Driver) -> Verdict<(SimImage, Model)> {
    for _ in 0..12 {
        driver.push(0, 2500)?;
        driver.push(0, 6000)?;
        driver.round()?;
    }
    driver.close()
}
