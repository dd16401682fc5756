//! MP4 as other programs see it: segments and files made of real clips, judged by ffprobe, ffmpeg and a second parser.

#[expect(dead_code, unreachable_pub, reason = "shared with the unit tests, which use other parts of it")]
mod support;

use bytes::Bytes;
use keha_fs::{SampleFlags, TrackKind, TrackNumber};
use keha_player::mp4::{
    DecodeTimes, FragmentSample, FragmentTrack, Layout, LayoutBuilder, LayoutSample, ParameterSets, Piece,
    Timed, Track, fragment, init,
};
use proptest::prelude::*;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use support::clip::{AAC, Clip, ClipSample, H264, H265, MULAW, encode};

/// Half past a day: decode times far from zero, as on the wall clock.
const AXIS_SECONDS: i64 = 88_200;

fn h264_aac() -> &'static Clip {
    static CLIP: OnceLock<Clip> = OnceLock::new();
    CLIP.get_or_init(|| encode(3, "320x180", H264, AAC))
}

fn h265_mulaw() -> &'static Clip {
    static CLIP: OnceLock<Clip> = OnceLock::new();
    CLIP.get_or_init(|| encode(3, "320x180", H265, MULAW))
}

fn tracks(clip: &Clip, sets: ParameterSets) -> Vec<Track> {
    let numbered = (1..).zip(&clip.configuration.tracks);
    numbered.map(|(id, configuration)| Track::new(id, configuration, sets).unwrap()).collect()
}

fn samples_of(clip: &Clip, track: TrackNumber) -> Vec<&ClipSample> {
    clip.samples.iter().filter(|sample| sample.track == track).collect()
}

/// A track's samples as a caller would time them, on an axis far from zero.
fn timed(clip: &Clip, index: usize, track: &Track) -> Vec<FragmentSample> {
    let base = AXIS_SECONDS * i64::from(track.timescale());
    let samples = samples_of(clip, clip.configuration.tracks[index].track);
    let order = samples.iter().map(|s| (s.ticks + base, s.flags.contains(SampleFlags::SYNC)));
    let times = DecodeTimes::of(order, track.reorder_max());
    let made = samples.iter().zip(times).map(|(sample, times)| FragmentSample {
        times,
        flags: sample.flags,
        data: sample.data.clone(),
    });
    made.collect()
}

/// The clip as segments of one group of pictures each, with the sound that belongs to it.
fn segments(clip: &Clip, tracks: &[Track]) -> Vec<Bytes> {
    let all: Vec<Vec<FragmentSample>> =
        (0..tracks.len()).map(|index| timed(clip, index, &tracks[index])).collect();
    let seconds =
        |track: &Track, sample: &FragmentSample| sample.times.decode as f64 / f64::from(track.timescale());
    let video = tracks.iter().position(|track| track.kind() == TrackKind::Video).unwrap();
    let begins: Vec<f64> = all[video]
        .iter()
        .filter(|sample| sample.flags.contains(SampleFlags::SYNC))
        .map(|sample| seconds(&tracks[video], sample))
        .collect();
    let group = |at: f64| begins.iter().filter(|begin| **begin <= at + 1e-9).count().max(1) - 1;
    let made = (0..begins.len()).map(|number| {
        let parts: Vec<FragmentTrack<'_>> = all
            .iter()
            .zip(tracks)
            .map(|(samples, track)| {
                let first = samples.partition_point(|s| group(seconds(track, s)) < number);
                let end = samples.partition_point(|s| group(seconds(track, s)) <= number);
                let next = samples.get(end).map(|sample| sample.times.decode);
                FragmentTrack { track, samples: &samples[first..end], next }
            })
            .collect();
        let made = fragment(number as u32 + 1, &parts).unwrap();
        assert_eq!(made.needs_init, [0u32; 0]);
        made.data
    });
    made.collect()
}

fn laid_out(clip: &Clip, sets: ParameterSets, sound_later_ms: i64) -> Layout {
    let tracks = tracks(clip, sets);
    let mut builder = LayoutBuilder::new(tracks.clone()).unwrap();
    for sample in &clip.samples {
        let (index, ticks) = placed(clip, &tracks, sample, sound_later_ms);
        let track = &tracks[index];
        let read = track.file_payload(&sample.data, ticks).unwrap().data.len() as u32;
        if let Some(bytes) = track.file_bytes(sample.data.len(), ticks) {
            assert_eq!(bytes, read);
        }
        let sync = sample.flags.contains(SampleFlags::SYNC);
        builder.push(index, LayoutSample { ticks, sync, bytes: read }).unwrap();
    }
    builder.finish().unwrap()
}

