//! What all streams of a volume share while it is written: the disk, the table, the blocks that a round record must name.

use super::ledger::{Grant, Ledger};
use super::writes::{Purpose, Writes};
use crate::clock::Clock;
use crate::disk::{Disk, ReadAt};
use crate::fault_budget::FaultBudget;
use crate::format::geometry::{Geometry, record_capacity};
use crate::format::table::{NO_FOOTER, Row};
use crate::recover::examine;
use crate::report::BlockState;
use crate::scan::{Scanner, Take};
use crate::types::{BlockIndex, ChunkNumber, Epoch, RoundNumber, StreamId, VolumeId};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// A block with writes that are not known to be durable.
#[derive(Clone, Debug)]
pub(crate) struct Named {
    /// The take.
    pub(crate) take: Take,
    /// Which stream of the engine writes it.
    pub(crate) stream: usize,
    /// How much of it is durable, in bytes.
    pub(crate) durable_end: usize,
    /// How much of it was sent to the disk, in bytes.
    pub(crate) sent_end: usize,
    /// Its row from now on, once nothing more goes into it.
    pub(crate) ended: Option<Row>,
}

impl Named {
    /// A block that was just taken.
    pub(crate) fn new(take: &Take, stream: usize) -> Named {
        Named { take: *take, stream, durable_end: 0, sent_end: 0, ended: None }
    }
}

/// What all streams share.
pub(crate) struct Core<D> {
    pub(crate) geometry: Geometry,
    pub(crate) volume: VolumeId,
    pub(crate) epoch: Epoch,
    pub(crate) round: RoundNumber,
    pub(crate) clock: Arc<dyn Clock>,
    /// How long the volume had been open for writing before this writer, in seconds,
    pub(crate) running_seconds_before: u64,
    /// and since when, by the monotonic clock, this one has it.
    pub(crate) started: Duration,
    pub(crate) reader: Arc<dyn ReadAt>,
    pub(crate) writes: Writes<D>,
    pub(crate) ledger: Ledger,
    pub(crate) named: BTreeMap<BlockIndex, Named>,
    pub(crate) chunk_bytes_max: usize,
    /// How many takes found no block since the last round.
    pub(crate) starved: usize,
    pub(crate) blocks_taken: u64,
    pub(crate) faults: FaultBudget,
}

impl<D: Disk> Core<D> {
    /// Reads blocks of this volume.
    pub(crate) fn scanner(&self) -> Scanner<'_> {
        Scanner { disk: &*self.reader, geometry: &self.geometry, volume: self.volume }
    }

    /// Seconds the volume has been open for writing, over its life.
    pub(crate) fn running_seconds(&self) -> u64 {
        self.running_seconds_before + self.clock.monotonic().saturating_sub(self.started).as_secs()
    }

    /// Takes a block for a stream that a flushed record grants, if the next record has room to name it. The room for its row is that
    /// of the grant.
    pub(crate) fn take_block(&mut self, stream: StreamId) -> Option<Grant> {
        let (named, ..) = record_capacity(self.geometry.streams_max);
        if self.named.len() >= named {
            return None;
        }
        let grant = self.ledger.take(stream)?;
        self.blocks_taken += 1;
        Some(grant)
    }

    /// Whether the next record has room for the row of a block that is to be set aside or named, whatever becomes of the others
    /// that it names and grants. A row that waits there for the table has its room, and so has that of a block that it names.
    pub(crate) fn record_has_room_for_row_of(&self, block: BlockIndex) -> bool {
        let has_its_room = self.ledger.waits(block) || self.named.contains_key(&block);
        has_its_room || self.record_keeps_room_for_rows(0)
    }

    /// Whether it has room for one more row, and for `more` of them then.
    pub(crate) fn record_keeps_room_for_rows(&self, more: usize) -> bool {
        let (_, _, rows) = record_capacity(self.geometry.streams_max);
        self.ledger.rows_waiting() + self.named.len() + self.ledger.grants().len() + more < rows
    }

    /// The row of a block that was parked, also when that is not durable yet.
    pub(crate) fn parked_row(&self, block: BlockIndex) -> Option<Row> {
        match self.named.get(&block) {
            Some(named) => named.ended.clone(),
            None => Some(self.ledger.row(block).clone()),
        }
    }

    /// A parked block is written again behind its first `used` bytes.
    pub(crate) fn reopen(&mut self, take: &Take, stream: usize, used: usize) {
        match self.named.get_mut(&take.block) {
            Some(named) => named.ended = None,
            None => {
                self.ledger.reopen(take.block);
                let named = Named { durable_end: used, sent_end: used, ..Named::new(take, stream) };
                self.named.insert(take.block, named);
            }
        }
    }

    /// A chunk that ends at `end` was sent to a block.
    pub(crate) fn chunk_sent(&mut self, block: BlockIndex, end: usize) {
        if let Some(named) = self.named.get_mut(&block) {
            named.sent_end = end;
        }
    }

    /// Nothing more goes into a block.
    pub(crate) fn block_ended(&mut self, block: BlockIndex, row: Row) {
        if let Some(named) = self.named.get_mut(&block) {
            named.ended = Some(row);
        }
    }

    /// A stream leaves a block because a write failed, there or in another of its blocks: what of it is durable, up to chunk
    /// `durable`, stays readable. If a write to this one failed it is withdrawn, not to be taken again; a block that only had
    /// chunks behind those that failed is as good as before.
    pub(crate) fn leave(&mut self, block: BlockIndex, durable: ChunkNumber) {
        let concerns = |purpose: Purpose| match purpose {
            Purpose::Header(of) | Purpose::Footer(of) | Purpose::Chunk(_, of, _) => of == block,
            Purpose::Void(_) | Purpose::Table(_) | Purpose::Record | Purpose::Scrub | Purpose::Metadata => {
                false
            }
        };
        let bad = self.writes.failed().into_iter().any(concerns) && !planted!(FaultTakesQuietly);
        self.writes.forget(concerns);
        let Some(named) = self.named.get(&block).cloned() else { return };
        let row = if named.durable_end > 0 {
            examine(&self.scanner(), &named.take, named.durable_end, Some(durable.next())).progress.row
        } else {
            Row { sequence: named.take.sequence, ..Row::default() }
        };
        let row = match (bad, named.durable_end > 0) {
            (true, _) => Row { state: BlockState::Bad, ..row },
            // A footer may have been written that counts what is void now.
            (false, true) => Row { state: BlockState::Sealed, flags: row.flags | NO_FOOTER, ..row },
            (false, false) => row,
        };
        self.named.insert(block, Named { sent_end: named.durable_end, ended: Some(row), ..named });
        if bad {
            self.faults.count(self.running_seconds());
        }
    }

    /// Whether faults have taken as many blocks within a day as they may (1 % of the volume): a bad cable must not eat the
    /// archive.
    pub(crate) fn faults_took_enough(&mut self) -> bool {
        let most = (self.geometry.blocks / 100).max(2);
        self.faults.spent(self.running_seconds()) >= most && !planted!(FaultsUnlimited)
    }

    /// Everything sent is durable: blocks to which nothing more goes have their final rows.
    pub(crate) fn flushed(&mut self) {
        let mut open = BTreeMap::new();
        for (block, named) in std::mem::take(&mut self.named) {
            match named.ended {
                Some(row) => self.ledger.settle(block, row),
                None => {
                    open.insert(block, Named { durable_end: named.sent_end, ..named });
                }
            }
        }
        self.named = open;
    }
}
