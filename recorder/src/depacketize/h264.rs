//! H.264 payloads: single NAL units, STAP-A and FU-A.
//!
//! Source: RFC 6184 5.6 (single NAL unit packet), 5.7.1 (STAP), 5.8 (FU). The forms of interleaved mode (STAP-B,
//! MTAP16, MTAP24, FU-B: `packetization-mode=2`) are errors that cost the packet.

use super::assembler::{Assembler, Part};
use super::unit::Header;
use super::{ErrorKind, Limits, Output, RtpPacket, Sink};
use crate::codec::bits::strip_start_code;
use crate::codec::nal::VideoCodec;

/// Depacketizer for H.264.
#[derive(Debug)]
pub struct H264 {
    assembler: Assembler,
}

impl Default for H264 {
    fn default() -> Self {
        Self::new(Limits::default())
    }
}

impl H264 {
    /// A depacketizer at the start of a stream.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { assembler: Assembler::new(VideoCodec::H264, limits) }
    }

    /// See [`super::Depacketizer::push`].
    pub fn push(&mut self, packet: RtpPacket, out: &mut dyn FnMut(Output)) {
        self.assembler.begin_packet(&packet, out);
        self.payload(&packet.payload, out);
        self.assembler.end_packet(packet.marker);
    }

    /// See [`super::Depacketizer::flush`].
    pub fn flush(&mut self, out: &mut dyn FnMut(Output)) {
        self.assembler.flush(out);
    }

    /// See [`super::Depacketizer::finish`].
    pub fn finish(&mut self, out: &mut dyn FnMut(Output)) {
        self.assembler.finish(out);
    }

    fn payload(&mut self, payload: &[u8], out: Sink<'_>) {
        let payload = strip_start_code(payload);
        let Some((&indicator, behind)) = payload.split_first() else {
            return self.assembler.reject(ErrorKind::Empty { what: "packet" }, out);
        };
        let unsupported = match indicator & 0x1f {
            24 => return aggregate(&mut self.assembler, behind, out),
            28 => return self.fragment(indicator, behind, out),
            25 => "STAP-B",
            26 => "MTAP16",
            27 => "MTAP24",
            29 => "FU-B",
            // Reserved types among these are found where the NAL unit is taken in.
            _ => return self.assembler.part(Part::Whole(payload), out),
        };
        self.assembler.reject(ErrorKind::UnsupportedForm { what: unsupported, rfc: 6184 }, out);
    }

    /// FU-A: indicator, FU header (S, E, R, type), fragment, which may be empty.
    fn fragment(&mut self, indicator: u8, behind: &[u8], out: Sink<'_>) {
        let Some((&fu, body)) = behind.split_first() else {
            let (needed, available) = (2, 1);
            return self.assembler.reject(ErrorKind::Truncated { what: "FU-A", needed, available }, out);
        };
        self.assembler.part(
            Part::Fragment {
                header: Header::one(indicator & 0xe0 | fu & 0x1f),
                start: fu & 0x80 != 0,
                end: fu & 0x40 != 0,
                body,
            },
            out,
        );
    }
}

/// The NAL units of a STAP-A (RFC 6184 5.7.1) or AP (RFC 7798 4.4.2), each behind its size in 16 bits.
pub(super) fn aggregate(assembler: &mut Assembler, mut rest: &[u8], out: Sink<'_>) {
    while !rest.is_empty() {
        let available = rest.len();
        let Some((size, behind)) = rest.split_first_chunk::<2>() else {
            let what = "size of an aggregated NAL unit";
            return assembler.reject(ErrorKind::Truncated { what, needed: 2, available }, out);
        };
        let size = usize::from(u16::from_be_bytes(*size));
        let Some((nal, behind)) = behind.split_at_checked(size) else {
            let (what, available) = ("aggregated NAL unit", behind.len());
            return assembler.reject(ErrorKind::Truncated { what, needed: size, available }, out);
        };
        rest = behind;
        assembler.part(Part::Whole(nal), out);
    }
}
