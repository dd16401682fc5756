//! The lines of `keha record --json`, schema `keha.record/1`: one document a line, flushed as it happens.
//!
//! | `event` | when | what |
//! |---|---|---|
//! | `started` | once, first | the volume, what opening found, the cameras |
//! | `round` | after every flush round | for each stream the durable watermark: what it says survives any crash |
//! | `stream` | something happened to a stream | what, and why |
//! | `disk` | it stopped answering, or answers again | since when, for how long |
//! | `damage` | the background verification found a damaged block | whose, where, which moments |
//! | `status` | every second | state and counters of every stream |
//! | `stopped` | once, last | why, and the totals |
//!
//! Every line has `schema`, `time` and `event`. Fields are added, never renamed or removed.

use crate::commands::hold::document::RoomDocument;
use crate::commands::volume::scrub::{DamageDocument, ScrubDocument};
use crate::control::FileIdentity;
use crate::output::document::{Moment, VolumeDocument};
use crate::secret;
use keha_fs::disk::EngineInUse;
use keha_fs::{DurableStream, Finding, Health, OpenReport, RoundReport, StreamId, WallTime};
use keha_recorder::StreamState;
use serde::Serialize;

/// One line.
#[derive(Serialize)]
pub(crate) struct Document<'a> {
    schema: &'static str,
    time: Moment,
    #[serde(flatten)]
    line: Line<'a>,
}

impl<'a> Document<'a> {
    pub(crate) fn new(time: Moment, line: Line<'a>) -> Document<'a> {
        Document { schema: "keha.record/1", time, line }
    }

    /// The line as text, without its newline.
    pub(crate) fn render(&self) -> String {
        // Strings, numbers and options of them always have a form in JSON.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// What a line tells.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Line<'a> {
    Started { volume: &'a VolumeDocument, opened: OpenDocument, streams: &'a [StreamStatus] },
    Round(RoundDocument),
    Stream { name: &'a str, at: Moment, what: &'a str, reason: Option<&'a str>, detail: Option<&'a str> },
    Disk { state: &'a str, since: Option<Moment>, detail: &'a str },
    Damage(DamageDocument),
    Status { streams: &'a [StreamStatus], lines_skipped: u64 },
    Stopped { reason: &'a str, all_written: bool, streams: &'a [StreamStatus], lines_skipped: u64 },
}

/// How a stream does, here and in `keha status`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct StreamStatus {
    pub(crate) name: String,
    pub(crate) camera: String,
    /// Its address without secrets.
    pub(crate) url: String,
    /// `connecting`, `recording`, `waiting` (for the next attempt), `stopped`, `volume_stopped`.
    pub(crate) state: &'static str,
    /// Since when it is in this state.
    pub(crate) since: Moment,
    /// Why it is waiting.
    pub(crate) reason: Option<&'static str>,
    /// The last thing that went wrong, without secrets.
    pub(crate) last_error: Option<String>,
    pub(crate) tracks: Vec<TrackStatus>,
    /// Samples taken since the recorder started.
    pub(crate) samples: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
    /// Over the last few seconds.
    pub(crate) bits_per_second: u64,
    /// Over the last few seconds.
    pub(crate) frames_per_second: f64,
    /// Samples left out because the disk did not keep up, or too large.
    pub(crate) dropped_samples: u64,
    /// Their bytes.
    pub(crate) dropped_bytes: u64,
    /// Packets that were lost on the way.
    pub(crate) lost_packets: u64,
    /// Gaps begun since the recorder started.
    pub(crate) gaps: u64,
    /// The camera's clock minus the recorder's, as the camera last reported.
    pub(crate) camera_clock_offset_ns: Option<i64>,
}

/// A track that is being recorded.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct TrackStatus {
    pub(crate) codec: String,
    pub(crate) width: u16,
    pub(crate) height: u16,
}

impl StreamStatus {
    /// The document of a recorder's snapshot.
    pub(crate) fn new(status: &keha_recorder::StreamStatus) -> StreamStatus {
        let (state, reason) = match &status.state {
            StreamState::Connecting => ("connecting", None),
            StreamState::Recording => ("recording", None),
            StreamState::Waiting { reason, .. } => ("waiting", Some(reason.as_str())),
            StreamState::Stopped => ("stopped", None),
            StreamState::VolumeStopped => ("volume_stopped", None),
            _ => ("unknown", None),
        };
        let track = |track: &keha_recorder::TrackStatus| TrackStatus {
            codec: track.codec.clone(),
            width: track.width,
            height: track.height,
        };
        StreamStatus {
            name: status.name.to_string(),
            camera: status.name.camera().to_owned(),
            url: secret::mask(&status.url.to_string()).into_owned(),
            state,
            since: Moment(status.since),
            reason,
            last_error: status.last_error.as_deref().map(|error| secret::mask(error).into_owned()),
            tracks: status.tracks.iter().map(track).collect(),
            samples: status.samples,
            bytes: status.bytes,
            bits_per_second: status.bitrate_bps,
            frames_per_second: (status.frames_per_second * 100.0).round() / 100.0,
            dropped_samples: status.dropped_samples,
            dropped_bytes: status.dropped_bytes,
            lost_packets: status.lost_packets,
            gaps: status.gaps,
            camera_clock_offset_ns: status.camera_clock_offset_ns,
        }
    }
}

/// The answer to `keha status`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct StatusDocument {
    schema: &'static str,
    pub(crate) time: Moment,
    version: &'static str,
    pid: u32,
    started: Moment,
    volume: VolumeDocument,
    /// Which file that is: whoever asks about a volume finds its recorder without reading the disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) file: Option<FileIdentity>,
    opened: OpenDocument,
    /// What does the I/O.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) io: Option<IoDocument>,
    /// The last flush round; none in the first second.
    pub(crate) round: Option<RoundDocument>,
    pub(crate) streams: Vec<StreamStatus>,
    /// Cameras of this volume that are recorded on another one, and of another that are recorded here: because theirs failed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) moved: Vec<MovedDocument>,
}

