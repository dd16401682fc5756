//! Outlines of whole blocks, kept for the next playlist: a bounded number of bytes over all viewers, streams and volumes.
//!
//! What stands in a block changes only with its row, but for what is erased or past its age ([`Index`]). So an outline is kept under all of
//! its row that tells of its content, and only that of a sealed block of which all is there and given: what is being recorded grows, and
//! what is damaged may be read better the next time. Whoever asks by a newer row is never given what an older one told; what nobody asks
//! for any more is evicted. Configurations are kept by their hashes, which are all of them.
//!
//! What must not live here: reading, and what is made of outlines.

#[cfg(doc)]
use crate::timeline::Index;
use crate::timeline::TimelineSource;
use keha_fs::{
    BlockOutline, BlockState, Configuration, ConfigurationHash, OutlineChunk, OutlineSync, Result, StreamId,
    StreamRow, VolumeId,
};
use quick_cache::sync::Cache;
use quick_cache::{UnitWeighter, Weighter};
use std::sync::Arc;

/// What an outline may be expected to have: for the size of the tables alone.
const USUAL_BYTES: u64 = 16 << 10;
/// What an item costs beside what it holds.
const OVERHEAD_BYTES: u64 = 256;
/// The most configurations.
const CONFIGURATIONS_MAX: usize = 256;

/// The outlines. Shared by all threads.
#[derive(Debug)]
pub struct Outlines {
    blocks: Cache<(VolumeId, StreamId, StreamRow), Arc<BlockOutline>, ByBytes>,
    configurations: Cache<(VolumeId, ConfigurationHash), Arc<Configuration>, UnitWeighter>,
}

/// A source of which what was read once is not read again.
#[derive(Clone, Copy)]
pub struct Outlined<'a> {
    outlines: &'a Outlines,
    volume: VolumeId,
    source: &'a dyn TimelineSource,
}

#[derive(Clone, Copy, Debug)]
struct ByBytes;

impl<K> Weighter<K, Arc<BlockOutline>> for ByBytes {
    fn weight(&self, _: &K, outline: &Arc<BlockOutline>) -> u64 {
        let chunks = outline.chunks.capacity() * size_of::<OutlineChunk>();
        let syncs = outline.syncs.capacity() * size_of::<OutlineSync>();
        (chunks + syncs) as u64 + OVERHEAD_BYTES
    }
}

impl Outlines {
    /// At most so many bytes of them.
    pub fn new(bytes_max: u64) -> Outlines {
        let items = usize::try_from(bytes_max / USUAL_BYTES).unwrap_or(usize::MAX).clamp(32, 1 << 16);
        Outlines {
            blocks: Cache::with_weighter(items, bytes_max, ByBytes),
            configurations: Cache::new(CONFIGURATIONS_MAX),
        }
    }

    /// The source of a volume, of which what is kept here is not read.
    pub fn of<'a>(&'a self, volume: VolumeId, source: &'a dyn TimelineSource) -> Outlined<'a> {
        Outlined { outlines: self, volume, source }
    }

    /// How many bytes are kept.
    pub fn bytes(&self) -> u64 {
        self.blocks.weight()
    }
}

impl TimelineSource for Outlined<'_> {
    fn streams(&self) -> Vec<StreamId> {
        self.source.streams()
    }

    fn is_live(&self) -> bool {
        self.source.is_live()
    }

    fn rows(&self, stream: StreamId) -> Vec<StreamRow> {
        self.source.rows(stream)
    }

    fn outline(&self, stream: StreamId, row: &StreamRow) -> Result<BlockOutline> {
        self.shared_outline(stream, row).map(Arc::unwrap_or_clone)
    }

    fn shared_outline(&self, stream: StreamId, row: &StreamRow) -> Result<Arc<BlockOutline>> {
        // Neither holds nor what was before it change what stands in it.
        let key = (self.volume, stream, StreamRow { held: false, follows: false, ..*row });
        if let Some(outline) = self.outlines.blocks.get(&key) {
            return Ok(outline);
        }
        let outline = self.source.shared_outline(stream, row)?;
        if is_whole(row, &outline) {
            self.outlines.blocks.insert(key, Arc::clone(&outline));
        }
        Ok(outline)
    }

    fn configuration(
        &self,
        stream: StreamId,
        row: &StreamRow,
        hash: ConfigurationHash,
    ) -> Result<Option<Arc<Configuration>>> {
        let key = (self.volume, hash);
        if let Some(configuration) = self.outlines.configurations.get(&key) {
            return Ok(Some(configuration));
        }
        let found = self.source.configuration(stream, row, hash)?;
        if let Some(configuration) = &found {
            self.outlines.configurations.insert(key, Arc::clone(configuration));
        }
        Ok(found)
    }
}

/// Whether an outline is all that its block will ever have.
fn is_whole(row: &StreamRow, outline: &BlockOutline) -> bool {
    row.state == BlockState::Sealed
        && !row.part_void
        && !outline.damaged
        && usize::try_from(row.chunks).is_ok_and(|chunks| chunks == outline.chunks.len())
}
