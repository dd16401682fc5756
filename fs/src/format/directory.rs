//! The stream directory: which streams a volume has. Stands once at each end; the copies are written one after the other,
//! each flushed, so that one of them is always whole; the higher generation wins.
//!
//! ```text
//! | directory header (512 bytes) | entry (512 bytes) | entry | ...
//! ```

use super::geometry::DIRECTORY_ENTRY_BYTES;
use super::{Field, Framed, Text, Zero, record};
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
        /// The checksum of the entries.
        body_checksum: u32,
    }
}

impl Framed for DirectoryHeader {
    const MAGIC: [u8; 8] = *b"KEHA-DIR";
    const SIZE: usize = DIRECTORY_ENTRY_BYTES;
}

record! {
    /// A stream.
    pub(crate) struct DirectoryEntry {
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
        /// Quota, minimum and maximum age, 0 = none.
        retention: Zero<32>,
        /// Reserved.
        zero: Zero<192>,
    }
}

const _: () = assert!(DirectoryEntry::BYTES == DIRECTORY_ENTRY_BYTES);

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
        for (entry, place) in self.entries.iter().zip(body.chunks_exact_mut(DIRECTORY_ENTRY_BYTES)) {
            entry.put(place);
        }
        let body_checksum = crc32c::crc32c(&body[..self.bytes() - DirectoryHeader::SIZE]);
        let header = DirectoryHeader {
            volume,
            generation: self.generation,
            entries: self.entries.len() as u32,
            body_checksum,
        };
        header.seal(head);
    }

    /// Reads a directory of this volume.
    pub(crate) fn unseal(bytes: &[u8], volume: VolumeId) -> Option<Directory> {
        let (header, _) = DirectoryHeader::unseal(bytes)?;
        let body_bytes = (header.entries as usize).checked_mul(DIRECTORY_ENTRY_BYTES)?;
        let body = bytes.get(DirectoryHeader::SIZE..)?.get(..body_bytes)?;
        if header.volume != volume || crc32c::crc32c(body) != header.body_checksum {
            return None;
        }
        let entries =
            body.chunks_exact(DIRECTORY_ENTRY_BYTES).map(DirectoryEntry::get).collect::<Option<_>>()?;
        Some(Directory { generation: header.generation, entries })
    }
}
