//! The hub beside a real writer on a real file.

use crate::rig::{
    NOON, PATIENCE, Rig, SECOND_NS, begin, begin_watched, given, h264_aac, h265_mulaw, is_key, name, periods,
    pictures, pictures_in, record, smaller, source_pictures, waits, watch,
};
use keha_fs::{Gap, GapReason};
use keha_player::live::{LiveOptions, Message};
use std::time::Duration;

/// Rounds come when they are due.
const SOON: Duration = Duration::from_millis(20);
/// No round comes by itself: all stays in the tail.
const NEVER: Duration = Duration::from_secs(3600);

fn options() -> LiveOptions {
    LiveOptions { linger: Duration::ZERO, ..LiveOptions::default() }
}

#[test]
fn who_watches_from_the_beginning_sees_every_picture_while_it_is_recorded() {
    for clip in [h264_aac(), h265_mulaw()] {
        let rig = Rig::new(NEVER);
        let hub = rig.hub(options());
        let mut viewer = hub.watch(&name()).unwrap();
        watch(&mut viewer, waits);
        let mut stream = rig.stream();
        let (next, mut told) = begin_watched(&mut stream, &mut viewer, clip, 1, NOON);
        record(&mut stream, clip, next..clip.samples.len());
        drop(stream);
        told.extend(watch(&mut viewer, waits));
        assert_eq!(given(&told), (clip.samples.len() - next + 1) as u64);
        let file = periods(&told)[0].bytes();
        assert_eq!(pictures(&file, "mp4"), source_pictures(clip));
    }
}

#[test]
fn who_comes_later_begins_with_the_newest_keyframe_and_misses_nothing() {
    let (rig, clip) = (Rig::new(NEVER), h264_aac());
    let hub = rig.hub(options());
    let mut stream = rig.stream();
    begin(&mut stream, clip, 1, NOON);
    let half = clip.samples.len() / 2;
    record(&mut stream, clip, 0..half);
    let key = (0..half).rev().find(|index| is_key(clip, *index)).unwrap();
    for _ in 0..2 {
        // The first finds it in the tail, the second in what is kept for the first.
        let mut viewer = hub.watch(&name()).unwrap();
        let told = watch(&mut viewer, |told| given(told) > 5);
        assert!(matches!(told[0], Message::Init(_)));
        assert_eq!(periods(&told)[0].fragments[0].wall, NOON.plus_ns(clip.samples[key].ticks * 100_000 / 9));
        std::mem::forget(viewer);
    }
    let mut viewer = hub.watch(&name()).unwrap();
    record(&mut stream, clip, half..clip.samples.len());
    drop(stream);
    let told = watch(&mut viewer, waits);
    assert_eq!((periods(&told).len(), given(&told)), (1, (clip.samples.len() - key) as u64));
    assert_eq!(*rig.opened.lock().unwrap(), 0, "all was in memory");
}

#[test]
fn who_comes_after_rounds_in_which_nobody_followed_begins_with_the_newest_keyframe_and_misses_nothing() {
    let (rig, clip) = (Rig::new(SOON), h264_aac());
    let hub = rig.hub(options());
    let mut stream = rig.stream();
    begin(&mut stream, clip, 1, NOON);
    let half = clip.samples.len() / 2;
    for index in 0..half {
        record(&mut stream, clip, index..index + 1);
        // Some samples a round.
        std::thread::sleep(SOON / 5);
    }
    let key = (0..half).rev().find(|index| is_key(clip, *index)).unwrap();
    let mut viewer = hub.watch(&name()).unwrap();
    let mut told = watch(&mut viewer, |told| given(told) > 0);
    record(&mut stream, clip, half..clip.samples.len());
    drop(stream);
    told.extend(watch(&mut viewer, waits));
    assert_eq!((periods(&told).len(), given(&told)), (1, (clip.samples.len() - key) as u64));
    assert_eq!(periods(&told)[0].fragments[0].wall, NOON.plus_ns(clip.samples[key].ticks * 100_000 / 9));
}

