//! The keyframe block table: one row a block, four rows a sector, each sector with its own checksum so that a power cut
//! leaves it old or new. A summary: what is lost of it is rebuilt from the blocks.

use super::{Framed, SECTOR_BYTES, Zero, record};
use crate::report::BlockState;
use crate::types::{ChunkNumber, Epoch, RoundNumber, Sequence, StreamId, VolumeId, WallTime};

/// Rows in a sector.
pub(crate) const ROWS_PER_SECTOR: usize = 4;

record! {
    /// All that is known of a block without reading it.
    pub(crate) struct Row {
        /// Its state.
        state: BlockState,
        /// Bit 0: held. 1: times not monotone. 2: no footer. 3: chunks were overwritten in it. 4: a synchronised clock vouched for all its moments.
        flags: u8,
        /// Reserved.
        zero: Zero<2>,
        /// The epoch in which it was last written.
        epoch: Epoch,
        /// Whose it is.
        stream: StreamId,
        /// The take.
        sequence: Sequence,
        /// The highest sequence granted when it was last written: the order in which blocks are overwritten.
        rank: Sequence,
        /// The number of its first chunk.
        first_chunk: ChunkNumber,
        /// How many chunks it has.
        chunks: u32,
        /// The checksum of its last chunk's header.
        last_checksum: u32,
        /// The earliest moment in it.
        wall_min: WallTime,
        /// The latest moment in it.
        wall_max: WallTime,
        /// The moment of its first video sync sample.
        first_sync: WallTime,
        /// How many samples it has.
        samples: u32,
        /// How many of them are video sync samples.
        sync_samples: u32,
        /// The samples' bytes.
        payload_bytes: u32,
        /// How far it is written, in bytes from its beginning.
        used_bytes: u32,
        /// How long the volume had been open for writing when it was last written, in seconds.
        running_s: u64,
        /// Of chunks that were to be erased and could not be overwritten: which comes first, counted from the block's first one,
        withheld_from: u32,
        /// and how many they are, 0 = none: nobody is given them.
        withheld: u32,
        /// Reserved.
        more: Zero<8>,
    }
}

/// Set in [`Row::flags`] of a block that a hold keeps. A summary, brought up to date row by row: the holds are the truth.
pub(crate) const HELD: u8 = 1;
/// Set in [`Row::flags`] where times in the block do not only grow.
pub(crate) const TIMES_NOT_MONOTONE: u8 = 2;
/// Set in [`Row::flags`] where footer and trailer could not be written.
pub(crate) const NO_FOOTER: u8 = 4;

/// Set in [`Row::flags`] where chunks of the block were overwritten: erased, or past their stream's maximum age.
pub(crate) const PART_VOID: u8 = 8;
/// Set in [`Row::flags`] where all moments of the block were vouched for by a synchronised clock when they were written.
pub(crate) const CLOCKED: u8 = 16;

impl Row {
    /// Whether there is footage to read in it.
    pub(crate) fn is_live(&self) -> bool {
        self.chunks > 0
            && matches!(
                self.state,
                BlockState::Open | BlockState::Parked | BlockState::Sealed | BlockState::Bad
            )
    }

    /// Whether it is a link of its stream's chain: there is footage to read in it, or was before that was overwritten.
    pub(crate) fn is_linked(&self) -> bool {
        let void = matches!(self.state, BlockState::Expired | BlockState::Erased);
        self.is_live() || void && self.chunks > 0
    }

    /// Whether the block is its stream's, with footage or overwritten: it counts for the stream's quota.
    pub(crate) fn is_owned(&self) -> bool {
        use BlockState::{Erased, Expired, Open, Parked, Sealed};
        matches!(self.state, Open | Parked | Sealed | Erased | Expired)
    }

    /// Whether a chunk is withheld: erased by what was asked for, and on the disk because that could not be written.
    pub(crate) fn withholds(&self, number: ChunkNumber) -> bool {
        let place = number.0.wrapping_sub(self.first_chunk.0);
        self.withheld > 0
            && place >= u64::from(self.withheld_from)
            && place - u64::from(self.withheld_from) < u64::from(self.withheld)
    }

    /// Withholds chunks of the block from now on, and what lies between them and those that are withheld. Nothing more is written to
    /// such a block.
    pub(crate) fn withhold(&mut self, from: u32, to: u32) {
        let end = to.saturating_add(1);
        let (first, behind) = match self.withheld {
            0 => (from, end),
            more => (from.min(self.withheld_from), end.max(self.withheld_from.saturating_add(more))),
        };
        (self.withheld_from, self.withheld) = (first, behind.saturating_sub(first));
        self.flags |= NO_FOOTER;
        if self.state == BlockState::Parked {
            self.state = BlockState::Sealed;
        }
    }

