//! What the tests of this module share: a disk in memory, and tables made byte by byte, so that they can be wrong as no program makes
//! them.

use std::io;

use crc_fast::{CrcAlgorithm, checksum};

use crate::disk::ReadAt;

/// A disk that is these bytes.
pub(super) struct Bytes(pub(super) Vec<u8>);

impl ReadAt for Bytes {
    fn size_bytes(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let at = usize::try_from(offset).unwrap_or(usize::MAX);
        let part = self.0.get(at..).and_then(|rest| rest.get(..buffer.len()));
        buffer.copy_from_slice(part.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// A table to be: 128 entries of 128 bytes, of which the first is in use.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) sector: usize,
    pub(super) sectors: usize,
    pub(super) entries: u32,
    pub(super) entry_bytes: u32,
    pub(super) first: u64,
    pub(super) last: u64,
}

impl Wanted {
    pub(super) fn new(sector: usize) -> Wanted {
        Wanted { sector, sectors: 256, entries: 128, entry_bytes: 128, first: 64, last: 127 }
    }

    /// The identity of the one partition.
    pub(super) const ID: uuid::Uuid = uuid::Uuid::from_u128(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10);

    /// The whole disk, both copies sealed whatever they say.
    pub(super) fn disk(&self) -> Bytes {
        let mut disk = vec![0; self.sector * self.sectors];
        let mut table = vec![0; 128 * 128];
        table[..16].copy_from_slice(&super::LINUX_SWAP.to_bytes_le());
        table[16..32].copy_from_slice(&Self::ID.to_bytes_le());
        table[32..40].copy_from_slice(&self.first.to_le_bytes());
        table[40..48].copy_from_slice(&self.last.to_le_bytes());
        table[48..56].copy_from_slice(&super::NO_AUTO.to_le_bytes());
        let table_sectors = table.len().div_ceil(self.sector);
        let end = self.sectors - 1;
        for (at, other, entries_at) in [(1, end, 2), (end, 1, end - table_sectors)] {
            let begin = entries_at * self.sector;
            disk[begin..begin + table.len()].copy_from_slice(&table);
            let header = self.header(at, other, entries_at, &table);
            disk[at * self.sector..][..header.len()].copy_from_slice(&header);
        }
        Bytes(disk)
    }

    fn header(&self, at: usize, other: usize, entries_at: usize, table: &[u8]) -> Vec<u8> {
        let crc = |bytes: &[u8]| checksum(CrcAlgorithm::Crc32IsoHdlc, bytes) as u32;
        let covered = (self.entries as usize).saturating_mul(self.entry_bytes as usize).min(table.len());
        let mut header = Vec::new();
        header.extend(b"EFI PART");
        [0x1_0000_u32, 92, 0, 0].iter().for_each(|word| header.extend(word.to_le_bytes()));
        [at, other, 34, self.sectors - 34].iter().for_each(|lba| header.extend((*lba as u64).to_le_bytes()));
        header.extend([7; 16]);
        header.extend((entries_at as u64).to_le_bytes());
        let words = [self.entries, self.entry_bytes, crc(&table[..covered])];
        words.iter().for_each(|word| header.extend(word.to_le_bytes()));
        let sum = crc(&header);
        header[16..20].copy_from_slice(&sum.to_le_bytes());
        header
    }
}
