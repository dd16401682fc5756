//! The manifest: what an exported file holds, what is missing in it and why, and the hashes to prove it.
//!
//! Stands beside the file as `NAME.json`. It only grows; `schema` names its version. All times are RFC 3339 in UTC with
//! nanoseconds.
//!
//! How to recompute [`SampleRange::blake3`] from the Matroska file alone: take the payloads of all SimpleBlocks of the
//! stream's tracks ([`TrackRecord::mkv_track`]) in the order in which they stand in the file. The stream's ranges
//! follow each other without a hole in that order: the first has the first `samples` payloads, the next the
//! following ones, and so on to the last. The BLAKE3 of a range is taken over its payloads, one after the other, nothing
//! between them. The order in the file is the order of recording, and the payloads are the bytes that were recorded.

use serde::{Deserialize, Serialize};

/// The manifest's version.
pub const SCHEMA: &str = "keha.export.manifest/1";

/// All that is known about one exported file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`SCHEMA`].
    pub schema: String,
    /// The version of Keha that wrote it.
    pub keha_version: String,
    /// When the export ended.
    pub created: String,
    /// The file.
    pub file: FileFacts,
    /// Where the footage came from.
    pub volume: VolumeFacts,
    /// What was asked for.
    pub requested: Requested,
    /// False if original samples in the range are missing from the export by damage or because the ring passed it.
    pub complete: bool,
    /// What is in the file, stream by stream.
    pub streams: Vec<StreamRecord>,
}

/// An exported file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileFacts {
    /// Its name without directories; `-` for a pipe.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// The BLAKE3 of all of it, in hexadecimal.
    pub blake3: String,
    /// The container: `matroska`.
    pub container: String,
    /// Nanoseconds in a timestamp tick of the file: times in it are rounded to these.
    pub timestamp_scale_ns: u64,
    /// Its SegmentUUID.
    pub segment_uuid: String,
    /// The wall time of its time zero, its DateUTC.
    pub time_zero: String,
    /// Its place among the files of this export, from 1.
    pub part: usize,
    /// Why it is not the first file: what changed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub begins_because: Option<String>,
    /// Samples that lay before time zero and were moved to it; 0 unless tracks were recorded far out of step.
    pub samples_moved: u64,
}

/// The volume it came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeFacts {
    /// Its identity.
    pub id: String,
    /// Its label.
    pub label: String,
    /// The version of its format.
    pub format_version: u16,
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requested {
    /// The streams.
    pub streams: Vec<String>,
    /// The first moment; absent for all there is.
    pub from: Option<String>,
    /// The moment it ends before; absent for all there is.
    pub to: Option<String>,
    /// The chosen run, where several cover the range.
    pub run: Option<String>,
}

/// One stream in the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamRecord {
    /// Its name.
    pub name: String,
    /// Its camera.
    pub camera: String,
    /// Its identity.
    pub id: String,
    /// Its first sample in the file.
    pub first: String,
    /// Its last sample in the file.
    pub last: String,
    /// How long before the moment asked for it begins, so that decoding can.
    pub preroll_ns: i64,
    /// Its samples.
    pub samples: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Samples in which, or directly before which, something was lost on the way from the camera.
    pub transport_loss_samples: u64,
    /// Samples that carry a signature of the camera's.
    pub signed_samples: u64,
    /// Samples at the edge of what the ring still has that were left out: no decoder could use them.
    pub undecodable_samples_left_out: u64,
    /// Tracks whose codec has no place in this container, as `TRACK CODEC`.
    pub tracks_left_out: Vec<String>,
    /// Its tracks in the file.
    pub tracks: Vec<TrackRecord>,
    /// Its configurations, in the order of first use in the file.
    pub configurations: Vec<ConfigurationUse>,
    /// Its runs, in the order of recording.
    pub runs: Vec<RunRecord>,
    /// Gaps that touch the range, with their reasons, as they were recorded.
    pub gaps: Vec<GapRecord>,
    /// What did not verify while the stream was read: samples are missing there.
    pub damage: Vec<DamageMet>,
    /// Places where the ring passed the export and it went on behind.
    pub overwritten: Vec<Overwriting>,
    /// The hashes of its samples.
    pub ranges: Vec<SampleRange>,
}

/// A track in the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackRecord {
    /// Its number in the file.
    pub mkv_track: u64,
    /// Its number in the stream.
    pub track: u8,
    /// `video`, `audio` or `metadata`.
    pub kind: String,
    /// Its four-character code.
    pub codec: String,
    /// The ticks a second of its clock as recorded.
    pub timescale: u32,
    /// The picture's width in pixels.
    pub width: u16,
    /// The picture's height in pixels.
    pub height: u16,
    /// Audio channels.
    pub channels: u8,
    /// Audio samples a second.
    pub sample_rate: u32,
    /// Its samples.
    pub samples: u64,
    /// Sync samples among them.
    pub sync_samples: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The earliest presentation time.
    pub first: String,
    /// The latest presentation time.
    pub last: String,
}

/// A configuration in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigurationUse {
    /// Its hash in the volume.
    pub hash: String,
    /// The first sample that needed it.
    pub from: String,
}

/// A run in the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Its identity.
    pub run: String,
    /// Its first sample in the file.
    pub first: String,
    /// Its last sample in the file.
    pub last: String,
    /// Its samples in the file.
    pub samples: u64,
    /// Where its times come from.
    pub clock: Clock,
}

/// Where the times of a run come from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clock {
    /// `arrival`, `sender report`, `camera`: those used in the exported part.
    pub sources: Vec<String>,
    /// How far off times may be at most, in microseconds.
    pub uncertainty_us_max: u32,
    /// The camera's own clock minus the recorder's in nanoseconds: first as exported.
    pub camera_offset_ns_first: i64,
    /// The same, last as exported.
    pub camera_offset_ns_last: i64,
}

/// A gap record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GapRecord {
    /// Why, in words.
    pub reason: String,
    /// Where footage ended.
    pub from: String,
    /// Where it went on; absent if it had not when this was exported.
    pub to: Option<String>,
    /// Samples that arrived but were not kept.
    pub samples_lost: u64,
    /// Their bytes.
    pub bytes_lost: u64,
    /// More, for a reader.
    pub detail: String,
}

/// Something that did not verify.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DamageMet {
    /// Which structure.
    pub what: String,
    /// Where on the volume, in bytes.
    pub at: u64,
    /// In which block.
    pub block: Option<u32>,
    /// Whether footage is missing for it.
    pub footage_lost: bool,
    /// What exactly is wrong.
    pub detail: String,
    /// The last sample before it.
    pub after: Option<String>,
    /// The first sample behind it.
    pub before: Option<String>,
}

/// A place where the ring passed the export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overwriting {
    /// The last sample before it, if any.
    pub after: Option<String>,
    /// Where reading went on.
    pub resumed_from: String,
}

/// A stretch of a stream's samples and their hash: within one run, from a video sync sample where there is video, of
/// about a minute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SampleRange {
    /// The run.
    pub run: String,
    /// The presentation time of its first sample in the order of recording.
    pub first: String,
    /// The presentation time of its last sample in the order of recording.
    pub last: String,
    /// The chunk its first sample ends in.
    pub first_chunk: u64,
    /// The chunk its last sample ends in.
    pub last_chunk: u64,
    /// Its samples.
    pub samples: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The BLAKE3 of their payloads in the order of recording, in hexadecimal.
    pub blake3: String,
}
