//! Overwriting footage on the writer's side, between rounds and a little in each. What goes is decided in
//! [`crate::retention::erase`] and [`crate::retention::age`].
//!
//! | file | what |
//! |---|---|
//! | `request` | what is to be erased on request: refused, or queued whole |
//! | `expire` | what is past its stream's maximum age is looked for and queued, a little at a time |
//! | this one | the queue, and how far each block is |
//! | `cover` | what is written |
//! | `refused` | what cannot be overwritten |
//! | `left` | what a repair leaves to the next recorder |
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
//! would linger in the room that the new footage does not fill yet. It takes what was written next instead, of whatever stream, and
//! comes back to these when they are done.

mod cover;
mod expire;
mod left;
mod refused;
mod request;

use super::engine::{Engine, Manner};
use super::stream::Stream;
use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::fault_budget::FaultBudget;
use crate::format::chunk::{ChunkHeader, ChunkKind};
use crate::format::geometry::record_capacity;
use crate::format::table::{NO_FOOTER, PART_VOID, Row};
use crate::recover::{examine, state_of};
use crate::report::{BlockState, TimeRange};
use crate::retention::age::Over;
use crate::retention::erase::{Erased, is_voided};
use crate::scan::Take;
use crate::types::{BlockIndex, ChunkNumber, Sequence, StreamId, StreamName, WallTime};
use expire::Looks;
use std::collections::{BTreeSet, VecDeque};

/// Blocks that are overwritten at a time.
const JOBS: usize = 2;
/// How much is overwritten in a round, in bytes.
const ROUND_BYTES: usize = 8 << 20;

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
    what: What,
    /// What stands there was given up after a crash: it counts no more, but a rebuild would find it.
    dead: bool,
}

/// What of a block is to be overwritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    /// What lies in a range: it was asked for.
    Asked(TimeRange),
    /// What is past its stream's maximum age, and not held.
    Expired(Over),
    /// What a crash found begun.
    Begun,
}

impl What {
    /// What stands in its place.
    fn kind(self) -> ChunkKind {
        if matches!(self, What::Expired(_)) { ChunkKind::EXPIRED } else { ChunkKind::ERASED }
    }

    fn is_asked(self) -> bool {
        matches!(self, What::Asked(_))
    }
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
    /// The row that it had.
    before: Row,
    /// Reached with the last flush.
    stage: Option<Stage>,
    /// The void chunks that stand in it, or are about to.
    voids: Vec<ChunkHeader>,
    /// What is still to be overwritten: from, to, in bytes of the block.
    rest: VecDeque<(usize, usize)>,
    /// Whether the headers of its void chunks were sent; of what was given up, whether that of the block goes, too.
    covered: bool,
    /// What of it was asked for, counted from its first chunk.
    asked: Option<(u32, u32)>,
    /// Its row once it is overwritten.
    after: Option<Row>,
    /// How often it could not be read.
    tries: u8,
    /// When it is read again, in seconds of running time.
    again_s: u64,
    /// Whether the disk refused a write to it.
    failed: bool,
}

impl Job {
    fn new(target: Target, take: Take, before: Row) -> Job {
        let (voids, rest) = Default::default();
        Job {
            target,
            take,
            before,
            stage: None,
            voids,
            rest,
            covered: false,
            asked: None,
            after: None,
            tries: 0,
            again_s: 0,
            failed: false,
        }
    }
}

impl Job {
    /// Whether nobody can tell now what is to go.
    fn is_stuck(&self) -> bool {
        !self.covered && self.tries >= cover::TRIES && self.target.what == What::Begun
    }

    /// Which chunks are withheld where the disk refused something, counted from the block's first one: what was asked for, unless
    /// the headers of its void chunks were flushed. Else that of one void chunk, for a mark, if there is none: what lies between
    /// two may be footage that stays.
    fn withheld(&self, old: &Row) -> Option<(u32, u32)> {
        let is_void = matches!(self.stage, Some(Stage::Covered | Stage::Wiped));
        let place = |number: ChunkNumber| (number.0.saturating_sub(old.first_chunk.0)) as u32;
        let void = self.voids.last().filter(|_| old.withheld == 0);
        let mark = void.map(|void| (place(void.number), place(void.last_number())));
        self.asked.filter(|_| !is_void).or(mark)
    }
}

