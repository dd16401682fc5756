//! One part while it is planned: which tracks it has, what goes into them, and whether a sample can.

use crate::error::{Error, Result};
use crate::export::feed::Piece;
use crate::export::parameter_sets::{Relation, relate};
use crate::footage::axis::Axis;
use crate::footage::depth::Depth;
use crate::footage::request::Format;
use crate::footage::stretches::Stretches;
use crate::mkv::IntervalMeter;
use crate::mp4::{LayoutBuilder, LayoutSample, ParameterSets, Track};
use crate::time::rfc3339;
use keha_fs::{
    Configuration, ConfigurationHash, RunId, SampleRow, TrackConfiguration, TrackKind, TrackNumber, WallTime,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The longest pause of a track, in its ticks: a duration has 32 bits, and pictures are reordered a little.
const PAUSE_TICKS_MAX: i128 = (1 << 32) - (1 << 28);
/// The same for a track that is still silent where another one of its stream can go over to the next part.
const SILENCE_TICKS_MAX: i128 = 1 << 31;
/// How far before the first sample an MP4's own axis begins: a track may begin a little before the one that is recorded first.
const LEAD_NS: i64 = 10_000_000_000;
/// The most samples of an MP4 that is laid out.
const LAID_OUT_MAX: u64 = 1 << 23;
/// The most stretches of a file: 48 MiB, weeks of a stream. What is prepared must not grow with the volume.
const STRETCHES_MAX: usize = 1 << 21;

/// A part being planned.
pub(super) struct Part {
    /// Its earliest and its latest moment, the latter without the last sample's duration.
    pub from: WallTime,
    pub latest: WallTime,
    /// Why the part before it does not go on.
    pub why: Option<String>,
    pub samples: u64,
    pub bytes: u64,
    pub tracks: Vec<PartTrack>,
    /// Where its tracks' times are zero.
    pub axis: Axis,
    /// `None` unless it is the part that is wanted, and an MP4 with its tables in front.
    pub layout: Option<LayoutBuilder>,
    /// Why tracks were left out.
    pub left_out: Vec<String>,
    /// Whether it is the part that is wanted; of the others only the summary counts.
    kept: bool,
    format: Format,
    lanes: BTreeMap<usize, Lane>,
    /// Of all its tracks.
    stretches: usize,
}

/// A stream in the part.
struct Lane {
    configuration: Arc<Configuration>,
    /// What is known to be admitted.
    current: (ConfigurationHash, RunId),
    /// In which volumes its pieces stand, in their order.
    pieces: Vec<usize>,
    /// Its tracks as far as they have turned up: which of the part's, `None` if left out.
    tracks: BTreeMap<TrackNumber, Option<usize>>,
}

/// A track of the part.
pub(super) struct PartTrack {
    pub lane: usize,
    pub configuration: TrackConfiguration,
    /// As MP4 describes it, if it is one.
    pub mp4: Option<Track>,
    pub stretches: Stretches,
    pub meter: IntervalMeter,
    /// Of pictures that go into fragments.
    pub depth: Option<Depth>,
    pub latest: WallTime,
}

impl Part {
    pub(super) fn new(first: WallTime, why: Option<String>, format: Format, kept: bool) -> Part {
        Part {
            from: first,
            latest: first,
            why,
            samples: 0,
            bytes: 0,
            tracks: Vec::new(),
            axis: Axis { zero: first.plus_ns(-LEAD_NS) },
            layout: (kept && format == Format::Mp4).then(LayoutBuilder::empty),
            left_out: Vec::new(),
            kept,
            format,
            lanes: BTreeMap::new(),
            stretches: 0,
        }
    }

    /// Keeps nothing but the summary from now on.
    pub(super) fn forget(&mut self) {
        self.kept = false;
        self.layout = None;
        self.tracks.iter_mut().for_each(|track| track.stretches = Stretches::default());
    }

    /// Makes the part ready for this sample of a stream, or says why it cannot have it. `moves`: the stream can go over to another
    /// part with it.
    pub(super) fn admit(
        &mut self,
        lane: usize,
        piece: &Piece<SampleRow>,
        moves: bool,
    ) -> Result<std::result::Result<(), String>> {
        let row = &piece.sample;
        if moves && let Some(pause) = self.pause(lane, row) {
            return Ok(Err(pause));
        }
        let Some(known) = self.lanes.get(&lane) else { return Ok(Ok(())) };
        let (hash, run) = known.current;
        if (hash, run) == (row.configuration, row.run) {
            return Ok(Ok(()));
        }
        if run != row.run && self.reaches(lane).is_some_and(|latest| row.wall <= latest) {
            return Ok(Err(format!("the clock was set back to {}", rfc3339(row.wall))));
        }
        match relate(&known.configuration, &piece.configuration) {
            Relation::Covered => {}
            Relation::Extends => self.extend(lane, &piece.configuration)?,
            Relation::Differs(why) => return Ok(Err(why.to_owned())),
        }
        if let Some(known) = self.lanes.get_mut(&lane) {
            known.current = (row.configuration, row.run);
        }
        if run != row.run {
            // Its ticks count from elsewhere.
            let mine = self.tracks.iter_mut().filter(|track| track.lane == lane);
            mine.for_each(|track| track.meter.interrupt());
        }
        Ok(Ok(()))
    }

    /// Takes a sample that was admitted.
    pub(super) fn push(&mut self, lane: usize, piece: &Piece<SampleRow>) -> Result<()> {
        let row = &piece.sample;
        let known = self.lanes.entry(lane).or_insert_with(|| Lane {
            configuration: Arc::clone(&piece.configuration),
            current: (row.configuration, row.run),
            pieces: Vec::new(),
            tracks: BTreeMap::new(),
        });
        if known.pieces.last() != Some(&piece.place) {
            known.pieces.push(piece.place);
        }
        let number = u16::try_from(known.pieces.len() - 1);
        let known_track = known.tracks.get(&row.track).copied();
        let index = match known_track {
            Some(index) => index,
            None => self.add_track(lane, row.track)?,
        };
        let Some(index) = index else { return Ok(()) };
        let Some(track) = self.tracks.get_mut(index) else { return Ok(()) };
        if let Some(layout) = &mut self.layout {
            if self.samples >= LAID_OUT_MAX {
                return Err(Error::Invalid(format!(
                    "an MP4 file of more than {LAID_OUT_MAX} samples; ask for a shorter range, or for Matroska"
                )));
            }
            layout.push(index, laid(track, row, piece.is_sync(), self.axis)?)?;
        }
        if self.kept {
            let too_many = || {
                Error::Invalid(
                    "more footage of a track than one file can list; ask for a shorter range".into(),
                )
            };
            let before = track.stretches.len();
            let number = number.map_err(|_| too_many())?;
            track.stretches.push(number, row).ok_or_else(too_many)?;
            self.stretches += track.stretches.len() - before;
            if self.stretches > STRETCHES_MAX {
                return Err(Error::Invalid(
                    "more footage than one file can list; ask for a shorter range".into(),
                ));
            }
        }
        track.meter.push(row.ticks);
        if let Some(depth) = &mut track.depth {
            depth.push(self.axis.ticks(row.wall, track.configuration.timescale), piece.is_sync());
        }
        track.latest = track.latest.max(row.wall);
        self.from = self.from.min(row.wall);
        self.latest = self.latest.max(row.wall);
        self.samples += 1;
        self.bytes += u64::from(row.bytes);
        Ok(())
    }

    /// Begins a track; `None` if the file cannot have it.
    fn add_track(&mut self, lane: usize, number: TrackNumber) -> Result<Option<usize>> {
        let Some(known) = self.lanes.get_mut(&lane) else { return Ok(None) };
        let Some(configuration) = known.configuration.track(number).cloned() else { return Ok(None) };
        let made = match self.format {
            Format::Mkv => Ok(None),
            Format::Mp4 | Format::FragmentedMp4 => described(self.tracks.len(), &configuration).map(Some),
        };
        let mp4 = match made {
            Ok(mp4) => mp4,
            Err(why) => {
                known.tracks.insert(number, None);
                self.left_out.push(why.to_string());
                return Ok(None);
            }
        };
        if let (Some(layout), Some(track)) = (&mut self.layout, &mp4) {
            layout.add(track.clone())?;
        }
        let pictures =
            |track: &&Track| self.format == Format::FragmentedMp4 && track.kind() == TrackKind::Video;
        let depth = mp4.as_ref().filter(pictures).map(|track| Depth::new(track.reorder_max()));
        let index = self.tracks.len();
        known.tracks.insert(number, Some(index));
        self.tracks.push(PartTrack {
            lane,
            configuration,
            mp4,
            stretches: Stretches::default(),
            meter: IntervalMeter::default(),
            depth,
            latest: WallTime::MIN,
        });
        Ok(Some(index))
    }

    /// Describes a stream's tracks by a configuration that has all parameter sets of the one before.
    fn extend(&mut self, lane: usize, configuration: &Arc<Configuration>) -> Result<()> {
        let Some(known) = self.lanes.get_mut(&lane) else { return Ok(()) };
        known.configuration = Arc::clone(configuration);
        for (number, index) in &known.tracks {
            let Some((index, new)) = index.zip(configuration.track(*number)) else { continue };
            let Some(track) = self.tracks.get_mut(index) else { continue };
            track.configuration = new.clone();
            if track.mp4.is_some() {
                let made = described(index, new)?;
                if let Some(layout) = &mut self.layout {
                    layout.redescribe(index, made.clone());
                }
                track.mp4 = Some(made);
            }
        }
        Ok(())
    }

    /// In which volumes the pieces of a stream stand.
    pub(super) fn pieces(&self, lane: usize) -> Vec<usize> {
        self.lanes.get(&lane).map(|lane| lane.pieces.clone()).unwrap_or_default()
    }

    /// How far a stream's footage goes: its pictures, where it has any, for sound may run a little ahead of them.
    fn reaches(&self, lane: usize) -> Option<WallTime> {
        let mine = || self.tracks.iter().filter(|track| track.lane == lane);
        let video = |track: &&PartTrack| track.configuration.kind == TrackKind::Video;
        let latest = |track: &PartTrack| track.latest;
        mine().filter(video).map(latest).max().or_else(|| mine().map(latest).max())
    }

    /// Why a track of the stream was silent for too long, if one was.
    fn pause(&self, lane: usize, row: &SampleRow) -> Option<String> {
        let tracks = &self.lanes.get(&lane)?.tracks;
        tracks.iter().find_map(|(number, index)| {
            let track = self.tracks.get((*index)?)?;
            let silent_ns = i128::from(row.wall.since_ns(track.latest));
            let ticks = silent_ns * i128::from(track.configuration.timescale) / 1_000_000_000;
            let most = if *number == row.track { PAUSE_TICKS_MAX } else { SILENCE_TICKS_MAX };
            (ticks > most).then(|| format!("a pause of {} hours", silent_ns / 3_600_000_000_000))
        })
    }
}

/// A track as MP4 has it. Its number in the file counts from 1.
fn described(index: usize, configuration: &TrackConfiguration) -> Result<Track> {
    let id = u32::try_from(index + 1).map_err(|_| Error::Invalid("too many tracks".into()))?;
    Track::new(id, configuration, ParameterSets::SampleEntry)
}

/// A sample as its layout needs it.
fn laid(track: &PartTrack, row: &SampleRow, sync: bool, axis: Axis) -> Result<LayoutSample> {
    let ticks = axis.ticks(row.wall, track.configuration.timescale);
    let bytes = track.mp4.as_ref().and_then(|mp4| mp4.file_bytes(row.bytes as usize, ticks));
    let wrong = || Error::Mp4 {
        at: format!("the sample of {}", rfc3339(row.wall)),
        reason: format!("a packet of {} bytes has no place in it; ask for Matroska", row.bytes),
    };
    Ok(LayoutSample { ticks, sync, bytes: bytes.ok_or_else(wrong)? })
}
