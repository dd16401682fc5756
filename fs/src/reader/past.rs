//! Footage past its stream's maximum age, for whoever reads: it is given to nobody, whoever asks and for whatever, also where
//! nobody writes the volume. To a reader it is what it will be once it is overwritten: expired. When it is past is decided in
//! [`crate::retention::age`], for readers by their wall clock.
//!
//! A chunk goes as soon as any sample of it is past. What is held stays, and what a hold that was lost may have kept.
//!
//! Here too what was erased and could not be overwritten is hidden: whatever clock or hold says otherwise.

use super::Volume;
use crate::format::chunk::{ChunkHeader, ChunkKind};
use crate::format::footer::{ChunkPlace, Footer};
use crate::format::table::Row;
use crate::hold::Guard;
use crate::report::BlockState;
use crate::retention::age::{Limit, Over, over};
use crate::types::{ChunkNumber, Sequence, StreamId, WallTime};
use std::collections::HashMap;
use std::sync::{Arc, PoisonError};

/// For how long what was found out of a stream is taken for true, in nanoseconds of the wall clock.
const FRESH_NS: u64 = 1_000_000_000;

/// What of a stream is past its maximum age.
pub(super) struct Past {
    /// When this was found out.
    at: WallTime,
    /// By the takes of its blocks.
    over: HashMap<Sequence, Over>,
    guard: Guard,
}

/// What was found out last of each stream.
pub(super) type Pasts = HashMap<StreamId, Arc<Past>>;

impl Volume {
    /// What of a stream is not given now, if it has a maximum age.
    pub(super) fn past(&self, stream: StreamId) -> Option<Arc<Past>> {
        let mut entries = self.state.directory.entries.iter().chain(&self.state.orphans);
        let maximum_age_s = entries.find(|entry| entry.stream == stream)?.retention.maximum_age_s;
        if maximum_age_s == 0 || planted!(AgedOutStillServed) {
            return None;
        }
        let now = self.clock.wall();
        let mut pasts = self.pasts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(past) = pasts.get(&stream)
            && past.at.0.abs_diff(now.0) < FRESH_NS
        {
            return Some(Arc::clone(past));
        }
        let by_stamps = !self.ages_by_clock();
        let limit = Limit { maximum_age_s, now: Some(now), running_s: self.state.running_seconds, by_stamps };
        let rows: Vec<&Row> = self.links(stream).map(|(_, row)| row).collect();
        let over = rows.iter().map(|row| row.sequence).zip(over(&rows, &limit));
        let over = over.filter(|(_, over)| *over != Over::Nothing).collect();
        let holds = self.state.holds.holds();
        let guard = Guard::of(holds.iter().filter(|_| !planted!(AgedOutHeldHidden)));
        let past = Arc::new(Past { at: now, over, guard });
        pasts.insert(stream, Arc::clone(&past));
        Some(past)
    }

    /// Whether a chunk came to be past its stream's maximum age since it was planned to be given.
    pub(super) fn came_to_be_past(&self, header: &ChunkHeader, row: &Row) -> bool {
        header.kind == ChunkKind::MEDIA
            && self
                .past(header.stream)
                .is_some_and(|past| past.hides(header.wall_min, Some(header.number), row))
    }
}

impl Past {
    fn of(&self, row: &Row) -> Over {
        self.over.get(&row.sequence).copied().unwrap_or_default()
    }

    /// Whether a chunk is not given; without its number, where damage hides that, it is kept by any hold of its block.
    fn hides(&self, from: WallTime, number: Option<ChunkNumber>, row: &Row) -> bool {
        let held = || match number {
            Some(number) => self.guard.covers_chunk(row.stream, number),
            None => self.guard.covers(row),
        };
        self.of(row).takes(from) && !held() && !self.guard.may_have_covered(row)
    }

    /// Whether something of a block may be past its age.
    pub(super) fn reaches_in(&self, row: &Row) -> bool {
        self.of(row) != Over::Nothing
    }

    /// Whether something of a block is kept, however old.
    fn keeps(&self, row: &Row) -> bool {
        self.guard.covers(row) || self.guard.may_have_covered(row)
    }

    /// The row of a block as far as it is given.
    pub(super) fn row(&self, row: Row) -> Row {
        if !row.is_live() || row.payload_bytes == 0 || self.keeps(&row) {
            return row;
        }
        match self.of(&row) {
            // As it will stand in the table once it is overwritten.
            over if over.takes(row.wall_max) => {
                Row { state: BlockState::Expired, samples: 0, sync_samples: 0, payload_bytes: 0, ..row }
            }
            Over::Before(before) => Row { wall_min: row.wall_min.max(before), ..row },
            Over::Nothing | Over::All => row,
        }
    }

    /// Marks what of a block is not given.
    pub(super) fn hide_in(&self, row: &Row, footer: &mut Footer) {
        let numbered = footer.chunks.len() == row.chunks as usize;
        for (number, place) in numbers_in(row, footer) {
            if place.kind == ChunkKind::MEDIA && self.hides(place.wall_min, numbered.then_some(number), row) {
                place.kind = ChunkKind::EXPIRED;
            }
        }
    }
}

/// Marks what of a block was erased and could not be overwritten. Where damage hides which chunks those are, all of it may be.
pub(super) fn withhold(row: &Row, footer: &mut Footer) {
    if row.withheld == 0 || planted!(WithheldGiven) {
        return;
    }
    let numbered = footer.chunks.len() == row.chunks as usize;
    for (number, place) in numbers_in(row, footer) {
        if place.kind == ChunkKind::MEDIA && (!numbered || row.withholds(number)) {
            place.kind = ChunkKind::ERASED;
        }
    }
}

fn numbers_in<'a>(
    row: &Row,
    footer: &'a mut Footer,
) -> impl Iterator<Item = (ChunkNumber, &'a mut ChunkPlace)> {
    let first = row.first_chunk.0;
    (0..).zip(&mut footer.chunks).map(move |(index, place)| (ChunkNumber(first.saturating_add(index)), place))
}