fn placed(clip: &Clip, tracks: &[Track], sample: &ClipSample, sound_later_ms: i64) -> (usize, i64) {
    let index = clip.configuration.tracks.iter().position(|track| track.track == sample.track).unwrap();
    let later = if tracks[index].kind() == TrackKind::Audio { sound_later_ms } else { 0 };
    (index, sample.ticks + later * i64::from(tracks[index].timescale()) / 1000)
}

/// The bytes of a range, sample by sample, as a server would make them.
fn read(clip: &Clip, layout: &Layout, range: std::ops::Range<u64>, sound_later_ms: i64) -> Vec<u8> {
    let tracks: Vec<Track> = layout.tracks().cloned().collect();
    let mut out = Vec::new();
    for piece in layout.pieces(range) {
        match piece {
            Piece::Head(data) => out.extend_from_slice(&data),
            Piece::Sample { track, sample, bytes } => {
                let stored = samples_of(clip, clip.configuration.tracks[track].track)[sample as usize];
                let (_, ticks) = placed(clip, &tracks, stored, sound_later_ms);
                let payload = tracks[track].file_payload(&stored.data, ticks).unwrap().data;
                out.extend_from_slice(&payload[bytes.start as usize..bytes.end as usize]);
            }
        }
    }
    out
}

fn run(program: &str, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(program).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{program} {arguments:?}: {said}");
    output.stdout
}

/// The hashes of all pictures, in the order in which they are shown.
fn pictures(path: &Path) -> Vec<String> {
    let path = path.to_str().unwrap();
    let text = run(
        "ffmpeg",
        &[
            "-nostdin",
            "-v",
            "error",
            "-i",
            path,
            "-map",
            "0:v",
            "-fps_mode",
            "passthrough",
            "-f",
            "framemd5",
            "-",
        ],
    );
    let text = String::from_utf8(text).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.rsplit(',').next().unwrap().trim().to_owned()).collect()
}

/// Linear sound of 16 bits.
fn sound(arguments: &[&str]) -> Vec<u8> {
    let all = [&["-nostdin", "-v", "error"], arguments, &["-map", "0:a", "-f", "s16le", "-"]].concat();
    run("ffmpeg", &all)
}

/// The clip's pictures as a byte stream of ITU-T H.264 or H.265, annex B, which knows no container.
fn byte_stream(clip: &Clip, directory: &Path) -> std::path::PathBuf {
    let video = clip.configuration.tracks.iter().find(|track| track.kind == TrackKind::Video).unwrap();
    let mut out = Vec::new();
    let mut put = |unit: &[u8]| {
        out.extend([0, 0, 0, 1]);
        out.extend_from_slice(unit);
    };
    use mp4_atom::Atom;
    let extension = if &video.codec == b"avc1" {
        let avcc = mp4_atom::Avcc::decode_body(&mut &video.private[..]).unwrap();
        avcc.sequence_parameter_sets.iter().chain(&avcc.picture_parameter_sets).for_each(|set| put(set));
        "h264"
    } else {
        let hvcc = mp4_atom::Hvcc::decode_body(&mut &video.private[..]).unwrap();
        hvcc.arrays.iter().flat_map(|array| &array.nalus).for_each(|set| put(set));
        "h265"
    };
    for sample in samples_of(clip, video.track) {
        let mut rest = &sample.data[..];
        while let Some((length, tail)) = rest.split_first_chunk::<4>() {
            let (unit, tail) = tail.split_at(u32::from_be_bytes(*length) as usize);
            put(unit);
            rest = tail;
        }
    }
    let path = directory.join("source").with_extension(extension);
    std::fs::write(&path, out).unwrap();
    path
}

/// The clip's G.711, decoded by ffmpeg.
fn source_sound(clip: &Clip, directory: &Path) -> Vec<u8> {
    let audio = clip.configuration.tracks.iter().find(|track| track.kind == TrackKind::Audio).unwrap();
    let raw: Vec<u8> = samples_of(clip, audio.track).iter().flat_map(|sample| sample.data.to_vec()).collect();
    let path = directory.join("sound.ul");
    std::fs::write(&path, raw).unwrap();
    sound(&["-f", "mulaw", "-ar", "8000", "-ac", "1", "-i", path.to_str().unwrap()])
}

