//! Finding the superblock: at the front, at the end, else at the places where the inner copies can be, else at any place where
//! one can stand in a volume that was larger. A copy counts only where it says itself that a copy stands.
//!
//! Which counts of those that stand, once each place was looked at that one of them names:
//!
//! | found | counts |
//! |---|---|
//! | copies of one volume, of one generation | it |
//! | copies of one volume, of several generations | the highest of those that stand where the volume had copies when it was created |
//! | none at those places, some at the ends of extents | the highest of these |
//! | copies of several volumes | the one at the front, if more of it stands than that; else the one of which the fewest copies are missing |
//!
//! A former volume's end may lie behind what was made in its place, with all that is described there and a copy that names others: it
//! must not come back because copies of the volume at the front are damaged, or older while it grows. A front alone, put over another
//! volume by accident, does not make that volume its own.
//!
//! A change is written to the front first and to the ends of extents last, see [`mod@crate::grow`]. So a copy in an extent that is newer
//! than all those at the volume's first places was left there by another life of the volume, of which a copy was restored over its
//! front: it does not count, whatever its generation.

use super::{finding, superblock_stands};
use crate::disk::ReadAt;
use crate::error::{Error, Result};
use crate::format::Framed;
use crate::format::geometry::region_bytes;
use crate::format::superblock::{Head, Superblock};
use crate::report::Finding;
use crate::types::VolumeId;
use std::collections::BTreeSet;
use std::path::Path;

/// The largest block, in bytes: an inner copy stands at most that far (and some regions) from a third of the volume.
const BLOCK_BYTES_MAX: u64 = 256 << 20;

/// How many places are looked at where neither front nor end nor the thirds have a copy: an image whose front is overwritten
/// and whose end is missing. A region unit is 1 MiB at most, so that this covers 64 GiB.
const PLACES_MAX: u64 = 1 << 16;

/// The superblock that counts.
pub(crate) struct Found {
    pub(crate) superblock: Superblock,
    /// Which of its copies stand.
    pub(crate) good: Vec<bool>,
    pub(crate) findings: Vec<Finding>,
}

/// Finds the superblock that counts.
pub(crate) fn find(disk: &dyn ReadAt, path: &Path) -> Result<Found> {
    find_of(disk, path, None)
}

/// [`find`]; `wanted`: only one of this volume.
pub(crate) fn find_of(disk: &dyn ReadAt, path: &Path, wanted: Option<VolumeId>) -> Result<Found> {
    let is_wanted = |superblock: &Superblock| wanted.is_none_or(|wanted| wanted == superblock.volume);
    let read_at = |at| read_at(disk, at).filter(is_wanted);
    let size = disk.size_bytes();
    let region = region_bytes(size, 512);
    let mut bytes = vec![0; Superblock::SIZE];
    let first_read = disk.read_exact_at(&mut bytes, 0);
    let mut candidates: Vec<Superblock> = Vec::new();
    if first_read.is_ok() {
        candidates.extend(Superblock::read(&bytes).filter(is_wanted));
    }
    let last = (size / region).saturating_sub(1) * region;
    // A volume of a later version is not taken for one that stood here before it, nor for none.
    if let Some(detail) = [0, last].into_iter().find_map(|at| unsupported_at(disk, at, wanted)) {
        return Err(Error::Unsupported { path: path.to_owned(), detail });
    }
    candidates.extend(read_at(last));
    if candidates.is_empty() {
        candidates.extend(search(size, region, read_at));
    }
    if candidates.is_empty() {
        candidates.extend((0..size).step_by(region as usize).take(PLACES_MAX as usize).find_map(read_at));
    }
    settle(disk, &candidates).ok_or_else(|| match first_read {
        Err(source) if source.kind() != std::io::ErrorKind::UnexpectedEof => Error::io("read", path, source),
        _ => Error::NotAVolume { path: path.to_owned(), detail: describe(&bytes, size) },
    })
}

