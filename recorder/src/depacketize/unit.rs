//! The access unit being gathered: NAL units as lists of pieces, and what they say together.
//!
//! Must not live here: when a unit begins and ends (that is [`super::assembler`]).

use bytes::Bytes;

use super::sample::{AccessUnit, SampleFlags};
use super::{Limits, start_code};
use crate::codec::bits::Unescape;
use crate::codec::nal::{HEAD_LEN, NalInfo, Role, VideoCodec, inspect};

/// ONVIF media signing: 005bc93f-2d71-5e95-ada4-796f90877a6f.
const ONVIF_SIGNATURE: [u8; 16] =
    [0x00, 0x5b, 0xc9, 0x3f, 0x2d, 0x71, 0x5e, 0x95, 0xad, 0xa4, 0x79, 0x6f, 0x90, 0x87, 0x7a, 0x6f];
/// Axis signed video: 5369676e-6564-2056-6964-656f2e2e2e30, which is "Signed Video...0".
const AXIS_SIGNATURE: [u8; 16] = *b"Signed Video...0";
/// `user_data_unregistered` (H.264 D.1, H.265 D.2).
const USER_DATA_UNREGISTERED: usize = 5;

/// A NAL unit header that stood apart from the bytes behind it, in a fragmented NAL unit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Header {
    bytes: [u8; 2],
    len: usize,
}

impl Header {
    pub(super) fn one(byte: u8) -> Self {
        Self { bytes: [byte, 0], len: 1 }
    }

    pub(super) fn two(bytes: [u8; 2]) -> Self {
        Self { bytes, len: 2 }
    }

    pub(super) fn nal_type(self, codec: VideoCodec) -> u8 {
        match codec {
            VideoCodec::H264 => self.bytes[0] & 0x1f,
            VideoCodec::H265 => self.bytes[0] >> 1 & 0x3f,
        }
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// A NAL unit: its header if that stood apart, and how many pieces hold the rest.
#[derive(Debug)]
struct Nal {
    header: Header,
    pieces: usize,
    len: usize,
}

/// Why a NAL unit could not be added.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Full {
    Bytes,
    NalUnits,
    Pieces,
}

/// An access unit being gathered.
#[derive(Debug)]
pub(super) struct Unit {
    codec: VideoCodec,
    limits: Limits,
    nals: Vec<Nal>,
    pieces: Vec<Bytes>,
    /// The fragmented NAL unit in progress, whose pieces are the last in `pieces`.
    open: Option<Nal>,
    bytes: usize,
    slices: usize,
    referenced: bool,
    first_slice: Option<NalInfo>,
    temporal_id: u8,
    has_random_access: bool,
    signature: bool,
    parameter_sets: Vec<Bytes>,
    /// Packets were lost, or something left out.
    pub(super) loss: bool,
    pub(super) sequence_number: u16,
}

impl Unit {
    pub(super) fn new(codec: VideoCodec, limits: Limits) -> Self {
        Self {
            codec,
            limits,
            nals: Vec::new(),
            pieces: Vec::new(),
            open: None,
            bytes: 0,
            slices: 0,
            referenced: false,
            first_slice: None,
            temporal_id: 0,
            has_random_access: false,
            signature: false,
            parameter_sets: Vec::new(),
            loss: false,
            sequence_number: 0,
        }
    }

    pub(super) fn has_picture(&self) -> bool {
        self.slices > 0
    }

    pub(super) fn nal_units(&self) -> usize {
        self.nals.len()
    }

    pub(super) fn is_fragment_open(&self) -> bool {
        self.open.is_some()
    }

    /// The header of the fragmented NAL unit in progress.
    pub(super) fn open_header(&self) -> Option<Header> {
        self.open.as_ref().map(|nal| nal.header)
    }

    /// Whether the picture began with its first slice, as far as its slices show.
    pub(super) fn has_picture_start(&self) -> bool {
        self.first_slice.is_some_and(|slice| slice.starts_picture)
    }

    /// Adds a whole NAL unit.
    pub(super) fn add(&mut self, nal: Bytes) -> Result<(), Full> {
        self.open_fragments(Header::default(), nal)?;
        self.close_fragments()
    }

    /// Begins a fragmented NAL unit with its header and first fragment.
    pub(super) fn open_fragments(&mut self, header: Header, body: Bytes) -> Result<(), Full> {
        if self.nals.len() >= self.limits.nal_units {
            return Err(Full::NalUnits);
        }
        self.open = Some(Nal { header, pieces: 0, len: 0 });
        self.grow(4 + header.len)?;
        self.add_fragment(body)
    }

    /// Adds a further fragment to the fragmented NAL unit in progress.
    pub(super) fn add_fragment(&mut self, body: Bytes) -> Result<(), Full> {
        if body.is_empty() {
            return Ok(());
        }
        if self.pieces.len() >= self.limits.pieces {
            return Err(Full::Pieces);
        }
        self.grow(body.len())?;
        if let Some(nal) = &mut self.open {
            nal.pieces += 1;
            nal.len += body.len();
            self.pieces.push(body);
        }
        Ok(())
    }

    fn grow(&mut self, len: usize) -> Result<(), Full> {
        self.bytes = self.bytes.saturating_add(len);
        if self.bytes > self.limits.sample_bytes { Err(Full::Bytes) } else { Ok(()) }
    }

