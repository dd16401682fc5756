//! What a cursor gives of the samples it meets, and by what they are chosen. All the rest is the same for all modes.

use super::Step;
use crate::format::chunk::Entry;
use crate::format::round::RoundRecord;
use crate::format::table::Row;
use crate::reader::Volume;
use crate::recover::newest_record;
use crate::sample::{SampleFlags, SampleRow};
use crate::types::{BlockIndex, ChunkNumber, Sequence};
use std::ops::RangeInclusive;

/// What a cursor gives.
pub(super) enum Mode {
    /// The samples of a range.
    Samples,
    /// The rows of the samples of a range.
    Rows(Open),
    /// The rows of whole chunks, and what is wanted beside them.
    Chunks(RangeInclusive<ChunkNumber>, Content),
}

/// What is given of chunks beside the rows of their samples.
pub(super) enum Content {
    /// The samples.
    Samples,
    /// Nothing.
    Nothing(Open),
    /// One sample; no other is given, nor its row.
    One(SampleRow),
}

/// The takes that were being written when the volume was looked at, and where in them ended what was durable, in bytes from the block's
/// beginning. What is durable stays so: the look may be old.
pub(super) struct Open(Vec<(BlockIndex, Sequence, u32)>);

impl Open {
    /// What was being written as this look knows it; reads nothing, unless it knew of no record that counts.
    pub(super) fn of(volume: &Volume) -> Open {
        match volume.state.known_record() {
            Some(record) => Open::by(record),
            None => newest_record(&volume.scanner()).as_ref().map_or(Open(Vec::new()), Open::by),
        }
    }

    fn by(record: &RoundRecord) -> Open {
        let granted = record.granted.iter().map(|granted| (granted.block, granted.sequence, 0));
        let named = record.named.iter().map(|named| (named.block, named.sequence, named.durable_end));
        Open(granted.chain(named).collect())
    }

    /// Whether all of a chunk is durable.
    fn has_settled(&self, step: &Step) -> bool {
        let mut takes = self
            .0
            .iter()
            .filter(|(block, sequence, _)| (*block, *sequence) == (step.take.block, step.take.sequence));
        takes.all(|(.., durable_end)| step.place.offset < *durable_end)
    }
}

impl Content {
    /// Whether an entry is wanted: the `place`th of its track in the chunk of this number, at these ticks.
    pub(super) fn takes(&self, number: ChunkNumber, entry: &Entry, place: u32, ticks: Option<i64>) -> bool {
        let Content::One(row) = self else { return true };
        let is_part = [SampleFlags::FIRST_FRAGMENT, SampleFlags::MORE_FRAGMENT];
        entry.track == row.track
            && ticks == Some(row.ticks)
            && match number == row.chunk {
                true => place == row.place,
                false => is_part.into_iter().any(|part| entry.flags.contains(part)),
            }
    }
}

impl Mode {
    /// Whether a block may hold what is wanted.
    pub(super) fn reaches(&self, row: &Row) -> bool {
        match self {
            Mode::Chunks(wanted, _) => {
                row.last_chunk() >= *wanted.start() && row.first_chunk <= *wanted.end()
            }
            Mode::Samples | Mode::Rows(_) => true,
        }
    }

    /// Whether chunks are chosen by their numbers, and not by a range of time.
    pub(super) fn is_by_chunks(&self) -> bool {
        matches!(self, Mode::Chunks(..))
    }

    /// Whether damage that hides chunks is told with their block.
    pub(super) fn tells_hidden(&self) -> bool {
        !matches!(self, Mode::Chunks(_, Content::Nothing(_) | Content::One(_)))
    }

    /// Whether a chunk of this number is wanted.
    pub(super) fn wants(&self, number: ChunkNumber) -> bool {
        match self {
            Mode::Chunks(wanted, _) => wanted.contains(&number),
            Mode::Samples | Mode::Rows(_) => true,
        }
    }

    /// Whether a chunk's tables are enough: they are asked for alone, and all of the chunk is durable.
    pub(super) fn takes_tables(&self, step: &Step) -> bool {
        match self {
            Mode::Rows(open) | Mode::Chunks(_, Content::Nothing(open)) => open.has_settled(step),
            _ => false,
        }
    }

    /// What is given of chunks.
    pub(super) fn content(&self) -> &Content {
        match self {
            Mode::Chunks(_, content) => content,
            Mode::Samples | Mode::Rows(_) => &Content::Samples,
        }
    }

    /// Whether rows are given.
    pub(super) fn gives_rows(&self) -> bool {
        !matches!(self, Mode::Samples)
    }

    /// Whether samples are given.
    pub(super) fn gives_samples(&self) -> bool {
        !matches!(self, Mode::Rows(_) | Mode::Chunks(_, Content::Nothing(_)))
    }
}
