//! Live video for many viewers, as fragmented MP4.
//!
//! [`LiveHub::watch`] gives a [`Viewer`], [`Viewer::next`] what it is to be told, as [`Message`]s: an init segment, then a fragment for
//! every picture as soon as it is recorded, with the sound recorded before it. The parts:
//!
//! - [`Mux`]: samples in, messages out. Pure logic.
//! - `ring`: what the viewers of a stream share. Pure logic. All bytes are shared: a hundred viewers cost one copy.
//! - `join`, `start`: where a mux begins in the tail, and what it needs of the disk. Pure logic. `back`: what is read of it.
//! - `follower`: the thread of one stream; `registry`: which streams have one. It begins with a stream's first viewer and ends a
//!   little after the last has left ([`LiveOptions::linger`]). `readers`: how many read a volume at a time, of all streams.
//!
//! # States of a stream
//!
//! *Waiting*: nothing is recorded (no writer, or a gap that is open). Viewers are told once, and stay. *Joining*: the tail is read from
//! its beginning; if it does not reach back to a keyframe, or not to what was given last, the disk is read up to the tail's first
//! sample. *Following*: every sample of the tail goes through the mux. A thread that falls behind the tail joins again; where it fell
//! behind while it read the disk, it begins with the newest keyframe of the tail, or the next one: a disk that is slower than the tail
//! is long would be read for ever. *Idle*: the tail is empty, for nothing came since all was written: the newest group of pictures is
//! read from the disk, once, if it is younger than a minute.
//!
//! # What a viewer can rely on
//!
//! It begins with an init segment and a keyframe, the newest there is, and is then given every fragment in order, or told what was left
//! out. It never slows the recorder, the mux or another viewer: who does not take what is there falls behind the ring, goes on with
//! the newest keyframe and is told how many samples it was not given ([`Message::Skipped`]). So are all where the stream itself goes on
//! with a keyframe because what came before could not be had.
//!
//! # Memory
//!
//! For each watched stream: the newest group of pictures, up to [`LiveOptions::group_bytes_max`]; before it
//! [`LiveOptions::behind_bytes_max`]; and one fragment. A keyframe of 32 MiB, the largest sample, fits. A group that grows larger is let
//! go: who comes then begins with the next keyframe. While a stream is joined, what its tail has and one group from the disk are in
//! memory besides. A viewer costs some hundred bytes, whatever it does; what lies in its socket is the caller's.
//!
//! # Times, and what a browser has to do
//!
//! All tracks are on one axis: nanoseconds since 1970, in ticks of the track. Decode times rise strictly, over all init segments.
//! An [`Init`] that is not the first begins another period: the configuration, the run or the clock changed, and time has passed, or
//! has been added ([`Init::axis_ahead_ns`]). A page with Media Source Extensions:
//!
//! - waits for the first [`Init`], makes a `SourceBuffer` of its codecs, sets `timestampOffset` to minus the moment it begins at, in
//!   seconds (times since 1970 cost precision), and leaves that as it is; `mode` stays `segments`;
//! - appends init segments and fragments in order; before a later init segment whose codecs differ it calls `changeType`;
//! - behind a later init segment seeks to the first fragment's time: what lies between was never recorded;
//! - keeps to the newest: seeks to the end of `buffered` less some tenths of a second when it is behind by more than that; removes what
//!   is older than a minute.
//!
//! What must not live here: HTTP, sockets, what a user may see.

mod back;
mod follower;
mod hub;
mod join;
mod lane;
mod message;
mod mux;
mod period;
mod readers;
mod registry;
mod ring;
mod start;
mod times;
mod tracks;
mod viewer;

pub use hub::LiveHub;
pub use message::{AudioFacts, Fragment, Init, Message, VideoFacts};
pub use mux::Mux;
pub use viewer::Viewer;

use crate::error::Result;
use keha_fs::{StreamName, Tail, Volume};
use std::time::Duration;

/// Where live video comes from. Asked on a stream's own thread; may block for a while.
pub trait LiveSource: Send + Sync + 'static {
    /// The newest samples of a stream from memory; `None` if nobody records it. Asked again while that is so.
    fn tail(&self, stream: &StreamName) -> Option<Tail>;

    /// The volume that the stream is recorded into, as it is now: not as it was before this was asked, for what was evicted from
    /// the tail meanwhile must be in it.
    ///
    /// # Errors
    /// Where there is none, or it cannot be read: then a viewer begins with the next keyframe.
    fn volume(&self, stream: &StreamName) -> Result<Volume>;

    /// The name of that volume: of the streams of one only few read it at a time, for its disk may hang. Waits for no disk.
    fn place(&self, stream: &StreamName) -> String;
}

/// Bounds of live video.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LiveOptions {
    /// A viewer that is further behind the newest keyframe than so many bytes is taken to it.
    pub behind_bytes_max: usize,
    /// The same, in time.
    pub behind_max: Duration,
    /// The largest group of pictures that is kept for who comes.
    pub group_bytes_max: usize,
    /// How long a stream goes on after its last viewer has left.
    pub linger: Duration,
    /// The most viewers, of all streams.
    pub viewers_max: usize,
}

impl Default for LiveOptions {
    fn default() -> LiveOptions {
        LiveOptions {
            behind_bytes_max: 8 << 20,
            behind_max: Duration::from_secs(5),
            group_bytes_max: 64 << 20,
            linger: Duration::from_secs(10),
            viewers_max: 2000,
        }
    }
}
