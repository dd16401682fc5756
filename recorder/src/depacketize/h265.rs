//! H.265 payloads: single NAL units, aggregation packets and fragmentation units.
//!
//! Source: RFC 7798 4.4.1 (single NAL unit packet), 4.4.2 (AP), 4.4.3 (FU). Without decoding order numbers: streams
//! with `sprop-max-don-diff` above 0 are refused when the track is made. PACI packets (4.4.4) are errors that cost
//! the packet.

use super::assembler::{Assembler, Part};
use super::h264::aggregate;
use super::unit::Header;
use super::{ErrorKind, Limits, Output, RtpPacket, Sink};
use crate::codec::bits::strip_start_code;
use crate::codec::nal::VideoCodec;

/// Depacketizer for H.265.
#[derive(Debug)]
pub struct H265 {
    assembler: Assembler,
}

impl Default for H265 {
    fn default() -> Self {
        Self::new(Limits::default())
    }
}

impl H265 {
    /// A depacketizer at the start of a stream.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { assembler: Assembler::new(VideoCodec::H265, limits) }
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
        let Some(([first, second], behind)) = payload.split_first_chunk::<2>() else {
            return match payload.len() {
                0 => self.assembler.reject(ErrorKind::Empty { what: "packet" }, out),
                available => {
                    let what = "payload header";
                    self.assembler.reject(ErrorKind::Truncated { what, needed: 2, available }, out);
                }
            };
        };
        match first >> 1 & 0x3f {
            48 => aggregate(&mut self.assembler, behind, out),
            49 => {
                let header = [*first, *second];
                self.fragment(header, behind, out);
            }
            50 => self.assembler.reject(ErrorKind::UnsupportedForm { what: "PACI", rfc: 7798 }, out),
            // Reserved types among these are found where the NAL unit is taken in.
            _ => self.assembler.part(Part::Whole(payload), out),
        }
    }

    /// FU: payload header, FU header (S, E, type), fragment. The NAL unit's header is the payload header with the
    /// FU header's type in place of its own.
    fn fragment(&mut self, [first, second]: [u8; 2], behind: &[u8], out: Sink<'_>) {
        let Some((&fu, body)) = behind.split_first() else {
            let (needed, available) = (3, 2);
            return self.assembler.reject(ErrorKind::Truncated { what: "FU", needed, available }, out);
        };
        self.assembler.part(
            Part::Fragment {
                header: Header::two([first & 0x81 | (fu & 0x3f) << 1, second]),
                start: fu & 0x80 != 0,
                end: fu & 0x40 != 0,
                body,
            },
            out,
        );
    }
}