#[test]
fn a_group_that_began_before_the_tail_comes_from_the_disk_without_a_seam() {
    let clip = crate::rig::long_group();
    let rig = Rig::new(SOON);
    let hub = rig.hub(options());
    let mut stream = rig.stream();
    begin(&mut stream, clip, 1, NOON);
    let half = clip.samples.len() / 2;
    record(&mut stream, clip, 0..half);
    // The tail forgets what is on the disk since a round.
    let evicted = |rig: &Rig| {
        use keha_player::live::LiveSource;
        let mut tail = rig.tail(&name()).unwrap();
        tail.follow(None, Duration::ZERO) == keha_fs::TailRead::Items(Vec::new())
    };
    let began = std::time::Instant::now();
    while !evicted(&rig) {
        assert!(began.elapsed() < PATIENCE, "the tail is evicted");
        std::thread::sleep(SOON);
    }
    let mut viewer = hub.watch(&name()).unwrap();
    record(&mut stream, clip, half..clip.samples.len());
    drop(stream);
    let told = watch(&mut viewer, waits);
    assert!(*rig.opened.lock().unwrap() > 0);
    let [period] = &periods(&told)[..] else { panic!("one init segment") };
    assert_eq!(pictures(&period.bytes(), "mp4"), source_pictures(clip));
}

#[test]
fn a_camera_that_comes_back_is_gone_on_with_also_by_another_writer() {
    let (rig, clip) = (Rig::new(NEVER), smaller());
    let hub = rig.hub(options());
    let mut viewer = hub.watch(&name()).unwrap();
    watch(&mut viewer, |told| !told.is_empty());
    for run in 1..4 {
        let mut stream = rig.stream();
        let wall = NOON.plus_ns(run as i64 * 10 * SECOND_NS);
        let (next, mut told) = begin_watched(&mut stream, &mut viewer, clip, run, wall);
        record(&mut stream, clip, next..clip.samples.len());
        drop(stream);
        told.extend(watch(&mut viewer, waits));
        let [period] = &periods(&told)[..] else { panic!("an init segment for each run") };
        let all = (clip.samples.len() - next + 1) as u64;
        assert_eq!((period.init.number, period.samples()), (run as u64, all));
        if run == 2 {
            rig.reopen(NEVER);
        }
    }
}

#[test]
fn an_open_gap_is_waited_out_and_told_when_it_is_over() {
    let (rig, clip) = (Rig::new(SOON), smaller());
    let hub = rig.hub(options());
    let mut stream = rig.stream();
    begin(&mut stream, clip, 1, NOON);
    record(&mut stream, clip, 0..clip.samples.len());
    let mut viewer = hub.watch(&name()).unwrap();
    watch(&mut viewer, |told| given(told) > 0);
    let (from, to) = (NOON.plus_ns(SECOND_NS), NOON.plus_ns(9 * SECOND_NS));
    let mut gap = Gap {
        reason: GapReason::ConnectionLost,
        from,
        to: None,
        samples_lost: 0,
        bytes_lost: 0,
        detail: String::new(),
    };
    stream.gap(&gap);
    let told = watch(&mut viewer, waits);
    assert_eq!(told.last(), Some(&Message::Waiting { since: from }));
    gap.to = Some(to);
    stream.gap(&gap);
    begin(&mut stream, clip, 2, to);
    record(&mut stream, clip, 0..clip.samples.len());
    let told = watch(&mut viewer, |told| given(told) > 0);
    assert_eq!(told[0], Message::Gap(gap));
    assert!(matches!(&told[1], Message::Init(init) if init.number == 2));
}

#[test]
fn a_configuration_that_changes_on_the_way_brings_another_init_segment() {
    let (rig, large, small) = (Rig::new(NEVER), h264_aac(), smaller());
    let hub = rig.hub(options());
    let mut viewer = hub.watch(&name()).unwrap();
    watch(&mut viewer, |told| !told.is_empty());
    let mut stream = rig.stream();
    let (next, mut told) = begin_watched(&mut stream, &mut viewer, large, 1, NOON);
    record(&mut stream, large, next..large.samples.len());
    begin(&mut stream, small, 2, NOON.plus_ns(4 * SECOND_NS));
    record(&mut stream, small, 0..small.samples.len());
    drop(stream);
    told.extend(watch(&mut viewer, waits));
    let [before, behind] = &periods(&told)[..] else { panic!("two init segments") };
    assert_eq!(pictures(&before.bytes(), "mp4").len(), pictures_in(large));
    assert_eq!(pictures(&behind.bytes(), "mp4").len(), pictures_in(small));
}

