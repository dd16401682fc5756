//! The border to the volume, as narrow as a timeline needs it: all logic above it is tested without a disk.

use keha_fs::{BlockOutline, Result, StreamId, StreamRow, Volume};

/// What a timeline is made from.
pub trait TimelineSource {
    /// All streams.
    fn streams(&self) -> Vec<StreamId>;

    /// Whether streams may be going on: the volume is being written, or its recorder was cut off.
    fn is_live(&self) -> bool;

    /// The rows of a stream in the order of recording.
    fn rows(&self, stream: StreamId) -> Vec<StreamRow>;

    /// What a block of it holds.
    ///
    /// # Errors
    /// [`keha_fs::Error::Overwritten`] if it is gone by now, which is an answer too; what else is wrong with the disk.
    fn outline(&self, stream: StreamId, row: &StreamRow) -> Result<BlockOutline>;
}

impl TimelineSource for Volume {
    fn streams(&self) -> Vec<StreamId> {
        Volume::streams(self).into_iter().map(|stream| stream.id).collect()
    }

    fn is_live(&self) -> bool {
        self.is_unclosed()
    }

    fn rows(&self, stream: StreamId) -> Vec<StreamRow> {
        self.stream_rows(stream)
    }

    fn outline(&self, stream: StreamId, row: &StreamRow) -> Result<BlockOutline> {
        Volume::outline(self, stream, row)
    }
}
