//! The border to the volume, as narrow as an export needs it, so that splitting and merging are tested without a disk.

use keha_fs::{
    Cursor, Error, Item, Result, Span, StreamId, StreamName, StreamSummary, TimeRange, Volume, VolumeInfo,
};

/// Items of one stream in the order of recording.
pub(crate) trait Source {
    /// The next item; `None` at the end.
    fn next_item(&mut self) -> Result<Option<Item>>;
}

impl Source for Cursor<'_> {
    fn next_item(&mut self) -> Result<Option<Item>> {
        Cursor::next_item(self)
    }
}

/// A volume, as far as an export reads it.
pub(crate) trait Archive {
    /// What the volume is.
    fn info(&self) -> &VolumeInfo;
    /// The stream of this name.
    fn stream(&self, name: &StreamName) -> Result<StreamSummary>;
    /// The runs that touch a range; none is no error.
    fn spans(&self, stream: StreamId, range: TimeRange) -> Result<Vec<Span>>;
    /// Reads a range, from the sync sample at or before its beginning.
    fn read<'a>(&'a self, stream: StreamId, range: TimeRange) -> Result<Box<dyn Source + 'a>>;
}

impl Archive for Volume {
    fn info(&self) -> &VolumeInfo {
        Volume::info(self)
    }

    fn stream(&self, name: &StreamName) -> Result<StreamSummary> {
        Volume::stream(self, name)
    }

    fn spans(&self, stream: StreamId, range: TimeRange) -> Result<Vec<Span>> {
        match Volume::spans(self, stream, range) {
            Err(Error::NotRecorded { .. }) => Ok(Vec::new()),
            other => other,
        }
    }

    fn read<'a>(&'a self, stream: StreamId, range: TimeRange) -> Result<Box<dyn Source + 'a>> {
        Ok(Box::new(Volume::read(self, stream, range)?.reading_ahead()))
    }
}

/// The same volume without the bytes of its samples: it gives [`Item::Listed`] where the volume gives [`Item::Sample`].
pub(crate) struct Listing<'v>(pub &'v Volume);

impl Archive for Listing<'_> {
    fn info(&self) -> &VolumeInfo {
        self.0.info()
    }

    fn stream(&self, name: &StreamName) -> Result<StreamSummary> {
        self.0.stream(name)
    }

    fn spans(&self, stream: StreamId, range: TimeRange) -> Result<Vec<Span>> {
        Archive::spans(self.0, stream, range)
    }

    fn read<'a>(&'a self, stream: StreamId, range: TimeRange) -> Result<Box<dyn Source + 'a>> {
        Ok(Box::new(self.0.list(stream, range)?))
    }
}
