//! The block a stream writes to: taken, resumed, sealed, parked.

use super::{OpenBlock, Starved, Stream, twice};
use crate::disk::Disk;
use crate::format::block::{BlockHeader, BlockTrailer, seal_header_page};
use crate::format::chunk::ChunkKind;
use crate::format::footer::Footer;
use crate::format::table::{NO_FOOTER, PART_VOID, Row};
use crate::format::{FORMAT_VERSION, Framed, round_up};
use crate::progress::Progress;
use crate::recover::examine;
use crate::report::BlockState;
use crate::scan::Take;
use crate::writer::core::{Core, Named};
use crate::writer::draft::Draft;
use crate::writer::writes::Purpose;
use std::sync::Arc;

impl Stream {
    /// Makes a block open that has room for a chunk.
    pub(super) fn ensure_room<D: Disk>(&mut self, core: &mut Core<D>, chunk: &Draft) -> Result<(), Starved> {
        loop {
            self.ensure_block(core, false)?;
            let wanted = chunk.bytes(core.geometry.page_bytes);
            if wanted <= self.limits(core).0 {
                return Ok(());
            }
            self.seal(core);
        }
    }

    /// Makes a block open whose last configuration is the current one (if `configured`).
    pub(super) fn ensure_block<D: Disk>(
        &mut self,
        core: &mut Core<D>,
        configured: bool,
    ) -> Result<(), Starved> {
        if self.open.is_none() {
            self.resume(core);
        }
        if self.open.is_none() {
            self.take_block(core)?;
        }
        let Some(configuration) = self.configuration.clone() else { return Ok(()) };
        let stands = self.open.as_ref().and_then(|open| open.progress.configuration);
        let first = self.open.as_ref().is_some_and(|open| open.progress.row.chunks == 0);
        let once = planted!(ConfigurationOnlyOnce) && self.number.0 > 8;
        if stands == Some(configuration.hash) || !(configured || first) || once {
            return Ok(());
        }
        let chunk = twice(&configuration.bytes, core.geometry.page_bytes);
        if chunk.bytes(core.geometry.page_bytes) > self.limits(core).0 {
            self.seal(core);
            return self.ensure_block(core, configured);
        }
        self.emit(core, ChunkKind::CONFIGURATION, chunk);
        Ok(())
    }

    /// Room left in the open block, and how large the next chunk may be, in bytes.
    pub(super) fn limits<D: Disk>(&self, core: &Core<D>) -> (usize, usize) {
        // One more sync sample than the draft has.
        let room = self.room_for(core, self.draft.sync_samples as usize + 1);
        (room, room.min(core.chunk_bytes_max))
    }

    /// Room left in the open block for one more chunk with so many sync samples, in bytes: the footer has a place for each.
    pub(super) fn room_for<D: Disk>(&self, core: &Core<D>, syncs: usize) -> usize {
        let Some(open) = &self.open else { return 0 };
        let geometry = &core.geometry;
        let footer = &open.progress.footer;
        let footer_bytes = Footer::bytes_for(footer.chunks.len() + 1, footer.syncs.len() + syncs);
        let footer_bytes = round_up(footer_bytes, geometry.page_bytes);
        let end = geometry.block_bytes - geometry.page_bytes;
        let footer_bytes = if planted!(FooterRoomForgotten) { 0 } else { footer_bytes };
        end.saturating_sub(footer_bytes + open.progress.row.used_bytes as usize)
    }

