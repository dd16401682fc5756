//! AAC audio: several access units in a packet, or one in several packets.
//!
//! Source: RFC 3640 3.2.1 (AU headers), 3.2.2 (auxiliary section), 3.2.3 (access units and fragments), 3.3.5 and
//! 3.3.6 (AAC-lbr and AAC-hbr), 4.1 (parameters). Interleaving (3.3.1) is an error that costs the packet.

use bytes::Bytes;

use super::g711::audio_unit;
use super::{DepacketizeError, ErrorKind, Output, RtpPacket, Sink};
use crate::codec::bits::Fields;

/// The largest access unit gathered from fragments, in bytes: AAC allows 768 for each channel.
const UNIT_BYTES_MAX: usize = 64 << 10;

/// The most access units in a packet: seconds of sound.
const PACKET_UNITS_MAX: usize = 512;

/// The layout of AU headers and the duration of an access unit, from the format parameters. Lengths are in bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AacParameters {
    /// `sizelength`; 0 where all access units have `constant_size`.
    pub size_length: u32,
    /// `indexlength`.
    pub index_length: u32,
    /// `indexdeltalength`.
    pub index_delta_length: u32,
    /// `ctsdeltalength`.
    pub cts_delta_length: u32,
    /// `dtsdeltalength`.
    pub dts_delta_length: u32,
    /// `randomaccessindication`.
    pub random_access_indication: bool,
    /// `streamstateindication`.
    pub stream_state_length: u32,
    /// `auxiliarydatasizelength`.
    pub auxiliary_size_length: u32,
    /// `constantsize` in bytes; 0 if there is none.
    pub constant_size: usize,
    /// Duration of an access unit in ticks of the RTP clock.
    pub ticks_per_unit: i64,
}

impl AacParameters {
    /// AAC-hbr: 13 bits of size, 3 of index.
    #[must_use]
    pub const fn hbr(ticks_per_unit: i64) -> Self {
        Self {
            size_length: 13,
            index_length: 3,
            index_delta_length: 3,
            cts_delta_length: 0,
            dts_delta_length: 0,
            random_access_indication: false,
            stream_state_length: 0,
            auxiliary_size_length: 0,
            constant_size: 0,
            ticks_per_unit,
        }
    }

    /// AAC-lbr: 6 bits of size, 2 of index.
    #[must_use]
    pub const fn lbr(ticks_per_unit: i64) -> Self {
        Self { size_length: 6, index_length: 2, index_delta_length: 2, ..Self::hbr(ticks_per_unit) }
    }

    /// RFC 3640 3.2.1: without any field there is no AU header section.
    fn has_headers(&self) -> bool {
        self.random_access_indication
            || [
                self.size_length,
                self.index_length,
                self.index_delta_length,
                self.cts_delta_length,
                self.dts_delta_length,
                self.stream_state_length,
            ]
            .iter()
            .any(|bits| *bits > 0)
    }
}

/// Fragments of one access unit.
#[derive(Debug)]
struct Fragments {
    ticks: i64,
    announced: usize,
    pieces: Vec<Bytes>,
    gathered: usize,
}

/// Depacketizer for AAC.
#[derive(Debug)]
pub struct Aac {
    parameters: AacParameters,
    fragments: Option<Fragments>,
    loss_pending: bool,
    seen_packet: bool,
    sequence_number: u16,
}

impl Aac {
    /// A depacketizer at the start of a stream.
    #[must_use]
    pub fn new(parameters: AacParameters) -> Self {
        Self { parameters, fragments: None, loss_pending: false, seen_packet: false, sequence_number: 0 }
    }

    /// See [`super::Depacketizer::push`].
    pub fn push(&mut self, packet: RtpPacket, out: &mut dyn FnMut(Output)) {
        self.sequence_number = packet.sequence_number;
        if packet.loss > 0 && self.seen_packet {
            self.fragments = None;
            self.loss_pending = true;
        }
        self.seen_packet = true;
        if packet.payload.is_empty() {
            // Some cameras keep a connection alive with empty packets: nothing is missing then.
            let kind = ErrorKind::Empty { what: "packet" };
            out(Output::Error(DepacketizeError { sequence_number: self.sequence_number, kind }));
        } else if let Err(kind) = self.payload(&packet, out) {
            self.fragments = None;
            self.error(kind, out);
        }
    }

    /// See [`super::Depacketizer::finish`].
    pub fn finish(&mut self, out: &mut dyn FnMut(Output)) {
        if let Some(Fragments { announced, gathered, .. }) = self.fragments.take() {
            self.error(ErrorKind::FragmentSize { announced, gathered }, out);
        }
        *self = Self::new(self.parameters);
    }

    fn error(&mut self, kind: ErrorKind, out: Sink<'_>) {
        self.loss_pending = true;
        out(Output::Error(DepacketizeError { sequence_number: self.sequence_number, kind }));
    }

