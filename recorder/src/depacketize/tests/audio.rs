//! AAC and G.711.

use proptest::prelude::*;

use super::{Collected, config, packet};
use crate::depacketize::{Aac, AacParameters, Depacketizer, ErrorKind, G711, RtpPacket};

const TICKS: i64 = 1024;

fn run(parameters: AacParameters, packets: impl IntoIterator<Item = RtpPacket>) -> Collected {
    run_in(Depacketizer::Aac(Aac::new(parameters)), packets)
}

fn run_in(mut depacketizer: Depacketizer, packets: impl IntoIterator<Item = RtpPacket>) -> Collected {
    let mut collected = Collected::default();
    for packet in packets {
        depacketizer.push(packet, &mut |output| collected.take(output));
    }
    depacketizer.finish(&mut |output| collected.take(output));
    collected
}

/// A payload with an AU header for each size (`bits` each, the size in its upper bits), then `data`.
fn payload(size_bits: u32, index_bits: u32, sizes: &[usize], data: &[u8]) -> Vec<u8> {
    let bits = size_bits + index_bits;
    let mut section = String::new();
    for size in sizes {
        section.push_str(&format!("{:0width$b}", size << index_bits, width = bits as usize));
    }
    let length = section.len() as u16;
    while !section.len().is_multiple_of(8) {
        section.push('0');
    }
    let headers = section
        .as_bytes()
        .chunks(8)
        .map(|byte| u8::from_str_radix(std::str::from_utf8(byte).expect("digits"), 2).expect("binary"));
    length.to_be_bytes().into_iter().chain(headers).chain(data.iter().copied()).collect()
}

proptest! {
    #![proptest_config(config(500))]

    #[test]
    fn several_frames_in_a_packet_come_out_one_frame_length_apart(
        packets in prop::collection::vec(prop::collection::vec(prop::collection::vec(any::<u8>(), 1..60), 1..9), 1..9),
        lbr in any::<bool>(),
    ) {
        let (parameters, size, index) =
            if lbr { (AacParameters::lbr(TICKS), 6, 2) } else { (AacParameters::hbr(TICKS), 13, 3) };
        let sent = packets.iter().zip(0i64..).map(|(frames, n)| {
            let sizes: Vec<usize> = frames.iter().map(Vec::len).collect();
            packet(n as u16, n * 100_000, true, &payload(size, index, &sizes, &frames.concat()))
        });
        let out = run(parameters, sent);
        prop_assert_eq!(&out.errors, &[]);
        let expected = packets.iter().zip(0i64..).flat_map(|(frames, n)| {
            frames.iter().zip(0i64..).map(move |(frame, k)| (n * 100_000 + k * TICKS, frame.clone()))
        });
        let found: Vec<_> = out.samples.iter().map(|sample| (sample.ticks, sample.to_vec())).collect();
        prop_assert_eq!(found, expected.collect::<Vec<_>>());
        prop_assert!(out.samples.iter().all(|sample| sample.flags.sync && !sample.flags.loss));
    }

    #[test]
    fn a_fragmented_frame_comes_out_whole_or_not_at_all(
        frame in prop::collection::vec(any::<u8>(), 2..4000),
        chunk in 1usize..900,
        lost in prop::option::of(0usize..20),
    ) {
        let chunks: Vec<&[u8]> = frame.chunks(chunk.min(frame.len() - 1)).collect();
        let mut loss = 0;
        let mut packets = vec![packet(0, 0, true, &payload(13, 3, &[1], &[7]))];
        for (index, body) in chunks.iter().enumerate() {
            if lost == Some(index) {
                loss = 1;
                continue;
            }
            let marker = index + 1 == chunks.len();
            let packet = packet(1, 5000, marker, &payload(13, 3, &[frame.len()], body));
            packets.push(RtpPacket { loss: std::mem::take(&mut loss), ..packet });
        }
        packets.push(RtpPacket { loss, ..packet(9, 9000, true, &payload(13, 3, &[1], &[8])) });
        let out = run(AacParameters::hbr(TICKS), packets);
        let whole = lost.is_none_or(|lost| lost >= chunks.len());
        let frames: Vec<_> = out.samples.iter().map(|sample| sample.to_vec()).collect();
        if whole {
            prop_assert_eq!(frames, [vec![7], frame, vec![8]]);
        } else {
            prop_assert_eq!(frames, [vec![7], vec![8]]);
            prop_assert!(out.samples[1].flags.loss);
        }
    }
}

