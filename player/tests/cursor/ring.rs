//! Records a stream as cameras are in bad weather: pictures in another order than they are shown, two video tracks and sound, samples that
//! are split over chunks, other configurations, runs, gaps and clocks.

use bytes::Bytes;
use keha_fs::{
    Anchor, ClockSource, Configuration, CreateOptions, EraseRequest, Gap, GapReason, Rejected, RoundReport,
    RunId, Sample, SampleFlags, StreamId, StreamName, StreamWriter, TrackConfiguration, TrackKind,
    TrackNumber, Uuid, Volume, WallTime, Writer, WriterOptions,
};
use std::fs::{File, OpenOptions};
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;
use tempfile::TempDir;

pub(crate) const S: i64 = 1_000_000_000;
/// 2026-03-01T12:00:00Z.
pub(crate) const NOON: WallTime = WallTime(1_772_366_400_000_000_000);
pub(crate) const VIDEO: TrackNumber = TrackNumber(1);
const SOUND: TrackNumber = TrackNumber(2);
const SECOND_VIDEO: TrackNumber = TrackNumber(3);
const TIMESCALE: u32 = 1000;
const PICTURE_MS: i64 = 200;
const PATIENCE: Duration = Duration::from_secs(30);

/// A ring with one stream.
pub(crate) struct Ring {
    directory: TempDir,
}

/// It being recorded.
pub(crate) struct Camera {
    writer: Writer,
    stream: StreamWriter,
    rounds: Receiver<u64>,
    pub(crate) kind: Kind,
    began: WallTime,
    pushed: u64,
}

/// What a camera sends.
#[derive(Clone, Copy)]
pub(crate) struct Kind {
    pub(crate) video: bool,
    pub(crate) second_video: bool,
    /// Pictures in a group.
    pub(crate) gop: i64,
    /// Bytes of a keyframe.
    pub(crate) keyframe_bytes: usize,
    /// Bytes of other pictures.
    pub(crate) picture_bytes: usize,
    /// Tells configurations apart.
    pub(crate) private: u8,
}

pub(crate) const PLAIN: Kind =
    Kind { video: true, second_video: false, gop: 10, keyframe_bytes: 9000, picture_bytes: 2000, private: 0 };

impl Ring {
    pub(crate) fn new(size_bytes: u64) -> Ring {
        let directory = tempfile::tempdir().unwrap();
        let options = CreateOptions {
            size_bytes,
            block_bytes: Some(1 << 20),
            streams_max: Some(2),
            ..Default::default()
        };
        keha_fs::create(&directory.path().join("test.ring"), &options, &mut |_, _| ControlFlow::Continue(()))
            .unwrap();
        Ring { directory }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("test.ring")
    }

    pub(crate) fn volume(&self) -> Volume {
        Volume::open(&self.path()).unwrap()
    }

    pub(crate) fn camera(&self, kind: Kind) -> Camera {
        let (send, rounds) = channel();
        // The receiver may be gone while the writer closes.
        let on_round = Box::new(move |round: RoundReport| {
            let tracks = round.streams.iter().flat_map(|stream| &stream.tracks);
            send.send(tracks.map(|track| track.samples).sum()).unwrap_or(());
        });
        let options = WriterOptions {
            flush_interval: Duration::from_millis(50),
            chunk_bytes: 48 << 10,
            ..WriterOptions::default()
        };
        let writer = Writer::open(&self.path(), options, on_round).unwrap();
        let stream = writer.stream(&StreamName::new("front").unwrap()).unwrap();
        Camera { writer, stream, rounds, kind, began: NOON, pushed: 0 }
    }

    pub(crate) fn erase(&self, from: WallTime, to: WallTime) {
        let camera = self.camera(PLAIN);
        let stream = StreamName::new("front").unwrap();
        match camera.writer.erase(EraseRequest { stream, from, to }) {
            Ok(_) | Err(keha_fs::Error::NotRecorded { .. }) => {}
            Err(error) => panic!("{error}"),
        }
        camera.close();
    }

    /// Where a chunk stands, in bytes from the volume's beginning, and how long it is.
    pub(crate) fn chunk(&self, stream: StreamId, place: usize, chunk: usize) -> (u64, u32) {
        let volume = self.volume();
        let row = volume.stream_rows(stream)[place];
        let outline = volume.outline(stream, &row).unwrap();
        let before: u64 = outline.chunks[..chunk].iter().map(|chunk| u64::from(chunk.bytes)).sum();
        let at = volume.block_at(row.block) + u64::from(volume.info().page_bytes) + before;
        (at, outline.chunks[chunk].bytes)
    }

