//! Segments where something is damaged, erased, or not as cameras usually have it.

use super::*;

#[test]
fn a_damaged_keyframe_costs_its_own_segment_alone() {
    for clip in [h264_aac(), h265_mulaw()] {
        let ring = Ring::new();
        let mut recorder = ring.recorder();
        recorder.run(1, at(0), clip);
        recorder.close();
        let volume = ring.volume();
        let plan = planned(&volume, TimeRange::default(), 1);
        let whole: Vec<Segment> = plan.segments.iter().map(|planned| made(&volume, planned)).collect();
        drop(volume);
        let is_key = |sample: &&ClipSample| sample.track.0 == 1 && sample.flags.contains(SampleFlags::SYNC);
        ring.damage(&clip.samples.iter().filter(is_key).nth(2).unwrap().data);
        let volume = ring.volume();
        assert_eq!(planned(&volume, TimeRange::default(), 1).segments, plan.segments);
        for (place, (planned, whole)) in plan.segments.iter().zip(&whole).enumerate() {
            let made = segment(&volume, stream(&volume), &planned.name);
            match place {
                1 => assert_eq!(
                    made.unwrap().pictures,
                    whole.pictures,
                    "all of them, and none that needs the damaged one"
                ),
                2 => assert!(matches!(made, Err(Error::NoSegment { .. }))),
                _ => assert!(made.unwrap() == *whole),
            }
        }
        let good = plan.segments[1].name;
        for ns in [-30_000_000, -1, 1, 30_000_000] {
            let name = SegmentName { to: good.to.plus_ns(ns), ..good };
            assert!(segment(&volume, stream(&volume), &name).is_err(), "{ns} ns beside what was planned");
        }
    }
}

#[test]
fn a_name_never_gives_other_bytes_after_something_was_erased() {
    for (from_ms, to_ms) in [(1200, 1300), (1700, 1800), (900, 1300), (2000, 2100)] {
        let (ring, clip) = (Ring::new(), h264_aac());
        let mut recorder = ring.recorder();
        recorder.begin(1, at(0), clip);
        for ms in (0..4000).step_by(500) {
            recorder.push(clip, if ms == 0 { i64::MIN..500 } else { ms..ms + 500 });
            recorder.settle();
        }
        recorder.close();
        let volume = ring.volume();
        let old = planned(&volume, TimeRange::default(), 2).segments;
        let old: Vec<_> = old.iter().map(|planned| (planned.name, made(&volume, planned))).collect();
        drop(volume);
        ring.erase(at(from_ms), at(to_ms));
        let volume = ring.volume();
        let mut gone = 0;
        for (name, whole) in &old {
            match segment(&volume, stream(&volume), name) {
                Ok(made) => assert_eq!(made.pictures, whole.pictures, "{name} after {from_ms} to {to_ms} ms"),
                Err(_) => gone += 1,
            }
        }
        assert_eq!(gone, 1, "{from_ms} to {to_ms} ms");
        planned(&volume, TimeRange::default(), 2)
            .segments
            .iter()
            .for_each(|planned| drop(made(&volume, planned)));
    }
}

#[test]
fn the_end_of_a_stretch_has_one_name() {
    let ring = Ring::new();
    let mut recorder = ring.recorder();
    recorder.run(1, at(0), h264_aac());
    recorder.close();
    let volume = ring.volume();
    let last = planned(&volume, TimeRange::default(), 1).segments.pop().unwrap().name;
    assert!(segment(&volume, stream(&volume), &last).is_ok());
    for ns in [-30_000_000, -1, 1, 1000, 40_000_000, 500_000_000] {
        let name = SegmentName { to: last.to.plus_ns(ns), ..last };
        let made = segment(&volume, stream(&volume), &name);
        assert!(matches!(made, Err(Error::NoSegment { .. })), "{ns} ns beside what was planned");
    }
}

/// Two video tracks, the second of which stands first in the configuration and is shown a little later.
#[test]
fn of_two_video_tracks_one_leads_everywhere() {
    let mut clip = h264_aac().clone();
    let mut other = clip.configuration.tracks[0].clone();
    other.track = TrackNumber(3);
    clip.configuration.tracks.insert(0, other);
    clip.samples = clip
        .samples
        .into_iter()
        .flat_map(|sample| {
            let (track, ticks) = (TrackNumber(3), sample.ticks + 1800);
            let other = (sample.track.0 == 1).then(|| ClipSample { track, ticks, ..sample.clone() });
            [other, Some(sample)].into_iter().flatten()
        })
        .collect();
    let ring = Ring::new();
    let mut recorder = ring.recorder();
    recorder.run(1, at(0), &clip);
    recorder.close();
    let volume = ring.volume();
    let plan = planned(&volume, TimeRange::default(), 1);
    let pictures: usize = plan.segments.iter().map(|planned| made(&volume, planned).pictures).sum();
    assert_eq!((plan.segments.len(), pictures), (4, pictures_of(h264_aac())));
}

