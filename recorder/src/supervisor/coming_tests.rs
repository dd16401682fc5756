//! Streams that come over to a disk that has little room, in a time of the test's own.

use super::*;
use bytes::Bytes;
use keha_fs::{
    Anchor, ClockSource, Configuration, CreateOptions, Holder, RunId, Sample, SampleFlags, StreamName,
    TrackConfiguration, TrackKind, TrackNumber, Writer, WriterOptions,
};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

const STREAMS: usize = 40;
const SAMPLES: i64 = 50;
const TRACK: TrackNumber = TrackNumber(1);
const BEGIN: WallTime = WallTime(1_700_000_000_000_000_000);

fn name(number: usize) -> StreamName {
    StreamName::new(&format!("cam{number}")).expect("a name")
}

/// A volume whose disk makes no round: what it takes it keeps in memory.
fn writer(directory: &tempfile::TempDir, file: &str, buffer_bytes: usize) -> Writer {
    let path = directory.path().join(file);
    let size = CreateOptions { size_bytes: 512 << 20, streams_max: Some(64), ..CreateOptions::default() };
    keha_fs::create(&path, &size, &mut |_, _| ControlFlow::Continue(())).expect("created");
    let flush_interval = Duration::from_secs(3600);
    let options = WriterOptions { flush_interval, buffer_bytes, ..WriterOptions::default() };
    Writer::open(&path, options, Box::new(|_| ())).expect("open")
}

/// What a stream left undone: two seconds of pictures.
fn left(main: &Writer, number: usize) -> (StreamId, CameFrom) {
    let mut stream = main.stream(&name(number)).expect("a stream");
    let track = TrackConfiguration {
        track: TRACK,
        kind: TrackKind::Video,
        codec: *b"avc1",
        timescale: 1000,
        width: 64,
        height: 64,
        channels: 0,
        sample_rate: 0,
        private: vec![1],
    };
    stream.configure(&Configuration { tracks: vec![track], session: Vec::new() }).expect("taken");
    stream.begin_run(RunId::random());
    let (source, uncertainty_us, camera_offset_ns) = (ClockSource::Arrival, 0, 0);
    let (track, timescale, ticks, wall, arrival) = (TRACK, 1000, 0, BEGIN, BEGIN);
    stream.anchor(Anchor {
        track,
        timescale,
        ticks,
        wall,
        source,
        uncertainty_us,
        arrival,
        camera_offset_ns,
    });
    for index in 0..SAMPLES {
        let flags = if index % 25 == 0 { SampleFlags::SYNC } else { SampleFlags::default() };
        let data = vec![Bytes::from(vec![7; 1000])];
        stream.push(Sample { track: TRACK, ticks: index * 40, flags, data }).expect("there is room");
    }
    let id = stream.id();
    drop(stream);
    let holder: Holder = main.holder();
    (
        id,
        CameFrom {
            why: "main failed".to_owned(),
            undone: holder.undone(&name(number)),
            ..CameFrom::default()
        },
    )
}

/// Each waited for room on its own, one after the other: the last of forty for twenty seconds.
#[test]
fn forty_streams_that_find_no_room_go_on_after_half_a_second_all_together() {
    let directory = tempfile::tempdir().expect("a directory");
    let (main, other) =
        (writer(&directory, "main.ring", 256 << 20), writer(&directory, "other.ring", 1 << 20));
    let (_begins, crossing) = Crossing::over(STREAMS);
    let mut arrivals: Vec<(Arrival, StreamWriter)> = (0..STREAMS)
        .map(|number| {
            let (id, from) = left(&main, number);
            let mut sink = other.stream_as(&name(number), Some(id)).expect("admitted");
            let from = CameFrom { crossing: Some(crossing.clone()), ..from };
            (Arrival::begin(from, &mut sink, None), sink)
        })
        .collect();
    // Nothing but the steps passes time.
    let begun = Instant::now();
    let (mut now, mut going) = (begun, STREAMS);
    while going > 0 {
        going = arrivals
            .iter_mut()
            .filter_map(|(arrival, sink)| (!arrival.step(sink, now, begun + PATIENCE)).then_some(()))
            .count();
        now += PAUSE;
    }
    assert_eq!(now - PAUSE, begun + PATIENCE);
    let ends: Vec<Before> = arrivals.into_iter().map(|(arrival, _)| arrival.end()).collect();
    let lost: Vec<u64> = ends.iter().map(|before| before.samples_lost).collect();
    let (least, most) = (lost.iter().min().expect("some"), lost.iter().max().expect("some"));
    assert!(*least > 0 && *most < SAMPLES as u64 && most - least <= 2, "each gets as much: {lost:?}");
    for before in ends {
        let taken = SAMPLES - before.samples_lost as i64;
        assert_eq!(before.last, Some(BEGIN.plus_ns((taken - 1) * 40_000_000)), "footage ends where it does");
        assert_eq!(before.bytes_lost, before.samples_lost * 1000);
        assert!(before.detail.contains("there was no room for them; main failed"), "{}", before.detail);
    }
}

