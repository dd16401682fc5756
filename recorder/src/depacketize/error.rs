//! What can be wrong with a packet, and why a track cannot be recorded at all.

use crate::codec::CodecError;

/// Something that was left out, and the packet to look at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("RTP packet {sequence_number}: {kind}")]
pub struct DepacketizeError {
    /// RTP sequence number of the packet in which it was found.
    pub sequence_number: u16,
    /// What is wrong.
    pub kind: ErrorKind,
}

/// What is wrong with a packet or a sample.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// No payload, or a NAL unit without bytes. Costs the packet, or that NAL unit.
    #[error("empty {what}")]
    Empty {
        /// What should have been there.
        what: &'static str,
    },
    /// A length points behind the end of the packet. Costs the rest of the packet.
    #[error("{what} needs {needed} bytes and the packet has {available} left")]
    Truncated {
        /// What is cut off.
        what: &'static str,
        /// Bytes it should have.
        needed: usize,
        /// Bytes there are.
        available: usize,
    },
    /// A packet form that was not agreed on or is reserved. Costs the packet.
    #[error("payload form {what} is not supported (RFC {rfc})")]
    UnsupportedForm {
        /// Its name.
        what: &'static str,
        /// Where it is defined.
        rfc: u16,
    },
    /// A NAL unit of a reserved type or with `forbidden_zero_bit` set. Costs that NAL unit.
    #[error("NAL unit header {header:#06x} is not valid")]
    InvalidNalHeader {
        /// The header as it stands; one byte in H.264.
        header: u16,
    },
    /// A fragment whose beginning never came. Costs the NAL unit.
    #[error("fragment of a NAL unit whose start is missing")]
    FragmentWithoutStart,
    /// A fragmented NAL unit whose end never came although no packet is missing. Costs the NAL unit.
    #[error("fragmented NAL unit ended by {by}")]
    FragmentWithoutEnd {
        /// What came instead.
        by: &'static str,
    },
    /// The sample is larger than a sample may be. Costs the sample.
    #[error("sample too large: more than {limit_bytes} bytes")]
    SampleTooLarge {
        /// The limit.
        limit_bytes: usize,
    },
    /// The sample, or the packet, has more parts than it may have. Costs it.
    #[error("more than {limit} {what}")]
    TooManyParts {
        /// Of what there are too many.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// The stream ended, or a packet format rule broke, with NAL units but no picture in hand. Costs those.
    #[error("{nal_units} NAL units without a picture at the end of the stream")]
    NoPicture {
        /// How many.
        nal_units: usize,
    },
    /// Audio access units sent out of order (RFC 3640 3.3.1). Costs the packet.
    #[error("interleaved access units are not supported (RFC 3640 3.2.3.2)")]
    Interleaved,
    /// A fragmented audio access unit whose parts do not add up. Costs the access unit.
    #[error("fragments of an access unit of {announced} bytes end after {gathered}")]
    FragmentSize {
        /// Size announced by its header.
        announced: usize,
        /// Bytes that came.
        gathered: usize,
    },
    /// A parameter set that cannot be used. Costs that set; it stays in its sample.
    #[error(transparent)]
    ParameterSet(#[from] CodecError),
}

/// Why a track cannot be recorded. It costs the track, not the camera.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unsupported {
    /// No depacketizer for it.
    #[error("{media} encoding {encoding:?} cannot be recorded: set the camera to H.264, H.265, AAC or G.711")]
    Encoding {
        /// `video`, `audio` ...
        media: String,
        /// Name from `rtpmap`.
        encoding: String,
    },
    /// The session description gives no clock rate.
    #[error("the session description gives no clock rate for {encoding}")]
    ClockRate {
        /// Name from `rtpmap`.
        encoding: String,
    },
    /// A format parameter that asks for something not implemented.
    #[error("{encoding} with {parameter}={value} cannot be recorded: {reason}")]
    Parameter {
        /// Name from `rtpmap`.
        encoding: String,
        /// Name of the `fmtp` parameter.
        parameter: &'static str,
        /// Its value.
        value: String,
        /// Why not.
        reason: &'static str,
    },
    /// A format parameter without which nothing can be decoded is missing.
    #[error("{encoding} without the format parameter {parameter} cannot be recorded")]
    Missing {
        /// Name from `rtpmap`.
        encoding: String,
        /// Name of the `fmtp` parameter.
        parameter: &'static str,
    },
    /// The audio configuration cannot be used.
    #[error("{encoding}: {error}")]
    Configuration {
        /// Name from `rtpmap`.
        encoding: String,
        /// What is wrong with it.
        error: CodecError,
    },
}