#[test]
fn who_is_slow_is_skipped_to_a_keyframe_and_a_hundred_others_get_all() {
    let (rig, clip) = (Rig::new(NEVER), h264_aac());
    let bytes: usize = clip.samples.iter().map(|sample| sample.data.len()).sum();
    let hub = rig.hub(LiveOptions { behind_bytes_max: bytes / 4, behind_max: NEVER, ..options() });
    let mut slow = hub.watch(&name()).unwrap();
    let mut others: Vec<_> = (0..100).map(|_| hub.watch(&name()).unwrap()).collect();
    let mut stream = rig.stream();
    begin(&mut stream, clip, 1, NOON);
    let (all, part) = (clip.samples.len(), clip.samples.len() / 20);
    record(&mut stream, clip, 0..part);
    watch(&mut slow, |told| given(told) > 0);
    let mut told = vec![Vec::new(); others.len()];
    for from in (part..all).step_by(part) {
        record(&mut stream, clip, from..(from + part).min(all));
        for (viewer, told) in others.iter_mut().zip(&mut told) {
            let pictures = |range: std::ops::Range<usize>| {
                clip.samples[range].iter().filter(|sample| sample.track.0 == 1).count()
            };
            let due = pictures(0..(from + part).min(all));
            let had = |told: &[Message]| told.iter().filter(|m| matches!(m, Message::Fragment(_))).count();
            let before = had(told);
            told.extend(watch(viewer, |more| before + had(more) >= due));
        }
    }
    drop(stream);
    for (viewer, told) in others.iter_mut().zip(&mut told) {
        told.extend(watch(viewer, waits));
        assert_eq!(given(told), all as u64);
        assert!(!told.iter().any(|message| matches!(message, Message::Skipped { .. })));
    }
    let late = watch(&mut slow, waits);
    let skipped: Vec<u64> = late
        .iter()
        .filter_map(|message| match message {
            Message::Skipped { samples } => Some(*samples),
            _ => None,
        })
        .collect();
    assert!(skipped.len() == 1 && skipped[0] > 0, "{skipped:?}");
    // All viewers have the same bytes in memory.
    let first = |told: &[Message]| {
        told.iter().find_map(|message| match message {
            Message::Fragment(fragment) => Some(fragment.bytes.as_ptr()),
            _ => None,
        })
    };
    assert!(told.iter().all(|other| first(other) == first(&told[0])));
}

#[test]
fn a_stream_is_muxed_while_somebody_watches_and_no_longer() {
    let rig = Rig::new(SOON);
    let hub = rig.hub(options());
    assert!(hub.watched().is_empty());
    let (one, two) = (hub.watch(&name()).unwrap(), hub.watch(&name()).unwrap());
    assert_eq!(hub.watched(), [(name(), 2)].into());
    drop(one);
    assert_eq!(hub.watched(), [(name(), 1)].into());
    drop(two);
    assert!(hub.await_idle(PATIENCE));
    let mut again = hub.watch(&name()).unwrap();
    watch(&mut again, |told| !told.is_empty());
    hub.close();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert_eq!(runtime.block_on(again.next()), None);
    assert!(hub.await_idle(PATIENCE) && hub.watch(&name()).is_err());
}

#[test]
fn there_are_no_more_viewers_than_the_bound_says() {
    let rig = Rig::new(SOON);
    let hub = rig.hub(LiveOptions { viewers_max: 2, ..options() });
    let viewers: Vec<_> = (0..2).map(|_| hub.watch(&name()).unwrap()).collect();
    assert!(hub.watch(&name()).is_err());
    drop(viewers);
    assert!(hub.watch(&name()).is_ok());
}
