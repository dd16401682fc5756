//! Repair where there is doubt: what cannot be known is not guessed, and what failed to be read is not taken for lost.

use super::driver::{Cuts, Driver};
use super::hold_tests::oldest;
use super::material::{Shape, payload};
use super::repair_tests::{
    NOW, blocks_untouched, is_whole, plan, plan_as, repair, repaired, two_cameras, without,
};
use super::truth::Truth;
use super::{Verdict, demand, for_seeds};
use crate::Error;
use crate::disk::ReadAt;
use crate::disk::sim::{CrashPlan, CrashPoint, Errno, Kinds, Repeat, SimDisk, SimImage};
use crate::format::geometry::Geometry;
use crate::format::superblock::Superblock;
use crate::format::table::{HELD, ROWS_PER_SECTOR, Row, TableSector, table_magic};
use crate::format::{Framed, SECTOR_BYTES};
use crate::hold::{Slot, slot_of};
use crate::recover::recover;
use crate::repair::{Circumstances, RepairOptions, survey};
use crate::types::{BlockIndex, HoldId, RoundNumber, StreamName};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// The first blocks of a volume that was cut short fit a smaller volume as well, whose metadata would be written into footage.
#[test]
fn a_volume_cut_short_without_a_superblock_is_never_repaired() {
    for_seeds("cut short without a superblock", 9700, 2, cut_without_superblock);
}

pub(super) fn cut_without_superblock(seed: u64) -> Verdict<u64> {
    let truth = two_cameras(seed)?;
    let whole = truth.image.len_bytes();
    let mut judged = 0;
    for which in [0b000001, 0b110111] {
        let lost = without(&truth, which, seed);
        for bytes in (whole / 4..whole).step_by(9 * 512 + 200) {
            let mut image = lost.clone();
            image.truncate(bytes);
            unharmed(&truth, image, seed).map_err(|why| format!("{which:#b}, {bytes} of {whole}: {why}"))?;
            judged += 1;
        }
        // A copy of a volume onto a larger disk, whose front was lost.
        let mut larger = SimImage::zeroed(whole + 200_000);
        larger.write(0, &lost.to_vec());
        let (reader, control) = (larger.clone(), SimDisk::from_image(larger.clone(), seed).control());
        demand!(plan(&reader).is_err() && control.snapshot() == larger, "a size is made up");
    }
    Ok(judged)
}

/// A cut image is refused and stays as it is, unless no block is missing.
fn unharmed(truth: &Truth, image: SimImage, seed: u64) -> Verdict {
    let disk = SimDisk::from_image(image.clone(), seed);
    let control = disk.control();
    let done = repair(disk, &RepairOptions::default());
    match done {
        Err(_) => demand!(control.snapshot() == image, "it was written to"),
        Ok(_) => blocks_untouched(truth, &control.snapshot())?,
    }
    Ok(())
}

/// What superblocks say is lost, but one stands where no volume of this size has one.
#[test]
fn a_volume_on_a_larger_disk_is_repaired_from_an_inner_superblock() {
    for_seeds("a larger disk", 9710, 1, |seed| {
        let truth = two_cameras(seed)?;
        let mut image = SimImage::zeroed(2 * truth.image.len_bytes() + (1 << 20));
        let mut bytes = truth.image.to_vec();
        let first = truth.geometry.copies_at[1];
        bytes[..512].fill(0);
        let last = truth.geometry.copies_at[3] as usize;
        bytes[last..last + 512].fill(0);
        image.write(0, &bytes);
        demand!(first > 0, "the inner copy is the first");
        let (done, report) = repaired(&image, &RepairOptions::default(), seed)?;
        demand!(report.steps.len() == 1, "{:?}", report.steps);
        is_whole(&truth, &done)?;
        Ok(1)
    });
}

/// A read that fails for a moment once cost every hold and every name: the repair wrote down as lost what it had not read.
#[test]
fn a_read_that_fails_for_a_moment_costs_a_repair_nothing() {
    for_seeds("failing reads of a repair", 9720, 1, failing_reads);
}

pub(super) fn failing_reads(seed: u64) -> Verdict<u64> {
    let truth = two_cameras(seed)?;
    let mut judged = 0;
    // Back copies of holds and directory; superblocks at the front and the end.
    for which in [0b000110, 0b000001] {
        let mut image = truth.image.clone();
        for (kind, places) in super::repair_tests::regions(&truth.geometry).iter().enumerate() {
            let (at, length) = places[places.len() - 1];
            if which & 1 << kind != 0 {
                image.write(at, &payload(seed + at, length));
            }
        }
        let expected = steps(&image, None)?.0;
        let (_, reads) = steps(&image, Some(u64::MAX))?;
        for nth in 0..reads {
            let (found, _) = steps(&image, Some(nth)).map_err(|why| format!("read {nth}: {why}"))?;
            demand!(found == expected, "read {nth} fails, and what is done is {found:?}, not {expected:?}");
            judged += 1;
        }
    }
    Ok(judged)
}

