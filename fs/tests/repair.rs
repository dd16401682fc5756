//! Repair through the public interface, on a real file.

mod common;

use common::{configured, frame, name, open, volume_in};
use keha_fs::{BlockIndex, Error, Item, RepairOptions, StreamName, TimeRange, Volume, plan_repair, repair};
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Records some MiB.
fn record(path: &Path, stream: &str) {
    let writer = open(path);
    let mut stream = configured(&writer, &name(stream));
    for index in 0..60 {
        stream.push(frame(index)).expect("room");
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
