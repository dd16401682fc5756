//! Holds after a round that was flushed: what has expired ends, what waits begins, what is over is settled, what outgrew its
//! room is cut short.

use super::rows::open_end;
use super::slots::Watch;
use crate::disk::Disk;
use crate::format::geometry::record_capacity;
use crate::hold::{Hold, Slot, end_of, extend, has_expired, is_over, may_touch};
use crate::types::{ChunkNumber, WallTime};
use crate::writer::engine::Engine;
use std::time::Duration;

/// How many holds change in one round at most: each change is written and flushed twice.
const CHANGES_A_ROUND: usize = 2;
/// How many blocks before those that are new a range is resolved in.
const BLOCKS_BEFORE: usize = 80;

impl<D: Disk> Engine<D> {
    /// Tends the holds.
    pub(in crate::writer) fn tend_holds(&mut self) {
        self.write_due_slots(super::SLOTS_AT_ONCE);
        self.mark_rows();
        let (now, running_s) = (self.core.clock.wall(), self.running_seconds());
        let mut changes = 0;
        let in_force = self.holds.in_force();
        for (index, hold) in &in_force {
            if changes >= CHANGES_A_ROUND {
                break;
            }
            let next = if has_expired(hold, now, running_s) {
                tracing::info!(id = %hold.id, label = %hold.label, "a hold has expired");
                Some(Slot::Free)
            } else if hold.growing {
                self.grown(hold, now, running_s).map(Slot::Held)
            } else {
                None
            };
            if let Some(next) = next {
                changes += 1;
                self.change(*index, next);
            }
        }
        let growing = |id| in_force.iter().any(|(_, hold)| hold.id == id && hold.growing);
        self.holds.watches.retain(|id, _| growing(*id));
        if self.room_is_outdated() || changes > 0 {
            self.refresh_room();
            self.cut_short();
        }
    }

    /// Lets something else stand in a slot, from now on. On the disk only after a record without the grants that are withdrawn
    /// for it was flushed.
    fn change(&mut self, index: usize, next: Slot) {
        self.holds.put(index, next, self.core.round);
        let withdrawn = self.core.ledger.protect(self.holds.guard());
        if !withdrawn {
            let _copies = self.write_slot(index);
        }
    }

    /// A hold that grows as it should be now, if that differs.
    fn grown(&mut self, hold: &Hold, now: WallTime, running_s: u64) -> Option<Hold> {
        let watch = self.holds.watches.get(&hold.id).copied().unwrap_or_default();
        let fresh = self.rows_behind(hold.stream, watch.seen, 0);
        let mut next = hold.clone();
        let open = next.spans.last().copied().filter(|span| span.last_chunk.is_none());
        let known = next.spans.last().and_then(|span| span.last_chunk).unwrap_or_default();
        if open.is_none()
            && fresh.iter().any(|(_, row)| row.last_chunk() > known && may_touch(row, hold.range))
        {
            let rows = self.rows_behind(hold.stream, watch.seen, BLOCKS_BEFORE);
            let found = self.resolve_in(&rows, hold.range);
            extend(&mut next.spans, found.into_iter().filter(|span| span.last_chunk > Some(known)));
            open_end(&mut next, &rows);
        }
        let newest = self.newest_moment_of(hold.stream);
        let looks_over = is_over(hold, now, running_s, newest, Duration::MAX) && self.is_idle(hold.stream);
        let good = self.holds.good();
        let over_since = looks_over.then(|| watch.over_since.unwrap_or(good));
        let waited = over_since.map_or(Duration::ZERO, |since| good.saturating_sub(since));
        if is_over(hold, now, running_s, newest, waited) {
            next.growing = false;
            self.close_end(&mut next);
        }
        // The newest block may still grow, those before it do not.
        let seen = fresh.iter().rev().nth(1).map_or(watch.seen, |(_, row)| row.sequence);
        self.holds.watches.insert(hold.id, Watch { seen, over_since });
        (next != *hold).then_some(next)
    }

    /// Gives the last span its end: where the range ends.
    fn close_end(&self, hold: &mut Hold) {
        let range = hold.range;
        let rows = self.rows_of(hold.stream);
        if let Some(span) = hold.spans.last_mut().filter(|span| span.last_chunk.is_none()) {
            let end = end_of(&rows, span.first_chunk, range, &mut |block, row| self.contents(block, row));
            let (last_chunk, last_run) = end.unwrap_or((span.first_chunk, span.first_run));
            (span.last_chunk, span.last_run) = (Some(last_chunk), Some(last_run));
        }
    }

    /// Ends holds for which there is no more room, the latest first, so that recording goes on: those that outgrew what was set
    /// aside for them, and where more is held than may be (blocks were withdrawn since), any that grows.
    fn cut_short(&mut self) {
        let mut growing: Vec<_> = self.holds.in_force();
        growing.retain(|(_, hold)| hold.growing && !hold.spans.is_empty());
        growing.sort_by_key(|(_, hold)| std::cmp::Reverse(hold.created));
        for (index, hold) in growing {
            let room = self.holds.room;
            let too_much = room.held_blocks > room.blocks_max && !planted!(ReservedNeverCut);
            let promised = room.held_blocks.saturating_add(room.reserved_blocks) > room.blocks_max;
            let outgrown = promised && self.covered_by(&hold) > hold.reserved_blocks;
            if !too_much && !outgrown {
                continue;
            }
            let newest =
                self.rows_of(hold.stream).last().map_or(ChunkNumber(u64::MAX), |(_, row)| row.first_chunk);
            let mut next = Hold { growing: false, cut_short: true, ..hold };
            if let Some(span) = next.spans.last_mut().filter(|span| span.last_chunk.is_none()) {
                let last = ChunkNumber(newest.0.saturating_sub(1)).max(span.first_chunk);
                (span.last_chunk, span.last_run) = (Some(last), None);
            }
            tracing::error!(id = %next.id, label = %next.label, "the volume has no room to hold more: the hold ends here");
            self.change(index, Slot::Held(next));
            self.refresh_room();
        }
    }

    /// Marks rows as held, or no longer held, as far as the next record has room for it.
    fn mark_rows(&mut self) {
        let (_, _, rows_max) = record_capacity(self.core.geometry.streams_max);
        let waiting = self.core.ledger.rows_waiting();
        self.core.ledger.mark((rows_max / 4).saturating_sub(waiting));
    }
}
