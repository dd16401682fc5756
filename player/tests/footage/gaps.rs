//! Gaps, several streams and changes: what goes on in one file, what begins a part, and who stays in step with whom.

use super::*;

#[test]
fn several_streams_are_in_step_over_gaps() {
    let ring = Ring::new(64 << 20, 1 << 20);
    ring.record(&["front", "yard"], |cameras| {
        cameras[0].run(h264_aac(), 1, NOON);
        cameras[1].run(h265_mulaw(), 2, NOON.plus_ns(1_500_000_000));
        cameras[0].run(h264_aac(), 3, NOON.plus_ns(600 * SECOND_NS));
        cameras[1].run(h265_mulaw(), 4, NOON.plus_ns(601_500_000_000));
    });
    let volume = ring.volume();
    for format in FORMATS {
        let prepared = prepared(&volume, &["front", "yard"], format);
        let path = kept(&ring, &volume, &prepared);
        plays(&path);
        let mut zero = None;
        for (video, begins) in [(0, 0.0), (1, 1.5)] {
            let all =
                ["-v", "error", "-select_streams", &format!("v:{video}"), "-show_entries", "packet=pts_time"];
            let text =
                judge::run("ffprobe", &[&all[..], &["-of", "csv=p=0", path.to_str().unwrap()]].concat());
            let text = String::from_utf8(text).unwrap();
            let mut times: Vec<f64> =
                text.lines().filter_map(|line| line.trim_end_matches(',').parse().ok()).collect();
            times.sort_by(f64::total_cmp);
            assert_eq!(times.len(), 150, "{format:?}");
            let zero = *zero.get_or_insert(times[0]);
            assert!(
                (0.0..0.3).contains(&zero) && (times[0] - zero - begins).abs() < 0.07,
                "{format:?} {times:?}"
            );
            assert!((times[75] - times[0] - 600.0).abs() < 0.001, "{format:?}: {}", times[75]);
            assert!((times[149] - times[75] - 2.96).abs() < 0.001, "{format:?}");
        }
    }
}

#[test]
fn sound_is_in_step_with_reordered_pictures() {
    let clip = h264_aac();
    let ring = recorded(clip);
    let volume = ring.volume();
    let (video, sound) = (shown(clip, VIDEO), shown(clip, SOUND));
    let apart = (video.iter().min().unwrap() - sound.iter().min().unwrap()) as f64 / 1e9;
    for format in FORMATS {
        let path = kept(&ring, &volume, &prepared(&volume, &["front"], format));
        let starts = probed(&path, "stream=codec_type,start_time");
        let start = |kind: &str| -> f64 {
            let line = starts.iter().find(|line| line.starts_with(kind)).unwrap();
            line.split(',').nth(1).unwrap().parse().unwrap()
        };
        assert!((start("video") - start("audio") - apart).abs() < 0.002, "{format:?}: {starts:?} {apart}");
    }
}

#[test]
fn ten_thousand_gaps_are_one_file() {
    let clip = encode(1, "64x64", H264, &[]);
    let keyframe = samples_of(&clip, VIDEO)[0].clone();
    let ring = Ring::new(512 << 20, 4 << 20);
    ring.record(&["front"], |cameras| {
        for run in 0..10_000 {
            cameras[0].begin(&clip, run as u128 + 1, NOON.plus_ns(run * 10 * SECOND_NS));
            cameras[0].push(&keyframe, -keyframe.ticks);
        }
    });
    let volume = ring.volume();
    for format in FORMATS {
        let prepared = prepared(&volume, &["front"], format);
        assert_eq!(prepared.samples(), 10_000);
        let path = kept(&ring, &volume, &prepared);
        let found = tracks(&path, format);
        assert_eq!(found[0].len(), 10_000);
        let zero = found[0][0].at_ns;
        for (index, found) in (0..).zip(&found[0]) {
            assert!((found.at_ns - zero - index * 10 * SECOND_NS).abs() <= 100_000, "{format:?} {index}");
            assert!(found.data == keyframe.data);
        }
    }
}

