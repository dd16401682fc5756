//! The writes of an overwriting: the headers of void chunks first, then zeros over all that they cover.

use super::{Job, What, ends};
use crate::disk::{AlignedBuffer, Disk};
use crate::format::chunk::{self, ChunkHeader, ChunkKind};
use crate::format::footer::Footer;
use crate::format::table::{NO_FOOTER, PART_VOID, Row};
use crate::format::{FORMAT_VERSION, Framed};
use crate::recover::examine;
use crate::report::BlockState;
use crate::retention::erase::{Goes, cover, goes, hull, is_numbered, is_within};
use crate::scan::count;
use crate::writer::engine::Engine;
use crate::writer::writes::Purpose;
use std::sync::Arc;

/// The largest write of zeros, in bytes.
const WRITE_BYTES: usize = 1 << 20;

/// How often what cannot be read is read again, a round apart.
pub(super) const TRIES: u8 = 3;
/// After how long what still cannot be read is read again, in seconds of running time.
const AGAIN_S: u64 = 60;

impl<D: Disk> Engine<D> {
    /// Writes the header of each void chunk over what stands at its place, and nothing else; `false` if the job is over, because
    /// nobody can tell what is to go.
    pub(super) fn cover_block(&mut self, job: &mut Job) -> bool {
        let row = self.core.ledger.row(job.take.block).clone();
        let decided = self.decide(job, &row).and_then(|(goes, footer)| {
            let fresh = self.covers(job, &footer, &row, &goes)?;
            let after = self.row_after(job, &row, &footer, &goes)?;
            Some((goes, fresh, self.voids_in(job, &footer)?, after, footer))
        });
        let Some((goes, fresh, old, after, footer)) = decided else {
            job.tries = job.tries.saturating_add(1).min(TRIES);
            if job.tries == TRIES {
                job.again_s = self.core.running_seconds() + AGAIN_S;
            }
            // What a crash left stays named until it is overwritten, whoever does that.
            let begun = job.target.what == What::Begun && !planted!(BegunForgotten);
            return job.tries < TRIES || begun || self.leave_alone(job);
        };
        job.covered = true;
        job.asked = if job.target.what.is_asked() { hull(&row, &footer, &goes) } else { None };
        job.after = Some(after);
        for void in &fresh {
            self.submit_cover(job, void);
        }
        // What was past its age before, and not begun by another writer, is zeros, unless the disk refused something.
        let kept =
            |old: &ChunkHeader| !fresh.iter().any(|new| new.offset <= old.offset && ends(old) <= ends(new));
        job.voids = old.into_iter().filter(kept).collect();
        let zeros = matches!(job.target.what, What::Expired(_)) && row.withheld == 0;
        let wiped = if zeros { job.voids.len() } else { 0 };
        job.voids.extend(fresh);
        job.rest = job.voids.iter().skip(wiped).map(|void| (void.offset as usize, ends(void))).collect();
        let whole = job.voids.iter().any(|void| ends(void) == self.core.geometry.block_bytes);
        if !whole && !job.rest.is_empty() {
            // The footer tells of what is gone; behind it lie older laps.
            job.rest.push_back((row.used_bytes as usize, self.core.geometry.block_bytes));
        }
        true
    }

    /// What of a block goes; `None` if that cannot be told now. A block that goes whole is not read.
    fn decide(&self, job: &Job, row: &Row) -> Option<(Goes, Footer)> {
        let guard = self.core.ledger.guard();
        let all = match job.target.what {
            What::Asked(range) => is_within(row, range),
            What::Expired(over) => {
                over.takes(row.wall_max) && !guard.covers(row) && !guard.may_have_covered(row)
            }
            What::Begun => false,
        };
        if all {
            return Some((Goes::All, Footer::default()));
        }
        let stop = Some(row.last_chunk().next());
        let examined = examine(&self.core.scanner(), &job.take, row.used_bytes as usize, stop);
        let footer = examined.progress.footer;
        let goes = match job.target.what {
            // What a crash left is found, whatever damage hides beside it; but where its header cannot be read now, what it
            // covers looks like footage.
            What::Begun => {
                let found = footer.chunks.iter().any(|place| place.kind.is_void());
                let found = found && examined.progress.row.samples <= row.samples;
                return (found || planted!(BegunTakenForFootage)).then_some((Goes::Nothing, footer));
            }
            What::Asked(range) => goes(&footer, range),
            What::Expired(over) => self.expired_in(row, &footer, over),
        };
        is_numbered(row, &footer).then_some((goes, footer))
    }

