//! Chunks of volumes in memory: a bounded number of bytes over all volumes, readers and viewers.
//!
//! What is asked for once, as a long export does, makes way for what is asked for again. What of it may be given is decided by who
//! reads ([`keha_fs::ChunkCache`]).

use keha_fs::{ChunkCache, ChunkKey, LoadedChunk};
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a chunk may be expected to have: for the size of the tables alone.
const USUAL_BYTES: u64 = 512 << 10;

#[derive(Clone, Copy, Debug)]
struct ByBytes;

impl Weighter<ChunkKey, Arc<LoadedChunk>> for ByBytes {
    fn weight(&self, _: &ChunkKey, chunk: &Arc<LoadedChunk>) -> u64 {
        chunk.memory_bytes()
    }
}

/// The cache. Shared by all threads; asking never waits for a disk.
#[derive(Debug)]
pub struct Chunks {
    kept: Cache<ChunkKey, Arc<LoadedChunk>, ByBytes>,
    hits: AtomicU64,
    misses: AtomicU64,
}

/// How it is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChunksUse {
    /// Bytes of memory that it takes.
    pub bytes: u64,
    /// How often a chunk that was asked for was there, since it was made.
    pub hits: u64,
    /// And how often not.
    pub misses: u64,
}

impl Chunks {
    /// A cache of at most so many bytes. A chunk that alone is larger is not kept.
    pub fn new(bytes_max: u64) -> Chunks {
        let items = usize::try_from(bytes_max / USUAL_BYTES).unwrap_or(usize::MAX).clamp(32, 1 << 16);
        // One shard: each keeps its part of the bytes, and a large chunk must fit.
        let mut options = OptionsBuilder::new();
        options.shards(1).estimated_items_capacity(items).weight_capacity(bytes_max);
        let (hasher, lifecycle) = (DefaultHashBuilder::default(), DefaultLifecycle::default());
        let kept = match options.build() {
            Ok(options) => Cache::with_options(options, ByBytes, hasher, lifecycle),
            Err(_) => Cache::with_weighter(items, bytes_max, ByBytes),
        };
        Chunks { kept, hits: AtomicU64::new(0), misses: AtomicU64::new(0) }
    }

    /// How it is used.
    pub fn usage(&self) -> ChunksUse {
        ChunksUse {
            bytes: self.kept.weight(),
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
        }
    }
}

impl ChunkCache for Chunks {
    fn get(&self, key: &ChunkKey) -> Option<Arc<LoadedChunk>> {
        let kept = self.kept.get(key);
        let count = if kept.is_some() { &self.hits } else { &self.misses };
        count.fetch_add(1, Ordering::Relaxed);
        kept
    }

    fn keep(&self, key: ChunkKey, chunk: &Arc<LoadedChunk>) {
        self.kept.insert(key, Arc::clone(chunk));
    }
}
