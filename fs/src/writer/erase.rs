//! Overwriting footage on the writer's side, between rounds and a little in each: what is erased on request. What goes is decided in [`crate::retention::erase`].
//!
//! ```text
//! queued --> named --> covered --> wiped --> settled
//!            (a flushed record names the block: after a crash it is examined)
//!                      (one sector for each stretch that goes: a void chunk's header, flushed; from here on nothing reads it)
//!                                  (all of it is zeros, flushed)
//!                                            (its row says so; whoever asked is told)
//! ```
//!
//! The step from footage to void is the write of one sector, so a power cut leaves each stretch whole or gone, never torn. A block
//! that a crash found covered and not wiped is wiped by the next writer. Blocks that wait are not taken by the ring: what it took
//! would linger in the room that the new footage does not fill yet.

use super::engine::Engine;
use super::writes::Purpose;
use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::format::Framed;
use crate::format::chunk::{self, ChunkHeader, ChunkKind};
use crate::format::footer::Footer;
use crate::format::geometry::record_capacity;
use crate::format::table::{NO_FOOTER, Row};
use crate::recover::{examine, state_of};
use crate::report::{BlockState, TimeRange};
use crate::retention::erase::{Erased, Goes, cover, goes, keeper, numbers};
use crate::scan::{Located, Take, count};
use crate::types::{BlockIndex, Sequence, StreamId, StreamName, WallTime};
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

/// Blocks that are overwritten at a time.
const JOBS: usize = 2;
/// How much is overwritten in a round, in bytes.
const ROUND_BYTES: usize = 8 << 20;
/// The largest write of zeros, in bytes.
const WRITE_BYTES: usize = 1 << 20;

/// What shall be erased.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EraseRequest {
    /// Whose footage.
    pub stream: StreamName,
    /// From this moment on (inclusive).
    pub from: WallTime,
    /// To before this moment.
    pub to: WallTime,
}

/// A block of which something is to be overwritten.
#[derive(Clone, Debug)]
struct Target {
    block: BlockIndex,
    sequence: Sequence,
    stream: StreamId,
    /// What of it; nothing where only what was begun is to be finished.
    range: Option<TimeRange>,
    kind: ChunkKind,
    /// What stands there was given up after a crash: it counts no more, but a rebuild would find it.
    dead: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Named,
    Covered,
    Wiped,
}

/// A block that is being overwritten.
struct Job {
    target: Target,
    take: Take,
    /// Reached with the last flush.
    stage: Option<Stage>,
    /// The void chunks that stand in it, or are about to.
    voids: Vec<ChunkHeader>,
    /// What is still to be overwritten: from, to, in bytes of the block.
    rest: VecDeque<(usize, usize)>,
    failed: bool,
}

/// All that is being overwritten.
#[derive(Default)]
pub(super) struct Erasing {
    queue: VecDeque<Target>,
    jobs: Vec<Job>,
    /// What was asked for: what it comes to, and the blocks that are not done.
    asked: Option<(StreamId, Erased, BTreeSet<BlockIndex>)>,
    answer: Option<Result<Erased>>,
    failed: Option<BlockIndex>,
    /// Blocks to which nothing more is written in place.
    done: Vec<BlockIndex>,
}

impl Erasing {
    /// What a crash found begun is to be finished.
    pub(super) fn finishing(unfinished: impl Iterator<Item = (BlockIndex, Row)>) -> Erasing {
        let finish = |(block, row): (BlockIndex, Row)| Target {
            block,
            sequence: row.sequence,
            stream: row.stream,
            range: None,
            kind: ChunkKind::ERASED,
            dead: false,
        };
        Erasing { queue: unfinished.map(finish).collect(), ..Erasing::default() }
    }

    /// Whether anything is left to overwrite.
    pub(super) fn is_busy(&self) -> bool {
        !self.queue.is_empty() || !self.jobs.is_empty()
    }

    /// A write of zeros, or of a void chunk's header, failed twice.
    pub(super) fn write_failed(&mut self, block: BlockIndex) {
        for job in self.jobs.iter_mut().filter(|job| job.take.block == block) {
            job.failed = true;
        }
    }
}

