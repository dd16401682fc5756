//! What was made, kept for the next viewer: a bounded number of bytes over all viewers, streams and kinds.
//!
//! Everything that is kept follows from its key alone, so nothing here grows stale; what is not asked for any more is evicted. But it
//! outlives the footage: ask [`crate::timeline::Index::is_whole`] before. Whoever asks for what is being made waits for it, so a hundred
//! viewers of one moment read the disk once. If making fails, the error goes to the one who made it, and the next one who waits tries
//! again.
//!
//! What must not live here: HTTP, and who may see what: ask that before.

use crate::error::{Error, Result};
use crate::segments::{InitName, SegmentName};
use crate::snapshot::SnapshotName;
use bytes::Bytes;
use keha_fs::{StreamId, VolumeId, WallTime};
use quick_cache::sync::{Cache as Kept, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};

/// What an item costs beside its bytes.
const OVERHEAD_BYTES: u64 = 256;
/// What an item may be expected to have: for the size of the tables alone.
const USUAL_BYTES: u64 = 512 << 10;

/// What something that was made is called, over all volumes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// The volume.
    pub volume: VolumeId,
    /// The stream.
    pub stream: StreamId,
    /// What of it.
    pub part: Part,
}

/// What can be made of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// A segment.
    Segment(SegmentName),
    /// An init segment.
    Init(InitName),
    /// A snapshot, of so many pixels in width.
    Snapshot(SnapshotName, u16),
}

#[derive(Clone, Copy, Debug)]
struct ByBytes;

impl Part {
    /// From when to when it has footage.
    pub fn moments(&self) -> (WallTime, WallTime) {
        match self {
            Part::Segment(name) => (name.from, name.to),
            Part::Init(name) => (name.at, name.at),
            Part::Snapshot(name, _) => (name.at, name.at),
        }
    }
}

impl Weighter<Key, Bytes> for ByBytes {
    fn weight(&self, _: &Key, made: &Bytes) -> u64 {
        made.len() as u64 + OVERHEAD_BYTES
    }
}

/// Why what was made is not kept.
enum NotKept {
    Unsettled(Bytes),
    Failed(Error),
}

/// The cache. Shared by all threads; asking blocks while something is made.
#[derive(Debug)]
pub struct Cache {
    kept: Kept<Key, Bytes, ByBytes>,
}

impl Cache {
    /// A cache of at most so many bytes. What alone is larger is made for each who asks.
    pub fn new(bytes_max: u64) -> Cache {
        let items = usize::try_from(bytes_max / USUAL_BYTES).unwrap_or(usize::MAX).clamp(32, 1 << 16);
        // One shard: each keeps its part of the bytes, and a long segment must fit.
        let mut options = OptionsBuilder::new();
        options.shards(1).estimated_items_capacity(items).weight_capacity(bytes_max);
        let kept = match options.build() {
            Ok(options) => Kept::with_options(
                options,
                ByBytes,
                DefaultHashBuilder::default(),
                DefaultLifecycle::default(),
            ),
            Err(_) => Kept::with_weighter(items, bytes_max, ByBytes),
        };
        Cache { kept }
    }

    /// What is kept under a key, or else what `make` makes, which is kept then.
    ///
    /// # Errors
    /// Those of `make`; nothing is kept then.
    pub fn get_or_make(&self, key: &Key, make: impl FnOnce() -> Result<Bytes>) -> Result<Bytes> {
        self.get_or_make_settled(key, || make().map(|made| (made, true))).map(|(made, _)| made)
    }

    /// The same of what may come out otherwise later: `make` says whether it is settled, and only then it is kept.
    ///
    /// # Errors
    /// Those of `make`; nothing is kept then.
    pub fn get_or_make_settled(
        &self,
        key: &Key,
        make: impl FnOnce() -> Result<(Bytes, bool)>,
    ) -> Result<(Bytes, bool)> {
        let made = self.kept.get_or_insert_with(key, || match make() {
            Ok((made, true)) => Ok(made),
            Ok((made, false)) => Err(NotKept::Unsettled(made)),
            Err(error) => Err(NotKept::Failed(error)),
        });
        match made {
            Ok(made) => Ok((made, true)),
            Err(NotKept::Unsettled(made)) => Ok((made, false)),
            Err(NotKept::Failed(error)) => Err(error),
        }
    }

    /// How many bytes are kept.
    pub fn bytes(&self) -> u64 {
        self.kept.weight()
    }
}
