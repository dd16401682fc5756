//! What a decoder must know before the first sample: parameter sets, configuration records and the session
//! description they come from.
//!
//! Promises: nothing here panics on bytes from a camera; parameter sets are passed on byte for byte; a set that
//! cannot be read is an error value and costs no other set.
//!
//! Must not live here: RTP (that is [`crate::depacketize`]), sockets, storage.
//!
//! | module | what |
//! |---|---|
//! | [`sdp`] | the media sections of an SDP (RFC 8866): encoding, clock rate, `fmtp` parameters |
//! | [`nal`] | what a NAL unit header says (ITU-T H.264 7.3.1, H.265 7.3.1) |
//! | [`h264`], [`h265`] | parameter sets, and the avcC and hvcC records (ISO/IEC 14496-15) |
//! | [`parameter_sets`] | which sets are current, and when they change |
//! | [`aac`] | AudioSpecificConfig (ISO/IEC 14496-3 1.6.2.1) |

pub mod aac;
pub(crate) mod bits;
pub mod h264;
pub mod h265;
pub mod nal;
pub mod parameter_sets;
pub mod sdp;

/// The format of a track, as storage and containers want it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrackFormat {
    /// Sample entry code: `avc1`, `hvc1`, `mp4a`, `ulaw` or `alaw`. Video samples are NAL units, each behind its
    /// length in four bytes, big-endian. Parameter sets may stand in the samples as well.
    pub codec: [u8; 4],
    /// Ticks in a second of the sample times: the RTP clock rate.
    pub timescale: u32,
    /// avcC or hvcC record (ISO/IEC 14496-15), AudioSpecificConfig (ISO/IEC 14496-3), or nothing for G.711.
    pub private: Vec<u8>,
    /// Width of the picture in luma samples after cropping; 0 for audio.
    pub width: u16,
    /// Height of the picture in luma samples after cropping; 0 for audio.
    pub height: u16,
    /// Audio channels; 0 for video.
    pub channels: u8,
    /// Audio samples in a second and channel (of the core coder where AAC carries SBR); 0 for video.
    pub sample_rate: u32,
}

/// Why a parameter set or a configuration cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// The bytes end inside a field, or the field cannot be read.
    #[error("{set} ends or is malformed at {field}")]
    Malformed {
        /// Which structure.
        set: &'static str,
        /// Which field of it, by the name the standard gives it.
        field: &'static str,
    },
    /// A field holds what the standard forbids or what no camera can mean.
    #[error("{set}: {field} is {value}, which is out of range")]
    OutOfRange {
        /// Which structure.
        set: &'static str,
        /// Which field of it, by the name the standard gives it.
        field: &'static str,
        /// What it holds.
        value: u32,
    },
    /// The parameter set is longer than any configuration should carry.
    #[error("{set} of {bytes} bytes is longer than the {limit} bytes kept")]
    TooLong {
        /// Which structure.
        set: &'static str,
        /// How long it is.
        bytes: usize,
        /// What is accepted.
        limit: usize,
    },
    /// More different parameter sets than a record can hold.
    #[error("no room for another {set}: a record holds {limit}")]
    TooMany {
        /// Which structure.
        set: &'static str,
        /// What a record holds.
        limit: usize,
    },
    /// Text of the session description that should be base64 or hexadecimal and is not.
    #[error("{parameter} of the session description is not {encoding}")]
    Text {
        /// Name of the `fmtp` parameter.
        parameter: &'static str,
        /// What it should have been.
        encoding: &'static str,
    },
}
