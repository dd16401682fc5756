//! The built-in camera into a real volume and back: the whole recorder with nothing replaced.

use keha_fs::{CreateOptions, GapReason, Item, SampleFlags, TimeRange, Volume, Writer, WriterOptions};
use keha_recorder::{Camera, Recorder, StreamState};
use std::ops::ControlFlow;
use std::path::Path;
use std::thread;
use std::time::Duration;

fn open(path: &Path) -> Writer {
    Writer::open(path, WriterOptions::default(), Box::new(|_| {})).unwrap()
}

/// Records until every stream has at least so many samples more. Returns how many each has.
fn record(path: &Path, cameras: &[Camera], at_least: u64) -> Vec<u64> {
    let writer = open(path);
    let recorder = Recorder::start(&writer, cameras).unwrap();
    for _ in 0..6_000 {
        if recorder.status().iter().all(|stream| stream.samples >= at_least) {
            break;
        }
        thread::sleep(Duration::from_millis(10));
    }
    let streams = recorder.stop();
    assert!(streams.iter().all(|stream| stream.state == StreamState::Stopped && stream.dropped_samples == 0));
    writer.close().unwrap();
    streams.into_iter().map(|stream| stream.samples).collect()
}

#[test]
fn what_the_recorder_counted_stands_in_the_volume_and_a_restart_is_a_gap() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("test.ring");
    let options = CreateOptions { size_bytes: 64 << 20, ..CreateOptions::default() };
    keha_fs::create(&path, &options, &mut |_, _| ControlFlow::Continue(())).unwrap();
    let cameras = [
        Camera::new("front", "testsrc://?size=320x180&fps=50&gop=10&audio=1").unwrap(),
        Camera::new("back", "testsrc://?size=640x360&fps=50&gop=25").unwrap(),
    ];
    let first = record(&path, &cameras, 100);
    let second = record(&path, &cameras, 100);

    let volume = Volume::open(&path).unwrap();
    for (index, camera) in cameras.iter().enumerate() {
        let stream = volume.stream(camera.name()).unwrap();
        let mut cursor = volume.read(stream.id, TimeRange::default()).unwrap();
        let (mut samples, mut runs, mut reasons, mut walls) = (0, 0, Vec::new(), Vec::new());
        while let Some(item) = cursor.next_item().unwrap() {
            match item {
                Item::Run(_) => runs += 1,
                Item::Gap(gap) => reasons.push((gap.reason, gap.to.is_some())),
                Item::Sample(sample) => {
                    samples += 1;
                    if sample.track.0 == 1 {
                        walls.push(sample.wall.0);
                        assert!(samples > 1 || sample.flags.contains(SampleFlags::SYNC));
                    }
                }
                Item::Configuration(..) | Item::Anchor(_) => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(samples, first[index] + second[index], "{}", camera.name());
        assert_eq!(runs, 2);
        assert_eq!(reasons.last(), Some(&(GapReason::RecorderDown, true)), "{reasons:?}");
        assert!(walls.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
