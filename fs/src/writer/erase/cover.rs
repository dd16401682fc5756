//! The writes of an overwriting: the headers of void chunks first, then zeros over all that they cover.

use super::{Job, What, ends};
use crate::disk::{AlignedBuffer, Disk};
use crate::format::Framed;
use crate::format::chunk::{self, ChunkHeader};
use crate::format::footer::Footer;
use crate::format::table::Row;
use crate::recover::examine;
use crate::retention::erase::{Goes, cover, goes};
use crate::scan::{Located, Take};
use crate::writer::engine::Engine;
use crate::writer::writes::Purpose;
use std::sync::Arc;

/// The largest write of zeros, in bytes.
const WRITE_BYTES: usize = 1 << 20;

impl<D: Disk> Engine<D> {
    /// Writes the header of each void chunk over what stands at its place, and nothing else.
    pub(super) fn cover_block(&mut self, job: &mut Job) {
        let row = self.core.ledger.row(job.take.block).clone();
        let examined =
            examine(&self.core.scanner(), &job.take, row.used_bytes as usize, Some(row.last_chunk().next()));
        let (footer, found) = (examined.progress.footer, examined.progress.row);
        let goes = match job.target.what {
            What::Asked(range) => goes(&footer, range),
            What::Expired => self.expired_in(&found, &footer),
            What::Begun => Goes::Nothing,
        };
        job.voids = self.voids_in(job, &footer);
        // The rank of the row is that of its sealing.
        let found = Row { rank: found.rank.max(row.rank), ..found };
        let page_bytes = self.core.geometry.page_bytes;
        let covers = self.covers(job, &footer, &found, &goes).and_then(|fresh| {
            let page = |void: &ChunkHeader| {
                self.core.scanner().read(job.take.block, void.offset as usize, page_bytes).ok()
            };
            let pages = fresh.iter().map(page).collect::<Option<Vec<_>>>()?;
            Some((fresh, pages))
        });
        let Some((fresh, pages)) = covers else {
            // What cannot be read where it is to be covered is not overwritten, and that is said.
            job.failed = true;
            return;
        };
        for (void, stands) in fresh.iter().zip(pages) {
            let mut page = self.core.writes.buffer(page_bytes);
            if !planted!(ErasedInOneGo) {
                page.copy_from_slice(&stands);
            }
            void.seal(&mut page);
            self.submit_void(job, void.offset as usize, page);
        }
        // What a larger void swallows needs no overwriting of its own.
        job.voids.retain(|old| !fresh.iter().any(|new| new.offset <= old.offset && ends(old) <= ends(new)));
        job.voids.extend(fresh);
        let wiped = |void: &&ChunkHeader| !job.target.what.is_asked() && self.core.scanner().is_wiped(void);
        let unwiped = job.voids.iter().filter(|void| !wiped(void));
        job.rest = unwiped.map(|void| (void.offset as usize, ends(void))).collect();
        let whole = job.voids.iter().any(|void| ends(void) == self.core.geometry.block_bytes);
        if !whole && !job.rest.is_empty() {
            // The footer tells of what is gone; behind it lie older laps.
            job.rest.push_back((row.used_bytes as usize, self.core.geometry.block_bytes));
        }
    }

    /// The void chunks that stand in a block already.
    fn voids_in(&self, job: &Job, footer: &Footer) -> Vec<ChunkHeader> {
        let places = footer.chunks.iter().filter(|place| place.kind.is_void() && place.bytes > 0);
        let found =
            places.filter_map(|place| self.located(&job.take, place.offset as usize, place.bytes as usize));
        found.map(|located| located.header).collect()
    }

    fn located(&self, take: &Take, offset: usize, bytes: usize) -> Option<Located> {
        let scanner = self.core.scanner();
        let head = scanner.chunk_at(take, offset).map(|(located, _)| located);
        head.or_else(|| scanner.chunk_behind(take, offset, offset + bytes))
    }

    /// The void chunks to come; `None` if what they are to cover cannot be read.
    fn covers(&self, job: &Job, footer: &Footer, row: &Row, goes: &Goes) -> Option<Vec<ChunkHeader>> {
        let kind = job.target.what.kind();
        let at = |index: usize| {
            let place = footer.chunks.get(index)?;
            self.located(&job.take, place.offset as usize, place.bytes as usize)
        };
        // A void chunk that counts several has their places behind its own, with no bytes.
        let last_at = |index: usize| {
            (0..=index).rev().find(|at| footer.chunks.get(*at).is_some_and(|place| place.bytes > 0))
        };
        let page_bytes = self.core.geometry.page_bytes;
        match goes {
            Goes::Nothing => Some(Vec::new()),
            Goes::All => {
                let ends = at(0).zip(footer.chunks.len().checked_sub(1).and_then(last_at).and_then(at));
                let (mut first, last) = ends?;
                // Damage may hide the first chunk, but not where the block begins and which number that has.
                first.header.offset = page_bytes as u32;
                first.header.number = row.first_chunk;
                let bytes = self.core.geometry.block_bytes - page_bytes;
                let walls = Some((row.wall_min, row.wall_max));
                Some(vec![cover(kind, &first, &last, bytes as u32, walls, row.rank)])
            }
            Goes::Some(stretches) => {
                let one = |stretch: &std::ops::RangeInclusive<usize>| {
                    let (first, last) = (at(*stretch.start())?, at(*stretch.end())?);
                    let bytes = last.end().checked_sub(first.header.offset as usize)?;
                    let places = footer.chunks.get(stretch.clone())?;
                    let from = places.iter().map(|place| place.wall_min).min()?;
                    let to = places.iter().map(|place| place.wall_max).max()?;
                    Some(cover(kind, &first, &last, bytes as u32, Some((from, to)), row.rank))
                };
                stretches.iter().map(one).collect()
            }
        }
    }

    fn submit_void(&mut self, job: &Job, offset: usize, buffer: AlignedBuffer) {
        let at = self.core.geometry.block_at(job.take.block) + offset as u64;
        self.core.writes.submit(at, Arc::new(buffer), Purpose::Void(job.take.block));
    }

    /// Overwrites a part of what is void with zeros, but for the headers at both ends.
    pub(super) fn wipe(&mut self, job: &mut Job, budget: &mut usize) {
        while *budget > 0
            && let Some((from, to)) = job.rest.pop_front()
        {
            let bytes = (to - from).min(WRITE_BYTES);
            let mut buffer = self.core.writes.buffer(bytes);
            for void in &job.voids {
                if void.offset as usize == from {
                    void.seal(&mut buffer);
                }
                if ends(void) == from + bytes {
                    void.seal_as(chunk::TAIL_MAGIC, &mut buffer[bytes - ChunkHeader::SIZE..]);
                }
            }
            if !planted!(ErasedNotWiped) {
                self.submit_void(job, from, buffer);
            }
            if from + bytes < to {
                job.rest.push_front((from + bytes, to));
            }
            *budget = budget.saturating_sub(bytes);
        }
    }
}
