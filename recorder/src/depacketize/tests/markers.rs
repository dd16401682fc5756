//! Markers and timestamps as real cameras set them.

use super::packetize::slice;
use super::{depacketizer, nals, packet, run};
use crate::codec::nal::VideoCodec;
use crate::depacketize::{ErrorKind, Output};

const SPS: &[u8] = &[0x67, 1, 2];
const PPS: &[u8] = &[0x68, 3];
const SEI: &[u8] = &[0x06, 1, 1, 0x80];

fn idr() -> Vec<u8> {
    slice(VideoCodec::H264, 5, true, &[1, 2, 3])
}

fn delta(first: bool) -> Vec<u8> {
    slice(VideoCodec::H264, 1, first, &[4, 5])
}

/// Times and NAL units of the samples.
fn units(packets: &[(i64, bool, &[u8])]) -> Vec<(i64, Vec<Vec<u8>>)> {
    let packets =
        packets.iter().zip(0u16..).map(|((ticks, marker, nal), seq)| packet(seq, *ticks, *marker, nal));
    let out = run(VideoCodec::H264, packets);
    assert_eq!(out.errors, []);
    assert!(out.samples.iter().all(|sample| !sample.flags.loss));
    out.samples.iter().map(|sample| (sample.ticks, nals(sample))).collect()
}

/// A Reolink camera marks its first SPS, and gives later ones the time of the picture before.
#[test]
fn parameter_sets_with_a_marker_and_the_wrong_time_join_the_picture_behind_them() {
    let out = units(&[
        (0, true, SPS),
        (0, false, PPS),
        (1, true, &idr()),
        (1, false, SPS),
        (1, false, PPS),
        (2, true, &idr()),
    ]);
    let whole = vec![SPS.to_vec(), PPS.to_vec(), idr()];
    assert_eq!(out, [(1, whole.clone()), (2, whole)]);
}

#[test]
fn parameter_sets_with_markers_and_the_right_time_stay_with_their_picture() {
    let out =
        units(&[(5, true, SPS), (5, true, PPS), (5, true, SEI), (5, true, &idr()), (6, true, &delta(true))]);
    assert_eq!(out, [(5, vec![SPS.into(), PPS.into(), SEI.into(), idr()]), (6, vec![delta(true)])]);
}

#[test]
fn a_marker_on_every_slice_does_not_cut_the_picture() {
    let out = units(&[
        (5, true, &delta(true)),
        (5, true, &delta(false)),
        (5, true, &delta(false)),
        (6, true, &idr()),
    ]);
    assert_eq!(out, [(5, vec![delta(true), delta(false), delta(false)]), (6, vec![idr()])]);
}

#[test]
fn two_pictures_with_one_time_are_two_samples_if_a_marker_parts_them() {
    let out = units(&[(5, true, &delta(true)), (5, true, &delta(true))]);
    assert_eq!(out, [(5, vec![delta(true)]), (5, vec![delta(true)])]);
    let fields = units(&[(5, false, &delta(true)), (5, true, &delta(true))]);
    assert_eq!(fields, [(5, vec![delta(true), delta(true)])], "two fields before one marker");
}

#[test]
fn without_markers_the_time_parts_pictures() {
    let out =
        units(&[(1, false, &idr()), (2, false, SEI), (2, false, &delta(true)), (3, false, &delta(true))]);
    assert_eq!(out, [(1, vec![idr()]), (2, vec![SEI.into(), delta(true)]), (3, vec![delta(true)])]);
}

#[test]
fn an_annex_b_stream_sent_as_one_nal_unit_is_cut_into_its_nal_units() {
    let stream = [SPS, &[0, 0, 0, 1], PPS, &[0, 0, 1], &idr()].concat();
    let whole = vec![SPS.to_vec(), PPS.to_vec(), idr()];
    assert_eq!(units(&[(1, true, &stream)]), [(1, whole.clone())]);
    let led = [&[0, 0, 0, 1], &stream[..]].concat();
    assert_eq!(units(&[(1, true, &led)]), [(1, whole.clone())]);
    for first in 2..stream.len() - 1 {
        let [start, end] = [0x80 | 7, 0x40 | 7];
        let fu = |header: u8, body: &[u8]| [&[0x60 | 28, header], body].concat();
        let fragments = [fu(start, &stream[1..first]), fu(end, &stream[first..])];
        assert_eq!(
            units(&[(1, false, &fragments[0]), (1, true, &fragments[1])]),
            [(1, whole.clone())],
            "{first}"
        );
    }
    let out = run(VideoCodec::H264, [packet(0, 1, true, &stream)]);
    assert!(out.samples[0].flags.sync, "the picture inside is found");
}

