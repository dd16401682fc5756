//! Holds on the writer's side: made, tended and lifted between rounds, on the writer's own thread, so that no block is granted
//! or taken meanwhile. What they mean, and the invariants: [`crate::hold`].

use super::engine::{Engine, write_flushed};
use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::format::Framed;
use crate::format::geometry::record_capacity;
use crate::format::hold::HoldSlot;
use crate::format::table::Row;
use crate::hold::{
    Guard, HOLD_LABEL_BYTES_MAX, HeldSpan, Hold, HoldRequest, HoldRoom, Slot, Use, end_of, extend,
    has_expired, has_footage, is_over, may_touch, reserve, resolve, room, seconds_between, slot_of,
};
use crate::recover::{FoundHolds, contents};
use crate::report::{BlockState, TimeRange};
use crate::types::{BlockIndex, ChunkNumber, HoldId, StreamId, StreamName, WallTime};
use std::collections::BTreeMap;

/// The holds of a volume that is written.
pub(super) struct Holds {
    /// What stands in each slot, and of which generation.
    slots: Vec<(Slot, u64)>,
    /// The newest generation that was flushed in both copies.
    pub(super) generation: u64,
    /// The newest that was begun to be written.
    attempted: u64,
    /// A hold that is about to be made.
    pending: Option<Hold>,
    /// How much is held.
    pub(super) room: HoldRoom,
    /// For how many streams that was found out.
    room_for_streams: Option<usize>,
}

impl Holds {
    /// The holds as found.
    pub(super) fn new(found: &FoundHolds) -> Holds {
        Holds {
            slots: found.slots.clone(),
            generation: found.generation,
            attempted: found.generation,
            pending: None,
            room: HoldRoom::default(),
            room_for_streams: None,
        }
    }

    fn all(&self) -> Vec<Hold> {
        self.slots.iter().filter_map(|(slot, _)| slot.hold()).chain(self.pending.clone()).collect()
    }

    /// What they cover.
    pub(super) fn guard(&self) -> Guard {
        Guard::of(&self.all())
    }

    fn in_force(&self) -> Vec<(usize, Hold)> {
        let held = self.slots.iter().enumerate().filter_map(|(index, (slot, _))| match slot {
            Slot::Held(hold) => Some((index, hold.clone())),
            Slot::Free | Slot::Lost(_) => None,
        });
        held.collect()
    }

    fn free_slot(&self) -> Option<usize> {
        self.slots.iter().position(|(slot, _)| *slot == Slot::Free)
    }
}

impl<D: Disk> Engine<D> {
    /// Brings the copies in line with what was found, and notes for good that a change was lost.
    pub(super) fn repair_holds(&mut self, found: &FoundHolds) -> Result<()> {
        for index in &found.to_repair {
            self.write_slot(*index)?;
        }
        match self.holds.free_slot().filter(|_| found.outdated) {
            Some(free) => self.store(free, Slot::Lost(HoldId::random())),
            None => Ok(()),
        }
    }

    /// Holds a range. When this returns, it survives any crash.
    pub(crate) fn add_hold(&mut self, request: &HoldRequest) -> Result<Hold> {
        self.check_request(request)?;
        let stream = self.stream_of(&request.stream)?;
        let places = self.core.geometry.holds_max;
        let slot = self.holds.free_slot().ok_or(Error::HoldsFull { holds_max: places })?;
        // With a flush, chunks have their final numbers and blocks their rows.
        self.flushed_round()?;
        let hold = self.ask(stream, request);
        if hold.spans.is_empty() && !hold.growing {
            return Err(self.not_recorded(stream));
        }
        let hold = self.with_room(hold)?;
        self.holds.pending = Some(hold.clone());
        let stands = self.enforce().and_then(|()| self.store(slot, Slot::Held(hold.clone())));
        self.holds.pending = None;
        self.core.ledger.protect(self.holds.guard());
        self.holds.room = self.hold_room();
        stands.map(|()| hold)
    }

    /// Lifts a hold, or the mark that one was lost.
    pub(crate) fn lift_hold(&mut self, id: HoldId) -> Result<Hold> {
        let is_it = |(slot, _): &(Slot, u64)| slot.hold().is_some_and(|hold| hold.id == id);
        let index = self.holds.slots.iter().position(is_it).ok_or(Error::NoSuchHold { id })?;
        let lifted = self.holds.slots.get(index).and_then(|(slot, _)| slot.hold());
        self.store(index, Slot::Free)?;
        self.core.ledger.protect(self.holds.guard());
        self.holds.room = self.hold_room();
        lifted.ok_or(Error::NoSuchHold { id })
    }

