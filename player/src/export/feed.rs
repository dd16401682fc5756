//! One stream's samples, in the order of recording, exactly those that belong into an export.
//!
//! Turns a volume's items into pieces: keeps to the range and the chosen run, begins each run where decoding can begin,
//! goes on behind damage, and behind the ring's tail where all of a stream is wanted. Whatever is not a sample goes into
//! the [`FeedLog`]. What must not live here: other streams, files, Matroska.

use crate::error::{Error, Result};
use crate::export::archive::{Source, Streams};
use crate::export::feed_log::FeedLog;
use crate::mkv::is_supported;
use keha_fs::{
    ChunkNumber, Configuration, ConfigurationHash, Error as VolumeError, Finding, Item, RunId, SampleFlags,
    SampleRow, StoredSample, StreamSummary, TimeRange, TrackKind, TrackNumber, WallTime,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// How far behind the range's end items are looked at: a picture that is decoded before, but shown after, the last ones in
/// the range has to be known to judge them.
const LOOK_BEHIND_NS: i64 = 1_000_000_000;

/// Half the first step forward where reading did not get on behind the ring's tail.
const STEP_NS: i64 = 50_000_000;

/// The most pictures past the end that are held back for one that may need them (H.264 and H.265 reorder by at most 16).
const HELD_MAX: usize = 16;

/// The most configurations that are kept: more than samples are held back.
const CONFIGURATIONS_KEPT: usize = 512;

/// A sample as far as its choice needs it: with its bytes, or without.
pub(crate) trait Chosen: Sized {
    /// The sample in an item, or the item.
    fn of(item: Item) -> std::result::Result<Self, Item>;
    fn track(&self) -> TrackNumber;
    fn wall(&self) -> WallTime;
    fn flags(&self) -> SampleFlags;
    fn run(&self) -> RunId;
    fn configuration(&self) -> ConfigurationHash;
    fn chunk(&self) -> ChunkNumber;
}

macro_rules! chosen {
    ($sample:ident, $item:ident) => {
        impl Chosen for $sample {
            fn of(item: Item) -> std::result::Result<Self, Item> {
                if let Item::$item(sample) = item { Ok(sample) } else { Err(item) }
            }
            fn track(&self) -> TrackNumber {
                self.track
            }
            fn wall(&self) -> WallTime {
                self.wall
            }
            fn flags(&self) -> SampleFlags {
                self.flags
            }
            fn run(&self) -> RunId {
                self.run
            }
            fn configuration(&self) -> ConfigurationHash {
                self.configuration
            }
            fn chunk(&self) -> ChunkNumber {
                self.chunk
            }
        }
    };
}

chosen!(StoredSample, Sample);
chosen!(SampleRow, Listed);

/// A sample and what goes with it.
#[derive(Clone, Debug)]
pub(crate) struct Piece<S = StoredSample> {
    pub sample: S,
    /// In which of the archive's volumes it stands.
    pub place: usize,
    pub kind: TrackKind,
    pub configuration: Arc<Configuration>,
}

impl<S: Chosen> Piece<S> {
    /// Whether pictures can be decoded from here on.
    pub(crate) fn begins_pictures(&self) -> bool {
        self.kind == TrackKind::Video && self.is_sync()
    }

    pub(crate) fn is_sync(&self) -> bool {
        self.kind != TrackKind::Video || self.sample.flags().contains(SampleFlags::SYNC)
    }
}

/// What of a stream is wanted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wanted {
    pub range: TimeRange,
    pub run: Option<RunId>,
}

/// Reads one stream.
pub(crate) struct Feed<'a, S = StoredSample> {
    archive: &'a dyn Streams,
    pub stream: StreamSummary,
    wanted: Wanted,
    source: Option<Box<dyn Source + 'a>>,
    run: Option<RunId>,
    /// The latest configurations, the newest last.
    configurations: VecDeque<(ConfigurationHash, Arc<Configuration>)>,
    /// Video tracks whose current run has had a sync sample.
    decodable: BTreeSet<TrackNumber>,
    /// Something did not verify since the run began or reading resumed: what follows it is kept as it comes.
    damaged: bool,
    /// Pictures past the range's end, by track, in decode order.
    held: BTreeMap<TrackNumber, Vec<(usize, S)>>,
    /// Video tracks of this run that are past the range's end for good.
    ended: BTreeSet<TrackNumber>,
    ready: VecDeque<(usize, S)>,
    /// The last sample lay behind the range's end, and what did not verify since: outside the range, unless something
    /// inside it follows.
    past_end: bool,
    doubtful: Vec<Finding>,
    /// By volume.
    last_chunk: BTreeMap<usize, ChunkNumber>,
    last_wall: Option<WallTime>,
    resumed_from: Option<WallTime>,
    step_ns: i64,
    /// What was given of each volume before reading went on: not to be given again.
    given_up_to: BTreeMap<usize, ChunkNumber>,
    pub log: FeedLog,
}