    fn payload(&mut self, packet: &RtpPacket, out: Sink<'_>) -> Result<(), ErrorKind> {
        let (sizes, mut rest) = self.parameters.sections(&packet.payload)?;
        let sizes = sizes.unwrap_or_else(|| match self.parameters.constant_size {
            0 => vec![rest.len()],
            size => vec![size; (rest.len() / size).min(PACKET_UNITS_MAX + 1)],
        });
        if sizes.len() > PACKET_UNITS_MAX {
            return Err(ErrorKind::TooManyParts {
                what: "access units in a packet",
                limit: PACKET_UNITS_MAX,
            });
        }
        if let [announced] = sizes.as_slice()
            && *announced > rest.len()
        {
            return self.fragment(packet, *announced, rest, out);
        }
        if let Some(Fragments { announced, gathered, .. }) = self.fragments.take() {
            self.error(ErrorKind::FragmentSize { announced, gathered }, out);
        }
        let mut ticks = packet.ticks;
        for size in sizes {
            if size > rest.len() {
                let what = "AAC access unit";
                return Err(ErrorKind::Truncated { what, needed: size, available: rest.len() });
            }
            if size == 0 {
                self.error(ErrorKind::Empty { what: "AAC access unit" }, out);
            } else {
                self.emit(ticks, vec![rest.split_to(size)], out);
            }
            ticks = ticks.saturating_add(self.parameters.ticks_per_unit);
        }
        Ok(())
    }

    /// Each fragment is alone in its packet, has the header of the whole access unit and its time; the marker stands
    /// on the last (RFC 3640 3.1 and 3.2.3). A first fragment that was lost shows in the sum.
    fn fragment(
        &mut self,
        packet: &RtpPacket,
        announced: usize,
        body: Bytes,
        out: Sink<'_>,
    ) -> Result<(), ErrorKind> {
        let same = |f: &Fragments| f.ticks == packet.ticks && f.announced == announced;
        if let Some(Fragments { announced, gathered, .. }) = self.fragments.take_if(|f| !same(f)) {
            self.error(ErrorKind::FragmentSize { announced, gathered }, out);
        }
        if announced > UNIT_BYTES_MAX {
            return Err(ErrorKind::SampleTooLarge { limit_bytes: UNIT_BYTES_MAX });
        }
        let fragments = self.fragments.get_or_insert(Fragments {
            ticks: packet.ticks,
            announced,
            pieces: Vec::new(),
            gathered: 0,
        });
        fragments.gathered += body.len();
        if !body.is_empty() {
            fragments.pieces.push(body);
        }
        let gathered = fragments.gathered;
        if gathered < announced && !packet.marker && fragments.pieces.len() <= announced {
            return Ok(());
        }
        let pieces = self.fragments.take().map(|fragments| fragments.pieces).unwrap_or_default();
        if gathered != announced {
            return Err(ErrorKind::FragmentSize { announced, gathered });
        }
        self.emit(packet.ticks, pieces, out);
        Ok(())
    }

    fn emit(&mut self, ticks: i64, data: Vec<Bytes>, out: Sink<'_>) {
        let loss = std::mem::take(&mut self.loss_pending);
        out(Output::Sample(audio_unit(ticks, self.sequence_number, loss, data)));
    }
}

impl AacParameters {
    /// Takes a payload apart: sizes of the access units (nothing if there are no AU headers), and their bytes.
    fn sections(&self, payload: &Bytes) -> Result<(Option<Vec<usize>>, Bytes), ErrorKind> {
        let mut rest = payload.clone();
        let mut sizes = None;
        if self.has_headers() {
            let truncated = |what, needed| ErrorKind::Truncated { what, needed, available: payload.len() };
            let Some((bits, _)) = rest.split_first_chunk::<2>() else {
                return Err(truncated("AU-headers-length", 2));
            };
            let bits = usize::from(u16::from_be_bytes(*bits));
            let end = 2 + bits.div_ceil(8);
            if end > rest.len() {
                return Err(truncated("AU headers", end));
            }
            sizes = Some(self.headers(rest.get(2..end).unwrap_or_default(), bits)?);
            rest = rest.slice(end..);
        }
        if self.auxiliary_size_length > 0 {
            let mut fields = Fields::new("auxiliary section", &rest);
            let bits = fields.bits(self.auxiliary_size_length, "auxiliary-data-size")?;
            let bytes = (u64::from(bits) + u64::from(self.auxiliary_size_length)).div_ceil(8);
            let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
            if bytes > rest.len() {
                let (what, available) = ("auxiliary section", rest.len());
                return Err(ErrorKind::Truncated { what, needed: bytes, available });
            }
            rest = rest.slice(bytes..);
        }
        Ok((sizes, rest))
    }

    /// The sizes in an AU header section of `bits` bits.
    fn headers(&self, section: &[u8], bits: usize) -> Result<Vec<usize>, ErrorKind> {
        let mut fields = Fields::new("AU header section", section);
        let mut sizes = Vec::new();
        let mut left = i64::try_from(bits).unwrap_or(0);
        while left > 0 {
            let first = sizes.is_empty();
            let size = fields.bits(self.size_length, "AU-size")?;
            let index_length = if first { self.index_length } else { self.index_delta_length };
            let index = fields.bits(index_length, "AU-Index")?;
            let mut used = self.size_length + index_length;
            if index != 0 && !first {
                return Err(ErrorKind::Interleaved);
            }
            for length in
                [self.cts_delta_length, self.dts_delta_length].into_iter().filter(|length| *length > 0)
            {
                used += 1;
                if fields.flag("CTS-flag or DTS-flag")? {
                    fields.skip(length, "CTS-delta or DTS-delta")?;
                    used += length;
                }
            }
            used += u32::from(self.random_access_indication) + self.stream_state_length;
            fields.skip(u32::from(self.random_access_indication) + self.stream_state_length, "RAP-flag")?;
            if used == 0 {
                break;
            }
            left -= i64::from(used);
            let size = usize::try_from(size).unwrap_or(usize::MAX);
            sizes.push(if self.size_length == 0 { self.constant_size } else { size });
        }
        Ok(sizes)
    }
}
