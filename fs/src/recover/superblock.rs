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
//!
//! A disk may be full of copies that were forged, each of which names others: so many volumes and so many places of each are looked at
//! as a disk could ever come to have, and no more ([`VOLUMES_MAX`], [`MET_MAX`], [`LOOKS_MAX`]). Where there are more, that is found.

use super::{finding, superblock_stands};
use crate::disk::ReadAt;
use crate::error::{Error, Result};
use crate::format::Framed;
use crate::format::geometry::region_bytes;
use crate::format::superblock::{Head, Superblock};
use crate::report::Finding;
use crate::types::VolumeId;
use std::cmp::Reverse;
use std::collections::{BTreeSet, VecDeque};
use std::path::Path;

/// The largest block, in bytes: an inner copy stands at most that far (and some regions) from a third of the volume.
const BLOCK_BYTES_MAX: u64 = 256 << 20;

/// How many places are looked at where neither front nor end nor the thirds have a copy: an image whose front is overwritten
/// and whose end is missing. A region unit is 1 MiB at most, so that this covers 64 GiB.
const PLACES_MAX: u64 = 1 << 16;

/// How many volumes are told apart, in the order in which they are met.
const VOLUMES_MAX: usize = 64;

/// How many superblocks of a volume that differ are followed: it has one a growth.
const MET_MAX: usize = 64;

/// At how many places copies of one volume are looked for: it has 16 at most, and each other life of it names 12 more.
const LOOKS_MAX: usize = 256;

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
    let mut candidates = Met::default();
    if first_read.is_ok() {
        candidates.extend(Superblock::read(&bytes).filter(is_wanted));
    }
    let last = last_copy_at(size);
    // A volume of a later version is not taken for one that stood here before it, nor for none.
    if let Some(detail) = [0, last].into_iter().find_map(|at| unsupported_at(disk, at, wanted)) {
        return Err(Error::Unsupported { path: path.to_owned(), detail });
    }
    candidates.extend(read_at(last));
    if candidates.is_empty() {
        candidates.extend(inner_copies_at(size).find_map(read_at));
    }
    if candidates.is_empty() {
        candidates.extend((0..size).step_by(region as usize).take(PLACES_MAX as usize).find_map(read_at));
    }
    candidates.counts(disk).ok_or_else(|| match first_read {
        Err(source) if source.kind() != std::io::ErrorKind::UnexpectedEof => Error::io("read", path, source),
        _ => Error::NotAVolume { path: path.to_owned(), detail: describe(&bytes, size) },
    })
}

/// Superblocks that were met, by their volumes, none twice.
#[derive(Default)]
struct Met {
    volumes: Vec<Vec<Superblock>>,
    /// There were more than are kept.
    more: bool,
}

impl Extend<Superblock> for Met {
    fn extend<T: IntoIterator<Item = Superblock>>(&mut self, superblocks: T) {
        superblocks.into_iter().for_each(|superblock| self.meet(superblock));
    }
}

impl Met {
    fn is_empty(&self) -> bool {
        self.volumes.is_empty()
    }

    fn meet(&mut self, superblock: Superblock) {
        let has_room = self.volumes.len() < VOLUMES_MAX;
        let is_mine = |of_volume: &&mut Vec<Superblock>| {
            of_volume.first().is_some_and(|first| first.volume == superblock.volume)
        };
        match self.volumes.iter_mut().find(is_mine) {
            Some(known) if known.contains(&superblock) => {}
            Some(known) if known.len() < MET_MAX => known.push(superblock),
            None if has_room => self.volumes.push(vec![superblock]),
            _ => self.more = true,
        }
    }

    /// The one that counts.
    fn counts(&self, disk: &dyn ReadAt) -> Option<Found> {
        let found = self.volumes.iter().filter_map(|of_volume| newest(disk, of_volume));
        let (mut counts, _) = found.min_by_key(|(found, at_front)| (!at_front, found.findings.len()))?;
        if self.more {
            let detail = format!(
                "of superblocks that differ more stand here than a disk can come to have: of the first {VOLUMES_MAX} volumes the first \
                 {MET_MAX} were looked at"
            );
            counts.findings.push(finding("superblock", 0, detail));
        }
        Some(counts)
    }
}

