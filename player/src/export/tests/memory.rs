//! An archive in memory: streams as lists of items, read as the filesystem promises to read them.

use super::super::archive::{Archive, Places, Source, Streams};
use super::support::clip::{Clip, ClipSample};
use super::{NOON, name};
use bytes::Bytes;
use keha_fs::{
    Anchor, BlockIndex, ChunkNumber, ClockSource, Configuration, Error, Finding, Gap, GapReason, Item,
    Result, RunId, SampleFlags, Span, StoredSample, StreamId, StreamName, StreamSummary, TimeRange,
    TrackKind, TrackNumber, Uuid, VolumeId, VolumeInfo, WallTime,
};
use std::collections::VecDeque;
use std::sync::Arc;

/// An item, or the ring passing the reader there.
#[derive(Clone)]
pub(super) enum Step {
    Item(Item),
    Passed { available_from: WallTime },
}

/// A stream's content, run by run.
pub(super) struct MemoryStream {
    summary: StreamSummary,
    runs: Vec<(RunId, Vec<Step>)>,
    chunk: u64,
}

/// A volume in memory.
pub(super) struct MemoryArchive {
    info: VolumeInfo,
    streams: Vec<MemoryStream>,
}

impl MemoryArchive {
    pub(super) fn new(streams: Vec<MemoryStream>) -> MemoryArchive {
        let info = VolumeInfo {
            id: VolumeId(Uuid::from_u128(7)),
            label: "test".into(),
            format_version: 1,
            size_bytes: 1 << 30,
            block_bytes: 1 << 20,
            page_bytes: 4096,
            blocks: 1000,
            streams_max: 8,
            created: NOON,
        };
        MemoryArchive { info, streams }
    }
}

impl MemoryStream {
    pub(super) fn new(text: &str) -> MemoryStream {
        let id = StreamId(Uuid::from_u128(text.bytes().map(u128::from).sum()));
        let summary = StreamSummary {
            id,
            name: name(text),
            created: NOON,
            retention: Default::default(),
            first: Some(NOON),
            last: Some(NOON.plus_ns(4_000_000_000)),
            blocks: 1,
            samples: 1,
            payload_bytes: 1,
            used_bytes: 1,
            overwritten_in: None,
        };
        MemoryStream { summary, runs: Vec::new(), chunk: 0 }
    }

    /// A whole clip as one run that begins at `begin`.
    pub(super) fn run(mut self, number: u128, begin: WallTime, clip: &Clip) -> MemoryStream {
        self.begin_run(number, begin, &clip.configuration);
        for sample in &clip.samples {
            self.sample(begin, &clip.configuration, sample);
        }
        self
    }

    pub(super) fn begin_run(&mut self, number: u128, begin: WallTime, configuration: &Configuration) {
        let run = RunId(Uuid::from_u128(number));
        self.runs.push((run, vec![Step::Item(Item::Run(run))]));
        self.configure(configuration);
        for track in &configuration.tracks {
            self.item(Item::Anchor(Anchor {
                track: track.track,
                timescale: track.timescale,
                ticks: 0,
                wall: begin,
                source: ClockSource::SenderReport,
                uncertainty_us: 150,
                arrival: begin,
                camera_offset_ns: -42,
            }));
        }
    }

    pub(super) fn configure(&mut self, configuration: &Configuration) {
        self.item(Item::Configuration(configuration.hash(), Arc::new(configuration.clone())));
    }

    pub(super) fn sample(&mut self, begin: WallTime, configuration: &Configuration, sample: &ClipSample) {
        let timescale = configuration.track(sample.track).unwrap().timescale;
        let wall = begin.plus_ns((i128::from(sample.ticks) * 1_000_000_000 / i128::from(timescale)) as i64);
        if sample.track == TrackNumber(1) && sample.flags.contains(SampleFlags::SYNC) {
            self.chunk += 1;
        }
        let run = self.runs.last().unwrap().0;
        self.item(Item::Sample(StoredSample {
            track: sample.track,
            ticks: sample.ticks,
            wall,
            flags: sample.flags,
            data: sample.data.clone(),
            run,
            configuration: configuration.hash(),
            chunk: ChunkNumber(self.chunk),
        }));
    }

    pub(super) fn gap(&mut self, reason: GapReason, from: WallTime, to: Option<WallTime>) {
        self.item(Item::Gap(Gap {
            reason,
            from,
            to,
            samples_lost: 3,
            bytes_lost: 4,
            detail: "cable".into(),
        }));
    }

    pub(super) fn item(&mut self, item: Item) {
        self.runs.last_mut().unwrap().1.push(Step::Item(item));
    }

    /// The steps of all runs, to change.
    pub(super) fn steps(&mut self) -> impl Iterator<Item = &mut Vec<Step>> {
        self.runs.iter_mut().map(|(_, steps)| steps)
    }

