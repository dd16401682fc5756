//! Finding the superblock: at the front, at the end, else at the places where the inner copies can be, else at any place where
//! one can stand in a volume that was larger. A copy counts only where it says itself that a copy stands.

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
    pub(crate) good: [bool; 4],
    pub(crate) findings: Vec<Finding>,
}

/// Finds the superblock of the highest generation.
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
    let Some(superblock) = candidates.into_iter().max_by_key(|superblock| superblock.generation) else {
        return Err(match first_read {
            Err(source) if source.kind() != std::io::ErrorKind::UnexpectedEof => {
                Error::io("read", path, source)
            }
            _ => Error::NotAVolume { path: path.to_owned(), detail: describe(&bytes, size) },
        });
    };
    Ok(judge(disk, superblock))
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
    let told = known.map(|found| (found.volume, found.label.as_str().to_owned(), found.copies_at.to_vec()));
    told.or_else(|| [0, last].into_iter().find_map(head))
}

/// Which copies of a superblock stand.
pub(crate) fn judge(disk: &dyn ReadAt, superblock: Superblock) -> Found {
    let good = superblock.copies_at.map(|at| superblock_stands(disk, at, &superblock));
    let bad = superblock.copies_at.into_iter().zip(good).filter(|(_, good)| !good);
    let detail = "this copy does not verify; another stands in";
    let findings = bad.map(|(at, _)| finding("superblock", at, detail.to_owned())).collect();
    Found { superblock, good, findings }
}

/// A superblock anywhere in a volume of this size or a larger one: every place where one can stand is looked at, so that it takes
/// as many reads as the disk has MiB. `wanted`: only one of this volume.
pub(crate) fn find_anywhere(disk: &dyn ReadAt, wanted: Option<VolumeId>) -> Option<Found> {
    let size = disk.size_bytes();
    let places = (0..size).step_by(region_bytes(size, 512) as usize);
    let found = places.filter_map(|at| read_at(disk, at));
    let mine = found.filter(|superblock| wanted.is_none_or(|wanted| wanted == superblock.volume));
    mine.max_by_key(|superblock| superblock.generation).map(|superblock| judge(disk, superblock))
}

/// The volumes of the superblocks that stand at the disk's end and where this one says that its copies do.
pub(crate) fn volumes_named(disk: &dyn ReadAt, superblock: &Superblock) -> BTreeSet<VolumeId> {
    let region = region_bytes(disk.size_bytes(), 512);
    let last = (disk.size_bytes() / region).saturating_sub(1) * region;
    let copies = superblock.copies_at.into_iter().chain([last]).filter_map(|at| read_at(disk, at));
    copies.map(|copy| copy.volume).chain([superblock.volume]).collect()
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
    superblock.copies_at.contains(&at).then_some(superblock)
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
