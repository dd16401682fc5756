//! Footage past its stream's maximum age: looked for once a minute of running time, a few blocks at a time, and queued to be
//! overwritten. When it is past, and by which clock, is decided in [`crate::retention::age`].

use super::{Erasing, Target, What};
use crate::disk::Disk;
use crate::format::footer::Footer;
use crate::format::table::Row;
use crate::report::BlockState;
use crate::retention::age::{Limit, is_due};
use crate::retention::erase::{Goes, expired};
use crate::types::{BlockIndex, Sequence, StreamId};
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
        if !self.erasing.looks_for_expired(running_s) || self.ages().trusted.is_none() {
            return;
        }
        let aged: Vec<(usize, StreamId)> =
            self.streams.iter().enumerate().map(|(index, stream)| (index, stream.id)).collect();
        let mut left = LOOKS_AT_ONCE;
        for (index, stream) in aged {
            if self.limit_of(stream).is_some() && left > 0 {
                self.end_expired(index);
                self.queue_expired(stream, &mut left);
            }
        }
        // Where there were many there are more.
        self.erasing.looks.next_s = if left > 0 { running_s + LOOK_S } else { running_s };
    }

    fn queue_expired(&mut self, stream: StreamId, left: &mut usize) {
        let Some(limit) = self.limit_of(stream) else { return };
        let running_s = self.running_seconds();
        let ledger = &self.core.ledger;
        let settled = |row: &Row| matches!(row.state, BlockState::Sealed | BlockState::Parked);
        let parked = self.streams.iter().find(|one| one.id == stream).and_then(|stream| stream.parked());
        let due = ledger.rows_behind(stream, Sequence(0), 0).into_iter().filter(|(block, row)| {
            settled(row)
                && parked != Some(*block)
                && !self.core.named.contains_key(block)
                && !self.erasing.concerns(*block)
                && !self.erasing.looks.is_kept(*block, row, running_s)
                && is_due(row, &limit)
        });
        let due: Vec<(BlockIndex, Row)> = due.take(*left).map(|(block, row)| (block, row.clone())).collect();
        *left -= due.len();
        for (block, row) in due {
            let footer = self.contents(block, &row);
            if self.expired_in(&row, &footer) == Goes::Nothing {
                self.erasing.looks.kept.insert(block, (row.sequence, running_s));
                continue;
            }
            self.erasing.looks.kept.remove(&block);
            let (sequence, what) = (row.sequence, What::Expired);
            self.erasing.queue.push_back(Target { block, sequence, stream, what, dead: false });
        }
    }

    /// Ends the block that a stream writes, or would resume, if some of it is due: nothing is written behind what was
    /// overwritten.
    fn end_expired(&mut self, index: usize) {
        let Some(stream) = self.streams.get(index) else { return };
        let Some(limit) = self.limit_of(stream.id) else { return };
        let open = stream.open_row().is_some_and(|(_, row)| is_due(row, &limit));
        let parked = stream.parked().is_some_and(|block| is_due(self.core.ledger.row(block), &limit));
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
    pub(super) fn expired_in(&self, row: &Row, footer: &Footer) -> Goes {
        let Some(limit) = self.limit_of(row.stream) else { return Goes::Nothing };
        let guard = self.core.ledger.guard();
        expired(row, footer, &limit, guard)
    }

    /// What the clocks say of a stream's maximum age, if it has one.
    fn limit_of(&self, stream: StreamId) -> Option<Limit> {
        let maximum_age_s = self.core.ledger.maximum_age_s(stream);
        let made = self.superblock.created;
        (maximum_age_s > 0).then(|| Limit { maximum_age_s, ages: self.ages(), made })
    }
}
