//! Reading a volume, beside a live writer or without one. Writes nothing, takes no lock.

use crate::error::Result;
use crate::report::{BlockSummary, CheckReport, Item, Span, StreamSummary, TimeRange, VolumeInfo};
use crate::types::{BlockIndex, StreamId, StreamName};
use std::path::Path;

/// A volume open for reading.
pub struct Volume {}

impl Volume {
    /// Opens a volume for reading. Works beside a live recorder, on a damaged image, and on one cut short.
    pub fn open(_path: &Path) -> Result<Volume> {
        todo!()
    }

    /// Follows a live writer: sees all it had written when this was called.
    pub fn refresh(&mut self) -> Result<()> {
        todo!()
    }

    /// What the volume is.
    pub fn info(&self) -> &VolumeInfo {
        todo!()
    }

    /// Its streams, by name.
    pub fn streams(&self) -> Vec<StreamSummary> {
        todo!()
    }

    /// The stream of this name; an error that names those there are.
    pub fn stream(&self, _name: &StreamName) -> Result<StreamSummary> {
        todo!()
    }

    /// The block table, in the order of blocks.
    pub fn blocks(&self) -> Vec<BlockSummary> {
        todo!()
    }

    /// The stretches of footage that touch `range`, in the order of recording. Read from chunk headers alone.
    pub fn spans(&self, _stream: StreamId, _range: TimeRange) -> Result<Vec<Span>> {
        todo!()
    }

    /// Reads a stream in the order of recording: in each run that touches `range`, from the video sync sample at or before
    /// its beginning (or the first there is) to before its end. [`crate::Error::NotRecorded`] if nothing is there.
    pub fn read(&self, _stream: StreamId, _range: TimeRange) -> Result<Cursor<'_>> {
        todo!()
    }

    /// What stands in a block, chunk by chunk, for people.
    pub fn dump(&self, _block: BlockIndex) -> Result<Vec<String>> {
        todo!()
    }

    /// Verifies every live byte. `progress` is told blocks done and blocks in all.
    pub fn check(&self, _progress: &mut dyn FnMut(u32, u32)) -> Result<CheckReport> {
        todo!()
    }
}

/// Reads a stream item by item with bounded memory.
pub struct Cursor<'a> {
    _volume: &'a Volume,
}

impl Cursor<'_> {
    /// The next item; `None` at the end. [`crate::Error::Overwritten`] when the ring passed this reader.
    pub fn next_item(&mut self) -> Result<Option<Item>> {
        todo!()
    }
}