    /// What was withheld of the same take still is.
    pub(crate) fn withhold_as(&mut self, before: &Row) {
        if before.withheld == 0 || planted!(WithheldForgotten) {
            return;
        }
        // Where damage hides the block's first chunks, its row begins with them all the same: what is withheld goes by number.
        let hidden = self.first_chunk.0.saturating_sub(before.first_chunk.0);
        self.first_chunk = self.first_chunk.min(before.first_chunk);
        self.chunks = self.chunks.saturating_add(u32::try_from(hidden).unwrap_or(u32::MAX));
        let first = before.first_chunk.0.saturating_sub(self.first_chunk.0);
        let from = u32::try_from(first).unwrap_or(u32::MAX).saturating_add(before.withheld_from);
        self.withhold(from, from.saturating_add(before.withheld - 1));
    }

    /// Whether any sample stands in it.
    pub(crate) fn has_samples(&self) -> bool {
        self.is_live() && self.samples > 0
    }

    /// The number of its last chunk.
    pub(crate) fn last_chunk(&self) -> ChunkNumber {
        ChunkNumber(self.first_chunk.0.saturating_add(u64::from(self.chunks)).saturating_sub(1))
    }
}

impl super::Field for BlockState {
    const BYTES: usize = 1;

    fn put(&self, out: &mut [u8]) {
        out[0] = *self as u8;
    }

    fn get(bytes: &[u8]) -> Option<Self> {
        BlockState::ALL.into_iter().find(|state| bytes == [*state as u8])
    }
}

record! {
    /// A sector of the table.
    pub(crate) struct TableSector {
        /// Which sector of the table.
        index: u32,
        /// Reserved.
        zero: Zero<4>,
        /// The round in which it was written.
        round: RoundNumber,
        /// Row 0.
        row_0: Row,
        /// Row 1.
        row_1: Row,
        /// Row 2.
        row_2: Row,
        /// Row 3.
        row_3: Row,
    }
}

impl Framed for TableSector {
    const MAGIC: [u8; 8] = *b"KEHA-TBL";
    const SIZE: usize = SECTOR_BYTES;
}

impl TableSector {
    /// A sector of rows.
    pub(crate) fn new(index: u32, round: RoundNumber, rows: [Row; ROWS_PER_SECTOR]) -> TableSector {
        let [row_0, row_1, row_2, row_3] = rows;
        TableSector { index, zero: Zero, round, row_0, row_1, row_2, row_3 }
    }

    /// Its rows.
    pub(crate) fn into_rows(self) -> [Row; ROWS_PER_SECTOR] {
        [self.row_0, self.row_1, self.row_2, self.row_3]
    }
}

/// All bits of [`Row::flags`] that mean something.
const FLAGS: u8 = HELD | TIMES_NOT_MONOTONE | NO_FOOTER | PART_VOID | CLOCKED;

impl Row {
    /// Whether a writer of blocks of this size can have written it: what does not fit into its block, or carries a flag that nobody
    /// knows, says nothing else that could be believed.
    pub(crate) fn is_sane(&self, block_bytes: usize) -> bool {
        self.flags & !FLAGS == 0 && self.used_bytes as usize <= block_bytes || planted!(RowsBelieved)
    }
}

/// The magic of a volume's table sectors: bound to the volume, so that another volume's are never taken for its own.
pub(crate) fn table_magic(volume: VolumeId) -> [u8; 8] {
    let mut magic = TableSector::MAGIC;
    let id = volume.0.as_bytes();
    magic[4..].copy_from_slice(&id[..4]);
    magic
}

#[cfg(test)]
mod tests {
    use super::Row;
    use crate::types::ChunkNumber;

    fn row(first_chunk: u64) -> Row {
        Row { first_chunk: ChunkNumber(first_chunk), chunks: 20, ..Row::default() }
    }

    fn withheld(row: &Row) -> Vec<u64> {
        (0..40).filter(|number| row.withholds(ChunkNumber(*number))).collect()
    }

    #[test]
    fn what_is_withheld_stays_so_by_its_number_where_damage_hides_the_first_chunks() {
        let mut before = row(10);
        before.withhold(2, 3);
        for first in [8, 10, 11, 13, 14] {
            let mut after = row(first);
            let end = after.last_chunk();
            after.withhold_as(&before);
            assert_eq!((withheld(&after), after.last_chunk()), (vec![12, 13], end), "from {first}");
            // The first chunks can be read again.
            let mut again = row(10);
            again.withhold_as(&after);
            assert_eq!(withheld(&again), [12, 13], "from {first} and back");
        }
    }
}