#[test]
fn a_pause_that_mp4_cannot_say_begins_a_part() {
    let ring = Ring::new(64 << 20, 1 << 20);
    ring.record(&["front"], |cameras| {
        cameras[0].run(h264_aac(), 1, NOON);
        cameras[0].run(h264_aac(), 2, NOON.plus_ns(10 * HOUR_NS));
        cameras[0].run(h264_aac(), 3, NOON.plus_ns(30 * HOUR_NS));
    });
    let volume = ring.volume();
    for format in FORMATS {
        let Err(Error::SeveralParts { parts }) = prepare(&volume, &request(&["front"], format)) else {
            panic!("{format:?}: one file");
        };
        assert_eq!(parts.len(), 2);
        assert_eq!(parts[1].why.as_deref(), Some("front: a pause of 19 hours"));
        let first = FootageRequest { part: Some(1), ..request(&["front"], format) };
        let first = prepare(&volume, &first).unwrap();
        assert_eq!(first.samples(), 2 * h264_aac().samples.len() as u64);
        plays(&kept(&ring, &volume, &first));
    }
}

#[test]
fn another_size_of_picture_begins_a_part_and_each_is_a_file() {
    let large = encode(2, "640x360", H264, AAC);
    let ring = Ring::new(64 << 20, 1 << 20);
    ring.record(&["front"], |cameras| {
        cameras[0].run(h264_aac(), 1, NOON);
        cameras[0].run(&large, 2, NOON.plus_ns(4 * SECOND_NS));
        cameras[0].run(&large, 3, NOON.plus_ns(8 * SECOND_NS));
        // The clock is set back.
        cameras[0].run(&large, 4, NOON.plus_ns(9 * SECOND_NS));
    });
    let volume = ring.volume();
    for format in FORMATS {
        let error = prepare(&volume, &request(&["front"], format)).err().unwrap();
        let Error::SeveralParts { parts } = &error else { panic!("{error}") };
        let samples: Vec<u64> = parts.iter().map(|part| part.samples).collect();
        let each = large.samples.len() as u64;
        assert_eq!(samples, [h264_aac().samples.len() as u64, 2 * each, each]);
        assert!(error.to_string().contains("front: the picture's size changed"), "{error}");
        assert!(error.to_string().contains("front: the clock was set back"), "{error}");
        let mut sizes = Vec::new();
        for part in 1..=3 {
            let prepared =
                prepare(&volume, &FootageRequest { part: Some(part), ..request(&["front"], format) });
            let prepared = prepared.unwrap();
            assert_eq!(prepared.parts().1, part);
            assert_eq!(prepared.samples(), samples[part - 1]);
            let path = kept(&ring, &volume, &prepared);
            plays(&path);
            sizes.extend(probed(&path, "stream=width,height").into_iter().filter(|line| line.contains("0,")));
        }
        assert_eq!(sizes, ["320,180", "640,360", "640,360"], "{format:?}");
        for part in [0, 4] {
            assert!(
                prepare(&volume, &FootageRequest { part: Some(part), ..request(&["front"], format) })
                    .is_err()
            );
        }
    }
}

#[test]
fn a_configuration_that_adds_parameter_sets_goes_on_in_the_file() {
    let more = |clip: &Clip| {
        let mut clip = clip.clone();
        let private = &mut clip.configuration.tracks[0].private;
        // One more PPS, behind the last one (ISO/IEC 14496-15, 5.3.3.1): that one again, with another identity.
        use mp4_atom::Atom;
        let mut avcc = mp4_atom::Avcc::decode_body(&mut &private[..]).unwrap();
        let mut added = avcc.picture_parameter_sets[0].clone();
        added.push(0);
        avcc.picture_parameter_sets.push(added);
        private.clear();
        avcc.encode_body(private).unwrap();
        clip
    };
    let ring = Ring::new(64 << 20, 1 << 20);
    ring.record(&["front"], |cameras| {
        cameras[0].run(h264_aac(), 1, NOON);
        cameras[0].run(&more(h264_aac()), 2, NOON.plus_ns(4 * SECOND_NS));
        cameras[0].run(h264_aac(), 3, NOON.plus_ns(8 * SECOND_NS));
    });
    let volume = ring.volume();
    for format in FORMATS {
        let prepared = prepared(&volume, &["front"], format);
        assert_eq!(prepared.samples(), 3 * h264_aac().samples.len() as u64);
        assert_eq!(pictures(&kept(&ring, &volume, &prepared), 0).len(), 225, "{format:?}");
    }
}
