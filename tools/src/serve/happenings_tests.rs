use super::Happenings;
use crate::recording::{News, Tick};
use keha_api::events::EventKind::{self, CameraDown, CameraUp, Disk, GapBegan, GapEnded, HoldLost};
use keha_api::events::NewEvent;
use keha_fs::{GapReason, Health, RoundReport, StreamName, WallTime};
use keha_recorder::{Event, EventKind as Kind};
use std::collections::BTreeSet;
use std::time::Duration;

fn happened(happenings: &mut Happenings, kind: Kind) -> Vec<EventKind> {
    let stream = StreamName::new("door/sub").expect("a name");
    kinds(&happenings.happened(&Event { stream, at: WallTime(0), kind }))
}

fn kinds(events: &[NewEvent]) -> Vec<EventKind> {
    events.iter().map(|event| event.kind).collect()
}

fn interrupted(reason: GapReason) -> Kind {
    Kind::Interrupted { reason, detail: "x".to_owned() }
}

fn failed(reason: GapReason, detail: &str) -> Kind {
    Kind::AttemptFailed { reason, detail: detail.to_owned() }
}

#[test]
fn a_camera_that_goes_and_comes_back_is_four_events_however_often_it_was_tried() {
    let mut told = Happenings::default();
    assert_eq!(happened(&mut told, Kind::Recording), [CameraUp]);
    assert_eq!(happened(&mut told, Kind::Recording), [], "a new run is no news");
    assert_eq!(happened(&mut told, interrupted(GapReason::ConnectionLost)), [CameraDown, GapBegan]);
    let mut tries = Vec::new();
    for which in 0..100 {
        tries.extend(happened(&mut told, failed(GapReason::Refused, &which.to_string())));
        tries.extend(happened(&mut told, failed(GapReason::Unreachable, "")));
    }
    assert_eq!(tries, [CameraDown, CameraDown], "once for each reason");
    assert_eq!(happened(&mut told, Kind::Recording), [CameraUp, GapEnded]);
    assert_eq!(happened(&mut told, interrupted(GapReason::ConnectionLost)), [CameraDown, GapBegan]);
}

#[test]
fn a_camera_that_was_never_reached_is_down_and_has_no_gap() {
    let mut told = Happenings::default();
    let first = told.happened(&Event {
        stream: StreamName::new("door").expect("a name"),
        at: WallTime(0),
        kind: failed(GapReason::Refused, "no\nroute"),
    });
    let text = |event: &NewEvent| (event.kind, event.camera.clone(), event.text.clone());
    let lines: Vec<_> = first.iter().map(text).collect();
    assert_eq!(lines, [(CameraDown, Some("door".to_owned()), "door: refused: no route".to_owned())]);
}

#[test]
fn what_is_left_out_of_a_session_is_a_gap_of_a_camera_that_is_up() {
    let mut told = Happenings::default();
    happened(&mut told, Kind::Recording);
    assert_eq!(happened(&mut told, interrupted(GapReason::Overload)), [GapBegan]);
    assert_eq!(happened(&mut told, interrupted(GapReason::Overload)), []);
    assert_eq!(happened(&mut told, Kind::OverloadOver { samples: 1, bytes: 1 }), [GapEnded]);
    assert_eq!(happened(&mut told, interrupted(GapReason::Clock)), [GapBegan]);
    assert_eq!(happened(&mut told, Kind::Recording), [GapEnded]);
}

#[test]
fn what_is_stopped_or_removed_is_down_once() {
    let mut told = Happenings::default();
    happened(&mut told, Kind::Recording);
    assert_eq!(kinds(&told.stopped("door/sub")), [CameraDown, GapBegan]);
    assert_eq!(kinds(&told.stopped("door/sub")), []);
    assert_eq!(happened(&mut told, Kind::Recording), [CameraUp, GapEnded]);
    let wanted = BTreeSet::from(["door/sub".to_owned()]);
    assert_eq!(kinds(&told.tick(&[], &wanted)), []);
    assert_eq!(kinds(&told.tick(&[], &BTreeSet::new())), [CameraDown, GapBegan]);
    assert_eq!(kinds(&told.tick(&[], &BTreeSet::new())), []);
    assert_eq!(happened(&mut told, Kind::Recording), [CameraUp], "it is a new one");
}

#[test]
fn trouble_with_a_disk_is_told_once_and_that_it_is_over() {
    let mut told = Happenings::default();
    let tried = |told: &mut Happenings, failed| told.tried("main", failed).map(|event| event.text);
    assert_eq!(tried(&mut told, None), None, "that all is well is no news");
    assert_eq!(tried(&mut told, Some("gone")).as_deref(), Some("volume main: gone"));
    assert_eq!(tried(&mut told, Some("gone")), None);
    assert_eq!(tried(&mut told, None).as_deref(), Some("volume main: it is open again"));
    let silent = |silent| Tick { streams: Vec::new(), silent };
    let wanted = BTreeSet::new();
    let events = told.tick(&[("main".to_owned(), silent(Some(WallTime(0))))], &wanted);
    assert_eq!(kinds(&events), [Disk]);
    assert_eq!(kinds(&told.tick(&[("main".to_owned(), silent(None))], &wanted)), []);
    let news = News { answers: Some(Duration::from_secs(7)), damage: Vec::new() };
    let mut report = round();
    assert_eq!(kinds(&told.round("main", &report, Some(&news))), [Disk]);
    report.health = Health::Failing { error: "no".to_owned() };
    assert_eq!(kinds(&told.round("main", &report, None)), [Disk]);
    assert_eq!(kinds(&told.round("main", &report, None)), []);
    report.health = Health::Good;
    assert_eq!(kinds(&told.round("main", &report, None)), [Disk]);
    (report.holds.lost, report.holds.cut_short) = (1, 2);
    assert_eq!(kinds(&told.round("main", &report, None)), [HoldLost, HoldLost]);
    assert_eq!(kinds(&told.round("main", &report, None)), []);
}

fn round() -> RoundReport {
    RoundReport {
        round: keha_fs::RoundNumber(1),
        at: WallTime(0),
        streams: Vec::new(),
        health: Health::Good,
        took: Duration::ZERO,
        waiting_bytes: 0,
        written_bytes: 0,
        writes: 0,
        blocks_taken: 0,
        holds: keha_fs::HoldRoom::default(),
        retention: keha_fs::RetentionReport::default(),
        scrub: keha_fs::ScrubReport::default(),
    }
}
