//! Repair through the public interface, on a real file.

use bytes::Bytes;
use keha_fs::{
    Anchor, BlockIndex, ClockSource, Configuration, CreateOptions, Error, Item, RepairOptions, RunId, Sample,
    SampleFlags, StreamName, TimeRange, TrackConfiguration, TrackKind, TrackNumber, Volume, WallTime, Writer,
    WriterOptions, create, plan_repair, repair,
};
use std::fs::OpenOptions;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

const VIDEO: TrackNumber = TrackNumber(1);
const BEGIN: WallTime = WallTime(1_700_000_000_000_000_000);
const MIB: u64 = 1 << 20;
const SIZE: u64 = 24 * MIB;

fn volume_in(folder: &tempfile::TempDir) -> PathBuf {
    let path = folder.path().join("a.ring");
    let options = CreateOptions { size_bytes: SIZE, ..CreateOptions::default() };
    create(&path, &options, &mut |_, _| ControlFlow::Continue(())).expect("the volume is created");
    path
}

fn open(path: &Path) -> Writer {
    let options = WriterOptions { flush_interval: Duration::from_millis(20), ..WriterOptions::default() };
    Writer::open(path, options, Box::new(|_| ())).expect("the volume opens for writing")
}

fn name(text: &str) -> StreamName {
    StreamName::new(text).expect("a constant")
}

/// Records some MiB.
fn record(path: &Path, stream: &str) {
    let writer = open(path);
    let mut stream = writer.stream(&name(stream)).expect("the stream");
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
    stream.configure(&Configuration { tracks: vec![track], session: Vec::new() }).expect("a configuration");
    stream.begin_run(RunId::random());
    stream.anchor(Anchor {
        track: VIDEO,
        timescale: 1000,
        ticks: 0,
        wall: BEGIN,
        source: ClockSource::Arrival,
        uncertainty_us: 1000,
        arrival: BEGIN,
        camera_offset_ns: 0,
    });
    for index in 0..60 {
        let flags = if index % 25 == 0 { SampleFlags::SYNC } else { SampleFlags::default() };
        let data = vec![Bytes::from(vec![index as u8; 100_000])];
        stream.push(Sample { track: VIDEO, ticks: index * 40, flags, data }).expect("room");
    }
    drop(stream);
    writer.close().expect("closed");
}

/// All samples of a stream, by ticks and their first byte.
fn samples(path: &Path, stream: &StreamName) -> Vec<(i64, u8)> {
    let volume = Volume::open(path).expect("it opens");
    let id = volume.stream(stream).expect("the stream").id;
    let mut cursor = volume.read(id, TimeRange::default()).expect("footage");
    let mut found = Vec::new();
    while let Some(item) = cursor.next_item().expect("readable") {
        if let Item::Sample(sample) = item {
            found.push((sample.ticks, sample.data[0]));
        }
    }
    found
}

fn overwrite(path: &Path, at: u64, bytes: usize) {
    let file = OpenOptions::new().write(true).open(path).expect("there");
    file.write_all_at(&vec![0x5A; bytes], at).expect("written");
}

#[test]
fn a_volume_that_nothing_is_wrong_with_is_not_written_to() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = volume_in(&folder);
    record(&path, "front");
    let before = std::fs::read(&path).expect("readable");
    let report = repair(&path, &RepairOptions::default(), &mut |_, _| ()).expect("repaired");
    assert!(report.steps.is_empty(), "{:?}", report.steps);
    assert_eq!(std::fs::read(&path).expect("readable"), before);
}

#[test]
fn nobody_repairs_what_is_being_recorded_to() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = volume_in(&folder);
    let writer = open(&path);
    let refused = repair(&path, &RepairOptions::default(), &mut |_, _| ());
    assert!(matches!(refused, Err(Error::Locked { .. })), "{refused:?}");
    plan_repair(&path, &RepairOptions::default(), &mut |_, _| ()).expect("a plan needs no lock");
    writer.close().expect("closed");
}

#[test]
fn a_volume_of_which_only_the_blocks_are_left_is_recorded_on_under_its_old_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = volume_in(&folder);
    record(&path, "front");
    let whole = samples(&path, &name("front"));
    assert_eq!(whole.len(), 60);
    let first = Volume::open(&path).expect("it opens").block_at(BlockIndex(0));
    // Everything before the first block and behind the last, and the superblocks between them.
    overwrite(&path, 0, first as usize);
    let file = std::fs::read(&path).expect("readable");
    let places = (0..file.len()).step_by(512).filter(|at| file[*at..].starts_with(b"KEHA-VOL"));
    places.collect::<Vec<_>>().into_iter().for_each(|at| overwrite(&path, at as u64, 4096));
    for magic in [b"KEHA-DIR", b"KEHA-STR", b"KEHA-RND", b"KEHA-HLD"] {
        let places = (0..file.len()).step_by(512).filter(|at| file[*at..].starts_with(magic));
        places.collect::<Vec<_>>().into_iter().for_each(|at| overwrite(&path, at as u64, 512));
    }
    assert!(Volume::open(&path).is_err());
    let plan = plan_repair(&path, &RepairOptions::default(), &mut |_, _| ()).expect("a plan");
    let [(_, found)] = &plan.nameless[..] else { panic!("{plan:?}") };
    let names = [(found.clone(), name("front"))].into_iter().collect();
    repair(&path, &RepairOptions { names, ..RepairOptions::default() }, &mut |_, _| ()).expect("repaired");
    assert_eq!(samples(&path, &name("front")), whole);
    let volume = Volume::open(&path).expect("it opens");
    let check = volume.check(&mut |_, _| ()).expect("checked");
    assert!(check.findings.is_empty(), "{:?}", check.findings);
    drop(volume);
    record(&path, "front");
    assert_eq!(samples(&path, &name("front")).len(), 120);
}

#[test]
fn names_that_cannot_be_given_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = volume_in(&folder);
    record(&path, "front");
    let with = |old: &str, new: &str| {
        let names = [(name(old), name(new))].into_iter().collect();
        repair(&path, &RepairOptions { names, ..RepairOptions::default() }, &mut |_, _| ())
    };
    assert!(matches!(with("front", "back"), Err(Error::Invalid(_))));
    assert!(matches!(with("recovered-12345678", "back"), Err(Error::NoSuchStream { .. })));
    assert!(matches!(with("recovered-12345678", "front"), Err(Error::Invalid(_))));
}
