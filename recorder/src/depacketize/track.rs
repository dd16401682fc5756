//! One media section of a camera, from its session description to samples with their configuration.
//!
//! Promises:
//! - A configuration comes before the first sample that needs it; for video the first sample is a sync sample with
//!   all the parameter sets that its slices name. What came before is counted ([`Track::skipped`]), not given out.
//! - Parameter sets from the session description and from the stream are one set; the stream's overrule.
//! - Repeated parameter sets make no new configuration. See [`crate::codec::parameter_sets`] for what a change does.

use super::aac::{Aac, AacParameters};
use super::g711::{G711, Law};
use super::h264::H264;
use super::h265::H265;
use super::sample::AccessUnit;
use super::{DepacketizeError, Depacketizer, ErrorKind, Output, RtpPacket, Unsupported};
use crate::codec::nal::VideoCodec;
use crate::codec::parameter_sets::{Change, ParameterSets};
use crate::codec::sdp::MediaDescription;
use crate::codec::{TrackFormat, aac};

/// How a configuration relates to the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// The first one.
    Initial,
    /// Everything before it can be decoded with it as well: parameter sets were added.
    Added,
    /// Another content: resolution, profile, a replaced parameter set.
    Changed,
}

/// What a track gives out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TrackEvent {
    /// Holds for the samples from here on.
    Configuration(TrackFormat, ChangeKind),
    /// A sample.
    Sample(AccessUnit),
    /// Something was left out.
    Error(DepacketizeError),
}

/// A track: depacketizer and configuration.
#[derive(Debug)]
pub struct Track {
    depacketizer: Depacketizer,
    configurator: Configurator,
    /// Parameter sets of the session description that cannot be used; told with the first packet.
    early_errors: Vec<ErrorKind>,
    timescale: u32,
}

impl Track {
    /// Makes a track of a media section (see [`crate::codec::sdp`]).
    ///
    /// # Errors
    ///
    /// [`Unsupported`] says what the camera should be set to, or what is missing.
    pub fn new(media: &MediaDescription) -> Result<Self, Unsupported> {
        let encoding = media.encoding.clone();
        if media.clock_rate_hz == 0 && !encoding.is_empty() {
            return Err(Unsupported::ClockRate { encoding });
        }
        match (media.media.as_str(), encoding.as_str()) {
            ("video", "h264") => Self::h264(media),
            ("video", "h265" | "hevc") => Self::h265(media),
            ("audio", "mpeg4-generic") => Self::aac(media),
            ("audio", "pcmu") => Ok(Self::g711(media, Law::Mu)),
            ("audio", "pcma") => Ok(Self::g711(media, Law::A)),
            _ => Err(Unsupported::Encoding { media: media.media.clone(), encoding }),
        }
    }

    fn h264(media: &MediaDescription) -> Result<Self, Unsupported> {
        if media.number("packetization-mode") == Some(2) {
            return Err(parameter(
                media,
                "packetization-mode",
                "interleaved mode (RFC 6184 6.4) is not supported",
            ));
        }
        Ok(Self::video(media, VideoCodec::H264, Depacketizer::H264(H264::default())))
    }

    fn h265(media: &MediaDescription) -> Result<Self, Unsupported> {
        if media.number("sprop-max-don-diff").is_some_and(|diff| diff > 0) {
            let reason = "decoding order numbers (RFC 7798 7.1) are not supported";
            return Err(parameter(media, "sprop-max-don-diff", reason));
        }
        Ok(Self::video(media, VideoCodec::H265, Depacketizer::H265(H265::default())))
    }

    fn video(media: &MediaDescription, codec: VideoCodec, depacketizer: Depacketizer) -> Self {
        let mut sets = ParameterSets::new(codec);
        let mut early_errors = Vec::new();
        for set in media.parameter_sets() {
            if let Err(error) = set.and_then(|nal| sets.observe(&nal)) {
                early_errors.push(ErrorKind::ParameterSet(error));
            }
        }
        let timescale = media.clock_rate_hz;
        let video = Video { sets, timescale, current: None, since: Change::None, skipped: 0 };
        Self { depacketizer, configurator: Configurator::Video(Box::new(video)), early_errors, timescale }
    }

