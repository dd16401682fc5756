//! RTP payloads in, whole samples out: H.264, H.265, AAC and G.711.
//!
//! Promises:
//! - **Every NAL unit is kept byte for byte and in order**: parameter sets, SEI, delimiters and filler included.
//! - **Never a torn NAL unit or audio frame.** What lost a part is left out, the rest of its sample is kept and the
//!   sample is marked `loss`; if nothing is left, the next sample carries the mark.
//! - Nothing a camera sends panics or ends a track: errors are values with the sequence number of the packet, and
//!   cost a packet or a sample.
//! - Payload bytes of video are copied once, behind the others of their sample (`slab`): a packet costs no memory of its own,
//!   and a sample is one piece. Sound is not copied: a sample is a piece of the packet it came in.
//! - Memory is bounded ([`Limits`]).
//!
//! Pure logic: no clock, no socket, no thread. Must not live here: RTSP, RTCP, reordering of packets (RTSP over TCP
//! keeps their order, and over UDP retina does), wall time.
//!
//! [`Track`] is the whole of it for one media section; [`Depacketizer`] the part without configurations.
//!
//! # Where an access unit ends
//!
//! RFC 6184 5.1 and RFC 7798 4.1 give the marker bit to the last packet of an access unit and one timestamp to all of
//! it. Real cameras do otherwise, so:
//!
//! | what comes | what it means |
//! |---|---|
//! | another timestamp, slices gathered | the unit is done |
//! | another timestamp, no slice gathered yet (parameter sets with a timestamp of their own, or that of the picture before) | all of it belongs to the picture that follows, and gets its time |
//! | marker, no slice gathered yet, or inside a fragmented NAL unit | nothing |
//! | marker behind a slice | the unit is held until the next packet, then judged: |
//! | - then another timestamp | the unit is done |
//! | - then the same timestamp and a NAL unit that can only begin a unit (first slice of a picture, parameter set, SEI before a picture, delimiter) | the unit is done; a new one has the same time |
//! | - then the same timestamp and anything else (marker on every slice) | the unit goes on |
//!
//! So a sample comes out when the packet behind it arrives. Call `flush` when that does not happen for a while (a
//! frame interval, or some 50 ms): it gives out the held sample.

mod aac;
mod assembler;
mod error;
mod g711;
mod h264;
mod h265;
mod sample;
mod slab;
mod start_code;
#[cfg(test)]
mod tests;
mod track;
mod unit;

use bytes::Bytes;

pub use aac::{Aac, AacParameters};
pub use error::{DepacketizeError, ErrorKind, Unsupported};
pub use g711::{G711, Law};
pub use h264::H264;
pub use h265::H265;
pub use sample::{AccessUnit, SampleFlags};
pub use track::{ChangeKind, Track, TrackEvent};

/// One RTP packet, as far as depacketizing needs it.
///
/// From retina 0.4's `ReceivedPacket`: `timestamp().timestamp()`, `mark()`, `sequence_number()`, `loss()`, and
/// `into_payload_bytes()`, which does not copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RtpPacket {
    /// RTP timestamp, unwrapped to 64 bits, in ticks of the clock rate.
    pub ticks: i64,
    /// Marker bit.
    pub marker: bool,
    /// RTP sequence number: for messages only.
    pub sequence_number: u16,
    /// Packets missing directly before this one. Not heeded on the first packet of a track: some servers count from
    /// a number they never sent.
    pub loss: u32,
    /// Payload without header, extension and padding.
    pub payload: Bytes,
}

/// What a depacketizer gives out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// A whole sample.
    Sample(AccessUnit),
    /// Something was left out.
    Error(DepacketizeError),
}

/// Where a depacketizer puts what it gives out.
pub(crate) type Sink<'a> = &'a mut dyn FnMut(Output);

/// Bounds on what a depacketizer gathers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a sample, lengths included. Above it the sample is abandoned.
    pub sample_bytes: usize,
    /// NAL units of a sample.
    pub nal_units: usize,
    /// Pieces (fragments and whole NAL units) of a sample.
    pub pieces: usize,
}

impl Default for Limits {
    /// 32 MiB, 32,768 NAL units, 131,072 pieces.
    fn default() -> Self {
        Self { sample_bytes: 32 << 20, nal_units: 1 << 15, pieces: 1 << 17 }
    }
}

/// A depacketizer for any of the formats known.
#[derive(Debug)]
pub enum Depacketizer {
    /// RFC 6184.
    H264(H264),
    /// RFC 7798.
    H265(H265),
    /// RFC 3640.
    Aac(Aac),
    /// RFC 3551 4.5.14.
    G711(G711),
}

impl Depacketizer {
    /// Takes a packet; gives what it completes to `out`.
    pub fn push(&mut self, packet: RtpPacket, out: &mut dyn FnMut(Output)) {
        match self {
            Self::H264(h264) => h264.push(packet, out),
            Self::H265(h265) => h265.push(packet, out),
            Self::Aac(aac) => aac.push(packet, out),
            Self::G711(g711) => g711.push(packet, out),
        }
    }

    /// Gives out a sample that only waits for the next packet. For a silence in the middle of a stream: nothing is
    /// torn by it, and should more of the same access unit come after all, that becomes a sample of its own with the
    /// same time.
    pub fn flush(&mut self, out: &mut dyn FnMut(Output)) {
        match self {
            Self::H264(h264) => h264.flush(out),
            Self::H265(h265) => h265.flush(out),
            Self::Aac(_) | Self::G711(_) => {}
        }
    }

    /// Ends the stream: gives out what is whole, drops what is not.
    pub fn finish(&mut self, out: &mut dyn FnMut(Output)) {
        match self {
            Self::H264(h264) => h264.finish(out),
            Self::H265(h265) => h265.finish(out),
            Self::Aac(aac) => aac.finish(out),
            Self::G711(_) => {}
        }
    }
}
