//! Reading one block of a volume: its header, its chunks, its footer, every byte verified, damage confined.
//!
//! What is read is bound to (volume, block, sequence, stream, offset): a chunk of an earlier lap, of another volume or at
//! another place never verifies. This module knows no streams of chunks and no queries.

mod remembered;

use crate::disk::ReadAt;
use crate::format::block::{BlockHeader, BlockTrailer, seal_header_page, unseal_header_page};
use crate::format::checksum::crc32c;
use crate::format::chunk::{self, ChunkHeader, Entry, TAIL_MAGIC, Tables};
use crate::format::footer::{ChunkPlace, Footer};
use crate::format::geometry::Geometry;
use crate::format::table::Row;
use crate::format::{Framed, SECTOR_BYTES, is_zero, round_up};
use crate::report::BlockState;
use crate::retention::erase::Goes;
use crate::salvage::read_what_can_be;
use crate::types::{BlockIndex, Sequence, StreamId, VolumeId};
use bytes::Bytes;
use std::io;

/// How much is read at once, at most, when a lost chunk is searched for or zeros are verified, in bytes.
const SEARCH_BYTES: usize = 1 << 20;

/// The take of a block that is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Take {
    /// The block.
    pub(crate) block: BlockIndex,
    /// Its sequence.
    pub(crate) sequence: Sequence,
    /// Whose it is.
    pub(crate) stream: StreamId,
}

/// Reads blocks of one volume.
#[derive(Clone, Copy)]
pub(crate) struct Scanner<'a> {
    /// The volume's bytes.
    pub(crate) disk: &'a dyn ReadAt,
    /// Where things are.
    pub(crate) geometry: &'a Geometry,
    /// Which volume.
    pub(crate) volume: VolumeId,
}

/// A chunk whose header was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Located {
    /// The header.
    pub(crate) header: ChunkHeader,
    /// The checksum to which the next chunk links: the header's own, but where chunks were overwritten.
    pub(crate) checksum: u32,
    /// Whether only the copy at the tail verified.
    pub(crate) head_lost: bool,
}

impl Located {
    /// Where the chunk ends, in bytes from the block's beginning.
    pub(crate) fn end(&self) -> usize {
        self.header.offset as usize + self.header.bytes as usize
    }
}

/// A chunk in memory.
#[derive(Clone, Debug)]
pub(crate) struct Loaded {
    /// Where it was.
    pub(crate) located: Located,
    /// All its bytes.
    pub(crate) bytes: Bytes,
    /// Its tables, from either copy; `None` if both are lost.
    pub(crate) tables: Option<Tables>,
}

/// One entry of a loaded chunk.
#[derive(Clone, Debug)]
pub(crate) struct Payload {
    /// The entry.
    pub(crate) entry: Entry,
    /// Where its bytes begin in the chunk.
    pub(crate) at: usize,
    /// Its bytes, if they verify.
    pub(crate) data: Option<Bytes>,
}

