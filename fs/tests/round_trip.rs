//! What is written through the public interface is what is read back, on a real file.

use bytes::Bytes;
use keha_fs::{
    Anchor, ClockSource, Configuration, CreateOptions, Gap, GapReason, Item, RunId, Sample, SampleFlags,
    StoredSample, StreamName, StreamWriter, TimeRange, TrackConfiguration, TrackKind, TrackNumber, Volume,
    WallTime, Writer, WriterOptions, create,
};
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

const VIDEO: TrackNumber = TrackNumber(1);
/// How long anything is waited for.
const PATIENCE: Duration = Duration::from_secs(20);
const BEGIN: WallTime = WallTime(1_700_000_000_000_000_000);

fn volume_in(folder: &tempfile::TempDir, size_bytes: u64) -> PathBuf {
    let path = folder.path().join("a.ring");
    let options = CreateOptions { size_bytes, ..CreateOptions::default() };
    create(&path, &options, &mut |_, _| ControlFlow::Continue(())).expect("the volume is created");
    path
}

fn open(path: &Path) -> Writer {
    let options = WriterOptions { flush_interval: Duration::from_millis(50), ..WriterOptions::default() };
    Writer::open(path, options, Box::new(|_| ())).expect("the volume opens for writing")
}

fn configuration(private: &[u8]) -> Configuration {
    let track = TrackConfiguration {
        track: VIDEO,
        kind: TrackKind::Video,
        codec: *b"avc1",
        timescale: 90_000,
        width: 640,
        height: 360,
        channels: 0,
        sample_rate: 0,
        private: private.to_vec(),
    };
    Configuration { tracks: vec![track], session: Vec::new() }
}

fn anchor(wall: WallTime) -> Anchor {
    Anchor {
        track: VIDEO,
        timescale: 90_000,
        ticks: 0,
        wall,
        source: ClockSource::Arrival,
        uncertainty_us: 1000,
        arrival: wall,
        camera_offset_ns: 0,
    }
}

/// The `index`-th frame of a camera with 25 frames a second and a keyframe each second.
fn frame(index: i64, bytes: usize) -> Sample {
    let seed = (index as usize).wrapping_mul(2_654_435_761);
    let data: Vec<u8> = (0..bytes).map(|at| (seed.wrapping_add(at.wrapping_mul(31)) >> 3) as u8).collect();
    let flags = if index % 25 == 0 { SampleFlags::SYNC } else { SampleFlags::default() };
    let (head, tail) = data.split_at(bytes / 3);
    let data = vec![Bytes::copy_from_slice(head), Bytes::copy_from_slice(tail)];
    Sample { track: VIDEO, ticks: index * 3600, flags, data }
}

fn begin(stream: &mut StreamWriter, wall: WallTime) {
    stream.configure(&configuration(b"avcC")).expect("a configuration");
    stream.begin_run(RunId::random());
    stream.anchor(anchor(wall));
}

/// Pushes, waiting where the queue is full.
fn push(stream: &mut StreamWriter, sample: Sample) {
    for _ in 0..2000 {
        match stream.push(sample.clone()) {
            Ok(()) => return,
            Err(keha_fs::Rejected::Full) => std::thread::sleep(Duration::from_millis(5)),
            Err(error) => panic!("{error}"),
        }
    }
    panic!("the queue never emptied");
}

fn samples(volume: &Volume, name: &StreamName, range: TimeRange) -> Vec<StoredSample> {
    let stream = volume.stream(name).expect("the stream");
    let mut cursor = volume.read(stream.id, range).expect("footage");
    let mut samples = Vec::new();
    while let Some(item) = cursor.next_item().expect("an item") {
        match item {
            Item::Sample(sample) => samples.push(sample),
            Item::Damage(finding) => panic!("{finding:?}"),
            _ => {}
        }
    }
    samples
}

fn assert_clean(volume: &Volume) {
    let report = volume.check(&mut |_, _| ()).expect("a check");
    assert_eq!(report.findings, [], "a check of an undamaged volume finds nothing");
}