    /// Ends the fragmented NAL unit in progress: it is whole.
    pub(super) fn close_fragments(&mut self) -> Result<(), Full> {
        let Some(nal) = self.open.take() else { return Ok(()) };
        let first = self.pieces.len().saturating_sub(nal.pieces);
        if start_code::contains(self.pieces.get(first..).unwrap_or_default()) {
            return self.replace_by_its_parts(nal, first);
        }
        self.note(&nal, first);
        self.nals.push(nal);
        Ok(())
    }

    /// A NAL unit with start codes inside is a piece of an Annex B stream: each part is a NAL unit.
    fn replace_by_its_parts(&mut self, nal: Nal, first: usize) -> Result<(), Full> {
        let bodies: Vec<Bytes> = self.pieces.drain(first..).collect();
        self.bytes = self.bytes.saturating_sub(4 + nal.header.len + nal.len);
        let stream = Bytes::from([nal.header.as_slice(), &bodies.concat()].concat());
        for part in start_code::split(&stream) {
            // Without a start code inside now, so this does not come back here.
            self.add(part)?;
        }
        Ok(())
    }

    /// Drops the fragmented NAL unit in progress. Returns whether there was one.
    pub(super) fn drop_fragments(&mut self) -> bool {
        let Some(nal) = self.open.take() else { return false };
        self.pieces.truncate(self.pieces.len().saturating_sub(nal.pieces));
        self.bytes = self.bytes.saturating_sub(4 + nal.header.len + nal.len);
        true
    }

    /// Takes note of what a whole NAL unit says.
    fn note(&mut self, nal: &Nal, first: usize) {
        let bodies = self.pieces.get(first..).unwrap_or_default();
        let bytes = || nal.header.as_slice().iter().copied().chain(bodies.iter().flatten().copied());
        let head: Vec<u8> = bytes().take(HEAD_LEN).collect();
        let info = inspect(self.codec, &head);
        match info.role {
            Role::Slice => {
                self.slices += 1;
                self.referenced |= !info.unreferenced;
                self.has_random_access |= info.random_access;
                self.temporal_id = self.temporal_id.max(info.temporal_id);
                self.first_slice.get_or_insert(info);
            }
            Role::ParameterSet => self.parameter_sets.push(bytes().collect()),
            Role::Sei => self.signature |= is_signature(bytes().skip(self.codec.header_len())),
            Role::Other => {}
        }
    }

    /// The sample, with the unit's flags. `temporal_id_max` is the highest TemporalId of the stream so far; this
    /// unit's is added to it.
    pub(super) fn finish(self, ticks: i64, temporal_id_max: &mut u8) -> AccessUnit {
        *temporal_id_max = self.temporal_id.max(*temporal_id_max);
        let sync = match self.codec {
            VideoCodec::H264 => self.has_random_access,
            VideoCodec::H265 => self.first_slice.is_some_and(|slice| slice.random_access),
        };
        let flags = SampleFlags {
            sync,
            discardable: self.slices > 0 && !self.referenced && self.temporal_id >= *temporal_id_max,
            loss: self.loss,
            signature: self.signature,
        };
        AccessUnit {
            ticks,
            flags,
            len: self.bytes,
            sequence_number: self.sequence_number,
            picture_parameter_set: self.first_slice.and_then(|slice| slice.picture_parameter_set),
            data: interleave(&self.nals, self.pieces),
            parameter_sets: self.parameter_sets,
        }
    }
}

/// Lengths (with the headers that stood apart) and pieces in the order of the sample. All lengths share one
/// allocation.
fn interleave(nals: &[Nal], pieces: Vec<Bytes>) -> Vec<Bytes> {
    let mut prefixes = Vec::with_capacity(nals.len() * 6);
    for nal in nals {
        // Below the limit on a sample, which is far below 4 GiB.
        let len = u32::try_from(nal.header.len + nal.len).unwrap_or(u32::MAX);
        prefixes.extend_from_slice(&len.to_be_bytes());
        prefixes.extend_from_slice(nal.header.as_slice());
    }
    let mut prefixes = Bytes::from(prefixes);
    let mut data = Vec::with_capacity(nals.len() + pieces.len());
    let mut pieces = pieces.into_iter();
    for nal in nals {
        data.push(prefixes.split_to((4 + nal.header.len).min(prefixes.len())));
        data.extend(pieces.by_ref().take(nal.pieces));
    }
    data
}

/// Walks the messages of an SEI NAL unit (H.264 7.3.2.3.1, H.265 7.3.5), given from behind its header.
fn is_signature(bytes: impl Iterator<Item = u8>) -> bool {
    let mut rbsp = Unescape::new(bytes);
    loop {
        let (Some(kind), Some(size)) = (sei_number(&mut rbsp), sei_number(&mut rbsp)) else { return false };
        if kind == USER_DATA_UNREGISTERED && size >= 16 {
            let uuid: Vec<u8> = rbsp.by_ref().take(16).collect();
            if uuid == ONVIF_SIGNATURE || uuid == AXIS_SIGNATURE {
                return true;
            }
            rbsp.by_ref().take(size - 16).for_each(drop);
        } else {
            rbsp.by_ref().take(size).for_each(drop);
        }
    }
}

/// A payload type or size: bytes of 255 add up until one is less.
fn sei_number(rbsp: &mut impl Iterator<Item = u8>) -> Option<usize> {
    let mut number = 0usize;
    loop {
        let byte = rbsp.next()?;
        number = number.saturating_add(usize::from(byte));
        if byte < 0xff {
            return Some(number);
        }
    }
}