    fn resume<D: Disk>(&mut self, core: &mut Core<D>) {
        let Some(block) = self.parked.take().filter(|_| !planted!(ParkedNotResumed)) else { return };
        if !core.record_has_room_for_row_of(block) {
            return self.leave_parked();
        }
        let row = core.parked_row(block);
        let Some(row) = row.filter(|row| row.state == BlockState::Parked && row.stream == self.id) else {
            return;
        };
        // Nothing is written behind what was overwritten: such a block has no room for a footer.
        if row.last_chunk().next() != self.number || row.flags & PART_VOID != 0 {
            return;
        }
        let take = Take { block, sequence: row.sequence, stream: self.id };
        let used = row.used_bytes as usize;
        // Of a block that this writer parked the last chunks may still be on their way to the disk: it is not read.
        let mut open = self.parked_open.take().filter(|open| open.take == take).unwrap_or_else(|| {
            // Chunks that a crash discarded may stand behind its end.
            let stop = Some(row.last_chunk().next());
            let progress = examine(&core.scanner(), &take, used, stop).progress;
            OpenBlock { take, progress }
        });
        // A block in which damage hides something is left as it is.
        let found = &open.progress;
        let whole = (found.row.first_chunk, found.row.samples, found.row.used_bytes)
            == (row.first_chunk, row.samples, row.used_bytes)
            && found.row.last_checksum == self.previous
            && found.footer.chunks.len() == row.chunks as usize;
        if whole {
            core.reopen(&take, self.index, used);
            if planted!(ResumedAtWrongEnd) {
                open.progress.row.used_bytes = core.geometry.page_bytes as u32;
            }
            self.open = Some(open);
        }
    }

    fn take_block<D: Disk>(&mut self, core: &mut Core<D>) -> Result<(), Starved> {
        let Some(grant) = core.take_block(self.id) else {
            core.starved += 1;
            return Err(Starved);
        };
        let take = Take { block: grant.block, sequence: grant.sequence, stream: self.id };
        let header = BlockHeader {
            version: FORMAT_VERSION,
            block: take.block,
            volume: core.volume,
            sequence: take.sequence,
            stream: take.stream,
            epoch: core.epoch,
            previous: self.previous,
            first_chunk: self.number,
            granted_in: core.round,
            taken: core.clock.wall(),
            maximum_age_s: core.ledger.maximum_age_s(self.id),
            incompat: core.geometry.incompat(),
            ..BlockHeader::default()
        };
        let mut page = core.writes.buffer(core.geometry.page_bytes);
        seal_header_page(&header, &mut page);
        core.writes.submit(core.geometry.block_at(take.block), Arc::new(page), Purpose::Header(take.block));
        core.named.insert(take.block, Named::new(&take, self.index));
        self.open = Some(OpenBlock { take, progress: Progress::new(&take, core.geometry.page_bytes) });
        Ok(())
    }

    /// Ends the open block: nothing more goes into it.
    pub(super) fn seal<D: Disk>(&mut self, core: &mut Core<D>) {
        let Some(OpenBlock { take, progress }) = self.open.take() else { return };
        let geometry = &core.geometry;
        let rank = if planted!(RankForgotten) { take.sequence } else { core.ledger.highest() };
        let row = Row { state: BlockState::Sealed, rank, ..progress.row };
        let padded = round_up(progress.footer.bytes(), geometry.page_bytes);
        let footer_at = (geometry.block_bytes - geometry.page_bytes).saturating_sub(padded);
        if footer_at < row.used_bytes as usize && !planted!(FooterOverChunks) {
            // Nothing that was written is overwritten for a footer: without one a block is read by its chunk headers.
            core.block_ended(take.block, Row { flags: row.flags | NO_FOOTER, ..row });
            return;
        }
        let mut buffer = core.writes.buffer(padded + geometry.page_bytes);
        let footer_checksum = progress.footer.seal(core.volume, take.block, take.sequence, &mut buffer);
        let trailer = BlockTrailer {
            block: take.block,
            footer_at: footer_at as u32,
            footer_bytes: progress.footer.bytes() as u32,
            footer_checksum,
            volume: core.volume,
            row: row.clone(),
            ..BlockTrailer::default()
        };
        trailer.seal(&mut buffer[padded..]);
        let at = geometry.block_at(take.block) + footer_at as u64;
        core.writes.submit(at, Arc::new(buffer), Purpose::Footer(take.block));
        core.block_ended(take.block, row);
    }

    /// Leaves the open block as it is, to be resumed.
    pub(super) fn park<D: Disk>(&mut self, core: &mut Core<D>) {
        let Some(open) = self.open.take() else { return };
        let rank = if planted!(RankForgotten) { open.take.sequence } else { core.ledger.highest() };
        let row = Row { state: BlockState::Parked, rank, ..open.progress.row.clone() };
        let block = open.take.block;
        self.parked = Some(block);
        self.parked_open = Some(open);
        core.block_ended(block, row);
    }
}