/// ffprobe and ffmpeg have nothing to say of the file, and it shows the clip's pictures.
fn plays_the_clip(clip: &Clip, file: &[u8]) -> (tempfile::TempDir, std::path::PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("made.mp4");
    std::fs::write(&path, file).unwrap();
    run(
        "ffprobe",
        &["-v", "warning", "-show_streams", "-show_packets", "-o", "/dev/null", path.to_str().unwrap()],
    );
    run("ffmpeg", &["-nostdin", "-v", "error", "-i", path.to_str().unwrap(), "-f", "null", "-"]);
    let source = pictures(&byte_stream(clip, directory.path()));
    assert_eq!(source.len(), 75);
    assert_eq!(pictures(&path), source);
    (directory, path)
}

/// This parser takes the offsets of a `trun` of version 1 for unsigned; they are signed (ISO/IEC 14496-12, 8.8.8).
fn presentation(sample: &re_mp4::Sample) -> i64 {
    sample.decode_timestamp + i64::from((sample.composition_timestamp - sample.decode_timestamp) as i32)
}

/// A second parser finds each sample with its bytes, its times and its sync flag.
fn parses_to_the_clip(clip: &Clip, file: &[u8], axis_seconds: i64, made: &[Track]) {
    let mp4 = re_mp4::Mp4::read_bytes(file).unwrap();
    for (index, track) in made.iter().enumerate() {
        let stored = samples_of(clip, clip.configuration.tracks[index].track);
        let parsed = &mp4.tracks()[&track.id()];
        assert_eq!(parsed.samples.len(), stored.len());
        let shown: Vec<i64> = parsed.samples.iter().map(presentation).collect();
        let shift = shown.iter().min().unwrap() - stored.iter().map(|sample| sample.ticks).min().unwrap();
        if axis_seconds > 0 {
            assert_eq!(shift, axis_seconds * i64::from(track.timescale()));
        }
        for ((parsed, shown), stored) in parsed.samples.iter().zip(shown).zip(stored) {
            assert_eq!(shown, stored.ticks + shift);
            if track.codec_string() != "fLaC" {
                assert_eq!(&file[parsed.byte_range()], &stored.data[..]);
            }
            if track.kind() == TrackKind::Video {
                assert_eq!(parsed.is_sync, stored.flags.contains(SampleFlags::SYNC));
            }
        }
    }
}

#[test]
fn segments_of_h264_with_b_pictures_and_aac_play_as_what_was_recorded() {
    let clip = h264_aac();
    let made = tracks(clip, ParameterSets::SampleEntry);
    assert!(made[0].codec_string().starts_with("avc1.42") || made[0].codec_string().starts_with("avc1.4D"));
    assert_eq!(made[1].codec_string(), "mp4a.40.2");
    assert_eq!((made[0].reorder_max(), made[1].reorder_max()), (2, 0));
    let segments = segments(clip, &made);
    assert_eq!(segments.len(), 3);
    let file = [vec![init(&made).unwrap()], segments].concat().concat();
    plays_the_clip(clip, &file);
    parses_to_the_clip(clip, &file, AXIS_SECONDS, &made);
}

#[test]
fn segments_of_h265_with_open_gops_and_g711_play_bit_for_bit() {
    let clip = h265_mulaw();
    let made = tracks(clip, ParameterSets::SampleEntry);
    assert!(made[0].codec_string().starts_with("hvc1.1.6.L"));
    assert_eq!((made[1].codec_string(), made[1].reorder_max()), ("fLaC", 0));
    assert!((1..=3).contains(&made[0].reorder_max()));
    let file = [vec![init(&made).unwrap()], segments(clip, &made)].concat().concat();
    let (directory, path) = plays_the_clip(clip, &file);
    parses_to_the_clip(clip, &file, AXIS_SECONDS, &made);
    let source = source_sound(clip, directory.path());
    assert_eq!(source.len(), 2 * 24_000);
    assert!(sound(&["-i", path.to_str().unwrap()]) == source, "the sound differs");
}

#[test]
fn a_segment_alone_with_the_init_segment_plays_and_is_the_same_at_any_time() {
    let clip = h264_aac();
    let made = tracks(clip, ParameterSets::SampleEntry);
    let (once, again) = (segments(clip, &made), segments(clip, &tracks(clip, ParameterSets::SampleEntry)));
    assert_eq!(once, again);
    assert_eq!(init(&made).unwrap(), init(&tracks(clip, ParameterSets::SampleEntry)).unwrap());
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("one.mp4");
    std::fs::write(&path, [&init(&made).unwrap()[..], &once[1]].concat()).unwrap();
    assert_eq!(pictures(&path).len(), 25);
}

