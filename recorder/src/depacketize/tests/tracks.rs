//! Tracks: from the session description to samples with their configuration.

use bytes::Bytes;

use super::packet;
use super::packetize::slice;
use crate::codec::TrackFormat;
use crate::codec::nal::VideoCodec;
use crate::codec::sdp;
use crate::depacketize::{ChangeKind, RtpPacket, Track, TrackEvent, Unsupported};

/// 640x480 and 704x576; ids pps 0, 1 and 2, each for sps 0.
const SPS: &[u8] = &[0x67, 0x64, 0x00, 0x33, 0xac, 0x15, 0x14, 0xa0, 0xa0, 0x3d, 0x90];
const OTHER_SPS: &[u8] = &[0x67, 0x4d, 0x40, 0x1f, 0x95, 0xa0, 0x2c, 0x04, 0x9a, 0x6c, 0x04];
const PPS: &[u8] = &[0x68, 0xee, 0x3c, 0x80];
const PPS_1: &[u8] = &[0x68, 0b0101_1000];

/// What a track gave out, told shortly.
#[derive(Debug, PartialEq)]
enum Told {
    Configuration(u16, u16, ChangeKind),
    Sample(i64),
    Error,
}

fn track(sdp: &str) -> Result<Track, Unsupported> {
    Track::new(&sdp::parse(sdp.as_bytes())[0])
}

fn h264(sprop: &str) -> Track {
    track(&format!(
        "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1{sprop}\r\n"
    ))
    .expect("supported")
}

fn feed(track: &mut Track, nals: &[(i64, &[u8])]) -> Vec<Told> {
    let mut told = Vec::new();
    let mut out = |event: TrackEvent| {
        told.push(match event {
            TrackEvent::Configuration(TrackFormat { width, height, .. }, kind) => {
                Told::Configuration(width, height, kind)
            }
            TrackEvent::Sample(sample) => Told::Sample(sample.ticks),
            TrackEvent::Error(_) => Told::Error,
        });
    };
    for (index, (ticks, nal)) in nals.iter().enumerate() {
        let marker = nals.get(index + 1).is_none_or(|(next, _)| next != ticks);
        track.push(packet(index as u16, *ticks, marker, nal), &mut out);
    }
    track.flush(&mut out);
    told
}

fn idr() -> Vec<u8> {
    // first_mb 0, slice_type 7, pps 0.
    vec![0x65, 0b1000_1000, 0b1000_0000, 7]
}

fn delta() -> Vec<u8> {
    vec![0x61, 0b1000_1000, 0b1000_0000, 9]
}

const INITIAL: Told = Told::Configuration(640, 480, ChangeKind::Initial);

#[test]
fn recording_begins_at_a_sync_sample_with_its_parameter_sets_and_counts_what_it_skips() {
    let mut track = h264("");
    let told = feed(
        &mut track,
        &[
            (0, &delta()),
            (1, &idr()),
            (2, SPS),
            (2, &idr()),
            (3, PPS),
            (3, &delta()),
            (4, &idr()),
            (5, &delta()),
        ],
    );
    assert_eq!(told, [INITIAL, Told::Sample(4), Told::Sample(5)]);
    assert_eq!(track.skipped(), 4);
}

#[test]
fn parameter_sets_of_the_description_are_enough() {
    let mut track = h264(";sprop-parameter-sets=Z2QAM6wVFKCgPZA=,aO48gA==");
    assert_eq!(feed(&mut track, &[(0, &idr())]), [INITIAL, Told::Sample(0)]);
}

#[test]
fn a_second_pps_that_only_the_stream_has_is_in_the_one_first_configuration() {
    let mut track = h264(";sprop-parameter-sets=Z2QAM6wVFKCgPZA=,aO48gA==");
    let aud: &[u8] = &[9, 0xf0];
    let unit: [&[u8]; 6] = [aud, SPS, PPS, PPS_1, &[6, 1, 1, 0x80], &idr()];
    let packets: Vec<(i64, &[u8])> = (0..3).flat_map(|ticks| unit.map(|nal| (ticks, nal))).collect();
    assert_eq!(feed(&mut track, &packets), [INITIAL, Told::Sample(0), Told::Sample(1), Told::Sample(2)]);
}

#[test]
fn an_added_set_is_an_addition_and_a_new_size_a_change_each_before_its_sample() {
    let mut track = h264("");
    let told = feed(
        &mut track,
        &[
            (0, SPS),
            (0, PPS),
            (0, &idr()),
            (1, PPS_1),
            (1, &delta()),
            (2, SPS),
            (2, PPS),
            (2, &idr()),
            (3, OTHER_SPS),
            (3, PPS),
            (3, &idr()),
        ],
    );
    let added = Told::Configuration(640, 480, ChangeKind::Added);
    let changed = Told::Configuration(704, 576, ChangeKind::Changed);
    let [s0, s1, s2, s3] = [0, 1, 2, 3].map(Told::Sample);
    assert_eq!(told, [INITIAL, s0, added, s1, s2, changed, s3]);
}

#[test]
fn a_switch_to_another_sps_that_was_known_is_a_change() {
    let mut track = h264("");
    // The other sps with id 1, and a pps 1 that refers to it: cut out of their bits, '1' -> '010'.
    let sps_1: Vec<u8> = with_id_1(OTHER_SPS, 4);
    let pps_1: &[u8] = &[0x68, 0b0100_1010];
    let idr_1: &[u8] = &[0x65, 0b1000_1000, 0b0100_0000, 7];
    let told = feed(
        &mut track,
        &[(0, SPS), (0, &sps_1), (0, PPS), (0, pps_1), (0, &idr()), (1, idr_1), (2, &idr())],
    );
    let [first, back] =
        [ChangeKind::Initial, ChangeKind::Changed].map(|kind| Told::Configuration(640, 480, kind));
    let other = Told::Configuration(704, 576, ChangeKind::Changed);
    assert_eq!(told, [first, Told::Sample(0), other, Told::Sample(1), back, Told::Sample(2)]);
}