impl<'a> Scanner<'a> {
    /// Reads bytes of a block.
    pub(crate) fn read(&self, block: BlockIndex, offset: usize, bytes: usize) -> io::Result<Bytes> {
        let read = self.disk.read_pieces_at(&[bytes], self.geometry.block_at(block) + offset as u64)?;
        read.into_iter().next().ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    /// The block's header, if it belongs to this volume and place.
    pub(crate) fn block_header(&self, block: BlockIndex) -> io::Result<Option<BlockHeader>> {
        let mut page = vec![0; self.geometry.page_bytes];
        // Its two copies stand in sectors of their own, where a page has several.
        let read = read_what_can_be(self.disk, &mut page, self.geometry.block_at(block), SECTOR_BYTES);
        match unseal_header_page(&page, self.volume, block) {
            Some(header) => Ok(Some(header)),
            None => read.map(|()| None),
        }
    }

    /// The take of which the first chunk in a block says to be.
    pub(crate) fn first_take(&self, block: BlockIndex) -> Option<Take> {
        let offset = self.geometry.page_bytes;
        let page = self.read(block, offset, self.geometry.page_bytes).ok()?;
        let (header, _) = chunk::head(&page)?;
        let take = Take { block, sequence: header.sequence, stream: header.stream };
        self.is_of(&header, &take, offset).then_some(take)
    }

    /// Whether both copies of this header stand, and nothing else, in the block's first page.
    pub(crate) fn header_page_is_whole(&self, block: BlockIndex, header: &BlockHeader) -> bool {
        let mut expected = vec![0; self.geometry.page_bytes];
        seal_header_page(header, &mut expected);
        self.read(block, 0, self.geometry.page_bytes).is_ok_and(|page| page[..] == expected[..])
    }

    fn is_of(&self, header: &ChunkHeader, take: &Take, offset: usize) -> bool {
        let page = self.geometry.page_bytes;
        let block = header.block == take.block || planted!(BlockUnchecked);
        let place = header.offset as usize == offset || planted!(OffsetUnchecked);
        (header.volume == self.volume || planted!(VolumeUnchecked))
            && block
            && (header.sequence == take.sequence || planted!(SequenceUnchecked))
            && (header.stream == take.stream || planted!(StreamUnchecked))
            && place
            && (header.bytes as usize).is_multiple_of(page)
            && header.bytes > 0
            && offset + header.bytes as usize <= self.geometry.block_bytes
    }

    /// The chunk that begins at `offset`, by the header at its head, and its tables where they stand in the same page.
    pub(crate) fn chunk_at(&self, take: &Take, offset: usize) -> Option<(Located, Option<Tables>)> {
        if offset + self.geometry.page_bytes > self.geometry.block_bytes {
            return None;
        }
        let page = self.read(take.block, offset, self.geometry.page_bytes).ok()?;
        let located = self.head_in(&page, take, offset)?;
        let tables = Tables::at_head(&located.header, &page);
        Some((located, tables))
    }

    /// The chunk of which a footer tells the place, by either of its headers.
    pub(crate) fn located(&self, take: &Take, place: &ChunkPlace) -> Option<Located> {
        let (offset, bytes) = (place.offset as usize, place.bytes as usize);
        let head = self.chunk_at(take, offset).map(|(located, _)| located);
        head.or_else(|| self.chunk_behind(take, offset, offset + bytes))
    }

    fn head_in(&self, bytes: &[u8], take: &Take, offset: usize) -> Option<Located> {
        let (header, checksum) = chunk::head(bytes)?;
        let checksum = header.link(checksum);
        self.is_of(&header, take, offset).then_some(Located { header, checksum, head_lost: false })
    }

    /// The next chunk that begins at `offset` or behind it, where none verifies at `offset` itself: found by the tail of a
    /// chunk whose head is lost, or by the head of a later one. Looks no further than `limit`.
    pub(crate) fn chunk_behind(&self, take: &Take, offset: usize, limit: usize) -> Option<Located> {
        let page = self.geometry.page_bytes;
        let limit = limit.min(self.geometry.block_bytes);
        // The next one is nearly always near.
        let (mut at, mut at_once) = (offset, page);
        while at + page <= limit {
            let bytes = at_once.min(limit - at) / page * page;
            let stretch = self.read_what_can_be(take.block, at, bytes);
            for (index, one) in stretch.chunks_exact(page).enumerate() {
                let here = at + index * page;
                if here > offset
                    && let Some(located) = self.head_in(one, take, here)
                {
                    return Some(located);
                }
                if let Some(located) = self.tail_in(one, take, offset, here + page) {
                    return Some(located);
                }
            }
            at += bytes;
            at_once = (at_once * 2).min(SEARCH_BYTES);
        }
        None
    }

    /// The chunk that ends at `end`, by the header at its tail.
    pub(crate) fn chunk_ending(&self, take: &Take, end: usize) -> Option<Located> {
        let page = self.geometry.page_bytes;
        let last = self.read(take.block, end.checked_sub(page)?, page).ok()?;
        self.tail_in(&last, take, page, end)
    }

    /// A chunk that ends with this page and begins at or behind `offset`.
    fn tail_in(&self, page: &[u8], take: &Take, offset: usize, end: usize) -> Option<Located> {
        let (header, checksum) = chunk::tail(page).filter(|_| !planted!(SecondChunkHeaderIgnored))?;
        let begin = end.checked_sub(header.bytes as usize)?;
        let mine = begin >= offset && self.is_of(&header, take, begin);
        let checksum = header.link(checksum);
        mine.then_some(Located { header, checksum, head_lost: true })
    }

    /// Reads a stretch page by page where the whole cannot be read, leaving zeros for what fails.
    fn read_what_can_be(&self, block: BlockIndex, offset: usize, bytes: usize) -> Vec<u8> {
        let mut out = vec![0; bytes];
        let at = self.geometry.block_at(block) + offset as u64;
        let _what_fails_is_zeros = read_what_can_be(self.disk, &mut out, at, self.geometry.page_bytes);
        out
    }

    /// Reads a located chunk whole. What cannot be read is zeros and will not verify.
    pub(crate) fn load(&self, located: &Located) -> Loaded {
        let header = &located.header;
        let (offset, length) = (header.offset as usize, header.bytes as usize);
        let bytes = match self.read(header.block, offset, length) {
            Ok(bytes) => bytes,
            Err(_) => Bytes::from(self.read_what_can_be(header.block, offset, length)),
        };
        let tables = Tables::at_head(header, &bytes).or_else(|| Tables::at_tail(header, &bytes));
        Loaded { located: located.clone(), bytes, tables }
    }

    /// Reads a chunk of which place and length are known; `None` if neither of its headers verifies.
    pub(crate) fn load_at(&self, take: &Take, offset: usize, length: usize) -> Option<Loaded> {
        if offset.checked_add(length)? > self.geometry.block_bytes || length < self.geometry.page_bytes {
            return None;
        }
        let bytes = match self.read(take.block, offset, length) {
            Ok(bytes) => bytes,
            Err(_) if planted!(UnreadablePageCostsChunk) => return None,
            Err(_) => Bytes::from(self.read_what_can_be(take.block, offset, length)),
        };
        self.loaded(take, offset, bytes)
    }

    /// The chunk of these bytes; `None` if neither of its headers verifies, or tells another length.
    pub(crate) fn loaded(&self, take: &Take, offset: usize, bytes: Bytes) -> Option<Loaded> {
        let length = bytes.len();
        let located = self
            .head_in(&bytes, take, offset)
            .or_else(|| self.tail_in(&bytes, take, offset, offset + length))?;
        if located.header.bytes as usize != length {
            return None;
        }
        let tables =
            Tables::at_head(&located.header, &bytes).or_else(|| Tables::at_tail(&located.header, &bytes));
        Some(Loaded { located, bytes, tables })
    }

    /// The header and the tables of a chunk of which place and length are known, without its payloads: by the copies at its head, and
    /// where they do not verify, by those at its tail. `None` if neither header verifies.
    ///
    /// What the system remembers is good enough where it verifies: it is bound to the take and the place, and a chunk does not change
    /// but for becoming void, which the caller has looked for.
    pub(crate) fn tables_at(
        &self,
        take: &Take,
        offset: usize,
        length: usize,
    ) -> Option<(Located, Option<Tables>)> {
        if offset.checked_add(length)? > self.geometry.block_bytes || length < self.geometry.page_bytes {
            return None;
        }
        if let Some((located, tables)) = self.remembered_tables(take, offset, length) {
            return Some((located, Some(tables)));
        }
        match self.chunk_at(take, offset).filter(|(located, _)| located.header.bytes as usize == length) {
            Some((located, tables)) => {
                let tables = tables.or_else(|| self.tables(&located));
                Some((located, tables))
            }
            None => self.load_at(take, offset, length).map(|loaded| (loaded.located, loaded.tables)),
        }
    }

    /// The bytes of one entry of a chunk, if they verify. Of the others no more is read than stands in the same pages.
    pub(crate) fn payload(&self, located: &Located, payload: &Payload) -> Option<Bytes> {
        let (page, header) = (self.geometry.page_bytes, &located.header);
        let begin = payload.at / page * page;
        let end = round_up(payload.at.checked_add(payload.entry.bytes as usize)?, page);
        if end > header.bytes as usize {
            return None;
        }
        let bytes = self.read(header.block, header.offset as usize + begin, end - begin).ok()?;
        let from = payload.at - begin;
        let data = bytes.slice(from..from + payload.entry.bytes as usize);
        (crc32c(&data) == payload.entry.checksum).then_some(data)
    }

    /// The tables of a located chunk without its payloads.
    pub(crate) fn tables(&self, located: &Located) -> Option<Tables> {
        let header = &located.header;
        let head = round_up(header.payload_at(), self.geometry.page_bytes).min(header.bytes as usize);
        let read = self.read(header.block, header.offset as usize, head).ok();
        read.and_then(|bytes| Tables::at_head(header, &bytes)).or_else(|| self.load(located).tables)
    }

    /// The footer and trailer of a sealed block, if both verify, belong to this take and say the same.
    pub(crate) fn footer(&self, take: &Take) -> Option<(BlockTrailer, Footer)> {
        self.footer_by(take, &|offset, bytes| self.read(take.block, offset, bytes))
    }

    /// The same by one read, if the footer is as long as the row lets expect, and stands where writers put it: before the trailer.
    pub(crate) fn footer_at_once(&self, take: &Take, row: &Row) -> Option<(BlockTrailer, Footer)> {
        let geometry = self.geometry;
        let expected = Footer::bytes_for(row.chunks as usize, row.sync_samples as usize);
        let tail = round_up(expected, geometry.page_bytes).checked_add(geometry.page_bytes)?;
        let from = geometry.block_bytes.checked_sub(tail)?;
        let stands = self.read(take.block, from, tail).ok();
        self.footer_by(take, &|offset, bytes| {
            let inside =
                offset.checked_sub(from).zip(stands.as_ref()).filter(|(at, all)| at + bytes <= all.len());
            match inside {
                Some((at, all)) => Ok(all.slice(at..at + bytes)),
                None => self.read(take.block, offset, bytes),
            }
        })
    }

    fn footer_by(
        &self,
        take: &Take,
        read: &dyn Fn(usize, usize) -> io::Result<Bytes>,
    ) -> Option<(BlockTrailer, Footer)> {
        let trailer = self.trailer_by(take, read)?;
        let at = trailer.footer_at as usize;
        let padded = round_up(trailer.footer_bytes as usize, self.geometry.page_bytes);
        if at.checked_add(padded)? > self.geometry.block_bytes {
            return None;
        }
        let bytes = read(at, padded).ok()?;
        let mine = bytes.get(..trailer.footer_bytes as usize)?;
        if crc32c(mine) != trailer.footer_checksum || !is_zero(&bytes[mine.len()..]) {
            return None;
        }
        let footer = Footer::unseal(mine, self.volume, take.block, take.sequence)?;
        let row = &trailer.row;
        let says_the_same = row.state == BlockState::Sealed
            && row.is_sane(at)
            && row.chunks as usize == footer.chunks.len()
            && footer.chunks.last().is_some_and(|last| last.checksum == row.last_checksum);
        (says_the_same || planted!(TrailerBelieved)).then_some((trailer, footer))
    }

    /// Whether a void chunk is zeros from its header to the one at its end, which says the same. Reads it piece by piece.
    pub(crate) fn is_wiped(&self, void: &ChunkHeader) -> bool {
        let end = void.offset as usize + void.bytes as usize;
        let mut at = void.offset as usize;
        while at < end {
            match self.wiped_piece(void, at) {
                Some(next) => at = next,
                None => return false,
            }
        }
        true
    }

    /// Whether a part of a block is zeros. Reads it piece by piece.
    pub(crate) fn is_zero(&self, block: BlockIndex, at: usize, bytes: usize) -> bool {
        let mut pieces = (at..at + bytes).step_by(SEARCH_BYTES);
        pieces.all(|piece| {
            let found = self.read(block, piece, SEARCH_BYTES.min(at + bytes - piece));
            found.is_ok_and(|found| is_zero(&found))
        })
    }

    /// Verifies the next piece of a void chunk, from `at` on (in bytes from the block's beginning): where the piece behind it begins, or
    /// `None` if it is not as it has to be.
    pub(crate) fn wiped_piece(&self, void: &ChunkHeader, at: usize) -> Option<usize> {
        let end = void.offset as usize + void.bytes as usize;
        let bytes = SEARCH_BYTES.min(end.checked_sub(at)?);
        let found = self.read(void.block, at, bytes).ok()?;
        let mut expected = vec![0; bytes];
        if at == void.offset as usize {
            void.seal(&mut expected);
        }
        if at + bytes == end {
            void.seal_as(TAIL_MAGIC, expected.get_mut(bytes.checked_sub(ChunkHeader::SIZE)?..)?);
        }
        (found[..] == expected[..]).then_some(at + bytes)
    }

    /// The trailer of a sealed block.
    pub(crate) fn trailer(&self, take: &Take) -> Option<BlockTrailer> {
        self.trailer_by(take, &|offset, bytes| self.read(take.block, offset, bytes))
    }

    fn trailer_by(
        &self,
        take: &Take,
        read: &dyn Fn(usize, usize) -> io::Result<Bytes>,
    ) -> Option<BlockTrailer> {
        let page = self.geometry.page_bytes;
        let bytes = read(self.geometry.block_bytes - page, page).ok()?;
        let (trailer, _) = BlockTrailer::unseal(&bytes)?;
        let mine = trailer.volume == self.volume
            && trailer.block == take.block
            && trailer.row.sequence == take.sequence
            && trailer.row.stream == take.stream;
        (mine && is_zero(&bytes[BlockTrailer::SIZE..])).then_some(trailer)
    }
}

/// Samples and bytes that go of a block; `None` if they cannot be read now.
pub(crate) fn count(
    scanner: &Scanner<'_>,
    take: &Take,
    row: &Row,
    footer: &Footer,
    goes: &Goes,
) -> Option<(u64, u64)> {
    let Goes::Some(stretches) = goes else {
        let all = (u64::from(row.samples), u64::from(row.payload_bytes));
        return Some(if *goes == Goes::All { all } else { (0, 0) });
    };
    let mut places = stretches.iter().flat_map(|one| footer.chunks.get(one.clone()).unwrap_or_default());
    places.try_fold((0, 0), |(samples, bytes), place| {
        let header = scanner.located(take, place)?.header;
        Some((samples + u64::from(header.samples), bytes + u64::from(header.payload_bytes)))
    })
}

impl Loaded {
    /// Its header.
    pub(crate) fn header(&self) -> &ChunkHeader {
        &self.located.header
    }

