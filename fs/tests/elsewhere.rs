//! A stream that goes on in another volume: its identity, and what was not durable in the first.

use bytes::Bytes;
use keha_fs::{
    Anchor, Carried, ClockSource, Configuration, CreateOptions, Error, Item, RunId, Sample, SampleFlags,
    StreamId, StreamName, StreamWriter, TimeRange, TrackConfiguration, TrackKind, TrackNumber, Volume,
    WallTime, Writer, WriterOptions, create,
};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

const VIDEO: TrackNumber = TrackNumber(1);
const BEGIN: WallTime = WallTime(1_700_000_000_000_000_000);

fn volume(folder: &tempfile::TempDir, file: &str) -> PathBuf {
    let path = folder.path().join(file);
    let options = CreateOptions { size_bytes: 64 << 20, streams_max: Some(4), ..CreateOptions::default() };
    create(&path, &options, &mut |_, _| ControlFlow::Continue(())).expect("the volume is created");
    path
}

/// A writer that makes no round by itself.
fn open(path: &Path) -> Writer {
    let options = WriterOptions { flush_interval: Duration::from_secs(3600), ..WriterOptions::default() };
    Writer::open(path, options, Box::new(|_| ())).expect("the volume opens for writing")
}

fn name(text: &str) -> StreamName {
    StreamName::new(text).expect("a name")
}

/// Pictures of a run, each fifth of which is a sync sample.
fn record(stream: &mut StreamWriter, run: RunId, pictures: std::ops::Range<i64>) {
    let track = TrackConfiguration {
        track: VIDEO,
        kind: TrackKind::Video,
        codec: *b"avc1",
        timescale: 1000,
        width: 64,
        height: 64,
        channels: 0,
        sample_rate: 0,
        private: vec![1, 2, 3],
    };
    stream.configure(&Configuration { tracks: vec![track], session: Vec::new() }).expect("it is taken");
    stream.begin_run(run);
    stream.anchor(Anchor {
        track: VIDEO,
        timescale: 1000,
        ticks: 0,
        wall: BEGIN,
        source: ClockSource::SenderReport,
        uncertainty_us: 7,
        arrival: BEGIN,
        camera_offset_ns: 5,
    });
    for index in pictures {
        let flags = if index % 5 == 0 { SampleFlags::SYNC } else { SampleFlags::default() };
        let data = vec![Bytes::from(vec![index as u8; 100 + index as usize])];
        stream.push(Sample { track: VIDEO, ticks: index * 40, flags, data }).expect("there is room");
    }
}

/// Run, ticks, wall time, and bytes of all samples.
fn stands(path: &Path, stream: &str) -> (StreamId, Vec<(RunId, i64, WallTime, Bytes)>) {
    let volume = Volume::open(path).expect("it opens");
    let id = volume.stream(&name(stream)).expect("the stream").id;
    let mut cursor = volume.read(id, TimeRange::default()).expect("a cursor");
    let mut samples = Vec::new();
    while let Some(item) = cursor.next_item().expect("readable") {
        if let Item::Sample(sample) = item {
            samples.push((sample.run, sample.ticks, sample.wall, sample.data));
        }
    }
    (id, samples)
}

#[test]
fn what_was_not_durable_goes_on_in_another_volume_as_the_same_stream_with_run_clock_and_bytes() {
    let folder = tempfile::tempdir().expect("a folder");
    let (first, second) = (volume(&folder, "first.ring"), volume(&folder, "second.ring"));
    let (main, archive) = (open(&first), open(&second));
    let run = RunId::random();
    let mut stream = main.stream(&name("front")).expect("admitted");
    record(&mut stream, run, 0..23);
    let id = stream.id();
    drop(stream);
    let undone = main.holder().undone(&name("front"));
    assert_eq!(undone.span(), Some((BEGIN, BEGIN.plus_ns(22 * 40_000_000))));
    let mut over = archive.stream_as(&name("front"), Some(id)).expect("admitted");
    let mut carrying = undone.carrying(1);
    assert!(over.carry(&mut carrying));
    let to = Some(BEGIN.plus_ns(22 * 40_000_000));
    assert_eq!(carrying.end(), Carried { samples: 23, to, ..Carried::default() });
    drop(over);
    main.close().expect("closed");
    archive.close().expect("closed");
    let (there, here) = (stands(&first, "front"), stands(&second, "front"));
    assert_eq!((there.1.len(), there.0), (23, id));
    assert_eq!(there, here);
}

/// It said that all of it was lost.
#[test]
fn of_what_finds_no_room_the_first_part_is_taken_and_the_rest_is_counted() {
    let folder = tempfile::tempdir().expect("a folder");
    let (first, second) = (volume(&folder, "first.ring"), volume(&folder, "second.ring"));
    let main = open(&first);
    let hour = Duration::from_secs(3600);
    let options = WriterOptions { flush_interval: hour, buffer_bytes: 8_000, ..WriterOptions::default() };
    let archive = Writer::open(&second, options, Box::new(|_| ())).expect("the volume opens for writing");
    let mut stream = main.stream(&name("front")).expect("admitted");
    record(&mut stream, RunId::random(), 0..40);
    drop(stream);
    let undone = main.holder().undone(&name("front"));
    let (samples, bytes) = undone.lost_if_left();
    let mut over = archive.stream(&name("front")).expect("admitted");
    let mut carrying = undone.carrying(1);
    assert!(!over.carry(&mut carrying) && !over.carry(&mut carrying), "no round makes room");
    let carried = carrying.end();
    assert!(carried.samples > 0 && carried.samples_lost > 0, "{carried:?}");
    assert_eq!(carried.samples + carried.samples_lost, samples);
    assert!(carried.bytes_lost < bytes && carried.why_lost.as_deref() == Some("there was no room for them"));
    assert_eq!(carried.to, Some(BEGIN.plus_ns((carried.samples as i64 - 1) * 40_000_000)));
    // What is sent now has room.
    record(&mut over, RunId::random(), 0..10);
    drop(over);
    main.close().expect("closed");
    archive.close().expect("closed");
    assert_eq!(stands(&second, "front").1.len() as u64, carried.samples + 10);
}

#[test]
fn of_a_stream_that_was_never_recorded_nothing_is_to_be_carried() {
    let folder = tempfile::tempdir().expect("a folder");
    let main = open(&volume(&folder, "first.ring"));
    assert!(main.holder().undone(&name("front")).is_empty());
}

#[test]
fn a_name_that_is_there_keeps_its_identity_and_an_identity_that_is_there_keeps_its_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = volume(&folder, "first.ring");
    let writer = open(&path);
    let own = writer.stream(&name("front")).expect("admitted").id();
    let other = StreamId::random();
    assert_eq!(writer.stream_as(&name("front"), Some(other)).expect("it is there").id(), own);
    let refused = writer.stream_as(&name("yard"), Some(own)).map(|stream| stream.id());
    assert!(matches!(&refused, Err(Error::Invalid(why)) if why.contains("is front here")), "{refused:?}");
    assert_eq!(writer.stream_as(&name("yard"), Some(other)).expect("admitted").id(), other);
    writer.close().expect("closed");
    // It is so for whoever comes next.
    let writer = open(&path);
    assert_eq!(writer.stream(&name("yard")).expect("it is there").id(), other);
    writer.close().expect("closed");
}
