//! A stream that goes on in the volume it was in, opened anew: what waited in memory goes on behind what stands.

use bytes::Bytes;
use keha_fs::{
    Anchor, ClockSource, Configuration, CreateOptions, Item, RunId, Sample, SampleFlags, StreamName,
    StreamWriter, TimeRange, TrackConfiguration, TrackKind, TrackNumber, Undone, Uuid, Volume, WallTime,
    Writer, WriterOptions, create,
};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const VIDEO: TrackNumber = TrackNumber(1);
const SOUND: TrackNumber = TrackNumber(2);
const BEGIN: WallTime = WallTime(1_700_000_000_000_000_000);
const HOUR_NS: i64 = 3_600_000_000_000;
const PATIENCE: Duration = Duration::from_secs(60);

/// What a sample is known by, in the order of recording.
type Place = (RunId, TrackNumber, i64);

/// A picture or a piece of sound, by its ticks.
type Given = (TrackNumber, i64);

/// Pictures that are shown in another order than they are decoded in, sound that comes half a second behind them, and one picture that
/// goes into several chunks.
const GIVEN: [Given; 12] = [
    (VIDEO, 600),
    (VIDEO, 720),
    (SOUND, 100),
    (VIDEO, 640),
    (VIDEO, 680),
    (SOUND, 120),
    (VIDEO, 840),
    (VIDEO, 760),
    (SOUND, 140),
    (VIDEO, LARGE),
    (SOUND, 160),
    (VIDEO, 800),
];
const LARGE: i64 = 880;

fn name() -> StreamName {
    StreamName::new("front").expect("a name")
}

fn volume(folder: &tempfile::TempDir, file: &str) -> PathBuf {
    let path = folder.path().join(file);
    let options = CreateOptions { size_bytes: 32 << 20, streams_max: Some(4), ..CreateOptions::default() };
    create(&path, &options, &mut |_, _| ControlFlow::Continue(())).expect("the volume is created");
    path
}

/// A writer that makes no round by itself.
fn open(path: &Path) -> Writer {
    let options = WriterOptions { flush_interval: Duration::from_secs(3600), ..WriterOptions::default() };
    Writer::open(path, options, Box::new(|_| ())).expect("the volume opens for writing")
}

/// A run whose clock says this at its begin.
struct Run {
    id: RunId,
    wall: WallTime,
}

/// Two runs; between them the clock was set back an hour.
fn runs() -> [Run; 2] {
    let run = |id, wall| Run { id: RunId(Uuid::from_u128(id)), wall };
    [run(1, BEGIN), run(2, BEGIN.plus_ns(2_000_000_000 - HOUR_NS))]
}

/// All that there is.
fn all() -> Vec<Place> {
    runs().iter().flat_map(|run| GIVEN.map(|(track, ticks)| (run.id, track, ticks))).collect()
}

fn track(track: TrackNumber, kind: TrackKind) -> TrackConfiguration {
    let is_video = kind == TrackKind::Video;
    TrackConfiguration {
        track,
        kind,
        codec: if is_video { *b"avc1" } else { *b"ulaw" },
        timescale: 1000,
        width: if is_video { 64 } else { 0 },
        height: if is_video { 64 } else { 0 },
        channels: u8::from(!is_video),
        sample_rate: if is_video { 0 } else { 8000 },
        private: Vec::new(),
    }
}

/// Gives the first of them.
fn record(stream: &mut StreamWriter, first: usize) {
    let tracks = vec![track(VIDEO, TrackKind::Video), track(SOUND, TrackKind::Audio)];
    stream.configure(&Configuration { tracks, session: Vec::new() }).expect("it is taken");
    let mut left = first;
    for run in runs() {
        if left == 0 {
            return;
        }
        stream.begin_run(run.id);
        for track in [VIDEO, SOUND] {
            stream.anchor(Anchor {
                track,
                timescale: 1000,
                ticks: 0,
                wall: run.wall,
                source: ClockSource::Arrival,
                uncertainty_us: 0,
                arrival: run.wall,
                camera_offset_ns: 0,
            });
        }
        for (track, ticks) in GIVEN.into_iter().take(left) {
            let is_sync = track == SOUND || (track, ticks) == GIVEN[0];
            let flags = if is_sync { SampleFlags::SYNC } else { SampleFlags::default() };
            let bytes = if ticks == LARGE { 3 << 20 } else { 100 };
            let data = vec![Bytes::from(vec![ticks as u8; bytes])];
            stream.push(Sample { track, ticks, flags, data }).expect("there is room");
        }
        left = left.saturating_sub(GIVEN.len());
    }
}