fn assert_frames(samples: &[StoredSample], first: i64, bytes: impl Fn(i64) -> usize) {
    for (index, sample) in (first..).zip(samples) {
        let expected = frame(index, bytes(index));
        assert_eq!(sample.ticks, expected.ticks, "frame {index}");
        assert_eq!(sample.data, expected.data.concat(), "frame {index}");
        assert_eq!(sample.wall, BEGIN.plus_ns(index * 40_000_000), "frame {index}");
    }
}

#[test]
fn what_was_written_is_read_back_after_closing() {
    let folder = tempfile::tempdir().unwrap();
    let path = volume_in(&folder, 64 << 20);
    let name = StreamName::new("front").unwrap();
    let writer = open(&path);
    let mut stream = writer.stream(&name).unwrap();
    begin(&mut stream, BEGIN);
    for index in 0..500 {
        push(&mut stream, frame(index, 20_000));
    }
    drop(stream);
    writer.close().unwrap();

    let volume = Volume::open(&path).unwrap();
    let read = samples(&volume, &name, TimeRange::default());
    assert_eq!(read.len(), 500);
    assert_frames(&read, 0, |_| 20_000);
    assert_clean(&volume);
}

#[test]
fn an_anchor_holds_from_the_next_sample_on_also_within_a_chunk() {
    let folder = tempfile::tempdir().unwrap();
    let path = volume_in(&folder, 64 << 20);
    let name = StreamName::new("front").unwrap();
    let writer = open(&path);
    let mut stream = writer.stream(&name).unwrap();
    begin(&mut stream, BEGIN);
    for index in 0..100 {
        if index % 7 == 3 {
            stream.anchor(anchor(BEGIN.plus_ns(index)));
        }
        push(&mut stream, frame(index, 500));
    }
    drop(stream);
    writer.close().unwrap();

    let volume = Volume::open(&path).unwrap();
    let id = volume.stream(&name).unwrap().id;
    let mut cursor = volume.read(id, TimeRange::default()).unwrap();
    let (mut in_force, mut index, mut chunks) = (None, 0, BTreeSet::new());
    while let Some(item) = cursor.next_item().unwrap() {
        match item {
            Item::Anchor(anchor) => in_force = Some(anchor),
            Item::Sample(sample) => {
                let since = if index < 3 { 0 } else { index - (index - 3) % 7 };
                assert_eq!(in_force, Some(anchor(BEGIN.plus_ns(since))), "frame {index}");
                assert_eq!(sample.wall, BEGIN.plus_ns(since + index * 40_000_000), "frame {index}");
                chunks.insert(sample.chunk);
                index += 1;
            }
            _ => {}
        }
    }
    assert_eq!(index, 100);
    assert!(chunks.len() < 20, "several anchors in one chunk is what this is about: {}", chunks.len());
    assert_clean(&volume);
}

#[test]
fn a_new_volume_is_clean_and_empty() {
    let folder = tempfile::tempdir().unwrap();
    let path = volume_in(&folder, 16 << 20);
    let volume = Volume::open(&path).unwrap();
    assert_clean(&volume);
    assert_eq!(volume.streams(), []);
    let writer = open(&path);
    assert!(!writer.opened().after_crash && writer.opened().findings.is_empty());
    writer.close().unwrap();
}

#[test]
fn a_range_begins_at_the_keyframe_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = volume_in(&folder, 64 << 20);
    let name = StreamName::new("front").unwrap();
    let writer = open(&path);
    let mut stream = writer.stream(&name).unwrap();
    begin(&mut stream, BEGIN);
    for index in 0..250 {
        push(&mut stream, frame(index, 30_000));
    }
    drop(stream);
    writer.close().unwrap();

    let volume = Volume::open(&path).unwrap();
    let range =
        TimeRange { from: Some(BEGIN.plus_ns(2_990_000_000)), to: Some(BEGIN.plus_ns(5_000_000_000)) };
    let read = samples(&volume, &name, range);
    assert_eq!(read.len(), 75);
    assert_frames(&read, 50, |_| 30_000);
}

