//! G.711 as FLAC frames (RFC 9639): bit for bit what the samples decode to, in a codec that browsers play.
//!
//! One recorded packet is one frame. Frames are of the variable block size kind and number their first sample, so that
//! each is made from its packet and its time alone. Two forms: `compact` predicts, with whole numbers only, so that every
//! machine makes the same bytes; `plain` does not, so that a frame's length follows from its number of samples.

use crate::mp4::g711::{Law, decode};
use flacenc::bitsink::ByteSink;
use flacenc::component::{
    BitRepr, ChannelAssignment, Frame, FrameHeader, FrameOffset, StreamInfo, SubFrame, Verbatim,
};
use flacenc::config;
use flacenc::error::{Verified, Verify};
use flacenc::source::{Fill, FrameBuf};
use std::sync::OnceLock;

/// Bits of a decoded sample.
pub(crate) const SAMPLE_BITS: usize = 16;
/// Channels that FLAC can carry (RFC 9639, section 9.1.3).
pub(crate) const CHANNELS_MAX: u8 = 8;
/// The most samples of a channel in one frame that the encoder makes.
const BLOCK_MAX: usize = flacenc::constant::MAX_BLOCK_SIZE;
/// Below this nothing is gained by predicting.
const PREDICTED_BLOCK_MIN: usize = 64;
/// A frame's number of its first sample has 36 bits (RFC 9639, section 9.1.5), of which ffmpeg, and browsers that decode by it, read
/// 31: on the wall clock all are used. Players go by the container's times.
const NUMBER_MASK: i64 = (1 << 31) - 1;

/// How a track's G.711 becomes FLAC.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Format {
    pub law: Law,
    pub channels: u8,
    pub sample_rate: u32,
}

impl Format {
    /// A predicted frame of the packet whose first sample has this number.
    pub(crate) fn compact(self, packet: &[u8], number: i64) -> Result<Vec<u8>, String> {
        let samples = self.block_samples(packet.len())?;
        if samples < PREDICTED_BLOCK_MIN {
            return self.plain(packet, number);
        }
        let channels = usize::from(self.channels);
        let mut buffer = FrameBuf::with_size(channels, samples).map_err(text)?;
        let linear: Vec<i32> = packet.iter().map(|code| i32::from(decode(self.law, *code))).collect();
        buffer.fill_interleaved(&linear).map_err(text)?;
        let info = StreamInfo::new(self.sample_rate as usize, channels, SAMPLE_BITS).map_err(text)?;
        let frame = flacenc::encode_fixed_size_frame(encoder()?, &buffer, 0, &info).map_err(text)?;
        let (mut header, subframes) = frame.into_parts();
        header.set_frame_offset(offset(number));
        written(&Frame::new(header, subframes.into_iter()).map_err(text)?)
    }

    /// A frame of the packet that is as long as [`Format::plain_bytes`] says.
    pub(crate) fn plain(self, packet: &[u8], number: i64) -> Result<Vec<u8>, String> {
        let header = self.header(packet.len(), number)?;
        let channels = usize::from(self.channels);
        let subframes = (0..channels).map(|channel| {
            let codes = packet.iter().skip(channel).step_by(channels);
            let linear: Vec<i32> = codes.map(|code| i32::from(decode(self.law, *code))).collect();
            Verbatim::new(&linear, SAMPLE_BITS).map(SubFrame::from)
        });
        let subframes = subframes.collect::<Result<Vec<_>, _>>().map_err(text)?;
        written(&Frame::new(header, subframes.into_iter()).map_err(text)?)
    }

    /// The length of the plain frame of a packet of this length.
    pub(crate) fn plain_bytes(self, packet_bytes: usize, number: i64) -> Result<u32, String> {
        let header = self.header(packet_bytes, number)?.count_bits() / 8;
        let subframe = 1 + self.block_samples(packet_bytes)? * SAMPLE_BITS / 8;
        let bytes = header + usize::from(self.channels) * subframe + FRAME_CRC_BYTES;
        u32::try_from(bytes).map_err(text)
    }

    fn header(self, packet_bytes: usize, number: i64) -> Result<FrameHeader, String> {
        let samples = self.block_samples(packet_bytes)?;
        let channels = ChannelAssignment::Independent(self.channels);
        let rate = self.sample_rate as usize;
        FrameHeader::new(samples, channels, SAMPLE_BITS, rate, offset(number)).map_err(text)
    }

    /// Samples of a channel in a packet.
    fn block_samples(self, packet_bytes: usize) -> Result<usize, String> {
        let channels = usize::from(self.channels.max(1));
        let samples = packet_bytes / channels;
        if samples == 0 || samples > BLOCK_MAX || samples * channels != packet_bytes {
            return Err(format!(
                "a G.711 packet of {packet_bytes} bytes for {channels} channels is no FLAC frame \
                 (1 to {BLOCK_MAX} samples a channel); leave it out"
            ));
        }
        Ok(samples)
    }
}

const FRAME_CRC_BYTES: usize = 2;

fn offset(number: i64) -> FrameOffset {
    FrameOffset::StartSample((number & NUMBER_MASK).unsigned_abs())
}

/// Fixed predictors only: linear prediction is floating-point work, which not every machine rounds alike.
fn encoder() -> Result<&'static Verified<config::Encoder>, String> {
    static ENCODER: OnceLock<Result<Verified<config::Encoder>, String>> = OnceLock::new();
    let made = ENCODER.get_or_init(|| {
        let mut encoder = config::Encoder::default();
        encoder.subframe_coding.use_lpc = false;
        encoder.into_verified().map_err(|(_, error)| error.to_string())
    });
    made.as_ref().map_err(Clone::clone)
}

fn written(frame: &Frame) -> Result<Vec<u8>, String> {
    let mut sink = ByteSink::new();
    frame.write(&mut sink).map_err(text)?;
    Ok(sink.into_inner())
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MONO: Format = Format { law: Law::Mu, channels: 1, sample_rate: 8000 };

    proptest! {
        #[test]
        fn a_plain_frame_is_as_long_as_was_said(
            packet in proptest::collection::vec(any::<u8>(), 1..600),
            number in any::<i64>(),
            channels in 1..3u8,
        ) {
            let format = Format { channels, ..MONO };
            let whole = packet.len() / usize::from(channels) * usize::from(channels);
            prop_assume!(whole > 0);
            let frame = format.plain(&packet[..whole], number).unwrap();
            prop_assert_eq!(frame.len() as u32, format.plain_bytes(whole, number).unwrap());
        }
    }

    #[test]
    fn a_predicted_frame_of_a_tone_is_smaller_and_the_same_each_time() {
        let tone: Vec<u8> = (0..160u32).map(|i| (i * i / 7 % 16) as u8 | 0x80).collect();
        let frame = MONO.compact(&tone, 1600).unwrap();
        assert!(frame.len() < MONO.plain(&tone, 1600).unwrap().len());
        assert_eq!(frame, MONO.compact(&tone, 1600).unwrap());
    }

    #[test]
    fn packets_that_are_no_block_are_refused() {
        assert!(MONO.plain(&[], 0).is_err());
        assert!(MONO.compact(&vec![0; BLOCK_MAX + 1], 0).is_err());
        assert!(Format { channels: 2, ..MONO }.plain(&[0; 3], 0).is_err());
    }
}
