//! An archive that ends when whoever asked does not want it any more: asked at every chunk, and at all that is no sample.

use crate::export::archive::{Places, Source, Streams};
use keha_fs::{ChunkNumber, Item, Result, StreamName, StreamSummary, TimeRange};
use std::cell::Cell;

/// The archive.
pub(super) struct Watched<'a> {
    archive: &'a dyn Streams,
    goes_on: &'a dyn Fn() -> bool,
    stopped: Cell<bool>,
}

impl<'a> Watched<'a> {
    pub(super) fn new(archive: &'a dyn Streams, goes_on: &'a dyn Fn() -> bool) -> Watched<'a> {
        Watched { archive, goes_on, stopped: Cell::new(false) }
    }

    /// Whether what was given is not all there is.
    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.get()
    }

    fn goes_on(&self) -> bool {
        let goes_on = !self.stopped.get() && (self.goes_on)();
        self.stopped.set(!goes_on);
        goes_on
    }
}

impl Streams for Watched<'_> {
    fn stream(&self, name: &StreamName) -> Result<StreamSummary> {
        self.archive.stream(name)
    }

    fn places(&self) -> Places {
        self.archive.places()
    }

    fn read<'a>(&'a self, stream: &StreamSummary, range: TimeRange) -> Result<Box<dyn Source + 'a>> {
        let source = self.archive.read(stream, range)?;
        Ok(Box::new(WatchedSource { source, watched: self, chunk: None }))
    }
}

/// One stream of it.
struct WatchedSource<'a> {
    source: Box<dyn Source + 'a>,
    watched: &'a Watched<'a>,
    /// The chunk of the last sample.
    chunk: Option<ChunkNumber>,
}

impl Source for WatchedSource<'_> {
    fn place(&self) -> usize {
        self.source.place()
    }

    fn next_item(&mut self) -> Result<Option<Item>> {
        if self.watched.is_stopped() {
            return Ok(None);
        }
        let item = self.source.next_item()?;
        let chunk = match &item {
            Some(Item::Listed(row)) => Some(row.chunk),
            Some(Item::Sample(sample)) => Some(sample.chunk),
            Some(_) => None,
            None => return Ok(None),
        };
        let is_same = chunk.is_some() && chunk == self.chunk;
        self.chunk = chunk;
        if is_same || self.watched.goes_on() { Ok(item) } else { Ok(None) }
    }
}

#[cfg(test)]
mod tests {
    use crate::error::Error;
    use crate::export::archive::{Places, Source, Streams};
    use crate::footage::{FootageRequest, Format, prepare_from};
    use keha_fs::{
        ChunkNumber, Configuration, Item, Result, RunId, SampleFlags, SampleRow, StreamId, StreamName,
        StreamSummary, TimeRange, TrackConfiguration, TrackKind, TrackNumber, Uuid, VolumeId, WallTime,
    };
    use std::cell::Cell;
    use std::sync::Arc;

    /// Packets of 20 ms in a chunk.
    const PACKETS: u64 = 50;

    /// A stream of sound that does not end, and how many items were read of it.
    #[derive(Default)]
    struct Endless {
        read: Cell<u64>,
    }

    impl Streams for Endless {
        fn stream(&self, name: &StreamName) -> Result<StreamSummary> {
            Ok(StreamSummary {
                id: StreamId(Uuid::from_u128(1)),
                name: name.clone(),
                created: WallTime(0),
                retention: Default::default(),
                first: None,
                last: None,
                blocks: 1,
                samples: 1,
                payload_bytes: 1,
                used_bytes: 1,
                overwritten_in: None,
            })
        }

        fn places(&self) -> Places {
            Places::one(VolumeId(Uuid::from_u128(7)))
        }

        fn read<'a>(&'a self, _: &StreamSummary, _: TimeRange) -> Result<Box<dyn Source + 'a>> {
            Ok(Box::new(Reading { archive: self, next: 0 }))
        }
    }

    struct Reading<'a> {
        archive: &'a Endless,
        next: u64,
    }

    impl Source for Reading<'_> {
        fn next_item(&mut self) -> Result<Option<Item>> {
            self.archive.read.set(self.archive.read.get() + 1);
            let configuration = Configuration { tracks: vec![sound()], session: Vec::new() };
            let hash = configuration.hash();
            let next = self.next;
            self.next += 1;
            let Some(packet) = next.checked_sub(1) else {
                return Ok(Some(Item::Configuration(hash, Arc::new(configuration))));
            };
            let chunk = ChunkNumber(packet / PACKETS);
            Ok(Some(Item::Listed(SampleRow {
                track: TrackNumber(1),
                ticks: (packet * 160) as i64,
                wall: WallTime((packet * 20_000_000) as i64),
                flags: SampleFlags::SYNC,
                bytes: 160,
                run: RunId::default(),
                configuration: hash,
                begins: chunk,
                chunk,
                chunk_checksum: 1,
                place: (packet % PACKETS) as u32,
            })))
        }
    }

    fn sound() -> TrackConfiguration {
        TrackConfiguration {
            track: TrackNumber(1),
            kind: TrackKind::Audio,
            codec: *b"ulaw",
            timescale: 8000,
            width: 0,
            height: 0,
            channels: 1,
            sample_rate: 8000,
            private: Vec::new(),
        }
    }

    #[test]
    fn what_nobody_wants_any_more_is_read_to_the_end_of_no_chunk() {
        for format in [Format::Mkv, Format::Mp4, Format::FragmentedMp4] {
            for chunks in [0, 1, 100] {
                let (archive, asked) = (Endless::default(), Cell::new(0));
                let streams = ["front", "yard"].map(|name| StreamName::new(name).unwrap()).to_vec();
                let request = FootageRequest { streams, range: TimeRange::default(), format, part: None };
                let goes_on = || asked.replace(asked.get() + 1) < chunks;
                let prepared = prepare_from(&archive, &request, &goes_on);
                assert!(matches!(prepared, Err(Error::Cancelled)));
                // It is asked once a chunk, and not again once it said no.
                assert_eq!(asked.get(), chunks + 1);
                assert!(archive.read.get() <= (chunks + 1) * (PACKETS + 1), "{}", archive.read.get());
            }
        }
    }
}
