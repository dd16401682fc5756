//! Segments: a stream cut into pieces that each begin where decoding can begin, as HLS plays them.
//!
//! - [`plan()`] cuts a range. It reads outlines alone, no footage: which segments there are is known before one is made. [`plan_of`] does so
//!   where several volumes have something of the stream.
//! - [`segment()`] makes one of them from its [`SegmentName`] and the volume.
//! - [`init()`] makes the init segment of a configuration, and says what it is to players.
//!
//! A segment is what is stored from a sync sample up to, not including, the one at which the next segment begins: its pictures in decode
//! order, and the sound that was stored between them. So no sample is in two segments, none is lost between two that join, and pictures
//! that lead a CRA picture are with it. Sound that was stored a little later than its pictures stands where it was stored: each track
//! says its own times, and players show what belongs together. Its first picture carries the parameter sets of its configuration, as
//! the init segment does: so ffmpeg plays on behind a change ([`crate::mp4::ParameterSets::SampleEntryAndSegment`]).
//!
//! Invariants:
//!
//! - Nothing that was made is remembered. The same name gives the same bytes in any process and at any time, as long as the footage stands: a version
//!   that makes other bytes gives other names ([`FORMAT`]). For that
//!   the plan of a stream that is being recorded ends where not all is on the disk that decides a segment's bytes: the first samples
//!   behind it give the last durations, so up to [`LOOK_NS`] behind its end must have been written. A stream of which nothing came for
//!   [`crate::timeline::QUIET_NS`] is not being recorded: its last segment is given ([`segment_of_ended()`]),
//!   but not as one to be kept: writing may only have stood still ([`Segment::is_settled`]).
//! - Names come back from clients. One that fits nothing is [`crate::Error::NoSegment`], never other footage; what one costs is bounded by
//!   [`LENGTH_MAX`] and [`BYTES_MAX`].
//! - A segment never reaches over the end of a run, a change of the configuration, a gap record, something erased, or a pause of more
//!   than [`crate::timeline::PAUSE_NS`]. What follows there is a discontinuity.
//! - Decode times are wall time (docs/time.md): each track begins at the wall time of its first sample, goes on in its own ticks, and lasts
//!   until the wall time of the sample behind. So a clock's corrections vanish in the last duration, and segments join without a seam.
//!   Where a stretch begins or ends its tracks do so together: sound that is not there yet, or not any more, is silence.
//!
//! A group of pictures longer than [`LENGTH_MAX`] or larger than [`BYTES_MAX`] has no segment: the plan tells it in [`Plan::left_out`],
//! and the log. A sample that carries parameter
//! sets which its configuration does not have is given without them; [`Segment::needs_init`] says so, and the log. The recorder begins a new
//! configuration where sets change, so that is a camera that changes them between two sync samples.
//!
//! What must not live here: playlists, HTTP, a cache of what was made. [`Outlines`] keeps what plans are made from.

mod across;
mod build;
mod ends;
mod gops;
mod join;
mod left_out;
#[cfg(test)]
pub(crate) mod made_up;
mod name;
mod outlines;
mod plan;
mod reading;
#[cfg(test)]
mod tests;
mod tracks;

pub use across::plan_of;
pub use build::{Segment, segment, segment_of_ended};
pub(crate) use join::Joiner;
pub(crate) use left_out::tell_left_out;
pub use name::{FORMAT, InitName, SegmentName};
pub use outlines::{Outlined, Outlines};
pub use plan::{Plan, PlannedSegment, plan, target_of};
pub(crate) use plan::{Position, live_gops, mark_independent};
pub(crate) use tracks::leading;
pub use tracks::{Init, init};

use keha_fs::{Gap, WallTime};
use std::time::Duration;

/// The longest segment.
pub const LENGTH_MAX: Duration = Duration::from_secs(60);
/// The most bytes of samples in a segment.
pub const BYTES_MAX: usize = 64 << 20;
/// The most segments of a plan.
pub const SEGMENTS_MAX: usize = 20_000;
/// How far behind a segment's end samples may decide its last durations, in nanoseconds.
pub const LOOK_NS: i64 = 1_000_000_000;

/// How far behind a segment's end is read at most.
const READ_BEHIND_NS: i64 = 4 * LOOK_NS;
const LENGTH_MAX_NS: i64 = LENGTH_MAX.as_nanos() as i64;
/// How long the last picture of a stretch is shown where nothing follows it: as at 25 pictures a second.
const LAST_PICTURE_NS: i64 = 40_000_000;

/// Whether a gap record tells of a hole behind what was recorded up to `reached`. Records of earlier holes may be stored later.
fn interrupts(gap: &Gap, reached: WallTime) -> bool {
    gap.to.is_none_or(|to| to > reached) && gap.from <= reached.plus_ns(READ_BEHIND_NS)
}
