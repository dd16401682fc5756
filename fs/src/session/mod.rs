//! Sessions: who had a volume open for writing, from when to when, with which clock. Kept in the volume itself, for whoever
//! must later say through whose hands its footage went.
//!
//! Invariants: a session stands on disk, in both copies, before its writer is handed out; none is changed by a later one; each
//! carries the checksum of the one before it, so that a slot that was altered or replaced later does not go unnoticed. What
//! cannot be written here is told in the log and never keeps a volume from recording. What must not live here: I/O.

mod found;
mod steps;
mod stored;

pub(crate) use found::{newest, read_log, read_slots, was_closed_with};
pub(crate) use steps::{ClockWatch, Reading};
pub(crate) use stored::{begun, closed, merge, session_of};

use crate::clock::ClockSync;
use crate::types::{Epoch, RoundNumber, Uuid, WallTime};

/// Who opens a volume for writing. Texts that are too long for their place are cut.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Opener {
    /// What for: `record`, `hold add` ... At most 32 bytes.
    pub purpose: String,
    /// The program and its version. At most 64 bytes.
    pub software: String,
    /// The machine's name. At most 64 bytes.
    pub host: String,
    /// The machine's identity.
    pub machine: Uuid,
    /// Whose process it is. At most 64 bytes.
    pub user: String,
}

/// A stretch of time in which one process had the volume open for writing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The epoch it took; 0 is the volume's creation.
    pub epoch: Epoch,
    /// Who it was.
    pub opener: Opener,
    /// When it began, by its wall clock.
    pub began: WallTime,
    /// How that clock was kept.
    pub began_clock: ClockSync,
    /// How long the volume had been open for writing before, in seconds over its life.
    pub began_running_s: u64,
    /// The first round that it made.
    pub first_round: RoundNumber,
    /// How it ended.
    pub end: SessionEnd,
    /// How often the wall clock was set while it was open, as far as was noted.
    pub clock_steps: u32,
    /// The largest of these steps, in nanoseconds; positive = forward.
    pub largest_step_ns: i64,
    /// Whether the session before it stands as it stood when this one began; `None` if that cannot be told any more.
    pub follows: Option<bool>,
}

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionEnd {
    /// By closing the volume.
    Closed {
        /// When, by its wall clock.
        at: WallTime,
        /// How that clock was kept.
        clock: ClockSync,
        /// How long the volume had been open for writing by then, in seconds over its life.
        running_s: u64,
        /// The last round that it made.
        last_round: RoundNumber,
    },
    /// Without closing: a crash, a kill, a power cut.
    Crashed {
        /// The time of its newest round, as the next session found it; `None` if what that one noted is lost.
        last_round_at: Option<WallTime>,
    },
    /// It goes on, or ended without closing and nothing has been opened since.
    Open,
}

/// The sessions of a volume.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionLog {
    /// In their order, the oldest first.
    pub sessions: Vec<Session>,
    /// Epochs between the oldest and the newest of them of which nothing stands.
    pub missing: Vec<Epoch>,
    /// How many sessions there is room for.
    pub room: u32,
}
