//! The sessions: who opened the volume for writing, one slot an epoch, each a sector of its own, the whole row of slots once
//! at each end of the volume. The slot of an epoch is the epoch modulo the number of slots, so the oldest give way.
//!
//! ```text
//! | slot 0 (512 bytes) | slot 1 | ...
//! ```
//!
//! A slot is written to the front copy, flushed, then to the back copy, flushed: a sector is old or new after a power cut, so
//! one of the two always stands. Of two copies the one of the higher epoch counts, then the one of the higher revision.

use super::{Framed, Text, record};
use crate::types::{Epoch, RoundNumber, Uuid, VolumeId, WallTime};

/// A slot in which nothing stands yet.
pub(crate) const SESSION_NONE: u8 = 0;
/// A session that has not said that it ended.
pub(crate) const SESSION_OPEN: u8 = 1;
/// A session that ended by closing the volume.
pub(crate) const SESSION_CLOSED: u8 = 2;

record! {
    /// A place for a session: a stretch of time in which one process had the volume open for writing.
    pub(crate) struct SessionSlot {
        /// The volume.
        volume: VolumeId,
        /// Which slot this is, from 0.
        slot: u32,
        /// The epoch that the session took.
        epoch: Epoch,
        /// Grows each time the slot is written for this session.
        revision: u32,
        /// 0: none. 1: open, or ended without closing. 2: closed.
        state: u8,
        /// How the wall clock was kept when it began: 0 unknown, 1 free-running, 2 synchronised.
        begin_clock: u8,
        /// The same when it closed.
        end_clock: u8,
        /// 1: the session before this one ended without closing.
        before_crashed: bool,
        /// How far off the wall clock may have been when it began, in microseconds; all ones = unknown.
        begin_error_us: u32,
        /// The same when it closed.
        end_error_us: u32,
        /// When it began.
        began: WallTime,
        /// Seconds the volume had been open for writing then.
        began_running: u64,
        /// When it closed, 0 = it has not.
        ended: WallTime,
        /// Seconds the volume had been open for writing then.
        ended_running: u64,
        /// The first round that it made.
        first_round: RoundNumber,
        /// The last round that it made, 0 = it has not closed.
        last_round: RoundNumber,
        /// The time of the newest round of the session before this one.
        before_last: WallTime,
        /// The checksum of the slot of the session before this one, as it stood when this one began; 0 = it did not stand.
        before_checksum: u32,
        /// How often the wall clock was set while it was open.
        clock_steps: u32,
        /// The largest of these steps, in nanoseconds; positive = forward.
        largest_step_ns: i64,
        /// The machine.
        machine: Uuid,
        /// What the volume was opened for.
        purpose: Text<32>,
        /// The program and its version.
        software: Text<64>,
        /// The machine's name.
        host: Text<64>,
        /// Whose process it was.
        user: Text<64>,
    }
}

impl Framed for SessionSlot {
    const MAGIC: [u8; 8] = *b"KEHA-SES";
    const SIZE: usize = super::SECTOR_BYTES;
}

impl SessionSlot {
    /// The slot that stands in these bytes, with its checksum, if it is this one of this volume.
    pub(crate) fn read(bytes: &[u8], volume: VolumeId, slot: u32) -> Option<(SessionSlot, u32)> {
        let (found, checksum) = SessionSlot::unseal(bytes)?;
        let sane = found.state <= SESSION_CLOSED && found.begin_clock <= 2 && found.end_clock <= 2;
        (found.volume == volume && found.slot == slot && sane).then_some((found, checksum))
    }

    /// Which of two copies counts: the later.
    pub(crate) fn age(&self) -> (Epoch, u32) {
        (self.epoch, self.revision)
    }
}