/// ffmpeg reads the first init segment of a playlist alone, and decodes by it what is behind a change of the pictures' size.
#[test]
fn segments_that_repeat_their_sets_play_behind_another_init_segment() {
    let first = tracks(h264_aac(), ParameterSets::SampleEntryAndSegment);
    let clip = encode(2, "480x270", H264, AAC);
    let made = tracks(&clip, ParameterSets::SampleEntryAndSegment);
    assert!(made[0].codec_string().starts_with("avc1."));
    let directory = tempfile::tempdir().unwrap();
    let (own, other) = (directory.path().join("own.mp4"), directory.path().join("other.mp4"));
    let segments = segments(&clip, &made);
    std::fs::write(&own, [vec![init(&made).unwrap()], segments.clone()].concat().concat()).unwrap();
    std::fs::write(&other, [vec![init(&first).unwrap()], segments].concat().concat()).unwrap();
    assert_eq!(pictures(&own).len(), 50);
    assert_eq!(pictures(&other), pictures(&own));
}

#[test]
fn a_file_laid_out_in_advance_plays_as_what_was_recorded() {
    for (clip, sets) in [(h264_aac(), ParameterSets::SampleEntry), (h265_mulaw(), ParameterSets::SampleEntry)]
    {
        let layout = laid_out(clip, sets, 0);
        let file = read(clip, &layout, 0..layout.bytes(), 0);
        assert_eq!(file.len() as u64, layout.bytes());
        let (directory, path) = plays_the_clip(clip, &file);
        parses_to_the_clip(clip, &file, 0, &tracks(clip, sets));
        if &clip.configuration.tracks[1].codec == b"ulaw" {
            let source = source_sound(clip, directory.path());
            assert!(sound(&["-i", path.to_str().unwrap()]) == source, "the sound differs");
        }
    }
}

#[test]
fn every_code_of_both_laws_comes_out_as_ffmpeg_decodes_it() {
    let codes: Vec<u8> =
        (0..=255).chain((0..=255).rev()).chain((0..=255).map(|code: u8| code ^ 0x55)).collect();
    for (codec, format) in [(*b"ulaw", "mulaw"), (*b"alaw", "alaw")] {
        let mut configuration = h265_mulaw().configuration.tracks[1].clone();
        configuration.codec = codec;
        let track = Track::new(1, &configuration, ParameterSets::SampleEntry).unwrap();
        let packets = codes.chunks(96).zip(0..).map(|(packet, index)| FragmentSample {
            times: Timed { decode: index * 96, offset: 0 },
            flags: SampleFlags::SYNC,
            data: Bytes::copy_from_slice(packet),
        });
        let samples: Vec<FragmentSample> = packets.collect();
        let made = fragment(1, &[FragmentTrack { track: &track, samples: &samples, next: None }]).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let (raw, path) = (directory.path().join("raw"), directory.path().join("made.mp4"));
        std::fs::write(&raw, &codes).unwrap();
        std::fs::write(&path, [init(std::slice::from_ref(&track)).unwrap(), made.data].concat()).unwrap();
        let source = sound(&["-f", format, "-ar", "8000", "-ac", "1", "-i", raw.to_str().unwrap()]);
        assert_eq!(source.len(), 2 * codes.len());
        assert!(sound(&["-i", path.to_str().unwrap()]) == source, "{format} differs");
    }
}

#[test]
fn a_live_stream_of_one_picture_a_segment_plays_as_what_was_recorded() {
    let clip = h264_aac();
    let track = Track::new(1, &clip.configuration.tracks[0], ParameterSets::SampleEntry).unwrap();
    let (mut decode, mut settled, mut waiting) =
        (DecodeTimes::new(track.reorder_max()), Vec::new(), Vec::new());
    let (mut file, mut sequence) = (init(std::slice::from_ref(&track)).unwrap().to_vec(), 0);
    let stored = samples_of(clip, clip.configuration.tracks[0].track);
    for (index, sample) in stored.iter().enumerate() {
        decode.push(sample.ticks, sample.flags.contains(SampleFlags::SYNC), &mut settled);
        if index + 1 == stored.len() {
            decode.finish(&mut settled);
        }
        waiting.push(*sample);
        assert!(waiting.len() <= settled.len() + track.reorder_max());
        let ready: Vec<&ClipSample> = waiting.drain(..settled.len()).collect();
        for (sample, times) in ready.into_iter().zip(settled.drain(..)) {
            sequence += 1;
            let samples = [FragmentSample { times, flags: sample.flags, data: sample.data.clone() }];
            let part = FragmentTrack { track: &track, samples: &samples, next: Some(times.decode + 3600) };
            file.extend_from_slice(&fragment(sequence, &[part]).unwrap().data);
        }
    }
    plays_the_clip(clip, &file);
}

