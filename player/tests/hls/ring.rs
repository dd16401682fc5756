//! Volumes with real clips in them.

use crate::support::clip::Clip;
use keha_fs::{
    CreateOptions, EraseRequest, Gap, GapReason, Rejected, RoundReport, RunId, Sample, StreamId, StreamName,
    StreamWriter, Uuid, Volume, WallTime, Writer, WriterOptions,
};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;
use tempfile::TempDir;

pub(crate) const S: i64 = 1_000_000_000;
/// 2026-03-01T12:00:00Z and a crooked part.
pub(crate) const NOON: WallTime = WallTime(1_772_366_400_123_456_789);
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn at(ms: i64) -> WallTime {
    NOON.plus_ns(ms * 1_000_000)
}

pub(crate) struct Ring {
    directory: TempDir,
}

pub(crate) struct Recorder {
    writer: Writer,
    stream: StreamWriter,
    rounds: Receiver<RoundReport>,
    pushed: u64,
    durable: u64,
}

impl Ring {
    pub(crate) fn new() -> Ring {
        let directory = tempfile::tempdir().unwrap();
        let options = CreateOptions {
            size_bytes: 64 << 20,
            block_bytes: Some(1 << 20),
            streams_max: Some(2),
            ..Default::default()
        };
        let path = directory.path().join("test.ring");
        keha_fs::create(&path, &options, &mut |_, _| ControlFlow::Continue(())).unwrap();
        Ring { directory }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("test.ring")
    }

    pub(crate) fn volume(&self) -> Volume {
        Volume::open(&self.path()).unwrap()
    }

    /// A sample's bytes are not what they were any more.
    pub(crate) fn damage(&self, data: &[u8]) {
        let mut volume = std::fs::read(self.path()).unwrap();
        let first = &data[..32.min(data.len())];
        let at = volume.windows(first.len()).position(|window| window == first).unwrap();
        volume[at + data.len() - 1] ^= 1;
        std::fs::write(self.path(), volume).unwrap();
    }

    /// Erases what lies from one moment to before another, and what shares a chunk with it.
    pub(crate) fn erase(&self, from: WallTime, to: WallTime) {
        let writer = Writer::open(&self.path(), WriterOptions::default(), Box::new(|_| {})).unwrap();
        writer.erase(EraseRequest { stream: StreamName::new("front").unwrap(), from, to }).unwrap();
        writer.close().unwrap();
    }

    pub(crate) fn recorder(&self) -> Recorder {
        self.recorder_of("front")
    }

    pub(crate) fn recorder_of(&self, name: &str) -> Recorder {
        let (send, rounds) = channel();
        // The receiver may be gone while the writer closes.
        let on_round = Box::new(move |round| drop(send.send(round)));
        let options = WriterOptions {
            flush_interval: Duration::from_millis(50),
            chunk_bytes: 32 << 10,
            ..WriterOptions::default()
        };
        let writer = Writer::open(&self.path(), options, on_round).unwrap();
        let stream = writer.stream(&StreamName::new(name).unwrap()).unwrap();
        Recorder { writer, stream, rounds, pushed: 0, durable: 0 }
    }
}

pub(crate) fn stream(volume: &Volume) -> StreamId {
    stream_of(volume, "front")
}

pub(crate) fn stream_of(volume: &Volume, name: &str) -> StreamId {
    volume.stream(&StreamName::new(name).unwrap()).unwrap().id
}

impl Recorder {
    /// A new run of this clip.
    pub(crate) fn run(&mut self, run: u128, from: WallTime, clip: &Clip) {
        self.begin(run, from, clip);
        self.push(clip, i64::MIN..i64::MAX);
    }

    pub(crate) fn begin(&mut self, run: u128, from: WallTime, clip: &Clip) {
        self.stream.configure(&clip.configuration).unwrap();
        self.stream.begin_run(RunId(Uuid::from_u128(run)));
        self.anchor(from, clip, 0);
    }

    /// From here on it was so many milliseconds of the clip at a moment.
    pub(crate) fn anchor(&mut self, wall: WallTime, clip: &Clip, ms: i64) {
        clip.anchors(wall, ms).for_each(|anchor| self.stream.anchor(anchor));
    }

    /// The samples of these milliseconds of the clip.
    pub(crate) fn push(&mut self, clip: &Clip, range_ms: std::ops::Range<i64>) {
        self.push_later(clip, range_ms, 0);
    }

    /// The same, so many milliseconds later in the run.
    pub(crate) fn push_later(&mut self, clip: &Clip, range_ms: std::ops::Range<i64>, later_ms: i64) {
        for sample in &clip.samples {
            let timescale = i64::from(clip.configuration.track(sample.track).unwrap().timescale);
            if !range_ms.contains(&(sample.ticks * 1000 / timescale)) {
                continue;
            }
            let made = || Sample {
                track: sample.track,
                ticks: sample.ticks + later_ms * timescale / 1000,
                flags: sample.flags,
                data: vec![sample.data.clone()],
            };
            while let Err(rejected) = self.stream.push(made()) {
                assert_eq!(rejected, Rejected::Full);
                self.round();
            }
            self.pushed += 1;
        }
    }

    fn round(&mut self) {
        let round = self.rounds.recv_timeout(PATIENCE).unwrap();
        self.durable =
            round.streams.iter().flat_map(|stream| &stream.tracks).map(|track| track.samples).sum();
    }

    /// Waits until all is durable.
    pub(crate) fn settle(&mut self) {
        while self.durable < self.pushed {
            self.round();
        }
    }

    pub(crate) fn gap(&mut self, from: WallTime, to: Option<WallTime>) {
        let reason = GapReason::ConnectionLost;
        let detail = String::new();
        self.stream.gap(&Gap { reason, from, to, samples_lost: 0, bytes_lost: 0, detail });
    }

    pub(crate) fn close(self) {
        let Recorder { writer, stream, rounds, .. } = self;
        drop(stream);
        writer.close().unwrap();
        drop(rounds);
    }
}