#[test]
fn interleaved_truncated_and_empty_packets_cost_only_themselves() {
    let good = payload(13, 3, &[2], &[1, 2]);
    let interleaved = [&[0, 32, 0, 8, 0, 9][..], &[1, 2]].concat();
    let truncated = payload(13, 3, &[1, 9], &[1, 2]);
    let packets = [&good[..], &interleaved, &truncated, &[], &[0], &[0, 200, 1], &good];
    let out = run(AacParameters::hbr(TICKS), packets.iter().zip(0u16..).map(|(p, n)| packet(n, 0, true, p)));
    let kinds: Vec<_> = out.errors.iter().map(|error| error.sequence_number).collect();
    assert_eq!(kinds, [1, 2, 3, 4, 5]);
    assert_eq!(out.errors[0].kind, ErrorKind::Interleaved);
    let samples: Vec<_> = out.samples.iter().map(|sample| (sample.to_vec(), sample.flags.loss)).collect();
    assert_eq!(samples, [(vec![1, 2], false), (vec![1], true), (vec![1, 2], true)]);
}

#[test]
fn optional_header_fields_and_the_auxiliary_section_are_passed_over() {
    let parameters = AacParameters {
        cts_delta_length: 4,
        random_access_indication: true,
        stream_state_length: 2,
        auxiliary_size_length: 8,
        ..AacParameters::hbr(TICKS)
    };
    // Size 2 (13), index 0 (3), no CTS (1), RAP (1), state (2): 20 bits; size 1, index 0, CTS flag and 4 bits, RAP, state: 24.
    let first = "0000000000010".to_owned() + "000" + "0" + "1" + "01";
    let second = "0000000000001".to_owned() + "000" + "11010" + "0" + "10";
    let bits = first + &second + "0000";
    let headers: Vec<u8> = (0..bits.len() / 8)
        .map(|n| u8::from_str_radix(&bits[n * 8..n * 8 + 8], 2).expect("binary"))
        .collect();
    let packet_bytes = [&[0, 44][..], &headers, &[16, 0xaa, 0xbb], &[1, 2, 3]].concat();
    let out = run(parameters, [packet(0, 0, true, &packet_bytes)]);
    assert_eq!(out.errors, []);
    assert_eq!(out.samples.iter().map(|s| s.to_vec()).collect::<Vec<_>>(), [vec![1, 2], vec![3]]);
}

#[test]
fn without_header_fields_the_payload_is_frames_of_constant_size() {
    let none =
        AacParameters { size_length: 0, index_length: 0, index_delta_length: 0, ..AacParameters::hbr(TICKS) };
    let out = run(none, [packet(0, 0, true, &[1, 2, 3, 4])]);
    assert_eq!(out.samples[0].to_vec(), [1, 2, 3, 4]);
    let out = run(AacParameters { constant_size: 2, ..none }, [packet(0, 0, true, &[1, 2, 3, 4])]);
    assert_eq!(out.samples.iter().map(|s| s.ticks).collect::<Vec<_>>(), [0, TICKS]);
}

#[test]
fn a_g711_packet_is_a_sample_and_loss_marks_the_next() {
    let mut third = packet(3, 320, false, &[3; 160]);
    third.loss = 1;
    let packets =
        [packet(0, 0, true, &[1; 160]), packet(1, 160, false, &[]), third, packet(4, 480, false, &[4; 160])];
    let out = run_in(Depacketizer::G711(G711::new()), packets);
    assert_eq!(
        out.samples.iter().map(|s| (s.ticks, s.flags.loss)).collect::<Vec<_>>(),
        [(0, false), (320, true), (480, false)]
    );
    assert!(out.samples.iter().all(|sample| sample.flags.sync && sample.len == 160));
    assert_eq!(out.errors.len(), 1);
}
