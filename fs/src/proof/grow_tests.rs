//! Growing: at every event of it the volume is the old one or the new one with all of its footage, whatever stands in the added space.

use super::damage_tests::{full_volume, held_volume, read_all};
use super::driver::{Cuts, Driver, open_engine, shared};
use super::material::{Shape, payload};
use super::oracle::Model;
use super::repair_tests::{NOW, plan, repaired};
use super::{Verdict, demand, for_seeds};
use crate::clock::SimClock;
use crate::disk::ReadAt;
use crate::disk::sim::{CrashPlan, CrashPoint, Errno, Kinds, Repeat, SimDisk, SimImage, SimRng};
use crate::error::Error;
use crate::format::extents::{EXTENTS, EXTENTS_MAX};
use crate::format::superblock::Superblock;
use crate::format::{Framed, SECTOR_BYTES};
use crate::grow::{Growth, grow_on};
use crate::reader::Volume;
use crate::recover::recover;
use crate::repair::RepairOptions;
use crate::types::{BlockIndex, StreamId, Uuid, VolumeId};
use crate::writer::engine::EngineOptions;
use std::collections::{BTreeSet, HashSet};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// To what the small volumes grow.
const TO: u64 = 640 << 10;
/// And then.
const THEN_TO: u64 = 900 << 10;

fn go_on(_done: u64, _all: u64) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn options() -> EngineOptions {
    EngineOptions {
        scrub: None,
        opener: crate::session::Opener::default(),
        chunk_bytes: 4096,
        path: PathBuf::from("proof"),
        pause: |_| (),
        stream_id: |_, _| StreamId::random(),
    }
}

/// The volume on a disk of this size, behind it what a number stands for: zeros, or what was there before.
pub(super) fn on_disk_of(image: &SimImage, bytes: u64, behind: u64) -> SimImage {
    let mut larger = SimImage::zeroed(bytes as usize);
    if behind > 0 {
        larger.write(0, &payload(behind, bytes as usize));
    }
    larger.write(0, &image.to_vec());
    larger
}

/// How what stands on a disk would grow to all of it.
pub(super) fn planned(image: &SimImage) -> crate::Result<Growth> {
    let path = Path::new("proof");
    Growth::plan(&recover(image, path)?, image, image.len_bytes() as u64, path)
}

/// Grows what stands on a disk to all of it.
pub(super) fn grow(disk: SimDisk) -> Verdict {
    let reader: Arc<dyn ReadAt> = Arc::new(disk.control().reader());
    let growth = planned(&disk.control().snapshot()).map_err(|error| error.to_string())?;
    let left =
        growth.left_behind(&*reader, Path::new("proof"), &mut go_on).map_err(|error| error.to_string())?;
    demand!(left.is_none(), "block {left:?} is taken for the volume's own");
    grow_on(disk, reader, Arc::new(SimClock::new(NOW)), options(), &growth).map_err(|error| error.to_string())
}

/// A volume that was put on a larger disk and has grown to it.
pub(super) fn grown(image: &SimImage, bytes: u64, seed: u64) -> Verdict<SimImage> {
    let disk = SimDisk::from_image(on_disk_of(image, bytes, seed), seed);
    let control = disk.control();
    grow(disk)?;
    Ok(control.crash(CrashPlan::None))
}

/// What a volume must hold, and the sizes that it may have.
struct Expected<'a> {
    volume: VolumeId,
    model: &'a Model,
    whole: BTreeSet<i64>,
    blocks: [u32; 2],
    /// Its shape before and after.
    shapes: [Shape; 2],
}