impl<'a, S: Chosen> Feed<'a, S> {
    /// Begins to read. A stream with nothing in the range gives no piece.
    pub(crate) fn new(
        archive: &'a dyn Streams,
        stream: StreamSummary,
        wanted: Wanted,
    ) -> Result<Feed<'a, S>> {
        let mut feed = Feed {
            archive,
            stream,
            wanted,
            source: None,
            run: None,
            configurations: VecDeque::new(),
            decodable: BTreeSet::new(),
            damaged: false,
            held: BTreeMap::new(),
            ended: BTreeSet::new(),
            ready: VecDeque::new(),
            past_end: false,
            doubtful: Vec::new(),
            last_chunk: BTreeMap::new(),
            last_wall: None,
            resumed_from: None,
            step_ns: STEP_NS,
            given_up_to: BTreeMap::new(),
            log: FeedLog::new(wanted.range),
        };
        feed.open(wanted.range.from)?;
        Ok(feed)
    }

    fn open(&mut self, from: Option<WallTime>) -> Result<()> {
        let to = self.wanted.range.to.map(|to| to.plus_ns(LOOK_BEHIND_NS));
        self.source = match self.archive.read(&self.stream, TimeRange { from, to }) {
            Ok(source) => Some(source),
            Err(VolumeError::NotRecorded { .. }) => None,
            Err(VolumeError::Overwritten { available_from }) => return self.resume(available_from),
            Err(other) => return Err(other.into()),
        };
        Ok(())
    }

    /// The ring passed this reader. Where a beginning was asked for, that is an error; all of a stream is what is left.
    fn resume(&mut self, available_from: Option<WallTime>) -> Result<()> {
        let Some(available) = available_from.filter(|_| self.wanted.range.from.is_none()) else {
            return Err(Error::Overwritten {
                stream: self.stream.name.clone(),
                reached: self.last_wall,
                available_from,
            });
        };
        // Neighbouring blocks share a few moments, so the one just lost may be met again: each further step is twice as
        // long, and this ends.
        let from = match self.resumed_from {
            Some(before) if available <= before => {
                self.step_ns = self.step_ns.saturating_mul(2);
                before.plus_ns(self.step_ns)
            }
            _ => available,
        };
        self.resumed_from = Some(from);
        self.given_up_to = self.last_chunk.clone();
        self.log.resumed(self.last_wall, from);
        self.decodable.clear();
        self.damaged = false;
        self.open(Some(from))
    }

    /// The next piece; `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Piece<S>>> {
        loop {
            if let Some((place, sample)) = self.ready.pop_front() {
                if let Some(piece) = self.piece(place, sample)? {
                    return Ok(Some(piece));
                }
                continue;
            }
            let Some(source) = &mut self.source else { return Ok(None) };
            match source.next_item() {
                Ok(Some(item)) => {
                    let place = source.place();
                    self.take(place, item)?;
                }
                Ok(None) => self.source = None,
                Err(VolumeError::Overwritten { available_from }) => {
                    self.source = None;
                    self.resume(available_from)?;
                }
                Err(other) => return Err(other.into()),
            }
        }
    }

    fn take(&mut self, place: usize, item: Item) -> Result<()> {
        let item = match S::of(item) {
            Ok(sample) => return self.sort(place, sample),
            Err(item) => item,
        };
        match item {
            Item::Run(run) => self.enter(run),
            Item::Configuration(hash, configuration) => {
                self.log.unsupported(configuration.tracks.iter().filter(|track| !is_supported(track)));
                self.know(hash, configuration);
            }
            Item::Anchor(anchor) => {
                if let Some(run) = self.run {
                    self.log.anchor(run, &anchor);
                }
            }
            Item::Gap(gap) => self.log.gap(gap),
            Item::Erased(span) => self.log.gap(span.gap()),
            Item::Damage(finding) => {
                self.damaged = true;
                if self.past_end {
                    self.doubtful.push(finding);
                } else {
                    self.log.damage(&finding, self.last_wall);
                }
            }
            // A kind of item that this version does not know is no sample.
            _ => {}
        }
        Ok(())
    }

    fn enter(&mut self, run: RunId) {
        if self.run.replace(run) != Some(run) {
            // Damage between two runs may have taken the new run's first sample.
            self.decodable.clear();
            self.held.clear();
            self.ended.clear();
            self.settle_doubts();
        }
    }

    /// What did not verify behind the range's end is in the range after all: footage of it follows.
    fn settle_doubts(&mut self) {
        self.past_end = false;
        for finding in std::mem::take(&mut self.doubtful) {
            self.log.damage(&finding, self.last_wall);
        }
    }

    /// Decides by the range: into `ready`, held back, or left.
    fn sort(&mut self, place: usize, sample: S) -> Result<()> {
        self.enter(sample.run());
        let repeated = self.given_up_to.get(&place).is_some_and(|last| sample.chunk() <= *last);
        if repeated || self.wanted.run.is_some_and(|run| run != sample.run()) {
            return Ok(());
        }
        let configuration = self.configuration_of(&sample)?;
        let video = configuration.track(sample.track()).is_some_and(|track| track.kind == TrackKind::Video);
        let has_video = configuration.tracks.iter().any(|track| track.kind == TrackKind::Video);
        let past_end = self.wanted.range.to.is_some_and(|to| sample.wall() >= to);
        if past_end {
            self.past_end = true;
        } else {
            self.settle_doubts();
        }
        let before_begin = self.wanted.range.from.is_some_and(|from| sample.wall() < from);
        if !video {
            // Sound needs no earlier sample, so it has pre-roll only beside pictures.
            if !past_end && (has_video || !before_begin) {
                self.ready.push_back((place, sample));
            }
            return Ok(());
        }
        if self.ended.contains(&sample.track()) {
            return Ok(());
        }
        if past_end {
            let held = self.held.entry(sample.track()).or_default();
            if sample.flags().contains(SampleFlags::SYNC) || held.len() == HELD_MAX {
                self.ended.insert(sample.track());
                self.held.remove(&sample.track());
            } else {
                held.push((place, sample));
            }
            return Ok(());
        }
        // This picture lies in the range although others before it in decode order do not: it may need them.
        self.ready.extend(self.held.remove(&sample.track()).into_iter().flatten());
        self.ready.push_back((place, sample));
        Ok(())
    }

    /// Keeps a configuration for the samples that come, and those of which samples may still be waiting.
    fn know(&mut self, hash: ConfigurationHash, configuration: Arc<Configuration>) {
        self.configurations.retain(|(known, _)| *known != hash);
        if self.configurations.len() >= CONFIGURATIONS_KEPT {
            self.configurations.pop_front();
        }
        self.configurations.push_back((hash, configuration));
    }

    fn configuration_of(&self, sample: &S) -> Result<Arc<Configuration>> {
        let known = self.configurations.iter().rev().find(|(hash, _)| *hash == sample.configuration());
        known.map(|(_, configuration)| Arc::clone(configuration)).ok_or_else(|| {
            Error::Volume(VolumeError::Corrupt {
                what: format!("configuration {} of {}", sample.configuration(), self.stream.name),
                at: 0,
            })
        })
    }

    fn piece(&mut self, place: usize, sample: S) -> Result<Option<Piece<S>>> {
        let configuration = self.configuration_of(&sample)?;
        let Some(track) = configuration.track(sample.track()).filter(|track| is_supported(track)) else {
            return Ok(None);
        };
        let kind = track.kind;
        if kind == TrackKind::Video && !self.decodable.contains(&sample.track()) {
            if sample.flags().contains(SampleFlags::SYNC) || self.damaged {
                self.decodable.insert(sample.track());
            } else {
                // The ring has taken the sync sample: no decoder could use this one.
                self.log.undecodable_samples += 1;
                return Ok(None);
            }
        }
        self.last_chunk.insert(place, sample.chunk());
        self.last_wall = Some(sample.wall());
        self.log.sample(sample.wall());
        Ok(Some(Piece { sample, place, kind, configuration }))
    }
}
