//! A copied stretch of a stream is the stretch itself: bytes, times, runs, clocks and gaps, on real files.

use bytes::Bytes;
use keha_fs::{
    Anchor, COPY_DAMAGE_MAX, ClockSource, Configuration, CreateOptions, Error, Gap, GapReason, Item, RunId,
    Sample, SampleFlags, StreamName, TimeRange, TrackConfiguration, TrackKind, TrackNumber, Volume, WallTime,
    Writer, WriterOptions, copy_stream, create, run_digest,
};
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

const VIDEO: TrackNumber = TrackNumber(1);
const SOUND: TrackNumber = TrackNumber(2);
const BEGIN: WallTime = WallTime(1_700_000_000_000_000_000);
const FRAME_NS: i64 = 40_000_000;

fn volume_in(folder: &tempfile::TempDir, file: &str, block_bytes: u32) -> PathBuf {
    let path = folder.path().join(file);
    let options = CreateOptions {
        size_bytes: 96 << 20,
        block_bytes: Some(block_bytes),
        streams_max: Some(4),
        ..CreateOptions::default()
    };
    create(&path, &options, &mut |_, _| ControlFlow::Continue(())).expect("the volume is created");
    path
}

fn open(path: &Path) -> Writer {
    Writer::open(path, WriterOptions::default(), Box::new(|_| ())).expect("the volume opens for writing")
}

fn track(track: TrackNumber, kind: TrackKind, timescale: u32) -> TrackConfiguration {
    TrackConfiguration {
        track,
        kind,
        codec: *b"avc1",
        timescale,
        width: 640,
        height: 360,
        channels: 1,
        sample_rate: 8000,
        private: vec![track.0; 40],
    }
}

fn sample(track: TrackNumber, index: i64, bytes: usize) -> Sample {
    let data: Vec<u8> =
        (0..bytes).map(|at| (index as usize * 131 + at * 7 + usize::from(track.0)) as u8).collect();
    let sync = track == SOUND || index % 25 == 0;
    Sample {
        track,
        ticks: if track == VIDEO { index * 3600 } else { index * 320 },
        flags: if sync { SampleFlags::SYNC } else { SampleFlags::DISCARDABLE },
        data: vec![Bytes::from(data)],
    }
}

