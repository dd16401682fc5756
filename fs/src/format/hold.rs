//! The holds: one slot a hold, each a sector of its own, the whole row of slots once at each end of the volume.
//!
//! ```text
//! | slot 0 (512 bytes) | slot 1 | ...
//! ```
//!
//! A change concerns one slot. It is written to the front copy, flushed, then to the back copy, flushed: a sector is old or
//! new after a power cut, so one of the two always stands, and damage to one sector doubts one hold at most. `generation`
//! grows with each change of any slot; of two copies of a slot the one of the higher generation counts.

use super::{Framed, Text, Zero, record};
use crate::types::{ChunkNumber, HoldId, RunId, StreamId, VolumeId, WallTime};

/// A slot in which nothing stands.
pub(crate) const SLOT_FREE: u8 = 0;
/// A slot in which a hold stands.
pub(crate) const SLOT_HELD: u8 = 1;
/// A slot that says that a hold, or a change of one, was lost.
pub(crate) const SLOT_LOST: u8 = 2;

/// Stretches of chunks that a slot has room for.
pub(crate) const SPANS_MAX: usize = 4;

record! {
    /// A stretch of chunks that is held.
    pub(crate) struct SpanRecord {
        /// Its first chunk.
        first_chunk: ChunkNumber,
        /// Its last chunk; all ones while it grows.
        last_chunk: ChunkNumber,
        /// The run of its first chunk.
        first_run: RunId,
        /// The run of its last chunk, zero while it grows.
        last_run: RunId,
    }
}

record! {
    /// A place for a hold.
    pub(crate) struct HoldSlot {
        /// The volume.
        volume: VolumeId,
        /// Which slot this is, from 0.
        slot: u32,
        /// 0: free. 1: a hold. 2: a hold was lost here.
        state: u8,
        /// 1: the stream is still to be recorded for it.
        growing: bool,
        /// 1: it ended early because the volume had no room for more.
        cut_short: bool,
        /// How many of the spans count.
        spans: u8,
        /// Grows with each change of any slot.
        generation: u64,
        /// The hold.
        id: HoldId,
        /// Whose footage.
        stream: StreamId,
        /// The range as asked: from this moment on ...
        from: WallTime,
        /// ... to before this one.
        to: WallTime,
        /// When it was made.
        created: WallTime,
        /// How long the volume had been open for writing then, in seconds.
        created_running: u64,
        /// When it expires, 0 = never.
        expires: WallTime,
        /// How long the volume must have been open for writing before it expires, in seconds.
        expires_running: u64,
        /// Blocks that it may come to hold.
        reserved_blocks: u32,
        /// Reserved.
        zero: Zero<4>,
        /// What it holds.
        span_0: SpanRecord,
        /// What it holds.
        span_1: SpanRecord,
        /// What it holds.
        span_2: SpanRecord,
        /// What it holds.
        span_3: SpanRecord,
        /// Who holds it, and why.
        label: Text<128>,
    }
}

impl Framed for HoldSlot {
    const MAGIC: [u8; 8] = *b"KEHA-HLD";
    const SIZE: usize = super::SECTOR_BYTES;
}

impl HoldSlot {
    /// The slot that stands in these bytes, if it is this one of this volume.
    pub(crate) fn read(bytes: &[u8], volume: VolumeId, slot: u32) -> Option<HoldSlot> {
        let (found, _) = HoldSlot::unseal(bytes)?;
        let sane = found.state <= SLOT_LOST && usize::from(found.spans) <= SPANS_MAX;
        (found.volume == volume && found.slot == slot && sane).then_some(found)
    }
}