/// The volume that can be seen here without a search of everything, its label, and where its superblocks stand: by the front, the end
/// of the disk and its thirds, in about a thousand reads. One of a later version is seen by its front and end alone.
pub(crate) fn likely(disk: &dyn ReadAt) -> Option<(VolumeId, String, Vec<u64>)> {
    let size = disk.size_bytes();
    let region = region_bytes(size, 512);
    let last = (size / region).saturating_sub(1) * region;
    let head = |at| {
        let mut bytes = vec![0; Superblock::SIZE];
        disk.read_exact_at(&mut bytes, at).ok()?;
        Head::read(&bytes).map(|head| (head.volume, String::new(), vec![0, last]))
    };
    let whole = [0, last].into_iter().find_map(|at| read_at(disk, at));
    let known = whole.or_else(|| search(size, region, |at| read_at(disk, at)));
    let told = known.map(|found| (found.volume, found.label.as_str().to_owned(), found.all_copies_at()));
    told.or_else(|| [0, last].into_iter().find_map(head))
}

/// The one that counts of superblocks that were met.
fn settle(disk: &dyn ReadAt, met: &[Superblock]) -> Option<Found> {
    let mut volumes: Vec<VolumeId> = Vec::new();
    for superblock in met {
        if !volumes.contains(&superblock.volume) {
            volumes.push(superblock.volume);
        }
    }
    let found = volumes.into_iter().filter_map(|volume| {
        let mine: Vec<&Superblock> = met.iter().filter(|superblock| superblock.volume == volume).collect();
        newest(disk, &mine)
    });
    let (counts, _) = found.min_by_key(|(found, at_front)| (!at_front, found.findings.len()))?;
    Some(counts)
}

/// The superblock of one volume that counts, where these were met of it; and whether the volume is the one at the front, of which more stands.
fn newest(disk: &dyn ReadAt, met: &[&Superblock]) -> Option<(Found, bool)> {
    let volume = met.first()?.volume;
    let mut places: Vec<u64> = met.iter().flat_map(|superblock| superblock.all_copies_at()).collect();
    let (mut looked_at, mut standing) = (BTreeSet::new(), Vec::new());
    while let Some(at) = places.pop() {
        if !looked_at.insert(at) {
            continue;
        }
        if let Some(copy) = read_at(disk, at).filter(|copy| copy.volume == volume) {
            places.extend(copy.all_copies_at());
            standing.push((at, copy));
        }
    }
    let at_first = |(at, copy): &&(u64, Superblock)| copy.copies_at.contains(at);
    let only_last = planted!(LastCopyBelieved) || !standing.iter().any(|one| at_first(&one));
    let counting = standing.iter().filter(|one| only_last || at_first(one)).map(|(_, copy)| copy);
    let alike = |copy: &Superblock| standing.iter().filter(|(_, other)| other == copy).count();
    let counts = counting.max_by_key(|copy| (copy.generation, alike(copy)));
    // Where a copy was read once and then no more, what was read counts.
    let superblock = counts.or_else(|| met.iter().copied().max_by_key(|superblock| superblock.generation))?;
    let stands = |at: u64| standing.iter().any(|(place, copy)| *place == at && copy == superblock);
    let at_front =
        standing.len() > 1 && standing.iter().any(|(at, _)| *at == 0) && !planted!(FewestMissingCount);
    Some((told(superblock.clone(), stands), at_front))
}

/// Which copies of a superblock stand.
pub(crate) fn judge(disk: &dyn ReadAt, superblock: Superblock) -> Found {
    let expected = superblock.clone();
    told(superblock, |at| superblock_stands(disk, at, &expected))
}

fn told(superblock: Superblock, stands: impl Fn(u64) -> bool) -> Found {
    let places = superblock.all_copies_at();
    let good: Vec<bool> = places.iter().map(|at| stands(*at)).collect();
    let bad = places.into_iter().zip(&good).filter(|(_, good)| !**good);
    let detail = "this copy does not verify, or is older; another stands in";
    let findings = bad.map(|(at, _)| finding("superblock", at, detail.to_owned())).collect();
    Found { superblock, good, findings }
}