#[test]
fn sound_that_began_before_the_first_picture_of_a_run_is_read_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = volume_in(&folder, 16 << 20);
    let name = StreamName::new("front").unwrap();
    let writer = open(&path);
    let mut stream = writer.stream(&name).unwrap();
    let mut both = configuration(b"avcC");
    let (sound, timescale) = (TrackNumber(2), 8_000);
    both.tracks.push(TrackConfiguration {
        track: sound,
        kind: TrackKind::Audio,
        codec: *b"ulaw",
        timescale,
        channels: 1,
        sample_rate: timescale,
        width: 0,
        height: 0,
        private: Vec::new(),
    });
    stream.configure(&both).unwrap();
    stream.begin_run(RunId::random());
    stream.anchor(anchor(BEGIN));
    stream.anchor(Anchor { track: sound, timescale, ..anchor(BEGIN) });
    for index in 0..5 {
        let data = vec![Bytes::from(vec![index as u8; 160])];
        push(&mut stream, Sample { track: sound, ticks: index * 160, flags: SampleFlags::SYNC, data });
    }
    // Pictures that cannot be shown before the first keyframe.
    (1..3).chain(25..27).for_each(|index| push(&mut stream, frame(index, 1_000)));
    drop(stream);
    writer.close().unwrap();
    let volume = Volume::open(&path).unwrap();
    let read = |from| {
        let range = TimeRange { from, to: None };
        samples(&volume, &name, range).iter().map(|sample| (sample.track.0, sample.ticks)).collect::<Vec<_>>()
    };
    let pictures = [(1, 25 * 3600), (1, 26 * 3600)];
    assert_eq!(read(None), [[(2, 0), (2, 160), (2, 320), (2, 480), (2, 640)].as_slice(), &pictures].concat());
    assert_eq!(read(Some(BEGIN.plus_ns(50_000_000))), [[(2, 480), (2, 640)].as_slice(), &pictures].concat());
    assert_eq!(read(Some(BEGIN.plus_ns(2_000_000_000 - 960_000_000))), pictures);
}

#[test]
fn a_sample_larger_than_a_chunk_and_than_a_block_comes_back_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = volume_in(&folder, 64 << 20);
    let name = StreamName::new("front").unwrap();
    let sizes = |index: i64| [3_000_000, 100, 900_000, 1, 250_000][index as usize % 5];
    let writer = open(&path);
    let mut stream = writer.stream(&name).unwrap();
    begin(&mut stream, BEGIN);
    for index in 0..20 {
        push(&mut stream, frame(index, sizes(index)));
    }
    drop(stream);
    writer.close().unwrap();

    let volume = Volume::open(&path).unwrap();
    let read = samples(&volume, &name, TimeRange::default());
    assert_eq!(read.len(), 20);
    assert_frames(&read, 0, sizes);
    assert_clean(&volume);
}

#[test]
fn the_ring_keeps_the_newest_footage_of_every_stream_over_many_laps() {
    let folder = tempfile::tempdir().unwrap();
    let path = volume_in(&folder, 16 << 20);
    let names = ["fast", "slow"].map(|name| StreamName::new(name).unwrap());
    let writer = open(&path);
    let mut streams: Vec<StreamWriter> = names.iter().map(|name| writer.stream(name).unwrap()).collect();
    streams.iter_mut().for_each(|stream| begin(stream, BEGIN));
    let frames = 2_500;
    for index in 0..frames {
        push(&mut streams[0], frame(index, 60_000));
        push(&mut streams[1], frame(index, 1_000));
    }
    drop(streams);
    writer.close().unwrap();

    let volume = Volume::open(&path).unwrap();
    for (name, bytes) in names.iter().zip([60_000, 1_000]) {
        let read = samples(&volume, name, TimeRange::default());
        let first = read[0].ticks / 3600;
        assert_eq!(first + read.len() as i64, frames, "{name}: the newest footage, without a hole");
        assert_frames(&read, first, |_| bytes);
        assert!(first % 25 == 0 && read.len() > 40, "{name} has {}", read.len());
    }
    assert_clean(&volume);
}

