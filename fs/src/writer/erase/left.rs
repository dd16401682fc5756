//! What a crash left of an overwriting, where the volume is opened to be repaired: a repair writes into no block. It is named in
//! every record that the repair makes, the last one too, so that the next recorder finds it and finishes it.

use super::Target;
use crate::disk::Disk;
use crate::recover::examine;
use crate::scan::Take;
use crate::writer::engine::Engine;

impl<D: Disk> Engine<D> {
    /// Names what is not overwritten to its end, as far as records have room.
    pub(in crate::writer) fn name_begun(&mut self) {
        let queue = std::mem::take(&mut self.erasing.queue);
        self.erasing.queue = queue.into_iter().filter(|target| !self.is_wiped(target)).collect();
        while self.begin_job(usize::MAX) {}
    }

    /// Whether all void chunks of a block are zeros, and what lies behind its last chunk.
    fn is_wiped(&self, target: &Target) -> bool {
        let row = self.core.ledger.row(target.block);
        let take = Take { block: target.block, sequence: target.sequence, stream: target.stream };
        let scanner = self.core.scanner();
        let stop = Some(row.last_chunk().next());
        let chunks = examine(&scanner, &take, row.used_bytes as usize, stop).progress.footer.chunks;
        let behind = chunks.last().map_or(0, |last| last.offset as usize + last.bytes as usize);
        let rest = self.core.geometry.block_bytes.saturating_sub(behind);
        let mut voids = chunks.iter().filter(|place| place.kind.is_void() && place.bytes > 0).peekable();
        voids.peek().is_some()
            && scanner.is_zero(target.block, behind, rest)
            && voids.all(|place| {
                let found = scanner.chunk_at(&take, place.offset as usize);
                found.is_some_and(|(located, _)| scanner.is_wiped(&located.header))
            })
    }
}