#[test]
fn at_the_end_of_a_stretch_sound_lasts_as_long_as_its_pictures() {
    let mut clip = h265_mulaw().clone();
    let last =
        clip.samples.iter().filter(|sample| sample.track.0 == 2).map(|sample| sample.ticks).max().unwrap();
    // The last 100 ms of sound did not come.
    clip.samples.retain(|sample| sample.track.0 != 2 || sample.ticks <= last - 800);
    let ring = Ring::new();
    let mut recorder = ring.recorder();
    recorder.run(1, at(0), &clip);
    recorder.close();
    let volume = ring.volume();
    let plan = planned(&volume, TimeRange::default(), 1);
    let tracks = parsed(&volume, plan.segments.last().unwrap());
    let timescale = |id: u32| i64::from(clip.configuration.tracks[id as usize - 1].timescale);
    let ends: Vec<f64> =
        tracks.iter().map(|(id, begins, lasts, _)| (begins + lasts) as f64 / timescale(*id) as f64).collect();
    assert_eq!(ends.len(), 2);
    assert!((ends[0] - ends[1]).abs() < 0.000_2, "{ends:?}");
}

/// Sound does not begin with the picture with which recording begins, but for once.
#[test]
fn where_a_stretch_begins_and_ends_there_is_silence_until_sound_and_pictures_are_both_there() {
    // Its first frame is that with which encoders begin, before the first picture.
    let later = |ms: i64| {
        let mut clip = h264_aac().clone();
        let sound = clip.samples.iter_mut().filter(|sample| sample.track.0 == 2);
        sound.for_each(|sample| sample.ticks += 1024 + ms * 48);
        clip
    };
    let clips = [0, 64, -200, 700].map(later);
    let ring = Ring::new();
    let mut recorder = ring.recorder();
    for (run, clip) in (1..).zip(&clips) {
        recorder.run(run, at(i64::from(run as u32) * 10_000), clip);
    }
    recorder.close();
    let volume = ring.volume();
    let plan = planned(&volume, TimeRange::default(), 2);
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(decoded_pictures(&write(&volume, &plan, directory.path())), 4 * pictures_of(h264_aac()));
    let stretches: Vec<_> = plan.segments.chunk_by(|_, next| !next.discontinuity).collect();
    let frames = h264_aac().samples.iter().filter(|sample| sample.track.0 == 2).count();
    // Whether they begin together and end together, and how many frames of silence that takes.
    let expected = [(true, true, 0), (true, true, 3), (false, true, 8), (false, false, 0)];
    assert_eq!(stretches.len(), expected.len());
    for (mine, (begin, end, silent)) in stretches.into_iter().zip(expected) {
        assert_eq!(mine.iter().filter(|planned| planned.name.begins).count(), 1);
        let parts: Vec<_> = mine.iter().map(|planned| parsed(&volume, planned)).collect();
        let tracks = |part: &[(u32, i64, i64, Vec<i64>)]| {
            let [(1, video, pictures, _), (2, sound, heard, _)] = part else { panic!("not two tracks") };
            let s = |ticks: i64, timescale: f64| ticks as f64 / timescale;
            let (video, until) = (s(*video, 90_000.0), s(video + pictures, 90_000.0));
            (video - s(*sound, 48_000.0), until - s(sound + heard, 48_000.0))
        };
        let half_a_frame = 512.5 / 48_000.0;
        let (begins, ends) = (tracks(&parts[0]).0, tracks(parts.last().unwrap()).1);
        assert_eq!(begins.abs() < half_a_frame, begin, "{begins} s at the beginning");
        assert_eq!(ends.abs() < 0.001, end, "{ends} s at the end");
        let heard: Vec<i64> = parts
            .iter()
            .flatten()
            .filter(|(id, ..)| *id == 2)
            .flat_map(|(.., shown)| shown.clone())
            .collect();
        assert_eq!(heard.len(), frames + silent);
        assert!(
            heard.windows(2).all(|pair| (pair[1] - pair[0] - 1024).abs() <= 1),
            "no frame waits for another"
        );
        joins_without_a_seam(&volume, &Plan { segments: mine.to_vec(), ..Plan::default() });
    }
}

/// As where a camera goes away right behind a keyframe: its sound was stored before that.
#[test]
fn a_segment_of_pictures_alone_has_silence_where_its_stretch_has_sound() {
    let mut clip = h264_aac().clone();
    let key = clip.samples.iter().rfind(|s| s.track.0 == 1 && s.flags.contains(SampleFlags::SYNC)).unwrap();
    let last = key.ticks;
    clip.samples.retain(|sample| match sample.track.0 {
        1 => sample.ticks <= last,
        // It is stored some pictures later than it is heard.
        _ => sample.ticks * 90_000 / 48_000 < last - 18_000,
    });
    let ring = Ring::new();
    let mut recorder = ring.recorder();
    recorder.run(1, at(0), &clip);
    recorder.close();
    let volume = ring.volume();
    let plan = planned(&volume, TimeRange::default(), 1);
    let alone = plan.segments.last().unwrap();
    assert_eq!(made(&volume, alone).pictures, 1);
    let [(1, video, shown, _), (2, sound, heard, frames)] = &parsed(&volume, alone)[..] else {
        panic!("not two tracks")
    };
    let (video, shown) = (*video as f64 / 90_000.0, *shown as f64 / 90_000.0);
    let (sound, heard) = (*sound as f64 / 48_000.0, *heard as f64 / 48_000.0);
    let is_filled = (video + shown - sound - heard).abs() < 0.001 && heard <= shown + 0.001;
    assert!(is_filled && !frames.is_empty(), "{shown} s from {video}, {heard} s from {sound}");
    let directory = tempfile::tempdir().unwrap();
    let path = write(&volume, &plan, directory.path());
    ffmpeg(&["-i", path.to_str().unwrap(), "-map", "0:a", "-f", "null", "-"]);
}
