//! A volume on a partition is made, recorded into and read as one in a file is.

use crate::common::{configured, frame, name, open};
use crate::disk::{Disk, named, run};
use keha_fs::{CreateOptions, Item, TimeRange, Volume, create};
use std::ops::ControlFlow;
use std::path::Path;

pub(crate) const FRAMES: i64 = 60;

pub(crate) fn record(path: &Path) {
    let writer = open(path);
    let mut stream = configured(&writer, &name("yard"));
    for index in 0..FRAMES {
        stream.push(frame(index)).expect("taken");
    }
    drop(stream);
    writer.close().expect("closed");
}

/// How many samples there are, all as they were recorded, and nothing damaged.
pub(crate) fn read(path: &Path) -> i64 {
    let volume = Volume::open(path).expect("a volume");
    let stream = volume.stream(&name("yard")).expect("the stream");
    let mut cursor = volume.read(stream.id, TimeRange::default()).expect("footage");
    let mut seen = 0;
    while let Some(item) = cursor.next_item().expect("an item") {
        match item {
            Item::Sample(sample) => {
                assert_eq!(sample.data, frame(seen % FRAMES).data.concat(), "sample {seen}");
                seen += 1;
            }
            Item::Damage(finding) => panic!("{finding:?}"),
            _ => {}
        }
    }
    assert_eq!(volume.check(&mut |_, _| ()).expect("a check").findings, []);
    seen
}

#[test]
fn what_is_recorded_on_a_partition_is_read_back_on_sectors_of_either_size() {
    for (sector_bytes, prewrite) in [(512, true), (4096, false)] {
        let Some((mut disk, id)) = Disk::with_partition(sector_bytes, 64) else { return };
        let options = CreateOptions { prewrite, ..CreateOptions::default() };
        create(&named(id), &options, &mut |_, _| ControlFlow::Continue(())).expect("created");
        record(&named(id));
        assert_eq!(read(&named(id)), FRAMES);
        assert_eq!(read(&disk.part(1)), FRAMES);
        // Wherever it is plugged in.
        disk.detach();
        let Some(_other) = Disk::new(512, 32) else { return };
        assert!(disk.attach());
        run("partx", &["-a", &disk.node()]);
        assert_eq!(read(&named(id)), FRAMES);
        record(&named(id));
        assert_eq!(read(&named(id)), 2 * FRAMES);
    }
}
