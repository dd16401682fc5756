//! The access unit being gathered: NAL units one behind the other as they are stored, and what they say together.
//!
//! Invariant: what the slab holds is whole NAL units, each behind its length, then at most one in progress.
//!
//! Must not live here: when a unit begins and ends (that is [`super::assembler`]).

use bytes::Bytes;

use super::sample::{AccessUnit, SampleFlags};
use super::slab::Slab;
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

/// The length before each NAL unit (ISO/IEC 14496-15 5.3.4.2).
const LENGTH_BYTES: usize = 4;

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

    /// It and the beginning of what follows it: what [`inspect`] looks at.
    pub(super) fn before(&self, body: &[u8]) -> Head {
        let mut head = Head { bytes: [0; HEAD_LEN], len: 0 };
        let from = self.as_slice().iter().chain(body);
        for (place, byte) in head.bytes.iter_mut().zip(from) {
            *place = *byte;
            head.len += 1;
        }
        head
    }
}

/// The first bytes of a NAL unit.
#[derive(Debug)]
pub(super) struct Head {
    bytes: [u8; HEAD_LEN],
    len: usize,
}

impl Head {
    pub(super) fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// A NAL unit in progress, at the end of what was gathered.
#[derive(Debug)]
struct Open {
    header: Header,
    /// Where its length stands in the sample; the unit follows behind it.
    at: usize,
    pieces: usize,
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
    /// The sample as it is given out: each NAL unit behind its length.
    slab: Slab,
    open: Option<Open>,
    nals: usize,
    pieces: usize,
    facts: Facts,
    /// Packets were lost, or something left out.
    pub(super) loss: bool,
    pub(super) sequence_number: u16,
}

/// What the NAL units say.
#[derive(Debug, Default)]
struct Facts {
    slices: usize,
    referenced: bool,
    first_slice: Option<NalInfo>,
    temporal_id: u8,
    has_random_access: bool,
    signature: bool,
    parameter_sets: Vec<Bytes>,
}

impl Unit {
    pub(super) fn new(codec: VideoCodec, limits: Limits) -> Self {
        Self {
            codec,
            limits,
            slab: Slab::default(),
            open: None,
            nals: 0,
            pieces: 0,
            facts: Facts::default(),
            loss: false,
            sequence_number: 0,
        }
    }

    /// Forgets all of it: another unit begins.
    pub(super) fn clear(&mut self) {
        self.slab.clear();
        self.begin();
    }

    /// Makes ready for the next unit, once the slab is.
    fn begin(&mut self) {
        (self.open, self.nals, self.pieces) = (None, 0, 0);
        (self.loss, self.sequence_number) = (false, 0);
        self.facts = Facts::default();
    }

    pub(super) fn has_picture(&self) -> bool {
        self.facts.slices > 0
    }

    pub(super) fn nal_units(&self) -> usize {
        self.nals
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
        self.facts.first_slice.is_some_and(|slice| slice.starts_picture)
    }

    /// Adds a whole NAL unit.
    pub(super) fn add(&mut self, nal: &[u8]) -> Result<(), Full> {
        self.open_fragments(Header::default(), nal)?;
        self.close_fragments()
    }

    /// Begins a fragmented NAL unit with its header and first fragment.
    pub(super) fn open_fragments(&mut self, header: Header, body: &[u8]) -> Result<(), Full> {
        if self.nals >= self.limits.nal_units {
            return Err(Full::NalUnits);
        }
        self.open = Some(Open { header, at: self.slab.len(), pieces: 0 });
        self.check_room(LENGTH_BYTES + header.len)?;
        self.slab.extend(&[0; LENGTH_BYTES]);
        self.slab.extend(header.as_slice());
        self.add_fragment(body)
    }

    /// Adds a further fragment to the fragmented NAL unit in progress.
    pub(super) fn add_fragment(&mut self, body: &[u8]) -> Result<(), Full> {
        if body.is_empty() {
            return Ok(());
        }
        if self.pieces >= self.limits.pieces {
            return Err(Full::Pieces);
        }
        self.check_room(body.len())?;
        if let Some(nal) = &mut self.open {
            nal.pieces += 1;
            self.pieces += 1;
            self.slab.extend(body);
        }
        Ok(())
    }