#[test]
fn recording_goes_on_in_the_parked_block_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let path = volume_in(&folder, 16 << 20);
    let name = StreamName::new("door").unwrap();
    for lap in 0..30 {
        let writer = open(&path);
        let mut stream = writer.stream(&name).unwrap();
        begin(&mut stream, BEGIN.plus_ns(lap * 1_000_000_000));
        for index in 0..25 {
            push(&mut stream, frame(index, 500));
        }
        let (from, to) = (BEGIN.plus_ns(lap * 1_000_000_000 + 960_000_000), None);
        stream.gap(&Gap {
            reason: GapReason::Stopped,
            from,
            to,
            samples_lost: 0,
            bytes_lost: 0,
            detail: String::new(),
        });
        drop(stream);
        writer.close().unwrap();
    }
    let volume = Volume::open(&path).unwrap();
    let stream = volume.stream(&name).unwrap();
    assert_eq!((stream.samples, stream.blocks), (30 * 25, 1));
    assert_eq!(volume.spans(stream.id, TimeRange::default()).unwrap().len(), 30);
    assert_eq!(samples(&volume, &name, TimeRange::default()).len(), 30 * 25);
    assert_clean(&volume);
}

#[test]
fn a_reader_beside_a_live_writer_sees_what_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = volume_in(&folder, 16 << 20);
    let name = StreamName::new("front").unwrap();
    let (reports, rounds) = std::sync::mpsc::channel();
    let options = WriterOptions { flush_interval: Duration::from_millis(20), ..WriterOptions::default() };
    let on_round = Box::new(move |report| drop(reports.send(report)));
    let writer = Writer::open(&path, options, on_round).unwrap();
    let mut stream = writer.stream(&name).unwrap();
    begin(&mut stream, BEGIN);
    for index in 0..300 {
        push(&mut stream, frame(index, 20_000));
        if index % 50 != 49 {
            continue;
        }
        let wanted = index as u64 + 1;
        let durable = |report: &keha_fs::RoundReport| {
            report.streams[0].tracks.iter().any(|track| track.samples == wanted)
        };
        let told = (0..500)
            .any(|_| rounds.recv_timeout(Duration::from_secs(10)).is_ok_and(|report| durable(&report)));
        assert!(told, "frame {index} becomes durable");
        let volume = Volume::open(&path).unwrap();
        let read = samples(&volume, &name, TimeRange::default());
        let first = read[0].ticks / 3600;
        assert_eq!(first + read.len() as i64, index + 1);
        assert_frames(&read, first, |_| 20_000);
    }
    drop(stream);
    writer.close().unwrap();
}

