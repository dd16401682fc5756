//! One file of an export while it is written: which streams' tracks it has, and what went into them.
//!
//! It decides whether a sample can go into it ([`Part::admit`]); which part is tried is the splitter's business.

use crate::error::Result;
use crate::export::feed::Piece;
use crate::export::feed_log::ENTRIES_MAX;
use crate::export::parameter_sets::{Relation, relate};
use crate::export::ranges::Ranges;
use crate::mkv::{Block, IntervalMeter, Muxer, Track, is_supported};
use crate::time::rfc3339;
use keha_fs::{
    Configuration, ConfigurationHash, RunId, SampleFlags, StreamId, StreamName, TrackKind, TrackNumber,
    WallTime,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Where there are no pictures, places to seek to are this far apart.
const SOUND_CUE_NS: i64 = 1_000_000_000;

/// A file being written.
pub(crate) struct Part<'a> {
    pub muxer: Muxer<'a>,
    /// By lane.
    pub streams: BTreeMap<usize, PartStream>,
    next_track: u64,
    last_cue: Option<WallTime>,
    pub begins_because: Option<String>,
}

/// A stream in the file.
pub(crate) struct PartStream {
    id: StreamId,
    name: StreamName,
    /// What the file's tracks say.
    configuration: Arc<Configuration>,
    /// The configuration last used, known to be covered.
    current: Option<ConfigurationHash>,
    pub tracks: BTreeMap<TrackNumber, PartTrack>,
    pub runs: Vec<PartRun>,
    pub configurations: Vec<(ConfigurationHash, WallTime)>,
    pub ranges: Ranges,
    pub transport_loss_samples: u64,
    pub signed_samples: u64,
    pub samples: u64,
    pub bytes: u64,
}

/// A track in the file.
pub(crate) struct PartTrack {
    pub number: u64,
    pub meter: IntervalMeter,
    pub samples: u64,
    pub sync_samples: u64,
    pub bytes: u64,
    pub first: WallTime,
    pub last: WallTime,
    /// How long the last sample is by its own size, for sound of one byte a sample.
    last_ns: i64,
}

/// A run in the file.
pub(crate) struct PartRun {
    pub run: RunId,
    pub first: WallTime,
    pub last: WallTime,
    pub samples: u64,
}