/// What a repair would do where one read fails, and how many reads it takes to know.
fn steps(image: &SimImage, fails: Option<u64>) -> Verdict<(Vec<crate::repair::RepairStep>, u64)> {
    let control = SimDisk::from_image(image.clone(), 1).control();
    if let Some(nth) = fails {
        control.fail_reader(nth, Errno::EIO, Repeat::Once);
    }
    let survey = plan(&control.reader()).map_err(|error| error.to_string())?;
    Ok((survey.report().steps, control.reader_reads()))
}

#[test]
fn a_disk_that_does_not_give_its_front_is_not_guessed_at() {
    let image = without(&two_cameras(9730).unwrap_or_else(|why| panic!("{why}")), 0b000001, 1);
    let control = SimDisk::from_image(image.clone(), 1).control();
    control.fail_range(0..512, Errno::EIO, Kinds::ALL);
    assert!(matches!(plan(&control.reader()), Err(Error::Io { .. })));
}

/// Another volume's front, superblock and all, was copied over this one.
#[test]
fn of_two_volumes_in_one_place_the_one_that_is_named_is_repaired() {
    for_seeds("two volumes in one place", 9740, 1, |seed| {
        // A table is told from another volume's by the first four bytes of its identity.
        let (truth, other) = (two_cameras(seed)?, two_cameras(seed | 1 << 40)?);
        let volume = recover(&truth.image, Path::new("proof")).map_err(|error| error.to_string())?.volume();
        let mut front = vec![0; truth.geometry.stretches_at[0] as usize];
        other.image.read_exact_at(&mut front, 0).map_err(|error| error.to_string())?;
        let named = RepairOptions { volume: Some(volume), ..RepairOptions::default() };
        for which in [0, 0b000001] {
            let mut image = without(&truth, which, seed);
            image.write(0, &front);
            if which == 0 {
                let unnamed = plan(&image);
                demand!(matches!(unnamed, Err(Error::Invalid(_))), "which one is meant was guessed");
            }
            let (done, _) = repaired(&image, &named, seed)?;
            is_whole(&truth, &done)?;
        }
        Ok(2)
    });
}

#[test]
fn a_stream_that_is_named_again_says_when_that_was() {
    for_seeds("named again", 9750, 1, |seed| {
        let truth = two_cameras(seed)?;
        let image = without(&truth, 0b000010, seed);
        let nameless = plan(&image).map_err(|error| error.to_string())?.report().nameless;
        let (id, old) = nameless.first().cloned().ok_or("every stream has a name")?;
        let new = StreamName::new("front").map_err(|error| error.to_string())?;
        let options = RepairOptions { names: [(old, new)].into(), ..RepairOptions::default() };
        let survey = plan_as(&image, &options).map_err(|error| error.to_string())?;
        let entry = survey.recovered.directory.entries.iter().find(|entry| entry.stream == id);
        demand!(entry.is_some_and(|entry| entry.renamed == NOW), "{entry:?}");
        Ok(1)
    });
}

/// What the table knows of a held block is not forgotten with the round log.
#[test]
fn a_held_block_is_marked_so_without_a_round_log() {
    for_seeds("held without a log", 9760, 1, |seed| {
        let truth = two_cameras(seed)?;
        let mut image = without(&truth, 0b001000, seed);
        let state = recover(&truth.image, Path::new("proof")).map_err(|error| error.to_string())?;
        let (sector, magic) = (0, table_magic(state.volume()));
        let rows = std::array::from_fn(|index| {
            let row = state.row(BlockIndex(index as u32));
            Row { flags: row.flags | HELD, ..row }
        });
        let mut bytes = vec![0; SECTOR_BYTES];
        TableSector::new(sector, RoundNumber(0), rows).seal_as(magic, &mut bytes);
        image.write(truth.geometry.table_at(), &bytes);
        let found = recover(&image, Path::new("proof")).map_err(|error| error.to_string())?;
        let held = found.rows.iter().filter(|row| row.flags & HELD != 0).count();
        demand!(held == ROWS_PER_SECTOR, "{held} blocks are held");
        demand!(found.unlisted.is_empty(), "rows of a whole table count as lost");
        Ok(1)
    });
}