/// All that is being overwritten.
#[derive(Default)]
pub(super) struct Erasing {
    queue: VecDeque<Target>,
    jobs: Vec<Job>,
    /// What was asked for: what it comes to, and the blocks that are not done.
    asked: Option<(StreamId, Erased, BTreeSet<BlockIndex>)>,
    answer: Option<Result<Erased>>,
    failed: Option<Error>,
    /// All of it is over; a record is to say what is withheld before whoever asked is told.
    over: bool,
    looks: Looks,
    /// Blocks to which nothing more is written in place.
    done: BTreeSet<BlockIndex>,
    /// Blocks that were withdrawn because they could not be overwritten: of a budget of its own, for what recording needs.
    faults: FaultBudget,
    /// The volume closes: nothing more is begun.
    closing: bool,
}

impl Erasing {
    /// What a crash found begun is to be finished.
    pub(super) fn finishing(unfinished: impl Iterator<Item = (BlockIndex, Row)>) -> Erasing {
        let finish = |(block, row): (BlockIndex, Row)| Target {
            block,
            sequence: row.sequence,
            stream: row.stream,
            what: What::Begun,
            dead: false,
        };
        Erasing { queue: unfinished.map(finish).collect(), ..Erasing::default() }
    }

    /// Whether something is left to overwrite that someone waits for, or that a crash left begun.
    fn is_urgent(&self) -> bool {
        let jobs = self.jobs.iter().filter(|job| !job.is_stuck()).map(|job| &job.target);
        let targets = self.queue.iter().chain(jobs);
        self.asked.is_some() || targets.into_iter().any(|target| !matches!(target.what, What::Expired(_)))
    }

    /// Whether what a crash left of a block cannot be read now: it stays named, for a later round or the next recorder.
    pub(super) fn is_stuck(&self, block: BlockIndex) -> bool {
        self.jobs.iter().any(|job| job.take.block == block && job.is_stuck())
    }

    /// The blocks that a crash left half overwritten, and that still are.
    fn begun(&self) -> BTreeSet<BlockIndex> {
        let targets = self.queue.iter().chain(self.jobs.iter().map(|job| &job.target));
        targets.filter(|target| target.what == What::Begun).map(|target| target.block).collect()
    }

    /// In how many blocks what was given up is being overwritten: no record names them.
    pub(super) fn dead_jobs(&self) -> usize {
        self.jobs.iter().filter(|job| job.target.dead).count()
    }

    /// Whether someone waits for footage to be erased.
    pub(super) fn is_asked(&self) -> bool {
        self.asked.is_some()
    }

    /// Whether a block waits to be overwritten, or is.
    fn concerns(&self, block: BlockIndex) -> bool {
        let mut targets = self.queue.iter().chain(self.jobs.iter().map(|job| &job.target));
        targets.any(|target| target.block == block)
    }

    /// What is past its age and cannot be overwritten now is tried again later.
    fn put_off(&mut self, target: &Target, running_s: u64) {
        self.looks.keep(target.block, target.sequence, running_s);
    }

    /// A write of zeros, or of a void chunk's header, failed twice.
    pub(super) fn write_failed(&mut self, block: BlockIndex) {
        for job in self.jobs.iter_mut().filter(|job| job.take.block == block) {
            job.failed = true;
        }
    }
}

impl<D: Disk> Engine<D> {
    /// Whether rounds should follow each other soon.
    pub(crate) fn is_erasing(&self) -> bool {
        self.erasing.is_urgent() && self.is_well()
    }

    /// A part of the work, before a round's record is made.
    pub(super) fn erase_some(&mut self) {
        let mut jobs = std::mem::take(&mut self.erasing.jobs);
        let (jobs_max, mut budget) = self.erasing_pace();
        // What a crash left may be much, and is read first.
        let (mut covers, running_s) = (jobs_max, self.core.running_seconds());
        jobs.retain_mut(|job| {
            match job.stage {
                _ if job.failed => return self.give_up(job),
                None => {}
                Some(Stage::Named) if job.covered || covers == 0 || running_s < job.again_s => {}
                Some(Stage::Named) => {
                    covers -= 1;
                    return self.cover_block(job);
                }
                Some(Stage::Covered) => self.wipe(job, &mut budget),
                Some(Stage::Wiped) => return self.finish_block(job),
            }
            true
        });
        self.erasing.jobs = jobs;
        while self.begin_job(jobs_max) {}
    }