    fn check_request(&self, request: &HoldRequest) -> Result<()> {
        let now = self.core.clock.wall();
        let wrong = if request.from >= request.to {
            "a hold needs a range that ends after it begins".to_owned()
        } else if request.label.len() > HOLD_LABEL_BYTES_MAX || request.label.contains('\0') {
            format!("a hold's label has at most {HOLD_LABEL_BYTES_MAX} bytes and no zero byte")
        } else if request.expires.is_some_and(|expires| expires <= now) {
            "a hold cannot expire before it is made".to_owned()
        } else {
            return Ok(());
        };
        Err(Error::Invalid(wrong))
    }

    /// The stream of this name.
    pub(super) fn stream_of(&self, name: &StreamName) -> Result<StreamId> {
        let found = self.streams.iter().find(|stream| stream.name == *name);
        found.map(|stream| stream.id).ok_or_else(|| {
            let mut names: Vec<&str> = self.streams.iter().map(|stream| stream.name.as_str()).collect();
            names.sort_unstable();
            let available = if names.is_empty() { "none yet".to_owned() } else { names.join(", ") };
            Error::NoSuchStream { name: name.clone(), available }
        })
    }

    fn not_recorded(&self, stream: StreamId) -> Error {
        let rows = self.rows_of(stream);
        let rows = || rows.iter().map(|(_, row)| row).filter(|row| row.has_samples());
        let first = rows().map(|row| row.wall_min).min();
        Error::NotRecorded { available: first.zip(rows().map(|row| row.wall_max).max()) }
    }

    /// The live blocks of a stream in the order of recording, those that are set aside included: they are still whole.
    fn rows_of(&self, stream: StreamId) -> Vec<(BlockIndex, Row)> {
        let ledger = &self.core.ledger;
        let all = self.core.geometry.all_blocks().map(|block| (block, ledger.row(block)));
        let set_aside = ledger.grants().map(|grant| (grant.block, &grant.before));
        let open = self.streams.iter().filter_map(|stream| stream.open_row());
        let mut rows: BTreeMap<BlockIndex, &Row> = BTreeMap::new();
        // What the streams know is newer than what the table has.
        rows.extend(all.chain(set_aside).chain(open));
        let mine = rows.into_iter().filter(|(_, row)| row.is_live() && row.stream == stream);
        let mut mine: Vec<_> = mine.map(|(block, row)| (block, row.clone())).collect();
        mine.sort_by_key(|(_, row)| row.sequence);
        mine
    }

    fn resolve_in(&self, rows: &[(BlockIndex, Row)], range: TimeRange) -> Vec<HeldSpan> {
        resolve(rows, range, &mut |block, row| self.contents(block, row))
    }

    fn contents(&self, block: BlockIndex, row: &Row) -> crate::format::footer::Footer {
        let open = self.streams.iter().find_map(|stream| stream.open_contents(block));
        open.cloned().unwrap_or_else(|| contents(&self.core.scanner(), block, row).0)
    }

    /// What a request comes to now.
    fn ask(&self, stream: StreamId, request: &HoldRequest) -> Hold {
        let (now, running_s) = (self.core.clock.wall(), self.running_seconds());
        let range = TimeRange { from: Some(request.from), to: Some(request.to) };
        let until_expiry_s = request.expires.map_or(0, |expires| seconds_between(now, expires));
        let mut hold = Hold {
            id: HoldId::random(),
            stream,
            range,
            label: request.label.clone(),
            created: now,
            created_running_s: running_s,
            expires: request.expires,
            expires_running_s: running_s.saturating_add(until_expiry_s),
            ..Hold::default()
        };
        let rows = self.rows_of(stream);
        hold.spans = self.resolve_in(&rows, range);
        hold.growing = !is_over(&hold, now, running_s, newest_moment(&rows));
        if hold.growing {
            open_end(&mut hold, &rows);
        }
        hold
    }

    /// The hold with what is set aside for it, if there is room for all of it.
    fn with_room(&self, hold: Hold) -> Result<Hold> {
        let before = self.hold_room();
        let covered = self.count_covered(&Guard::of([&hold]));
        let with = Guard::of(self.holds.all().iter().chain([&hold]));
        let to_come = if hold.growing {
            let rows = self.rows_of(hold.stream);
            let rows: Vec<&Row> = rows.iter().map(|(_, row)| row).collect();
            reserve(&rows, hold.range, self.core.clock.wall(), self.core.geometry.block_bytes)
        } else {
            0
        };
        let more = self.count_covered(&with).saturating_sub(before.held_blocks);
        let needed_blocks = more.saturating_add(to_come);
        let used = before.held_blocks.saturating_add(before.reserved_blocks);
        if needed_blocks > 0 && used.saturating_add(needed_blocks) > before.blocks_max {
            return Err(Error::NoRoomToHold {
                needed_blocks,
                held_blocks: before.held_blocks,
                reserved_blocks: before.reserved_blocks,
                blocks_max: before.blocks_max,
            });
        }
        Ok(Hold { reserved_blocks: covered.saturating_add(to_come), ..hold })
    }