impl<'a> Expected<'a> {
    fn of(image: &SimImage, to: u64, model: &'a Model) -> Verdict<Expected<'a>> {
        let (volume, whole, _) = read_all(shared(image), model)?;
        let growth = planned(&on_disk_of(image, to, 0)).map_err(|error| error.to_string())?;
        let grown_bytes = if to == THEN_TO { [[TO, 0], [TO, THEN_TO]] } else { [[0; 2], [TO, 0]] };
        let shapes = grown_bytes.map(|grown_bytes| Shape { grown_bytes, ..Shape::SMALL });
        let (id, blocks) = (volume.info().id, [volume.info().blocks, growth.geometry.blocks]);
        Ok(Expected { volume: id, model, whole, blocks, shapes })
    }

    /// That an image is the old volume or the new one; which.
    fn is_one_of(&self, image: &SimImage) -> Verdict<bool> {
        let (volume, seen, damage) = read_all(shared(image), self.model)?;
        demand!(seen == self.whole, "{} of {} samples are served", seen.len(), self.whole.len());
        demand!(damage.is_empty(), "damage: {damage:?}");
        let blocks = volume.info().blocks;
        demand!(self.blocks.contains(&blocks), "it has {blocks} blocks, not one of {:?}", self.blocks);
        let other = volume.findings().iter().find(|finding| finding.what != "superblock");
        demand!(other.is_none(), "opening finds {other:?}");
        Ok(blocks == self.blocks[1])
    }

    /// That it is whole: all copies stand, and nothing is found.
    fn is_whole(&self, image: &SimImage) -> Verdict<bool> {
        let volume =
            Volume::from_disk(shared(image), Path::new("proof")).map_err(|error| error.to_string())?;
        let found = volume.check(&mut |_, _| ()).map_err(|error| error.to_string())?.findings;
        demand!(found.is_empty(), "check finds {found:?}");
        self.is_one_of(image)
    }
}

/// Opens for writing and closes again, as the next recorder does.
fn opened_and_closed(image: &SimImage, seed: u64) -> Verdict<SimImage> {
    let disk = SimDisk::from_image(image.clone(), seed);
    let control = disk.control();
    open_engine(disk)?.close().map_err(|error| error.to_string())?;
    Ok(control.crash(CrashPlan::None))
}

#[test]
fn wherever_growing_is_cut_off_the_volume_is_the_old_or_the_new_one_with_all_of_its_footage() {
    for_seeds("growing, every event", 12_000, 9, every_event);
}

/// Every event of growing once and again, with volumes that were closed, that hold something, and that a crash left.
pub(super) fn every_event(seed: u64) -> Verdict<u64> {
    let (image, model) = match seed % 3 {
        0 => full_volume(seed)?,
        1 => held_volume(seed)?,
        _ => crashed(seed)?,
    };
    let mut judged = cut_everywhere(&image, &model, TO, seed)?;
    let once = grown(&image, TO, seed)?;
    judged += cut_everywhere(&once, &model, THEN_TO, seed)?;
    Ok(judged)
}

/// A volume that lost power while it was recorded into: all that is there was durable.
fn crashed(seed: u64) -> Verdict<(SimImage, Model)> {
    let mut driver = Driver::new(Shape::SMALL, seed, Cuts::NONE)?;
    driver.admit("cam0")?;
    driver.lap()?;
    for _ in 0..3 {
        driver.push(0, 2000)?;
        driver.settle()?;
    }
    let model = driver.model.clone();
    Ok((driver.disk.crash(CrashPlan::None), model))
}

fn cut_everywhere(image: &SimImage, model: &Model, to: u64, seed: u64) -> Verdict<u64> {
    let behind = if seed.is_multiple_of(2) { 0 } else { seed };
    cut_everywhere_on(&on_disk_of(image, to, behind), image, model, to, seed)
}

/// The same on this disk, at whose front the volume stands.
fn cut_everywhere_on(larger: &SimImage, image: &SimImage, model: &Model, to: u64, seed: u64) -> Verdict<u64> {
    let expected = Expected::of(image, to, model)?;
    let disk = SimDisk::from_image(larger.clone(), seed);
    let control = disk.control();
    let points: Arc<Mutex<Vec<CrashPoint>>> = Arc::default();
    let met = Arc::clone(&points);
    control.on_event(move |point| met.lock().unwrap_or_else(PoisonError::into_inner).push(point.clone()));
    grow(disk)?;
    control.off_event();
    let done = control.crash(CrashPlan::None);
    demand!(expected.is_whole(&done)?, "it has not grown");
    let mut rng = SimRng::new(seed);
    let (mut seen, mut judged, mut old, mut new) = (HashSet::new(), 0, 0, 0);
    for point in std::mem::take(&mut *points.lock().unwrap_or_else(PoisonError::into_inner)) {
        for plan in CrashPlan::enumerate(point.pending_sectors(), 48, rng.next_u64()) {
            let cut = point.image(plan);
            if !seen.insert(cut.digest()) {
                continue;
            }
            let context = |why| format!("event {}, {plan:?}: {why}", point.event());
            let has_grown = expected.is_one_of(&cut).map_err(context)?;
            *(if has_grown { &mut new } else { &mut old }) += 1;
            judged += 1;
            if rng.below(6) == 0 {
                judged += goes_on(&expected, &cut, has_grown, rng.next_u64()).map_err(context)?;
            }
        }
    }
    demand!(old > 0 && new > 0, "{old} images are of the old volume, {new} of the new one");
    Ok(judged)
}

/// What was cut off is ended by the next writer, by a repair, or by growing again.
fn goes_on(expected: &Expected<'_>, cut: &SimImage, has_grown: bool, seed: u64) -> Verdict<u64> {
    let opened = opened_and_closed(cut, seed)?;
    demand!(expected.is_whole(&opened)? == has_grown, "opening it for writing changed its size");
    // Where another volume left a superblock, repairing asks which is meant.
    let options = RepairOptions { volume: Some(expected.volume), ..RepairOptions::default() };
    let (mended, _) = repaired(cut, &options, seed)?;
    demand!(expected.is_whole(&mended)? == has_grown, "repairing it changed its size");
    // Recorded on over all of it, at once.
    let shape = expected.shapes[usize::from(has_grown)];
    let mut driver = Driver::faulty_on(cut.clone(), shape, expected.model.clone(), seed)?;
    driver.clock.advance(std::time::Duration::from_secs(5 * 3600));
    driver.lap()?;
    driver.power_cut()?;
    if has_grown {
        let again = planned(cut);
        demand!(matches!(again, Err(Error::Invalid(_))), "it grows twice into the same space: {again:?}");
        return Ok(2 + driver.judged);
    }
    let disk = SimDisk::from_image(cut.clone(), seed);
    let control = disk.control();
    grow(disk)?;
    demand!(expected.is_whole(&control.crash(CrashPlan::None))?, "growing again does not end it");
    Ok(3 + driver.judged)
}

#[test]
fn a_disk_that_fails_while_the_volume_grows_leaves_the_old_or_the_new_one() {
    for_seeds("growing on a failing disk", 12_100, 3, failing);
}

/// Each place that growing writes to refuses that for good; and each write and flush fails, once and for good.
pub(super) fn failing(seed: u64) -> Verdict<u64> {
    let (image, model) = full_volume(seed)?;
    let expected = Expected::of(&image, TO, &model)?;
    let larger = on_disk_of(&image, TO, seed);
    let geometry = planned(&larger).map_err(|error| error.to_string())?.geometry;
    let table = geometry.extents.last().filter(|extent| extent.table_bytes > 0).map(|extent| extent.table_at);
    let mut judged = 0;
    for place in geometry.copies_at.iter().copied().chain(table) {
        let disk = SimDisk::from_image(larger.clone(), seed);
        let control = disk.control();
        control.fail_range(place..place + SECTOR_BYTES as u64, Errno::EIO, Kinds::WRITES);
        demand!(grow(disk).is_err(), "{place} cannot be written, and nobody is told");
        let left = control.crash(CrashPlan::None);
        let has_grown = expected.is_one_of(&left)?;
        demand!(has_grown == (place > 0 && Some(place) != table), "what is written at {place} decides");
        let opened = opened_and_closed(&left, seed)?;
        demand!(expected.is_whole(&opened)? == has_grown, "opening it for writing changed its size");
        judged += 2;
    }
    let disk = SimDisk::from_image(larger.clone(), seed);
    let control = disk.control();
    grow(disk)?;
    let written = Kinds { reads: false, ..Kinds::ALL };
    for nth in 0..control.submitted() {
        for repeat in [Repeat::Once, Repeat::Forever] {
            let disk = SimDisk::from_image(larger.clone(), seed);
            let control = disk.control();
            control.fail_nth(nth, Errno::EIO, repeat, written);
            let told = grow(disk);
            let has_grown = expected.is_one_of(&control.crash(CrashPlan::None))?;
            demand!(told.is_err() || has_grown, "operation {nth} fails, and growing says that it is done");
            judged += 1;
        }
    }
    Ok(judged)
}

#[test]
fn what_another_life_left_in_the_added_space_never_counts() {
    for_seeds("another life", 12_200, 4, another_life);
}

/// The volume grew, was recorded into, and then a copy from before was put over its front.
pub(super) fn another_life(seed: u64) -> Verdict<u64> {
    let (image, model) = full_volume(seed)?;
    let expected = Expected::of(&image, TO, &model)?;
    let once = grown(&image, TO, seed)?;
    let shape = Shape { grown_bytes: [TO, 0], ..Shape::SMALL };
    let mut driver = Driver::on(once, shape, model.clone(), seed, Cuts::NONE)?;
    driver.lap()?;
    let (mut disk, _) = driver.close()?;
    disk.write(0, &image.to_vec());
    demand!(!expected.is_one_of(&disk)?, "the superblock that another life left counts");
    let opened = opened_and_closed(&disk, seed)?;
    demand!(!expected.is_whole(&opened)?, "it has grown by being opened");
    let growth = planned(&opened).map_err(|error| error.to_string())?;
    let left =
        growth.left_behind(&opened, Path::new("proof"), &mut go_on).map_err(|error| error.to_string())?;
    demand!(left.is_some(), "the blocks that another life left are not noticed");
    // As `keha volume grow --prewrite` does.
    let mut cleared = SimDisk::from_image(opened, seed);
    growth.clear(&mut cleared, Path::new("proof"), &mut go_on).map_err(|error| error.to_string())?;
    let control = cleared.control();
    grow(cleared)?;
    let again = control.crash(CrashPlan::None);
    demand!(expected.is_whole(&again)?, "it does not grow again");
    let mut driver = Driver::on(again, shape, model, seed + 1, Cuts::NONE)?;
    driver.lap()?;
    driver.reopen()?;
    Ok(driver.judged)
}

#[test]
fn zeros_that_a_flush_did_not_make_durable_are_not_said_to_stand() {
    let (image, _) = full_volume(12_250).unwrap_or_else(|why| panic!("{why}"));
    let growth = planned(&on_disk_of(&image, TO, 1)).expect("it can grow");
    let clear = |failing: Option<Repeat>| {
        let mut disk = SimDisk::from_image(on_disk_of(&image, TO, 1), 1);
        let control = disk.control();
        if let Some(repeat) = failing {
            control.fail_nth(0, Errno::EIO, repeat, Kinds { flushes: true, ..Kinds::READS });
        }
        growth.clear(&mut disk, Path::new("proof"), &mut go_on)
    };
    assert!(clear(None).is_ok());
    for repeat in [Repeat::Once, Repeat::Forever] {
        assert!(matches!(clear(Some(repeat)), Err(Error::Io { .. })), "{repeat:?}");
    }
}

#[test]
fn another_volume_whose_end_appears_behind_this_one_is_not_taken_for_it() {
    for_seeds("another volume's end", 12_300, 2, another_end);
}

/// The whole disk was another volume's, created in that size or grown to it; this one was made on a part of it, which has become the
/// whole again. Also where copies of this one are rotten.
pub(super) fn another_end(seed: u64) -> Verdict<u64> {
    let (image, model) = full_volume(seed)?;
    let expected = Expected::of(&image, TO, &model)?;
    let mut at_once = Driver::new(Shape { size_bytes: TO, ..Shape::SMALL }, seed | 1 << 40, Cuts::NONE)?;
    at_once.admit("cam0")?;
    at_once.lap()?;
    let (at_once, _) = at_once.close()?;
    let (other, _) = full_volume(seed | 1 << 41)?;
    let mut judged = 0;
    for mut disk in [at_once, grown(&other, TO, seed)?] {
        let copies =
            recover(&disk, Path::new("proof")).map_err(|error| error.to_string())?.geometry.copies_at;
        let at = *copies.last().ok_or("no copies")?;
        let mut last = vec![0; SECTOR_BYTES];
        disk.read_exact_at(&mut last, at).map_err(|error| error.to_string())?;
        let stale = Superblock::read(&last).ok_or("no superblock at the end")?;
        Superblock { generation: 99, ..stale }.seal(&mut last);
        disk.write(at, &last);
        disk.write(0, &image.to_vec());
        demand!(!expected.is_one_of(&disk)?, "it has grown by itself");
        judged += cut_everywhere_on(&disk, &image, &model, TO, seed)?;
        let own = recover(&image, Path::new("proof")).map_err(|error| error.to_string())?.geometry.copies_at;
        for rotten in own.iter().skip(1).take(2) {
            disk.write(*rotten, &[0xff; SECTOR_BYTES]);
            demand!(!expected.is_one_of(&disk)?, "it is the other one with a rotten copy at {rotten}");
            judged += 1;
        }
    }
    Ok(judged)
}

#[test]
fn what_has_no_room_for_a_block_more_or_grew_too_often_is_refused() {
    let (image, _) = full_volume(12_400).unwrap_or_else(|why| panic!("{why}"));
    let bytes = image.len_bytes() as u64;
    for to in [bytes, bytes + 512, bytes + (15 << 10)] {
        let refused = planned(&on_disk_of(&image, to, 0)).map(|growth| growth.geometry);
        assert!(matches!(refused, Err(Error::Invalid(_))), "{to}: {refused:?}");
    }
    let (mut grows, mut to) = (image, bytes);
    for _ in 0..EXTENTS_MAX {
        to += 64 << 10;
        grows = grown(&grows, to, 1).unwrap_or_else(|why| panic!("{why}"));
    }
    let refused = planned(&on_disk_of(&grows, to + (64 << 10), 0)).map(|growth| growth.geometry);
    assert!(refused.is_err_and(|error| error.to_string().contains("12 times")));
}

#[test]
fn superblocks_that_were_forged_make_no_volume_and_no_panic() {
    for_seeds("forged growth", 12_500, 1, |seed| {
        let (image, _) = full_volume(seed)?;
        let once = grown(&image, TO, seed)?;
        let state = recover(&once, Path::new("proof")).map_err(|error| error.to_string())?;
        let mut judged = 0;
        let mut rng = SimRng::new(seed);
        for case in 0..100 {
            let mut bytes = [0; Superblock::SIZE];
            state.superblock.seal(&mut bytes);
            // The sizes are the last field of the record.
            let begin = 8 + <Superblock as crate::format::Field>::BYTES - 8 * EXTENTS_MAX;
            for place in 0..=rng.below(EXTENTS_MAX) {
                let sizes =
                    [0, 1, 511, TO, TO + 512, TO * 2, 1 << 30, 1 << 42, 1 << 63, u64::MAX, rng.next_u64()];
                let at = begin + 8 * place;
                bytes[at..at + 8].copy_from_slice(&sizes[rng.below(sizes.len())].to_le_bytes());
            }
            if case % 5 == 0 {
                bytes[32..40].copy_from_slice(&0_u64.to_le_bytes());
            }
            let checksum = crc32c::crc32c(&bytes[8..Superblock::SIZE - 4]);
            bytes[Superblock::SIZE - 4..].copy_from_slice(&checksum.to_le_bytes());
            let mut forged = once.clone();
            state.geometry.copies_at.iter().for_each(|at| forged.write(*at, &bytes));
            // Read or refused; never written as something that it is not.
            let _read = Volume::from_disk(shared(&forged), Path::new("proof"))
                .map(|volume| volume.check(&mut |_, _| ()));
            let _mended = plan(&forged);
            judged += 1;
        }
        Ok(judged)
    });
}

#[test]
fn a_volume_that_grew_says_so_to_programs_that_do_not_know_how() {
    let (image, model) = full_volume(12_600).unwrap_or_else(|why| panic!("{why}"));
    let path = Path::new("proof");
    let before = recover(&image, path).expect("it opens").superblock;
    assert_eq!((before.incompat, before.generation), (0, 1), "one that never grew is as it always was");
    let once = grown(&image, TO, 1).unwrap_or_else(|why| panic!("{why}"));
    let state = recover(&once, path).expect("it opens");
    assert_eq!(state.superblock.incompat, EXTENTS);
    assert!(state.superblock.generation > before.generation);
    let first = |superblock: &Superblock| Superblock {
        incompat: 0,
        generation: 1,
        grown: Default::default(),
        ..superblock.clone()
    };
    assert_eq!(first(&state.superblock), before, "what it was created with stays");
    // Where no superblock is left, the blocks taken since say so.
    let shape = Shape { grown_bytes: [TO, 0], ..Shape::SMALL };
    let mut driver = Driver::on(once, shape, model, 1, Cuts::NONE).unwrap_or_else(|why| panic!("{why}"));
    driver.lap().unwrap_or_else(|why| panic!("{why}"));
    let (recorded, _) = driver.close().unwrap_or_else(|why| panic!("{why}"));
    let state = recover(&recorded, path).expect("it opens");
    let scanner = crate::scan::Scanner { disk: &recorded, geometry: &state.geometry, volume: state.volume() };
    let said = state.geometry.all_blocks().filter_map(|block| scanner.block_header(block).ok().flatten());
    assert!(said.filter(|header| header.incompat == EXTENTS).count() as u32 > state.geometry.first_blocks);
    assert_ne!(VolumeId(Uuid::nil()), state.volume());
    assert!(state.geometry.block_at(BlockIndex(state.geometry.first_blocks)) > before.size_bytes);
}