    fn aac(media: &MediaDescription) -> Result<Self, Unsupported> {
        let encoding = || media.encoding.clone();
        let Some(config) = media.parameter("config") else {
            return Err(Unsupported::Missing { encoding: encoding(), parameter: "config" });
        };
        let private = aac::decode_hex(config);
        let parsed = private.and_then(|private| aac::parse(&private).map(|asc| (private, asc)));
        let (private, asc) =
            parsed.map_err(|error| Unsupported::Configuration { encoding: encoding(), error })?;
        if media.number("maxdisplacement").is_some_and(|displacement| displacement > 0) {
            let reason = "interleaving (RFC 3640 3.3.1) is not supported";
            return Err(parameter(media, "maxdisplacement", reason));
        }
        let channels = if asc.channels > 0 { asc.channels } else { media.channels.unwrap_or(0) };
        if channels == 0 {
            let reason = "it names no channels, and neither does rtpmap";
            return Err(parameter(media, "config", reason));
        }
        let format = TrackFormat {
            codec: *b"mp4a",
            timescale: media.clock_rate_hz,
            private,
            width: 0,
            height: 0,
            channels,
            sample_rate: asc.sample_rate,
        };
        let depacketizer = Aac::new(aac_parameters(media, &asc)?);
        Ok(Self::audio(Depacketizer::Aac(depacketizer), format))
    }

    fn g711(media: &MediaDescription, law: Law) -> Self {
        let format = TrackFormat {
            codec: law.code(),
            timescale: media.clock_rate_hz,
            private: Vec::new(),
            width: 0,
            height: 0,
            channels: media.channels.unwrap_or(1).max(1),
            sample_rate: media.clock_rate_hz,
        };
        Self::audio(Depacketizer::G711(G711::new()), format)
    }

    fn audio(depacketizer: Depacketizer, format: TrackFormat) -> Self {
        let timescale = format.timescale;
        let configurator = Configurator::Audio { format, told: false };
        Self { depacketizer, configurator, early_errors: Vec::new(), timescale }
    }

    /// Takes a packet; gives what follows from it to `out`.
    pub fn push(&mut self, packet: RtpPacket, out: &mut impl FnMut(TrackEvent)) {
        let sequence_number = packet.sequence_number;
        for kind in std::mem::take(&mut self.early_errors) {
            out(TrackEvent::Error(DepacketizeError { sequence_number, kind }));
        }
        let configurator = &mut self.configurator;
        self.depacketizer.push(packet, &mut |output| configurator.take(output, out));
    }

    /// Gives out a sample that only waits for the next packet: see [`Depacketizer::flush`].
    pub fn flush(&mut self, out: &mut impl FnMut(TrackEvent)) {
        let configurator = &mut self.configurator;
        self.depacketizer.flush(&mut |output| configurator.take(output, out));
    }

    /// Ends the stream: gives out what is whole. A connection made again is a new track.
    pub fn finish(&mut self, out: &mut impl FnMut(TrackEvent)) {
        let configurator = &mut self.configurator;
        self.depacketizer.finish(&mut |output| configurator.take(output, out));
    }

    /// Ticks in a second of the sample times.
    #[must_use]
    pub fn timescale(&self) -> u32 {
        self.timescale
    }

    /// Whether it carries pictures.
    #[must_use]
    pub fn is_video(&self) -> bool {
        matches!(self.configurator, Configurator::Video(_))
    }

    /// Its configuration, where that does not depend on what is sent: that of sound. `None` for video, whose parameter sets
    /// come with the pictures.
    #[must_use]
    pub fn known_format(&self) -> Option<&TrackFormat> {
        match &self.configurator {
            Configurator::Video(_) => None,
            Configurator::Audio { format, .. } => Some(format),
        }
    }

    /// Video samples not given out because nothing before them could be decoded.
    #[must_use]
    pub fn skipped(&self) -> u64 {
        match &self.configurator {
            Configurator::Video(video) => video.skipped,
            Configurator::Audio { .. } => 0,
        }
    }

    /// Frames in a second times 1000, as the camera's parameter sets claim: a hint, often absent, sometimes wrong.
    #[must_use]
    pub fn frame_rate_milli(&self) -> Option<u32> {
        match &self.configurator {
            Configurator::Video(video) => video.sets.frame_rate_milli(),
            Configurator::Audio { .. } => None,
        }
    }
}

fn parameter(media: &MediaDescription, parameter: &'static str, reason: &'static str) -> Unsupported {
    let value = media.parameter(parameter).unwrap_or_default().to_owned();
    Unsupported::Parameter { encoding: media.encoding.clone(), parameter, value, reason }
}

