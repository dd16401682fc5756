//! Bytes no encoder would send: tens of thousands of random and damaged packets, always the same ones. No panic,
//! nothing torn, memory within the limits.

use bytes::Bytes;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::packetize::{Markers, packetize, pictures, slice};
use super::{Collected, config, depacketizer, nals, packet, run};
use crate::codec::nal::VideoCodec;
use crate::codec::{aac, h264, h265, sdp};
use crate::depacketize::{
    Aac, AacParameters, Depacketizer, ErrorKind, H264, H265, Limits, Output, RtpPacket,
};

fn runner(cases: u32) -> TestRunner {
    TestRunner::new(config(cases))
}

/// Payloads whose first bytes pick a form often enough.
fn payload() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![
        prop::sample::select(&[0x67u8, 0x68, 0x65, 0x61, 0x78, 0x7c, 0x79, 0x7d, 0x06][..]),
        prop::sample::select(&[0x40u8, 0x42, 0x44, 0x26, 0x02, 0x60, 0x62, 0x64][..]),
        any::<u8>(),
    ];
    let byte = prop_oneof![2 => Just(0u8), 1 => 0u8..4, 1 => Just(0x80u8), 3 => any::<u8>()];
    (first, prop::collection::vec(byte, 0..80)).prop_map(|(first, rest)| [&[first][..], &rest].concat())
}

fn random_packet() -> impl Strategy<Value = RtpPacket> {
    let payload = prop_oneof![20 => payload(), 1 => Just(Vec::new())];
    (payload, 0i64..4, any::<bool>(), prop_oneof![8 => Just(0u32), 1 => 1u32..9]).prop_map(
        |(payload, ticks, marker, loss)| {
            let payload = Bytes::from(payload);
            RtpPacket { ticks, marker, sequence_number: 0, loss, payload }
        },
    )
}

const SMALL: Limits = Limits { sample_bytes: 700, nal_units: 9, pieces: 12 };

fn all() -> Vec<Depacketizer> {
    let odd = AacParameters {
        size_length: 7,
        cts_delta_length: 3,
        auxiliary_size_length: 5,
        ..AacParameters::lbr(1)
    };
    vec![
        Depacketizer::H264(H264::new(SMALL)),
        Depacketizer::H265(H265::new(SMALL)),
        Depacketizer::Aac(Aac::new(AacParameters::hbr(1024))),
        Depacketizer::Aac(Aac::new(AacParameters::lbr(1024))),
        Depacketizer::Aac(Aac::new(odd)),
    ]
}

#[test]
fn random_packets_never_panic_and_samples_stay_within_the_limits() {
    let strategy = prop::collection::vec(random_packet(), 1..30);
    let result = runner(4000).run(&strategy, |packets| {
        for mut depacketizer in all() {
            let mut collected = Collected::default();
            for packet in &packets {
                depacketizer.push(packet.clone(), &mut |output| collected.take(output));
            }
            depacketizer.finish(&mut |output| collected.take(output));
            let video = matches!(depacketizer, Depacketizer::H264(_) | Depacketizer::H265(_));
            for sample in collected.samples.iter().filter(|_| video) {
                prop_assert!(sample.len <= SMALL.sample_bytes);
                prop_assert!(nals(sample).len() <= SMALL.nal_units);
            }
        }
        Ok(())
    });
    result.expect("no case fails");
}

#[test]
fn damaged_packets_of_a_good_stream_never_panic_nor_bring_up_a_nal_unit_from_nowhere() {
    let damage = prop::collection::vec(
        (any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>()),
        1..6,
    );
    for codec in [VideoCodec::H264, VideoCodec::H265] {
        let strategy = (pictures(codec), damage.clone(), any::<bool>());
        let result = runner(1500).run(&strategy, |(pictures, damage, cut)| {
            let mut packets = packetize(codec, Markers::Right, &pictures);
            let mut damaged = Vec::new();
            for (at, place, byte) in damage {
                let index = at.index(packets.len());
                damaged.push(packets[index].ticks);
                let mut payload = packets[index].payload.to_vec();
                if payload.is_empty() {
                    continue;
                }
                let place = place.index(payload.len());
                if cut {
                    payload.truncate(place);
                } else {
                    payload[place] = byte;
                }
                packets[index].payload = Bytes::from(payload);
            }
            let out = run(codec, packets);
            for sample in out.samples.iter().filter(|sample| !damaged.contains(&sample.ticks)) {
                let sent = pictures.iter().find(|p| p.ticks == sample.ticks).expect("a time that was sent");
                let found = nals(sample);
                // What damage before left without a picture may come along; its own NAL units are all there.
                prop_assert!(found.ends_with(&sent.nal_units()), "an undamaged access unit is whole");
            }
            Ok(())
        });
        result.expect("no case fails");
    }
}