    /// Blocks that are covered, withdrawn ones left out.
    fn count_covered(&self, guard: &Guard) -> u32 {
        let ledger = &self.core.ledger;
        let rows = self.core.geometry.all_blocks().map(|block| ledger.row(block));
        let set_aside = ledger.grants().map(|grant| &grant.before);
        let open = self.streams.iter().filter_map(|stream| stream.open_row());
        // A block that was resumed stands in both.
        let settled = rows.filter(|row| !matches!(row.state, BlockState::Open | BlockState::Bad));
        let all = settled.chain(set_aside).chain(open.map(|(_, row)| row));
        all.filter(|row| guard.covers(row)).count() as u32
    }

    fn hold_room(&self) -> HoldRoom {
        let ledger = &self.core.ledger;
        let holds = self.holds.all();
        let is_bad = |block: &BlockIndex| ledger.row(*block).state == BlockState::Bad;
        room(&Use {
            blocks: self.core.geometry.blocks,
            bad: self.core.geometry.all_blocks().filter(is_bad).count() as u32,
            streams: self.streams.len(),
            holds_max: self.core.geometry.holds_max,
            held: if holds.is_empty() { 0 } else { self.count_covered(&Guard::of(&holds)) },
            holds: holds.iter().map(|hold| (hold, self.covered_if_growing(hold))).collect(),
        })
    }

    fn covered_if_growing(&self, hold: &Hold) -> u32 {
        if hold.growing { self.count_covered(&Guard::of([hold])) } else { 0 }
    }

    /// Makes the holds count. Grants of what they cover are withdrawn, and that is durable when this returns.
    fn enforce(&mut self) -> Result<()> {
        if self.core.ledger.protect(self.holds.guard()) {
            return self.flushed_round();
        }
        Ok(())
    }

    fn flushed_round(&mut self) -> Result<()> {
        self.round();
        if self.is_well() { Ok(()) } else { Err(self.disk_error("hold footage on")) }
    }

    /// Puts something into a slot, in both copies, each flushed.
    fn store(&mut self, index: usize, slot: Slot) -> Result<()> {
        self.holds.attempted += 1;
        let generation = self.holds.attempted;
        let Some(place) = self.holds.slots.get_mut(index) else { return Ok(()) };
        let before = std::mem::replace(place, (slot, generation));
        if let Err(error) = self.write_slot(index) {
            if let Some(place) = self.holds.slots.get_mut(index) {
                *place = before;
            }
            return Err(error);
        }
        self.holds.generation = generation;
        Ok(())
    }

    /// Writes a slot with its neighbours in the disk's unit; they are as they were, and identical bytes cannot tear.
    fn write_slot(&mut self, index: usize) -> Result<()> {
        let unit = self.core.writes.alignment_bytes().max(HoldSlot::SIZE);
        let per_unit = unit / HoldSlot::SIZE;
        let first = index / per_unit * per_unit;
        for region_at in self.core.geometry.holds_at() {
            if planted!(HoldNotWritten) {
                continue;
            }
            let mut buffer = self.core.writes.buffer(unit);
            let slots = self.holds.slots.iter().enumerate().skip(first);
            for ((index, (slot, generation)), place) in slots.zip(buffer.chunks_exact_mut(HoldSlot::SIZE)) {
                slot_of(slot, self.core.volume, index, *generation).seal(place);
            }
            let at = region_at + (first * HoldSlot::SIZE) as u64;
            write_flushed(&mut self.core.writes, at, buffer, "write the holds of", &self.path)?;
        }
        Ok(())
    }

    /// After a round that was flushed: what has expired ends, what waits begins, what is over is settled.
    pub(super) fn tend_holds(&mut self) {
        self.mark_rows();
        let holds = self.holds.in_force();
        let (now, running_s) = (self.core.clock.wall(), self.running_seconds());
        let mut changed = false;
        for (index, hold) in &holds {
            let next = if has_expired(hold, now, running_s) {
                tracing::info!(id = %hold.id, label = %hold.label, "a hold has expired");
                Some(Slot::Free)
            } else if hold.growing {
                self.grown(hold, now, running_s).map(Slot::Held)
            } else {
                None
            };
            changed |= next.is_some_and(|next| self.change(*index, next));
        }
        let streams = self.streams.len();
        if changed
            || self.holds.room_for_streams != Some(streams)
            || holds.iter().any(|(_, hold)| hold.growing)
        {
            self.holds.room = self.hold_room();
            self.holds.room_for_streams = Some(streams);
            self.cut_short();
        }
    }