    /// Writes over a part of the volume.
    pub(crate) fn damage(&self, at: u64, bytes: usize) {
        let file: File = OpenOptions::new().write(true).open(self.path()).unwrap();
        file.write_all_at(&vec![0x5a; bytes], at).unwrap();
        file.sync_all().unwrap();
    }
}

impl Camera {
    /// A new run with so many pictures.
    pub(crate) fn run(&mut self, from: WallTime, pictures: i64) {
        self.stream.configure(&self.configuration()).unwrap();
        self.began = from;
        let number = (u128::from(self.pushed) << 64) | u128::from(from.0.unsigned_abs());
        self.stream.begin_run(RunId(Uuid::from_u128(number)));
        for track in self.configuration().tracks {
            self.stream.anchor(Anchor {
                track: track.track,
                timescale: TIMESCALE,
                ticks: 0,
                wall: from,
                source: ClockSource::Arrival,
                uncertainty_us: 1000,
                arrival: from,
                camera_offset_ns: 0,
            });
        }
        // Sound begins before the first picture.
        self.push(SOUND, -300, SampleFlags::SYNC, 80);
        self.goes_on(0, pictures);
    }

    /// The run goes on with so many pictures, the first of them so many milliseconds behind its beginning: a keyframe.
    pub(crate) fn goes_on(&mut self, begin_ms: i64, pictures: i64) {
        let Kind { video, second_video, gop, keyframe_bytes, picture_bytes, .. } = self.kind;
        for picture in 0..pictures {
            let ms = begin_ms + picture * PICTURE_MS;
            let in_gop = picture % gop;
            // I P B B: each P is shown behind the two pictures that follow it.
            let shown = match in_gop {
                0 => ms,
                place if place % 3 == 1 && picture + 2 < pictures && in_gop + 2 < gop => ms + 2 * PICTURE_MS,
                place
                    if place % 3 != 1
                        && in_gop - (place - 1) % 3 + 2 < gop
                        && picture - (place - 1) % 3 + 2 < pictures =>
                {
                    ms - PICTURE_MS
                }
                _ => ms,
            };
            let (flags, bytes) = if in_gop == 0 {
                (SampleFlags::SYNC, keyframe_bytes)
            } else {
                (SampleFlags::default(), picture_bytes)
            };
            if video {
                self.push(VIDEO, shown, flags, bytes);
            }
            if second_video {
                let sync = if picture % 7 == 3 { SampleFlags::SYNC } else { SampleFlags::default() };
                self.push(SECOND_VIDEO, ms + 10, sync, 300);
            }
            self.push(SOUND, ms + PICTURE_MS / 2, SampleFlags::SYNC, 80);
        }
    }

    fn configuration(&self) -> Configuration {
        let track = |track, kind, codec: &[u8; 4]| TrackConfiguration {
            track,
            kind,
            codec: *codec,
            timescale: TIMESCALE,
            width: 0,
            height: 0,
            channels: 0,
            sample_rate: 0,
            private: vec![self.kind.private],
        };
        let mut tracks = vec![track(SOUND, TrackKind::Audio, b"ulaw")];
        tracks.extend(self.kind.video.then(|| track(VIDEO, TrackKind::Video, b"avc1")));
        tracks.extend(self.kind.second_video.then(|| track(SECOND_VIDEO, TrackKind::Video, b"avc1")));
        Configuration { tracks, session: Vec::new() }
    }

    fn push(&mut self, track: TrackNumber, ticks: i64, flags: SampleFlags, bytes: usize) {
        let data = Bytes::from(vec![track.0 ^ (ticks / 10) as u8 ^ self.pushed as u8; bytes]);
        while let Err(rejected) = self.stream.push(Sample { track, ticks, flags, data: vec![data.clone()] }) {
            assert_eq!(rejected, Rejected::Full);
            let _durable = self.rounds.recv_timeout(PATIENCE).unwrap();
        }
        self.pushed += 1;
    }

    pub(crate) fn gap(&mut self, reason: GapReason, from: WallTime, to: Option<WallTime>) {
        let detail = String::new();
        self.stream.gap(&Gap { reason, from, to, samples_lost: 0, bytes_lost: 0, detail });
    }

    /// Waits until all is durable: what comes then stands in another chunk.
    pub(crate) fn settle(&mut self) {
        while self.rounds.recv_timeout(PATIENCE).unwrap() < self.pushed {}
    }

    pub(crate) fn close(self) {
        let Camera { writer, stream, rounds, .. } = self;
        drop(stream);
        writer.close().unwrap();
        drop(rounds);
    }
}