/// A superblock anywhere in a volume of this size or a larger one: every place where one can stand is looked at, so that it takes
/// as many reads as the disk has MiB, of one of less than 64 GiB [`PLACES_MAX`]: a volume may have been much smaller once.
/// `wanted`: only one of this volume.
pub(crate) fn find_anywhere(disk: &dyn ReadAt, wanted: Option<VolumeId>) -> Option<Found> {
    let size = disk.size_bytes();
    let finer = (size / PLACES_MAX).next_power_of_two().max(512);
    let places = (0..size).step_by(region_bytes(size, 512).min(finer) as usize);
    let found = places.filter_map(|at| read_at(disk, at));
    let mine: Vec<Superblock> =
        found.filter(|superblock| wanted.is_none_or(|wanted| wanted == superblock.volume)).collect();
    settle(disk, &mine)
}

/// The volumes of the superblocks that stand at the disk's end and where this one says that its copies do.
pub(crate) fn volumes_named(disk: &dyn ReadAt, superblock: &Superblock) -> BTreeSet<VolumeId> {
    let region = region_bytes(disk.size_bytes(), 512);
    let last = (disk.size_bytes() / region).saturating_sub(1) * region;
    let copies = superblock.all_copies_at().into_iter().chain([last]).filter_map(|at| read_at(disk, at));
    copies.map(|copy| copy.volume).chain([superblock.volume]).collect()
}

/// The highest generation of a volume that any superblock of it says: here where it says that its copies stand, and at the disk's end.
pub(crate) fn highest_generation(disk: &dyn ReadAt, superblock: &Superblock) -> u64 {
    let region = region_bytes(disk.size_bytes(), 512);
    let last = (disk.size_bytes() / region).saturating_sub(1) * region;
    let copies = superblock.all_copies_at().into_iter().chain([last]).filter_map(|at| read_at(disk, at));
    let mine = copies.filter(|copy| copy.volume == superblock.volume).map(|copy| copy.generation);
    mine.max().unwrap_or_default().max(superblock.generation)
}

/// Why the volume of the superblock that stands here cannot be read, if so. `wanted`: only of this volume.
fn unsupported_at(disk: &dyn ReadAt, at: u64, wanted: Option<VolumeId>) -> Option<String> {
    let mut bytes = vec![0; Superblock::SIZE];
    disk.read_exact_at(&mut bytes, at).ok()?;
    let head = Head::read(&bytes).filter(|head| wanted.is_none_or(|wanted| wanted == head.volume))?;
    head.unsupported()
}

fn read_at(disk: &dyn ReadAt, at: u64) -> Option<Superblock> {
    let mut bytes = vec![0; Superblock::SIZE];
    disk.read_exact_at(&mut bytes, at).ok()?;
    let superblock = Superblock::read(&bytes)?;
    superblock.all_copies_at().contains(&at).then_some(superblock)
}

/// Looks where the inner copies of any volume of this size can stand.
fn search(size: u64, region: u64, read_at: impl Fn(u64) -> Option<Superblock>) -> Option<Superblock> {
    let third = size / 3;
    [third, 2 * third].into_iter().find_map(|near| {
        let begin = near.saturating_sub(BLOCK_BYTES_MAX.min(third)) / region * region;
        let end = (near + BLOCK_BYTES_MAX.min(third)).min(size);
        (begin..end).step_by(region as usize).find_map(&read_at)
    })
}

fn describe(bytes: &[u8], size: u64) -> String {
    if size < Superblock::SIZE as u64 {
        format!("it has only {size} bytes")
    } else if crate::format::is_zero(bytes) {
        "it begins with zeros".to_owned()
    } else {
        "no copy of a superblock verifies".to_owned()
    }
}
