//! What is noted is told, in order, also after a restart and to whoever comes back.

use super::*;
use crate::auth::{Cameras, Grant, Role};
use jiff::Timestamp;
use proptest::prelude::*;
use std::io::Write;

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).expect("a time")
}

fn event(kind: EventKind, camera: Option<&str>, text: impl ToString) -> NewEvent {
    NewEvent { kind, camera: camera.map(str::to_owned), user: None, text: text.to_string() }
}

fn all() -> Query {
    Query { from: Some(After::Id(EventId(0))), limit: GIVEN_MAX, ..Query::default() }
}

fn texts(events: &[Arc<Event>]) -> Vec<&str> {
    events.iter().map(|event| event.text.as_str()).collect()
}

#[test]
fn what_was_noted_is_there_after_a_restart_and_what_follows_comes_behind_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let events = Events::open(directory.path()).expect("it opens");
    let first = events.note_at(event(EventKind::CameraUp, Some("door"), "a"), at(5000));
    // The clock is set back, and the server started again.
    let second = events.note_at(event(EventKind::CameraDown, Some("door"), "b"), at(1000));
    drop(events);
    let events = Events::open(directory.path()).expect("it opens");
    let third = events.note_at(event(EventKind::Disk, None, "c"), at(2000));
    assert!(first < second && second < third);
    assert_eq!(first, EventId::at(at(5000)));
    assert_eq!(texts(&events.query(&all()).events), ["a", "b", "c"]);
    let later = Query { from: Some(After::Id(second)), ..all() };
    assert_eq!(texts(&events.query(&later).events), ["c"]);
}

#[test]
fn a_torn_line_and_one_of_a_newer_version_cost_nothing_but_themselves() {
    let directory = tempfile::tempdir().expect("a directory");
    let events = Events::open(directory.path()).expect("it opens");
    events.note(event(EventKind::CameraUp, None, "a"));
    drop(events);
    let path = directory.path().join("events.jsonl");
    let mut file = std::fs::OpenOptions::new().append(true).open(&path).expect("the file");
    file.write_all(b"{\"id\":\"1\",\"kind\":\"not_known_yet\",\"text\":\"x\"}\n\xff\xfe\n{\"id\":\"99")
        .expect("written");
    drop(file);
    let events = Events::open(directory.path()).expect("it opens");
    events.note(event(EventKind::CameraUp, None, "b"));
    drop(events);
    let events = Events::open(directory.path()).expect("it opens");
    assert_eq!(texts(&events.query(&all()).events), ["a", "b"]);
}

/// It kept the server from starting, and so every camera from being recorded.
#[test]
fn files_that_cannot_be_read_are_put_aside_and_begun_anew() {
    let directory = tempfile::tempdir().expect("a directory");
    for name in ["events.jsonl", "events.1.jsonl"] {
        std::fs::create_dir(directory.path().join(name)).expect("made");
    }
    for expected in [&["a"][..], &["a", "a"]] {
        let events = Events::open(directory.path()).expect("it opens");
        events.note(event(EventKind::CameraUp, None, "a"));
        assert_eq!(texts(&events.query(&all()).events), expected);
    }
    for name in ["events.jsonl.damaged-1", "events.1.jsonl.damaged-1"] {
        assert!(directory.path().join(name).is_dir());
    }
}

#[test]
fn memory_and_files_are_bounded_and_the_newest_are_kept() {
    let directory = tempfile::tempdir().expect("a directory");
    let events = Events::open(directory.path()).expect("it opens");
    for number in 0..2 * KEPT_MAX + 500 {
        events.note_at(event(EventKind::GapBegan, None, number), at(number as i64));
        if number % 1000 == 999 {
            // Otherwise more may come than may wait to be written.
            events.filing.settle();
        }
    }
    assert_eq!(events.lock().query(&all()).first().map(|event| event.text.clone()), Some("10500".to_owned()));
    drop(events);
    let lines =
        |name: &str| std::fs::read_to_string(directory.path().join(name)).expect("the file").lines().count();
    assert_eq!((lines("events.1.jsonl"), lines("events.jsonl")), (KEPT_MAX, 500));
    let events = Events::open(directory.path()).expect("it opens");
    assert_eq!(texts(&events.query(&Query { limit: 2, ..Query::default() }).events), ["20498", "20499"]);
}

#[test]
fn a_query_asks_for_kinds_cameras_times_and_what_may_be_seen() {
    let directory = tempfile::tempdir().expect("a directory");
    let events = Events::open(directory.path()).expect("it opens");
    events.note_at(event(EventKind::CameraUp, Some("door"), "a"), at(1000));
    events.note_at(event(EventKind::CameraUp, Some("yard"), "b"), at(2000));
    events.note_at(event(EventKind::CameraDown, Some("door"), "c"), at(3000));
    events.note_at(event(EventKind::AccessChanged, None, "d"), at(4000));
    let viewer = Grant { role: Role::Viewer, cameras: Cameras::Only(["door".to_owned()].into()) };
    let table = [
        (Query { kinds: [EventKind::CameraUp].into(), ..all() }, vec!["a", "b"]),
        (Query { cameras: Some(["yard".to_owned()].into()), ..all() }, vec!["b"]),
        (Query { from: Some(After::Time(at(2000))), ..all() }, vec!["b", "c", "d"]),
        (Query { limit: 1, ..all() }, vec!["a"]),
        (Query { from: None, limit: 1, ..all() }, vec!["d"]),
        (Query { grant: Some(viewer), ..all() }, vec!["a", "c"]),
    ];
    for (query, expected) in table {
        assert_eq!(texts(&events.query(&query).events), expected, "{query:?}");
    }
}

