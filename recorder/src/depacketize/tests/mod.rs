//! Tests of the depacketizers as a whole, and the packetizer they are tested against.

mod audio;
mod clips;
mod loss;
mod malformed;
mod markers;
mod packetize;
mod round_trip;
mod tracks;

use bytes::Bytes;
use proptest::test_runner::{Config, RngSeed};

use super::{AccessUnit, DepacketizeError, Depacketizer, H264, H265, Output, RtpPacket};
use crate::codec::nal::VideoCodec;

/// The same cases in every run.
fn config(cases: u32) -> Config {
    Config { cases, failure_persistence: None, rng_seed: RngSeed::Fixed(6184), ..Config::default() }
}

/// What came out, in order.
#[derive(Debug, Default)]
struct Collected {
    samples: Vec<AccessUnit>,
    errors: Vec<DepacketizeError>,
}

impl Collected {
    fn take(&mut self, output: Output) {
        match output {
            Output::Sample(sample) => {
                assert_eq!(sample.len, sample.data.iter().map(Bytes::len).sum::<usize>(), "len is the sum");
                self.samples.push(sample);
            }
            Output::Error(error) => self.errors.push(error),
        }
    }
}

fn depacketizer(codec: VideoCodec) -> Depacketizer {
    match codec {
        VideoCodec::H264 => Depacketizer::H264(H264::default()),
        VideoCodec::H265 => Depacketizer::H265(H265::default()),
    }
}

/// All packets through a new depacketizer, to the end.
fn run(codec: VideoCodec, packets: impl IntoIterator<Item = RtpPacket>) -> Collected {
    let mut depacketizer = depacketizer(codec);
    let mut collected = Collected::default();
    for packet in packets {
        depacketizer.push(packet, &mut |output| collected.take(output));
    }
    depacketizer.finish(&mut |output| collected.take(output));
    collected
}

/// A packet with nothing lost before it.
fn packet(sequence_number: u16, ticks: i64, marker: bool, payload: &[u8]) -> RtpPacket {
    RtpPacket { ticks, marker, sequence_number, loss: 0, payload: Bytes::copy_from_slice(payload) }
}

/// The NAL units of a sample.
fn nals(sample: &AccessUnit) -> Vec<Vec<u8>> {
    let data = sample.to_vec();
    let mut rest = data.as_slice();
    let mut nals = Vec::new();
    while let Some((len, behind)) = rest.split_first_chunk::<4>() {
        let (nal, behind) = behind.split_at(u32::from_be_bytes(*len) as usize);
        nals.push(nal.to_vec());
        rest = behind;
    }
    assert!(rest.is_empty(), "lengths add up");
    nals
}