/// Cameras leave parameters out that AAC-hbr fixes anyway (RFC 3640 3.3.6); a stated number overrules the mode's.
fn aac_parameters(
    media: &MediaDescription,
    asc: &aac::AudioSpecificConfig,
) -> Result<AacParameters, Unsupported> {
    let ticks =
        u64::from(asc.samples_per_unit) * u64::from(media.clock_rate_hz) / u64::from(asc.sample_rate.max(1));
    let ticks = media.number("constantduration").map_or(ticks, u64::from);
    let ticks = i64::try_from(ticks).unwrap_or(1).max(1);
    let mode = media.parameter("mode").unwrap_or_default().to_ascii_lowercase();
    let base = match mode.as_str() {
        "aac-lbr" => AacParameters::lbr(ticks),
        "generic" => AacParameters {
            size_length: 0,
            index_length: 0,
            index_delta_length: 0,
            ..AacParameters::hbr(ticks)
        },
        _ => AacParameters::hbr(ticks),
    };
    let bits = |name: &'static str, default: u32| match media.number(name) {
        Some(bits) if bits > 32 => Err(parameter(media, name, "it is longer than 32 bits")),
        bits => Ok(bits.unwrap_or(default)),
    };
    Ok(AacParameters {
        size_length: bits("sizelength", base.size_length)?,
        index_length: bits("indexlength", base.index_length)?,
        index_delta_length: bits("indexdeltalength", base.index_delta_length)?,
        cts_delta_length: bits("ctsdeltalength", 0)?,
        dts_delta_length: bits("dtsdeltalength", 0)?,
        random_access_indication: media.number("randomaccessindication") == Some(1),
        stream_state_length: bits("streamstateindication", 0)?,
        auxiliary_size_length: bits("auxiliarydatasizelength", 0)?,
        constant_size: media.number("constantsize").and_then(|size| usize::try_from(size).ok()).unwrap_or(0),
        ticks_per_unit: ticks,
    })
}

/// Puts configurations before the samples that need them.
#[derive(Debug)]
enum Configurator {
    Video(Box<Video>),
    Audio { format: TrackFormat, told: bool },
}

#[derive(Debug)]
struct Video {
    sets: ParameterSets,
    timescale: u32,
    /// The format in force, and what it was made from.
    current: Option<(TrackFormat, (u64, u8))>,
    /// The greatest change of the sets since `current` was made.
    since: Change,
    skipped: u64,
}

impl Configurator {
    fn take(&mut self, output: Output, out: &mut impl FnMut(TrackEvent)) {
        match (output, self) {
            (Output::Error(error), _) => out(TrackEvent::Error(error)),
            (Output::Sample(sample), Self::Video(video)) => video.sample(sample, out),
            (Output::Sample(sample), Self::Audio { format, told }) => {
                if !std::mem::replace(told, true) {
                    out(TrackEvent::Configuration(format.clone(), ChangeKind::Initial));
                }
                out(TrackEvent::Sample(sample));
            }
        }
    }
}

impl Video {
    fn sample(&mut self, mut sample: AccessUnit, out: &mut impl FnMut(TrackEvent)) {
        self.sets.begin_unit();
        for nal in std::mem::take(&mut sample.parameter_sets) {
            match self.sets.observe(&nal) {
                Ok(change) => self.since = self.since.max(change),
                Err(error) => out(TrackEvent::Error(DepacketizeError {
                    sequence_number: sample.sequence_number,
                    kind: ErrorKind::ParameterSet(error),
                })),
            }
        }
        self.sets.end_unit();
        if self.current.is_none() && !sample.flags.sync {
            self.skipped += 1;
            return;
        }
        self.configure(sample.picture_parameter_set, out);
        if self.current.is_none() {
            self.skipped += 1;
            return;
        }
        out(TrackEvent::Sample(sample));
    }

    /// Gives out a configuration if the one in force is not the one for this picture. Where a set it needs is missing
    /// (lost on the way), the one in force stays.
    fn configure(&mut self, pps: Option<u8>, out: &mut impl FnMut(TrackEvent)) {
        let Some(source) = self.sets.source(pps) else { return };
        if self.current.as_ref().is_some_and(|(_, from)| *from == source) {
            return;
        }
        let Some(format) = self.sets.format(pps, self.timescale) else { return };
        let since = std::mem::replace(&mut self.since, Change::None);
        let kind = match &self.current {
            None => Some(ChangeKind::Initial),
            Some((current, _)) if *current == format => None,
            Some((_, from)) if from.1 == source.1 && since == Change::Added => Some(ChangeKind::Added),
            Some(_) => Some(ChangeKind::Changed),
        };
        if let Some(kind) = kind {
            out(TrackEvent::Configuration(format.clone(), kind));
        }
        self.current = Some((format, source));
    }
}