    /// The row of a block once this is gone of it, for where it cannot be read then; `None` if it cannot be read now.
    fn row_after(&self, job: &Job, row: &Row, footer: &Footer, goes: &Goes) -> Option<Row> {
        let after =
            Row { state: BlockState::Sealed, flags: row.flags | PART_VOID | NO_FOOTER, ..row.clone() };
        let stretches = match goes {
            Goes::Nothing => return Some(after),
            Goes::All => {
                let erased = job.target.what.kind() == ChunkKind::ERASED;
                let (samples, sync_samples, payload_bytes, first_sync) = Default::default();
                return Some(Row {
                    state: if erased { BlockState::Erased } else { BlockState::Expired },
                    flags: PART_VOID | NO_FOOTER,
                    used_bytes: self.core.geometry.block_bytes as u32,
                    samples,
                    sync_samples,
                    payload_bytes,
                    first_sync,
                    ..after
                });
            }
            Goes::Some(stretches) => stretches,
        };
        let stays = |chunk: usize| !stretches.iter().any(|one| one.contains(&chunk));
        let (samples, payload_bytes) = count(&self.core.scanner(), &job.take, row, footer, goes)?;
        let syncs = || footer.syncs.iter().filter(|sync| stays(sync.chunk as usize));
        let media = || {
            let all = footer.chunks.iter().enumerate();
            all.filter(|(chunk, place)| place.kind == ChunkKind::MEDIA && stays(*chunk))
                .map(|(_, place)| place)
        };
        Some(Row {
            samples: row.samples.saturating_sub(samples as u32),
            payload_bytes: row.payload_bytes.saturating_sub(payload_bytes as u32),
            sync_samples: syncs().count() as u32,
            first_sync: syncs().next().map(|sync| sync.wall).unwrap_or_default(),
            wall_min: media().map(|place| place.wall_min).min().unwrap_or(row.wall_min),
            wall_max: media().map(|place| place.wall_max).max().unwrap_or(row.wall_max),
            ..after
        })
    }

    /// Sends the header of a void chunk: over what stands in its page, so that a power cut leaves that or this. What cannot be
    /// read there is no loss: a write heals the sector.
    fn submit_cover(&mut self, job: &mut Job, void: &ChunkHeader) {
        let page_bytes = self.core.geometry.page_bytes;
        let mut page = self.core.writes.buffer(page_bytes);
        let stands = self.core.scanner().read(job.take.block, void.offset as usize, page_bytes);
        job.failed |= stands.is_err() && planted!(UnreadableNotCovered);
        if let Ok(stands) = stands
            && !planted!(ErasedInOneGo)
        {
            page.copy_from_slice(&stands);
        }
        void.seal(&mut page);
        self.submit_void(job, void.offset as usize, Arc::new(page));
    }

    /// The void chunk in place of all of a block, by what its row says; `None` if its header cannot be read now.
    fn cover_all(&self, job: &Job, row: &Row) -> Option<ChunkHeader> {
        let scanner = self.core.scanner();
        let page_bytes = self.core.geometry.page_bytes;
        // What the block links to; where damage hides that too, nothing does.
        let header = scanner.block_header(job.take.block).ok()?;
        let first = || scanner.chunk_at(&job.take, page_bytes).map(|(located, _)| located.header.previous);
        let previous = header.map(|header| header.previous).or_else(first).unwrap_or_default();
        Some(ChunkHeader {
            version: FORMAT_VERSION,
            kind: job.target.what.kind(),
            bytes: (self.core.geometry.block_bytes - page_bytes) as u32,
            volume: self.core.volume,
            block: job.take.block,
            offset: page_bytes as u32,
            sequence: job.take.sequence,
            stream: job.take.stream,
            epoch: row.epoch,
            previous,
            number: row.first_chunk,
            wall_min: row.wall_min,
            wall_max: row.wall_max,
            rank: row.rank,
            running_s: row.running_s,
            covers: row.chunks.saturating_sub(1),
            replaced: if planted!(ErasedChainBroken) { 0 } else { row.last_checksum },
            ..ChunkHeader::default()
        })
    }

    /// The void chunks that stand in a block already; `None` if one cannot be read now.
    fn voids_in(&self, job: &Job, footer: &Footer) -> Option<Vec<ChunkHeader>> {
        let places = footer.chunks.iter().filter(|place| place.kind.is_void() && place.bytes > 0);
        let scanner = self.core.scanner();
        places.map(|place| Some(scanner.located(&job.take, place)?.header)).collect()
    }

    /// The void chunks to come; `None` if what they are to cover cannot be read.
    fn covers(&self, job: &Job, footer: &Footer, row: &Row, goes: &Goes) -> Option<Vec<ChunkHeader>> {
        let kind = job.target.what.kind();
        let scanner = self.core.scanner();
        let at = |index: usize| scanner.located(&job.take, footer.chunks.get(index)?);
        match goes {
            Goes::Nothing => Some(Vec::new()),
            Goes::All => Some(vec![self.cover_all(job, row)?]),
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

    fn submit_void(&mut self, job: &Job, offset: usize, buffer: Arc<AlignedBuffer>) {
        let at = self.core.geometry.block_at(job.take.block) + offset as u64;
        self.core.writes.submit(at, buffer, Purpose::Void(job.take.block));
    }

    /// Overwrites a part of what is void with zeros, but for the headers at both ends.
    pub(super) fn wipe(&mut self, job: &mut Job, budget: &mut usize) {
        // One piece of memory for all writes to this block that are nothing else.
        let mut zeros = None;
        while *budget > 0
            && let Some((from, to)) = job.rest.pop_front()
        {
            let bytes = (to - from).min(WRITE_BYTES);
            let begins = job.voids.iter().find(|void| void.offset as usize == from);
            let ends = job.voids.iter().find(|void| ends(void) == from + bytes);
            let buffer = match (begins, ends) {
                (None, None) if bytes == WRITE_BYTES => {
                    Arc::clone(zeros.get_or_insert_with(|| Arc::new(self.core.writes.buffer(bytes))))
                }
                _ => {
                    let mut buffer = self.core.writes.buffer(bytes);
                    if let Some(void) = begins {
                        void.seal(&mut buffer);
                    }
                    if let Some(void) = ends {
                        void.seal_as(chunk::TAIL_MAGIC, &mut buffer[bytes - ChunkHeader::SIZE..]);
                    }
                    Arc::new(buffer)
                }
            };
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
