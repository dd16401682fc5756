//! Keha's ring filesystem: streams of samples in a block-structured ring, crash-safe and checksummed.
//!
//! It knows samples, tracks and streams. It knows no codec, no camera and no async runtime.

#[macro_use]
mod planted;

mod admission;
pub mod clock;
mod configuration;
mod copy;
mod create;
pub mod disk;
mod error;
mod fault_budget;
mod forecast;
mod format;
mod gap;
mod grow;
mod hold;
pub mod partition;
mod pieces;
mod progress;
#[cfg(test)]
mod proof;
mod reader;
mod recover;
mod repair;
mod report;
mod retention;
mod salvage;
mod sample;
mod scan;
mod scrub;
mod session;
mod tail;
mod types;
mod writer;

pub use admission::ReadPurpose;
pub use configuration::{Configuration, TrackConfiguration, TrackKind};
pub use copy::{COPY_DAMAGE_MAX, CopyReport, copy_stream, run_digest};
pub use create::{CreateOptions, create, plan, plan_at};
pub use error::{Error, Result};
pub use format::FORMAT_VERSION;
pub use gap::{Gap, GapReason};
pub use grow::{GrowOptions, GrowReport, grow, plan_grow};
pub use hold::{HOLD_LABEL_BYTES_MAX, HeldSpan, Hold, HoldRequest, HoldRoom};
pub use reader::{
    BlockOutline, ChunkCache, ChunkKey, ChunkReader, Cursor, LoadedChunk, OutlineChunk, OutlineKind,
    OutlineSync, StreamRow, Volume,
};
pub use repair::{RepairOptions, RepairReport, RepairStep, plan_repair, repair};
pub use report::*;
pub use retention::erase::{ErasePlan, Erased};
pub use retention::{Retention, RetentionReport, RetentionRequest};
pub use sample::{Anchor, ClockSource, SAMPLE_BYTES_MAX, Sample, SampleFlags, SampleRow, StoredSample};
pub use scrub::{ScrubDamage, ScrubPass, ScrubReport};
pub use session::{Opener, Session, SessionEnd, SessionLog};
pub use tail::{SamplePlace, Tail, TailItem, TailRead};
pub use types::*;
pub use writer::{
    Carried, Carrying, EraseRequest, Holder, Rejected, StreamWriter, Undone, Writer, WriterOptions,
};
