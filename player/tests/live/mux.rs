//! The mux, fed by hand: no time passes.

use crate::rig::{
    NOON, SECOND_NS, given, h264_aac, h265_mulaw, items, periods, pictures, pictures_in, run, smaller, sound,
    source_pictures,
};
use crate::support::clip::Clip;
use keha_fs::{Gap, GapReason, TailItem, WallTime};
use keha_player::live::{Message, Mux};

fn muxed(items: impl IntoIterator<Item = TailItem>) -> Vec<Message> {
    let (mut mux, mut out) = (Mux::new(), Vec::new());
    items.into_iter().for_each(|item| mux.push(item, &mut out));
    mux.flush(&mut out);
    out
}

/// Decode times of a track in a series of fragments, as ffprobe reads them.
fn decode_times(file: &[u8], track: u32) -> Vec<i64> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("made.mp4");
    std::fs::write(&path, file).unwrap();
    let track = format!("{}", track - 1);
    let asked = ["-v", "warning", "-select_streams", &track, "-show_entries", "packet=dts", "-of", "csv=p=0"];
    let text = run("ffprobe", &[&asked[..], &[path.to_str().unwrap()]].concat());
    let text = String::from_utf8(text).unwrap();
    text.lines().filter_map(|line| line.trim_end_matches(',').parse().ok()).collect()
}

fn plays_as_recorded(clip: &Clip, codecs: &str) -> Vec<u8> {
    let messages = muxed(items(clip, 1, NOON));
    let [period] = &periods(&messages)[..] else { panic!("one init segment") };
    assert!(period.init.codecs.starts_with(codecs), "{}", period.init.codecs);
    assert_eq!((period.samples(), period.init.axis_ahead_ns), (clip.samples.len() as u64, 0));
    let file = period.bytes();
    let shown = pictures(&file, "mp4");
    assert_eq!((shown.len(), shown), (pictures_in(clip), source_pictures(clip)));
    for track in [1, 2] {
        let times = decode_times(&file, track);
        assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "{times:?}");
    }
    file
}

#[test]
fn h264_with_b_pictures_and_aac_plays_picture_by_picture_as_recorded() {
    let file = plays_as_recorded(h264_aac(), "avc1.");
    let frames = h264_aac().samples.len() - pictures_in(h264_aac());
    assert_eq!(sound(&file).len(), frames * 1024 * 2);
}

#[test]
fn h265_with_open_gops_and_g711_plays_picture_by_picture_as_recorded() {
    let file = plays_as_recorded(h265_mulaw(), "hvc1.1.6.L");
    assert_eq!(sound(&file).len(), 2 * 24_000);
}

#[test]
fn every_picture_goes_out_when_it_comes() {
    let (mut mux, mut out) = (Mux::new(), Vec::new());
    for item in items(h264_aac(), 1, NOON) {
        let picture = match &item {
            TailItem::Sample(sample) if sample.track.0 == 1 => Some(sample.wall),
            _ => None,
        };
        mux.push(item, &mut out);
        if let Some(wall) = picture {
            assert!(matches!(out.last(), Some(Message::Fragment(fragment)) if fragment.wall == wall));
        }
    }
}

#[test]
fn times_are_those_of_the_wall() {
    let messages = muxed(items(h264_aac(), 1, NOON));
    let file = periods(&messages)[0].bytes();
    let mp4 = re_mp4::Mp4::read_bytes(&file).unwrap();
    let first = &mp4.tracks()[&1].samples[0];
    let shown =
        first.decode_timestamp + i64::from((first.composition_timestamp - first.decode_timestamp) as i32);
    let clip_begins = h264_aac().samples.iter().find(|sample| sample.track.0 == 1).unwrap().ticks;
    let noon = i128::from(NOON.0) * 90_000 / i128::from(SECOND_NS);
    assert!((i128::from(shown - clip_begins) - noon).abs() <= 1);
}

#[test]
fn a_clock_that_was_set_back_does_not_take_the_axis_with_it() {
    let clip = smaller();
    let back = NOON.plus_ns(-3600 * SECOND_NS);
    let again = items(clip, 2, back);
    let messages = muxed(items(clip, 1, NOON).into_iter().chain(again));
    let [before, behind] = &periods(&messages)[..] else { panic!("two init segments") };
    assert_eq!(behind.init.wall.0 / SECOND_NS, back.0 / SECOND_NS);
    assert!((3600 * SECOND_NS..3602 * SECOND_NS).contains(&behind.init.axis_ahead_ns));
    for track in [1, 2] {
        let last = *decode_times(&before.bytes(), track).last().unwrap();
        let next = decode_times(&behind.bytes(), track);
        assert!(last < next[0] && next.windows(2).all(|pair| pair[0] < pair[1]));
    }
}

