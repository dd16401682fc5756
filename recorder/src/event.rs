//! What happens to a stream, told once when it happens: for logs and for people who watch.
//!
//! No text in here holds a password.

use keha_fs::{GapReason, StreamName, WallTime};

/// Something that happened to a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Which stream.
    pub stream: StreamName,
    /// When, by the recorder's clock.
    pub at: WallTime,
    /// What.
    pub kind: EventKind,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventKind {
    /// Footage begins or goes on. A clock that jumped begins a new run in the same session.
    Recording,
    /// Footage is interrupted.
    Interrupted {
        /// Why.
        reason: GapReason,
        /// More about it.
        detail: String,
    },
    /// An attempt to reach the camera failed.
    AttemptFailed {
        /// Why.
        reason: GapReason,
        /// More about it.
        detail: String,
    },
    /// A track of the camera is not recorded; the others are.
    TrackSkipped {
        /// Which, and why.
        detail: String,
    },
    /// The configuration of a track changed; the footage goes on.
    ConfigurationChanged,
    /// The camera's clock is so far off that its sender reports are ignored.
    CameraClockOff {
        /// The camera's clock minus the recorder's, in nanoseconds.
        offset_ns: i64,
    },
    /// Samples were left out because the disk did not keep up, and now go through again.
    OverloadOver {
        /// Samples left out.
        samples: u64,
        /// Their bytes.
        bytes: u64,
    },
    /// The code that records this stream failed and was started again.
    Restarted {
        /// What it said.
        detail: String,
    },
}
