//! Samples: what a stream is made of, as handed in by a recorder and as read back.
//!
//! A sample is one access unit of one track, its bytes as the camera sent them. This module knows no codec and no layout.

use crate::types::{ChunkNumber, ConfigurationHash, RunId, TrackNumber, WallTime};
use bytes::Bytes;

/// The largest sample that is kept, in bytes; the GOP of a larger one becomes a gap.
pub const SAMPLE_BYTES_MAX: usize = 32 << 20;

/// What a sample costs in the queue to the disk beside its bytes.
pub(crate) const QUEUED_OVERHEAD_BYTES: usize = 256;

/// What is known of a sample without decoding it: 16 bits, stored as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SampleFlags(pub u16);

impl SampleFlags {
    /// Decoding can start here (ISO/IEC 14496-12 sync sample; IDR, CRA, BLA; every audio sample).
    pub const SYNC: SampleFlags = SampleFlags(1);
    /// No other sample needs this one.
    pub const DISCARDABLE: SampleFlags = SampleFlags(1 << 1);
    /// Something was lost in transport inside this sample or directly before it.
    pub const LOSS: SampleFlags = SampleFlags(1 << 2);
    /// Carries an SEI message that signs video.
    pub const SIGNATURE: SampleFlags = SampleFlags(1 << 3);
    /// The format's own: this piece begins a sample that is split over chunks.
    pub(crate) const FIRST_FRAGMENT: SampleFlags = SampleFlags(1 << 4);
    /// The format's own: this piece continues a split sample.
    pub(crate) const MORE_FRAGMENT: SampleFlags = SampleFlags(1 << 5);
    /// The format's own: this piece ends a split sample.
    pub(crate) const LAST_FRAGMENT: SampleFlags = SampleFlags(1 << 6);
    /// The format's own: reading a stream may begin here (a video sync sample; without video, the first sample of a chunk).
    pub(crate) const SEEK_POINT: SampleFlags = SampleFlags(1 << 7);
    /// All bits that have a meaning in this version; the others are zero on disk.
    pub(crate) const KNOWN: SampleFlags = SampleFlags(0xff);

    /// Whether all bits of `other` are set here.
    pub fn contains(self, other: SampleFlags) -> bool {
        self.0 & other.0 == other.0
    }

    /// These bits and those.
    #[must_use]
    pub fn with(self, other: SampleFlags) -> SampleFlags {
        SampleFlags(self.0 | other.0)
    }

    /// These bits without the format's own.
    pub(crate) fn of_the_sample(self) -> SampleFlags {
        SampleFlags(self.0 & 0x0f)
    }
}

/// A sample to record.
#[derive(Clone, Debug)]
pub struct Sample {
    /// The track it belongs to; must stand in the stream's configuration.
    pub track: TrackNumber,
    /// Presentation time in the track's timescale since its run began (may be slightly negative for audio that begins early).
    pub ticks: i64,
    /// Its properties; the bits of the format's own are ignored.
    pub flags: SampleFlags,
    /// Its bytes, back to back: the pieces are copied once, into the buffer that goes to the disk.
    pub data: Vec<Bytes>,
}

impl Sample {
    /// The sum of its pieces in bytes.
    pub fn len(&self) -> usize {
        self.data.iter().map(Bytes::len).sum()
    }

    /// Whether it has no bytes at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What it counts for while it waits for the disk, in bytes: the smallest samples cost more than their bytes.
    pub(crate) fn queued_bytes(&self) -> usize {
        self.len().saturating_add(QUEUED_OVERHEAD_BYTES)
    }
}

/// A sample as read back, every byte verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSample {
    /// The track it belongs to.
    pub track: TrackNumber,
    /// Presentation time in the track's timescale since its run began.
    pub ticks: i64,
    /// Wall time of presentation, derived from the clock anchor that holds for it.
    pub wall: WallTime,
    /// Its properties.
    pub flags: SampleFlags,
    /// Its bytes as recorded.
    pub data: Bytes,
    /// The run it belongs to.
    pub run: RunId,
    /// The configuration it needs.
    pub configuration: ConfigurationHash,
    /// The chunk in which it ends.
    pub chunk: ChunkNumber,
}

/// A sample as its chunk's table tells of it, without its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SampleRow {
    /// The track it belongs to.
    pub track: TrackNumber,
    /// Presentation time in the track's timescale since its run began.
    pub ticks: i64,
    /// Wall time of presentation, derived from the clock anchor that holds for it.
    pub wall: WallTime,
    /// Its properties.
    pub flags: SampleFlags,
    /// How many bytes it has, all its pieces together.
    pub bytes: u32,
    /// The run it belongs to.
    pub run: RunId,
    /// The configuration it needs.
    pub configuration: ConfigurationHash,
    /// The chunk in which it begins.
    pub begins: ChunkNumber,
    /// The chunk in which it ends: [`SampleRow::begins`], but for a sample that is split.
    pub chunk: ChunkNumber,
    /// The checksum of that chunk's header. It covers the checksums of the tables, and they those of all samples: where number and
    /// checksum are the same, so are the bytes.
    pub chunk_checksum: u32,
    /// How many entries of its track stand before its own, the last one, in that chunk.
    pub place: u32,
}

/// Where an anchor's wall time comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum ClockSource {
    /// When the sample arrived, by the recorder's clock.
    #[default]
    Arrival = 1,
    /// The camera's RTCP sender report (RFC 3550, section 6.4.1).
    SenderReport = 2,
    /// Another clock of the camera's, such as ONVIF replay time stamps.
    Camera = 3,
}

impl ClockSource {
    /// The source in words, as documents show it.
    pub fn as_str(self) -> &'static str {
        match self {
            ClockSource::Arrival => "arrival",
            ClockSource::SenderReport => "sender report",
            ClockSource::Camera => "camera",
        }
    }

    pub(crate) fn from_byte(byte: u8) -> Option<ClockSource> {
        [ClockSource::Arrival, ClockSource::SenderReport, ClockSource::Camera]
            .into_iter()
            .find(|source| *source as u8 == byte)
    }
}

/// Ties the media clock of a track to wall time: at `ticks` it was `wall`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// The track.
    pub track: TrackNumber,
    /// Ticks per second; not zero.
    pub timescale: u32,
    /// A moment on the track's media clock, in ticks since the run began.
    pub ticks: i64,
    /// The wall time of that moment.
    pub wall: WallTime,
    /// Where that wall time comes from.
    pub source: ClockSource,
    /// How far off it may be, in microseconds.
    pub uncertainty_us: u32,
    /// When the packet that gave the anchor arrived, by the recorder's clock.
    pub arrival: WallTime,
    /// The camera's own clock minus the recorder's, in nanoseconds, as last reported by the camera; 0 with source arrival unless a report was ignored.
    pub camera_offset_ns: i64,
}

impl Anchor {
    /// The wall time of `ticks` on this track's clock.
    pub fn wall_of(&self, ticks: i64) -> WallTime {
        let nanoseconds =
            (i128::from(ticks) - i128::from(self.ticks)) * 1_000_000_000 / i128::from(self.timescale.max(1));
        let wall = i128::from(self.wall.0) + nanoseconds;
        WallTime(i64::try_from(wall).unwrap_or(if wall < 0 { i64::MIN } else { i64::MAX }))
    }
}
