//! The sample a depacketizer gives out.

use bytes::Bytes;

/// What is known about a sample without decoding it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SampleFlags {
    /// Decoding can begin here. H.264: it has an IDR slice (a recovery point SEI does not count: before it is reached
    /// the picture is not the one that was sent). H.265: its first slice belongs to an IRAP picture, which is IDR,
    /// CRA or BLA; pictures that follow a CRA but precede it in output order (RASL) cannot be decoded when decoding
    /// begins at it. Audio: always.
    pub sync: bool,
    /// No other sample needs it. H.264: `nal_ref_idc` is 0 in all slices. H.265: all slices are sub-layer
    /// non-reference, at the highest TemporalId seen so far.
    pub discardable: bool,
    /// Packets were lost inside it or directly before it, or a part of it was unusable and left out.
    pub loss: bool,
    /// It carries an SEI message by which a camera signs its video: `user_data_unregistered` with the UUID of ONVIF
    /// media signing or of Axis signed video.
    pub signature: bool,
}

/// One sample: the access unit of a picture, or one audio frame.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccessUnit {
    /// Presentation time: the RTP timestamp, unwrapped, in ticks of the clock rate. Two samples may have the same
    /// one where a camera gives two pictures one timestamp.
    pub ticks: i64,
    /// What is known about it.
    pub flags: SampleFlags,
    /// The sample, in pieces to be written one after the other. Video is one piece, in which each NAL unit stands behind its
    /// length in four bytes, big-endian (ISO/IEC 14496-15 5.3.4.2).
    pub data: Vec<Bytes>,
    /// Bytes in `data` altogether.
    pub len: usize,
    /// RTP sequence number of the packet with which it began: for messages only.
    pub sequence_number: u16,
    /// The parameter sets in it, each whole: copies of what stands in `data`.
    pub(crate) parameter_sets: Vec<Bytes>,
    /// The picture parameter set that its first slice names.
    pub(crate) picture_parameter_set: Option<u8>,
}

impl AccessUnit {
    /// The pieces joined: a copy, for callers that need the sample in one place.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        self.data.concat()
    }
}
