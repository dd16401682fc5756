//! Stories of clocks: the camera's media clock, its reports, and the recorder's own.

use super::*;

#[test]
fn a_media_clock_that_jumps_begins_a_new_run_with_reason_clock_and_loses_nothing() {
    for jump_ms in [3_600_000, -3_600_000, -2_000, 8_000] {
        let mut recording = connected();
        play(&mut recording, 0..50);
        for index in 50..100 {
            recording.sample(picture(index * 40 + jump_ms, index * 40 + 5, index % 10 == 0));
        }
        recording.stop();
        let list = &recording.sink;
        assert_eq!((list.samples().len(), list.runs()), (100, 2), "jump of {jump_ms} ms");
        let reasons: Vec<_> = list.gaps().iter().map(|gap| gap.reason).collect();
        assert_eq!(reasons, [GapReason::Clock, GapReason::Clock]);
        assert_eq!(list.walls_ms(VIDEO)[1][0], 2_005);
    }
}

/// A camera whose sound pauses without its media clock going on: from there every sound is eight seconds too early.
#[test]
fn sound_that_has_gone_astray_begins_a_new_run_with_the_next_keyframe() {
    let mut recording = Recording::new(List::default(), None, at(0));
    recording.begin_session(vec![VIDEO, AUDIO], vec![video(), audio()], at(0));
    for index in 0..3_000 {
        let late_ms = if index < 250 { 5 } else { 8_005 };
        recording.sample(picture(index * 40, index * 40 + 5, index % 10 == 0));
        if !(250..450).contains(&index) {
            recording.sample(sound(index * 40 + 5 - late_ms, index * 40 + 5));
        }
    }
    recording.stop();
    let list = &recording.sink;
    assert_eq!((list.runs(), list.gaps().len()), (2, 2));
    assert!(list.gaps().iter().all(|gap| gap.reason == GapReason::Clock));
    let sounds = &list.walls_ms(AUDIO)[1];
    assert!(
        sounds.iter().zip(&list.walls_ms(VIDEO)[1]).all(|(sound, picture)| (sound - picture).abs() < 100)
    );
}

/// Nothing that a run begins with before its first keyframe can be decoded.
#[test]
fn a_media_clock_that_jumps_between_keyframes_is_bridged_up_to_the_next() {
    for jump_ms in [3_600_000, -3_600_000] {
        let mut recording = connected();
        play(&mut recording, 0..54);
        for index in 54..100 {
            recording.sample(picture(index * 40 + jump_ms, index * 40 + 5, index % 10 == 0));
        }
        recording.stop();
        let expected: Vec<Vec<_>> =
            [0..60, 60..100].map(|run| run.map(|index| index * 40 + 5).collect()).into();
        assert_eq!(recording.sink.walls_ms(VIDEO), expected, "jump of {jump_ms} ms");
        let gaps: Vec<_> = recording.sink.gaps().iter().map(|gap| (gap.reason, gap.to)).collect();
        assert_eq!(gaps, [(GapReason::Clock, None), (GapReason::Clock, Some(at(2_405).wall))]);
    }
}

#[test]
fn the_recorders_clock_set_back_a_day_begins_a_new_run_at_the_next_keyframe() {
    let mut recording = connected();
    play(&mut recording, 0..33);
    let day = 86_400 * NS_PER_S;
    for index in 33..80 {
        let mut sample = picture(index * 40, index * 40 + 5, index % 10 == 0);
        sample.arrival.wall = sample.arrival.wall.plus_ns(-day);
        recording.sample(sample);
    }
    recording.stop();
    let walls = recording.sink.walls_ms(VIDEO);
    assert_eq!((walls[0].len(), walls[1].len()), (40, 40));
    assert_eq!(walls[1][0], 1_605 - day / NS_PER_MS);
    let closed = recording.sink.gaps()[1];
    assert!(closed.reason == GapReason::Clock && closed.to.is_some_and(|to| to >= closed.from));
}

#[test]
fn a_right_sender_report_slews_without_a_gap_and_a_wrong_one_is_told_once() {
    let mut recording = connected();
    play(&mut recording, 0..100);
    let hour = 3_600_000;
    for index in [100, 125, 150] {
        recording.sender_report(
            VIDEO,
            4_000_000_000 + index * 40 * 90,
            at(index * 40 + hour).wall,
            at(index * 40),
        );
    }
    let told = recording
        .take_events()
        .into_iter()
        .filter(|(_, kind)| matches!(kind, EventKind::CameraClockOff { .. }));
    assert_eq!(told.count(), 1);
    assert_eq!(recording.camera_offset_ns(), Some(hour * NS_PER_MS));
    recording.sender_report(VIDEO, 4_000_000_000 + 160 * 40 * 90, at(160 * 40 - 2).wall, at(160 * 40));
    play(&mut recording, 160..400);
    recording.stop();
    let list = &recording.sink;
    assert_eq!((list.runs(), list.gaps().len()), (1, 0));
    let Some(Given::Anchor(anchor)) = list.given.iter().rfind(|given| matches!(given, Given::Anchor(_)))
    else {
        panic!("anchors were given")
    };
    assert_eq!((anchor.source, anchor.camera_offset_ns), (ClockSource::SenderReport, -2 * NS_PER_MS));
}

