//! Snapshots of real pictures in real volumes, judged by ffprobe and ffmpeg.

#[path = "hls/ring.rs"]
#[expect(dead_code, reason = "shared with the tests of HLS, which use other parts of it")]
mod ring;
#[expect(dead_code, unreachable_pub, reason = "shared with the unit tests, which use other parts of it")]
mod support;

use bytes::Bytes;
use keha_fs::{StreamId, Volume, VolumeId};
use keha_player::Error;
use keha_player::cache::{Cache, Key, Part};
use keha_player::snapshot::{Decoders, Moment, Snapshot, SnapshotName, find, snapshot};
use keha_player::timeline::Index;
use ring::{Ring, at, stream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use support::clip::{AAC, Clip, H264, H265, MULAW, encode};

fn recorded(clip: &Clip) -> (Ring, Volume, StreamId) {
    let ring = Ring::new();
    let mut recorder = ring.recorder();
    recorder.run(1, at(0), clip);
    recorder.close();
    let volume = ring.volume();
    let stream = stream(&volume);
    (ring, volume, stream)
}

fn found(volume: &Volume, moment: Moment) -> Option<SnapshotName> {
    find(&Index::new(volume), volume, stream(volume), moment).unwrap()
}

fn run(program: &str, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(program).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{program} {arguments:?}: {said}");
    output.stdout
}

/// What ffprobe says the JPEG is, and its pixels.
fn seen(made: &Snapshot) -> (String, Vec<u8>) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("made.jpg");
    std::fs::write(&path, &made.data).unwrap();
    let path = path.to_str().unwrap();
    let entries = ["-v", "warning", "-show_entries", "stream=codec_name,width,height", "-of", "csv=p=0"];
    let told = run("ffprobe", &[&entries[..], &[path]].concat());
    (String::from_utf8(told).unwrap().trim().to_owned(), pixels(&["-i", path], (made.width, made.height)))
}

