//! From a sample as it is stored to the bytes that stand for it in MP4.
//!
//! Stored samples of H.264 and H.265 have 4-byte lengths before their NAL units already, as MP4 has (docs/format.md).
//! With `avc1` and `hvc1` parameter sets must not stand in samples: there they are taken out, but where a segment's first sample is to
//! repeat them ([`ParameterSets::SampleEntryAndSegment`]). In a file, whose layout is made
//! before a sample is read, filler data of the same length stands behind the pictures instead: it says nothing, decoders pass over
//! it (ITU-T H.264, 7.4.2.7; H.265, 7.4.3.6), and a sample is as long as it was recorded.

use crate::error::Result;
use crate::mp4::entry::Coding;
use crate::mp4::failed;
use crate::mp4::track::{ParameterSets, Track};
use bytes::{BufMut, Bytes, BytesMut};

/// The bytes that stand for a sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// They.
    pub data: Bytes,
    /// It carried a parameter set that the track's sample entry does not have, and that was taken out: what follows may
    /// not decode. Make a track of the configuration that the volume gives for it, and another init segment.
    pub needs_init: bool,
}

impl Track {
    /// A sample's bytes in a segment. `ticks` is its presentation time.
    ///
    /// Errors: [`crate::Error::Mp4`] if the sample is not made of NAL units, or a G.711 packet is no FLAC frame.
    pub fn segment_payload(&self, data: &Bytes, ticks: i64) -> Result<Payload> {
        match self.coding {
            Coding::G711(format) => self.whole(format.compact(data, self.number(ticks)), ticks),
            _ => self.recorded(data, ticks),
        }
    }

    /// The bytes of a segment's first sample: those of any, with the parameter sets where they are to be repeated. They stand before
    /// the picture, behind a delimiter (ITU-T H.264, 7.4.1.2.3; H.265, 7.4.2.4.4). `ticks` and errors are those of
    /// [`Track::segment_payload`].
    pub fn first_payload(&self, data: &Bytes, ticks: i64) -> Result<Payload> {
        let payload = self.segment_payload(data, ticks)?;
        if self.sets != ParameterSets::SampleEntryAndSegment || self.known_sets.is_empty() {
            return Ok(payload);
        }
        let kind = |unit: &[u8]| match self.coding {
            Coding::Hevc => unit.first().map_or(0, |byte| byte >> 1 & 0x3f),
            _ => unit.first().map_or(0, |byte| byte & 0x1f),
        };
        let delimiter = if matches!(self.coding, Coding::Hevc) { 35 } else { 9 };
        let mut sets: Vec<&Vec<u8>> = self.known_sets.iter().collect();
        // A set names one of a lower type.
        sets.sort_by_key(|set| kind(set.as_slice()));
        let units = self.units(&payload.data, ticks)?;
        let before = units.iter().take_while(|unit| kind(unit) == delimiter).count();
        let (before, behind) = units.split_at(before);
        let mut whole = BytesMut::with_capacity(payload.data.len());
        before.iter().for_each(|unit| put_unit(&mut whole, unit));
        sets.iter().for_each(|set| put_unit(&mut whole, set));
        behind.iter().for_each(|unit| put_unit(&mut whole, unit));
        Ok(Payload { data: whole.freeze(), ..payload })
    }

    /// A sample's bytes in a [`crate::mp4::Layout`]: those of a segment, but of a length that the recorded length tells: G.711 is not
    /// predicted, and for parameter sets that are taken out filler data goes in. A set that the sample entry does not have stays, and
    /// `needs_init` tells of it: nearly all decoders use it. `ticks` and errors are those of [`Track::segment_payload`].
    pub fn file_payload(&self, data: &Bytes, ticks: i64) -> Result<Payload> {
        match self.coding {
            Coding::G711(format) => self.whole(format.plain(data, self.number(ticks)), ticks),
            _ => self.filled(data, ticks),
        }
    }

    /// The length of [`Track::file_payload`] of a sample of which only the stored length is known; `None` where that does
    /// not tell: G.711 packets that are no frame.
    pub fn file_bytes(&self, stored_bytes: usize, ticks: i64) -> Option<u32> {
        match self.coding {
            Coding::G711(format) => format.plain_bytes(stored_bytes, self.number(ticks)).ok(),
            _ => u32::try_from(stored_bytes).ok(),
        }
    }

    /// How to tell parameter sets, where they are to be taken out.
    fn taken_out(&self) -> Option<fn(&[u8]) -> bool> {
        match self.coding {
            Coding::Avc => Some(is_avc_set),
            Coding::Hevc => Some(is_hevc_set),
            _ => None,
        }
    }