/// A parameter set with id 1 instead of 0 at byte `at`, where the id is the first bit.
pub(super) fn with_id_1(set: &[u8], at: usize) -> Vec<u8> {
    let bits: String = set[at..].iter().map(|byte| format!("{byte:08b}")).collect();
    let bits = format!("010{}", bits.strip_prefix('1').expect("id 0")) + "000000";
    let tail = (0..bits.len() / 8).map(|n| u8::from_str_radix(&bits[n * 8..n * 8 + 8], 2).expect("binary"));
    set[..at].iter().copied().chain(tail).collect()
}

#[test]
fn a_broken_set_is_an_error_and_the_picture_is_recorded() {
    let mut track = h264(";sprop-parameter-sets=Z2QAM6wVFKCgPZA=,aO48gA==,####");
    let told = feed(&mut track, &[(0, &[0x67, 0x64]), (0, &idr())]);
    assert_eq!(told, [Told::Error, Told::Error, INITIAL, Told::Sample(0)]);
}

#[test]
fn h265_begins_at_a_cra_picture() {
    let mut track = track(
        "m=video 0 RTP/AVP 98\r\na=rtpmap:98 H265/90000\r\na=fmtp:98 profile-id=1;sprop-sps=QgEBAWAAAAMAsAAAAwAAAwBaoAWCAeFja5JFL83BQYFBAAADAAEAAAMADKE=;sprop-pps=RAHA8saNA7NA;sprop-vps=QAEMAf//AWAAAAMAsAAAAwAAAwBarAwAAAMABAAAAwAyqA==\r\n",
    )
    .expect("supported");
    // first slice 1, no_output 0, pps 0.
    let cra: &[u8] = &[21 << 1, 1, 0b1010_0000, 3];
    let told = feed(&mut track, &[(0, &slice(VideoCodec::H265, 1, true, &[1])), (1, cra)]);
    assert_eq!(told, [Told::Configuration(704, 480, ChangeKind::Initial), Told::Sample(1)]);
    assert_eq!((track.skipped(), track.timescale(), track.is_video()), (1, 90_000, true));
}

fn first_format(mut track: Track, payload: &[u8]) -> (TrackFormat, usize) {
    let mut events = Vec::new();
    for ticks in [0, 1] {
        let payload = Bytes::copy_from_slice(payload);
        let packet = RtpPacket { ticks, marker: true, sequence_number: 0, loss: 0, payload };
        track.push(packet, &mut |event| events.push(event));
    }
    let TrackEvent::Configuration(format, ChangeKind::Initial) = events.remove(0) else {
        panic!("{events:?}")
    };
    assert!(
        events.iter().all(|event| matches!(event, TrackEvent::Sample(_))),
        "one configuration: {events:?}"
    );
    (format, events.len())
}

#[test]
fn audio_tracks_begin_with_their_configuration() {
    let aac = track(
        "m=audio 0 RTP/AVP 97\na=rtpmap:97 MPEG4-GENERIC/48000/2\na=fmtp:97 streamtype=5;mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3;config=1188\n",
    );
    let (format, samples) = first_format(aac.expect("supported"), &[0, 16, 0, 8, 1]);
    let expected = TrackFormat {
        codec: *b"mp4a",
        timescale: 48_000,
        private: vec![0x11, 0x88],
        width: 0,
        height: 0,
        channels: 1,
        sample_rate: 48_000,
    };
    assert_eq!((format, samples), (expected, 2));
    // Only `config`, as an Anpviz camera sends it: the rest is what AAC-hbr fixes.
    let bare = track("m=audio 0 RTP/AVP 0\na=rtpmap:0 MPEG4-GENERIC/16000/2\na=fmtp:0 config=1408\n");
    assert_eq!(first_format(bare.expect("supported"), &[0, 16, 0, 8, 1]).0.sample_rate, 16_000);
    let pcma = track("m=audio 0 RTP/AVP 8\n").expect("supported");
    let (format, samples) = first_format(pcma, &[0xd5; 160]);
    assert_eq!((&format.codec, format.timescale, format.channels, samples), (b"alaw", 8000, 1, 2));
}

#[test]
fn what_cannot_be_recorded_is_refused_by_name() {
    let refused = |sdp: &str| track(sdp).map(drop).expect_err("refused").to_string();
    let video = |encoding: &str, fmtp: &str| {
        refused(&format!("m=video 0 RTP/AVP 96\na=rtpmap:96 {encoding}\na=fmtp:96 {fmtp}\n"))
    };
    assert!(video("JPEG/90000", "").contains("\"jpeg\" cannot be recorded"));
    assert!(video("H265/90000", "sprop-max-don-diff=2").contains("sprop-max-don-diff=2"));
    assert!(video("H264/90000", "packetization-mode=2").contains("interleaved"));
    assert!(video("H264", "").contains("clock rate"));
    let audio = |fmtp: &str| {
        refused(&format!("m=audio 0 RTP/AVP 97\na=rtpmap:97 mpeg4-generic/16000\na=fmtp:97 {fmtp}\n"))
    };
    assert!(audio("mode=AAC-hbr").contains("config"));
    assert!(audio("config=zz").contains("hexadecimal"));
    assert!(audio("config=1408;sizelength=99").contains("sizelength=99"));
    assert!(audio("config=1408;maxdisplacement=3").contains("interleaving"));
    assert!(refused("m=application 0 RTP/AVP 107\n").contains("application"));
}
