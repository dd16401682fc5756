//! Keha's player: footage out of a ring volume, as Matroska files that stand as evidence, and as MP4 for browsers.
//!
//! It reads volumes through `keha-fs` and hands out original samples: nothing is filtered or re-timed, and nothing but
//! snapshots is decoded.
//! Every file comes with a manifest that names what it holds, what is missing and why, and the hashes of both.
//! What must not live here: HTTP, the command line, anything that writes to a volume.
#![forbid(unsafe_code)]

pub mod cache;
pub mod chunks;
mod codec_private;
pub mod cursor;
mod error;
mod export;
pub mod footage;
pub mod hls;
pub mod library;
pub mod live;
mod mkv;
pub mod mp4;
mod runs;
pub mod segments;
pub mod snapshot;
mod time;
pub mod timeline;
pub mod units;

pub use error::{Error, Result};
pub use export::{
    Clock, ConfigurationUse, DamageMet, ExportPlan, ExportReport, ExportRequest, FileFacts, FileReport,
    GapRecord, Manifest, Output, Overwriting, PlannedSpan, PlannedStream, PlannedTrack, Progress, Requested,
    RunRecord, SCHEMA, SampleRange, StreamRecord, TrackRecord, VolumeFacts, export, plan,
};
pub use time::rfc3339;
