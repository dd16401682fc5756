//! The rows of one stream in the order of recording, as whoever plays it needs them: what is where and when, from the block table
//! alone. No footage is read.
//!
//! What is past its stream's maximum age is left out as the cursor leaves it out, by the same code ([`super::past`]).

use super::Volume;
use crate::format::table::{PART_VOID, Row, TIMES_NOT_MONOTONE};
use crate::hold::Guard;
use crate::report::BlockState;
use crate::types::{BlockIndex, ChunkNumber, Sequence, StreamId, WallTime};

/// A block of a stream, as far as the block table tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct StreamRow {
    /// Which block.
    pub block: BlockIndex,
    /// When it was taken, in the order of takes.
    pub sequence: Sequence,
    /// Its state. Erased, expired: nothing is left of it.
    pub state: BlockState,
    /// The first of its chunks.
    pub first_chunk: ChunkNumber,
    /// How many chunks it has.
    pub chunks: u32,
    /// Its samples.
    pub samples: u32,
    /// How many of them are places where reading may begin.
    pub sync_samples: u32,
    /// The earliest and the latest moment of its samples; where nothing is left, of what was. `None` without any.
    pub wall: Option<(WallTime, WallTime)>,
    /// It goes on where the one before it ended, or begins the stream. Else what stood between was overwritten.
    pub follows: bool,
    /// It holds runs whose clocks overlap.
    pub times_not_monotone: bool,
    /// Some of it is not given: erased, or past its stream's maximum age.
    pub part_void: bool,
    /// A hold keeps it from being overwritten.
    pub held: bool,
}

impl Volume {
    /// Whether the volume was being written when it was opened or refreshed last, or its recorder was cut off: nobody has closed
    /// it.
    pub fn is_unclosed(&self) -> bool {
        self.state.after_crash
    }

    /// The blocks of a stream in the order of recording, also those of which nothing is left: they say that footage stood there.
    /// Found in the block table, as it was when the volume was opened or refreshed last; nothing is read.
    pub fn stream_rows(&self, stream: StreamId) -> Vec<StreamRow> {
        let past = self.past(stream);
        let guard = Guard::of(&self.holds());
        let mut expected = ChunkNumber(1);
        let mut rows = Vec::new();
        for (block, row) in self.links(stream) {
            let reaches_in = past.as_ref().is_some_and(|past| past.reaches_in(row));
            let follows = row.first_chunk == expected;
            expected = row.last_chunk().next();
            let held = guard.covers(row);
            let given = past.as_ref().filter(|_| reaches_in).map(|past| past.row(row.clone()));
            let row = given.as_ref().unwrap_or(row);
            rows.push(StreamRow { follows, held, ..stream_row(block, row, reaches_in) });
        }
        rows
    }
}

fn stream_row(block: BlockIndex, row: &Row, reaches_in: bool) -> StreamRow {
    let void = matches!(row.state, BlockState::Erased | BlockState::Expired);
    StreamRow {
        block,
        sequence: row.sequence,
        state: row.state,
        first_chunk: row.first_chunk,
        chunks: row.chunks,
        samples: if row.is_live() { row.samples } else { 0 },
        sync_samples: if row.is_live() { row.sync_samples } else { 0 },
        wall: (row.has_samples() || void).then_some((row.wall_min, row.wall_max)),
        follows: false,
        times_not_monotone: row.flags & TIMES_NOT_MONOTONE != 0,
        part_void: row.flags & PART_VOID != 0 || row.withheld > 0 || reaches_in,
        held: false,
    }
}