    fn check_room(&self, more: usize) -> Result<(), Full> {
        let bytes = self.slab.len().saturating_add(more);
        if bytes > self.limits.sample_bytes { Err(Full::Bytes) } else { Ok(()) }
    }

    /// Ends the fragmented NAL unit in progress: it is whole.
    pub(super) fn close_fragments(&mut self) -> Result<(), Full> {
        let Some(open) = self.open.take() else { return Ok(()) };
        let nal = self.slab.get(open.at + LENGTH_BYTES..).unwrap_or_default();
        if start_code::is_in(nal) {
            return self.replace_by_its_parts(&open);
        }
        self.facts.note(self.codec, nal);
        // Below the limit on a sample, which is far below 4 GiB.
        let length = u32::try_from(nal.len()).unwrap_or(u32::MAX);
        self.slab.replace(open.at, &length.to_be_bytes());
        self.nals += 1;
        Ok(())
    }

    /// A NAL unit with start codes inside is a piece of an Annex B stream: each part is a NAL unit.
    fn replace_by_its_parts(&mut self, open: &Open) -> Result<(), Full> {
        let stream = self.slab.get(open.at + LENGTH_BYTES..).unwrap_or_default().to_vec();
        self.forget(open);
        for part in start_code::split(&stream) {
            // Without a start code inside now, so this does not come back here.
            self.add(part)?;
        }
        Ok(())
    }

    /// Drops the fragmented NAL unit in progress. Returns whether there was one.
    pub(super) fn drop_fragments(&mut self) -> bool {
        let Some(open) = self.open.take() else { return false };
        self.forget(&open);
        true
    }

    fn forget(&mut self, open: &Open) {
        self.slab.truncate(open.at);
        self.pieces = self.pieces.saturating_sub(open.pieces);
    }

    /// The sample, with the unit's flags; the next unit begins. `temporal_id_max` is the highest TemporalId of the stream so far;
    /// this unit's is added to it.
    pub(super) fn take(&mut self, ticks: i64, temporal_id_max: &mut u8) -> AccessUnit {
        // What is not whole is not given out.
        self.drop_fragments();
        let facts = std::mem::take(&mut self.facts);
        *temporal_id_max = facts.temporal_id.max(*temporal_id_max);
        let sync = match self.codec {
            VideoCodec::H264 => facts.has_random_access,
            VideoCodec::H265 => facts.first_slice.is_some_and(|slice| slice.random_access),
        };
        let flags = SampleFlags {
            sync,
            discardable: facts.slices > 0 && !facts.referenced && facts.temporal_id >= *temporal_id_max,
            loss: self.loss,
            signature: facts.signature,
        };
        let sequence_number = self.sequence_number;
        let data = self.slab.take();
        self.begin();
        AccessUnit {
            ticks,
            flags,
            len: data.len(),
            sequence_number,
            picture_parameter_set: facts.first_slice.and_then(|slice| slice.picture_parameter_set),
            data: vec![data],
            parameter_sets: facts.parameter_sets,
        }
    }
}

impl Facts {
    /// Takes note of what a whole NAL unit says.
    fn note(&mut self, codec: VideoCodec, nal: &[u8]) {
        let info = inspect(codec, nal.get(..HEAD_LEN).unwrap_or(nal));
        match info.role {
            Role::Slice => {
                self.slices += 1;
                self.referenced |= !info.unreferenced;
                self.has_random_access |= info.random_access;
                self.temporal_id = self.temporal_id.max(info.temporal_id);
                self.first_slice.get_or_insert(info);
            }
            Role::ParameterSet => self.parameter_sets.push(Bytes::copy_from_slice(nal)),
            Role::Sei => self.signature |= is_signature(nal.iter().copied().skip(codec.header_len())),
            Role::Other => {}
        }
    }
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