/// The superblock of one volume that counts, where these were met of it; and whether the volume is the one at the front, of which more stands.
fn newest(disk: &dyn ReadAt, met: &[Superblock]) -> Option<(Found, bool)> {
    let volume = met.first()?.volume;
    // Those that are named first are looked at first: what was forged keeps nobody from them.
    let mut places: VecDeque<u64> = met.iter().flat_map(Superblock::all_copies_at).collect();
    let (mut looked_at, mut standing) = (BTreeSet::new(), Vec::new());
    let mut unseen = None;
    while let Some(at) = places.pop_front() {
        if looked_at.contains(&at) {
            continue;
        }
        if looked_at.len() >= LOOKS_MAX {
            unseen = Some(at);
            break;
        }
        looked_at.insert(at);
        if let Some(copy) = read_at(disk, at).filter(|copy| copy.volume == volume) {
            places.extend(copy.all_copies_at());
            standing.push((at, copy));
        }
    }
    let at_first = |(at, copy): &&(u64, Superblock)| copy.copies_at.contains(at);
    let only_last = planted!(LastCopyBelieved) || !standing.iter().any(|one| at_first(&one));
    let counting = standing.iter().filter(|one| only_last || at_first(one));
    let alike = |copy: &Superblock| standing.iter().filter(|(_, other)| other == copy).count();
    let counts = counting.max_by_key(|(at, copy)| (copy.generation, alike(copy), Reverse(*at)));
    // Where a copy was read once and then no more, what was read counts.
    let superblock =
        counts.map(|(_, copy)| copy).or_else(|| met.iter().max_by_key(|superblock| superblock.generation))?;
    let stands = |at: u64| standing.iter().any(|(place, copy)| *place == at && copy == superblock);
    let at_front =
        standing.len() > 1 && standing.iter().any(|(at, _)| *at == 0) && !planted!(FewestMissingCount);
    let mut found = told(superblock.clone(), stands);
    if let Some(at) = unseen {
        let detail = format!(
            "copies name more than {LOOKS_MAX} places of others: this one and the rest were not looked at"
        );
        found.findings.push(finding("superblock", at, detail));
    }
    Some((found, at_front))
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
    find_among(disk, all_places(disk.size_bytes()), wanted)
}

/// [`find_anywhere`] in the first [`PLACES_MAX`] places.
pub(super) fn find_in_front(disk: &dyn ReadAt, wanted: VolumeId) -> Option<Found> {
    find_among(disk, all_places(disk.size_bytes()).take(PLACES_MAX as usize), Some(wanted))
}

/// All places where a superblock of a volume of this size, or of one that grew to it, can stand.
fn all_places(size: u64) -> impl Iterator<Item = u64> {
    let finer = (size / PLACES_MAX).next_power_of_two().max(512);
    (0..size).step_by(region_bytes(size, 512).min(finer) as usize)
}

fn find_among(
    disk: &dyn ReadAt,
    places: impl Iterator<Item = u64>,
    wanted: Option<VolumeId>,
) -> Option<Found> {
    let mut met = Met::default();
    let found = places.filter_map(|at| read_at(disk, at));
    met.extend(found.filter(|superblock| wanted.is_none_or(|wanted| wanted == superblock.volume)));
    met.counts(disk)
}

/// The volumes of the superblocks that stand at the disk's end and where this one says that its copies do.
pub(crate) fn volumes_named(disk: &dyn ReadAt, superblock: &Superblock) -> BTreeSet<VolumeId> {
    copies_named(disk, superblock).map(|copy| copy.volume).chain([superblock.volume]).collect()
}

/// The highest generation of a volume that any superblock of it says: here where it says that its copies stand, and at the disk's end.
pub(crate) fn highest_generation(disk: &dyn ReadAt, superblock: &Superblock) -> u64 {
    let mine = copies_named(disk, superblock).filter(|copy| copy.volume == superblock.volume);
    mine.map(|copy| copy.generation).max().unwrap_or_default().max(superblock.generation)
}

/// The superblocks that stand where this one says that its copies do, and at the disk's end.
fn copies_named(disk: &dyn ReadAt, superblock: &Superblock) -> impl Iterator<Item = Superblock> {
    let last = last_copy_at(disk.size_bytes());
    superblock.all_copies_at().into_iter().chain([last]).filter_map(|at| read_at(disk, at))
}

/// Where the last copy of a volume of this size stands.
pub(super) fn last_copy_at(size: u64) -> u64 {
    let region = region_bytes(size, 512);
    (size / region).saturating_sub(1) * region
}