    fn units<'d>(&self, data: &'d Bytes, ticks: i64) -> Result<Vec<&'d [u8]>> {
        NalUnits::of(data).collect::<Option<Vec<_>>>().ok_or_else(|| {
            failed(self.at(ticks), "it is not made of NAL units behind 4-byte lengths; check the volume")
        })
    }

    fn filled(&self, data: &Bytes, ticks: i64) -> Result<Payload> {
        let Some(is_set) = self.taken_out() else {
            return Ok(Payload { data: data.clone(), needs_init: false });
        };
        let units = self.units(data, ticks)?;
        let (sets, others): (Vec<&[u8]>, Vec<&[u8]>) = units.iter().partition(|unit| is_set(unit));
        let needs_init = !sets.iter().all(|set| self.known_sets.contains(*set));
        let room: usize = sets.iter().map(|set| LENGTH_BYTES + set.len()).sum();
        let header = filler_header(self.coding);
        if needs_init || room <= LENGTH_BYTES + header.len() {
            return Ok(Payload { data: data.clone(), needs_init });
        }
        let mut filled = BytesMut::with_capacity(data.len());
        others.iter().for_each(|unit| put_unit(&mut filled, unit));
        let end = filled.len() + room;
        // A unit was that long, or all of them together: 32 bits are enough.
        filled.put_u32((room - LENGTH_BYTES) as u32);
        filled.put_slice(header);
        filled.resize(end - 1, 0xFF);
        filled.put_u8(TRAILING_BITS);
        Ok(Payload { data: filled.freeze(), needs_init })
    }

    fn recorded(&self, data: &Bytes, ticks: i64) -> Result<Payload> {
        let Some(is_set) = self.taken_out() else {
            return Ok(Payload { data: data.clone(), needs_init: false });
        };
        let units = self.units(data, ticks)?;
        if !units.iter().any(|unit| is_set(unit)) {
            return Ok(Payload { data: data.clone(), needs_init: false });
        }
        let (mut kept, mut needs_init) = (BytesMut::with_capacity(data.len()), false);
        for unit in units {
            if is_set(unit) {
                needs_init |= !self.known_sets.contains(unit);
            } else {
                put_unit(&mut kept, unit);
            }
        }
        Ok(Payload { data: kept.freeze(), needs_init })
    }

    fn whole(&self, frame: Result<Vec<u8>, String>, ticks: i64) -> Result<Payload> {
        let frame = frame.map_err(|reason| failed(self.at(ticks), reason))?;
        Ok(Payload { data: frame.into(), needs_init: false })
    }

    /// The number of the first sample of sound at a time.
    fn number(&self, ticks: i64) -> i64 {
        let samples =
            i128::from(ticks) * i128::from(self.configuration.sample_rate) / i128::from(self.timescale());
        i64::try_from(samples).unwrap_or(0)
    }

    fn at(&self, ticks: i64) -> String {
        format!("track {}, the sample at {ticks} ticks", self.id)
    }
}

/// The bytes that tell the length of a NAL unit.
const LENGTH_BYTES: usize = 4;
/// `rbsp_trailing_bits` behind whole bytes (ITU-T H.264, 7.3.2.11).
const TRAILING_BITS: u8 = 0x80;

/// The header of filler data (ITU-T H.264, table 7-1: type 12; H.265, table 7-1: type 38, of the base layer and the lowest
/// temporal layer, where parameter sets stand).
fn filler_header(coding: Coding) -> &'static [u8] {
    if matches!(coding, Coding::Hevc) { &[38 << 1, 1] } else { &[12] }
}

fn put_unit(out: &mut BytesMut, unit: &[u8]) {
    // It came from behind a length of 32 bits.
    out.put_u32(unit.len() as u32);
    out.put_slice(unit);
}

/// SPS, PPS and SPS extension (ITU-T H.264, table 7-1).
fn is_avc_set(unit: &[u8]) -> bool {
    unit.first().is_some_and(|byte| matches!(byte & 0x1f, 7 | 8 | 13))
}

/// VPS, SPS and PPS (ITU-T H.265, table 7-1).
fn is_hevc_set(unit: &[u8]) -> bool {
    unit.first().is_some_and(|byte| matches!(byte >> 1 & 0x3f, 32..=34))
}

/// The NAL units of a sample; ends with a `None` item where it breaks off.
pub(crate) struct NalUnits<'a>(&'a [u8]);

impl<'a> NalUnits<'a> {
    pub(crate) fn of(data: &'a [u8]) -> NalUnits<'a> {
        NalUnits(data)
    }
}

impl<'a> Iterator for NalUnits<'a> {
    type Item = Option<&'a [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let split = self.0.split_first_chunk::<4>().and_then(|(length, rest)| {
            rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
        });
        self.0 = split.map_or(&[], |(_, rest)| rest);
        Some(split.map(|(unit, _)| unit))
    }
}
