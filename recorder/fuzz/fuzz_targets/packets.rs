//! Packets out of fuzzer bytes: for each a byte of flags, one of length and the payload. Shared by the targets.

use bytes::Bytes;
use keha_recorder::depacketize::{Depacketizer, Output, RtpPacket};

/// The packets that `data` describes.
pub fn packets(mut data: &[u8]) -> Vec<RtpPacket> {
    let mut packets = Vec::new();
    let mut ticks = 0;
    while let Some(([flags, len], rest)) = data.split_first_chunk::<2>() {
        let (payload, rest) = rest.split_at(usize::from(*len).min(rest.len()));
        data = rest;
        ticks += i64::from(flags >> 1 & 3);
        packets.push(RtpPacket {
            ticks,
            marker: flags & 1 != 0,
            sequence_number: 0,
            loss: u32::from(flags >> 5 & 1),
            payload: Bytes::copy_from_slice(payload),
        });
    }
    packets
}

/// Runs packets through, and checks what every sample promises. Each NAL unit of a video sample must be found in the
/// payloads, up to a header that was put together again.
pub fn run(mut depacketizer: Depacketizer, packets: Vec<RtpPacket>, video: bool) {
    let sent: usize = packets.iter().map(|packet| packet.payload.len()).sum();
    let mut out_bytes = 0;
    let mut check = |output: Output| {
        let Output::Sample(sample) = output else { return };
        assert_eq!(sample.len, sample.data.iter().map(Bytes::len).sum::<usize>());
        out_bytes += sample.len;
        if video {
            let data = sample.to_vec();
            let mut rest = data.as_slice();
            while !rest.is_empty() {
                let (len, behind) = rest.split_first_chunk::<4>().expect("a length");
                let len = usize::try_from(u32::from_be_bytes(*len)).expect("32 bits");
                assert!(len > 0, "no empty NAL units");
                out_bytes -= 4;
                rest = behind.get(len..).expect("a length within the sample");
            }
        }
    };
    for (index, packet) in packets.into_iter().enumerate() {
        depacketizer.push(packet, &mut check);
        if index % 7 == 6 {
            depacketizer.flush(&mut check);
        }
    }
    depacketizer.finish(&mut check);
    assert!(out_bytes <= sent, "nothing comes out that did not go in");
}