    /// The samples, in the order of recording.
    pub(super) fn samples(&self) -> Vec<StoredSample> {
        let steps = self.runs.iter().flat_map(|(_, steps)| steps);
        steps
            .filter_map(
                |step| if let Step::Item(Item::Sample(sample)) = step { Some(sample.clone()) } else { None },
            )
            .collect()
    }
}

pub(super) fn damage() -> Item {
    Item::Damage(Finding {
        what: "sample",
        at: 4096,
        block: Some(BlockIndex(3)),
        stream: None,
        footage_lost: true,
        detail: "checksum".into(),
    })
}

/// A sample of made-up bytes.
pub(super) fn invented(track: u8, ticks: i64, sync: bool) -> ClipSample {
    let flags = if sync { SampleFlags::SYNC } else { SampleFlags::default() };
    ClipSample { track: TrackNumber(track), ticks, flags, data: Bytes::from(ticks.to_be_bytes().to_vec()) }
}

struct MemorySource(VecDeque<Step>);

impl Source for MemorySource {
    fn next_item(&mut self) -> Result<Option<Item>> {
        match self.0.pop_front() {
            Some(Step::Item(item)) => Ok(Some(item)),
            Some(Step::Passed { available_from }) => {
                Err(Error::Overwritten { available_from: Some(available_from) })
            }
            None => Ok(None),
        }
    }
}

impl Streams for MemoryArchive {
    fn stream(&self, name: &StreamName) -> Result<StreamSummary> {
        let found = self.streams.iter().find(|stream| stream.summary.name == *name);
        found
            .map(|stream| stream.summary.clone())
            .ok_or_else(|| Error::NoSuchStream { name: name.clone(), available: "others".into() })
    }

    fn read<'a>(&'a self, stream: &StreamSummary, range: TimeRange) -> Result<Box<dyn Source + 'a>> {
        let stream = stream.id;
        let known = self.streams.iter().find(|known| known.summary.id == stream).unwrap();
        let mut out = VecDeque::new();
        for span in self.spans(stream, range)? {
            let (_, steps) = known.runs.iter().find(|(run, _)| *run == span.run).unwrap();
            out.extend(read_run(steps, range));
        }
        if out.is_empty() {
            Err(Error::NotRecorded { available: None })
        } else {
            Ok(Box::new(MemorySource(out)))
        }
    }

    fn places(&self) -> Places {
        Places::one(self.info.id)
    }
}

impl Archive for MemoryArchive {
    fn info(&self) -> &VolumeInfo {
        &self.info
    }

    fn spans(&self, stream: StreamId, range: TimeRange) -> Result<Vec<Span>> {
        let stream = self.streams.iter().find(|known| known.summary.id == stream).unwrap();
        let spans = stream.runs.iter().filter_map(|(run, steps)| {
            let walls = || steps.iter().filter_map(|step| sample_of(step)).map(|sample| sample.wall);
            let (from, to) = (walls().min()?, walls().max()?);
            let touches = range.from.is_none_or(|begin| to >= begin) && range.to.is_none_or(|end| from < end);
            touches.then_some(Span {
                run: *run,
                from,
                to,
                first_chunk: ChunkNumber(1),
                last_chunk: ChunkNumber(2),
            })
        });
        Ok(spans.collect())
    }
}

fn sample_of(step: &Step) -> Option<&StoredSample> {
    if let Step::Item(Item::Sample(sample)) = step { Some(sample) } else { None }
}

/// From the last video sync sample at or before the range, with everything that was said before it, to its end.
fn read_run(steps: &[Step], range: TimeRange) -> Vec<Step> {
    let sync = |step: &Step| {
        sample_of(step)
            .is_some_and(|sample| sample.track == TrackNumber(1) && sample.flags.contains(SampleFlags::SYNC))
    };
    let before = |step: &Step| {
        range.from.is_some_and(|from| sample_of(step).is_some_and(|sample| sample.wall <= from))
    };
    let begin = steps.iter().rposition(|step| sync(step) && before(step)).unwrap_or(0);
    let behind = |step: &Step| {
        sync(step) && range.to.is_some_and(|to| sample_of(step).is_some_and(|sample| sample.wall >= to))
    };
    let end = steps.iter().position(behind).unwrap_or(steps.len());
    let passed = |step: &Step| matches!(step, Step::Passed { available_from } if range.from.is_some_and(|from| from >= *available_from));
    let said = steps[..begin].iter().filter(
        |step| matches!(step, Step::Item(item) if !matches!(item, Item::Sample(_) | Item::Damage(_))),
    );
    said.chain(&steps[begin..end.max(begin)]).filter(|step| !passed(step)).cloned().collect()
}

/// A configuration of one video track that no decoder will see.
pub(super) fn invented_video() -> Configuration {
    let track = keha_fs::TrackConfiguration {
        track: TrackNumber(1),
        kind: TrackKind::Video,
        codec: *b"avc1",
        timescale: 90_000,
        width: 640,
        height: 360,
        channels: 0,
        sample_rate: 0,
        private: vec![1, 100, 0, 31, 0xff, 0xe0, 0],
    };
    Configuration { tracks: vec![track], session: Vec::new() }
}
