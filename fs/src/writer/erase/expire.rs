//! Footage past its stream's maximum age: looked for once a minute of running time, a few blocks at a time, and queued to be
//! overwritten. When it is past, and by which clock, is decided in [`crate::retention::age`].

use super::{Erasing, Target, What};
use crate::disk::Disk;
use crate::format::footer::Footer;
use crate::format::table::Row;
use crate::report::BlockState;
use crate::retention::age::{Limit, Over, is_due, over};
use crate::retention::erase::{Goes, expired};
use crate::types::{BlockIndex, Sequence, StreamId, WallTime};
use crate::writer::engine::Engine;
use std::collections::BTreeMap;

/// How often it is looked for, in seconds of running time.
const LOOK_S: u64 = 60;
/// How many blocks are looked into at a time: recording waits that long.
const LOOKS_AT_ONCE: usize = 8;
/// After how long a block is looked into again of which nothing went, for all of it is held, in seconds of running time.
const AGAIN_S: u64 = 3600;

/// What was looked at.
#[derive(Default)]
pub(super) struct Looks {
    /// When to look again, in seconds of running time.
    next_s: u64,
    /// Blocks that are due and of which nothing goes now: their takes, and when they were looked into.
    kept: BTreeMap<BlockIndex, (Sequence, u64)>,
}

impl Looks {
    pub(super) fn keep(&mut self, block: BlockIndex, sequence: Sequence, running_s: u64) {
        self.kept.insert(block, (sequence, running_s));
    }

    fn is_kept(&self, block: BlockIndex, row: &Row, running_s: u64) -> bool {
        self.kept.get(&block).is_some_and(|(sequence, at)| {
            *sequence == row.sequence && running_s.saturating_sub(*at) < AGAIN_S
        })
    }
}

impl Erasing {
    fn looks_for_expired(&self, running_s: u64) -> bool {
        self.queue.is_empty() && running_s >= self.looks.next_s
    }
}

impl<D: Disk> Engine<D> {
    /// Queues some of the blocks of which something is past its stream's maximum age, once a round.
    pub(in crate::writer) fn look_for_expired(&mut self) {
        let running_s = self.running_seconds();
        if !self.may_erase() || !self.erasing.looks_for_expired(running_s) {
            return;
        }
        let aged: Vec<(usize, StreamId)> =
            self.streams.iter().enumerate().map(|(index, stream)| (index, stream.id)).collect();
        let mut left = LOOKS_AT_ONCE;
        for (index, stream) in aged {
            if left > 0
                && let Some(limit) = self.limit_of(stream, self.ages().trusted)
            {
                self.end_expired(index, &limit);
                self.queue_expired(stream, &limit, &mut left);
            }
        }
        // Where there were many there are more.
        self.erasing.looks.next_s = if left > 0 { running_s + LOOK_S } else { running_s };
    }

    fn queue_expired(&mut self, stream: StreamId, limit: &Limit, left: &mut usize) {
        let running_s = self.running_seconds();
        let ledger = &self.core.ledger;
        let settled = |row: &Row| matches!(row.state, BlockState::Sealed | BlockState::Parked);
        let parked = self.streams.iter().find(|one| one.id == stream).and_then(|stream| stream.parked());
        let rows = ledger.rows_behind(stream, Sequence(0), 0);
        let ruled = over(&rows.iter().map(|(_, row)| *row).collect::<Vec<_>>(), limit);
        let due = rows.into_iter().zip(ruled).filter(|((block, row), over)| {
            is_due(row, *over)
                && settled(row)
                && parked != Some(*block)
                && !self.core.named.contains_key(block)
                && !self.erasing.concerns(*block)
                && !self.erasing.looks.is_kept(*block, row, running_s)
        });
        let due = due.take(*left).map(|((block, row), over)| (block, row.clone(), over));
        let due: Vec<(BlockIndex, Row, Over)> = due.collect();
        *left -= due.len();
        for (block, row, over) in due {
            let all = over.takes(row.wall_max) && !self.core.ledger.guard().covers(&row);
            if !all && self.expired_in(&row, &self.contents(block, &row), over) == Goes::Nothing {
                self.erasing.looks.keep(block, row.sequence, running_s);
                continue;
            }
            self.erasing.looks.kept.remove(&block);
            let (sequence, what) = (row.sequence, What::Expired(over));
            self.erasing.queue.push_back(Target { block, sequence, stream, what, dead: false });
        }
    }

    /// Ends the block that a stream writes, or would resume, if some of it is due: nothing is written behind what was
    /// overwritten.
    fn end_expired(&mut self, index: usize, limit: &Limit) {
        let Some(stream) = self.streams.get(index) else { return };
        let mut rows: Vec<&Row> =
            self.core.ledger.rows_behind(stream.id, Sequence(0), 0).into_iter().map(|(_, row)| row).collect();
        let parked = stream.parked().map(|block| self.core.ledger.row(block).sequence);
        let grown = stream.open_row().map(|(_, row)| row);
        rows.retain(|row| grown.is_none_or(|grown| grown.sequence != row.sequence));
        rows.extend(grown);
        let ruled = over(&rows, limit);
        let due = |sequence| {
            let mut all = rows.iter().zip(&ruled);
            all.any(|(row, over)| row.sequence == sequence && is_due(row, *over))
        };
        let open = grown.is_some_and(|row| due(row.sequence));
        let parked = parked.is_some_and(due);
        if let Some(stream) = self.streams.get_mut(index) {
            if open {
                stream.end_block(&mut self.core);
            }
            if parked {
                stream.leave_parked();
            }
        }
    }

    /// What of a block goes because it is past its stream's maximum age: never what is held, or what a lost hold may have kept.
    pub(super) fn expired_in(&self, row: &Row, footer: &Footer, over: Over) -> Goes {
        expired(row, footer, over, self.core.ledger.guard())
    }

    /// What is known of a stream's maximum age, if it has one, when a clock says `now`.
    pub(in crate::writer) fn limit_of(&self, stream: StreamId, now: Option<WallTime>) -> Option<Limit> {
        let maximum_age_s = self.core.ledger.maximum_age_s(stream);
        let running_s = self.running_seconds();
        (maximum_age_s > 0).then_some(Limit { maximum_age_s, now, running_s, by_stamps: false })
    }
}