#[test]
fn random_parameter_sets_configs_and_descriptions_never_panic() {
    let bytes = prop::collection::vec(any::<u8>(), 0..120);
    let result = runner(20_000).run(&bytes, |bytes| {
        let _ = (h264::parse_sps(&bytes), h264::parse_pps_ids(&bytes));
        let _ = (h265::parse_sps(&bytes), h265::parse_pps_ids(&bytes), h265::parse_vps_id(&bytes));
        let _ = (aac::parse(&bytes), sdp::parse(&bytes));
        Ok(())
    });
    result.expect("no case fails");
}

#[test]
fn damaged_parameter_sets_never_panic() {
    let h264 = [
        0x67u8, 0x64, 0, 0x33, 0xac, 0x15, 0x14, 0xa0, 0xa0, 0x3d, 0xa1, 0, 0, 4, 0xf6, 0, 0, 0x63, 0x38, 4,
        4,
    ];
    let h265 = [
        0x42u8, 1, 1, 1, 0x60, 0, 0, 3, 0, 0xb0, 0, 0, 3, 0, 0, 3, 0, 0x5a, 0xa0, 5, 0x82, 1, 0xe1, 0x63,
        0x69, 0x24, 0x4b, 0x2f, 0xcd, 0xc1, 0x41, 0x81, 0x41, 0, 0, 3, 0, 1, 0, 0, 3, 0, 0x0c, 0xa1,
    ];
    for set in [&h264[..], &h265] {
        for place in 0..set.len() {
            for byte in 0..=255 {
                let mut damaged = set.to_vec();
                damaged[place] = byte;
                let _ = (h264::parse_sps(&damaged), h265::parse_sps(&damaged));
                damaged.truncate(place);
                damaged.push(byte);
                let _ = (h264::parse_sps(&damaged), h265::parse_sps(&damaged));
            }
        }
    }
}

/// What each of these packets costs: itself, with an error that names it.
#[test]
fn each_form_that_is_not_supported_is_an_error_and_the_picture_goes_on() {
    let slice_264 = slice(VideoCodec::H264, 5, true, &[1]);
    let slice_265 = slice(VideoCodec::H265, 19, true, &[1]);
    let cases: [(VideoCodec, &[u8], &[u8]); 12] = [
        (VideoCodec::H264, &slice_264, &[25, 0, 0, 0, 1, 0x61]),
        (VideoCodec::H264, &slice_264, &[26, 0, 0, 1]),
        (VideoCodec::H264, &slice_264, &[27, 0, 0, 1]),
        (VideoCodec::H264, &slice_264, &[29, 0x81, 0, 0, 1]),
        (VideoCodec::H264, &slice_264, &[30, 1]),
        (VideoCodec::H264, &slice_264, &[0xe1, 1]),
        (VideoCodec::H264, &slice_264, &[24, 0, 9, 1]),
        (VideoCodec::H264, &slice_264, &[28]),
        (VideoCodec::H264, &slice_264, &[28, 0x01, 3]),
        (VideoCodec::H265, &slice_265, &[50 << 1, 1, 1, 1]),
        (VideoCodec::H265, &slice_265, &[48 << 1, 1, 0, 9, 1]),
        (VideoCodec::H265, &slice_265, &[2]),
    ];
    for (codec, picture, bad) in cases {
        let out =
            run(codec, [packet(0, 0, false, picture), packet(1, 0, true, bad), packet(2, 1, true, picture)]);
        assert_eq!(out.errors.iter().map(|e| e.sequence_number).collect::<Vec<_>>(), [1], "{bad:x?}");
        let samples: Vec<_> = out.samples.iter().map(|s| (s.ticks, s.flags.loss, nals(s))).collect();
        assert_eq!(
            samples,
            [(0, true, vec![picture.to_vec()]), (1, false, vec![picture.to_vec()])],
            "{bad:x?}"
        );
    }
}

