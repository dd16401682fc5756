//! A period: a stretch of one run under one configuration, which one init segment serves.

use super::lane::{JUMP_NS, Lane};
use super::message::{AudioFacts, Fragment, Init, VideoFacts};
use super::tracks::{Entry, entry};
use crate::error::Result;
use crate::mp4::{FragmentTrack, Track, fragment, init};
use keha_fs::{ConfigurationHash, RunId, SampleFlags, StoredSample, TrackKind, TrackNumber, WallTime};
use std::sync::Arc;

/// Sound goes without a picture when so much of it waits, in nanoseconds: beside pictures that come seldom, and alone.
const SOUND_BESIDE_NS: i64 = 100_000_000;
const SOUND_ALONE_NS: i64 = 40_000_000;

/// How far the axis is used.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Used {
    /// Everything given so far is shown before this moment of the axis, in nanoseconds.
    pub(super) until_ns: i64,
    /// The number of the next fragment.
    pub(super) sequence: u32,
}

/// A period under way.
pub(super) struct Period {
    pub(super) run: RunId,
    pub(super) configuration: ConfigurationHash,
    pub(super) init: Arc<Init>,
    tracks: Vec<(TrackNumber, Track)>,
    lanes: Vec<Lane>,
    /// Something could not be muxed, or was not had: nothing is given before the next sync sample.
    broken: bool,
    /// So many samples were taken and not given, and that was not told yet.
    left_out: u64,
    told: bool,
}

impl Period {
    /// A period that begins with this sample, the first of what is given of its run.
    pub(super) fn begin(
        number: u64,
        tracks: &[(TrackNumber, Track)],
        first: &StoredSample,
        used: Used,
    ) -> Result<Period> {
        let bare: Vec<Track> = tracks.iter().map(|(_, track)| track.clone()).collect();
        let ahead_ns = used.until_ns.saturating_sub(first.wall.0).max(0);
        let names: Vec<&str> = bare.iter().map(Track::codec_string).collect();
        let made = Init {
            number,
            codecs: names.join(","),
            bytes: init(&bare)?,
            video: bare.iter().find(|track| track.kind() == TrackKind::Video).map(video_facts),
            audio: bare.iter().find(|track| track.kind() == TrackKind::Audio).map(audio_facts),
            axis_ahead_ns: ahead_ns,
            wall: first.wall,
        };
        let lane = |(number, track): &(TrackNumber, Track)| {
            Lane::new(*number, track.clone(), ahead_ns, used.until_ns)
        };
        Ok(Period {
            run: first.run,
            configuration: first.configuration,
            init: Arc::new(made),
            tracks: tracks.to_vec(),
            lanes: tracks.iter().map(lane).collect(),
            broken: false,
            left_out: 0,
            told: false,
        })
    }

    /// Whether a sample goes on here: a clock that jumped begins another period, where decoding can begin.
    pub(super) fn goes_on_with(&self, sample: &StoredSample) -> bool {
        let same = (self.run, self.configuration) == (sample.run, sample.configuration);
        let jumped = || {
            let lane = self.lanes.iter().find(|lane| lane.number == sample.track);
            lane.is_some_and(|lane| lane.drift_ns(sample).saturating_abs() > JUMP_NS)
        };
        same && !(entry(&self.tracks, sample) == Entry::Begins && jumped())
    }

    /// What came before was not had.
    pub(super) fn interrupt(&mut self) {
        self.broken = true;
        self.left_out += self.waiting();
        self.lanes.iter_mut().for_each(Lane::clear);
    }

    /// How many samples were taken and not given since this was asked.
    pub(super) fn take_left_out(&mut self) -> u64 {
        std::mem::take(&mut self.left_out)
    }

    fn waiting(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.waiting.len() as u64).sum()
    }

    /// Takes sound from before the first picture: it goes with that.
    pub(super) fn hold(&mut self, sound: StoredSample) {
        if let Some(lane) = self.lanes.iter_mut().find(|lane| lane.number == sound.track) {
            lane.push(sound);
        }
    }

    /// Takes the next sample; a fragment, if one is due.
    pub(super) fn push(&mut self, sample: StoredSample, used: &mut Used) -> Option<Fragment> {
        let entry = entry(&self.tracks, &sample);
        self.broken &= entry != Entry::Begins;
        if self.broken {
            self.left_out += 1;
            return None;
        }
        let sync = sample.flags.contains(SampleFlags::SYNC);
        let wall = sample.wall;
        let lane = self.lanes.iter_mut().find(|lane| lane.number == sample.track)?;
        let video = lane.track.kind() == TrackKind::Video;
        lane.push(sample);
        let alone = self.init.video.is_none();
        match video {
            true => self.fragment(wall, sync, used),
            false if lane.waiting_ns() >= if alone { SOUND_ALONE_NS } else { SOUND_BESIDE_NS } => {
                self.flush(used)
            }
            false => None,
        }
    }

    /// A fragment of the sound that waits.
    pub(super) fn flush(&mut self, used: &mut Used) -> Option<Fragment> {
        let wall = self.lanes.iter().filter_map(|lane| lane.waits_since).min()?;
        self.fragment(wall, self.init.video.is_none(), used)
    }

    fn fragment(&mut self, wall: WallTime, sync: bool, used: &mut Used) -> Option<Fragment> {
        let parts: Vec<FragmentTrack<'_>> = self.lanes.iter().map(Lane::part).collect();
        let whole = fragment(used.sequence, &parts);
        // A packet of sound that is none must not cost the picture.
        let made = whole
            .or_else(|error| fragment(used.sequence, parts.get(..1).unwrap_or_default()).map_err(|_| error));
        let samples = self.waiting();
        let duration_ns = self.lanes.iter().find(|lane| !lane.waiting.is_empty()).map_or(0, Lane::waiting_ns);
        let ends = self.lanes.iter().filter_map(Lane::end_ns).max().unwrap_or(used.until_ns);
        self.lanes.iter_mut().for_each(Lane::clear);
        match made {
            Ok(made) => {
                used.sequence = used.sequence.wrapping_add(1);
                used.until_ns = used.until_ns.max(ends);
                if !made.needs_init.is_empty() && !std::mem::replace(&mut self.told, true) {
                    tracing::warn!("live: the camera sends parameter sets that its configuration lacks");
                }
                Some(Fragment { bytes: made.data, sync, wall, duration_ns, samples })
            }
            Err(error) => {
                tracing::warn!(%error, "live: a picture is left out, with what needs it");
                self.broken = true;
                self.left_out += samples;
                None
            }
        }
    }
}

fn video_facts(track: &Track) -> VideoFacts {
    VideoFacts {
        codec: track.codec_string().to_owned(),
        width: track.configuration.width,
        height: track.configuration.height,
        timescale: track.timescale(),
    }
}

fn audio_facts(track: &Track) -> AudioFacts {
    AudioFacts {
        codec: track.codec_string().to_owned(),
        sample_rate: track.configuration.sample_rate,
        channels: track.configuration.channels,
        timescale: track.timescale(),
    }
}