/// Ten seconds of pictures and sound in a run, whose clock is corrected after five.
fn record_run(path: &Path, name: &StreamName, begin: WallTime, kept: &mut Vec<RunId>) {
    let writer = open(path);
    let mut stream = writer.stream(name).unwrap();
    let tracks = vec![track(VIDEO, TrackKind::Video, 90_000), track(SOUND, TrackKind::Audio, 8_000)];
    stream
        .configure(&Configuration { tracks, session: vec![("certificate".to_owned(), vec![1, 2, 3])] })
        .unwrap();
    kept.push(RunId::random());
    stream.begin_run(kept[kept.len() - 1]);
    let anchor = |track, timescale, late: i64| Anchor {
        track,
        timescale,
        ticks: 0,
        wall: begin.plus_ns(late),
        source: if late == 0 { ClockSource::Arrival } else { ClockSource::SenderReport },
        uncertainty_us: 1000,
        arrival: begin,
        camera_offset_ns: late,
    };
    for index in 0..250 {
        if index % 125 == 0 {
            let late = if index == 0 { 0 } else { 3_000_000 };
            stream.anchor(anchor(VIDEO, 90_000, late));
            stream.anchor(anchor(SOUND, 8_000, late));
        }
        // One picture in fifty is larger than a chunk of either volume.
        let bytes = if index % 50 == 25 { 700_000 } else { 6_000 + (index as usize * 37) % 9_000 };
        for pushed in [sample(VIDEO, index, bytes), sample(SOUND, index, 160)] {
            while stream.push(pushed.clone()).is_err() {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
        }
    }
    stream.gap(&Gap {
        reason: GapReason::ConnectionLost,
        from: begin.plus_ns(250 * FRAME_NS),
        to: None,
        samples_lost: 3,
        bytes_lost: 4,
        detail: "reset by peer".to_owned(),
    });
    drop(stream);
    writer.close().unwrap();
}

fn items(path: &Path, name: &StreamName, range: TimeRange) -> Vec<Item> {
    let volume = Volume::open(path).unwrap();
    let stream = volume.stream(name).unwrap();
    let mut cursor = volume.read(stream.id, range).unwrap();
    let mut items = Vec::new();
    while let Some(item) = cursor.next_item().unwrap() {
        // Which chunk a sample stands in is the volume's own affair.
        items.push(match item {
            Item::Sample(sample) => {
                Item::Sample(keha_fs::StoredSample { chunk: Default::default(), ..sample })
            }
            other => other,
        });
    }
    items
}

fn copy(from: &Path, into: &Path, names: [&StreamName; 2], range: TimeRange) -> keha_fs::CopyReport {
    let source = Volume::open(from).unwrap();
    let stream = source.stream(names[0]).unwrap().id;
    let writer = open(into);
    let mut stream_writer = writer.stream(names[1]).unwrap();
    let copied =
        copy_stream(&source, stream, range, &mut stream_writer, &mut |_| ControlFlow::Continue(())).unwrap();
    let id = stream_writer.id();
    drop(stream_writer);
    writer.close().unwrap();
    let there = Volume::open(into).unwrap();
    assert_eq!(run_digest(&there, id, &copied.runs).unwrap(), (copied.samples, copied.digest));
    assert_eq!(there.check(&mut |_, _| ()).unwrap().findings, []);
    copied
}

#[test]
fn a_copy_is_the_stretch_itself_whatever_the_blocks_are() {
    let folder = tempfile::tempdir().unwrap();
    let (front, taken) = (StreamName::new("front").unwrap(), StreamName::new("case-17").unwrap());
    let from = volume_in(&folder, "from.ring", 4 << 20);
    let mut runs = Vec::new();
    record_run(&from, &front, BEGIN, &mut runs);
    record_run(&from, &front, BEGIN.plus_ns(60_000_000_000), &mut runs);
    let second = |seconds: i64| Some(BEGIN.plus_ns(seconds * 1_000_000_000 + 7));
    let ranges = [
        TimeRange::default(),
        TimeRange { from: second(3), to: second(64) },
        TimeRange { from: second(62), to: None },
    ];
    for (index, range) in ranges.into_iter().enumerate() {
        let into = volume_in(&folder, &format!("into-{index}.ring"), 1 << 20);
        let copied = copy(&from, &into, [&front, &taken], range);
        assert_eq!(items(&into, &taken, TimeRange::default()), items(&from, &front, range), "{range:?}");
        assert!(copied.damage.is_empty() && copied.samples > 100, "{copied:?}");
        assert!(copied.runs.iter().all(|run| runs.contains(run)));
    }
}

#[test]
fn what_is_damaged_in_the_source_is_a_gap_in_the_copy() {
    let folder = tempfile::tempdir().unwrap();
    let front = StreamName::new("front").unwrap();
    let (from, into) = (volume_in(&folder, "from.ring", 1 << 20), volume_in(&folder, "into.ring", 1 << 20));
    record_run(&from, &front, BEGIN, &mut Vec::new());
    let at = {
        let volume = Volume::open(&from).unwrap();
        let sealed = volume.blocks().into_iter().find(|block| block.samples > 10).unwrap();
        volume.block_at(sealed.block) + u64::from(sealed.used_bytes) / 2
    };
    let file = std::fs::OpenOptions::new().read(true).write(true).open(&from).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[!byte[0]], at).unwrap();
    let copied = copy(&from, &into, [&front, &front], TimeRange::default());
    assert_eq!((copied.samples, copied.damage.len()), (499, 1));
    let gaps = items(&into, &front, TimeRange::default());
    let damaged =
        gaps.iter().filter(|item| matches!(item, Item::Gap(gap) if gap.reason == GapReason::Damaged));
    assert_eq!(damaged.count(), 1);
}

#[test]
fn a_copy_can_be_ended_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let front = StreamName::new("front").unwrap();
    let (from, into) = (volume_in(&folder, "from.ring", 1 << 20), volume_in(&folder, "into.ring", 1 << 20));
    record_run(&from, &front, BEGIN, &mut Vec::new());
    let source = Volume::open(&from).unwrap();
    let writer = open(&into);
    let mut stream = writer.stream(&front).unwrap();
    let id = source.stream(&front).unwrap().id;
    let mut end = |done| if done > 100_000 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
    let ended = copy_stream(&source, id, TimeRange::default(), &mut stream, &mut end);
    assert!(matches!(ended, Err(Error::Invalid(why)) if why.contains("ended")));
    drop(stream);
    writer.close().unwrap();
    assert_eq!(Volume::open(&into).unwrap().check(&mut |_, _| ()).unwrap().findings, []);
}