/// A camera that goes on elsewhere until somebody has it return.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct MovedDocument {
    pub(crate) camera: String,
    /// The name of the volume that it is configured for.
    pub(crate) home: String,
    /// The name of the volume that it is recorded into.
    pub(crate) volume: String,
    pub(crate) since: Moment,
    /// What was wrong with its own volume.
    pub(crate) why: String,
    /// Where its own volume lies: what `keha stream return` is given.
    pub(crate) home_path: String,
}

impl StatusDocument {
    /// The status of a recorder that `started` just now.
    pub(crate) fn new(
        pid: u32,
        started: Moment,
        volume: VolumeDocument,
        opened: OpenDocument,
    ) -> StatusDocument {
        let version = env!("CARGO_PKG_VERSION");
        StatusDocument {
            schema: "keha.status/1",
            time: started,
            version,
            pid,
            started,
            volume,
            file: None,
            opened,
            io: None,
            round: None,
            streams: Vec::new(),
            moved: Vec::new(),
        }
    }

    /// The document as text of one line.
    pub(crate) fn render(&self) -> String {
        // Strings, numbers and options of them always have a form in JSON.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// What does the I/O of a volume.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct IoDocument {
    /// `io_uring` or `threads`.
    engine: String,
    /// How many requests the disk sees at once, at most.
    depth: usize,
    /// Why it is threads where io_uring would have been taken.
    why: Option<String>,
}

impl IoDocument {
    pub(crate) fn new(io: &EngineInUse) -> IoDocument {
        IoDocument { engine: io.kind.to_string(), depth: io.depth, why: io.why_threads.clone() }
    }
}

/// What opening the volume found.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct OpenDocument {
    epoch: u32,
    after_crash: bool,
    findings: Vec<FindingDocument>,
}

#[derive(Clone, Debug, Serialize)]
struct FindingDocument {
    what: &'static str,
    at: u64,
    footage_lost: bool,
    detail: String,
}

