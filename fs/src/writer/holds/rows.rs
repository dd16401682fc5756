//! The blocks of a stream as the writer knows them, and how many of them are held.

use crate::disk::Disk;
use crate::format::footer::Footer;
use crate::format::table::Row;
use crate::hold::{Guard, HeldSpan, Hold, HoldRoom, Use, has_footage, resolve, room};
use crate::recover::contents;
use crate::report::{BlockState, TimeRange};
use crate::types::{BlockIndex, Sequence, StreamId, WallTime};
use crate::writer::engine::Engine;
use std::collections::BTreeMap;

/// What the room was found out from: while it is the same, so is the room.
pub(in crate::writer) type Basis = (usize, u64, usize);

impl<D: Disk> Engine<D> {
    /// The live blocks of a stream in the order of recording, those that are set aside included: they are still whole.
    pub(in crate::writer) fn rows_of(&self, stream: StreamId) -> Vec<(BlockIndex, Row)> {
        self.rows_behind(stream, Sequence(0), 0)
    }

    /// Those taken after `seen`, and `more` before them.
    pub(super) fn rows_behind(
        &self,
        stream: StreamId,
        seen: Sequence,
        more: usize,
    ) -> Vec<(BlockIndex, Row)> {
        let ledger = &self.core.ledger;
        let settled = ledger.rows_behind(stream, seen, more);
        let behind = Sequence(seen.0.saturating_add(1));
        let first = settled.first().map_or(behind, |(_, row)| row.sequence.min(behind));
        let is_mine = |row: &Row| row.is_live() && row.stream == stream && row.sequence >= first;
        let set_aside = ledger.grants().map(|grant| (grant.block, &grant.before));
        let open = self.streams.iter().filter_map(|stream| stream.open_row());
        // What the streams know is newer than what the table has.
        let mut rows: BTreeMap<(Sequence, BlockIndex), &Row> = BTreeMap::new();
        let all = settled.into_iter().chain(set_aside).chain(open).filter(|(_, row)| is_mine(row));
        rows.extend(all.map(|(block, row)| ((row.sequence, block), row)));
        rows.into_iter().map(|((_, block), row)| (block, row.clone())).collect()
    }

    /// The latest moment of a stream's newest footage.
    pub(super) fn newest_moment_of(&self, stream: StreamId) -> Option<WallTime> {
        let open = self.streams.iter().filter_map(|stream| stream.open_row()).map(|(_, row)| row);
        let mut open = open.filter(|row| row.stream == stream && has_footage(row));
        let settled = || self.core.ledger.rows_newest_first(stream).find(|row| has_footage(row));
        open.next().or_else(settled).map(|row| row.wall_max)
    }

    pub(super) fn resolve_in(&self, rows: &[(BlockIndex, Row)], range: TimeRange) -> Vec<HeldSpan> {
        resolve(rows, range, &mut |block, row| self.contents(block, row))
    }

    pub(in crate::writer) fn contents(&self, block: BlockIndex, row: &Row) -> Footer {
        let open = self.streams.iter().find_map(|stream| stream.open_contents(block));
        open.cloned().unwrap_or_else(|| contents(&self.core.scanner(), block, row).0)
    }

    /// Whether nothing of a stream waits for the disk.
    pub(in crate::writer) fn is_idle(&self, stream: StreamId) -> bool {
        self.streams.iter().find(|one| one.id == stream).is_none_or(|stream| stream.is_idle())
    }

    /// How many blocks a hold covers, withdrawn ones left out.
    pub(super) fn covered_by(&self, hold: &Hold) -> u32 {
        let guard = Guard::of([hold]);
        self.count(hold.stream, |row| guard.covers(row))
    }

    /// How many of them no other hold covers.
    pub(super) fn newly_covered_by(&self, hold: &Hold) -> u32 {
        let (guard, others) = (Guard::of([hold]), self.holds.guard());
        self.count(hold.stream, |row| guard.covers(row) && !others.covers(row))
    }

    fn count(&self, stream: StreamId, counts: impl Fn(&Row) -> bool) -> u32 {
        let ledger = &self.core.ledger;
        // A block that was resumed stands in both.
        let settled = ledger
            .rows_newest_first(stream)
            .filter(|row| !matches!(row.state, BlockState::Open | BlockState::Bad));
        let set_aside = ledger.grants().map(|grant| &grant.before);
        let open = self.streams.iter().filter_map(|stream| stream.open_row()).map(|(_, row)| row);
        let others = set_aside.chain(open).filter(|row| row.stream == stream);
        settled.chain(others).filter(|row| counts(row)).count() as u32
    }

    /// How much is held, and how much may be.
    pub(in crate::writer) fn hold_room(&self) -> HoldRoom {
        let holds = self.holds.all();
        let covered = |hold: &Hold| if hold.growing { self.covered_by(hold) } else { 0 };
        room(&Use {
            blocks: self.core.geometry.blocks,
            bad: self.core.ledger.bad_blocks(),
            streams: self.streams.len(),
            holds_max: self.core.geometry.holds_max,
            held: self.core.ledger.held_blocks() + self.open_and_held() as u32,
            holds: holds.iter().map(|hold| (hold, covered(hold))).collect(),
        })
    }

    /// Finds out how much is held, for whoever looks until something changes.
    pub(super) fn refresh_room(&mut self) {
        self.holds.room = self.hold_room();
        self.holds.room_of = Some(self.basis());
    }

    /// Whether anything changed since the room was found out.
    pub(super) fn room_is_outdated(&self) -> bool {
        self.holds.room_of != Some(self.basis())
    }

    fn basis(&self) -> Basis {
        (self.streams.len(), self.core.ledger.changes_of_held(), self.open_and_held())
    }

    fn open_and_held(&self) -> usize {
        let ledger = &self.core.ledger;
        let open = self.streams.iter().filter_map(|stream| stream.open_row()).map(|(_, row)| row);
        let set_aside = ledger.grants().map(|grant| &grant.before);
        open.chain(set_aside).filter(|row| ledger.guard().covers(row)).count()
    }
}

/// The latest moment of a stream's newest footage.
pub(super) fn newest_moment(rows: &[(BlockIndex, Row)]) -> Option<WallTime> {
    rows.iter().rev().map(|(_, row)| row).find(|row| has_footage(row)).map(|row| row.wall_max)
}

/// Lets the last span grow if it reaches into the stream's newest block.
pub(super) fn open_end(hold: &mut Hold, rows: &[(BlockIndex, Row)]) {
    let newest = rows.iter().rev().map(|(_, row)| row).find(|row| has_footage(row));
    if let (Some(span), Some(newest)) = (hold.spans.last_mut(), newest)
        && span.last_chunk >= Some(newest.first_chunk)
    {
        (span.last_chunk, span.last_run) = (None, None);
    }
}
