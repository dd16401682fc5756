//! Which sample of a stream is the last that stands: where a volume was opened anew, what waited for it in memory goes on behind that.
//!
//! A stream stands without holes, in the order in which it was given (`crate::recover`), so this one sample tells of all. It is known by
//! run, track and ticks, as whoever reads tells samples: neither by the clock, nor by ticks being in order.

use super::engine::Engine;
use crate::disk::Disk;
use crate::format::chunk::ChunkKind;
use crate::recover::Recovered;
use crate::tail::SamplePlace;
use crate::types::ChunkNumber;

/// How many chunks are looked at: few others stand behind the last samples.
const CHUNKS_MAX: usize = 100;

impl<D: Disk> Engine<D> {
    /// The last sample of a stream that stands whole, of one that was given nothing since the volume was opened. `None` where there is
    /// none, or which it is cannot be read.
    pub(crate) fn last_sample(&self, index: usize) -> Option<SamplePlace> {
        let (stream, scanner) = (self.streams.get(index)?, self.core.scanner());
        let mut looks = CHUNKS_MAX;
        // What a block holds from there on is void: the stream goes on in a later one.
        let mut void = ChunkNumber(u64::MAX);
        for (block, row) in self.core.ledger.blocks_newest_first(stream.id) {
            let take = Recovered::take(block, row);
            let mut end = row.used_bytes as usize;
            while end > self.core.geometry.page_bytes {
                looks = looks.checked_sub(1)?;
                let located = scanner.chunk_ending(&take, end)?;
                let header = &located.header;
                if header.kind == ChunkKind::MEDIA
                    && header.number < void
                    && let Some((track, ticks)) = scanner.tables(&located)?.last_sample()
                {
                    return Some((header.run, track, ticks));
                }
                end = header.offset as usize;
            }
            void = row.first_chunk;
        }
        None
    }
}