#[test]
fn another_configuration_begins_with_another_init_segment() {
    let (large, small) = (h264_aac(), smaller());
    let later = NOON.plus_ns(10 * SECOND_NS);
    let messages = muxed(items(large, 1, NOON).into_iter().chain(items(small, 2, later)));
    let [before, behind] = &periods(&messages)[..] else { panic!("two init segments") };
    let width = |period: &crate::rig::Period| period.init.video.as_ref().unwrap().width;
    assert_eq!((width(before), width(behind), behind.init.number), (320, 160, 2));
    assert_eq!(pictures(&before.bytes(), "mp4").len(), pictures_in(large));
    assert_eq!(pictures(&behind.bytes(), "mp4").len(), pictures_in(small));
}

#[test]
fn a_mux_that_begins_in_a_group_gives_nothing_before_the_next_keyframe() {
    let clip = h264_aac();
    let all = items(clip, 1, NOON);
    let messages = muxed(all[..1].iter().chain(&all[10..]).cloned());
    let [period] = &periods(&messages)[..] else { panic!("one init segment") };
    assert_eq!(pictures(&period.bytes(), "mp4").len(), 50);
}

#[test]
fn what_was_interrupted_goes_on_with_a_keyframe() {
    let (mut mux, mut out) = (Mux::new(), Vec::new());
    let all = items(h264_aac(), 1, NOON);
    let third = all.len() / 3;
    all[..third].iter().cloned().for_each(|item| mux.push(item, &mut out));
    mux.interrupt(Some(0));
    let before = out.len();
    all[third + 3..].iter().cloned().for_each(|item| mux.push(item, &mut out));
    let [Message::Skipped { samples }, Message::Fragment(fragment)] = &out[before..before + 2] else {
        panic!("what is left out is told, and then it goes on: {:?}", out.get(before))
    };
    let samples = *samples;
    assert!(fragment.sync && samples > 0);
    mux.flush(&mut out);
    assert_eq!(
        given(&out) + samples + 3,
        all.iter().filter(|item| matches!(item, TailItem::Sample(_))).count() as u64
    );
    assert_eq!(periods(&out).len(), 1, "the same init segment serves");
}

#[test]
fn what_was_missed_is_counted_once_and_a_pause_not_at_all() {
    let all = items(h264_aac(), 1, NOON);
    for (missed, told) in [(Some(0), Some(1)), (Some(7), Some(7)), (None, None)] {
        let (mut mux, mut out) = (Mux::new(), Vec::new());
        all.iter().cloned().for_each(|item| mux.push(item, &mut out));
        mux.flush(&mut out);
        let before = out.len();
        mux.interrupt(missed);
        // The clip again, from a keyframe on.
        all.iter().cloned().for_each(|item| mux.push(item, &mut out));
        let skipped: Vec<u64> = out[before..]
            .iter()
            .filter_map(|message| match message {
                Message::Skipped { samples } => Some(*samples),
                _ => None,
            })
            .collect();
        assert_eq!(skipped, Vec::from_iter(told), "{missed:?}");
    }
}

#[test]
fn a_track_is_led_after_its_clock_in_steps_and_stays_with_the_wall() {
    // The clock says 1 ms more for each picture: a second in a thousand.
    let slow = items(h264_aac(), 1, NOON).into_iter().map(|item| match item {
        TailItem::Sample(mut sample) => {
            sample.wall = WallTime(sample.wall.0 + (sample.wall.0 - NOON.0) / 40);
            TailItem::Sample(sample)
        }
        other => other,
    });
    let messages = muxed(slow);
    let [period] = &periods(&messages)[..] else { panic!("one init segment") };
    let last = *decode_times(&period.bytes(), 2).last().unwrap();
    let frames = h264_aac().samples.iter().filter(|sample| sample.track.0 == 2).count() as i64 - 1;
    let seconds = (frames * 1024) as f64 / 48_000.0;
    let wall = (NOON.0 as f64 / 1e9 + seconds * 41.0 / 40.0) * 48_000.0;
    assert!((last as f64 - wall).abs() < 0.012 * 48_000.0, "{last} {wall}");
}

#[test]
fn a_gap_is_told_in_its_place() {
    let gap = Gap {
        reason: GapReason::ConnectionLost,
        from: NOON,
        to: Some(NOON.plus_ns(SECOND_NS)),
        samples_lost: 1,
        bytes_lost: 2,
        detail: String::new(),
    };
    let clip = smaller();
    let again = items(clip, 2, NOON.plus_ns(5 * SECOND_NS));
    let all = items(clip, 1, NOON).into_iter().chain([TailItem::Gap(gap.clone())]).chain(again);
    let messages = muxed(all);
    let at = messages.iter().position(|message| *message == Message::Gap(gap.clone())).unwrap();
    assert_eq!(given(&messages[..at]), clip.samples.len() as u64);
    assert!(matches!(messages[at + 1], Message::Init(_)));
}

#[test]
fn a_stream_that_mp4_cannot_carry_is_told_once() {
    let mut clip = smaller().clone();
    clip.configuration.tracks.iter_mut().for_each(|track| track.codec = *b"mjpg");
    let messages = muxed(items(&clip, 1, NOON));
    let [Message::Unplayable(why)] = &messages[..] else { panic!("{messages:?}") };
    assert!(why.contains("mjpg"));
}
