//! Footage of real volumes as files and ranges of files: what was recorded is in them, whoever looks, and the same bytes each time.

#[path = "footage/across.rs"]
mod across;
#[path = "footage/gaps.rs"]
mod gaps;
#[path = "footage/judge.rs"]
mod judge;
#[path = "footage/lapped.rs"]
mod lapped;
#[path = "footage/marks.rs"]
mod marks;
#[path = "footage/memory.rs"]
mod memory;
#[path = "footage/ring.rs"]
mod ring;
#[expect(dead_code, unreachable_pub, reason = "shared with other tests, which use other parts of it")]
mod support;

use bytes::Bytes;
use judge::{Found, pictures, plays, probed, sound, tracks};
use keha_fs::{SampleFlags, TimeRange, TrackNumber, Volume};
use keha_player::Error;
use keha_player::footage::{FootageRequest, Format, Prepared, prepare};
use proptest::prelude::*;
use ring::{HOUR_NS, NOON, Ring, SECOND_NS, bytes, prepared, request, samples_of, whole};
use std::ops::{ControlFlow, Range};
use std::path::PathBuf;
use std::sync::OnceLock;
use support::clip::{AAC, Clip, H264, H265, MULAW, encode};

const FORMATS: [Format; 3] = [Format::Mkv, Format::Mp4, Format::FragmentedMp4];
const VIDEO: TrackNumber = TrackNumber(1);
const SOUND: TrackNumber = TrackNumber(2);

fn h264_aac() -> &'static Clip {
    static CLIP: OnceLock<Clip> = OnceLock::new();
    CLIP.get_or_init(|| encode(3, "320x180", H264, AAC))
}

fn h265_mulaw() -> &'static Clip {
    static CLIP: OnceLock<Clip> = OnceLock::new();
    CLIP.get_or_init(|| encode(3, "320x180", H265, MULAW))
}

fn recorded(clip: &Clip) -> Ring {
    let ring = Ring::new(64 << 20, 1 << 20);
    ring.record(&["front"], |cameras| cameras[0].run(clip, 1, NOON));
    ring
}

/// The file as it is written at once, on disk for other programs.
fn kept(ring: &Ring, volume: &Volume, prepared: &Prepared) -> PathBuf {
    let path = ring.directory.path().join(prepared.file_name());
    std::fs::write(&path, whole(prepared, volume)).unwrap();
    path
}

/// When a clip's samples are shown, from the earliest of all tracks.
fn shown(clip: &Clip, track: TrackNumber) -> Vec<i64> {
    let at = |track: TrackNumber, ticks: i64| {
        ticks * SECOND_NS / i64::from(clip.configuration.track(track).unwrap().timescale)
    };
    let zero = clip.samples.iter().map(|sample| at(sample.track, sample.ticks)).min().unwrap();
    samples_of(clip, track).iter().map(|sample| at(track, sample.ticks) - zero).collect()
}

fn data(found: &[Found]) -> Vec<&[u8]> {
    found.iter().map(|found| &found.data[..]).collect()
}

#[test]
fn every_format_has_each_sample_with_its_bytes_at_its_time() {
    for clip in [h264_aac(), h265_mulaw()] {
        let ring = recorded(clip);
        let volume = ring.volume();
        let mut decoded = Vec::new();
        for format in FORMATS {
            let prepared = prepared(&volume, &["front"], format);
            assert_eq!(prepared.samples(), clip.samples.len() as u64);
            let path = kept(&ring, &volume, &prepared);
            plays(&path);
            let found = tracks(&path, format);
            // Sound may be recorded first.
            let aac = &clip.configuration.tracks[1].codec == b"mp4a";
            let video = found.iter().position(|track| track.len() == samples_of(clip, VIDEO).len()).unwrap();
            let of =
                |track| samples_of(clip, track).iter().map(|sample| &sample.data[..]).collect::<Vec<_>>();
            assert!(data(&found[video]) == of(VIDEO), "{format:?}");
            if aac || format == Format::Mkv {
                assert!(data(&found[1 - video]) == of(SOUND), "{format:?}");
            }
            // The axis of a file with its tables in front begins with each track, and its edit lists put that right.
            if format != Format::Mp4 {
                let zero = found.iter().flatten().map(|found| found.at_ns).min().unwrap();
                for (track, number) in [(video, VIDEO), (1 - video, SOUND)] {
                    for (found, shown) in found[track].iter().zip(shown(clip, number)) {
                        let at_ns = found.at_ns - zero;
                        assert!((at_ns - shown).abs() < 126_000, "{format:?}: {at_ns} {shown}");
                    }
                }
            }
            decoded.push((pictures(&path, 0), if aac { Vec::new() } else { sound(&path) }));
        }
        assert_eq!(decoded[0].0.len(), 75);
        assert!(decoded.iter().all(|one| *one == decoded[0]), "the formats decode to different footage");
    }
}