/// Only half of the memory had room at once, and the disk went on making a round a second.
#[test]
fn streams_that_come_back_bring_all_that_waited_as_fast_as_the_disk_writes() {
    let directory = tempfile::tempdir().expect("a directory");
    let (main, anew) = (writer(&directory, "main.ring", 256 << 20), writer(&directory, "anew.ring", 1 << 20));
    let (begins, crossing) = Crossing::back(STREAMS);
    let moderation = Arc::new(Moderation::new());
    let runtime = super::super::runtime(1, Arc::clone(&moderation)).expect("threads");
    let (_stop, stopping) = watch::channel(false);
    let begin = |number| {
        let (id, from) = left(&main, number);
        let mut sink = anew.stream_as(&name(number), Some(id)).expect("admitted");
        let from = CameFrom { own: true, crossing: Some(crossing.clone()), ..from };
        let (arrival, stopping) = (Arrival::begin(from, &mut sink, None), stopping.clone());
        let moderation = Arc::clone(&moderation);
        runtime.spawn(async move { arrival.run(&mut sink, &moderation, &stopping).await.samples_lost })
    };
    let coming: Vec<_> = (0..STREAMS).map(begin).collect();
    begins.all();
    let lost: Vec<u64> =
        coming.into_iter().map(|coming| runtime.block_on(coming).expect("it ends")).collect();
    assert_eq!(lost, [0; STREAMS]);
    runtime.shutdown_background();
}

/// Of a stream all samples that stand, by their ticks, and its gaps.
fn recorded(path: &Path, id: StreamId) -> (Vec<i64>, Vec<Gap>) {
    let volume = keha_fs::Volume::open(path).expect("a volume");
    let mut cursor = volume.read(id, keha_fs::TimeRange::default()).expect("a cursor");
    let (mut samples, mut gaps) = (Vec::new(), Vec::new());
    while let Some(item) = cursor.next_item().expect("readable") {
        match item {
            keha_fs::Item::Gap(gap) => gaps.push(gap),
            keha_fs::Item::Sample(sample) => samples.push(sample.ticks),
            _ => {}
        }
    }
    (samples, gaps)
}

/// It was told by the clock which samples stood there.
#[test]
fn what_waited_for_a_volume_that_was_opened_anew_goes_on_behind_what_stands_and_nothing_is_missing_between() {
    let directory = tempfile::tempdir().expect("a directory");
    let main = writer(&directory, "main.ring", 256 << 20);
    let (id, from) = left(&main, 0);
    let from = CameFrom { own: true, ..from };
    // What has room stands there; what has none waits for whoever opens it next.
    let narrow = writer(&directory, "own.ring", 20_000);
    let mut sink = narrow.stream_as(&name(0), Some(id)).expect("admitted");
    let mut arrival = Arrival::begin(from.clone(), &mut sink, None);
    let now = Instant::now();
    assert!(arrival.step(&mut sink, now, now));
    drop(sink);
    narrow.close().expect("closed");
    let path = directory.path().join("own.ring");
    let (stands, gaps) = recorded(&path, id);
    assert!(!stands.is_empty() && stands.len() < SAMPLES as usize, "{} stand", stands.len());
    let options = WriterOptions { flush_interval: Duration::from_secs(3600), ..WriterOptions::default() };
    let anew = Writer::open(&path, options, Box::new(|_| ())).expect("open");
    let mut sink = anew.stream(&name(0)).expect("it is there");
    let mut arrival = Arrival::begin(from, &mut sink, None);
    assert!(arrival.step(&mut sink, now, now));
    assert_eq!(arrival.end().samples_lost, 0);
    drop(sink);
    anew.close().expect("closed");
    let all: Vec<i64> = (0..SAMPLES).map(|index| index * 40).collect();
    assert_eq!(recorded(&path, id), (all, gaps));
}

/// It was neither carried nor named.
#[test]
fn what_a_stream_that_is_stopped_left_undone_is_taken_too_and_what_is_lost_of_it_is_said() {
    let directory = tempfile::tempdir().expect("a directory");
    let main = writer(&directory, "main.ring", 256 << 20);
    for (file, buffer_bytes) in [("wide.ring", 256 << 20), ("narrow.ring", 20_000)] {
        let other = writer(&directory, file, buffer_bytes);
        let recorder = crate::Recorder::with_room(1).expect("threads");
        let (id, from) = left(&main, buffer_bytes);
        let camera = crate::Camera::new(name(buffer_bytes).as_str(), "testsrc://").expect("a camera");
        let coming = [(name(buffer_bytes), Coming { id: Some(id), from: Some(from) })].into();
        let stopped = [name(buffer_bytes)].into();
        recorder.change_with(&other, &camera, &stopped, coming).expect("changed");
        let undone = other.holder().undone(&name(buffer_bytes));
        let (taken, _) = undone.lost_if_left();
        assert_eq!(taken == SAMPLES as u64, buffer_bytes > 20_000, "{taken} taken");
        assert!(taken > 0);
        let last = BEGIN.plus_ns((taken as i64 - 1) * 40_000_000);
        assert_eq!(recorder.ended()[&name(buffer_bytes)], last);
        drop(recorder);
        other.close().expect("closed");
        let (samples, gaps) = recorded(&directory.path().join(file), id);
        let lost: u64 = gaps.iter().map(|gap| gap.samples_lost).sum();
        assert_eq!((samples.len() as u64, lost), (taken, SAMPLES as u64 - taken));
    }
}