#[test]
fn a_reconnect_does_not_set_wall_time_back_to_arrival_where_the_cameras_clock_was_followed() {
    let mut recording = connected();
    play(&mut recording, 0..10);
    for part in 0..12 {
        let first = part * 1_250 + 10;
        let now = first * 40;
        let told = at(now + 3_000).wall;
        recording.sender_report(VIDEO, 4_000_000_000 + now * 90, told, at(now));
        play(&mut recording, first..first + 1_250);
    }
    let lost = 15_010 * 40;
    recording.interrupted(GapReason::ConnectionLost, "", at(lost));
    recording.begin_session(vec![VIDEO], vec![video()], at(lost + 100));
    for index in 0..10 {
        recording.sample(picture(index * 40, lost + 100 + index * 40 + 5, index == 0));
    }
    recording.stop();
    let walls = recording.sink.walls_ms(VIDEO);
    let (last, next) = (*walls[0].last().unwrap(), walls[1][0]);
    assert!(last - (lost - 40) > 290, "500 ppm of ten minutes is 300 ms, not {}", last - (lost - 40));
    assert!((130..=150).contains(&(next - last)), "{} ms between the pictures", next - last);
}

#[test]
fn a_stale_time_on_the_first_picture_does_not_shift_those_behind_it() {
    let mut recording = connected();
    recording.sample(picture(-3_600_000, 5, true));
    play(&mut recording, 1..50);
    recording.stop();
    let expected: Vec<_> = (0..50).map(|index| index * 40 + 5).collect();
    assert_eq!(recording.sink.walls_ms(VIDEO), [expected]);
    assert!(recording.sink.gaps().is_empty());
}

/// Picture number `index` of a camera of one picture a second, all of them keyframes, whose media clock is 4,000 ppm too fast.
fn fast(index: i64) -> MediaSample {
    picture(index * 1_004, index * 1_000, true)
}

#[test]
fn a_media_clock_out_of_step_with_its_cameras_own_reports_begins_a_run_an_hour_not_one_a_gop() {
    let mut recording = connected();
    for index in 0..3 * 3_600 {
        recording.sample(fast(index));
        if index % 5 == 4 {
            let ticks = 4_000_000_000 + index * 1_004 * 90;
            recording.sender_report(VIDEO, ticks, at(index * 1_000).wall, at(index * 1_000));
        }
    }
    recording.stop();
    let walls = recording.sink.walls_ms(VIDEO);
    assert!((2..=4).contains(&walls.len()), "{} runs", walls.len());
    let off = walls.concat().iter().zip(0..).map(|(wall, index)| (wall - index * 1_000).abs()).max();
    assert!(off.is_some_and(|off| off < 11_000), "{off:?} ms off");
}

/// The recorder's clock is two seconds slow; the camera's is right, and followed. Then the recorder's is set right.
#[test]
fn a_followed_camera_does_not_lead_a_clock_that_was_set_to_agree_with_it() {
    for in_a_session in [true, false] {
        let mut recording = connected();
        let slow = |index: i64| picture(index * 1_000, index * 1_000, true);
        for index in 0..3_600 {
            recording.sample(slow(index));
            if index % 5 == 4 {
                let ticks = 4_000_000_000 + index * 1_000 * 90;
                recording.sender_report(VIDEO, ticks, at(index * 1_000 + 2_000).wall, at(index * 1_000));
            }
        }
        if !in_a_session {
            recording.interrupted(GapReason::ConnectionLost, "", at(3_599_500));
        }
        let right = |ms: i64| Moment { wall: at(ms + 2_000).wall, ..at(ms) };
        if !in_a_session {
            recording.begin_session(vec![VIDEO], vec![video()], right(3_599_800));
        }
        for index in 3_600..3_610 {
            recording.sample(MediaSample { arrival: right(index * 1_000), ..slow(index) });
        }
        recording.stop();
        let walls = recording.sink.walls_ms(VIDEO);
        assert_eq!(walls.len(), 2);
        let late: Vec<_> = walls[1].iter().zip(3_600..).map(|(wall, index)| wall - index * 1_000).collect();
        assert!(late.iter().all(|late| (1_990..=2_010).contains(late)), "{late:?}");
    }
}
