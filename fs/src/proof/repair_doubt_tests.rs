//! Repair where there is doubt: what cannot be known is not guessed, and what failed to be read is not taken for lost.

use super::material::payload;
use super::repair_tests::{
    NOW, blocks_untouched, is_whole, plan, plan_as, repair, repaired, two_cameras, without,
};
use super::truth::Truth;
use super::{Verdict, demand, for_seeds};
use crate::Error;
use crate::disk::ReadAt;
use crate::disk::sim::{Errno, Repeat, SimDisk, SimImage};
use crate::recover::recover;
use crate::repair::RepairOptions;
use crate::types::StreamName;
use std::path::Path;

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
        let [_, first, ..] = truth.geometry.copies_at;
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
    control.fail_range(0..512, Errno::EIO, crate::disk::sim::Kinds::ALL);
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