#[test]
fn a_look_says_what_is_missing_and_from_where_to_look_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let events = Events::open(directory.path()).expect("it opens");
    assert_eq!(events.query(&all()), Found { events: Vec::new(), missed: false, next: EventId(0) });
    let door = Grant { role: Role::Viewer, cameras: Cameras::Only(["door".to_owned()].into()) };
    let of_door = || Query { grant: Some(door.clone()), ..all() };
    let first = events.note_at(event(EventKind::CameraUp, Some("door"), "a"), at(1000));
    events.note_at(event(EventKind::CameraUp, Some("yard"), "b"), at(2000));
    let last = events.note_at(event(EventKind::CameraDown, Some("yard"), "c"), at(3000));
    let behind = |id, query| Query { from: Some(After::Id(id)), ..query };
    for (query, given, missed, next) in [
        (all(), "abc", false, last),
        (Query { limit: 1, ..all() }, "a", false, first),
        (Query { kinds: [EventKind::CameraUp].into(), ..all() }, "ab", false, last),
        (Query { from: None, limit: 1, ..all() }, "c", false, last),
        (Query { from: Some(After::Time(at(0))), ..all() }, "abc", false, last),
        (behind(last, all()), "", false, last),
        (behind(EventId(last.0 + 1), all()), "", true, last),
        // When something happened that may not be seen is not told.
        (of_door(), "a", false, first),
        (behind(first, of_door()), "", false, first),
    ] {
        let found = events.query(&query);
        assert_eq!(
            (&*texts(&found.events).concat(), found.missed, found.next),
            (given, missed, next),
            "{query:?}"
        );
    }
    for number in 0..KEPT_MAX - 1 {
        events.note_at(event(EventKind::GapBegan, Some("yard"), number), at(4000));
    }
    let lost = |query| events.query(&query).missed;
    assert!(lost(all()) && lost(behind(first, all())), "a and b are gone");
    assert!(lost(Query { from: Some(After::Time(at(2000))), ..all() }));
    assert!(!lost(Query { from: Some(After::Time(at(2001))), ..all() }));
    assert!(!lost(Query::default()), "the newest are there");
    let next = events.query(&of_door()).next;
    assert!(!lost(behind(next, of_door())), "who can see nothing more has not missed it for ever");
}

/// The file before the last was written over while the server ran, and memory is that of a new one.
#[test]
fn what_the_files_no_longer_hold_is_missed_after_a_restart_too() {
    let directory = tempfile::tempdir().expect("a directory");
    let events = Events::open(directory.path()).expect("it opens");
    let first = events.note(event(EventKind::CameraUp, None, "a"));
    drop(events);
    let open = || Events::open(directory.path()).expect("it opens");
    assert!(!open().query(&all()).missed, "all that ever was is there");
    let path = |name: &str| directory.path().join(name);
    std::fs::rename(path("events.jsonl"), path("events.1.jsonl")).expect("there");
    let events = open();
    assert!(events.query(&all()).missed, "there may have been more");
    assert!(!events.query(&Query { from: Some(After::Id(first)), ..all() }).missed);
}

#[tokio::test]
async fn who_comes_back_goes_on_where_he_was_and_is_told_what_is_no_longer_there() {
    let directory = tempfile::tempdir().expect("a directory");
    let events = Arc::new(Events::open(directory.path()).expect("it opens"));
    let first = events.note(event(EventKind::CameraUp, None, "a"));
    events.note(event(EventKind::CameraUp, None, "b"));
    let told = |told: Option<Told>| match told {
        Some(Told::Events(events)) => texts(&events).iter().map(|text| (*text).to_owned()).collect(),
        _ => Vec::new(),
    };
    let (mut back, mut new) = (events.follow(Some(first), all()), events.follow(None, all()));
    assert_eq!(told(back.next().await), ["b"]);
    events.note(event(EventKind::CameraUp, None, "c"));
    assert_eq!(
        (told(back.next().await), told(new.next().await)),
        (vec!["c".to_owned()], vec!["c".to_owned()])
    );
    for number in 0..=KEPT_MAX {
        events.note(event(EventKind::GapBegan, None, number));
    }
    assert_eq!(back.next().await, Some(Told::Missed));
    let mut given = 0;
    while given < KEPT_MAX {
        given += told(back.next().await).len();
    }
    assert_eq!(given, KEPT_MAX);
}

#[tokio::test]
async fn who_follows_one_kind_is_not_woken_for_nothing_and_misses_none() {
    let directory = tempfile::tempdir().expect("a directory");
    let events = Arc::new(Events::open(directory.path()).expect("it opens"));
    let mut follower = events.follow(None, Query { kinds: [EventKind::Disk].into(), limit: 1, ..all() });
    for number in 0..5 {
        events.note(event(EventKind::CameraUp, None, "other"));
        events.note(event(EventKind::Disk, None, number));
    }
    for number in 0..5 {
        let Some(Told::Events(told)) = follower.next().await else { panic!("it is told") };
        assert_eq!(texts(&told), [number.to_string()]);
    }
}

proptest! {
    #[test]
    fn identifiers_rise_whatever_the_clock_does(times in proptest::collection::vec(-10i64..4_000_000_000_000, 1..100)) {
        let mut last = EventId(0);
        for time in times {
            let next = EventId::next(last, at(time));
            prop_assert!(next > last);
            last = next;
        }
    }
}
