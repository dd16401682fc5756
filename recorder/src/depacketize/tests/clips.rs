//! Clips of real encoders, packetized in every form: what comes out is what the encoder wrote, and the configuration
//! is what FFmpeg's own muxer makes of the same stream. Needs `ffmpeg` and `ffprobe` with libx264 and libx265.

use std::path::Path;
use std::process::Command;

use bytes::Bytes;

use super::packetize::{Form, Markers, Picture, packetize};
use super::tracks::with_id_1;
use super::{AccessUnit, nals};
use crate::codec::TrackFormat;
use crate::codec::nal::VideoCodec;
use crate::codec::sdp::MediaDescription;
use crate::depacketize::{ChangeKind, Track, TrackEvent, start_code};

struct Clip {
    codec: VideoCodec,
    pictures: Vec<Picture>,
    /// avcC or hvcC as FFmpeg writes it to MP4.
    record: Vec<u8>,
    /// As ffprobe sees it.
    size: (u16, u16),
    key_frames: Vec<usize>,
}

fn run_program(program: &str, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{program} must be installed for this test: {error}"));
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Encodes a test picture with access unit delimiters, by which the raw stream is cut into pictures.
fn encode(codec: VideoCodec, size: &str, pixels: &str, parameters: &str) -> Clip {
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let (library, option, format, kind) = match codec {
        VideoCodec::H264 => ("libx264", "-x264-params", "h264", b"avcC"),
        VideoCodec::H265 => ("libx265", "-x265-params", "hevc", b"hvcC"),
    };
    let raw = folder.path().join("clip.raw");
    let mp4 = folder.path().join("clip.mp4");
    let [raw, mp4] = [&raw, &mp4].map(|path| path.to_str().expect("UTF-8"));
    let source = format!("testsrc2=size={size}:rate=25:duration=2");
    let encode = [
        "-v", "error", "-f", "lavfi", "-i", &source, "-pix_fmt", pixels, "-c:v", library, option, parameters,
    ];
    run_program("ffmpeg", &[&encode[..], &["-f", format, raw]].concat());
    run_program("ffmpeg", &["-v", "error", "-f", format, "-i", raw, "-c", "copy", mp4]);
    let probed = run_program(
        "ffprobe",
        &[
            "-v",
            "error",
            "-show_entries",
            "packet=flags:stream=width,height",
            "-of",
            "csv=p=0",
            "-f",
            format,
            raw,
        ],
    );
    let probed = String::from_utf8(probed).expect("text");
    let (flags, numbers): (Vec<&str>, Vec<&str>) =
        probed.lines().filter(|line| !line.is_empty()).partition(|line| line.contains('_'));
    let (width, height) = numbers[0].trim_end_matches(',').split_once(',').expect("width,height");
    Clip {
        codec,
        pictures: cut_into_pictures(codec, Path::new(raw)),
        record: find_box(&std::fs::read(mp4).expect("written by ffmpeg"), kind),
        size: (width.parse().expect("a number"), height.parse().expect("a number")),
        key_frames: flags
            .iter()
            .enumerate()
            .filter(|(_, f)| f.contains('K'))
            .map(|(index, _)| index)
            .collect(),
    }
}

fn cut_into_pictures(codec: VideoCodec, raw: &Path) -> Vec<Picture> {
    let stream = Bytes::from(std::fs::read(raw).expect("written by ffmpeg"));
    let mut pictures: Vec<Picture> = Vec::new();
    for (index, nal) in start_code::split(&stream).iter().enumerate() {
        let is_delimiter = match codec {
            VideoCodec::H264 => nal[0] & 0x1f == 9,
            VideoCodec::H265 => nal[0] >> 1 == 35,
        };
        if is_delimiter {
            let ticks = pictures.len() as i64 * 3600;
            pictures.push(Picture { ticks, nals: Vec::new() });
        }
        let form = match index % 4 {
            _ if nal.len() > 1400 => Form::Fragments(1300),
            0 => Form::Single,
            1 => Form::Fragments(97),
            _ => Form::Aggregated,
        };
        pictures.last_mut().expect("a delimiter first").nals.push((nal.to_vec(), form));
    }
    pictures
}

/// The content of the first MP4 box of this kind: its size stands in the four bytes before the name.
fn find_box(mp4: &[u8], kind: &[u8; 4]) -> Vec<u8> {
    let at = memchr::memmem::find(mp4, kind).expect("the box is there");
    let size = u32::from_be_bytes(mp4[at - 4..at].try_into().expect("four bytes")) as usize;
    mp4[at + 4..at - 4 + size].to_vec()
}

/// The clip through a track that knows nothing from the session description.
fn record(codec: VideoCodec, markers: Markers, pictures: &[Picture]) -> (Vec<TrackFormat>, Vec<AccessUnit>) {
    let encoding = if codec == VideoCodec::H264 { "h264" } else { "h265" }.to_owned();
    let media = MediaDescription {
        media: "video".to_owned(),
        encoding,
        clock_rate_hz: 90_000,
        ..MediaDescription::default()
    };
    let mut track = Track::new(&media).expect("supported");
    let (mut formats, mut samples) = (Vec::new(), Vec::new());
    let mut out = |event| match event {
        TrackEvent::Configuration(format, ChangeKind::Initial) => formats.push(format),
        TrackEvent::Sample(sample) => samples.push(sample),
        other => panic!("unexpected: {other:?}"),
    };
    for packet in packetize(codec, markers, pictures) {
        track.push(packet, &mut out);
    }
    track.finish(&mut out);
    (formats, samples)
}

fn check(clip: &Clip) -> TrackFormat {
    let mut found = None;
    for markers in [Markers::Right, Markers::Never, Markers::EveryNal] {
        let (mut formats, samples) = record(clip.codec, markers, &clip.pictures);
        assert_eq!(samples.len(), clip.pictures.len(), "{markers:?}");
        for (sample, picture) in samples.iter().zip(&clip.pictures) {
            assert_eq!(nals(sample), picture.nal_units(), "{markers:?}");
            assert!(!sample.flags.loss && !sample.flags.signature);
        }
        let key_frames = samples.iter().enumerate().filter(|(_, s)| s.flags.sync).map(|(index, _)| index);
        assert_eq!(key_frames.collect::<Vec<_>>(), clip.key_frames, "{markers:?}");
        assert_eq!(formats.len(), 1, "one configuration, {markers:?}");
        found = formats.pop();
    }
    let format = found.expect("a configuration");
    assert_eq!((format.width, format.height), clip.size);
    format
}

#[test]
fn an_x264_clip_with_slices_delimiters_and_sei_gives_the_avcc_of_ffmpeg() {
    let parameters = "slices=2:aud=1:keyint=15:bframes=2:b-pyramid=normal:repeat-headers=1";
    let clip = encode(VideoCodec::H264, "322x242", "yuv420p", parameters);
    let format = check(&clip);
    assert_eq!(format.private, clip.record);
    assert!(clip.key_frames.len() >= 4);
    let (_, samples) = record(clip.codec, Markers::Right, &clip.pictures);
    let discardable = samples.iter().filter(|sample| sample.flags.discardable).count();
    assert!(discardable > 5 && discardable < 40, "the B pictures nothing refers to: {discardable}");
}

#[test]
fn other_profiles_and_interlacing_give_the_avcc_of_ffmpeg() {
    for (pixels, parameters) in [
        ("yuv422p", "aud=1:repeat-headers=1:keyint=25"),
        ("yuv444p", "aud=1:repeat-headers=1:keyint=25"),
        ("yuv420p", "aud=1:repeat-headers=1:keyint=25:interlaced=1:cabac=0:8x8dct=0"),
        ("yuv420p", "aud=1:repeat-headers=1:keyint=25:bframes=0:cabac=0:8x8dct=0:weightp=0"),
    ] {
        let clip = encode(VideoCodec::H264, "196x100", pixels, parameters);
        assert_eq!(check(&clip).private, clip.record, "{pixels} {parameters}");
    }
}

#[test]
fn a_clip_with_two_pps_makes_one_configuration_with_both() {
    let mut clip = encode(VideoCodec::H264, "160x96", "yuv420p", "aud=1:repeat-headers=1:keyint=10");
    let mut second = Vec::new();
    for picture in &mut clip.pictures {
        let at = picture.nals.iter().position(|(nal, _)| nal[0] & 0x1f == 8);
        if let Some(at) = at {
            second = with_id_1(&picture.nals[at].0, 1);
            picture.nals.insert(at + 1, (second.clone(), Form::Single));
        }
    }
    let (formats, samples) = record(clip.codec, Markers::Right, &clip.pictures);
    assert_eq!((formats.len(), samples.len()), (1, clip.pictures.len()));
    let private = &formats[0].private;
    let trimmed = second.iter().rposition(|byte| *byte != 0).expect("not empty") + 1;
    assert!(memchr::memmem::find(private, &second[..trimmed]).is_some());
    assert_eq!(private.len(), clip.record.len() + 2 + trimmed);
}

#[test]
fn x265_clips_with_open_gops_give_the_fields_and_sets_of_the_hvcc_of_ffmpeg() {
    for (pixels, size) in [("yuv420p", "322x242"), ("yuv420p10le", "416x240"), ("yuv444p", "162x98")] {
        let parameters =
            "log-level=none:aud=1:repeat-headers=1:open-gop=1:keyint=16:min-keyint=16:bframes=3:slices=2";
        let clip = encode(VideoCodec::H265, size, pixels, parameters);
        let types: Vec<u8> =
            clip.pictures.iter().flat_map(Picture::nal_units).map(|nal| nal[0] >> 1).collect();
        assert!(types.contains(&21), "the clip has CRA pictures");
        let ours = check(&clip).private;
        assert_eq!(ours[..22], clip.record[..22], "version to length size, {pixels}");
        assert_eq!(arrays(&ours), arrays(&clip.record), "{pixels}");
    }
}

/// The parameter sets in an hvcC, by type. FFmpeg also puts prefix SEI into it, and claims completeness.
fn arrays(hvcc: &[u8]) -> Vec<(u8, Vec<Vec<u8>>)> {
    let mut rest = &hvcc[23..];
    let mut arrays = Vec::new();
    for _ in 0..hvcc[22] {
        let (nal_type, count) = (rest[0] & 0x3f, u16::from_be_bytes([rest[1], rest[2]]));
        rest = &rest[3..];
        let mut sets = Vec::new();
        for _ in 0..count {
            let (set, behind) = rest[2..].split_at(usize::from(u16::from_be_bytes([rest[0], rest[1]])));
            sets.push(set.to_vec());
            rest = behind;
        }
        if (32..=34).contains(&nal_type) {
            arrays.push((nal_type, sets));
        }
    }
    arrays
}