#[test]
fn sound_that_begins_later_begins_later_in_the_file() {
    let clip = h264_aac();
    let layout = laid_out(clip, ParameterSets::SampleEntry, 500);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("later.mp4");
    std::fs::write(&path, read(clip, &layout, 0..u64::MAX, 500)).unwrap();
    let arguments = ["-v", "warning", "-show_entries", "stream=codec_type,start_time", "-of", "csv=p=0"];
    let text = run("ffprobe", &[&arguments[..], &[path.to_str().unwrap()]].concat());
    // The clip's own sound begins with the encoder's delay, a little before its pictures.
    let first = samples_of(clip, clip.configuration.tracks[0].track).iter().map(|sample| sample.ticks).min();
    let later = ((0.5 - first.unwrap() as f64 / 90_000.0) * 1000.0).round() / 1000.0;
    assert_eq!(String::from_utf8(text).unwrap(), format!("video,0.000000\naudio,{later:.6}\n"));
}

/// A NAL unit of this length that says nothing, behind its length.
fn filler(length: usize) -> Vec<u8> {
    let mut unit = (length as u32).to_be_bytes().to_vec();
    unit.push(12);
    unit.resize(4 + length - 1, 0xFF);
    unit.push(0x80);
    unit
}

#[test]
fn parameter_sets_in_samples_are_taken_out_and_new_ones_told() {
    use mp4_atom::Atom;
    let clip = h264_aac();
    let video = &clip.configuration.tracks[0];
    let avcc = mp4_atom::Avcc::decode_body(&mut &video.private[..]).unwrap();
    let stored = samples_of(clip, video.track)[0].data.clone();
    let with = |set: &[u8]| Bytes::from([&(set.len() as u32).to_be_bytes()[..], set, &stored[..]].concat());
    let (known, mut other) =
        (avcc.sequence_parameter_sets[0].clone(), avcc.picture_parameter_sets[0].clone());
    other.push(0x80);
    let track = Track::new(1, video, ParameterSets::SampleEntry).unwrap();
    for (set, needs_init) in [(known, false), (other, true)] {
        let payload = track.segment_payload(&with(&set), 0).unwrap();
        assert_eq!((payload.data, payload.needs_init), (stored.clone(), needs_init));
        // In a file filler data of the same length stands behind the pictures, and an unknown set stays.
        let payload = track.file_payload(&with(&set), 0).unwrap();
        assert_eq!((payload.data.len(), payload.needs_init), (with(&set).len(), needs_init));
        assert_eq!(track.file_bytes(with(&set).len(), 0), Some(with(&set).len() as u32));
        let whole = if needs_init { with(&set) } else { [&stored[..], &filler(set.len())].concat().into() };
        assert!(payload.data == whole);
    }
    assert!(track.segment_payload(&Bytes::from_static(&[0, 0, 0, 9, 1]), 0).is_err());
}

#[test]
fn what_has_no_place_in_mp4_is_an_error_that_names_it() {
    let mut metadata = h264_aac().configuration.tracks[0].clone();
    metadata.codec = *b"onvf";
    let error = Track::new(2, &metadata, ParameterSets::SampleEntry).unwrap_err().to_string();
    assert!(error.contains("track 2") && error.contains("onvf"), "{error}");
    assert!(init(&[]).is_err() && fragment(1, &[]).is_err());
    let empty = LayoutBuilder::new(tracks(h264_aac(), ParameterSets::SampleEntry)).unwrap();
    assert!(empty.finish().is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_range_of_a_layout_is_that_slice_of_the_whole_file(from in 0.0..1.0f64, length in 0.0..0.3f64) {
        static WHOLE: OnceLock<(Layout, Vec<u8>)> = OnceLock::new();
        let clip = h265_mulaw();
        let (layout, whole) = WHOLE.get_or_init(|| {
            let layout = laid_out(clip, ParameterSets::SampleEntry, 40);
            let whole = read(clip, &layout, 0..layout.bytes(), 40);
            (layout, whole)
        });
        let from = (from * whole.len() as f64) as usize;
        let to = (from + (length * whole.len() as f64) as usize).min(whole.len());
        let part = read(clip, layout, from as u64..to as u64, 40);
        prop_assert!(part == whole[from..to], "{from}..{to}");
        let counted: u64 = layout.pieces(from as u64..to as u64).map(|piece| piece.bytes()).sum();
        prop_assert_eq!(counted, (to - from) as u64);
    }
}