#[test]
fn the_same_bytes_come_from_another_process_and_at_another_time() {
    let ring = recorded(h265_mulaw());
    let (one, other) = (ring.volume(), ring.volume());
    let mut tags = Vec::new();
    for format in FORMATS {
        let first = prepared(&one, &["front"], format);
        let second = prepared(&other, &["front"], format);
        assert_eq!(first.entity_tag(), second.entity_tag());
        let file = whole(&first, &one);
        assert!(file == whole(&second, &other), "{format:?}");
        let measured = second.measure(&one).unwrap();
        assert_eq!((measured.bytes, measured.hash), (file.len() as u64, blake3::hash(&file)));
        // What was prepared outlives the volume it was prepared from.
        let part = bytes(&first, &ring.volume(), 1000..70_000).unwrap();
        assert!(part[..] == file[1000..70_000.min(file.len())], "{format:?}");
        tags.push(first.entity_tag());
    }
    tags.dedup();
    assert_eq!(tags.len(), 3);
}

#[test]
fn what_is_prepared_says_how_much_memory_it_takes() {
    let ring = recorded(h264_aac());
    let volume = ring.volume();
    for format in FORMATS {
        let prepared = prepared(&volume, &["front"], format);
        let (taken, samples) = (prepared.memory_bytes(), prepared.samples());
        // Of MP4 the sizes of all samples, twice; of the others the places of chunks.
        let least = if format == Format::Mp4 { 8 * samples } else { 24 };
        assert!(
            taken >= least && taken < 64 * samples + (8 << 10),
            "{format:?}: {taken} bytes for {samples}"
        );
    }
}

#[test]
fn a_file_says_what_it_is() {
    let ring = recorded(h264_aac());
    let volume = ring.volume();
    let mp4 = prepared(&volume, &["front"], Format::Mp4);
    assert!(mp4.content_type().starts_with("video/mp4; codecs=\"avc1.4"), "{}", mp4.content_type());
    assert!(mp4.content_type().ends_with(", mp4a.40.2\""), "{}", mp4.content_type());
    assert_eq!(mp4.file_name(), "front_2026-03-01T12-00-00Z_2026-03-01T12-00-03Z.mp4");
    let (from, to) = mp4.moments();
    assert!((NOON.since_ns(from)..SECOND_NS).contains(&0) || from == NOON);
    assert!((to.since_ns(from) - 3 * SECOND_NS).abs() < SECOND_NS / 10, "{}", to.since_ns(from));
    assert_eq!(mp4.parts().0.len(), 1);
    let mkv = prepared(&volume, &["front"], Format::Mkv);
    assert_eq!((mkv.content_type().as_str(), mkv.bytes()), ("video/matroska", None));
    let hevc = recorded(h265_mulaw());
    let hevc = prepared(&hevc.volume(), &["front"], Format::Mp4);
    assert!(hevc.content_type().contains("fLaC, hvc1.1.6.L"), "{}", hevc.content_type());
}