#[test]
fn disk_and_tail_join_without_a_seam() {
    let folder = tempfile::tempdir().unwrap();
    let path = volume_in(&folder, 16 << 20);
    let name = StreamName::new("front").unwrap();
    let writer = open(&path);
    let mut stream = writer.stream(&name).unwrap();
    begin(&mut stream, BEGIN);
    let frames = 400;
    let mut tail = stream.tail();
    let follower = std::thread::spawn({
        let (path, name) = (path.clone(), name.clone());
        move || follow(&path, &name, &mut tail, frames)
    });
    for index in 0..frames {
        push(&mut stream, frame(index, 2_000));
        if index % 10 == 0 {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    drop(stream);
    let seen = follower.join().unwrap();
    assert_eq!(seen, (0..frames).collect::<Vec<_>>());
    writer.close().unwrap();
}

#[test]
fn a_tail_is_had_by_name_and_outlives_the_writer_of_its_stream() {
    let folder = tempfile::tempdir().unwrap();
    let path = volume_in(&folder, 16 << 20);
    let name = StreamName::new("front").unwrap();
    let writer = open(&path);
    let holder = writer.holder();
    assert!(holder.tail(&name).is_none());
    let mut stream = writer.stream(&name).unwrap();
    let mut tail = holder.tail(&name).expect("it is being recorded");
    let mut ticks = |wait| match tail.follow(None, wait) {
        keha_fs::TailRead::Items(items) => Some(items.into_iter().find_map(|item| match item {
            keha_fs::TailItem::Sample(sample) => Some(sample.ticks),
            _ => None,
        })),
        _ => None,
    };
    begin(&mut stream, BEGIN);
    push(&mut stream, frame(0, 1_000));
    assert_eq!(ticks(PATIENCE), Some(Some(0)));
    drop(stream);
    assert_eq!(ticks(PATIENCE), None, "it ended");
    let mut stream = writer.stream(&name).unwrap();
    begin(&mut stream, BEGIN);
    push(&mut stream, frame(1, 1_000));
    assert_eq!(ticks(PATIENCE), Some(Some(3600)));
    drop(stream);
    writer.close().unwrap();
}

/// Reads from the disk to its end, then goes on in memory, until all frames were seen or the stream has ended.
fn follow(path: &Path, name: &StreamName, tail: &mut keha_fs::Tail, frames: i64) -> Vec<i64> {
    let mut seen = Vec::new();
    let mut place = None;
    std::thread::sleep(Duration::from_millis(200));
    for _ in 0..200 {
        for sample in samples(&Volume::open(path).unwrap(), name, TimeRange::default()) {
            let index = sample.ticks / 3600;
            if seen.last().is_none_or(|last| index > *last) {
                seen.push(index);
                place = Some((sample.run, sample.track, sample.ticks));
            }
        }
        loop {
            match tail.follow(place, Duration::from_millis(100)) {
                keha_fs::TailRead::Items(items) => {
                    for item in items {
                        if let keha_fs::TailItem::Sample(sample) = item {
                            assert_eq!(sample.data, frame(sample.ticks / 3600, 2_000).data.concat());
                            seen.push(sample.ticks / 3600);
                        }
                    }
                    if seen.len() as i64 >= frames {
                        return seen;
                    }
                }
                keha_fs::TailRead::Behind => break,
                keha_fs::TailRead::Ended => return seen,
            }
        }
    }
    seen
}

#[test]
fn a_sample_belongs_to_the_run_begun_last_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = volume_in(&folder, 16 << 20);
    let name = StreamName::new("front").unwrap();
    let writer = open(&path);
    let mut stream = writer.stream(&name).unwrap();
    for _ in 0..1000 {
        begin(&mut stream, BEGIN);
    }
    push(&mut stream, frame(0, 1_000));
    drop(stream);
    writer.close().unwrap();
    let volume = Volume::open(&path).unwrap();
    let stream = volume.stream(&name).unwrap();
    assert_eq!(volume.spans(stream.id, TimeRange::default()).unwrap().len(), 1);
    assert_frames(&samples(&volume, &name, TimeRange::default()), 0, |_| 1_000);
}

/// A stream that finds no block granted must not wait for the next regular round: what it holds is protected by nothing.
#[test]
fn a_stream_without_a_block_gets_one_before_the_next_regular_round() {
    let folder = tempfile::tempdir().unwrap();
    let path = volume_in(&folder, 64 << 20);
    let name = StreamName::new("front").unwrap();
    let (reports, rounds) = std::sync::mpsc::channel();
    let interval = Duration::from_secs(600);
    let options = WriterOptions { flush_interval: interval, ..WriterOptions::default() };
    let on_round = Box::new(move |report| drop(reports.send(report)));
    let writer = Writer::open(&path, options, on_round).unwrap();
    let mut stream = writer.stream(&name).unwrap();
    begin(&mut stream, BEGIN);
    // More than the blocks that are granted at the start can hold, and enough to wake the writer.
    for index in 0..200 {
        push(&mut stream, frame(index, 60_000));
    }
    let fits = |report: keha_fs::RoundReport| report.blocks_taken > 3;
    let taken = (0..100).any(|_| rounds.recv_timeout(Duration::from_secs(20)).is_ok_and(fits));
    assert!(taken, "blocks are granted long before the regular round");
    drop(stream);
    writer.close().unwrap();
}
