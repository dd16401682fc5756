//! A track: a recorded configuration as MP4 describes it.

use crate::codec_private::{avc_sets, hevc_sets};
use crate::error::Result;
use crate::mp4::entry::{Coding, Described, describe};
use crate::mp4::failed;
use keha_fs::{TrackConfiguration, TrackKind};
use std::collections::BTreeSet;

/// Where decoders find the parameter sets of H.264 and H.265 (ISO/IEC 14496-15, 5.2.2 and 8.2.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ParameterSets {
    /// In the sample entry alone (`avc1`, `hvc1`): what every player takes, Apple's H.265 included. Sets are taken out of
    /// the samples; a set that the sample entry does not have calls for another init segment ([`crate::mp4::Payload`]).
    /// Samples of a file are as long as they were recorded all the same ([`Track::file_payload`]).
    #[default]
    SampleEntry,
    /// In the sample entry (`avc1`, `hvc1`), and again in the first sample of each segment. Strictly no set may stand there, but decoders
    /// take it, and ffmpeg (5.1) needs it: of a playlist it reads the first init segment alone, and what is behind a change
    /// of the pictures' size would be decoded by the sets of before.
    SampleEntryAndSegment,
}

/// A track of an MP4 file or of a series of segments.
#[derive(Clone, Debug)]
pub struct Track {
    pub(crate) id: u32,
    pub(crate) configuration: TrackConfiguration,
    pub(crate) sets: ParameterSets,
    pub(crate) known_sets: BTreeSet<Vec<u8>>,
    pub(crate) entry: mp4_atom::Codec,
    pub(crate) coding: Coding,
    name: String,
    reorder_max: usize,
}

impl Track {
    /// A track with this number (from 1, each once in a file) of this configuration.
    ///
    /// Errors: [`crate::Error::Mp4`] if the codec has no place in MP4, or its configuration cannot be read.
    pub fn new(id: u32, configuration: &TrackConfiguration, sets: ParameterSets) -> Result<Track> {
        let at = || format!("track {id}");
        if id == 0 || configuration.timescale == 0 {
            return Err(failed(at(), "a track's number and timescale are not 0; number from 1"));
        }
        let described = describe(configuration).map_err(|reason| failed(at(), reason))?;
        let Described { entry, name, coding, reorder_max } = described;
        let known = match coding {
            Coding::Avc => avc_sets(&configuration.private),
            Coding::Hevc => hevc_sets(&configuration.private),
            Coding::Aac | Coding::G711(_) => None,
        };
        let known_sets =
            known.map_or_else(BTreeSet::new, |(_, sets)| sets.into_iter().map(Vec::from).collect());
        let configuration = configuration.clone();
        Ok(Track { id, configuration, sets, known_sets, entry, coding, name, reorder_max })
    }

    /// Its number in the file.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Its codec as playlists and browsers name it (RFC 6381): `avc1.640028`, `hvc1.1.6.L93.B0`, `mp4a.40.2`, `fLaC`.
    pub fn codec_string(&self) -> &str {
        &self.name
    }

    /// Ticks a second of all its times: those of the recording.
    pub fn timescale(&self) -> u32 {
        self.configuration.timescale
    }

    /// What it carries.
    pub fn kind(&self) -> TrackKind {
        self.configuration.kind
    }

    /// How far pictures may be reordered, by the parameter sets: what [`crate::mp4::DecodeTimes`] has to look ahead. Less is
    /// no error: presentation times stay exact, and decode times come late by what was missing.
    pub fn reorder_max(&self) -> usize {
        self.reorder_max
    }

    /// How long a sample lasts by itself, in ticks, where that is known: sound does, pictures do not.
    pub(crate) fn natural_ticks(&self, stored_bytes: Option<usize>) -> Option<u32> {
        let samples = match (self.coding, stored_bytes) {
            (Coding::Aac, _) => AAC_FRAME_SAMPLES,
            (Coding::G711(format), Some(bytes)) => bytes as u64 / u64::from(format.channels),
            _ => return None,
        };
        let rate = u64::from(self.configuration.sample_rate.max(1));
        u32::try_from(samples * u64::from(self.timescale()) / rate).ok()
    }

    /// A duration for a sample of which nothing tells one: a picture of 25 a second.
    pub(crate) fn assumed_ticks(&self) -> u32 {
        (self.timescale() / 25).max(1)
    }

    /// Whether only some of its samples are sync samples.
    pub(crate) fn has_sync_samples(&self) -> bool {
        matches!(self.coding, Coding::Avc | Coding::Hevc)
    }
}

/// Samples of a channel in an AAC access unit (ISO/IEC 14496-3, 4.5.1.1, `frameLengthFlag` 0, as RFC 3640 streams have it).
const AAC_FRAME_SAMPLES: u64 = 1024;