    /// Its entries with their bytes where they verify.
    pub(crate) fn payloads(&self) -> Vec<Payload> {
        let mut at = self.header().payload_at();
        let entries = self.tables.iter().flat_map(|tables| &tables.entries);
        let verified = entries.map(|entry| {
            let begin = at;
            at += entry.bytes as usize;
            let stands = |data| crc32c(data) == entry.checksum || planted!(PayloadUnverified);
            let whole = self.bytes.get(begin..at).is_some_and(stands);
            Payload { entry: entry.clone(), at: begin, data: whole.then(|| self.bytes.slice(begin..at)) }
        });
        verified.collect()
    }

    /// Everything in the chunk that is not as it was written: what, and where in the chunk. Empty if it stands whole.
    pub(crate) fn problems(&self) -> Vec<(&'static str, usize)> {
        let header = self.header();
        let mut problems = Vec::new();
        if chunk::head(&self.bytes).as_ref().map(|(head, _)| head) != Some(header) {
            problems.push(("chunk header", 0));
        }
        let tail_at = self.bytes.len() - ChunkHeader::SIZE;
        let tail = ChunkHeader::unseal_as(TAIL_MAGIC, &self.bytes[tail_at..]);
        if tail.as_ref().map(|(tail, _)| tail) != Some(header) {
            problems.push(("second chunk header", tail_at));
        }
        if Tables::at_head(header, &self.bytes).is_none() {
            problems.push(("sample table", ChunkHeader::SIZE));
        }
        let second_table_at = tail_at - header.table_bytes();
        if Tables::at_tail(header, &self.bytes).is_none() {
            problems.push(("second sample table", second_table_at));
        }
        problems.extend(
            self.payloads()
                .iter()
                .filter(|payload| payload.data.is_none())
                .map(|payload| ("sample", payload.at)),
        );
        let padding_at = header.payload_at() + header.payload_bytes as usize;
        if !self.bytes.get(padding_at..second_table_at).is_some_and(is_zero) {
            problems.push(("padding", padding_at));
        }
        problems
    }
}
