//! Footage past its stream's maximum age, for whoever reads: it is given to nobody while the wall clock says so, whoever asks and
//! for whatever, also where nobody writes the volume. To a reader it is what it will be once it is overwritten: expired.
//!
//! A chunk goes as soon as any sample of it is past. What is held stays, and what a hold that was lost may have kept.

use super::Volume;
use crate::format::chunk::{ChunkHeader, ChunkKind};
use crate::format::footer::{ChunkPlace, Footer};
use crate::format::table::Row;
use crate::hold::Guard;
use crate::report::BlockState;
use crate::retention::age::past_before;
use crate::types::{ChunkNumber, StreamId, WallTime};

/// What of a stream is past its maximum age.
pub(super) struct Past {
    before: WallTime,
    guard: Guard,
}

impl Volume {
    /// What of a stream is not given now, if it has a maximum age.
    pub(super) fn past(&self, stream: StreamId) -> Option<Past> {
        let mut entries = self.state.directory.entries.iter().chain(&self.state.orphans);
        let entry = entries.find(|entry| entry.stream == stream)?;
        let before = past_before(entry.retention.maximum_age_s, self.clock.wall())?;
        let holds = self.state.holds.holds();
        let guard = Guard::of(holds.iter().filter(|_| !planted!(AgedOutHeldHidden)));
        (!planted!(AgedOutStillServed)).then_some(Past { before, guard })
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
    /// Whether a chunk is not given; without its number, where damage hides that, it is kept by any hold of its block.
    fn hides(&self, from: WallTime, number: Option<ChunkNumber>, row: &Row) -> bool {
        let held = match number {
            Some(number) => self.guard.covers_chunk(row.stream, number),
            None => self.guard.covers(row),
        };
        from < self.before && !held && !self.guard.may_have_covered(row)
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
        match row.wall_max < self.before {
            true => Row { state: BlockState::Expired, ..row },
            false => Row { wall_min: row.wall_min.max(self.before), ..row },
        }
    }

    /// Marks what of a block is not given.
    pub(super) fn hide_in(&self, row: &Row, footer: &mut Footer) {
        let numbered = footer.chunks.len() == row.chunks as usize;
        for (index, place) in (0..).zip(&mut footer.chunks) {
            let number = ChunkNumber(row.first_chunk.0.saturating_add(index));
            if self.is_hidden(place, numbered.then_some(number), row) {
                place.kind = ChunkKind::EXPIRED;
            }
        }
    }

    fn is_hidden(&self, place: &ChunkPlace, number: Option<ChunkNumber>, row: &Row) -> bool {
        place.kind == ChunkKind::MEDIA && self.hides(place.wall_min, number, row)
    }
}
