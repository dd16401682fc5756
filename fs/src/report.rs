//! What the filesystem tells about itself: plain data for callers to show or act on.

use crate::configuration::Configuration;
use crate::gap::{Gap, GapReason};
use crate::hold::HoldRoom;
use crate::retention::{Retention, RetentionReport};
use crate::sample::{Anchor, SampleRow, StoredSample};
use crate::scrub::ScrubReport;
use crate::types::{
    BlockIndex, ChunkNumber, ConfigurationHash, Epoch, RoundNumber, RunId, Sequence, StreamId, StreamName,
    TrackNumber, VolumeId, WallTime,
};
use std::sync::Arc;
use std::time::Duration;

/// What a volume is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeInfo {
    /// Its identity.
    pub id: VolumeId,
    /// Its label, as given at creation.
    pub label: String,
    /// The version of its format.
    pub format_version: u16,
    /// Its size in bytes, metadata included.
    pub size_bytes: u64,
    /// The size of a block in bytes.
    pub block_bytes: u32,
    /// The unit of writing in bytes.
    pub page_bytes: u32,
    /// How many blocks it has.
    pub blocks: u32,
    /// How many streams it can have.
    pub streams_max: u32,
    /// When it was created.
    pub created: WallTime,
}

/// What a stream has, as far as the tables tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamSummary {
    /// Its identity.
    pub id: StreamId,
    /// Its name.
    pub name: StreamName,
    /// When it was first admitted.
    pub created: WallTime,
    /// How long its footage stays.
    pub retention: Retention,
    /// The earliest moment of its footage, if any.
    pub first: Option<WallTime>,
    /// The latest moment of its footage, if any.
    pub last: Option<WallTime>,
    /// How many blocks it has.
    pub blocks: u32,
    /// Its samples.
    pub samples: u64,
    /// Their bytes.
    pub payload_bytes: u64,
    /// The bytes of its blocks that are written, with headers, tables and padding.
    pub used_bytes: u64,
    /// How long from the volume's newest footage until the stream's oldest is overwritten, if all streams go on as in the last
    /// day of footage; `None` if nothing tells, or all of it is held.
    pub overwritten_in: Option<Duration>,
}

/// The state of a block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum BlockState {
    /// Never used.
    #[default]
    Free = 0,
    /// Set aside for a coming take; what it held may still be whole.
    Granted = 1,
    /// Being written.
    Open = 2,
    /// Not full, not being written: waits for its stream to return.
    Parked = 3,
    /// Full.
    Sealed = 4,
    /// Withdrawn after write errors; what it holds is still read.
    Bad = 5,
    /// Past its stream's maximum age.
    Expired = 6,
    /// Overwritten on request.
    Erased = 7,
}

impl BlockState {
    /// All of them, in the order of their codes.
    pub const ALL: [BlockState; 8] = [
        BlockState::Free,
        BlockState::Granted,
        BlockState::Open,
        BlockState::Parked,
        BlockState::Sealed,
        BlockState::Bad,
        BlockState::Expired,
        BlockState::Erased,
    ];

    /// The state in lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            BlockState::Free => "free",
            BlockState::Granted => "granted",
            BlockState::Open => "open",
            BlockState::Parked => "parked",
            BlockState::Sealed => "sealed",
            BlockState::Bad => "bad",
            BlockState::Expired => "expired",
            BlockState::Erased => "erased",
        }
    }
}

/// A row of the block table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockSummary {
    /// Which block.
    pub block: BlockIndex,
    /// Its state.
    pub state: BlockState,
    /// When it was taken, in the order of takes.
    pub sequence: Sequence,
    /// Whose it is.
    pub stream: Option<StreamId>,
    /// The first of its chunks.
    pub first_chunk: ChunkNumber,
    /// How many chunks it has.
    pub chunks: u32,
    /// The earliest moment in it.
    pub wall_min: Option<WallTime>,
    /// The latest moment in it.
    pub wall_max: Option<WallTime>,
    /// Its samples.
    pub samples: u32,
    /// How many of them are sync samples.
    pub sync_samples: u32,
    /// The samples' bytes.
    pub payload_bytes: u32,
    /// How much of it is written, in bytes.
    pub used_bytes: u32,
    /// Times in it do not only grow: it holds runs whose clocks overlap.
    pub times_not_monotone: bool,
    /// A hold keeps it from being overwritten.
    pub held: bool,
}

/// One thing met while reading a stream in the order of recording.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Item {
    /// What follows belongs to this run. Always given before its first sample.
    Run(RunId),
    /// What follows needs this configuration. Always given before the first sample that needs it.
    Configuration(ConfigurationHash, Arc<Configuration>),
    /// A clock anchor of the run, given before the samples whose wall time is derived from it.
    Anchor(Anchor),
    /// A sample.
    Sample(StoredSample),
    /// A sample without its bytes: what [`crate::Volume::list`] gives.
    Listed(SampleRow),
    /// A gap record.
    Gap(Gap),
    /// Footage stood here and was overwritten; nothing behind it can be decoded from what came before.
    Erased(ErasedSpan),
    /// Something that should be here does not verify; reading goes on behind it.
    Damage(Finding),
}

