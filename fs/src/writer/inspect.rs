//! What the proof looks at: the writer's own view of its blocks. Decides nothing and changes nothing.

use super::engine::Engine;
use super::ledger::Limits;
use super::stream::Stream;
use crate::disk::Disk;
use crate::format::table::Row;
use crate::report::BlockState;
use crate::types::{BlockIndex, ChunkNumber, Epoch, Sequence, StreamId, WallTime};
use std::collections::{BTreeMap, BTreeSet};

/// A block that holds footage, as the writer knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LiveBlock {
    pub(crate) block: BlockIndex,
    pub(crate) sequence: Sequence,
    pub(crate) stream: StreamId,
    pub(crate) first_chunk: ChunkNumber,
    pub(crate) last_chunk: ChunkNumber,
    pub(crate) state: BlockState,
    /// How much of it is written, in bytes.
    pub(crate) used_bytes: u32,
}

/// All blocks at one instant.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    /// Those that hold footage, in the order of takes.
    pub(crate) live: Vec<LiveBlock>,
    /// Those that a hold keeps.
    pub(crate) held: BTreeSet<BlockIndex>,
    /// Those that are being overwritten, or wait for it.
    pub(crate) reserved: BTreeSet<BlockIndex>,
    /// Those set aside,
    pub(crate) granted: BTreeSet<BlockIndex>,
    /// and what they hold until they are taken.
    pub(crate) given_up: Vec<LiveBlock>,
    /// The take of every block.
    pub(crate) takes: BTreeMap<BlockIndex, Sequence>,
    /// Rank and take of every block that may be overwritten, and of those set aside.
    pub(crate) ranks: BTreeMap<BlockIndex, (Sequence, Sequence)>,
    /// Whose each block is that counts for a quota, and that can be taken or is being written.
    pub(crate) owners: BTreeMap<BlockIndex, StreamId>,
    /// What streams may have.
    pub(crate) limits: BTreeMap<StreamId, Limits>,
    /// How long the volume has been open for writing, in seconds.
    pub(crate) running_s: u64,
    /// The latest moment that is believed to be past.
    pub(crate) trusted: Option<WallTime>,
    /// Blocks of which nothing is left.
    pub(crate) void: BTreeSet<BlockIndex>,
    /// How many blocks were withdrawn after write errors.
    pub(crate) withdrawn: usize,
    /// Whether someone waits for footage to be erased.
    pub(crate) erasing: bool,
    /// How many streams wait for a block.
    pub(crate) starved: usize,
    /// Whether the last round could not be flushed.
    pub(crate) failing: bool,
    /// Streams that write or wait to.
    pub(crate) active: usize,
    /// The epoch.
    pub(crate) epoch: Epoch,
    /// The highest sequence that a flushed record grants.
    pub(crate) highest: Sequence,
}

impl<D: Disk> Engine<D> {
    /// What of each stream's samples is in memory, in bytes.
    pub(crate) fn memory_bytes(&self) -> Vec<usize> {
        self.streams.iter().map(Stream::memory_bytes).collect()
    }

    /// The writer's view.
    pub(crate) fn view(&self) -> View {
        let core = &self.core;
        let mut view = View {
            active: self.streams.len(),
            epoch: core.epoch,
            withdrawn: core.faults.blocks as usize,
            erasing: self.erasing.is_asked(),
            starved: core.starved,
            failing: !self.is_well(),
            ..View::default()
        };
        view.granted = core.ledger.grants().map(|grant| grant.block).collect();
        view.given_up = core.ledger.grants().filter_map(|grant| live(grant.block, &grant.before)).collect();
        view.highest = core.ledger.highest_flushed();
        view.limits = core.ledger.limits().clone();
        view.reserved = core.ledger.reserved().clone();
        view.running_s = core.running_seconds();
        view.trusted = self.ages().trusted;
        for block in core.geometry.all_blocks() {
            let row = core.ledger.row(block);
            view.takes.insert(block, row.sequence);
            let held = core.ledger.guard().covers(row);
            view.held.extend(held.then_some(block));
            if row.is_owned() && !held && !view.reserved.contains(&block) {
                view.owners.insert(block, row.stream);
            }
            match row.state {
                _ if held || core.ledger.reserved().contains(&block) => {}
                BlockState::Open | BlockState::Bad => {}
                BlockState::Erased | BlockState::Expired => {
                    view.void.insert(block);
                    view.ranks.insert(block, (row.rank, row.sequence));
                }
                _ if row.is_live() || row.state == BlockState::Granted => {
                    view.ranks.insert(block, (row.rank, row.sequence));
                }
                _ => {
                    view.ranks.insert(block, Default::default());
                }
            }
            if !matches!(row.state, BlockState::Open | BlockState::Granted) {
                view.add(block, row);
            }
        }
        for (block, named) in &core.named {
            if let Some(row) = &named.ended {
                view.add(*block, row);
            }
        }
        for (block, row) in self.streams.iter().filter_map(|stream| stream.open_row()) {
            view.add(block, row);
        }
        view.live.sort_by_key(|live| live.sequence);
        view
    }
}

impl LiveBlock {
    /// A block with this row.
    pub(crate) fn of(block: BlockIndex, row: &Row) -> LiveBlock {
        LiveBlock {
            block,
            sequence: row.sequence,
            stream: row.stream,
            first_chunk: row.first_chunk,
            last_chunk: row.last_chunk(),
            state: row.state,
            used_bytes: row.used_bytes,
        }
    }
}

impl View {
    fn add(&mut self, block: BlockIndex, row: &Row) {
        self.live.extend(live(block, row));
    }
}

fn live(block: BlockIndex, row: &Row) -> Option<LiveBlock> {
    row.is_live().then(|| LiveBlock::of(block, row))
}
