//! Who waits for an erasure is answered whatever else is asked meanwhile: without the thread, ask by ask.

use super::super::answer::{Answer, Answered, answer};
use super::super::{Ask, Inbox, Pulse, Shared};
use super::Body;
use crate::clock::SimClock;
use crate::configuration::{Configuration, TrackConfiguration, TrackKind};
use crate::create::{CreateOptions, create};
use crate::disk::{FileDisk, FileOptions, FileReader};
use crate::error::{Error, Result};
use crate::hold::{Hold, HoldRequest};
use crate::report::Health;
use crate::retention::erase::Erased;
use crate::sample::{Anchor, ClockSource, Sample, SampleFlags};
use crate::session::Opener;
use crate::types::{RunId, StreamId, StreamName, TrackNumber, WallTime};
use crate::writer::engine::{Engine, EngineOptions};
use crate::writer::{EraseRequest, Input, StoredConfiguration};
use bytes::Bytes;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

const VIDEO: TrackNumber = TrackNumber(1);
const BEGIN: WallTime = WallTime(1_700_000_000_000_000_000);
const FRAME_NS: i64 = 40_000_000;

fn wall(frame: i64) -> WallTime {
    BEGIN.plus_ns(frame * FRAME_NS)
}

fn opened(path: &Path) -> Engine<FileDisk> {
    let options = CreateOptions { size_bytes: 24 << 20, ..CreateOptions::default() };
    create(path, &options, &mut |_, _| ControlFlow::Continue(())).expect("the volume is created");
    let disk = FileDisk::open(path, &FileOptions::default()).expect("a disk");
    let reader = Arc::new(FileReader::open(path).expect("a reader"));
    let options = EngineOptions {
        chunk_bytes: 1 << 20,
        path: path.to_owned(),
        opener: Opener::default(),
        scrub: None,
        pause: |_| (),
        stream_id: |_, _| StreamId::random(),
    };
    Engine::open(disk, reader, Arc::new(SimClock::new(BEGIN)), options).expect("it opens").0
}

fn configured(engine: &mut Engine<FileDisk>, name: &StreamName) -> usize {
    let index = engine.admit(name).expect("the stream");
    let track = TrackConfiguration {
        track: VIDEO,
        kind: TrackKind::Video,
        codec: *b"avc1",
        timescale: 1000,
        width: 0,
        height: 0,
        channels: 0,
        sample_rate: 0,
        private: b"avcC".to_vec(),
    };
    let (bytes, hash) = Configuration { tracks: vec![track], session: Vec::new() }.stored();
    engine.accept(index, Input::Configure(Arc::new(StoredConfiguration { bytes, hash, video: vec![VIDEO] })));
    engine.accept(index, Input::Run(RunId::random()));
    engine.accept(
        index,
        Input::Anchor(Anchor {
            track: VIDEO,
            timescale: 1000,
            ticks: 0,
            wall: BEGIN,
            source: ClockSource::Arrival,
            uncertainty_us: 0,
            arrival: BEGIN,
            camera_offset_ns: 0,
        }),
    );
    index
}

fn frame(number: i64) -> Input {
    let data = vec![Bytes::from(vec![number as u8; 60_000])];
    Input::Sample(Sample { track: VIDEO, ticks: number * 40, flags: SampleFlags::SYNC, data })
}

/// Asks as another thread would, and has it answered.
fn ask<T>(body: &mut Body, ask: impl FnOnce(Answer<Result<T>>) -> Ask) -> Answered<Result<T>> {
    let (answer, answered) = answer();
    body.shared.lock().asks_waiting += 1;
    body.answer(ask(answer));
    answered
}

