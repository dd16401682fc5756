//! The border to the volume, as narrow as an export needs it, so that splitting and merging are tested without a disk.

use keha_fs::{
    Cursor, Error, Item, Result, Span, StreamId, StreamName, StreamSummary, TimeRange, Volume, VolumeId,
    VolumeInfo,
};

/// Items of one stream in the order of recording.
pub(crate) trait Source {
    /// The next item; `None` at the end.
    fn next_item(&mut self) -> Result<Option<Item>>;

    /// In which of the archive's volumes the last item stands, from 0.
    fn place(&self) -> usize {
        0
    }
}

impl Source for Cursor<'_> {
    fn next_item(&mut self) -> Result<Option<Item>> {
        Cursor::next_item(self)
    }
}

/// Streams, wherever they stand.
pub(crate) trait Streams {
    /// The stream of this name.
    fn stream(&self, name: &StreamName) -> Result<StreamSummary>;
    /// Reads a range, from the sync sample at or before its beginning.
    fn read<'a>(&'a self, stream: &StreamSummary, range: TimeRange) -> Result<Box<dyn Source + 'a>>;
    /// Where samples stand.
    fn places(&self) -> Places;
}

/// A volume, as far as an export reads it.
pub(crate) trait Archive: Streams {
    /// What the volume is.
    fn info(&self) -> &VolumeInfo;
    /// The runs that touch a range; none is no error.
    fn spans(&self, stream: StreamId, range: TimeRange) -> Result<Vec<Span>>;
}

/// The volumes in which streams stand, and who they are there.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places {
    /// The volumes, by [`Source::place`].
    pub(crate) volumes: Vec<VolumeId>,
    /// Streams that are another one in a volume: their names, the volume's place, who they are there.
    pub(crate) ids: Vec<(StreamName, usize, StreamId)>,
}

impl Places {
    /// One volume has all.
    pub(crate) fn one(volume: VolumeId) -> Places {
        Places { volumes: vec![volume], ids: Vec::new() }
    }
}

impl Streams for Volume {
    fn stream(&self, name: &StreamName) -> Result<StreamSummary> {
        Volume::stream(self, name)
    }

    fn read<'a>(&'a self, stream: &StreamSummary, range: TimeRange) -> Result<Box<dyn Source + 'a>> {
        Ok(Box::new(Volume::read(self, stream.id, range)?.reading_ahead()))
    }

    fn places(&self) -> Places {
        Places::one(Volume::info(self).id)
    }
}

impl Archive for Volume {
    fn info(&self) -> &VolumeInfo {
        Volume::info(self)
    }

    fn spans(&self, stream: StreamId, range: TimeRange) -> Result<Vec<Span>> {
        match Volume::spans(self, stream, range) {
            Err(Error::NotRecorded { .. }) => Ok(Vec::new()),
            other => other,
        }
    }
}

/// The same volume without the bytes of its samples: it gives [`Item::Listed`] where the volume gives [`Item::Sample`].
pub(crate) struct Listing<'v>(pub &'v Volume);

impl Streams for Listing<'_> {
    fn stream(&self, name: &StreamName) -> Result<StreamSummary> {
        self.0.stream(name)
    }

    fn read<'a>(&'a self, stream: &StreamSummary, range: TimeRange) -> Result<Box<dyn Source + 'a>> {
        Ok(Box::new(self.0.list(stream.id, range)?))
    }

    fn places(&self) -> Places {
        Places::one(self.0.info().id)
    }
}
