//! Evidence holds: footage of a stream that the ring must not overwrite until it is told so.
//!
//! ```text
//! asked --(resolved, grants withdrawn, both copies flushed)--> in force --(lifted, or expired: a copy flushed)--> gone
//!
//! in force:  waiting --(the stream reaches the range)--> growing --(the range is over)--> whole
//!            (a range that is over when it is asked for is whole at once)     \--(no room for more)--> whole, cut short
//! ```
//!
//! Invariants:
//! H1 what a hold covers follows from its chunk numbers and the rows of the table alone; no clock is asked once it is resolved.
//! H2 a block that a hold in force covers is never granted. A grant of such a block is withdrawn, and a round record without
//!    it flushed, before the hold is acknowledged.
//! H3 a hold is acknowledged only when it stands in both copies; it is given up when one says so, for the later copy
//!    counts.
//! H4 held blocks and blocks set aside for holds to come leave the ring `3 x streams + 2` blocks. A hold that outgrows what is
//!    left ends there and says so: recording goes on.
//! H5 what is held begins with the sync sample at or before the range where one is there.
//! H6 the wall clock alone ends nothing: a range is over, and a hold expires, only when the volume's running time agrees.
//!
//! Failures: a power cut while a slot is written leaves it old in at least one copy, so a hold that was not acknowledged may
//! stand afterwards, and one whose lifting was not acknowledged may be gone; nothing else changes. Where neither copy of a slot
//! verifies, or the round log knows of a later change than any that is found, a hold may be lost: blocks that their rows say
//! were held and that no hold covers are then taken last, until someone lifts what was lost.
//!
//! Everything here is without I/O. The writer's part is `writer/holds/`, what is found at opening `recover/holds.rs`.

mod budget;
mod guard;
mod lifetime;
mod resolve;
mod stored;

pub(crate) use budget::{Use, reserve, room};
pub(crate) use guard::Guard;
pub(crate) use lifetime::{LATE, has_expired, is_over, seconds_between};
pub(crate) use resolve::{end_of, extend, has_footage, may_touch, resolve};
pub(crate) use stored::{MISSING, Slot, slot_of};

use crate::report::TimeRange;
use crate::types::{ChunkNumber, HoldId, RunId, StreamId, StreamName, WallTime};

/// The most bytes of a hold's label.
pub const HOLD_LABEL_BYTES_MAX: usize = 128;

/// What a hold shall keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldRequest {
    /// Whose footage.
    pub stream: StreamName,
    /// From this moment on (inclusive).
    pub from: WallTime,
    /// To before this moment; it may lie in the future.
    pub to: WallTime,
    /// Who holds it, and why; at most [`HOLD_LABEL_BYTES_MAX`] bytes.
    pub label: String,
    /// When it ends by itself, if ever.
    pub expires: Option<WallTime>,
}

/// A stretch of a stream's chunks that is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldSpan {
    /// Its first chunk: that of the sync sample at or before the range, where one is there.
    pub first_chunk: ChunkNumber,
    /// Its last chunk; `None` while it grows.
    pub last_chunk: Option<ChunkNumber>,
    /// The run of its first chunk.
    pub first_run: RunId,
    /// The run of its last chunk; `None` while it grows.
    pub last_run: Option<RunId>,
}

/// Footage that is not overwritten.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hold {
    /// Its identity.
    pub id: HoldId,
    /// Whose footage.
    pub stream: StreamId,
    /// The range as asked; both ends are given.
    pub range: TimeRange,
    /// Who holds it, and why.
    pub label: String,
    /// When it was made.
    pub created: WallTime,
    /// How long the volume had been open for writing then, in seconds over its life.
    pub created_running_s: u64,
    /// When it expires by the wall clock, if ever.
    pub expires: Option<WallTime>,
    /// How long the volume must have been open for writing before it expires, in seconds over its life.
    pub expires_running_s: u64,
    /// What it holds, in the order of recording; nothing while it waits for the range to begin.
    pub spans: Vec<HeldSpan>,
    /// Whether the stream is still to be recorded for it.
    pub growing: bool,
    /// Whether it ended early because the volume had no room for more.
    pub cut_short: bool,
    /// Blocks that were set aside for it when it was made, those it held then included.
    pub reserved_blocks: u32,
    /// A hold was lost here: neither copy verifies, or a change is missing. Lifting it says that this is known.
    pub lost: bool,
}

/// How much a volume holds, and how much it may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HoldRoom {
    /// Blocks that may be held at most: all but three a stream and two.
    pub blocks_max: u32,
    /// Blocks that are held.
    pub held_blocks: u32,
    /// Blocks that are set aside for what is still to be recorded.
    pub reserved_blocks: u32,
    /// Holds in force.
    pub holds: u32,
    /// Places for holds.
    pub holds_max: u32,
    /// Places of which the hold was lost.
    pub lost: u32,
    /// Holds that ended early for want of room.
    pub cut_short: u32,
}

impl HoldRoom {
    /// Whether little is left: less than a quarter of the blocks that may be held, or of the places for holds.
    pub fn is_tight(&self) -> bool {
        let little = |used: u32, most: u32| used > 0 && u64::from(used) * 4 > u64::from(most) * 3;
        little(self.held_blocks.saturating_add(self.reserved_blocks), self.blocks_max)
            || little(self.holds + self.lost, self.holds_max)
    }
}
