//! What can be seen of a volume on a disk without opening it: for who is about to write over it.
//!
//! | looked at | for |
//! |---|---|
//! | front, end, and around the thirds of the disk | superblocks |
//! | front and end | superblocks of a later version |
//! | around the thirds of the disk | block headers |
//! | all of the first 64 MiB | block headers, stream directories and round records |
//!
//! A volume that has grown keeps its inner superblocks at the thirds of its first size, which nobody knows who does not have one. Where
//! front and end are lost it is seen by what else it has: its first blocks are the first that are taken, and what describes
//! them stands before them. Then a superblock of it is searched for, too.
//!
//! Looking takes about a thousand reads and 64 MiB, whatever the size of the disk; where such a volume is met, 65,536 reads more. Not seen
//! is a volume of which all that is lost.

use super::superblock::{find_in_front, inner_copies_at, last_copy_at, read_at};
use crate::disk::ReadAt;
use crate::format::block::BlockHeader;
use crate::format::directory::DirectoryHeader;
use crate::format::round::RoundHeader;
use crate::format::superblock::{Head, Superblock};
use crate::format::{Framed, SECTOR_BYTES};
use crate::types::VolumeId;

/// How much of the front is looked at whole, in bytes: more than stands before the blocks of any volume, and a block.
const FRONT_BYTES: u64 = 64 << 20;
const WINDOW_BYTES: usize = 1 << 20;

/// A volume that can be seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) volume: VolumeId,
    /// Its label, where a superblock tells it.
    pub(crate) label: String,
    /// Where its superblocks stand, by one of them; none where only other parts of it are left.
    pub(crate) superblocks_at: Vec<u64>,
    /// None of them stands in front or at the end.
    pub(crate) outer_lost: bool,
}

/// The volume that can be seen.
pub(crate) fn seen(disk: &dyn ReadAt) -> Option<Seen> {
    seen_by_superblock(disk).or_else(|| {
        let volume = around_thirds(disk).or_else(|| in_front(disk))?;
        let known = find_in_front(disk, volume).map(|found| Seen::by(&found.superblock, true));
        Some(known.unwrap_or(Seen { volume, outer_lost: true, ..Seen::default() }))
    })
}

/// The volume that can be seen by a superblock without a search of everything.
pub(crate) fn seen_by_superblock(disk: &dyn ReadAt) -> Option<Seen> {
    let ends = [0, last_copy_at(disk.size_bytes())];
    let outer = ends.into_iter().find_map(|at| read_at(disk, at)).map(|found| Seen::by(&found, false));
    let mut inner = inner_copies_at(disk.size_bytes());
    let known = outer.or_else(|| inner.find_map(|at| read_at(disk, at)).map(|found| Seen::by(&found, true)));
    known.or_else(|| {
        let head = ends.into_iter().find_map(|at| Head::read(&sector(disk, at)?))?;
        Some(Seen { volume: head.volume, superblocks_at: ends.to_vec(), ..Seen::default() })
    })
}

impl Seen {
    fn by(superblock: &Superblock, outer_lost: bool) -> Seen {
        Seen {
            volume: superblock.volume,
            label: superblock.label.as_str().to_owned(),
            superblocks_at: superblock.all_copies_at(),
            outer_lost,
        }
    }
}

/// Whose block begins around the thirds of the disk.
fn around_thirds(disk: &dyn ReadAt) -> Option<VolumeId> {
    inner_copies_at(disk.size_bytes()).find_map(|at| block_of(&sector(disk, at)?))
}

/// Whose block, directory or round record stands first in front.
fn in_front(disk: &dyn ReadAt) -> Option<VolumeId> {
    let end = disk.size_bytes().min(FRONT_BYTES);
    let mut window = vec![0; WINDOW_BYTES];
    (0..end).step_by(WINDOW_BYTES).find_map(|begin| {
        let window = window.get_mut(..WINDOW_BYTES.min((end - begin) as usize))?;
        // A disk that does not give it would keep us for long: others tell.
        disk.read_exact_at(window, begin).ok()?;
        window.chunks_exact(SECTOR_BYTES).find_map(|sector| {
            let directory = || DirectoryHeader::unseal(sector).map(|(header, _)| header.volume);
            let record = || RoundHeader::unseal(sector).map(|(header, _)| header.volume);
            block_of(sector).or_else(directory).or_else(record)
        })
    })
}

fn block_of(sector: &[u8]) -> Option<VolumeId> {
    BlockHeader::unseal(sector).map(|(header, _)| header.volume)
}

fn sector(disk: &dyn ReadAt, at: u64) -> Option<[u8; SECTOR_BYTES]> {
    let mut bytes = [0; SECTOR_BYTES];
    disk.read_exact_at(&mut bytes, at).ok().map(|()| bytes)
}