fn pixels(input: &[&str], (width, height): (u16, u16)) -> Vec<u8> {
    let filter = format!("scale={width}:{height}:flags=area");
    let end = ["-frames:v", "1", "-vf", &filter, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"];
    run("ffmpeg", &[&["-nostdin", "-v", "error"], input, &end[..]].concat())
}

/// The mean difference of two pictures, of 255.
fn difference(one: &[u8], other: &[u8]) -> f64 {
    assert_eq!(one.len(), other.len());
    let sum: u64 = one.iter().zip(other).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    sum as f64 / one.len() as f64
}

/// The mean colour of a picture.
fn mean(pixels: &[u8]) -> [u8; 3] {
    let sum = |of: usize| pixels.iter().skip(of).step_by(3).map(|value| u64::from(*value)).sum::<u64>();
    [0, 1, 2].map(|of| (sum(of) / (pixels.len() as u64 / 3)) as u8)
}

/// The first picture of every test clip: the source it was encoded from, at its time.
fn source(size: &str, seconds: &str, made: &Snapshot) -> Vec<u8> {
    let source = format!("testsrc2=size={size}:rate=25");
    pixels(&["-f", "lavfi", "-ss", seconds, "-i", &source], (made.width, made.height))
}

#[test]
fn a_picture_comes_out_with_its_colours_at_any_width() {
    for (codec, sound) in [(H264, AAC), (H265, MULAW)] {
        let (_ring, volume, stream) = recorded(&encode(3, "320x180", codec, sound));
        let name = found(&volume, Moment::At(at(100))).unwrap();
        for (width, expected) in [
            (None, (320, 180)),
            (Some(160), (160, 90)),
            (Some(3840), (320, 180)),
            (Some(33), (48, 27)),
            (Some(48), (48, 27)),
            (Some(313), (320, 180)),
            (Some(16), (16, 9)),
        ] {
            let made = snapshot(&volume, stream, &name, width, &Decoders::installed()).unwrap();
            assert_eq!((made.width, made.height), expected);
            let (told, pixels) = seen(&made);
            assert_eq!(told, format!("mjpeg,{},{}", expected.0, expected.1));
            let source = source("320x180", "0", &made);
            let off = difference(&mean(&pixels), &mean(&source));
            assert!(off < 4.0, "{codec:?} at {width:?}: {off}");
            // In smaller ones every line of the source is an edge.
            let off = difference(&pixels, &source);
            assert!(made.width < 160 || off < 12.0, "{codec:?} at {width:?}: {off}");
        }
    }
}

#[test]
fn h264_is_decoded_without_any_program_too_and_to_the_same_picture() {
    let (_ring, volume, stream) = recorded(&encode(3, "320x180", H264, AAC));
    let name = found(&volume, Moment::At(at(1500))).unwrap();
    let by = |decoders: &Decoders| snapshot(&volume, stream, &name, Some(160), decoders);
    let (own, program) = (by(&Decoders::with_program(None)).unwrap(), by(&Decoders::installed()).unwrap());
    let ((told, own), (_, program)) = (seen(&own), seen(&program));
    assert_eq!(told, "mjpeg,160,90");
    assert!(difference(&own, &program) < 6.0, "{}", difference(&own, &program));
    let refused = by(&Decoders::with_program(None).without_own());
    assert!(matches!(refused, Err(Error::NoDecoder { codec: "H.264", .. })));
}

#[test]
fn h265_without_a_program_is_an_error_that_says_so() {
    let (_ring, volume, stream) = recorded(&encode(2, "320x180", H265, MULAW));
    let name = found(&volume, Moment::Newest).unwrap();
    let error = snapshot(&volume, stream, &name, None, &Decoders::with_program(None)).unwrap_err();
    assert!(matches!(error, Error::NoDecoder { codec: "H.265", .. }));
    assert!(error.to_string().contains("ffmpeg"), "{error}");
}

#[test]
fn the_picture_nearest_to_a_moment_is_found() {
    let (_ring, volume, _) = recorded(&encode(4, "320x180", H264, AAC));
    let at_ms = |moment| found(&volume, moment).map(|name| name.at.since_ns(at(0)) / 1_000_000_000);
    // Keyframes stand a little behind each whole second.
    assert_eq!(at_ms(Moment::At(at(2500))), Some(2));
    assert_eq!(at_ms(Moment::Newest), Some(3));
    assert_eq!(at_ms(Moment::At(at(100_000))), Some(3), "the last one before");
    assert_eq!(at_ms(Moment::At(at(-100_000))), Some(0), "the first one behind");
    let ring = Ring::new();
    ring.recorder().close();
    assert_eq!(found(&ring.volume(), Moment::Newest), None);
}

#[test]
fn names_and_widths_that_fit_nothing_are_refused() {
    let (_ring, volume, stream) = recorded(&encode(2, "320x180", H264, AAC));
    let name = found(&volume, Moment::Newest).unwrap();
    let decoders = Decoders::installed();
    for width in [0, 15, 3841, u16::MAX] {
        assert!(matches!(snapshot(&volume, stream, &name, Some(width), &decoders), Err(Error::Invalid(_))));
    }
    for wrong in [
        SnapshotName { at: name.at.plus_ns(1), ..name },
        SnapshotName { at: at(100_000), ..name },
        SnapshotName { run: keha_fs::RunId::random(), ..name },
    ] {
        let error = snapshot(&volume, stream, &wrong, None, &decoders).unwrap_err();
        let refused =
            matches!(error, Error::NoSegment { .. } | Error::Volume(keha_fs::Error::NotRecorded { .. }));
        assert!(refused, "{error}");
    }
}

/// A program that does something else than ffmpeg.
fn program(directory: &Path, script: &str) -> PathBuf {
    let path = directory.join("program");
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[test]
fn a_program_that_hangs_fails_or_says_too_much_costs_an_error_and_nothing_else() {
    let (_ring, volume, stream) = recorded(&encode(2, "320x180", H264, AAC));
    let name = found(&volume, Moment::Newest).unwrap();
    let directory = tempfile::tempdir().unwrap();
    for (script, expected) in [
        ("exec /bin/sleep 1000", "stopped"),
        ("echo broken >&2; exit 1", "broken"),
        ("exec /bin/cat /dev/zero", "does not decode"),
        ("exec /bin/cat /dev/zero >&2", "does not decode"),
        ("kill -SEGV $$", "does not decode"),
    ] {
        let program = program(directory.path(), script);
        let decoders = Decoders::with_program(Some(program)).with_timeout(Duration::from_millis(500));
        let before = Instant::now();
        let error = snapshot(&volume, stream, &name, None, &decoders).unwrap_err().to_string();
        assert!(error.contains(expected), "{script}: {error}");
        assert!(before.elapsed() < Duration::from_secs(60), "{script} was not stopped");
    }
}

/// Pictures with bytes changed anywhere decode to something, or to an error.
#[test]
fn a_picture_that_was_made_to_break_the_decoder_is_an_error_at_worst() {
    let mut random = 0x2026_u64;
    let mut next = move || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as usize
    };
    let clip = encode(2, "320x180", H264, &[]);
    for _ in 0..12 {
        let mut broken = clip.clone();
        for sample in &mut broken.samples {
            let mut data = sample.data.to_vec();
            for _ in 0..8 {
                let place = 5 + next() % (data.len() - 5);
                data[place] ^= 1 << (next() % 8);
            }
            sample.data = data.into();
        }
        let (_ring, volume, stream) = recorded(&broken);
        let name = found(&volume, Moment::Newest).unwrap();
        for decoders in [Decoders::installed(), Decoders::with_program(None)] {
            match snapshot(&volume, stream, &name, None, &decoders) {
                Ok(made) => assert_eq!((made.width, made.height), (320, 180)),
                Err(error) => assert!(matches!(error, Error::Snapshot(_)), "{error}"),
            }
        }
    }
}

fn key(number: i64) -> Key {
    let name = SnapshotName { run: keha_fs::RunId::default(), at: at(number) };
    Key { volume: VolumeId::default(), stream: StreamId::default(), part: Part::Snapshot(name, 160) }
}

#[test]
fn a_hundred_viewers_of_one_moment_have_it_made_once() {
    let (cache, made) = (Cache::new(1 << 20), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..100 {
            scope.spawn(|| {
                let make = || {
                    made.fetch_add(1, Ordering::SeqCst);
                    std::thread::yield_now();
                    Ok(Bytes::from_static(b"picture"))
                };
                assert_eq!(cache.get_or_make(&key(1), make).unwrap(), "picture");
            });
        }
    });
    assert_eq!(made.load(Ordering::SeqCst), 1);
}

#[test]
fn what_is_kept_is_bounded_and_an_error_is_not_kept() {
    let cache = Cache::new(1 << 20);
    let refused = cache.get_or_make(&key(0), || Err(Error::Cancelled));
    assert!(matches!(refused, Err(Error::Cancelled)));
    let unsettled = cache.get_or_make_settled(&key(0), || Ok((vec![1].into(), false))).unwrap();
    assert_eq!((&unsettled.0[..], unsettled.1), (&[1][..], false));
    let made_anew = cache.get_or_make_settled(&key(0), || Ok((vec![2].into(), true))).unwrap();
    assert_eq!((&made_anew.0[..], made_anew.1), (&[2][..], true), "what is not settled was not kept");
    for number in 0..100 {
        cache.get_or_make(&key(number), || Ok(vec![7; 100 << 10].into())).unwrap();
        assert!(cache.bytes() <= 1 << 20);
    }
    assert!(cache.bytes() > 512 << 10);
    let large = cache.get_or_make(&key(1000), || Ok(vec![7; 2 << 20].into())).unwrap();
    assert_eq!((large.len(), cache.bytes() <= 1 << 20), (2 << 20, true));
}
