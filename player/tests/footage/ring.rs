//! A real volume, written by the writer that records, and what was written into it.

use crate::support::clip::{Clip, ClipSample};
use keha_fs::{
    CreateOptions, Rejected, RunId, Sample, StreamName, StreamWriter, TimeRange, TrackNumber, Uuid, Volume,
    WallTime, Writer, WriterOptions,
};
use keha_player::Result;
use keha_player::footage::{FootageRequest, Format, Prepared, prepare};
use std::ops::{ControlFlow, Range};
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;

/// 2026-03-01T12:00:00Z and a crooked part.
pub(crate) const NOON: WallTime = WallTime(1_772_366_400_123_456_789);
pub(crate) const SECOND_NS: i64 = 1_000_000_000;
pub(crate) const HOUR_NS: i64 = 3600 * SECOND_NS;

pub(crate) struct Ring {
    pub directory: TempDir,
}

impl Ring {
    pub(crate) fn new(size_bytes: u64, block_bytes: u32) -> Ring {
        let directory = tempfile::tempdir().unwrap();
        let options = CreateOptions {
            size_bytes,
            block_bytes: Some(block_bytes),
            streams_max: Some(4),
            ..Default::default()
        };
        let path = directory.path().join("test.ring");
        keha_fs::create(&path, &options, &mut |_, _| ControlFlow::Continue(())).unwrap();
        Ring { directory }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("test.ring")
    }

    pub(crate) fn volume(&self) -> Volume {
        Volume::open(&self.path()).unwrap()
    }

    /// Records: `record` is given the writer's streams by name.
    pub(crate) fn record(&self, names: &[&str], record: impl FnOnce(&mut [Camera])) {
        let options =
            WriterOptions { flush_interval: Duration::from_millis(100), ..WriterOptions::default() };
        let writer = Writer::open(&self.path(), options, Box::new(|_| ())).unwrap();
        let camera = |name: &&str| Camera { stream: writer.stream(&StreamName::new(name).unwrap()).unwrap() };
        let mut cameras: Vec<Camera> = names.iter().map(camera).collect();
        record(&mut cameras);
        drop(cameras);
        writer.close().unwrap();
    }
}

/// One stream being recorded.
pub(crate) struct Camera {
    stream: StreamWriter,
}

impl Camera {
    /// A clip as a run that begins at a moment, from its first sample on.
    pub(crate) fn run(&mut self, clip: &Clip, number: u128, wall: WallTime) {
        self.begin(clip, number, wall);
        clip.samples.iter().for_each(|sample| self.push(sample, 0));
    }

    pub(crate) fn begin(&mut self, clip: &Clip, number: u128, wall: WallTime) {
        self.stream.configure(&clip.configuration).unwrap();
        self.stream.begin_run(RunId(Uuid::from_u128(number)));
        clip.anchors(wall, 0).for_each(|anchor| self.stream.anchor(anchor));
    }

    pub(crate) fn push(&mut self, sample: &ClipSample, ticks_later: i64) {
        self.sample(Sample {
            track: sample.track,
            ticks: sample.ticks + ticks_later,
            flags: sample.flags,
            data: vec![sample.data.clone()],
        });
    }

    pub(crate) fn sample(&mut self, sample: Sample) {
        while let Err(rejected) = self.stream.push(sample.clone()) {
            assert_eq!(rejected, Rejected::Full);
            // The writer's thread makes room.
            std::thread::yield_now();
        }
    }
}

pub(crate) fn request(streams: &[&str], format: Format) -> FootageRequest {
    let streams = streams.iter().map(|name| StreamName::new(name).unwrap()).collect();
    FootageRequest { streams, range: TimeRange::default(), format, part: None }
}

pub(crate) fn prepared(volume: &Volume, streams: &[&str], format: Format) -> Prepared {
    prepare(volume, &request(streams, format)).unwrap()
}

pub(crate) fn bytes(prepared: &Prepared, volume: &Volume, range: Range<u64>) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    let written = prepared.write(volume, range, &mut |piece| {
        out.extend_from_slice(&piece);
        ControlFlow::Continue(())
    })?;
    assert_eq!((written.bytes, written.stopped), (out.len() as u64, false));
    Ok(out)
}

pub(crate) fn whole(prepared: &Prepared, volume: &Volume) -> Vec<u8> {
    let file = bytes(prepared, volume, 0..u64::MAX).unwrap();
    if let Some(length) = prepared.bytes() {
        assert_eq!(file.len() as u64, length);
    }
    file
}

pub(crate) fn samples_of(clip: &Clip, track: TrackNumber) -> Vec<&ClipSample> {
    clip.samples.iter().filter(|sample| sample.track == track).collect()
}
