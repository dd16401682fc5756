//! The stream directory: which streams a volume has, and how long their footage stays. Stands once at each end; the copies are
//! written one after the other, each flushed.
//!
//! ```text
//! | directory header (512 bytes) | entry (512 bytes) | entry | ...
//! ```
//!
//! Each entry is a sector with a checksum of its own: a power cut leaves it old or new, and damage to one doubts one stream. Of
//! two copies of an entry the one of the higher generation counts. A new entry is written before the header that counts it.

use super::geometry::DIRECTORY_ENTRY_BYTES;
use super::{Framed, Text, Zero, record};
use crate::types::{StreamId, VolumeId, WallTime};
use std::collections::BTreeSet;

record! {
    /// The head of a directory.
    pub(crate) struct DirectoryHeader {
        /// The volume.
        volume: VolumeId,
        /// Grows with each change.
        generation: u64,
        /// How many entries follow.
        entries: u32,
    }
}

impl Framed for DirectoryHeader {
    const MAGIC: [u8; 8] = *b"KEHA-DIR";
    const SIZE: usize = DIRECTORY_ENTRY_BYTES;
}

record! {
    /// How long a stream's footage stays.
    pub(crate) struct RetentionRecord {
        /// Bytes of blocks that it may have, 0 = any number.
        quota_bytes: u64,
        /// Blocks written less long ago than this are passed over while others can be taken; in seconds, 0 = none.
        minimum_age_s: u64,
        /// What is older than this is not read any more, and overwritten; in seconds, 0 = never.
        maximum_age_s: u64,
        /// Reserved.
        zero: Zero<8>,
    }
}

record! {
    /// A stream.
    pub(crate) struct DirectoryEntry {
        /// The volume.
        volume: VolumeId,
        /// Which entry this is, from 0.
        place: u32,
        /// Reserved.
        zero: Zero<4>,
        /// The generation of the directory in which it was last changed.
        generation: u64,
        /// Its identity.
        stream: StreamId,
        /// When it was admitted.
        created: WallTime,
        /// Its name.
        name: Text<128>,
        /// Its name before, empty = none.
        name_before: Text<128>,
        /// When it was renamed, 0 = never.
        renamed: WallTime,
        /// How long its footage stays.
        retention: RetentionRecord,
    }
}

impl Framed for DirectoryEntry {
    const MAGIC: [u8; 8] = *b"KEHA-STR";
    const SIZE: usize = DIRECTORY_ENTRY_BYTES;
}

/// A whole directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Directory {
    /// Grows with each change.
    pub(crate) generation: u64,
    /// The streams in the order of admission.
    pub(crate) entries: Vec<DirectoryEntry>,
}

impl Directory {
    /// Its size in bytes.
    pub(crate) fn bytes(&self) -> usize {
        (self.entries.len() + 1) * DIRECTORY_ENTRY_BYTES
    }

    /// Writes it into `out`, which is large enough.
    pub(crate) fn seal(&self, volume: VolumeId, out: &mut [u8]) {
        let (head, body) = out.split_at_mut(DirectoryHeader::SIZE);
        for ((place, entry), out) in (0..).zip(&self.entries).zip(body.chunks_exact_mut(DirectoryEntry::SIZE))
        {
            DirectoryEntry { volume, place, ..entry.clone() }.seal(out);
        }
        let entries = self.entries.len() as u32;
        DirectoryHeader { volume, generation: self.generation, entries }.seal(head);
    }

    /// Reads a copy of this volume's directory of which everything verifies.
    #[cfg(test)]
    pub(crate) fn unseal(bytes: &[u8], volume: VolumeId) -> Option<Directory> {
        DirectoryCopy::read(bytes, volume).whole()
    }
}

/// A copy of the directory as far as it verifies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DirectoryCopy {
    /// Its generation, and how many entries it has.
    pub(crate) header: Option<(u64, usize)>,
    /// Entry by entry, for as many as there is room.
    pub(crate) entries: Vec<Option<DirectoryEntry>>,
}

impl DirectoryCopy {
    /// What verifies of a copy.
    pub(crate) fn read(bytes: &[u8], volume: VolumeId) -> DirectoryCopy {
        let header = DirectoryHeader::unseal(bytes).map(|(header, _)| header);
        let header = header.filter(|header| header.volume == volume);
        let body = bytes.get(DirectoryHeader::SIZE..).unwrap_or_default();
        let entry = |(place, bytes): (u32, &[u8])| {
            let (entry, _) = DirectoryEntry::unseal(bytes)?;
            (entry.volume == volume && entry.place == place).then_some(entry)
        };
        let entries = (0..).zip(body.chunks_exact(DirectoryEntry::SIZE)).map(entry).collect();
        DirectoryCopy { header: header.map(|header| (header.generation, header.entries as usize)), entries }
    }

    /// The directory, if all of it verifies.
    pub(crate) fn whole(&self) -> Option<Directory> {
        let (generation, count) = self.header?;
        let entries = self.entries.get(..count)?.iter().cloned().collect::<Option<_>>()?;
        Some(Directory { generation, entries })
    }
}

/// What two copies come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Merged {
    /// Of the header, or of an entry that is newer.
    pub(crate) generation: u64,
    /// Entry by entry in its place; `None` where it verifies in neither copy.
    pub(crate) places: Vec<Option<DirectoryEntry>>,
    /// Whether a header says how many entries there are.
    pub(crate) counted: bool,
}