impl<D: Disk> Engine<D> {
    /// Begins to erase a range of a stream. [`Engine::take_erased`] tells when it is done.
    pub(crate) fn begin_erase(&mut self, request: &EraseRequest) -> Result<()> {
        if request.from >= request.to {
            return Err(Error::Invalid("to erase, give a range that ends after it begins".to_owned()));
        }
        if self.erasing.asked.is_some() {
            return Err(Error::Erasing { stream: request.stream.clone() });
        }
        let stream = self.stream_of(&request.stream)?;
        let range = TimeRange { from: Some(request.from), to: Some(request.to) };
        // With a flush, chunks have their final numbers; a block that is being written is ended, so that it has a row. The first
        // round after a failure only tries what failed again.
        const ROUNDS: usize = 2;
        for _ in 0..ROUNDS {
            if !self.is_all_flushed() {
                self.round_to_erase()?;
            }
        }
        if !self.is_idle(stream) {
            // It would come to the disk behind what is erased.
            return Err(self.disk_error("flush what waits in memory, and then erase, on"));
        }
        self.end_blocks(stream, range)?;
        let rows = self.rows_of(stream);
        let mut targets = Vec::new();
        let mut erased = Erased::default();
        let holds = self.holds.all();
        for (block, row) in rows.iter().filter(|(_, row)| crate::hold::may_touch(row, range)) {
            let footer = self.contents(*block, row);
            let goes = goes(&footer, range);
            if goes == Goes::Nothing {
                continue;
            }
            if let Some(hold) = keeper(&holds, row, &numbers(row, &footer, &goes)) {
                return Err(Error::Held { id: hold.id, label: hold.label.clone() });
            }
            if self.core.ledger.may_be_held(row) {
                let lost = holds.iter().find(|hold| hold.lost).map(|hold| hold.id).unwrap_or_default();
                return Err(Error::Held { id: lost, label: "a hold that was lost".to_owned() });
            }
            erased.add(&footer, &goes);
            let take = Take { block: *block, sequence: row.sequence, stream };
            let (samples, payload_bytes) = count(&self.core.scanner(), &take, row, &footer, &goes);
            erased.samples += samples;
            erased.payload_bytes += payload_bytes;
            let (sequence, kind) = (row.sequence, ChunkKind::ERASED);
            targets.push(Target { block: *block, sequence, stream, range: Some(range), kind, dead: false });
        }
        if targets.is_empty() {
            return Err(self.not_recorded(stream));
        }
        targets.extend(self.dead_blocks(stream, range));
        let blocks: BTreeSet<BlockIndex> = targets.iter().map(|target| target.block).collect();
        // What was set aside of it is taken back; it is whole, and nobody else may get it now.
        if self.core.ledger.reserve(&blocks) {
            self.round_to_erase()?;
        }
        self.erasing.asked = Some((stream, erased, blocks));
        self.erasing.failed = None;
        self.erasing.queue.extend(targets);
        Ok(())
    }

    /// Blocks that were given up after a crash and still hold footage of a range.
    fn dead_blocks(&self, stream: StreamId, range: TimeRange) -> Vec<Target> {
        let ledger = &self.core.ledger;
        let free = self.core.geometry.all_blocks().map(|block| (block, ledger.row(block)));
        let set_aside = ledger.grants().map(|grant| (grant.block, &grant.before));
        let was_written = |row: &Row| row.state == BlockState::Free && row.sequence > Sequence(0);
        let blocks = free.chain(set_aside).filter(|(_, row)| was_written(row)).map(|(block, _)| block);
        let mut targets = Vec::new();
        for block in blocks {
            let Ok(Some(header)) = self.core.scanner().block_header(block) else { continue };
            let take = Take { block, sequence: header.sequence, stream: header.stream };
            let row = examine(&self.core.scanner(), &take, 0, None).progress.row;
            let row = Row { state: BlockState::Sealed, ..row };
            if header.stream == stream && crate::hold::may_touch(&row, range) {
                let (sequence, kind) = (header.sequence, ChunkKind::ERASED);
                targets.push(Target { block, sequence, stream, range: Some(range), kind, dead: true });
            }
        }
        targets
    }

    /// What came of an erasure that was asked for, once it is over.
    pub(crate) fn take_erased(&mut self) -> Option<Result<Erased>> {
        self.erasing.answer.take()
    }

    /// Whether an erasure of this stream is under way.
    pub(super) fn is_erased(&self, stream: StreamId) -> bool {
        self.erasing.asked.as_ref().is_some_and(|(of, ..)| *of == stream)
    }

    /// Whether rounds should follow each other soon.
    pub(crate) fn is_erasing(&self) -> bool {
        self.erasing.is_busy() && self.is_well()
    }

    fn round_to_erase(&mut self) -> Result<()> {
        let report = self.round();
        self.rounds_within.push(report);
        if self.is_well() { Ok(()) } else { Err(self.disk_error("erase footage on")) }
    }

    /// Ends the block that a stream writes, or would resume, if some of it goes: nothing is written behind what was erased.
    fn end_blocks(&mut self, stream: StreamId, range: TimeRange) -> Result<()> {
        let Some(index) = self.streams.iter().position(|one| one.id == stream) else { return Ok(()) };
        let touched = |row: &Row| crate::hold::may_touch(row, range);
        let open = self.streams[index].open_row().is_some_and(|(_, row)| touched(row));
        if open {
            self.streams[index].end_block(&mut self.core);
        }
        let parked = self.streams[index].parked();
        if parked.is_some_and(|block| touched(self.core.ledger.row(block))) {
            self.streams[index].leave_parked();
        }
        if open { self.round_to_erase() } else { Ok(()) }
    }

