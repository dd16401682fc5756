//! What a cursor gives of the samples it meets, and by what they are chosen. All the rest is the same for all modes.

use super::Step;
use crate::format::table::Row;
use crate::reader::Volume;
use crate::recover::newest_record;
use crate::types::{BlockIndex, ChunkNumber, Sequence};
use std::ops::RangeInclusive;

/// What a cursor gives.
pub(super) enum Mode {
    /// The samples of a range.
    Samples,
    /// The rows of the samples of a range.
    Rows(Open),
    /// Rows and samples of whole chunks.
    Chunks(RangeInclusive<ChunkNumber>),
}

/// The takes that were being written when a listing began, and where in them ended what was durable, in bytes from the block's
/// beginning. What is durable stays so: the list may be old.
pub(super) struct Open(Vec<(BlockIndex, Sequence, u32)>);

impl Mode {
    /// The mode of a listing that begins now.
    pub(super) fn listing(volume: &Volume) -> Mode {
        let record = newest_record(&volume.scanner());
        let open = record.iter().flat_map(|record| {
            let granted = record.granted.iter().map(|granted| (granted.block, granted.sequence, 0));
            granted.chain(record.named.iter().map(|named| (named.block, named.sequence, named.durable_end)))
        });
        Mode::Rows(Open(open.collect()))
    }

    /// Whether a block may hold what is wanted.
    pub(super) fn reaches(&self, row: &Row) -> bool {
        match self {
            Mode::Chunks(wanted) => row.last_chunk() >= *wanted.start() && row.first_chunk <= *wanted.end(),
            Mode::Samples | Mode::Rows(_) => true,
        }
    }

    /// Whether chunks are chosen by their numbers, and not by a range of time.
    pub(super) fn is_by_chunks(&self) -> bool {
        matches!(self, Mode::Chunks(_))
    }

    /// Whether a chunk of this number is wanted.
    pub(super) fn wants(&self, number: ChunkNumber) -> bool {
        match self {
            Mode::Chunks(wanted) => wanted.contains(&number),
            Mode::Samples | Mode::Rows(_) => true,
        }
    }

    /// Whether a chunk's tables are enough: they are asked for alone, and all of the chunk is durable.
    pub(super) fn takes_tables(&self, step: &Step) -> bool {
        let Mode::Rows(open) = self else { return false };
        let mut takes = open
            .0
            .iter()
            .filter(|(block, sequence, _)| (*block, *sequence) == (step.take.block, step.take.sequence));
        takes.all(|(.., durable_end)| step.place.offset < *durable_end)
    }
}