/// A thread with sixty pictures of two streams on the disk, for whom time does not pass.
fn recorded(folder: &Path, interval: Duration) -> (Body, [StreamName; 2], [usize; 2]) {
    let path = folder.join("a.ring");
    let mut engine = opened(&path);
    let names = ["front", "back"].map(|name| StreamName::new(name).expect("a constant"));
    let indices = names.each_ref().map(|name| configured(&mut engine, name));
    for number in 0..60 {
        indices.iter().for_each(|index| engine.accept(*index, frame(number)));
        engine.round();
    }
    let shared = Arc::new(Shared {
        inbox: Mutex::new(Inbox::default()),
        wake: Condvar::new(),
        gone: Condvar::new(),
        pulse: Mutex::new(Pulse::default()),
        admission: None,
        buffer_bytes: 0,
        path,
    });
    (Body::new(engine, shared, interval, Box::new(|_| ())), names, indices)
}

/// Downloads and exports of many clients hold at a time: each waited for a second of its own.
#[test]
fn all_who_wait_to_hold_or_lift_are_answered_after_one_round() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut body, [front, back], _) = recorded(folder.path(), Duration::from_secs(3600));
    let request = |stream: &StreamName, number: i64| HoldRequest {
        stream: stream.clone(),
        from: wall(number),
        to: wall(number + 2),
        label: "a download".to_owned(),
        expires: None,
    };
    let queue = |body: &mut Body, holds: i64| -> Vec<Answered<Result<Hold>>> {
        let wanted =
            (0..holds).map(|number| request(if number % 2 == 0 { &front } else { &back }, number * 3));
        let asked = wanted.map(|request| {
            let (answer, answered) = answer();
            body.shared.lock().asks_waiting += 1;
            body.take_ask(Ask::Hold(request, answer));
            answered
        });
        asked.collect()
    };
    // What is to come is held, too, and takes room: three fit.
    let asked = queue(&mut body, 3);
    body.engine.round();
    body.answer_asked();
    let holds: Vec<Hold> =
        asked.iter().map(|answered| answered.now().expect("an answer").expect("it is held")).collect();
    for hold in holds {
        let lifted: Answered<Result<Hold>> = ask(&mut body, |answer| Ask::Lift(hold.id, answer));
        lifted.now().expect("an answer").expect("it is lifted");
    }
    // Where each takes its time, the next round is not kept waiting.
    body.interval = Duration::ZERO;
    let asked = queue(&mut body, 3);
    body.engine.round();
    body.answer_asked();
    assert_eq!(asked.iter().filter(|answered| answered.now().is_ok()).count(), 1);
    assert_eq!(body.holds_asked.len(), 2);
    body.close().expect("closed");
}

#[test]
fn who_waits_for_room_has_a_round_made_now_unless_the_disk_fails() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut body, ..) = recorded(folder.path(), Duration::from_secs(3600));
    let hour = Instant::now() + Duration::from_secs(3600);
    body.shared.hurry();
    assert!(body.take_in(hour).hurry);
    let (later, hurried) = (body.is_due(hour, false), body.is_due(hour, true));
    assert!(!later && hurried && body.is_due(Instant::now(), false));
    body.engine.health = Health::Failing { error: "EIO".to_owned() };
    assert!(!body.is_due(hour, true) && body.is_due(Instant::now(), true));
}

/// It was made when the disk answered again, and nobody knew of it.
#[test]
fn what_nobody_waits_for_any_more_is_not_held() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut body, [front, _], _) = recorded(folder.path(), Duration::from_secs(3600));
    let request = HoldRequest {
        stream: front,
        from: wall(3),
        to: wall(5),
        label: "a download".to_owned(),
        expires: None,
    };
    let holds = |body: &Body| body.engine.hold_room().holds;
    let queue = |body: &mut Body, answer| {
        body.shared.lock().asks_waiting += 1;
        body.take_ask(Ask::Hold(request.clone(), answer));
    };
    // He went before it was begun.
    let (given, asked) = answer();
    queue(&mut body, given);
    drop(asked);
    body.engine.round();
    body.answer_asked();
    assert_eq!((holds(&body), body.shared.lock().asks_waiting), (0, 0));
    // And while it was made: there is no room for the answer.
    let (given, asked) = answer();
    given.send(Err(Error::Invalid("in the way".to_owned()))).expect("somebody waits");
    queue(&mut body, given);
    body.engine.round();
    body.answer_asked();
    assert_eq!(holds(&body), 0);
    drop(asked);
    let (given, asked) = answer();
    queue(&mut body, given);
    body.engine.round();
    body.answer_asked();
    let held: Hold = asked.now().expect("an answer").expect("it is held");
    assert!(holds(&body) == 1 && body.engine.lift_hold(held.id).is_ok());
    body.close().expect("closed");
}

