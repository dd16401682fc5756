//! G.711 audio: a packet is a sample.
//!
//! Source: RFC 3551 4.5.14 (PCMU, PCMA): one byte for each sample and channel, interleaved; nothing else in the
//! payload.

use bytes::Bytes;

use super::sample::{AccessUnit, SampleFlags};
use super::{DepacketizeError, ErrorKind, Output, RtpPacket};

/// Which of the two compression laws.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Law {
    /// PCMU.
    Mu,
    /// PCMA.
    A,
}

impl Law {
    /// Sample entry code.
    #[must_use]
    pub const fn code(self) -> [u8; 4] {
        match self {
            Self::Mu => *b"ulaw",
            Self::A => *b"alaw",
        }
    }
}

/// Depacketizer for G.711.
#[derive(Debug, Default)]
pub struct G711 {
    loss_pending: bool,
    seen_packet: bool,
}

impl G711 {
    /// A depacketizer at the start of a stream.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// See [`super::Depacketizer::push`].
    pub fn push(&mut self, packet: RtpPacket, out: &mut dyn FnMut(Output)) {
        self.loss_pending |= packet.loss > 0 && self.seen_packet;
        self.seen_packet = true;
        let RtpPacket { ticks, sequence_number, payload, .. } = packet;
        if payload.is_empty() {
            let kind = ErrorKind::Empty { what: "packet" };
            return out(Output::Error(DepacketizeError { sequence_number, kind }));
        }
        let loss = std::mem::take(&mut self.loss_pending);
        out(Output::Sample(audio_unit(ticks, sequence_number, loss, vec![payload])));
    }
}

/// An audio sample made of these pieces.
pub(super) fn audio_unit(ticks: i64, sequence_number: u16, loss: bool, data: Vec<Bytes>) -> AccessUnit {
    AccessUnit {
        ticks,
        flags: SampleFlags { sync: true, discardable: false, loss, signature: false },
        len: data.iter().map(Bytes::len).sum(),
        data,
        sequence_number,
        ..AccessUnit::default()
    }
}
