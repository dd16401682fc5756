//! What was erased, and what would be.

use super::Volume;
use crate::format::footer::ChunkPlace;
use crate::format::table::Row;
use crate::hold::may_touch;
use crate::recover::{Recovered, contents, examine, given_up};
use crate::report::TimeRange;
use crate::retention::erase::{ErasePlan, goes, keeper, moments_around, numbers, was_begun};
use crate::scan::{Take, count};
use crate::types::{BlockIndex, Sequence, StreamId};

impl Volume {
    /// The void chunk that covers a place of a block by now, if one does.
    pub(super) fn void_at(&self, take: &Take, offset: usize) -> Option<ChunkPlace> {
        let header = self.scanner().block_header(take.block).ok().flatten()?;
        let row = self.state.row(take.block);
        let used = if row.sequence == take.sequence { row.used_bytes as usize } else { 0 };
        let chunks = examine(&self.scanner(), take, used, None).progress.footer.chunks;
        let mut voids = chunks.into_iter().filter(|place| place.kind.is_void());
        let covers = |place: &ChunkPlace| {
            (place.offset as usize..place.offset as usize + place.bytes as usize).contains(&offset)
        };
        voids.find(covers).filter(|_| header.sequence == take.sequence)
    }

    /// What would be erased if this range of a stream was, and the holds that forbid it.
    pub fn plan_erase(&self, stream: StreamId, range: TimeRange) -> ErasePlan {
        let holds = self.holds();
        let mut plan = ErasePlan::default();
        // What is past its maximum age is there until it is overwritten.
        for (block, row) in self.whole_chain(stream).iter().filter(|(_, row)| may_touch(row, range)) {
            let (footer, _) = contents(&self.scanner(), *block, row);
            let goes = goes(&footer, range);
            plan.erased.add(&footer, &goes);
            let (samples, payload_bytes) =
                count(&self.scanner(), &Recovered::take(*block, row), row, &footer, &goes)
                    .unwrap_or_default();
            plan.erased.samples += samples;
            plan.erased.payload_bytes += payload_bytes;
            let kept = keeper(&holds, row, &numbers(row, &footer, &goes));
            plan.held_by.extend(kept.map(|hold| hold.id).filter(|id| !plan.held_by.contains(id)));
        }
        plan.left = self.left_of(stream, range);
        plan
    }

    /// In how many blocks something of a range still stands that was to be overwritten before, or was given up.
    fn left_of(&self, stream: StreamId, range: TimeRange) -> u32 {
        let (scanner, state) = (self.scanner(), &self.state);
        let all = || state.geometry.all_blocks().zip(&state.rows);
        let mine = all().filter(|(_, row)| row.stream == stream && row.sequence > Sequence(0));
        let mut rows: Vec<(BlockIndex, Row)> = mine.map(|(block, row)| (block, row.clone())).collect();
        rows.sort_by_key(|(_, row)| row.sequence);
        let begun = rows.iter().enumerate().filter(|(index, (block, row))| {
            (row.withheld > 0 || state.unfinished.contains(block))
                && was_begun(row, &contents(&scanner, *block, row).0, range, moments_around(&rows, *index))
        });
        (begun.count() + given_up(&scanner, all(), stream, range).len()) as u32
    }
}