#[test]
fn an_empty_packet_keeps_a_connection_alive_and_loses_nothing() {
    let picture = slice(VideoCodec::H264, 5, true, &[1]);
    let out = run(
        VideoCodec::H264,
        [packet(0, 0, true, &picture), packet(1, 0, true, &[]), packet(2, 1, true, &picture)],
    );
    assert_eq!(out.errors.len(), 1);
    assert!(out.samples.len() == 2 && out.samples.iter().all(|sample| !sample.flags.loss));
}

#[test]
fn fragments_mixed_up_without_loss_are_errors_and_never_a_nal_unit() {
    let picture = slice(VideoCodec::H264, 1, true, &[1]);
    let (start, middle, end) = ([0x7c, 0x81, 0x9a], [0x7c, 0x01, 1], [0x7c, 0x41, 2]);
    let other_end = [0x7c, 0x45, 2];
    let cases: [(&[&[u8]], &str); 4] = [
        (&[&start, &start], "start twice"),
        (&[&start, &middle, &picture], "another NAL unit instead of the end"),
        (&[&start, &other_end], "end of another type"),
        (&[&middle, &end], "no start"),
    ];
    for (fragments, name) in cases {
        let mut packets = vec![packet(0, 0, false, &picture)];
        packets.extend(fragments.iter().map(|fragment| packet(1, 0, false, fragment)));
        packets.push(packet(2, 1, true, &picture));
        let out = run(VideoCodec::H264, packets);
        assert_eq!(out.errors.len(), if name == "start twice" { 2 } else { 1 }, "{name}: {:?}", out.errors);
        assert!(out.samples[0].flags.loss, "{name}");
        assert!(out.samples.iter().flat_map(nals).all(|nal| nal == picture), "{name}");
    }
}

#[test]
fn a_sample_beyond_the_limit_is_abandoned_with_one_error_and_marks_the_next() {
    let limits = Limits { sample_bytes: 1000, ..Limits::default() };
    for limits in
        [limits, Limits { nal_units: 5, ..Limits::default() }, Limits { pieces: 5, ..Limits::default() }]
    {
        let mut depacketizer = Depacketizer::H264(H264::new(limits));
        let mut collected = Collected::default();
        let picture = slice(VideoCodec::H264, 5, true, &[1; 200]);
        for n in 0..10 {
            depacketizer.push(packet(n, 0, false, &picture), &mut |output| collected.take(output));
        }
        for (n, ticks) in [(10, 1), (11, 2)] {
            depacketizer.push(packet(n, ticks, true, &picture), &mut |output| collected.take(output));
        }
        depacketizer.finish(&mut |output| collected.take(output));
        assert_eq!(collected.errors.len(), 1, "{limits:?}");
        assert!(matches!(
            collected.errors[0].kind,
            ErrorKind::SampleTooLarge { .. } | ErrorKind::TooManyParts { .. }
        ));
        let found: Vec<_> = collected.samples.iter().map(|s| (s.ticks, s.flags.loss)).collect();
        assert_eq!(found, [(1, true), (2, false)], "{limits:?}");
    }
}

#[test]
fn a_camera_that_never_ends_a_nal_unit_does_not_fill_the_memory() {
    let mut depacketizer = depacketizer(VideoCodec::H264);
    let mut errors = 0;
    let mut out = |output| match output {
        Output::Error(_) => errors += 1,
        Output::Sample(_) => panic!("nothing is whole"),
    };
    let body = Bytes::from(vec![1; 60_000]);
    let start = Bytes::from([&[0x7c, 0x85][..], &body].concat());
    let middle = Bytes::from([&[0x7c, 0x05][..], &body].concat());
    for n in 0..1200 {
        let payload = if n == 0 { start.clone() } else { middle.clone() };
        let packet = RtpPacket { ticks: 0, marker: false, sequence_number: 0, loss: 0, payload };
        depacketizer.push(packet, &mut out);
    }
    assert_eq!(errors, 1, "32 MiB, then one error");
}