    /// How many blocks are worked on at a time, and how much is overwritten in a round, in bytes: more than is recorded, or what
    /// is past its age would never be.
    pub(crate) fn erasing_pace(&self) -> (usize, usize) {
        // A block takes some rounds.
        const JOBS_A_BLOCK: usize = 8;
        const JOBS_MAX: usize = 64;
        const ROUND_BYTES_MAX: usize = 128 << 20;
        let recorded: usize = self.streams.iter().map(Stream::pace_bytes).sum();
        let jobs = recorded.saturating_mul(JOBS_A_BLOCK) / self.core.geometry.block_bytes;
        let bytes = if self.erasing.closing { ROUND_BYTES_MAX } else { recorded.saturating_mul(2) };
        (jobs.clamp(JOBS, JOBS_MAX), bytes.clamp(ROUND_BYTES, ROUND_BYTES_MAX))
    }

    /// Names the next block that waits, if fewer than `jobs_max` are worked on; `false` if there is none, or no room for it in the
    /// record. What a crash left is begun at once: the next record must name all of it.
    fn begin_job(&mut self, jobs_max: usize) -> bool {
        let (named_max, granted_max, _) = record_capacity(self.core.geometry.streams_max);
        if self.core.named.len() + self.streams.len() >= named_max {
            return false;
        }
        // One after the other, each with the row that the one before left.
        let done = |block| self.erasing.done.contains(&block);
        let working = |block| {
            let mut jobs = self.erasing.jobs.iter().filter(|job| !job.is_stuck());
            done(block) || jobs.any(|job| job.take.block == block)
        };
        let has_room = self.erasing.jobs.iter().filter(|job| !job.is_stuck()).count() < jobs_max;
        let may = |target: &Target| !working(target.block) && (has_room || target.what == What::Begun);
        let next = self.erasing.queue.iter().position(may);
        let Some((next, target)) = next.zip(next.and_then(|next| self.erasing.queue.get(next))) else {
            return false;
        };
        // Streams must find room for blocks of their own, and for their rows.
        let taken = self.streams.len() + granted_max + self.erasing.dead_jobs();
        let taken = if planted!(ErasingFillsRecord) { 0 } else { taken };
        let has_room = match target.what {
            What::Begun => self.core.record_has_room_for_row_of(target.block),
            _ => self.core.record_keeps_room_for_rows(taken),
        };
        if !has_room {
            return self.tell_of_no_room();
        }
        let Some(target) = self.erasing.queue.remove(next) else { return false };
        // The record must keep room for rows that the table does not take.
        let refused = target.what != What::Begun && self.core.ledger.is_refused(target.block);
        if refused || self.erasing.is_stuck(target.block) || self.parted(&target) {
            self.not_told(&target);
            return true;
        }
        let row = self.core.ledger.row(target.block).clone();
        if target.dead {
            // Nothing reads it: it needs no name in the record, and no void chunk.
            let take = Take { block: target.block, sequence: row.sequence, stream: target.stream };
            // Its header goes last: without it nobody finds the block again.
            let rest = VecDeque::from([(self.core.geometry.page_bytes, self.core.geometry.block_bytes)]);
            let stage = Some(Stage::Covered);
            self.erasing.jobs.push(Job { stage, rest, ..Job::new(target, take, row) });
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
                self.withhold(&target, row);
            }
            self.block_done(&target);
            return true;
        };
        let take = Take { block: target.block, sequence: row.sequence, stream: row.stream };
        self.core.ledger.reserve(&BTreeSet::from([target.block]));
        self.core.reopen(&take, stream, row.used_bytes as usize);
        self.erasing.jobs.push(Job::new(target, take, row));
        true
    }

    /// Nothing more is written to a block: its row is what stands there now. `false`: the job is over.
    fn finish_block(&mut self, job: &mut Job) -> bool {
        if job.target.dead {
            if !job.failed && !job.covered {
                job.covered = true;
                job.rest.push_back((0, self.core.geometry.page_bytes));
                job.stage = Some(Stage::Covered);
                return true;
            }
            let bad = job.before.state == BlockState::Bad || job.failed && self.may_withdraw();
            let state = if bad { BlockState::Bad } else { BlockState::Free };
            // What stands there still is known for what was given up.
            let left = job.failed && !planted!(GivenUpEraseForgotten);
            let sequence = if left { job.target.sequence } else { Sequence(0) };
            self.core.ledger.settle(job.take.block, Row { state, sequence, ..Row::default() });
            self.block_done(&job.target);
            return false;
        }
        if job.voids.is_empty() && !job.failed {
            // All of it was held by the time its turn came.
            self.core.block_ended(job.take.block, job.before.clone());
            self.block_done(&job.target);
            return false;
        }
        let old = self.core.ledger.row(job.take.block).clone();
        let used = job.voids.iter().map(ends).fold(old.used_bytes as usize, usize::max);
        let stop = Some(old.last_chunk().next());
        let progress = examine(&self.core.scanner(), &job.take, used, stop).progress;
        let found = (progress.row.first_chunk, progress.row.chunks, progress.row.last_checksum);
        let is_whole = found == (old.first_chunk, old.chunks, old.last_checksum);
        if !is_whole && job.tries < cover::TRIES {
            job.tries += 1;
            return true;
        }
        let rank = old.rank.max(progress.row.rank);
        let is_done = is_whole && !job.failed && is_voided(&old, &progress.footer);
        let mut row = match is_whole {
            true => Row { state: state_of(&progress, false), rank, ..progress.row },
            // It cannot be read now: what was known when it was covered is.
            false => {
                let after = Row { state: BlockState::Sealed, flags: old.flags | PART_VOID, ..old };
                job.after.clone().unwrap_or(after)
            }
        };
        row.flags |= NO_FOOTER;
        if !is_done {
            row.withhold_as(&old);
        }
        if job.failed && self.may_withdraw() {
            row.state = BlockState::Bad;
        }
        if let Some((from, to)) = job.withheld(&old).filter(|_| job.failed) {
            self.withhold_alone(job.take.block, &mut row, from, to);
        }
        self.core.block_ended(job.take.block, row);
        self.block_done(&job.target);
        false
    }

    /// Whether blocks may be begun to be overwritten.
    pub(super) fn may_erase(&self) -> bool {
        self.manner == Manner::Record && !self.erasing.closing
    }

    /// One block less to wait for. It may be taken once its row is settled.
    fn block_done(&mut self, target: &Target) {
        self.erasing.done.insert(target.block);
        if let Some((_, _, blocks)) = &mut self.erasing.asked
            && target.what.is_asked()
        {
            blocks.remove(&target.block);
        }
    }

    /// A round was flushed: each job is one stage further, and what was asked for may be over.
    pub(super) fn erasing_flushed(&mut self) {
        for block in std::mem::take(&mut self.erasing.done) {
            if !self.erasing.concerns(block) {
                self.core.ledger.unreserve(block);
            }
        }
        for job in &mut self.erasing.jobs {
            job.stage = match job.stage {
                // It is not as far as it would be.
                stage if job.failed && !planted!(RefusedTakenForFlushed) => stage,
                None => Some(Stage::Named),
                Some(Stage::Named) if job.covered => Some(Stage::Covered),
                Some(Stage::Named) => Some(Stage::Named),
                Some(_) if job.rest.is_empty() => Some(Stage::Wiped),
                stage => stage,
            };
        }
        let over = |(_, erased, blocks): &mut (StreamId, Erased, BTreeSet<BlockIndex>)| {
            blocks.is_empty().then_some(*erased)
        };
        // The rows of the last blocks were settled with this flush: what is erased shows in the blocks, what is withheld in a record.
        let tells = self.erasing.failed.is_none() || self.erasing.over || planted!(WithheldToldEarly);
        if let Some(erased) = self.erasing.asked.as_mut().and_then(over) {
            self.erasing.over = !tells;
            if !tells {
                return;
            }
            self.erasing.asked = None;
            self.erasing.answer = Some(match self.erasing.failed.take() {
                None => Ok(erased),
                Some(error) => Err(error),
            });
        }
    }

    /// The volume closes: what was begun is finished, what was not is left, and whoever asked is told.
    pub(super) fn stop_erasing(&mut self) {
        self.erasing.closing = !planted!(ErasingBegunWhileClosing);
        for mut job in std::mem::take(&mut self.erasing.jobs) {
            if job.is_stuck() {
                // It is read once more.
                (job.tries, job.again_s) = (cover::TRIES - 1, 0);
            }
            // What a crash left stays named until it is overwritten, whoever does that.
            let covered = if planted!(ErasingLeftHalfway) { false } else { job.covered };
            let begun = covered || job.target.what == What::Begun || planted!(ErasingBegunWhileClosing);
            if begun || job.target.dead || job.failed {
                self.erasing.jobs.push(job);
                continue;
            }
            self.core.block_ended(job.take.block, job.before.clone());
            self.block_done(&job.target);
        }
        for target in std::mem::take(&mut self.erasing.queue) {
            self.core.ledger.unreserve(target.block);
        }
        if self.erasing.asked.take().is_some() && !planted!(StoppedErasureNotTold) {
            let why = "it was closed while footage was being erased: some of it is, erase again".to_owned();
            self.erasing.answer = Some(Err(Error::Stopped(why)));
        }
    }
}

fn ends(void: &ChunkHeader) -> usize {
    void.offset as usize + void.bytes as usize
}