    /// A part of the work, before a round's record is made.
    pub(super) fn erase_some(&mut self) {
        let mut jobs = std::mem::take(&mut self.erasing.jobs);
        let mut budget = ROUND_BYTES;
        jobs.retain_mut(|job| {
            match job.stage {
                _ if job.failed => return self.give_up(job),
                None => {}
                Some(Stage::Named) => self.cover_block(job),
                Some(Stage::Covered) => self.wipe(job, &mut budget),
                Some(Stage::Wiped) => return self.finish_block(job),
            }
            true
        });
        self.erasing.jobs = jobs;
        // What a crash left is begun at once: the next record must name all of it.
        let unfinished = |erasing: &Erasing| erasing.queue.front().is_some_and(|next| next.range.is_none());
        while (self.erasing.jobs.len() < JOBS || unfinished(&self.erasing)) && self.begin_job() {}
    }

    /// Names the next block that waits; `false` if there is none, or no room for it in the record.
    fn begin_job(&mut self) -> bool {
        let (named_max, ..) = record_capacity(self.core.geometry.streams_max);
        // Streams must find room for blocks of their own.
        if self.core.named.len() + self.streams.len() >= named_max || !self.core.record_has_room_for_rows() {
            return false;
        }
        // One after the other, each with the row that the one before left.
        let done = |block| self.erasing.done.contains(&block);
        let working = |block| done(block) || self.erasing.jobs.iter().any(|job| job.take.block == block);
        let Some(target) = self.erasing.queue.pop_front_if(|target| !working(target.block)) else {
            return false;
        };
        let row = self.core.ledger.row(target.block).clone();
        if target.dead {
            // Nothing reads it: it needs no name in the record, and no void chunk.
            let take = Take { block: target.block, sequence: row.sequence, stream: target.stream };
            let rest = VecDeque::from([(0, self.core.geometry.block_bytes)]);
            let (stage, voids) = (Some(Stage::Covered), Vec::new());
            self.erasing.jobs.push(Job { target, take, stage, voids, rest, failed: false });
            return true;
        }
        let stream = self.streams.iter().position(|stream| stream.id == target.stream);
        let settled = matches!(
            row.state,
            BlockState::Sealed | BlockState::Parked | BlockState::Erased | BlockState::Expired
        );
        let Some(stream) = stream.filter(|_| settled && row.sequence == target.sequence) else {
            // It is there, and cannot be overwritten, as a withdrawn block: whoever asked must know.
            if row.sequence == target.sequence {
                self.erasing.failed = Some(target.block);
            }
            self.block_done(target.block);
            return true;
        };
        let take = Take { block: target.block, sequence: row.sequence, stream: row.stream };
        self.core.ledger.reserve(&BTreeSet::from([target.block]));
        self.core.reopen(&take, stream, row.used_bytes as usize);
        let (voids, rest) = Default::default();
        self.erasing.jobs.push(Job { target, take, stage: None, voids, rest, failed: false });
        true
    }

    /// Writes the header of each void chunk over what stands at its place, and nothing else.
    fn cover_block(&mut self, job: &mut Job) {
        let row = self.core.ledger.row(job.take.block).clone();
        let examined =
            examine(&self.core.scanner(), &job.take, row.used_bytes as usize, Some(row.last_chunk().next()));
        let (footer, found) = (examined.progress.footer, examined.progress.row);
        let goes = job.target.range.map_or(Goes::Nothing, |range| goes(&footer, range));
        job.voids = self.voids_in(job, &footer);
        // The rank of the row is that of its sealing.
        let found = Row { rank: found.rank.max(row.rank), ..found };
        let fresh = self.covers(job, &footer, &found, &goes);
        let page_bytes = self.core.geometry.page_bytes;
        for void in &fresh {
            let mut page = self.core.writes.buffer(page_bytes);
            if !planted!(ErasedInOneGo)
                && let Ok(stands) = self.core.scanner().read(job.take.block, void.offset as usize, page_bytes)
            {
                page.copy_from_slice(&stands);
            }
            void.seal(&mut page);
            self.submit_void(job, void.offset as usize, page);
        }
        // What a larger void swallows needs no overwriting of its own.
        job.voids.retain(|old| !fresh.iter().any(|new| new.offset <= old.offset && ends(old) <= ends(new)));
        job.voids.extend(fresh);
        let wiped = |void: &&ChunkHeader| job.target.range.is_none() && self.core.scanner().is_wiped(void);
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

    /// The void chunks to come.
    fn covers(&self, job: &Job, footer: &Footer, row: &Row, goes: &Goes) -> Vec<ChunkHeader> {
        let kind = job.target.kind;
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
            Goes::Nothing => Vec::new(),
            Goes::All => {
                let ends = at(0).zip(footer.chunks.len().checked_sub(1).and_then(last_at).and_then(at));
                let Some((mut first, last)) = ends else { return Vec::new() };
                // Damage may hide the first chunk, but not where the block begins and which number that has.
                first.header.offset = page_bytes as u32;
                first.header.number = row.first_chunk;
                let bytes = self.core.geometry.block_bytes - page_bytes;
                vec![cover(kind, &first, &last, bytes as u32, Some((row.wall_min, row.wall_max)), row.rank)]
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
                stretches.iter().filter_map(one).collect()
            }
        }
    }

