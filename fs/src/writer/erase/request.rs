//! Erasing on request: what is asked for is found out and refused or queued, all of it, before anything is written.

use super::{EraseRequest, Target, What};
use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::format::footer::Footer;
use crate::format::table::Row;
use crate::hold::may_touch;
use crate::recover::given_up;
use crate::report::TimeRange;
use crate::retention::erase::{
    Erased, Goes, goes, is_numbered, is_within, keeper, moments_around, numbers, was_begun,
};
use crate::scan::{Take, count};
use crate::types::{BlockIndex, StreamId};
use crate::writer::engine::Engine;
use std::collections::BTreeSet;

fn asked(take: Take, range: TimeRange, dead: bool) -> Target {
    let Take { block, sequence, stream } = take;
    Target { block, sequence, stream, what: What::Asked(range), dead }
}

/// What a disk cannot be used for where it fails.
const TO_ERASE: &str = "erase footage on";

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
        let (mut targets, erased) = self.plan_settled(stream, range)?;
        targets.extend(self.dead_blocks(stream, range));
        if targets.is_empty() {
            return Err(self.not_recorded(stream));
        }
        let blocks: BTreeSet<BlockIndex> = targets.iter().map(|target| target.block).collect();
        // What was set aside of it is taken back; it is whole, and nobody else may get it now.
        let withdrawn = self.core.ledger.reserve(&blocks);
        self.erasing.asked = Some((stream, erased, blocks.clone()));
        if withdrawn && let Err(error) = self.round_within(TO_ERASE) {
            self.erasing.asked = None;
            blocks.iter().for_each(|block| self.release(*block));
            return Err(error);
        }
        (self.erasing.failed, self.erasing.answer) = (None, None);
        self.erasing.queue.extend(targets);
        Ok(())
    }

    /// What an erasure comes to, once nothing of the stream waits in memory, where it would come to the disk behind what is erased,
    /// and once a block that goes is not written any more, so that it has a row. Where ending it fails its newest chunks move to
    /// another block, which is to be ended, too.
    fn plan_settled(&mut self, stream: StreamId, range: TimeRange) -> Result<(Vec<Target>, Erased)> {
        const ENDS_MAX: usize = 4;
        for _ in 0..ENDS_MAX {
            self.flush_out(stream, TO_ERASE)?;
            if !self.is_idle(stream) {
                break;
            }
            let plan = self.plan_erase(stream, range)?;
            if !self.end_blocks(stream, &plan.0)? {
                return Ok(plan);
            }
        }
        Err(self.disk_error("flush what waits in memory, and then erase, on"))
    }

    /// A block that is not to be overwritten after all may be taken, unless it is for another reason.
    fn release(&mut self, block: BlockIndex) {
        if !self.erasing.concerns(block) && !planted!(ReservedForGood) {
            self.core.ledger.unreserve(block);
        }
    }

    /// What an erasure comes to, or why it is refused. Only blocks of which a part goes are read, and those of which an erasure
    /// before this one left something: whoever asks again waits for them, or is told again.
    fn plan_erase(&self, stream: StreamId, range: TimeRange) -> Result<(Vec<Target>, Erased)> {
        let (mut targets, mut erased) = <(Vec<Target>, Erased)>::default();
        let (holds, begun) = (self.holds.all(), self.erasing.begun());
        let was_left = |block: &BlockIndex, row: &Row| {
            (row.withheld > 0 || begun.contains(block)) && !planted!(HalfErasedForgotten)
        };
        let mut rows = self.rows_of(stream);
        let live: BTreeSet<BlockIndex> = rows.iter().map(|(block, _)| *block).collect();
        let all = self.core.geometry.all_blocks().map(|block| (block, self.core.ledger.row(block)));
        let mine = all.filter(|(block, row)| row.stream == stream && !live.contains(block));
        let void = mine.filter(|(block, row)| !row.is_live() && was_left(block, row));
        rows.extend(void.map(|(block, row)| (block, row.clone())));
        rows.sort_by_key(|(_, row)| row.sequence);
        for (index, (block, row)) in rows.iter().enumerate() {
            let (touches, left) = (may_touch(row, range), was_left(block, row));
            if !touches && !left {
                continue;
            }
            let within = touches && is_within(row, range);
            let footer = if within { Footer::default() } else { self.contents(*block, row) };
            // Where damage hides chunks, one of them may be meant: whether it is shows when the block's turn comes.
            let hidden = touches && !within && !is_numbered(row, &footer);
            let goes = if within { Goes::All } else { goes(&footer, range) };
            let again = || left && was_begun(row, &footer, range, moments_around(&rows, index));
            if goes == Goes::Nothing && !hidden && !again() {
                continue;
            }
            let numbers = numbers(row, &footer, if hidden { &Goes::All } else { &goes });
            if let Some(hold) = keeper(&holds, row, &numbers) {
                return Err(Error::Held { id: hold.id, label: hold.label.clone() });
            }
            if !numbers.is_empty() && self.core.ledger.may_be_held(row) {
                let lost = holds.iter().find(|hold| hold.lost).map(|hold| hold.id).unwrap_or_default();
                return Err(Error::Held { id: lost, label: "a hold that was lost".to_owned() });
            }
            match within {
                true => erased.add_all(row),
                false => erased.add(&footer, &goes),
            }
            let take = Take { block: *block, sequence: row.sequence, stream };
            let (samples, payload_bytes) =
                count(&self.core.scanner(), &take, row, &footer, &goes).unwrap_or_default();
            erased.samples += samples;
            erased.payload_bytes += payload_bytes;
            targets.push(asked(take, range, false));
        }
        Ok((targets, erased))
    }

    /// Blocks that were given up after a crash and may still hold footage of a range.
    fn dead_blocks(&self, stream: StreamId, range: TimeRange) -> Vec<Target> {
        let ledger = &self.core.ledger;
        let free = self.core.geometry.all_blocks().map(|block| (block, ledger.row(block)));
        let set_aside = ledger.grants().map(|grant| (grant.block, &grant.before));
        let takes = given_up(&self.core.scanner(), free.chain(set_aside), stream, range);
        takes.into_iter().map(|take| asked(take, range, true)).collect()
    }

    /// What came of an erasure that was asked for, once it is over.
    pub(crate) fn take_erased(&mut self) -> Option<Result<Erased>> {
        self.erasing.answer.take()
    }

    /// Whether an erasure of this stream is under way.
    pub(in crate::writer) fn is_erased(&self, stream: StreamId) -> bool {
        self.erasing.asked.as_ref().is_some_and(|(of, ..)| *of == stream)
    }

    /// Ends the block that a stream writes, or would resume, if some of it goes: nothing is written behind what was erased.
    /// Whether there was one that was being written.
    fn end_blocks(&mut self, stream: StreamId, targets: &[Target]) -> Result<bool> {
        let Some(index) = self.streams.iter().position(|one| one.id == stream) else { return Ok(false) };
        let goes = |block: BlockIndex| targets.iter().any(|target| target.block == block);
        let open = self.streams[index].open_row().is_some_and(|(block, _)| goes(block));
        if open {
            self.streams[index].end_block(&mut self.core);
        }
        if self.streams[index].parked().is_some_and(goes) {
            self.streams[index].leave_parked();
        }
        if open {
            self.round_within(TO_ERASE)?;
        }
        Ok(open)
    }
}
