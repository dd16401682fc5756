//! The writer of a volume: one thread that owns the disk, fed by bounded queues.

use crate::configuration::Configuration;
use crate::error::Result;
use crate::gap::Gap;
use crate::report::{OpenReport, RoundReport, VolumeInfo};
use crate::sample::{Anchor, Sample};
use crate::types::{ConfigurationHash, RunId, StreamId, StreamName, WallTime};
use std::path::Path;
use std::time::Duration;

/// How a volume is written.
#[derive(Clone, Debug)]
pub struct WriterOptions {
    /// How often everything pending is written and flushed.
    pub flush_interval: Duration,
    /// The most bytes that may wait for the disk, over all streams.
    pub buffer_bytes: usize,
    /// A chunk is written early when it reaches this size (never more than a quarter of a block).
    pub chunk_bytes: usize,
}

impl Default for WriterOptions {
    fn default() -> Self {
        WriterOptions { flush_interval: Duration::from_secs(1), buffer_bytes: 256 << 20, chunk_bytes: 1 << 20 }
    }
}

/// Why a sample was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// The queue has no room: the caller leaves out the rest of the GOP and records the gap.
    #[error("the queue to the disk is full")]
    Full,
    /// The sample is larger than [`crate::SAMPLE_BYTES_MAX`], or has no bytes.
    #[error("the sample is too large or empty")]
    Size,
    /// Its track is not in the stream's configuration, or no run has begun.
    #[error("the sample's track is not configured, or no run has begun")]
    NotConfigured,
    /// The writer has stopped.
    #[error("the volume's writer has stopped")]
    Stopped,
}

/// The one writer of a volume. Dropping it closes it.
pub struct Writer {}

impl Writer {
    /// Opens a volume for writing: locks it, recovers what a crash left, begins a new epoch. `on_round` is called on the
    /// writer's thread after every round and must not block.
    pub fn open(_path: &Path, _options: WriterOptions, _on_round: Box<dyn FnMut(RoundReport) + Send>) -> Result<Writer> {
        todo!()
    }

    /// What the volume is.
    pub fn info(&self) -> &VolumeInfo {
        todo!()
    }

    /// What opening found.
    pub fn opened(&self) -> &OpenReport {
        todo!()
    }

    /// The stream of this name, admitted if it is new. One `StreamWriter` a stream at a time.
    pub fn stream(&self, _name: &StreamName) -> Result<StreamWriter> {
        todo!()
    }

    /// Writes and flushes everything, parks every stream, releases the volume.
    pub fn close(self) -> Result<()> {
        todo!()
    }
}

/// The way into one stream. Nothing here blocks. Dropping it parks the stream.
pub struct StreamWriter {}

impl StreamWriter {
    /// The stream's identity.
    pub fn id(&self) -> StreamId {
        todo!()
    }

    /// The stream's name.
    pub fn name(&self) -> &StreamName {
        todo!()
    }

    /// The latest moment that stood in the stream when this handle was made.
    pub fn last_recorded(&self) -> Option<WallTime> {
        todo!()
    }

    /// What the following samples need. Repeating the same configuration costs nothing.
    pub fn configure(&mut self, _configuration: &Configuration) -> Result<ConfigurationHash> {
        todo!()
    }

    /// Following samples belong to a new run; their ticks count from its begin. Anchors of the run before are forgotten:
    /// give the new run's anchor for each track before its first sample.
    pub fn begin_run(&mut self, _run: RunId) {
        todo!()
    }

    /// The clock anchor of a track for the following samples. It takes effect with the next chunk.
    pub fn anchor(&mut self, _anchor: Anchor) {
        todo!()
    }

    /// Takes a sample, in decode order.
    pub fn push(&mut self, _sample: Sample) -> std::result::Result<(), Rejected> {
        todo!()
    }

    /// Records a gap.
    pub fn gap(&mut self, _gap: &Gap) {
        todo!()
    }

    /// Everything so far goes out with the next round and the block is parked until the next sample comes.
    pub fn park(&mut self) {
        todo!()
    }
}