    fn submit_void(&mut self, job: &Job, offset: usize, buffer: crate::disk::AlignedBuffer) {
        let at = self.core.geometry.block_at(job.take.block) + offset as u64;
        self.core.writes.submit(at, Arc::new(buffer), Purpose::Void(job.take.block));
    }

    /// Overwrites a part of what is void with zeros, but for the headers at both ends.
    fn wipe(&mut self, job: &mut Job, budget: &mut usize) {
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

    /// Nothing more is written to a block: its row is what stands there now. Always `false`: the job is over.
    fn finish_block(&mut self, job: &Job) -> bool {
        if job.target.dead {
            let state = if job.failed { BlockState::Bad } else { BlockState::Free };
            self.core.ledger.settle(job.take.block, Row { state, ..Row::default() });
            self.block_done(job.take.block);
            return false;
        }
        let old = self.core.ledger.row(job.take.block).clone();
        let used = job.voids.iter().map(ends).fold(old.used_bytes as usize, usize::max);
        let stop = Some(old.last_chunk().next());
        let progress = examine(&self.core.scanner(), &job.take, used, stop).progress;
        let state = if job.failed { BlockState::Bad } else { state_of(&progress, false) };
        let rank = old.rank.max(progress.row.rank);
        let row = Row { state, rank, flags: progress.row.flags | NO_FOOTER, ..progress.row };
        self.core.block_ended(job.take.block, row);
        self.block_done(job.take.block);
        false
    }

    /// A block could not be overwritten: it is withdrawn, and whoever asked is told.
    fn give_up(&mut self, job: &Job) -> bool {
        tracing::error!(block = %job.take.block, "a block cannot be overwritten; it is withdrawn");
        self.erasing.failed = Some(job.take.block);
        self.core.faults.count(self.core.running_seconds());
        self.finish_block(job)
    }

    /// One block less to wait for. It may be taken once its row is settled: until then its stream gives nothing.
    fn block_done(&mut self, block: BlockIndex) {
        self.erasing.done.push(block);
        if let Some((_, _, blocks)) = &mut self.erasing.asked {
            blocks.remove(&block);
        }
    }

    /// A round was flushed: each job is one stage further, and what was asked for may be over.
    pub(super) fn erasing_flushed(&mut self) {
        for block in std::mem::take(&mut self.erasing.done) {
            self.core.ledger.unreserve(block);
        }
        for job in &mut self.erasing.jobs {
            job.stage = match job.stage {
                None => Some(Stage::Named),
                Some(Stage::Named) => Some(Stage::Covered),
                Some(_) if job.rest.is_empty() => Some(Stage::Wiped),
                stage => stage,
            };
        }
        let over = |(_, erased, blocks): &mut (StreamId, Erased, BTreeSet<BlockIndex>)| {
            blocks.is_empty().then_some(*erased)
        };
        // The rows of the last blocks were settled with this flush.
        if let Some(erased) = self.erasing.asked.as_mut().and_then(over) {
            self.erasing.asked = None;
            self.erasing.answer = Some(match self.erasing.failed.take() {
                None => Ok(erased),
                Some(block) => Err(self.disk_error(&format!("overwrite block {block} of"))),
            });
        }
    }

    /// The volume closes: what was begun is finished, what was not is left, and whoever asked is told.
    pub(super) fn stop_erasing(&mut self) {
        for target in std::mem::take(&mut self.erasing.queue) {
            self.core.ledger.unreserve(target.block);
        }
        if self.erasing.asked.take().is_some() {
            let why = "it was closed while footage was being erased: some of it is, erase again".to_owned();
            self.erasing.answer = Some(Err(Error::Stopped(why)));
        }
    }
}

fn ends(void: &ChunkHeader) -> usize {
    void.offset as usize + void.bytes as usize
}
