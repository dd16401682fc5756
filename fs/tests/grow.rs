//! A volume in a file grows: by what it is asked to, or by what its file has become longer.

mod common;

use common::{SIZE, configured, frame, name, open, volume_in};
use keha_fs::{Error, GrowOptions, Item, TimeRange, Volume, grow, plan_grow};
use std::fs::OpenOptions;
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

fn go_on(_done: u64, _all: u64) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn to(size_bytes: u64) -> GrowOptions {
    GrowOptions { size_bytes, ..GrowOptions::default() }
}

/// Records frames from this number on.
fn record(path: &Path, frames: std::ops::Range<i64>) {
    let writer = open(path);
    let mut stream = configured(&writer, &name("yard"));
    frames.for_each(|index| stream.push(frame(index)).expect("taken"));
    drop(stream);
    writer.close().expect("closed");
}

/// The numbers of the frames that are there, all as they were recorded, and nothing damaged.
fn read(path: &Path) -> Vec<i64> {
    read_of(&Volume::open(path).expect("a volume"))
}

fn read_of(volume: &Volume) -> Vec<i64> {
    let stream = volume.stream(&name("yard")).expect("the stream");
    let mut cursor = volume.read(stream.id, TimeRange::default()).expect("footage");
    let mut seen = Vec::new();
    while let Some(item) = cursor.next_item().expect("an item") {
        match item {
            Item::Sample(sample) => {
                let index = sample.ticks / 40;
                assert_eq!(sample.data, frame(index).data.concat(), "frame {index}");
                seen.push(index);
            }
            Item::Damage(finding) => panic!("{finding:?}"),
            _ => {}
        }
    }
    assert_eq!(volume.check(&mut |_, _| ()).expect("a check").findings, []);
    seen
}

#[test]
fn a_look_from_before_it_grew_is_renewed_to_all_that_is_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = volume_in(&folder);
    record(&path, 0..400);
    let mut look = Volume::open(&path).expect("a volume");
    grow(&path, &to(3 * SIZE), &mut go_on).expect("grown");
    record(&path, 400..900);
    look.refresh().expect("another look");
    assert_eq!(look.findings(), []);
    assert_eq!(
        (read_of(&look), look.info().blocks),
        (read(&path), Volume::open(&path).expect("a volume").info().blocks)
    );
}

#[test]
fn a_file_is_made_larger_and_the_volume_takes_it_in() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = volume_in(&folder);
    // More than fits: the ring has gone round.
    record(&path, 0..400);
    let before = read(&path);
    let planned = plan_grow(&path, &to(3 * SIZE)).expect("a plan");
    assert_eq!(std::fs::metadata(&path).expect("there").len(), SIZE, "a plan writes nothing");
    let done = grow(&path, &to(3 * SIZE), &mut go_on).expect("grown");
    assert_eq!(done, planned);
    let found = std::fs::metadata(&path).expect("there");
    assert_eq!((found.len(), found.blocks() * 512 >= 3 * SIZE), (3 * SIZE, true), "its space is set aside");
    let volume = Volume::open(&path).expect("a volume");
    assert_eq!((volume.info().size_bytes, volume.info()), (3 * SIZE, &done.after));
    assert_eq!(read(&path), before);
    // What is recorded now overwrites nothing.
    record(&path, 400..600);
    let after = read(&path);
    assert!(after.starts_with(&before) && after.ends_with(&[598, 599]), "{} frames", after.len());
    record(&path, 600..1400);
    assert!(read(&path).ends_with(&[1399]));
}