impl OpenDocument {
    pub(crate) fn new(report: &OpenReport) -> OpenDocument {
        let finding = |finding: &Finding| FindingDocument {
            what: finding.what,
            at: finding.at,
            footage_lost: finding.footage_lost,
            detail: finding.detail.clone(),
        };
        OpenDocument {
            epoch: report.epoch.0,
            after_crash: report.after_crash,
            findings: report.findings.iter().map(finding).collect(),
        }
    }
}

/// A flush round and the durable watermarks after it, here and in `keha status`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct RoundDocument {
    round: u64,
    at: Moment,
    health: HealthDocument,
    written_bytes: u64,
    blocks_taken: u64,
    holds: RoomDocument,
    retention: RetentionDocument,
    scrub: Box<ScrubDocument>,
    streams: Vec<DurableDocument>,
}

/// What retention did since the recorder opened the volume.
#[derive(Clone, Debug, Serialize)]
struct RetentionDocument {
    /// Blocks overwritten before their stream's minimum age, for want of others.
    young_taken: u64,
}

#[derive(Clone, Debug, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
enum HealthDocument {
    Good,
    Failing {
        error: String,
    },
    /// In `keha status` alone: no round ends while the disk does not answer.
    Silent {
        since: Moment,
    },
}

#[derive(Clone, Debug, Serialize)]
struct DurableDocument {
    name: String,
    id: String,
    durable: Watermark,
}

#[derive(Clone, Debug, Serialize)]
struct Watermark {
    /// The greatest chunk such that it and every one before it is on the disk.
    chunk: u64,
    tracks: Vec<TrackDocument>,
}

#[derive(Clone, Debug, Serialize)]
struct TrackDocument {
    track: u8,
    run: String,
    /// Presentation ticks and time of the last durable sample.
    ticks: i64,
    to: Moment,
    /// Samples made durable since this recorder opened the volume.
    samples: u64,
}

impl RoundDocument {
    /// There has been no round since this one, for too long.
    pub(crate) fn is_silent(&mut self, since: WallTime) {
        self.health = HealthDocument::Silent { since: Moment(since) };
    }

    pub(crate) fn new(report: &RoundReport) -> RoundDocument {
        RoundDocument {
            round: report.round.0,
            at: Moment(report.at),
            health: match &report.health {
                Health::Good => HealthDocument::Good,
                Health::Failing { error } => HealthDocument::Failing { error: error.clone() },
            },
            written_bytes: report.written_bytes,
            blocks_taken: report.blocks_taken,
            holds: RoomDocument::new(&report.holds),
            retention: RetentionDocument { young_taken: report.retention.young_taken },
            scrub: Box::new(ScrubDocument::new(&report.scrub, |id| stream_name(report, id))),
            streams: report.streams.iter().map(durable).collect(),
        }
    }
}

/// The name of a stream, or its identity if nobody writes it.
pub(crate) fn stream_name(report: &RoundReport, id: StreamId) -> String {
    let stream = report.streams.iter().find(|stream| stream.stream == id);
    stream.map_or_else(|| id.to_string(), |stream| stream.name.to_string())
}