impl<'a> Part<'a> {
    pub(crate) fn new(muxer: Muxer<'a>, begins_because: Option<String>) -> Part<'a> {
        Part { muxer, streams: BTreeMap::new(), next_track: 1, last_cue: None, begins_because }
    }

    /// Gives a stream its tracks, before its first sample here. False if there is no room for them any more.
    pub(crate) fn add(
        &mut self,
        lane: usize,
        id: StreamId,
        name: &StreamName,
        configuration: &Arc<Configuration>,
    ) -> Result<bool> {
        let mut tracks = BTreeMap::new();
        for track in configuration.tracks.iter().filter(|track| is_supported(track)) {
            tracks.insert(track.track, PartTrack::new(self.next_track));
            self.next_track += 1;
        }
        let before =
            self.streams.insert(lane, PartStream::new(id, name.clone(), configuration.clone(), tracks));
        let added = self.muxer.set_tracks(self.tracks(false))?;
        if !added {
            match before {
                Some(before) => self.streams.insert(lane, before),
                None => self.streams.remove(&lane),
            };
        }
        Ok(added)
    }

    /// Makes the file ready for this sample, or says why the sample needs another.
    pub(crate) fn admit(
        &mut self,
        lane: usize,
        id: StreamId,
        name: &StreamName,
        piece: &Piece,
    ) -> Result<std::result::Result<(), String>> {
        let hash = piece.sample.configuration;
        let fixed = self.muxer.is_fixed();
        let wall = piece.sample.wall;
        let set_back = || Ok(Err(format!("{name}: the clock was set back to {}", rfc3339(wall))));
        let too_early = self.muxer.begins_behind(wall);
        let Some(stream) = self.streams.get_mut(&lane) else {
            if too_early {
                return set_back();
            }
            let added = self.add(lane, id, name, &piece.configuration)?;
            return Ok(if added { Ok(()) } else { Err(format!("{name} begins")) });
        };
        if stream.current == Some(hash) && stream.runs.last().is_some_and(|run| run.run == piece.sample.run) {
            return Ok(Ok(()));
        }
        let another_run = stream.runs.last().is_none_or(|run| run.run != piece.sample.run);
        // Another stream's clock may have been set back less far: its file begins behind this.
        if another_run && (too_early || stream.reaches().is_some_and(|last| wall <= last)) {
            return set_back();
        }
        match relate(&stream.configuration, &piece.configuration) {
            Relation::Covered => {}
            // In a pipe the header has gone out; the added sets are in the samples as the camera sent them.
            Relation::Extends if fixed => stream.configuration = piece.configuration.clone(),
            Relation::Extends => {
                let before = std::mem::replace(&mut stream.configuration, piece.configuration.clone());
                if !self.muxer.set_tracks(self.tracks(false))? {
                    self.streams.entry(lane).and_modify(|stream| stream.configuration = before);
                    return Ok(Err(format!("{name}: the parameter sets outgrew the header")));
                }
            }
            Relation::Differs(_) if stream.samples == 0 => {
                let added = self.add(lane, id, name, &piece.configuration)?;
                return Ok(if added { Ok(()) } else { Err(format!("{name}: the configuration changed")) });
            }
            Relation::Differs(why) => return Ok(Err(format!("{name}: {why}"))),
        }
        self.streams.entry(lane).and_modify(|stream| stream.current = Some(hash));
        Ok(Ok(()))
    }

    /// Takes a sample that was admitted.
    pub(crate) fn push(&mut self, lane: usize, piece: Piece) -> Result<()> {
        let pictures = self.streams.values().any(PartStream::has_video);
        let Some(stream) = self.streams.get_mut(&lane) else { return Ok(()) };
        let wall = piece.sample.wall;
        let may_begin = if stream.has_video() { piece.begins_pictures() } else { true };
        stream.note(&piece, may_begin);
        let Some(track) = stream.tracks.get(&piece.sample.track) else { return Ok(()) };
        let cue = if pictures {
            piece.begins_pictures()
        } else {
            self.last_cue.is_none_or(|last| wall.since_ns(last) >= SOUND_CUE_NS)
        };
        if cue {
            self.last_cue = Some(wall);
        }
        let key = piece.is_sync();
        self.muxer.push(Block {
            track: track.number,
            wall,
            key,
            discardable: !key && piece.sample.flags.contains(SampleFlags::DISCARDABLE),
            cue,
            data: piece.sample.data,
        })
    }

    /// The file's tracks, all or those that have samples.
    pub(crate) fn tracks(&self, used: bool) -> Vec<Track> {
        let mut video_chosen = false;
        let mut tracks = Vec::new();
        for stream in self.streams.values() {
            for (number, track) in &stream.tracks {
                let Some(configuration) = stream.configuration.track(*number) else { continue };
                if used && track.samples == 0 {
                    continue;
                }
                // Players show the first stream by themselves; its sound goes with it.
                let video = configuration.kind == TrackKind::Video;
                let default =
                    if video { !std::mem::replace(&mut video_chosen, true) } else { tracks.len() <= 1 };
                tracks.push(Track {
                    number: track.number,
                    uid: track_uid(stream.id, *number),
                    name: stream.name.to_string(),
                    default,
                    default_duration_ns: if used && video {
                        track.meter.constant_ns(configuration.timescale)
                    } else {
                        None
                    },
                    configuration: configuration.clone(),
                });
            }
        }
        tracks
    }

    /// The end of the file's last sample.
    pub(crate) fn end(&self) -> WallTime {
        let ends = self.streams.values().flat_map(|stream| {
            stream.tracks.iter().filter(|(_, track)| track.samples > 0).map(|(number, track)| {
                let timescale =
                    stream.configuration.track(*number).map_or(1, |configuration| configuration.timescale);
                let lasts =
                    if track.last_ns > 0 { track.last_ns } else { track.meter.shortest_ns(timescale) };
                track.last.plus_ns(lasts)
            })
        });
        ends.max().unwrap_or_default()
    }

    /// No more samples: settles the measured intervals and puts the final tracks into the header.
    pub(crate) fn settle(&mut self) -> Result<()> {
        for track in self.streams.values_mut().flat_map(|stream| stream.tracks.values_mut()) {
            track.meter.interrupt();
        }
        self.streams.retain(|_, stream| stream.samples > 0);
        if !self.muxer.is_fixed() {
            let tracks = self.tracks(true);
            if !self.muxer.set_tracks(tracks)? {
                tracing::debug!("the final tracks do not fit; the provisional ones stay");
            }
        }
        Ok(())
    }
}

impl PartStream {
    fn new(
        id: StreamId,
        name: StreamName,
        configuration: Arc<Configuration>,
        tracks: BTreeMap<TrackNumber, PartTrack>,
    ) -> PartStream {
        PartStream {
            id,
            name,
            configuration,
            current: None,
            tracks,
            runs: Vec::new(),
            configurations: Vec::new(),
            ranges: Ranges::default(),
            transport_loss_samples: 0,
            signed_samples: 0,
            samples: 0,
            bytes: 0,
        }
    }

