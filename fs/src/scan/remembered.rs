//! Reading by what the system remembers (its page cache): heads, tables and footers, never samples.
//!
//! What is read so is bound to the take and its place as everything else is, and verified. The writer writes past the page cache, and the
//! system forgets then what it remembered of that place. What is missed is what rotted on the disk since it was read last.

use super::{Located, Scanner, Take};
use crate::format::Framed;
use crate::format::block::BlockTrailer;
use crate::format::chunk::{ChunkHeader, Tables};
use crate::format::footer::Footer;
use bytes::Bytes;

impl Scanner<'_> {
    /// [`Scanner::chunk_at`] by what the system remembers: `None` also where that is of another time.
    pub(crate) fn remembered_chunk_at(
        &self,
        take: &Take,
        offset: usize,
    ) -> Option<(Located, Option<Tables>)> {
        if offset + self.geometry.page_bytes > self.geometry.block_bytes {
            return None;
        }
        let mut page = vec![0; self.geometry.page_bytes];
        let at = self.geometry.block_at(take.block) + offset as u64;
        self.disk.read_remembered_at(&mut page, at).ok()?;
        let located = self.head_in(&page, take, offset)?;
        let tables = Tables::at_head(&located.header, &page);
        Some((located, tables))
    }

    /// The head of a chunk will be read as remembered.
    pub(crate) fn will_read_head(&self, take: &Take, offset: usize) {
        self.disk.will_read(self.geometry.block_at(take.block) + offset as u64, self.geometry.page_bytes);
    }

    /// How much of a chunk's head is fetched for its tables: two pages are enough for nearly all.
    pub(crate) fn will_read_tables(&self, take: &Take, offset: usize) {
        let bytes = 2 * self.geometry.page_bytes;
        self.disk.will_read(self.geometry.block_at(take.block) + offset as u64, bytes);
    }

    /// The header at the head of a chunk as the system remembers it, if it verifies there.
    pub(crate) fn remembered_header(&self, take: &Take, offset: usize) -> Option<ChunkHeader> {
        let mut head = [0; ChunkHeader::SIZE];
        let at = self.geometry.block_at(take.block) + offset as u64;
        self.disk.read_remembered_at(&mut head, at).ok()?;
        self.head_in(&head, take, offset).map(|located| located.header)
    }

    pub(super) fn remembered_tables(
        &self,
        take: &Take,
        offset: usize,
        length: usize,
    ) -> Option<(Located, Tables)> {
        let mut head = vec![0; self.geometry.page_bytes];
        let at = self.geometry.block_at(take.block) + offset as u64;
        self.disk.read_remembered_at(&mut head, at).ok()?;
        let located = self.head_in(&head, take, offset)?;
        let wanted = located.header.payload_at();
        if located.header.bytes as usize != length || wanted > length {
            return None;
        }
        let read = head.len();
        if wanted > read {
            head.resize(wanted, 0);
            self.disk.read_remembered_at(head.get_mut(read..)?, at + read as u64).ok()?;
        }
        let tables = Tables::at_head(&located.header, &head)?;
        Some((located, tables))
    }

    /// [`Scanner::footer`], but as the system remembers it. It is bound to the take, and its writer makes the system forget what it
    /// writes anew: what is missed is that it rotted since it was read last.
    pub(crate) fn remembered_footer(&self, take: &Take) -> Option<(BlockTrailer, Footer)> {
        let begins = self.geometry.block_at(take.block);
        self.footer_by(take, &|offset, bytes| {
            let mut read = vec![0; bytes];
            self.disk.read_remembered_at(&mut read, begins + offset as u64)?;
            Ok(Bytes::from(read))
        })
    }
}
