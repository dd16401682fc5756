//! A volume is the same whatever does its I/O: recorded by one engine, gone on with by the other, read as one.

mod common;

use common::{configured, frame, name, open, volume_in};
use keha_fs::disk::{EngineKind, IoEngine};
use keha_fs::{Item, TimeRange, Volume, Writer, WriterOptions};
use std::time::Duration;

/// Frames of each recording.
const FRAMES: i64 = 30;

fn record(writer: Writer, stream: &str) {
    let mut stream = configured(&writer, &name(stream));
    for index in 0..FRAMES {
        while stream.push(frame(index)).is_err() {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    drop(stream);
    drop(writer);
}

#[test]
fn what_one_engine_has_recorded_another_goes_on_with() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = volume_in(&folder);
    let mut recorded = vec!["any"];
    record(open(&path), "any");
    for (stream, engine, kind) in
        [("threads", IoEngine::Threads, EngineKind::Threads), ("uring", IoEngine::Uring, EngineKind::Uring)]
    {
        let options =
            WriterOptions { engine, flush_interval: Duration::from_millis(20), ..WriterOptions::default() };
        match Writer::open(&path, options, Box::new(|_| ())) {
            Ok(writer) => {
                assert_eq!(writer.engine(), kind);
                record(writer, stream);
                recorded.push(stream);
            }
            Err(error) if engine == IoEngine::Uring => eprintln!("not tried: {error}"),
            Err(error) => panic!("{error}"),
        }
    }
    let volume = Volume::open(&path).expect("it opens");
    for stream in recorded {
        let id = volume.stream(&name(stream)).expect("the stream").id;
        let mut cursor = volume.read(id, TimeRange::default()).expect("footage");
        let mut index = 0;
        while let Some(item) = cursor.next_item().expect("an item") {
            match item {
                Item::Sample(sample) => {
                    assert_eq!(sample.data, frame(index).data.concat(), "{stream}: frame {index}");
                    index += 1;
                }
                Item::Damage(finding) => panic!("{stream}: {finding:?}"),
                _ => {}
            }
        }
        assert_eq!(index, FRAMES, "{stream}");
    }
    assert_eq!(volume.check(&mut |_, _| ()).expect("a check").findings, []);
}
