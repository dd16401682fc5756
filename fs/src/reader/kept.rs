//! Chunks in memory, for whoever reads them next: verified whole when they were read.
//!
//! A chunk does not change but for becoming void: erased, past its age, or overwritten by the ring. Then its header is another one.
//! So what is in memory is given only while the header on the volume still is its own ([`Volume::is_there`]), and no rule of what may
//! be read is passed by. What was read within the last second is given as it is, as if it had just been read.
//!
//! What must not live here: how many bytes are kept, and which go first. That is the business of a [`ChunkCache`].

use super::Volume;
use crate::disk::ReadAt;
use crate::format::footer::ChunkPlace;
use crate::recover::Recovered;
use crate::scan::{Loaded, Payload, Scanner, Take};
use crate::types::{BlockIndex, Sequence, VolumeId};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a chunk is given without another look at the volume.
const FRESH: Duration = if cfg!(test) { Duration::ZERO } else { Duration::from_secs(1) };

/// A chunk in memory.
#[derive(Debug)]
pub struct LoadedChunk {
    pub(super) loaded: Loaded,
    pub(super) payloads: Vec<Payload>,
    read: Instant,
}

/// Which chunk: of all volumes no two that are there at a time have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ChunkKey {
    volume: VolumeId,
    block: BlockIndex,
    sequence: Sequence,
    offset: u32,
}

/// Keeps chunks for later readers, as many as it likes. Shared by all threads.
pub trait ChunkCache: Send + Sync {
    /// The chunk of this key, if it is kept.
    fn get(&self, key: &ChunkKey) -> Option<Arc<LoadedChunk>>;

    /// A chunk was read, all of which verifies.
    fn keep(&self, key: ChunkKey, chunk: &Arc<LoadedChunk>);
}

/// Where a chunk stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ChunkAt {
    pub(super) take: Take,
    pub(super) offset: u32,
    pub(super) bytes: u32,
    /// Of its header.
    checksum: u32,
}

impl ChunkAt {
    pub(super) fn new(take: &Take, place: &ChunkPlace) -> ChunkAt {
        ChunkAt { take: *take, offset: place.offset, bytes: place.bytes, checksum: place.checksum }
    }

    pub(super) fn end(&self) -> u32 {
        self.offset.saturating_add(self.bytes)
    }
}

impl LoadedChunk {
    pub(super) fn new(loaded: Loaded) -> LoadedChunk {
        let payloads = loaded.payloads();
        LoadedChunk { loaded, payloads, read: Instant::now() }
    }

    /// How much memory it takes, in bytes.
    pub fn memory_bytes(&self) -> u64 {
        // Memory comes in powers of two.
        let data = self.loaded.bytes.len().next_power_of_two();
        let tables = self.payloads.len() * (size_of::<Payload>() + 64);
        (data + tables + size_of::<LoadedChunk>()) as u64
    }

    /// Whether all of it that is given verifies.
    pub(super) fn is_whole(&self) -> bool {
        self.loaded.tables.is_some() && self.payloads.iter().all(|payload| payload.data.is_some())
    }
}

/// Reads chunks, those that are kept from memory. Can go to another thread.
#[derive(Clone)]
pub(super) struct ChunkSource {
    pub(super) disk: Arc<dyn ReadAt>,
    pub(super) state: Arc<Recovered>,
    pub(super) cache: Option<Arc<dyn ChunkCache>>,
}

impl ChunkSource {
    fn scanner(&self) -> Scanner<'_> {
        Scanner { disk: &*self.disk, geometry: &self.state.geometry, volume: self.state.volume() }
    }

    fn key(&self, at: &ChunkAt) -> ChunkKey {
        let Take { block, sequence, .. } = at.take;
        ChunkKey { volume: self.state.volume(), block, sequence, offset: at.offset }
    }

    /// The chunk as it is kept, whatever became of it.
    pub(super) fn kept(&self, at: &ChunkAt) -> Option<Arc<LoadedChunk>> {
        let kept = self.cache.as_ref()?.get(&self.key(at))?;
        let (header, checksum) = (kept.loaded.header(), kept.loaded.located.checksum);
        let same = header.stream == at.take.stream && header.bytes == at.bytes && checksum == at.checksum;
        same.then_some(kept)
    }

    /// Reads a chunk; `None` if neither of its headers verifies. Kept if all of it does.
    pub(super) fn read(&self, at: &ChunkAt) -> Option<Arc<LoadedChunk>> {
        let loaded = self.scanner().load_at(&at.take, at.offset as usize, at.bytes as usize)?;
        Some(self.keep(at, loaded))
    }

    /// Reads chunks that follow each other in a block, at once.
    ///
    /// Those that cannot be read so, or do not verify, are `None`: [`ChunkSource::read`] finds out more.
    pub(super) fn read_together(&self, chunks: &[ChunkAt]) -> Vec<Option<Arc<LoadedChunk>>> {
        let (scanner, geometry) = (self.scanner(), &self.state.geometry);
        let lengths: Vec<usize> = chunks.iter().map(|at| at.bytes as usize).collect();
        let Some(first) = chunks.first() else { return Vec::new() };
        let at = geometry.block_at(first.take.block) + u64::from(first.offset);
        let inside = chunks.last().is_some_and(|last| last.end() as usize <= geometry.block_bytes)
            && lengths.iter().all(|length| *length >= geometry.page_bytes);
        let read = if inside { self.disk.read_pieces_at(&lengths, at).ok() } else { None };
        let Some(pieces) = read else { return vec![None; chunks.len()] };
        let loaded = chunks.iter().zip(pieces).map(|(at, bytes)| {
            let loaded = scanner.loaded(&at.take, at.offset as usize, bytes)?;
            Some(self.keep(at, loaded)).filter(|chunk| chunk.is_whole())
        });
        loaded.collect()
    }

    fn keep(&self, at: &ChunkAt, loaded: Loaded) -> Arc<LoadedChunk> {
        let chunk = Arc::new(LoadedChunk::new(loaded));
        let head_lost = chunk.loaded.located.head_lost;
        if let Some(cache) = self.cache.as_ref().filter(|_| chunk.is_whole() && !head_lost) {
            cache.keep(self.key(at), &chunk);
        }
        chunk
    }
}

impl Volume {
    /// Reads chunks by way of this cache from now on: all readers of this look at the volume, and of its clones.
    #[must_use]
    pub fn with_chunk_cache(self, cache: Arc<dyn ChunkCache>) -> Volume {
        Volume { cache: Some(cache), ..self }
    }

    pub(super) fn chunk_source(&self) -> ChunkSource {
        ChunkSource {
            disk: Arc::clone(&self.disk),
            state: Arc::clone(&self.state),
            cache: self.cache.clone(),
        }
    }

    /// Whether a chunk that is in memory may be given: it stands on the volume still, or did a moment ago.
    pub(super) fn is_there(&self, at: &ChunkAt, chunk: &LoadedChunk) -> bool {
        let header = || self.scanner().remembered_header(&at.take, at.offset as usize);
        chunk.read.elapsed() < FRESH
            || planted!(KeptGivenUnseen)
            || header().is_some_and(|header| header == *chunk.loaded.header())
    }
}