/// Sessions without a chunk took epochs that stand in no block, and ran for a time that stands in none.
#[test]
fn no_epoch_comes_again_and_no_running_time_is_lost_with_the_round_log() {
    for_seeds("epochs without a log", 9770, 2, epochs_without_log);
}

pub(super) fn epochs_without_log(seed: u64) -> Verdict<u64> {
    let truth = two_cameras(seed)?;
    let driver = Driver::on(truth.image, Shape::SMALL, truth.model, seed, Cuts::NONE)?;
    driver.clock.advance(std::time::Duration::from_secs(900));
    let (image, model) = driver.close()?;
    let truth = Truth::of(image, model)?;
    let before = recover(&truth.image, Path::new("proof")).map_err(|error| error.to_string())?;
    for which in [0b001000, 0b011000] {
        let image = without(&truth, which, seed);
        let found = recover(&image, Path::new("proof")).map_err(|error| error.to_string())?;
        let (now, then) = ((found.epoch, found.running_seconds), (before.epoch, before.running_seconds));
        demand!(now == then, "epoch and running time are {now:?}, and were {then:?}");
    }
    Ok(2)
}

/// Three cameras, of which the first recorded or did not.
fn three_cameras(seed: u64, first_recorded: bool) -> Verdict<(SimImage, Geometry)> {
    let shape = Shape { size_bytes: 640 << 10, streams: 4, ..Shape::SMALL };
    let mut driver = Driver::new(shape, seed, Cuts::NONE)?;
    for name in ["cam0", "cam1", "cam2"] {
        driver.admit(name)?;
    }
    for _ in 0..6 {
        (usize::from(!first_recorded)..3).try_for_each(|index| driver.push_any(index))?;
        driver.round()?;
    }
    Ok((driver.close()?.0, shape.geometry()))
}

fn names(image: &SimImage) -> Verdict<Vec<String>> {
    let state = recover(image, Path::new("proof")).map_err(|error| error.to_string())?;
    Ok(state.directory.entries.iter().map(|entry| entry.name.as_str().to_owned()).collect())
}

/// An entry is lost in both copies. A repair once moved the others up, and a power cut then lost one that had stood.
#[test]
fn a_repair_that_is_cut_off_loses_no_name_that_stood() {
    for_seeds("holes in the directory", 9780, 2, holes_in_directory);
}

pub(super) fn holes_in_directory(seed: u64) -> Verdict<u64> {
    let mut judged = 0;
    for (first_recorded, lost) in [(true, vec![1]), (false, vec![1]), (false, vec![0, 1]), (true, vec![0, 1])]
    {
        let (mut image, geometry) = three_cameras(seed, first_recorded)?;
        for (at, sector) in
            geometry.directories_at().into_iter().flat_map(|at| lost.iter().map(move |s| (at, *s)))
        {
            image.write(at + sector * SECTOR_BYTES as u64, &[0x5a; SECTOR_BYTES]);
        }
        let disk = SimDisk::from_image(image, seed);
        let control = disk.control();
        let points: Arc<Mutex<Vec<CrashPoint>>> = Arc::default();
        let seen = Arc::clone(&points);
        control.on_event(move |point| {
            seen.lock().unwrap_or_else(PoisonError::into_inner).push(point.clone());
        });
        let report = repair(disk, &RepairOptions::default())?;
        control.off_event();
        demand!(!report.steps.is_empty(), "nothing was done");
        let done = control.crash(CrashPlan::None);
        let context = |why: String| format!("the first recorded: {first_recorded}, lost {lost:?}: {why}");
        all_named(&done, first_recorded).map_err(context)?;
        for point in std::mem::take(&mut *points.lock().unwrap_or_else(PoisonError::into_inner)) {
            for plan in CrashPlan::enumerate(point.pending_sectors(), 16, seed) {
                let cut = point.image(plan);
                let context = |why| context(format!("cut off at event {}, {plan:?}: {why}", point.event()));
                let standing = names(&cut)?;
                let stand = ["cam1", "cam2"].iter().all(|name| standing.iter().any(|one| one == name));
                demand!(stand, "{}", context(format!("{standing:?}")));
                let (done, _) = repaired(&cut, &RepairOptions::default(), seed).map_err(context)?;
                all_named(&done, first_recorded).map_err(context)?;
                judged += 1;
            }
        }
    }
    Ok(judged)
}

/// Each stream with footage has one name, those that stood have theirs.
fn all_named(image: &SimImage, first_recorded: bool) -> Verdict {
    let mut names = names(image)?;
    names.sort_unstable();
    let stood = names.starts_with(&["cam1".to_owned(), "cam2".to_owned()]);
    demand!(stood && names.len() == 2 + usize::from(first_recorded), "{names:?}");
    Ok(())
}

