//! What a viewer is told. Messages are shared: cloning one copies no footage.

use bytes::Bytes;
use keha_fs::{Gap, WallTime};
use std::sync::Arc;

/// One thing that a viewer is told, in the order in which it is to be applied.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Message {
    /// What follows is decoded with this: the first message with footage, and again wherever the configuration, the run or the
    /// clock changed.
    Init(Arc<Init>),
    /// Pictures and sound.
    Fragment(Fragment),
    /// Footage is missing here; nothing need be done about it.
    Gap(Gap),
    /// The viewer fell behind and was taken to the newest keyframe, or what came before the next one could not be had.
    Skipped {
        /// How many pictures and packets of sound were not given, at least: what could not be had is not counted.
        samples: u64,
    },
    /// Nothing is recorded now; the viewer stays, and goes on when there is something again.
    Waiting {
        /// Since when, as far as is known.
        since: WallTime,
    },
    /// The stream has no track that can be put into MP4; why, for people.
    Unplayable(Arc<str>),
}

/// An init segment and what a page has to know of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Init {
    /// Counts the init segments of this mux, from 1.
    pub number: u64,
    /// The codecs as `MediaSource.isTypeSupported` and `addSourceBuffer` take them (RFC 6381): `avc1.640028,mp4a.40.2`.
    pub codecs: String,
    /// `ftyp` and `moov`.
    pub bytes: Bytes,
    /// The picture, if there is one.
    pub video: Option<VideoFacts>,
    /// The sound, if there is some.
    pub audio: Option<AudioFacts>,
    /// The time on the axis of what follows, minus its wall time, in nanoseconds. 0, but where the recorder's clock was set back:
    /// there the axis goes on and the clock does not.
    pub axis_ahead_ns: i64,
    /// The wall time of the first sample behind it.
    pub wall: WallTime,
}

/// A picture's properties.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VideoFacts {
    /// Its codec (RFC 6381).
    pub codec: String,
    /// In pixels.
    pub width: u16,
    /// In pixels.
    pub height: u16,
    /// Ticks a second in the fragments.
    pub timescale: u32,
}

/// A sound's properties.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AudioFacts {
    /// Its codec (RFC 6381).
    pub codec: String,
    /// Samples a second.
    pub sample_rate: u32,
    /// How many channels.
    pub channels: u8,
    /// Ticks a second in the fragments.
    pub timescale: u32,
}

/// `moof` and `mdat`: one picture with the sound that came before it, or sound alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// The segment.
    pub bytes: Bytes,
    /// Whether decoding can begin with it.
    pub sync: bool,
    /// The wall time of its picture; without one, of its first sound.
    pub wall: WallTime,
    /// How long that lasts, in nanoseconds, as far as can be known before the next one came.
    pub duration_ns: i64,
    /// How many pictures and packets of sound are in it.
    pub samples: u64,
}
