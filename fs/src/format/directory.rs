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

/// The directory that two copies come to, and how many of its entries verify in neither; `None` if neither header does.
pub(crate) fn merge(copies: &[DirectoryCopy; 2]) -> Option<(Directory, usize)> {
    let (generation, count) = copies.iter().filter_map(|copy| copy.header).max()?;
    let newest = |place: usize| {
        let found = copies.iter().filter_map(|copy| copy.entries.get(place)?.as_ref());
        found.max_by_key(|entry| entry.generation).cloned()
    };
    let count = count.min(copies.iter().map(|copy| copy.entries.len()).max().unwrap_or(0));
    let entries: Vec<DirectoryEntry> = (0..count).filter_map(newest).collect();
    let newest = entries.iter().map(|entry| entry.generation).max().unwrap_or(0);
    let lost = count - entries.len();
    Some((Directory { generation: generation.max(newest), entries }, lost))
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

    fn merged(front: (&Directory, &[usize]), back: (&Directory, &[usize])) -> Option<(Vec<u64>, usize)> {
        let volume = VolumeId::random();
        let copies = [copy(front.0, volume, front.1), copy(back.0, volume, back.1)];
        let (directory, lost) = merge(&copies)?;
        Some((directory.entries.iter().map(|entry| entry.retention.quota_bytes).collect(), lost))
    }

    #[test]
    fn of_two_copies_of_an_entry_the_newer_one_that_verifies_counts() {
        let (old, new) = (directory(2, &[(1, 10), (2, 20)]), directory(3, &[(3, 11), (2, 20)]));
        assert_eq!(merged((&new, &[]), (&old, &[])), Some((vec![11, 20], 0)));
        // Half of a change: the entry is new under the old header, or the other way round.
        assert_eq!(merged((&old, &[]), (&new, &[0])), Some((vec![11, 20], 0)));
        assert_eq!(merged((&new, &[1]), (&old, &[])), Some((vec![10, 20], 0)));
        // Damage in both, but not to the same.
        assert_eq!(merged((&new, &[1]), (&new, &[2])), Some((vec![11, 20], 0)));
        assert_eq!(merged((&new, &[0]), (&new, &[1, 2])), Some((vec![11, 20], 0)));
    }

    #[test]
    fn what_verifies_in_neither_copy_is_lost_and_counted() {
        let one = directory(2, &[(1, 10), (2, 20)]);
        assert_eq!(merged((&one, &[1]), (&one, &[1])), Some((vec![20], 1)));
        assert_eq!(merged((&one, &[0]), (&one, &[0])), None);
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