    pub(crate) fn id(&self) -> StreamId {
        self.id
    }

    pub(crate) fn name(&self) -> &StreamName {
        &self.name
    }

    /// The configuration that the file's tracks state.
    pub(crate) fn configuration(&self) -> &Configuration {
        &self.configuration
    }

    fn has_video(&self) -> bool {
        self.configuration.tracks.iter().any(|track| track.kind == TrackKind::Video)
    }

    /// How far its footage goes: its pictures, where it has any. Sound may run a little ahead of them, and a run that
    /// follows closely does not overlap for that.
    fn reaches(&self) -> Option<WallTime> {
        let pictures = self.has_video();
        let counts = |number: &TrackNumber| {
            !pictures || self.configuration.track(*number).is_some_and(|track| track.kind == TrackKind::Video)
        };
        let used = self.tracks.iter().filter(|(number, track)| track.samples > 0 && counts(number));
        used.map(|(_, track)| track.last).max()
    }

    fn note(&mut self, piece: &Piece, may_begin: bool) {
        let sample = &piece.sample;
        let bytes = sample.data.len() as u64;
        let changed = self.configurations.last().is_none_or(|(hash, _)| *hash != sample.configuration);
        if changed && self.configurations.len() < ENTRIES_MAX {
            self.configurations.push((sample.configuration, sample.wall));
        }
        match self.runs.last_mut().filter(|run| run.run == sample.run) {
            Some(run) => {
                run.samples += 1;
                run.first = run.first.min(sample.wall);
                run.last = run.last.max(sample.wall);
            }
            None => {
                self.tracks.values_mut().for_each(|track| track.meter.interrupt());
                self.runs.push(PartRun {
                    run: sample.run,
                    first: sample.wall,
                    last: sample.wall,
                    samples: 1,
                });
            }
        }
        self.current.get_or_insert(sample.configuration);
        self.ranges.push(sample, may_begin);
        self.samples += 1;
        self.bytes += bytes;
        self.transport_loss_samples += u64::from(sample.flags.contains(SampleFlags::LOSS));
        self.signed_samples += u64::from(sample.flags.contains(SampleFlags::SIGNATURE));
        let Some(track) = self.tracks.get_mut(&sample.track) else { return };
        track.meter.push(sample.ticks);
        (track.first, track.last) = if track.samples == 0 {
            (sample.wall, sample.wall)
        } else {
            (track.first.min(sample.wall), track.last.max(sample.wall))
        };
        track.samples += 1;
        track.sync_samples += u64::from(piece.is_sync());
        track.bytes += bytes;
        if let Some(sound) =
            self.configuration.track(sample.track).filter(|track| matches!(&track.codec, b"ulaw" | b"alaw"))
        {
            let bytes_a_second = i128::from(sound.sample_rate.max(1)) * i128::from(sound.channels.max(1));
            track.last_ns = i64::try_from(i128::from(bytes) * 1_000_000_000 / bytes_a_second).unwrap_or(0);
        }
    }
}

impl PartTrack {
    fn new(number: u64) -> PartTrack {
        PartTrack {
            number,
            meter: IntervalMeter::default(),
            samples: 0,
            sync_samples: 0,
            bytes: 0,
            first: WallTime::default(),
            last: WallTime::default(),
            last_ns: 0,
        }
    }
}

/// A track's unique id: the same in every export of the stream, so that files can be compared and joined.
pub(crate) fn track_uid(stream: StreamId, track: TrackNumber) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(stream.0.as_bytes()).update(&[track.0]);
    let hash = *hasher.finalize().as_bytes();
    let [a, b, c, d, e, f, g, ..] = hash;
    // Not zero, and within 56 bits, which every tool prints alike.
    u64::from_be_bytes([0, a, b, c, d, e, f, g]).max(1)
}