#[test]
fn damage_side_by_side_is_one_gap_in_the_copy() {
    let folder = tempfile::tempdir().unwrap();
    let front = StreamName::new("front").unwrap();
    let (from, into) = (volume_in(&folder, "from.ring", 1 << 20), volume_in(&folder, "into.ring", 1 << 20));
    record_run(&from, &front, BEGIN, &mut Vec::new());
    let recorded = items(&from, &front, TimeRange::default());
    let samples: Vec<_> = recorded
        .iter()
        .filter_map(|item| if let Item::Sample(sample) = item { Some(sample) } else { None })
        .collect();
    let mut bytes = std::fs::read(&from).unwrap();
    // Samples lie side by side in the order of recording.
    let mut at = 0;
    for (index, sample) in samples.iter().enumerate().take(4) {
        at += bytes[at..].windows(sample.data.len()).position(|window| window == sample.data).unwrap();
        bytes[at] ^= u8::from(index > 0);
        at += sample.data.len();
    }
    std::fs::write(&from, bytes).unwrap();
    let copied = copy(&from, &into, [&front, &front], TimeRange::default());
    assert_eq!(copied.damage.len(), 3);
    let there = items(&into, &front, TimeRange::default());
    let gaps: Vec<_> = there
        .iter()
        .filter_map(|item| match item {
            Item::Gap(gap) if gap.reason == GapReason::Damaged => Some(gap),
            _ => None,
        })
        .collect();
    let [gap] = gaps[..] else { panic!("{gaps:?}") };
    assert_eq!((gap.reason, gap.samples_lost), (GapReason::Damaged, 3));
    assert!(gap.from > samples[0].wall && gap.to == Some(samples[4].wall), "{gap:?}");
}

#[test]
fn however_much_is_damaged_all_of_it_is_counted_and_only_so_much_of_it_named() {
    const SAMPLES: usize = COPY_DAMAGE_MAX + 300;
    let folder = tempfile::tempdir().unwrap();
    let front = StreamName::new("front").unwrap();
    let (from, into) = (volume_in(&folder, "from.ring", 1 << 20), volume_in(&folder, "into.ring", 1 << 20));
    let data = |index: usize| (index as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
    let writer = open(&from);
    let mut stream = writer.stream(&front).unwrap();
    let tracks = vec![track(SOUND, TrackKind::Audio, 8_000)];
    stream.configure(&Configuration { tracks, session: Vec::new() }).unwrap();
    stream.begin_run(RunId::random());
    stream.anchor(Anchor {
        track: SOUND,
        timescale: 8_000,
        ticks: 0,
        wall: BEGIN,
        source: ClockSource::Arrival,
        uncertainty_us: 1000,
        arrival: BEGIN,
        camera_offset_ns: 0,
    });
    for index in 0..SAMPLES {
        let sample = Sample { data: vec![data(index).to_vec().into()], ..sample(SOUND, index as i64, 1) };
        stream.push(sample).unwrap();
    }
    drop(stream);
    writer.close().unwrap();
    let mut bytes = std::fs::read(&from).unwrap();
    let mut at = 0;
    // All but the last, which ends the gap.
    for index in 0..SAMPLES - 1 {
        at += bytes[at..].windows(8).position(|window| window == data(index)).unwrap();
        bytes[at] ^= 1;
    }
    std::fs::write(&from, bytes).unwrap();
    let copied = copy(&from, &into, [&front, &front], TimeRange::default());
    assert_eq!(
        (copied.samples, copied.damaged, copied.damage.len()),
        (1, SAMPLES as u64 - 1, COPY_DAMAGE_MAX)
    );
    let gaps = items(&into, &front, TimeRange::default());
    let lost = gaps.iter().filter_map(|item| match item {
        Item::Gap(gap) if gap.reason == GapReason::Damaged => Some(gap.samples_lost),
        _ => None,
    });
    assert_eq!(lost.sum::<u64>(), SAMPLES as u64 - 1);
}

#[test]
fn of_a_run_whose_first_keyframe_is_damaged_all_that_can_be_decoded_is_copied() {
    let folder = tempfile::tempdir().unwrap();
    let front = StreamName::new("front").unwrap();
    let (from, into) = (volume_in(&folder, "from.ring", 1 << 20), volume_in(&folder, "into.ring", 1 << 20));
    record_run(&from, &front, BEGIN, &mut Vec::new());
    let recorded = items(&from, &front, TimeRange::default());
    let first = recorded.iter().find_map(|item| match item {
        Item::Sample(sample) if sample.track == VIDEO => Some(sample.data.clone()),
        _ => None,
    });
    let first = first.unwrap();
    let mut bytes = std::fs::read(&from).unwrap();
    let at = bytes.windows(first.len()).position(|window| window == first).unwrap();
    bytes[at] ^= 1;
    std::fs::write(&from, bytes).unwrap();
    let copied = copy(&from, &into, [&front, &front], TimeRange::default());
    let there = items(&into, &front, TimeRange::default());
    let pictures = there.iter().filter(|item| matches!(item, Item::Sample(sample) if sample.track == VIDEO));
    assert_eq!((copied.damage.len(), pictures.count()), (1, 225));
    let gaps: Vec<_> = there
        .iter()
        .filter_map(|item| match item {
            Item::Gap(gap) if gap.reason == GapReason::Damaged => Some(gap),
            _ => None,
        })
        .collect();
    assert_eq!(gaps.iter().map(|gap| gap.samples_lost).sum::<u64>(), 25, "{gaps:?}");
}