/// A clip whose keyframes carry the parameter sets, as cameras send them.
fn with_sets_in_band(clip: &Clip) -> (Clip, Vec<Vec<u8>>) {
    use mp4_atom::Atom;
    let private = &clip.configuration.tracks[0].private;
    let sets: Vec<Vec<u8>> = match &clip.configuration.tracks[0].codec {
        b"avc1" => {
            let avcc = mp4_atom::Avcc::decode_body(&mut &private[..]).unwrap();
            [avcc.sequence_parameter_sets, avcc.picture_parameter_sets].concat()
        }
        _ => {
            let hvcc = mp4_atom::Hvcc::decode_body(&mut &private[..]).unwrap();
            let arrays = hvcc.arrays.into_iter().filter(|array| (32..=34).contains(&array.nal_unit_type));
            arrays.flat_map(|array| array.nalus).collect()
        }
    };
    let mut clip = clip.clone();
    for sample in &mut clip.samples {
        if sample.track == VIDEO && sample.flags.contains(SampleFlags::SYNC) {
            let mut data = Vec::new();
            for set in &sets {
                data.extend((set.len() as u32).to_be_bytes());
                data.extend(set);
            }
            data.extend_from_slice(&sample.data);
            sample.data = Bytes::from(data);
        }
    }
    (clip, sets)
}

