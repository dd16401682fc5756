//! What is fuzzed, and what must hold of each.

use bytes::Bytes;
use rand::RngExt;
use rand::rngs::StdRng;

use super::inputs::{DESCRIPTIONS, SETS, audio, change, packets, rng, video};
use crate::clock::run::RunClock;
use crate::clock::track::Arrival;
use crate::codec::nal::VideoCodec;
use crate::codec::parameter_sets::ParameterSets;
use crate::codec::{aac, h264, h265, sdp};
use crate::depacketize::{
    Aac, AacParameters, Depacketizer, G711, H264, H265, Limits, Output, RtpPacket, Track, TrackEvent,
};
use keha_fs::{TrackNumber, WallTime};

/// A name, and what tries the input of a seed.
pub(super) type Target = (&'static str, fn(u64));

pub(super) const TARGETS: [Target; 8] = [
    ("h264", |seed| video_payloads(VideoCodec::H264, seed)),
    ("h265", |seed| video_payloads(VideoCodec::H265, seed)),
    ("aac", aac_payloads),
    ("g711", g711_payloads),
    ("tracks", tracks),
    ("descriptions", descriptions),
    ("parameter sets", parameter_sets),
    ("sender reports", sender_reports),
];

/// Small, so that they are met.
const SMALL: Limits = Limits { sample_bytes: 700, nal_units: 9, pieces: 12 };

/// Runs packets through: what comes out is no more than went in, and each sample is within the limits and well formed.
pub(super) fn run(mut depacketizer: Depacketizer, packets: Vec<RtpPacket>, limits: Option<Limits>) {
    let sent: usize = packets.iter().map(|packet| packet.payload.len()).sum();
    let (mut out_bytes, mut errors, count) = (0, 0, packets.len());
    let mut check = |output: Output| {
        let Output::Sample(sample) = output else {
            errors += 1;
            return;
        };
        assert_eq!(sample.len, sample.data.iter().map(Bytes::len).sum::<usize>(), "the length is the sum");
        let Some(limits) = limits else {
            out_bytes += sample.len;
            return;
        };
        assert!(sample.len <= limits.sample_bytes, "{} bytes", sample.len);
        let data = sample.to_vec();
        let (mut rest, mut units) = (data.as_slice(), 0);
        while !rest.is_empty() {
            let (length, behind) = rest.split_first_chunk::<4>().expect("a length");
            let length = u32::from_be_bytes(*length) as usize;
            assert!(length > 0, "an empty NAL unit");
            rest = behind.get(length..).expect("a length within the sample");
            (out_bytes, units) = (out_bytes + length, units + 1);
        }
        assert!(units <= limits.nal_units, "{units} NAL units");
    };
    for (index, packet) in packets.into_iter().enumerate() {
        depacketizer.push(packet, &mut check);
        if index % 7 == 6 {
            depacketizer.flush(&mut check);
        }
    }
    depacketizer.finish(&mut check);
    // A NAL unit put together from fragments has a byte more of header than they brought for it, at most.
    assert!(out_bytes <= sent + 2 * count, "{out_bytes} bytes came out of {sent}");
    // Each unit of a packet of audio may be wrong by itself; its header has a bit at least.
    let wrong_max = 4 * count + 4 + if limits.is_none() { 8 * sent } else { 0 };
    assert!(errors <= wrong_max, "{errors} errors from {count} packets");
}

fn video_payloads(codec: VideoCodec, seed: u64) {
    let mut rng = rng(seed);
    let payloads = video(codec, &mut rng);
    let packets = packets(payloads, &mut rng);
    for limits in [SMALL, Limits::default()] {
        let depacketizer = match codec {
            VideoCodec::H264 => Depacketizer::H264(H264::new(limits)),
            VideoCodec::H265 => Depacketizer::H265(H265::new(limits)),
        };
        run(depacketizer, packets.clone(), Some(limits));
    }
}

fn aac_payloads(seed: u64) {
    let mut rng = rng(seed);
    let payloads = audio(&mut rng);
    let packets = packets(payloads, &mut rng);
    let odd = AacParameters {
        size_length: rng.random_range(0..32),
        index_length: rng.random_range(0..8),
        index_delta_length: rng.random_range(0..8),
        cts_delta_length: rng.random_range(0..8),
        dts_delta_length: rng.random_range(0..4),
        random_access_indication: rng.random(),
        stream_state_length: rng.random_range(0..4),
        auxiliary_size_length: rng.random_range(0..4),
        constant_size: rng.random_range(0..8),
        ticks_per_unit: 1024,
    };
    for parameters in [AacParameters::hbr(1024), AacParameters::lbr(1024), odd] {
        run(Depacketizer::Aac(Aac::new(parameters)), packets.clone(), None);
    }
}

fn g711_payloads(seed: u64) {
    let mut rng = rng(seed);
    let payloads = (0..rng.random_range(1..20)).map(|_| vec![0xd5; rng.random_range(0..400)]).collect();
    let packets = packets(payloads, &mut rng);
    run(Depacketizer::G711(G711::new()), packets, None);
}

/// A description, changed or not, in bytes.
fn description(rng: &mut StdRng) -> Vec<u8> {
    let mut bytes = DESCRIPTIONS[rng.random_range(0..DESCRIPTIONS.len())].as_bytes().to_vec();
    change(&mut bytes, rng);
    bytes
}

fn tracks(seed: u64) {
    let mut rng = rng(seed);
    for media in sdp::parse(&description(&mut rng)) {
        let Ok(mut track) = Track::new(&media) else { continue };
        let payloads = match media.encoding.as_str() {
            "h264" => video(VideoCodec::H264, &mut rng),
            "h265" => video(VideoCodec::H265, &mut rng),
            _ => audio(&mut rng),
        };
        let packets = packets(payloads, &mut rng);
        let (count, mut events) = (packets.len(), 0);
        let mut configured = false;
        let mut out = |event: TrackEvent| {
            events += 1;
            configured |= matches!(event, TrackEvent::Configuration(..));
            let sample = matches!(event, TrackEvent::Sample(_));
            assert!(configured || !sample, "a sample before its configuration");
        };
        for (index, packet) in packets.into_iter().enumerate() {
            track.push(packet, &mut out);
            if index % 5 == 4 {
                track.flush(&mut out);
            }
        }
        track.finish(&mut out);
        // Of a packet of audio many samples may come, but each has a byte at least.
        assert!(events <= 1_000 * (count + 8), "{events} events from {count} packets");
        let _known = (track.known_format(), track.frame_rate_milli(), track.skipped());
    }
}

fn descriptions(seed: u64) {
    let mut rng = rng(seed);
    let bytes = description(&mut rng);
    let sections = sdp::parse(&bytes);
    assert!(sections.len() <= bytes.len() / 2 + 1);
    for media in &sections {
        let sets: usize = media.parameter_sets().iter().flatten().map(Vec::len).sum();
        assert!(sets <= 3 * bytes.len(), "{sets} bytes of sets from {}", bytes.len());
        let _track = Track::new(media);
    }
    let streams: Vec<(&str, u8)> =
        sections.iter().map(|media| (media.media.as_str(), media.payload_type)).collect();
    assert_eq!(sdp::match_streams(&sections, streams).len(), sections.len());
}

fn parameter_sets(seed: u64) {
    let mut rng = rng(seed);
    let codec = if rng.random() { VideoCodec::H264 } else { VideoCodec::H265 };
    let mut sets = ParameterSets::new(codec);
    for _ in 0..rng.random_range(1..8) {
        let mut set = SETS[rng.random_range(0..SETS.len())].to_vec();
        change(&mut set, &mut rng);
        let _ = (h264::parse_sps(&set), h264::parse_pps_ids(&set), aac::parse(&set));
        let _ = (h265::parse_sps(&set), h265::parse_pps_ids(&set), h265::parse_vps_id(&set));
        sets.begin_unit();
        let _ = sets.observe(&set);
        sets.end_unit();
        let pps = if rng.random() { Some(rng.random()) } else { None };
        let _ = (sets.format(pps, rng.random()), sets.frame_rate_milli());
    }
    let hex: String =
        (0..rng.random_range(0..20)).map(|_| char::from(rng.random_range(32..127_u8))).collect();
    let _ = aac::decode_hex(&hex);
}

/// Sender reports with any time in them: whatever a camera claims, mapped times keep near arrival.
fn sender_reports(seed: u64) {
    const BEGIN: i64 = 1_700_000_000_000_000_000;
    const SECOND: i64 = 1_000_000_000;
    let mut rng = rng(seed);
    let (track, timescale) = (TrackNumber(1), [90_000, 48_000, 8_000, 1][rng.random_range(0..4)]);
    let mut clock = RunClock::default();
    let mut begun = false;
    for turn in 0..rng.random_range(1..60) {
        let since = turn * SECOND / 2;
        let arrival = Arrival { mono_ns: since, wall_ns: BEGIN + since, prompt: since % 3 != 0 };
        let ticks = match rng.random_range(0..12) {
            0 => rng.random_range(-(1 << 40)..1_i64 << 40),
            _ => turn * i64::from(timescale) / 2,
        };
        if rng.random_range(0..3) == 0 {
            let camera = match rng.random_range(0..4) {
                0 => rng.random_range(0..i64::MAX),
                1 => 0,
                _ => BEGIN + since + rng.random_range(-9 * SECOND..9 * SECOND),
            };
            let _report = clock.report(track, ticks, camera, arrival, WallTime(BEGIN + since));
        }
        if clock.step(track, ticks, arrival) != crate::clock::track::Step::Steady {
            clock.bridge(track, ticks, arrival);
        }
        clock.observe(track, timescale, ticks, arrival);
        if !begun {
            clock.begin_run(BEGIN);
            begun = true;
        }
        if clock.astray_ns().is_some() {
            clock = clock.next(since, 0);
            begun = false;
            continue;
        }
        let wall = clock.wall_ns(track, ticks).expect("a track with a sample");
        assert!((wall - arrival.wall_ns).abs() <= 30 * SECOND, "mapped {} ns away", wall - arrival.wall_ns);
        let _given = (clock.run_ticks(track, ticks), clock.anchor_due(track), clock.camera_offset_ns());
    }
}