#[test]
fn flush_gives_out_a_marked_picture_and_keeps_an_unmarked_one_of_a_stream_that_marks() {
    let mut depacketizer = depacketizer(VideoCodec::H264);
    let mut samples = Vec::new();
    let mut out = |output: Output| match output {
        Output::Sample(sample) => samples.push(nals(&sample)),
        Output::Error(error) => panic!("{error}"),
    };
    depacketizer.push(packet(0, 0, true, &idr()), &mut out);
    depacketizer.flush(&mut out);
    depacketizer.flush(&mut out);
    depacketizer.push(packet(1, 1, false, &delta(true)), &mut out);
    depacketizer.flush(&mut out);
    depacketizer.push(packet(2, 1, true, &delta(false)), &mut out);
    depacketizer.flush(&mut out);
    assert_eq!(samples, [vec![idr()], vec![delta(true), delta(false)]]);
}

#[test]
fn a_picture_without_markers_goes_out_on_flush_but_not_with_a_fragment_open() {
    let mut depacketizer = depacketizer(VideoCodec::H264);
    let mut count = 0;
    let mut out = |_| count += 1;
    depacketizer.push(packet(0, 0, false, &delta(true)), &mut out);
    depacketizer.push(packet(1, 0, false, &[0x7c, 0x81, 0x40, 1]), &mut out);
    depacketizer.flush(&mut out);
    assert_eq!(count, 0);
    let mut out = |_| count += 1;
    depacketizer.push(packet(2, 0, false, &[0x7c, 0x41, 2]), &mut out);
    depacketizer.flush(&mut out);
    assert_eq!(count, 1);
}

#[test]
fn parameter_sets_alone_at_the_end_are_reported() {
    let out = run(VideoCodec::H264, [packet(9, 0, true, SPS)]);
    assert!(out.samples.is_empty());
    assert_eq!(out.errors[0].kind, ErrorKind::NoPicture { nal_units: 1 });
}

#[test]
fn flags_follow_from_the_nal_units() {
    let flags = |codec, nal: &[u8]| run(codec, [packet(0, 0, true, nal)]).samples[0].flags;
    let h264 = |nal: &[u8]| flags(VideoCodec::H264, nal);
    assert!(h264(&idr()).sync && !h264(&idr()).discardable);
    assert!(!h264(&delta(true)).sync);
    assert!(h264(&[0x01, 0x9a]).discardable);
    for nal_type in 0u8..32 {
        let found = flags(VideoCodec::H265, &slice(VideoCodec::H265, nal_type, true, &[1]));
        assert_eq!(found.sync, (16..=23).contains(&nal_type), "type {nal_type}");
        assert_eq!(found.discardable, nal_type < 16 && nal_type % 2 == 0, "type {nal_type}");
    }
}

#[test]
fn a_picture_below_the_highest_temporal_layer_is_not_discardable() {
    let nal = |temporal_id: u8| vec![0, temporal_id + 1, 0xb8, 1];
    let out = run(VideoCodec::H265, [packet(0, 0, true, &nal(1)), packet(1, 1, true, &nal(0))]);
    assert_eq!(out.samples.iter().map(|s| s.flags.discardable).collect::<Vec<_>>(), [true, false]);
}

#[test]
fn sei_messages_of_signed_video_are_marked() {
    let onvif: &[u8] =
        &[0, 0x5b, 0xc9, 0x3f, 0x2d, 0x71, 0x5e, 0x95, 0xad, 0xa4, 0x79, 0x6f, 0x90, 0x87, 0x7a, 0x6f];
    let message = |uuid: &[u8], kind: u8| [&[1, 1, 0, kind, 20], uuid, &[9; 4], &[0x80]].concat();
    let has = |codec, header: &[u8], message: &[u8], picture: &[u8]| {
        let sei = [header, message].concat();
        run(codec, [packet(0, 0, false, &sei), packet(1, 0, true, picture)]).samples[0].flags.signature
    };
    for uuid in [onvif, b"Signed Video...0"] {
        assert!(has(VideoCodec::H264, &[6], &message(uuid, 5), &idr()));
        assert!(has(
            VideoCodec::H265,
            &[39 << 1, 1],
            &message(uuid, 5),
            &slice(VideoCodec::H265, 1, true, &[1])
        ));
        assert!(!has(VideoCodec::H264, &[6], &message(uuid, 4), &idr()));
    }
    assert!(!has(VideoCodec::H264, &[6], &message(&[3; 16], 5), &idr()));
    let suffix = [&[40 << 1, 1], &message(onvif, 5)[..]].concat();
    let picture = slice(VideoCodec::H265, 1, true, &[1]);
    let out = run(VideoCodec::H265, [packet(0, 0, false, &picture), packet(1, 0, true, &suffix)]);
    assert!(out.samples[0].flags.signature, "suffix SEI");
}