    /// Puts something into a slot and makes it count; whether that succeeded. If not, the next round tries again.
    fn change(&mut self, index: usize, next: Slot) -> bool {
        if let Err(error) = self.store(index, next) {
            tracing::warn!(%error, "the holds cannot be written; the next round tries again");
            return false;
        }
        self.core.ledger.protect(self.holds.guard());
        true
    }

    /// A hold that grows as it should be now, if that differs.
    fn grown(&self, hold: &Hold, now: WallTime, running_s: u64) -> Option<Hold> {
        let rows = self.rows_of(hold.stream);
        let mut next = hold.clone();
        let open = next.spans.last().copied().filter(|span| span.last_chunk.is_none());
        let known = next.spans.last().and_then(|span| span.last_chunk).unwrap_or_default();
        let newer = |(_, row): &(BlockIndex, Row)| row.last_chunk() > known && may_touch(row, hold.range);
        if open.is_none() && rows.iter().any(newer) {
            let found = self.resolve_in(&rows, hold.range);
            extend(&mut next.spans, found.into_iter().filter(|span| span.last_chunk > Some(known)));
            open_end(&mut next, &rows);
        }
        if is_over(hold, now, running_s, newest_moment(&rows)) {
            next.growing = false;
            self.close_end(&mut next, &rows);
        }
        (next != *hold).then_some(next)
    }

    /// Gives the last span its end: where the range ends.
    fn close_end(&self, hold: &mut Hold, rows: &[(BlockIndex, Row)]) {
        let range = hold.range;
        if let Some(span) = hold.spans.last_mut().filter(|span| span.last_chunk.is_none()) {
            let end = end_of(rows, span.first_chunk, range, &mut |block, row| self.contents(block, row));
            let (last_chunk, last_run) = end.unwrap_or((span.first_chunk, span.first_run));
            (span.last_chunk, span.last_run) = (Some(last_chunk), Some(last_run));
        }
    }

    /// Ends holds that outgrew what was set aside for them, the latest first, once there is no more room: recording goes on.
    fn cut_short(&mut self) {
        let mut growing: Vec<_> = self.holds.in_force();
        growing.retain(|(_, hold)| hold.growing && !hold.spans.is_empty());
        growing.sort_by_key(|(_, hold)| std::cmp::Reverse(hold.created));
        for (index, hold) in growing {
            let room = self.holds.room;
            if room.held_blocks.saturating_add(room.reserved_blocks) <= room.blocks_max {
                return;
            }
            if self.covered_if_growing(&hold) <= hold.reserved_blocks {
                continue;
            }
            let rows = self.rows_of(hold.stream);
            let newest = rows.last().map_or(ChunkNumber(u64::MAX), |(_, row)| row.first_chunk);
            let mut next = Hold { growing: false, cut_short: true, ..hold };
            if let Some(span) = next.spans.last_mut().filter(|span| span.last_chunk.is_none()) {
                let last = ChunkNumber(newest.0.saturating_sub(1)).max(span.first_chunk);
                (span.last_chunk, span.last_run) = (Some(last), None);
            }
            tracing::error!(id = %next.id, label = %next.label, "the volume has no room to hold more: the hold ends here");
            if self.change(index, Slot::Held(next)) {
                self.holds.room = self.hold_room();
            }
        }
    }

    /// Marks rows as held, or no longer held, as far as the next record has room for it.
    fn mark_rows(&mut self) {
        let (_, _, rows_max) = record_capacity(self.core.geometry.streams_max);
        let waiting = self.core.ledger.rows_waiting();
        self.core.ledger.mark((rows_max / 4).saturating_sub(waiting));
    }
}

/// The latest moment of a stream's newest footage.
fn newest_moment(rows: &[(BlockIndex, Row)]) -> Option<WallTime> {
    rows.iter().rev().map(|(_, row)| row).find(|row| has_footage(row)).map(|row| row.wall_max)
}

/// Lets the last span grow if it reaches into the stream's newest block.
fn open_end(hold: &mut Hold, rows: &[(BlockIndex, Row)]) {
    let newest = rows.iter().rev().map(|(_, row)| row).find(|row| has_footage(row));
    if let (Some(span), Some(newest)) = (hold.spans.last_mut(), newest)
        && span.last_chunk >= Some(newest.first_chunk)
    {
        (span.last_chunk, span.last_run) = (None, None);
    }
}