impl Merged {
    /// Whether nothing of it is lost.
    pub(crate) fn is_whole(&self) -> bool {
        self.counted && self.places.iter().all(Option::is_some)
    }

    /// What stands of it. A repair that was cut off may have left a stream in two places: it is listed once.
    pub(crate) fn directory(&self) -> Directory {
        let mut known = BTreeSet::new();
        let entries = self.places.iter().flatten().filter(|entry| known.insert(entry.stream));
        Directory { generation: self.generation, entries: entries.cloned().collect() }
    }
}

/// Of two copies of an entry the newer one. Where neither header verifies, all entries that do are taken.
pub(crate) fn merge(copies: &[DirectoryCopy; 2]) -> Merged {
    let header = copies.iter().filter_map(|copy| copy.header).max();
    let room = copies.iter().map(|copy| copy.entries.len()).max().unwrap_or(0);
    let newest = |place: usize| {
        let found = copies.iter().filter_map(|copy| copy.entries.get(place)?.as_ref());
        found.max_by_key(|entry| entry.generation).cloned()
    };
    let count = header.map_or(room, |(_, count)| count.min(room));
    let mut places: Vec<_> = (0..count).map(newest).collect();
    if header.is_none() {
        places.truncate(places.iter().rposition(Option::is_some).map_or(0, |last| last + 1));
    }
    let newest = places.iter().flatten().map(|entry| entry.generation).max().unwrap_or(0);
    let generation = header.map_or(0, |(generation, _)| generation).max(newest);
    Merged { generation, places, counted: header.is_some() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(generation: u64, quotas: &[(u64, u64)]) -> Directory {
        let entry = |(generation, quota_bytes): &(u64, u64)| DirectoryEntry {
            generation: *generation,
            retention: RetentionRecord { quota_bytes: *quota_bytes, ..RetentionRecord::default() },
            ..DirectoryEntry::default()
        };
        Directory { generation, entries: quotas.iter().map(entry).collect() }
    }

    fn copy(directory: &Directory, volume: VolumeId, damaged: &[usize]) -> DirectoryCopy {
        let mut bytes = vec![0; 8 * DIRECTORY_ENTRY_BYTES];
        directory.seal(volume, &mut bytes);
        for sector in damaged {
            bytes[sector * DIRECTORY_ENTRY_BYTES + 20] ^= 1;
        }
        DirectoryCopy::read(&bytes, volume)
    }

    /// The quota of each place, and whether all of it stands.
    fn merged(front: (&Directory, &[usize]), back: (&Directory, &[usize])) -> (Vec<Option<u64>>, bool) {
        let volume = VolumeId::random();
        let merged = merge(&[copy(front.0, volume, front.1), copy(back.0, volume, back.1)]);
        let quota = |entry: &DirectoryEntry| entry.retention.quota_bytes;
        (merged.places.iter().map(|entry| entry.as_ref().map(quota)).collect(), merged.is_whole())
    }

    #[test]
    fn of_two_copies_of_an_entry_the_newer_one_that_verifies_counts() {
        let (old, new) = (directory(2, &[(1, 10), (2, 20)]), directory(3, &[(3, 11), (2, 20)]));
        let (first, second) = (vec![Some(11), Some(20)], vec![Some(10), Some(20)]);
        assert_eq!(merged((&new, &[]), (&old, &[])), (first.clone(), true));
        // Half of a change: the entry is new under the old header, or the other way round.
        assert_eq!(merged((&old, &[]), (&new, &[0])), (first.clone(), true));
        assert_eq!(merged((&new, &[1]), (&old, &[])), (second, true));
        // Damage in both, but not to the same.
        assert_eq!(merged((&new, &[1]), (&new, &[2])), (first.clone(), true));
        assert_eq!(merged((&new, &[0]), (&new, &[1, 2])), (first, true));
    }

    #[test]
    fn what_verifies_in_neither_copy_is_lost_and_the_rest_is_not() {
        let one = directory(2, &[(1, 10), (2, 20)]);
        assert_eq!(merged((&one, &[1]), (&one, &[1])), (vec![None, Some(20)], false));
        // How many there were is not known then.
        assert_eq!(merged((&one, &[0]), (&one, &[0])), (vec![Some(10), Some(20)], false));
        assert_eq!(merged((&one, &[0, 2]), (&one, &[0, 2])), (vec![Some(10)], false));
    }

    #[test]
    fn a_stream_in_two_places_is_listed_once() {
        let mut twice = directory(2, &[(1, 10), (2, 20), (1, 10)]);
        twice.entries[1].stream = StreamId(crate::types::Uuid::from_u128(7));
        let volume = VolumeId::random();
        let merged = merge(&[copy(&twice, volume, &[]), DirectoryCopy::default()]);
        assert_eq!(merged.directory().entries.len(), 2);
    }

    #[test]
    fn an_entry_counts_in_its_place_of_its_volume_only() {
        let (volume, one) = (VolumeId::random(), directory(1, &[(1, 5), (1, 6)]));
        let mut bytes = vec![0; 8 * DIRECTORY_ENTRY_BYTES];
        one.seal(volume, &mut bytes);
        assert!(Directory::unseal(&bytes, volume).is_some());
        assert!(Directory::unseal(&bytes, VolumeId::random()).is_none());
        bytes.copy_within(DIRECTORY_ENTRY_BYTES..2 * DIRECTORY_ENTRY_BYTES, 2 * DIRECTORY_ENTRY_BYTES);
        assert!(Directory::unseal(&bytes, volume).is_none());
    }
}
