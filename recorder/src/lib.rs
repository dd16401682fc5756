//! Keha's recorder: cameras in, samples out into a ring volume.
//!
//! ```text
//! session (retina) -> depacketize + codec -> recording (clock, gaps, overload) -> Sink = keha_fs::StreamWriter
//! testsrc ------------------------------------^            stream, supervisor: tasks, retries, status
//! ```
//!
//! Promises: every NAL unit and audio frame that arrives is recorded byte for byte or counted in a gap with its reason; a
//! camera's fault is never visible in another's footage; a camera is recorded again within 2 s after it is back; no
//! password shows in any output.
//!
//! Logic is kept apart from I/O: what decides ([`depacketize`], [`codec`], `clock`, `recording`, `gaps`, `overload`,
//! `reconnect`) takes time and input as arguments; only `session`, `stream`, `supervisor` and `testsrc`'s thread touch sockets
//! and timers.
//!
//! Must not live here: HTTP, containers, playback, the format of the volume.
#![forbid(unsafe_code)]

mod camera;
mod clock;
pub mod codec;
pub mod depacketize;
mod event;
#[cfg(test)]
mod fuzz;
mod gaps;
mod moderation;
mod now;
mod offer;
mod overload;
mod reconnect;
mod recording;
mod session;
mod sink;
mod status;
mod stream;
mod supervisor;
pub mod testsrc;

pub use camera::{BadCamera, BadUrl, Camera, CameraUrl, Credentials, MASK, Secret};
pub use event::{Event, EventKind};
pub use offer::{NoOffer, Offer, OfferedTrack, offer};
pub use status::{Drops, StreamState, StreamStatus, TrackStatus};
pub use supervisor::{Begins, CameFrom, Coming, Crossing, Recorder, StartError};
