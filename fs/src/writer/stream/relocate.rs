//! What becomes of chunks whose write failed: they go to a fresh block, renumbered and linked anew.

use super::{Starved, Stream, Undurable};
use crate::disk::Disk;
use crate::format::chunk::{self, ChunkHeader, ChunkKind};
use crate::types::BlockIndex;
use crate::writer::core::Core;
use std::collections::VecDeque;
use std::sync::Arc;

impl Stream {
    /// A write failed: all that is not durable goes to fresh blocks; what older blocks hold of it is void.
    pub(crate) fn relocate<D: Disk>(&mut self, core: &mut Core<D>) {
        let mut blocks: Vec<BlockIndex> = self.undurable.iter().map(|chunk| chunk.header.block).collect();
        blocks.extend(self.open.iter().map(|open| open.take.block));
        blocks.sort_unstable();
        blocks.dedup();
        for block in blocks {
            core.leave(block, self.durable.0);
        }
        self.open = None;
        self.parked = None;
        self.parked_open = None;
        self.number = self.durable.0.next();
        self.previous = self.durable.1;
        // The fresh block has the current configuration of its own.
        let current = self.configuration.as_ref().map(|configuration| configuration.hash);
        let moved = self.undurable.drain(..).filter(|chunk| {
            chunk.header.kind != ChunkKind::CONFIGURATION || Some(chunk.header.configuration) != current
        });
        let mut moved: VecDeque<Undurable> = moved.collect();
        moved.append(&mut self.homeless);
        if planted!(HomelessForgotten) {
            moved.clear();
        }
        self.homeless = moved;
    }

    /// Sends the chunks whose write failed to the open block, or a fresh one.
    pub(crate) fn house<D: Disk>(&mut self, core: &mut Core<D>) -> Result<(), Starved> {
        while let Some(chunk) = self.homeless.pop_front() {
            if let Err(starved) = self.send_again(core, &chunk) {
                self.homeless.push_front(chunk);
                return Err(starved);
            }
        }
        Ok(())
    }

    fn send_again<D: Disk>(&mut self, core: &mut Core<D>, chunk: &Undurable) -> Result<(), Starved> {
        loop {
            self.ensure_block(core, true)?;
            let syncs = if planted!(MovedSyncsForgotten) { 1 } else { chunk.header.sync_samples as usize };
            if chunk.header.bytes as usize <= self.room_for(core, syncs) {
                break;
            }
            self.seal(core);
        }
        let Some(open) = &self.open else { return Err(Starved) };
        let header = ChunkHeader {
            block: open.take.block,
            offset: open.progress.row.used_bytes,
            sequence: open.take.sequence,
            epoch: core.epoch,
            previous: self.previous,
            number: self.number,
            rank: core.ledger.highest(),
            running_s: core.running_seconds(),
            ..chunk.header.clone()
        };
        let mut buffer = core.writes.stale_buffer(chunk.buffer.len());
        buffer.copy_from_slice(&chunk.buffer);
        let checksum = chunk::reseal(&header, &mut buffer);
        self.send(core, header, checksum, Arc::new(buffer), chunk.ends.clone(), chunk.queued_bytes);
        Ok(())
    }
}
