//! The border to the volume, as narrow as a timeline needs it: all logic above it is tested without a disk.

use keha_fs::{BlockOutline, Configuration, ConfigurationHash, Result, StreamId, StreamRow, Volume};
use std::sync::Arc;

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

    /// The same, from where it may be kept for others.
    ///
    /// # Errors
    /// As [`TimelineSource::outline`].
    fn shared_outline(&self, stream: StreamId, row: &StreamRow) -> Result<Arc<BlockOutline>> {
        self.outline(stream, row).map(Arc::new)
    }

    /// A configuration that stands in a block, if there is any.
    ///
    /// # Errors
    /// As [`TimelineSource::outline`].
    fn configuration(
        &self,
        _stream: StreamId,
        _row: &StreamRow,
        _hash: ConfigurationHash,
    ) -> Result<Option<Arc<Configuration>>> {
        Ok(None)
    }
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

    fn configuration(
        &self,
        stream: StreamId,
        row: &StreamRow,
        hash: ConfigurationHash,
    ) -> Result<Option<Arc<Configuration>>> {
        self.configuration_in_block(stream, row, hash)
    }
}
