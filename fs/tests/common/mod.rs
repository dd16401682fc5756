//! What the tests of the public interface share: a volume in a file, and a camera whose frames are a byte each, repeated.

use bytes::Bytes;
use keha_fs::{
    Anchor, ClockSource, Configuration, CreateOptions, RunId, Sample, SampleFlags, StreamName, StreamWriter,
    TrackConfiguration, TrackKind, TrackNumber, WallTime, Writer, WriterOptions, create,
};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(crate) const VIDEO: TrackNumber = TrackNumber(1);
pub(crate) const BEGIN: WallTime = WallTime(1_700_000_000_000_000_000);
pub(crate) const SIZE: u64 = 24 << 20;

pub(crate) fn volume_in(folder: &tempfile::TempDir) -> PathBuf {
    let path = folder.path().join("a.ring");
    let options = CreateOptions { size_bytes: SIZE, ..CreateOptions::default() };
    create(&path, &options, &mut |_, _| ControlFlow::Continue(())).expect("the volume is created");
    path
}

pub(crate) fn open(path: &Path) -> Writer {
    let options = WriterOptions { flush_interval: Duration::from_millis(20), ..WriterOptions::default() };
    Writer::open(path, options, Box::new(|_| ())).expect("the volume opens for writing")
}

pub(crate) fn name(text: &str) -> StreamName {
    StreamName::new(text).expect("a constant")
}

/// The way into a stream, with a track, a run and its clock.
pub(crate) fn configured(writer: &Writer, stream: &StreamName) -> StreamWriter {
    let mut stream = writer.stream(stream).expect("the stream");
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
    stream
}

/// The frame of this number: 100 kB, 25 a second, a keyframe each second.
pub(crate) fn frame(index: i64) -> Sample {
    let flags = if index % 25 == 0 { SampleFlags::SYNC } else { SampleFlags::default() };
    let data = vec![Bytes::from(vec![index as u8; 100_000])];
    Sample { track: VIDEO, ticks: index * 40, flags, data }
}