/// One bad sector in each copy, or both headers: the entries stand for themselves.
#[test]
fn a_bad_sector_in_each_copy_of_the_directory_costs_no_other_name() {
    for_seeds("bad sectors in the directory", 9790, 1, |seed| {
        let (image, geometry) = three_cameras(seed, true)?;
        for (front, back) in [(0, 0), (0, 1), (1, 2), (2, 0)] {
            let control = SimDisk::from_image(image.clone(), seed).control();
            for (at, sector) in geometry.directories_at().into_iter().zip([front, back]) {
                let at = at + sector * SECTOR_BYTES as u64;
                control.fail_range(at..at + SECTOR_BYTES as u64, Errno::EIO, Kinds::READS);
            }
            let state = recover(&control.reader(), Path::new("proof")).map_err(|error| error.to_string())?;
            let names: Vec<&str> = state.directory.entries.iter().map(|entry| entry.name.as_str()).collect();
            demand!(names == ["cam0", "cam1", "cam2"], "bad {front} and {back}: {names:?}");
            demand!(state.directory_stands == (front + back > 0), "bad {front} and {back}");
        }
        Ok(4)
    });
}

/// A change of the holds stands nowhere, and no slot is free to say so: the rest is repaired all the same.
#[test]
fn holds_that_fill_every_slot_keep_no_repair_from_ending() {
    for_seeds("no free slot", 9795, 1, |seed| {
        let truth = two_cameras(seed)?;
        let geometry = &truth.geometry;
        let volume = recover(&truth.image, Path::new("proof")).map_err(|error| error.to_string())?.volume();
        let mut driver =
            Driver::on(truth.image.clone(), Shape::SMALL, truth.model.clone(), seed, Cuts::NONE)?;
        let (from, to) = oldest(&driver, "cam0", 4)?;
        // The second one raises the generation that the round log knows of.
        for _ in 0..2 {
            driver.hold("cam0", from, to, None)?.ok_or("there is no room")?;
        }
        driver.round()?;
        let (mut image, _) = driver.close()?;
        for (at, index) in
            geometry.holds_at().into_iter().flat_map(|at| (0..geometry.holds_max).map(move |i| (at, i)))
        {
            let mut sector = vec![0; SECTOR_BYTES];
            slot_of(&Slot::Lost(HoldId::random()), volume, index as usize, 1).seal(&mut sector);
            image.write(at + u64::from(index) * SECTOR_BYTES as u64, &sector);
        }
        // The copies of each must agree.
        let mut front = vec![0; geometry.holds_bytes];
        image.read_exact_at(&mut front, geometry.holds_at()[0]).map_err(|error| error.to_string())?;
        image.write(geometry.holds_at()[1], &front);
        let state = recover(&image, Path::new("proof")).map_err(|error| error.to_string())?;
        demand!(state.holds.outdated, "no change is missing");
        image.write(geometry.directories_at()[1], &[0; SECTOR_BYTES]);
        let (done, report) = repaired(&image, &RepairOptions::default(), seed)?;
        demand!(report.steps.len() == 1, "{:?}", report.steps);
        let (_, report) = repaired(&done, &RepairOptions::default(), seed)?;
        demand!(report.steps.is_empty(), "it never ends: {:?}", report.steps);
        Ok(2)
    });
}

/// The dry run said what a repair would do, and the repair then refused.
#[test]
fn what_may_not_be_written_is_refused_before_it_is_tried() {
    for_seeds("not to be written", 9796, 1, |seed| {
        let truth = two_cameras(seed)?;
        let mut image = without(&truth, 0b000010, seed);
        let coarse = Circumstances { now: NOW, pause: |_| (), alignment_bytes: 4096 };
        let planned = survey(&image, Path::new("proof"), &RepairOptions::default(), coarse, &mut |_, _| ());
        demand!(matches!(planned, Err(Error::Unsupported { .. })), "a disk that writes 4096 bytes at once");
        let state = recover(&image, Path::new("proof")).map_err(|error| error.to_string())?;
        for at in truth.geometry.copies_at.iter().copied() {
            let mut bytes = vec![0; Superblock::SIZE];
            Superblock { ro_compat: 1 << 40, ..state.superblock.clone() }.seal(&mut bytes);
            image.write(at, &bytes);
        }
        demand!(matches!(plan(&image), Err(Error::Unsupported { .. })), "a volume that may only be read");
        Ok(2)
    });
}
