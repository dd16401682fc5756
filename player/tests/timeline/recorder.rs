//! Records streams of small samples: a picture each fifth of a second with a sound behind it, every tenth picture a sync sample.

use bytes::Bytes;
use keha_fs::{
    Anchor, ClockSource, Configuration, CreateOptions, Gap, GapReason, Rejected, RoundReport, RunId, Sample,
    SampleFlags, StreamName, StreamWriter, TrackConfiguration, TrackKind, TrackNumber, Uuid, Volume,
    WallTime, Writer, WriterOptions,
};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;
use tempfile::TempDir;

pub(crate) const S: i64 = 1_000_000_000;
/// 2026-03-01T12:00:00Z.
pub(crate) const NOON: WallTime = WallTime(1_772_366_400_000_000_000);
pub(crate) const VIDEO: TrackNumber = TrackNumber(1);
const AUDIO: TrackNumber = TrackNumber(2);
const TIMESCALE: u32 = 1000;
const PICTURE_MS: i64 = 200;
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Ring {
    directory: TempDir,
}

pub(crate) struct Recorder {
    writer: Writer,
    stream: StreamWriter,
    rounds: Receiver<RoundReport>,
    began: WallTime,
    pushed: u64,
}

pub(crate) fn now() -> WallTime {
    WallTime(jiff::Timestamp::now().as_second() * S)
}

impl Ring {
    pub(crate) fn new(size_bytes: u64) -> Ring {
        let directory = tempfile::tempdir().unwrap();
        let options = CreateOptions {
            size_bytes,
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

    pub(crate) fn recorder(&self) -> Recorder {
        let (send, rounds) = channel();
        // The receiver may be gone while the writer closes.
        let on_round = Box::new(move |round| drop(send.send(round)));
        let options = WriterOptions {
            flush_interval: Duration::from_millis(50),
            chunk_bytes: 48 << 10,
            ..WriterOptions::default()
        };
        let writer = Writer::open(&self.path(), options, on_round).unwrap();
        let mut stream = writer.stream(&StreamName::new("front").unwrap()).unwrap();
        stream.configure(&configuration()).unwrap();
        Recorder { writer, stream, rounds, began: NOON, pushed: 0 }
    }
}

fn configuration() -> Configuration {
    let track = |track, kind, codec: &[u8; 4]| TrackConfiguration {
        track,
        kind,
        codec: *codec,
        timescale: TIMESCALE,
        width: 0,
        height: 0,
        channels: 0,
        sample_rate: 0,
        private: Vec::new(),
    };
    let tracks = vec![track(VIDEO, TrackKind::Video, b"avc1"), track(AUDIO, TrackKind::Audio, b"ulaw")];
    Configuration { tracks, session: Vec::new() }
}

impl Recorder {
    pub(crate) fn writer(&self) -> &Writer {
        &self.writer
    }

    /// A new run with so many seconds of footage.
    pub(crate) fn run(&mut self, from: WallTime, seconds: i64) {
        self.began = from;
        self.stream.begin_run(RunId(Uuid::from_u128(self.next_run())));
        for track in [VIDEO, AUDIO] {
            self.stream.anchor(Anchor {
                track,
                timescale: TIMESCALE,
                ticks: 0,
                wall: from,
                source: ClockSource::Arrival,
                uncertainty_us: 1000,
                arrival: from,
                camera_offset_ns: 0,
            });
        }
        self.goes_on(from, seconds);
    }

    fn next_run(&self) -> u128 {
        // Runs of several writers of a volume are told apart by when they begin.
        (u128::from(self.pushed) << 64) | u128::from(self.began.0.unsigned_abs())
    }

    /// The run goes on at a moment, which may be later than it ended.
    pub(crate) fn goes_on(&mut self, from: WallTime, seconds: i64) {
        let begin_ms = from.since_ns(self.began) / 1_000_000;
        for picture in 0..seconds * 1000 / PICTURE_MS {
            let ms = begin_ms + picture * PICTURE_MS;
            let sync = if picture % 10 == 0 { SampleFlags::SYNC } else { SampleFlags::default() };
            self.push(VIDEO, ms, sync, 3000);
            self.push(AUDIO, ms + PICTURE_MS / 2, SampleFlags::SYNC, 80);
        }
    }

    fn push(&mut self, track: TrackNumber, ms: i64, flags: SampleFlags, bytes: usize) {
        let data = Bytes::from(vec![track.0 ^ ms as u8; bytes]);
        loop {
            match self.stream.push(Sample { track, ticks: ms, flags, data: vec![data.clone()] }) {
                Ok(()) => break,
                // Until the next round.
                Err(Rejected::Full) => drop(self.rounds.recv_timeout(PATIENCE).unwrap()),
                Err(error) => panic!("{error}"),
            }
        }
        self.pushed += 1;
    }

    pub(crate) fn gap(&mut self, reason: GapReason, from: WallTime, to: Option<WallTime>) {
        let detail = String::new();
        self.stream.gap(&Gap { reason, from, to, samples_lost: 0, bytes_lost: 0, detail });
    }

    /// Waits until all is durable.
    pub(crate) fn settle(&mut self) {
        let durable = |round: &RoundReport| {
            round.streams.iter().flat_map(|stream| &stream.tracks).map(|track| track.samples).sum::<u64>()
        };
        while durable(&self.rounds.recv_timeout(PATIENCE).unwrap()) < self.pushed {}
    }

    pub(crate) fn close(self) {
        let Recorder { writer, stream, rounds, .. } = self;
        drop(stream);
        writer.close().unwrap();
        drop(rounds);
    }
}