/// A stretch of footage that was overwritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErasedSpan {
    /// Its earliest moment.
    pub from: WallTime,
    /// Its latest.
    pub to: WallTime,
    /// Whether it was past its stream's maximum age; else it was erased on request.
    pub expired: bool,
}

impl ErasedSpan {
    /// It as a gap in what is given on.
    pub fn gap(&self) -> Gap {
        Gap {
            reason: GapReason::Erased,
            from: self.from,
            to: Some(self.to),
            samples_lost: 0,
            bytes_lost: 0,
            detail: if self.expired { "past its maximum age".to_owned() } else { String::new() },
        }
    }
}

/// A stretch of one run in a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The run.
    pub run: RunId,
    /// Its first moment that is still there.
    pub from: WallTime,
    /// Its last moment.
    pub to: WallTime,
    /// The first of its chunks that is still there.
    pub first_chunk: ChunkNumber,
    /// The last of its chunks.
    pub last_chunk: ChunkNumber,
}

/// A moment range: from `from` (inclusive) to `to` (exclusive); `None` is open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimeRange {
    /// Its beginning.
    pub from: Option<WallTime>,
    /// Its end.
    pub to: Option<WallTime>,
}

impl TimeRange {
    /// Whether something from `min` to `max` (inclusive) may lie in it.
    pub(crate) fn overlaps(&self, min: WallTime, max: WallTime) -> bool {
        self.from.is_none_or(|from| max >= from) && self.to.is_none_or(|to| min < to)
    }
}

/// How far one track of a stream is safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DurableTrack {
    /// The track.
    pub track: TrackNumber,
    /// The run its last durable sample belongs to.
    pub run: RunId,
    /// That sample's presentation ticks.
    pub ticks: i64,
    /// That sample's wall time.
    pub wall: WallTime,
    /// Samples of this track made durable since this writer opened.
    pub samples: u64,
}

/// How far a stream is safe: what is said here survives any crash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DurableStream {
    /// The stream.
    pub stream: StreamId,
    /// Its name.
    pub name: StreamName,
    /// The durable watermark.
    pub chunk: ChunkNumber,
    /// Track by track.
    pub tracks: Vec<DurableTrack>,
}

/// How the volume's disk does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Health {
    /// All is written as it should be.
    #[default]
    Good,
    /// Writing fails; samples wait in memory and one probe is made an interval.
    Failing {
        /// The last error of the disk.
        error: String,
    },
}

/// What a flush round achieved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoundReport {
    /// Its number.
    pub round: RoundNumber,
    /// When it ended, by the recorder's clock.
    pub at: WallTime,
    /// Every stream that this writer has admitted.
    pub streams: Vec<DurableStream>,
    /// How the disk does.
    pub health: Health,
    /// How long it took: writing and flushing, by a steady clock; zero for rounds within a request.
    pub took: Duration,
    /// What waits in memory for the disk after it, in bytes.
    pub waiting_bytes: u64,
    /// Bytes written to the disk since the volume was opened.
    pub written_bytes: u64,
    /// In so many writes.
    pub writes: u64,
    /// Blocks taken since the volume was opened.
    pub blocks_taken: u64,
    /// How much is held, and how much may be.
    pub holds: HoldRoom,
    /// What retention did since the volume was opened.
    pub retention: RetentionReport,
    /// How far the background verification is, and what it found.
    pub scrub: ScrubReport,
}

/// What opening for writing found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenReport {
    /// The new epoch.
    pub epoch: Epoch,
    /// Whether the writer before this one ended without closing.
    pub after_crash: bool,
    /// Damage met on the way; what it hit is skipped.
    pub findings: Vec<Finding>,
}

/// Something that does not verify.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which structure: `superblock`, `round record`, `block table`, `block header`, `chunk header`, `sample`, `footer` ...
    pub what: &'static str,
    /// Where on the volume, in bytes.
    pub at: u64,
    /// The block, where it is in one.
    pub block: Option<BlockIndex>,
    /// The stream, where known.
    pub stream: Option<StreamId>,
    /// Whether footage is lost by it, or a second copy stands in.
    pub footage_lost: bool,
    /// What exactly is wrong.
    pub detail: String,
}

/// What stands in a block, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlockDump {
    /// Line by line.
    pub lines: Vec<String>,
    /// Whether something in it does not verify; the lines say what.
    pub damaged: bool,
}

/// What a check of a whole volume found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// Everything that does not verify.
    pub findings: Vec<Finding>,
    /// Blocks of which footage is being overwritten in place, or was when the recorder was cut off, and that are not zeros there yet:
    /// nobody is given it any more, and the recorder, or the next one, finishes that. No damage.
    pub overwriting: u32,
    /// Blocks that hold footage.
    pub blocks: u32,
    /// Chunks verified.
    pub chunks: u64,
    /// Samples verified.
    pub samples: u64,
    /// Bytes read.
    pub bytes: u64,
}