#[test]
fn parameter_sets_before_keyframes_are_in_the_sample_entry_alone() {
    for clip in [h264_aac(), h265_mulaw()] {
        let plain = recorded(clip);
        let expected =
            pictures(&kept(&plain, &plain.volume(), &prepared(&plain.volume(), &["front"], Format::Mp4)), 0);
        let (clip, sets) = with_sets_in_band(clip);
        let ring = recorded(&clip);
        let volume = ring.volume();
        for format in [Format::Mp4, Format::FragmentedMp4] {
            let prepared = prepared(&volume, &["front"], format);
            let path = kept(&ring, &volume, &prepared);
            plays(&path);
            assert_eq!(pictures(&path, 0), expected, "{format:?}");
            let found = tracks(&path, format);
            let stored = samples_of(&clip, VIDEO);
            let found = found.iter().find(|track| track.len() == stored.len()).unwrap();
            for (found, stored) in found.iter().zip(stored) {
                assert!(format != Format::Mp4 || found.data.len() == stored.data.len());
                let has = |set: &Vec<u8>| found.data.windows(set.len()).any(|window| window == set);
                assert!(!sets.iter().any(has), "{format:?} has a parameter set in a sample");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_range_of_a_file_is_that_slice_of_it(from in 0.0..1.0f64, length in 0.0..0.4f64, format in 0..3usize) {
        static WHOLE: OnceLock<(Ring, Vec<Vec<u8>>)> = OnceLock::new();
        let (ring, files) = WHOLE.get_or_init(|| {
            let ring = Ring::new(64 << 20, 1 << 20);
            ring.record(&["front", "yard"], |cameras| {
                for (lap, number) in [(0, 1), (4, 2), (20, 3)] {
                    cameras[0].run(h264_aac(), number, NOON.plus_ns(lap * SECOND_NS));
                    cameras[1].run(h265_mulaw(), number + 10, NOON.plus_ns(lap * SECOND_NS + 700_000_000));
                }
            });
            let volume = ring.volume();
            let file = |format| whole(&prepared(&volume, &["front", "yard"], format), &volume);
            let files = FORMATS.map(file).to_vec();
            (ring, files)
        });
        let volume = ring.volume();
        let file = &files[format];
        let from = (from * file.len() as f64) as usize;
        let to = from + (length * file.len() as f64) as usize;
        let prepared = prepared(&volume, &["front", "yard"], FORMATS[format]);
        let part = bytes(&prepared, &volume, from as u64..to as u64).unwrap();
        prop_assert!(part == file[from..to.min(file.len())], "{from}..{to} of {:?}", FORMATS[format]);
    }
}

#[test]
fn what_lies_behind_the_end_of_a_file_is_nothing() {
    let ring = recorded(h264_aac());
    let volume = ring.volume();
    for format in FORMATS {
        let prepared = prepared(&volume, &["front"], format);
        let length = whole(&prepared, &volume).len() as u64;
        assert_eq!(bytes(&prepared, &volume, length..length + 10).unwrap().len(), 0);
        assert_eq!(bytes(&prepared, &volume, length - 3..u64::MAX).unwrap().len(), 3);
        assert_eq!(bytes(&prepared, &volume, 5..5).unwrap().len(), 0);
        let mut pieces = 0;
        let written = prepared.write(&volume, 0..u64::MAX, &mut |_| {
            pieces += 1;
            ControlFlow::Break(())
        });
        assert!(written.unwrap().stopped && pieces == 1);
    }
}

#[test]
fn a_range_is_what_an_export_of_it_has() {
    let ring = Ring::new(64 << 20, 1 << 20);
    ring.record(&["front"], |cameras| {
        (0..5).for_each(|lap| cameras[0].run(h264_aac(), lap as u128 + 1, NOON.plus_ns(lap * 4 * SECOND_NS)));
    });
    let volume = ring.volume();
    let range = TimeRange { from: Some(NOON.plus_ns(5_700_000_000)), to: Some(NOON.plus_ns(13_300_000_000)) };
    let path = ring.directory.path().join("export.mkv");
    let export =
        keha_player::ExportRequest { streams: request(&["front"], Format::Mkv).streams, range, run: None };
    let output = keha_player::Output::File { path: path.clone(), force: false };
    keha_player::export(&volume, &export, output, &mut |_| ControlFlow::Continue(())).unwrap();
    let mut expected: Vec<Vec<Found>> = tracks(&path, Format::Mkv);
    expected.sort_by_key(Vec::len);
    for format in FORMATS {
        let prepared = prepare(&volume, &FootageRequest { range, ..request(&["front"], format) }).unwrap();
        let path = kept(&ring, &volume, &prepared);
        plays(&path);
        let mut found = tracks(&path, format);
        found.sort_by_key(Vec::len);
        assert!(
            found.iter().map(|track| data(track)).eq(expected.iter().map(|track| data(track))),
            "{format:?}"
        );
    }
    let nothing = TimeRange { from: Some(NOON.plus_ns(HOUR_NS)), to: None };
    let error = prepare(&volume, &FootageRequest { range: nothing, ..request(&["front"], Format::Mp4) });
    assert!(matches!(error.err(), Some(Error::NotRecorded { .. })));
}

#[test]
fn what_the_ring_took_meanwhile_is_an_error_and_never_other_bytes() {
    let ring = Ring::new(16 << 20, 1 << 20);
    ring.record(&["front"], |cameras| cameras[0].run(h264_aac(), 1, NOON));
    let before = ring.volume();
    let prepared = FORMATS.map(|format| prepared(&before, &["front"], format));
    let files: Vec<Vec<u8>> = prepared.iter().map(|prepared| whole(prepared, &before)).collect();
    ring.record(&["front"], |cameras| {
        for lap in 1..80 {
            cameras[0].run(h264_aac(), lap as u128 + 1, NOON.plus_ns(lap * 4 * SECOND_NS));
        }
    });
    for volume in [before, ring.volume()] {
        for (prepared, file) in prepared.iter().zip(&files) {
            let mut given = Vec::new();
            let error = prepared.write(&volume, 0..u64::MAX, &mut |piece| {
                given.extend_from_slice(&piece);
                ControlFlow::Continue(())
            });
            let error = error.expect_err("the ring took it");
            assert!(matches!(error, Error::Overwritten { .. } | Error::Changed { .. }), "{error}");
            assert!(file.starts_with(&given));
        }
    }
}

#[test]
fn damage_since_is_an_error_and_what_lies_elsewhere_is_given() {
    use std::os::unix::fs::FileExt;
    let ring = recorded(h264_aac());
    let volume = ring.volume();
    let mp4 = prepared(&volume, &["front"], Format::Mp4);
    let file = whole(&mp4, &volume);
    let last = samples_of(h264_aac(), VIDEO).last().unwrap().data.clone();
    let image = std::fs::read(ring.path()).unwrap();
    let at = image.windows(last.len()).position(|window| window == last).unwrap();
    let raw = std::fs::OpenOptions::new().write(true).open(ring.path()).unwrap();
    raw.write_all_at(&[!image[at + 9]], at as u64 + 9).unwrap();
    raw.sync_all().unwrap();
    let volume = ring.volume();
    let again = prepared(&volume, &["front"], Format::Mp4);
    assert_eq!(again.entity_tag(), mp4.entity_tag(), "the tables tell nothing of it");
    for format in FORMATS {
        let error = prepared(&volume, &["front"], format).measure(&volume).expect_err("a sample is damaged");
        assert!(error.to_string().contains("damaged"), "{error}");
    }
    let half = file.len() / 2;
    assert!(bytes(&again, &volume, 0..half as u64).unwrap() == file[..half]);
}

/// A clip of H.264 whose pictures, counted from 0, have at least so many bytes: filler data follows them.
fn swollen(clip: &Clip, bytes: impl Fn(usize) -> usize) -> Clip {
    let mut clip = clip.clone();
    for (index, sample) in clip.samples.iter_mut().filter(|sample| sample.track == VIDEO).enumerate() {
        let filler = vec![0xFF; bytes(index).saturating_sub(sample.data.len())];
        let mut data = sample.data.to_vec();
        data.extend((filler.len() as u32 + 2).to_be_bytes());
        data.push(12);
        data.extend(filler);
        data.push(0x80);
        sample.data = Bytes::from(data);
    }
    clip
}

#[test]
fn samples_that_are_split_over_chunks_and_blocks_are_whole() {
    // A chunk has a MiB at most, a block two.
    let clip = swollen(h264_aac(), |index| if index % 9 == 4 { 2_500_000 } else { 1000 });
    let ring = Ring::new(128 << 20, 2 << 20);
    ring.record(&["front"], |cameras| cameras[0].run(&clip, 1, NOON));
    let volume = ring.volume();
    for format in FORMATS {
        let prepared = prepared(&volume, &["front"], format);
        assert_eq!(prepared.samples(), clip.samples.len() as u64);
        let path = kept(&ring, &volume, &prepared);
        plays(&path);
        let found = tracks(&path, format);
        let stored = samples_of(&clip, VIDEO);
        let video = found.iter().find(|track| track.len() == stored.len()).unwrap();
        assert!(data(video).into_iter().eq(stored.iter().map(|sample| &sample.data[..])), "{format:?}");
        let file = std::fs::read(&path).unwrap();
        for at in (0..file.len()).step_by(1_700_001) {
            let to = (at + 900_000).min(file.len());
            assert!(
                bytes(&prepared, &volume, at as u64..to as u64).unwrap() == file[at..to],
                "{format:?} {at}"
            );
        }
    }
}

/// Figures, not a test: `cargo test -p keha-player --release --test footage -- --ignored --nocapture figures`.
#[test]
#[ignore = "prints how long an hour of footage takes"]
fn figures_of_an_hour() {
    let ring = Ring::new(4 << 30, 64 << 20);
    let clip = swollen(h264_aac(), |_| 20_000);
    ring.record(&["front"], |cameras| {
        cameras[0].begin(&clip, 1, NOON);
        for lap in 0..1200i64 {
            for sample in &clip.samples {
                let timescale = clip.configuration.track(sample.track).unwrap().timescale;
                cameras[0].push(sample, lap * 3 * i64::from(timescale));
            }
        }
    });
    let volume = ring.volume();
    let stream = volume.streams()[0].id;
    for _ in 0..3 {
        let began = std::time::Instant::now();
        let mut cursor = volume.list(stream, TimeRange::default()).unwrap();
        let mut items = 0;
        while cursor.next_item().unwrap().is_some() {
            items += 1;
        }
        println!("list {:?}, {items} items", began.elapsed());
    }
    for format in FORMATS {
        for _ in 0..3 {
            let began = std::time::Instant::now();
            let prepared = prepared(&volume, &["front"], format);
            println!("{format:?}: prepare {:?}, {} samples", began.elapsed(), prepared.samples());
        }
        let prepared = prepared(&volume, &["front"], format);
        let began = std::time::Instant::now();
        let written = prepared.write(&volume, 0..u64::MAX, &mut |_| ControlFlow::Continue(())).unwrap();
        let mib = written.bytes as f64 / 1048576.0;
        println!("{format:?}: write {mib:.0} MiB, {:.0} MiB/s", mib / began.elapsed().as_secs_f64());
        let began = std::time::Instant::now();
        let late = written.bytes * 9 / 10;
        prepared.write(&volume, late..late + (1 << 20), &mut |_| ControlFlow::Continue(())).unwrap();
        println!("{format:?}: a MiB near the end {:?}", began.elapsed());
    }
}
