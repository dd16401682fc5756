//! HLS playlists (RFC 8216): of a range that is over ([`vod`]), of a stream that goes on ([`LivePlaylist`]), and the one that says what
//! there is to choose from ([`master()`]).
//!
//! Playlists are text made of planned segments: no footage is read for them. Segments are made when they are asked for
//! ([`crate::segments::segment`]).
//!
//! Invariants of a live playlist, over all that one [`LivePlaylist`] ever listed:
//!
//! - Only segments are listed whose every byte is settled on the disk. Each is listed once, and only the oldest leave.
//! - `EXT-X-MEDIA-SEQUENCE` never goes back, also not over a restart of the server, of which nothing is remembered. The first segment is
//!   numbered by the Unix second in which it begins, and no segment has a number above its own second: those that join begin in
//!   different whole seconds, so seconds grow at least as fast as numbers, and a segment that begins in the same second as the one
//!   before it, which takes the end of a stretch between them, is left out where its number would be too high. A server that starts
//!   later begins its window where the one before it had its own, or later, for the same footage has the same segments: with a number
//!   that is its second, which no number before it was above. (A clock that was set back has the numbers go on; a restart after that
//!   begins with lower ones, until the clock has caught up.)
//! - `EXT-X-DISCONTINUITY-SEQUENCE` never goes back, and begins with the Unix day of the first segment, for players keep lists as long as
//!   it. That is too little to count by after a restart, and what is recorded does not tell how many were listed before without being
//!   read: so whoever keeps a playlist remembers that number, and begins the next one behind it ([`LivePlaylist::behind`]).
//! - `EXT-X-TARGETDURATION` is chosen from a few steps when the first segments are listed, and stays, unless the camera's keyframe
//!   interval grows past its step: then it is raised, for a player would give up on a longer segment.
//! - While a camera is away its playlist stays as it is. What comes then is behind a discontinuity.
//!
//! `EXT-X-INDEPENDENT-SEGMENTS` (RFC 8216, section 4.3.5.1) says that no sample needs another segment to be decoded. A segment of H.265
//! may begin with a CRA picture, and those that lead it are decoded from the segment before: so the tag is left out where any of a
//! playlist's segments, or any of a master playlist's variants, is H.265.
//!
//! What must not live here: HTTP, signing, segments' bytes.

mod live;
mod master;
mod media;
#[cfg(test)]
mod tests;
mod uris;

pub use live::{LiveOptions, LivePlaylist};
pub use master::{Variant, master};
pub use media::vod;
pub use uris::Uris;
