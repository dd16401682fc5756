//! `keha serve`: the daemon. It records the cameras of its configuration file and those that were added over HTTP, and serves
//! what is recorded.
//!
//! ```text
//! volume:  missing, damaged, in use ----(tried again every 10 s)----> open <---- closed when it takes nothing any more
//! camera:  wanted in a volume by the file or over HTTP; recorded whenever that volume is open, and on another one once it failed
//! ```
//!
//! Promises: what is wrong with one volume or camera touches no other; a file with an error changes nothing; what is not
//! changed goes on without a gap; what is told to stop has ended within 5 s while its disks answer, and nothing that had arrived is lost.
//!
//! ```text
//! told to stop --> streams end (3.5 s at most; a stuck one is left behind) --> all is written out (a second) --> gone
//!              \-> clients are taken leave of (2 s at most) -----------------------------------------------/
//! ```
//!
//! | file | what |
//! |---|---|
//! | `station.rs` | which cameras are wanted where, and bringing the volumes to that |
//! | `slot.rs` | one volume: opened, tried again, closed, left behind |
//! | `failover/` | whose volume failed goes on on another, and returns by order |
//! | `to_come/` | holds of what is still to come go where their streams go |
//! | `kept.rs` | the cameras that were added over HTTP, in the state directory |
//! | `stopped.rs` | the streams whose recording was stopped over HTTP, there too |
//! | `control.rs` | what the HTTP interface has done |
//! | `happenings.rs` | what happens to cameras and disks, as events |
//! | `http.rs` | the HTTP server, on threads of its own |
//! | `running.rs` | how it is served, and what of that a file that is read again changes |
//! | `run.rs` | the loop: signals, seconds, rounds |
//!
//! Must not live here: HTTP itself, how a stream is recorded, how a volume is written.

mod control;
mod failover;
mod happenings;
mod http;
mod kept;
mod run;
mod running;
mod slot;
mod station;
mod stopped;
mod to_come;

pub(crate) use run::{Job, run};

use keha_fs::RoundReport;

/// What wakes the loop.
enum Wake {
    Stop(&'static str),
    Reload,
    /// A volume was opened, or could not be.
    Tried(String),
    Round(String, Box<RoundReport>),
    Event(keha_recorder::Event),
    /// Something to note as it is.
    Noted(keha_api::events::NewEvent),
    /// A stream is not to be recorded any more.
    Stopped(keha_fs::StreamName),
}