#[test]
fn who_waits_for_an_erasure_is_answered_also_when_it_ends_while_a_hold_is_made() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut body, [front, back], indices) = recorded(folder.path(), Duration::from_secs(1));
    let (mut next, mut within_holds) = (60, 0);
    for turn in 0..6 {
        let (from, to) = (wall(turn * 3), wall(turn * 3 + 2));
        let request = EraseRequest { stream: front.clone(), from, to };
        let erased: Answered<Result<Erased>> = ask(&mut body, |answer| Ask::Erase(request, answer));
        let mut answer = erased.now().ok();
        // No round of its own: only those that holds make.
        for _ in 0..200 {
            if answer.is_some() {
                break;
            }
            indices.iter().for_each(|index| body.engine.accept(*index, frame(next)));
            let (from, to) = (wall(next - 4), wall(next - 2));
            next += 1;
            let label = "case".to_owned();
            let request = HoldRequest { stream: back.clone(), from, to, label, expires: None };
            let held: Answered<Result<Hold>> = ask(&mut body, |answer| Ask::Hold(request, answer));
            let hold = held.now().expect("an answer").expect("it is held");
            within_holds += u64::from(answer.is_none());
            let lifted: Answered<Result<Hold>> = ask(&mut body, |answer| Ask::Lift(hold.id, answer));
            lifted.now().expect("an answer").expect("it is lifted");
            answer = erased.now().ok();
        }
        let answer = answer.expect("whoever waits for an erasure is told what came of it");
        let erased = answer.expect("it is erased");
        assert!(erased.samples > 0, "{erased:?}");
    }
    assert!(within_holds > 0, "no erasure was under way while a hold was made");
    assert_eq!(body.shared.lock().asks_waiting, 0);
    body.close().expect("closed");
}

/// Forty streams that come over to a disk that turns were admitted one by one, each with four flushes.
#[test]
fn many_streams_are_admitted_with_one_change_of_the_directory_and_who_may_not_be_keeps_nobody_out() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("many.ring");
    let mut engine = opened(&path);
    let name = |number: usize| StreamName::new(&format!("cam{number}")).expect("a name");
    let own = engine.admit(&name(0)).expect("admitted");
    let (own, _) = engine.stream_facts(own).expect("it is there");
    let before = engine.directory.generation;
    let id = StreamId::random();
    // One that is there, one whose identity is another's, one that is told of twice.
    let wanted =
        vec![(name(0), None), (name(1), Some(own)), (name(2), Some(id)), (name(3), None), (name(3), None)];
    engine.admit_all(&wanted).expect("written");
    assert_eq!(engine.directory.generation, before + 1);
    let names = |engine: &Engine<FileDisk>| -> Vec<String> {
        engine.directory.entries.iter().map(|entry| entry.name.as_str().to_owned()).collect()
    };
    assert_eq!(names(&engine), ["cam0", "cam2", "cam3"]);
    for number in [0, 2, 3] {
        engine.admit(&name(number)).expect("it is there");
    }
    assert_eq!(engine.directory.generation, before + 1, "nothing more is written for them");
    engine.close().expect("closed");
    let volume = crate::reader::Volume::open(&path).expect("a volume");
    assert_eq!(volume.stream(&name(2)).expect("it stands").id, id);
}