/// Why the volume of the superblock that stands here cannot be read, if so. `wanted`: only of this volume.
fn unsupported_at(disk: &dyn ReadAt, at: u64, wanted: Option<VolumeId>) -> Option<String> {
    let mut bytes = vec![0; Superblock::SIZE];
    disk.read_exact_at(&mut bytes, at).ok()?;
    let head = Head::read(&bytes).filter(|head| wanted.is_none_or(|wanted| wanted == head.volume))?;
    head.unsupported()
}

/// The superblock that stands here, if it says so itself.
pub(super) fn read_at(disk: &dyn ReadAt, at: u64) -> Option<Superblock> {
    let mut bytes = vec![0; Superblock::SIZE];
    disk.read_exact_at(&mut bytes, at).ok()?;
    let superblock = Superblock::read(&bytes)?;
    superblock.all_copies_at().contains(&at).then_some(superblock)
}

/// Where the inner copies of any volume of this size can stand.
pub(super) fn inner_copies_at(size: u64) -> impl Iterator<Item = u64> {
    let (third, region) = (size / 3, region_bytes(size, 512));
    [third, 2 * third].into_iter().flat_map(move |near| {
        let begin = near.saturating_sub(BLOCK_BYTES_MAX.min(third)) / region * region;
        let end = (near + BLOCK_BYTES_MAX.min(third)).min(size);
        (begin..end).step_by(region as usize)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::FORMAT_VERSION;
    use crate::types::Uuid;
    use std::io;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// A disk on which wherever one looks a superblock stands that was forged: it names itself and others.
    struct Forged {
        volumes: u64,
        reads: AtomicU64,
    }

    impl Forged {
        fn of(volumes: u64) -> Forged {
            Forged { volumes, reads: AtomicU64::new(0) }
        }

        fn reads(&self) -> u64 {
            self.reads.load(Ordering::Relaxed)
        }
    }

    impl ReadAt for Forged {
        fn size_bytes(&self) -> u64 {
            64 << 20
        }

        fn read_exact_at(&self, buffer: &mut [u8], at: u64) -> io::Result<()> {
            // Who never ends is not waited for.
            if self.reads.fetch_add(1, Ordering::Relaxed) > 100_000 {
                return Err(io::ErrorKind::TimedOut.into());
            }
            let others = [1, 3, 5].map(|step| (at + step * 7919 * 512) % self.size_bytes());
            let superblock = Superblock {
                version: FORMAT_VERSION,
                volume: VolumeId(Uuid::from_u128(u128::from(at / 512 % self.volumes))),
                generation: at,
                copies_at: [at, others[0], others[1], others[2]],
                ..Superblock::default()
            };
            superblock.seal(buffer);
            Ok(())
        }
    }

    #[test]
    fn opening_a_disk_full_of_forged_superblocks_looks_at_few_of_them_and_says_so() {
        let disk = Forged::of(1);
        let found = find(&disk, Path::new("forged")).unwrap_or_else(|error| panic!("{error}"));
        assert!(disk.reads() <= 2 * LOOKS_MAX as u64, "{} reads", disk.reads());
        let said = found.findings.iter().filter(|finding| finding.detail.contains("were not looked at"));
        assert_eq!(said.count(), 1, "{:?}", found.findings);
    }

    #[test]
    fn searching_a_disk_full_of_forged_superblocks_takes_little_more_than_a_read_a_place() {
        let places = 1 << 16;
        for volumes in [1, 70, 1 << 20] {
            let disk = Forged::of(volumes);
            let found = find_anywhere(&disk, None).expect("one of them");
            let reads = disk.reads();
            assert!((places..=places + (VOLUMES_MAX * LOOKS_MAX) as u64).contains(&reads), "{reads} reads");
            let said = found.findings.iter().any(|finding| finding.detail.contains("more stand here than"));
            assert!(said, "{volumes} volumes: {:?}", found.findings);
        }
    }

    #[test]
    fn of_forged_superblocks_no_more_are_kept_than_are_followed() {
        let disk = Forged::of(1 << 20);
        let mut met = Met::default();
        met.extend((0..1 << 20).step_by(512).filter_map(|at| read_at(&disk, at)));
        let other = Superblock { volume: VolumeId(Uuid::nil()), ..Superblock::default() };
        met.extend((0..1000).map(|generation| Superblock { generation, ..other.clone() }));
        assert_eq!((met.volumes.len(), met.volumes[0].len(), met.more), (VOLUMES_MAX, MET_MAX, true));
    }
}