/// What waits in memory of a stream of which nothing is known to be durable.
fn waiting(main: &Writer) -> Undone {
    let mut stream = main.stream(&name()).expect("admitted");
    record(&mut stream, all().len());
    drop(stream);
    main.holder().undone(&name())
}

/// A volume in which the first of them stand, as it is after its end or after a crash.
fn with(folder: &tempfile::TempDir, first: usize, is_crash: bool) -> PathBuf {
    let path = volume(folder, &format!("{first}-{is_crash}.ring"));
    let writer = open(&path);
    let mut stream = writer.stream(&name()).expect("admitted");
    record(&mut stream, first);
    let until = Instant::now() + PATIENCE;
    while !writer.holder().undone(&name()).is_empty() {
        assert!(Instant::now() < until, "no round is made");
        stream.hurry();
        std::thread::sleep(Duration::from_millis(1));
    }
    let crashed = folder.path().join(format!("{first}-{is_crash}-crashed.ring"));
    if is_crash {
        std::fs::copy(&path, &crashed).expect("copied");
    }
    drop(stream);
    writer.close().expect("closed");
    if is_crash { crashed } else { path }
}

/// All samples that stand.
fn stands(path: &Path) -> Vec<Place> {
    let volume = Volume::open(path).expect("it opens");
    let id = volume.stream(&name()).expect("the stream").id;
    let mut cursor = volume.read(id, TimeRange::default()).expect("a cursor");
    let mut samples = Vec::new();
    while let Some(item) = cursor.next_item().expect("readable") {
        if let Item::Sample(sample) = item {
            samples.push((sample.run, sample.track, sample.ticks));
        }
    }
    samples
}

/// What was not later, by the clock, than what stood was left out, and nobody was told: pictures of an order of their own, sound that came
/// behind its pictures, and all for an hour after the clock was set back.
#[test]
fn whatever_stands_what_waited_goes_on_behind_it_each_sample_once_and_none_is_left_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let main = open(&volume(&folder, "memory.ring"));
    let (undone, all) = (waiting(&main), all());
    assert_eq!(undone.lost_if_left().0, all.len() as u64);
    for first in 0..=all.len() {
        let is_crash = first % 2 == 1;
        let path = with(&folder, first, is_crash);
        let anew = open(&path);
        let mut stream = anew.stream(&name()).expect("it is there");
        let lacking = stream.lacking(undone.clone(), PATIENCE);
        assert_eq!(lacking.lost_if_left().0 as usize, all.len() - first, "{first}");
        assert_eq!(lacking.goes_on(), first > 0);
        let mut carrying = lacking.carrying(1);
        assert!(stream.carry(&mut carrying), "there is room");
        assert_eq!(carrying.end().samples_lost, 0);
        drop(stream);
        anew.close().expect("closed");
        assert_eq!(stands(&path), all, "{first}");
        std::fs::remove_file(path).expect("removed");
    }
}

/// Another disk with a volume of its own may be where it was.
#[test]
fn of_what_waited_for_another_volume_all_is_lacking() {
    let folder = tempfile::tempdir().expect("a folder");
    let main = open(&volume(&folder, "memory.ring"));
    let undone = waiting(&main);
    let path = volume(&folder, "other.ring");
    let other = open(&path);
    let mut stream = other.stream(&name()).expect("admitted");
    record(&mut stream, 0);
    stream.begin_run(RunId::random());
    let anchor = Anchor {
        track: VIDEO,
        timescale: 1000,
        ticks: 0,
        wall: BEGIN.plus_ns(HOUR_NS),
        source: ClockSource::Arrival,
        uncertainty_us: 0,
        arrival: BEGIN.plus_ns(HOUR_NS),
        camera_offset_ns: 0,
    };
    stream.anchor(anchor);
    let (track, ticks) = GIVEN[0];
    let data = vec![Bytes::from_static(b"a picture")];
    stream.push(Sample { track, ticks, flags: SampleFlags::SYNC, data }).expect("there is room");
    drop(stream);
    other.close().expect("closed");
    let other = open(&path);
    let stream = other.stream(&name()).expect("it is there");
    let lacking = stream.lacking(undone.clone(), PATIENCE);
    assert_eq!((lacking.lost_if_left(), lacking.goes_on()), (undone.lost_if_left(), false));
}