fn durable(stream: &DurableStream) -> DurableDocument {
    let tracks = stream.tracks.iter().map(|track| TrackDocument {
        track: track.track.0,
        run: track.run.to_string(),
        ticks: track.ticks,
        to: Moment(track.wall),
        samples: track.samples,
    });
    DurableDocument {
        name: stream.name.to_string(),
        id: stream.stream.to_string(),
        durable: Watermark { chunk: stream.chunk.0, tracks: tracks.collect() },
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::commands::volume::scrub;
    use keha_fs::{
        ChunkNumber, DurableTrack, Epoch, RoundNumber, RunId, StreamName, TrackNumber, Uuid, WallTime,
    };
    use std::path::Path;

    const NOW: Moment = Moment(WallTime(1_793_489_400_000_000_001));

    pub(crate) fn stream_status() -> StreamStatus {
        StreamStatus {
            name: "front/sub".into(),
            camera: "front".into(),
            url: "rtsp://u:***@h/2".into(),
            state: "waiting",
            since: NOW,
            reason: Some("connection lost"),
            last_error: Some("reset by peer".into()),
            tracks: vec![TrackStatus { codec: "avc1".into(), width: 1280, height: 720 }],
            samples: 250,
            bytes: 5_000_000,
            bits_per_second: 4_000_000,
            frames_per_second: 25.0,
            dropped_samples: 0,
            dropped_bytes: 0,
            lost_packets: 3,
            gaps: 1,
            camera_clock_offset_ns: None,
        }
    }

    pub(crate) fn round(health: Health) -> RoundReport {
        let track = DurableTrack {
            track: TrackNumber(1),
            run: RunId(Uuid::from_u128(7)),
            ticks: 90_000,
            wall: NOW.0,
            samples: 25,
        };
        let stream = DurableStream {
            stream: StreamId(Uuid::from_u128(9)),
            name: StreamName::new("front").expect("a constant"),
            chunk: ChunkNumber(12),
            tracks: vec![track],
        };
        RoundReport {
            round: RoundNumber(5),
            at: NOW.0,
            streams: vec![stream],
            health,
            took: std::time::Duration::ZERO,
            waiting_bytes: 0,
            written_bytes: 1 << 20,
            writes: 7,
            blocks_taken: 1,
            holds: Default::default(),
            retention: Default::default(),
            scrub: scrub::tests::report(),
        }
    }

    pub(crate) fn status() -> StatusDocument {
        let volume = VolumeDocument::new(Path::new("a.ring"), &crate::output::document::example());
        let opened =
            OpenDocument::new(&OpenReport { epoch: Epoch(3), after_crash: true, findings: Vec::new() });
        let mut status = StatusDocument::new(42, NOW, volume, opened);
        status.version = "0.0.0";
        status.file = Some(FileIdentity { device: 5, inode: 6 });
        status.io = Some(IoDocument { engine: "threads".into(), depth: 4, why: Some("a filter".into()) });
        status.round = Some(RoundDocument::new(&round(Health::Good)));
        status.streams = vec![stream_status()];
        status.moved = vec![MovedDocument {
            camera: "gate".into(),
            home: "main".into(),
            volume: "archive".into(),
            since: NOW,
            why: "its disk fails: Input/output error".into(),
            home_path: "/srv/main.ring".into(),
        }];
        status
    }

    #[test]
    fn the_lines_are_as_published() {
        let streams = [stream_status()];
        let volume = crate::output::document::example();
        let volume = VolumeDocument::new(Path::new("a.ring"), &volume);
        let finding = Finding {
            what: "superblock",
            at: 0,
            block: None,
            stream: None,
            footage_lost: false,
            detail: "copy 1 of 4".into(),
        };
        let opened = OpenReport { epoch: Epoch(3), after_crash: true, findings: vec![finding] };
        let lines = [
            Line::Started { volume: &volume, opened: OpenDocument::new(&opened), streams: &streams },
            Line::Round(RoundDocument::new(&round(Health::Good))),
            Line::Round(RoundDocument::new(&round(Health::Failing { error: "no space left".into() }))),
            Line::Stream { name: "front", at: NOW, what: "recording", reason: None, detail: None },
            Line::Disk { state: "silent", since: Some(NOW), detail: "samples wait in memory" },
            Line::Damage(DamageDocument::new(&scrub::tests::report().damaged[0], |_| "front".into())),
            Line::Status { streams: &streams, lines_skipped: 0 },
            Line::Stopped { reason: "SIGTERM", all_written: true, streams: &streams, lines_skipped: 0 },
        ];
        let values: Vec<serde_json::Value> = lines
            .into_iter()
            .map(|line| {
                serde_json::from_str(&Document::new(NOW, line).render()).expect("a line is a document")
            })
            .collect();
        insta::assert_json_snapshot!(values);
    }
}