#[test]
fn a_file_that_became_longer_is_taken_in_and_once_more_with_zeros() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = volume_in(&folder);
    record(&path, 0..100);
    let before = read(&path);
    let file = OpenOptions::new().write(true).open(&path).expect("there");
    file.set_len(2 * SIZE + 12_345).expect("longer");
    assert_eq!(read(&path), before, "a longer file changes nothing");
    let mut looks = 0;
    let once = grow(&path, &GrowOptions::default(), &mut |done, _| {
        looks += u32::from(done == 0);
        ControlFlow::Continue(())
    });
    let once = once.expect("grown");
    assert_eq!(looks, 1, "how often the new blocks were looked at");
    assert!(once.after.size_bytes <= 2 * SIZE + 12_345 && once.after.blocks > once.before.blocks + 20);
    assert!(
        matches!(grow(&path, &GrowOptions::default(), &mut go_on), Err(Error::Invalid(_))),
        "nothing is left"
    );
    let mut seen = Vec::new();
    let options = GrowOptions { prewrite: true, ..to(3 * SIZE) };
    let twice = grow(&path, &options, &mut |done, all| {
        seen.push((done, all));
        ControlFlow::Continue(())
    });
    let twice = twice.expect("grown again");
    assert!(
        seen.is_sorted() && seen.last().is_some_and(|(done, all)| done == all && *all > SIZE / 2),
        "{seen:?}"
    );
    assert_eq!((twice.before, twice.after.size_bytes), (once.after, 3 * SIZE));
    assert_eq!(read(&path), before);
    record(&path, 100..900);
    assert!(read(&path).ends_with(&[899]));
}

#[test]
fn what_is_being_recorded_into_does_not_grow() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = volume_in(&folder);
    let writer = open(&path);
    let refused = grow(&path, &to(2 * SIZE), &mut go_on);
    assert!(matches!(refused, Err(Error::Locked { .. })), "{refused:?}");
    writer.close().expect("closed");
    assert_eq!(std::fs::metadata(&path).expect("there").len(), SIZE);
}

#[test]
fn sizes_that_do_not_work_out_change_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = volume_in(&folder);
    record(&path, 0..50);
    let bytes = std::fs::read(&path).expect("there");
    for size in [0, 1, SIZE / 2, SIZE, SIZE + 4096, u64::MAX] {
        let refused = grow(&path, &to(size), &mut go_on);
        assert!(matches!(refused, Err(Error::Invalid(_))), "{size}: {refused:?}");
    }
    // More than any disk that this runs on has.
    let refused = grow(&path, &to(1 << 52), &mut go_on);
    assert!(matches!(refused, Err(Error::Io { .. } | Error::Invalid(_))), "{refused:?}");
    assert!(std::fs::read(&path).expect("there") == bytes, "something was written");
}

#[test]
fn what_is_stopped_on_request_is_the_volume_that_it_was() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = volume_in(&folder);
    record(&path, 0..50);
    let before = read(&path);
    for prewrite in [false, true] {
        let options = GrowOptions { prewrite, ..to(2 * SIZE) };
        let stopped = grow(&path, &options, &mut |_, _| ControlFlow::Break(()));
        let interrupted = |source: &io::Error| source.kind() == io::ErrorKind::Interrupted;
        assert!(matches!(&stopped, Err(Error::Io { source, .. }) if interrupted(source)), "{stopped:?}");
        let volume = Volume::open(&path).expect("a volume");
        assert_eq!((volume.info().size_bytes, read(&path)), (SIZE, before.clone()));
    }
    let done = grow(&path, &to(2 * SIZE), &mut go_on).expect("grown");
    assert_eq!((done.after.size_bytes, read(&path)), (2 * SIZE, before));
}

#[test]
fn a_volume_that_was_cut_short_is_not_grown_over_its_loss() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = volume_in(&folder);
    let file = OpenOptions::new().write(true).open(&path).expect("there");
    file.set_len(SIZE / 2).expect("cut");
    for size in [0, 2 * SIZE] {
        let refused = grow(&path, &to(size), &mut go_on);
        assert!(matches!(refused, Err(Error::CutShort { .. })), "{refused:?}");
    }
    assert_eq!(std::fs::metadata(&path).expect("there").len(), SIZE / 2);
}
