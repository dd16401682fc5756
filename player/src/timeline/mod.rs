//! The timeline of a stream: when it has footage, why it has none elsewhere, on which days, and where to begin reading for a moment.
//!
//! Answered from the block table, which an [`Index`] keeps in memory. What stands *inside* a block the table does not tell: where
//! that could change the answer by more than the resolution asked for, the block's outline is read, once, and what was learnt of it
//! is kept. So a month at an hour's resolution reads next to nothing, and the same month at resolution zero is exact to the sample.
//!
//! What is promised:
//!
//! - A moment is *recorded* from the first sample that can be decoded of a stretch to its last one, and in between, as long as no
//!   gap record, no overwritten chunk and no pause of more than [`PAUSE_NS`] lies there. Sound before the first picture of a stretch
//!   does not count; without video every chunk's first sample is such a beginning.
//! - A chunk, about a second of recording, is never cut: a hole within one is not seen.
//! - Ranges and gaps at a resolution differ from those at resolution zero only by joining what is no further apart than that; their
//!   ends are moments of samples, or those of the range asked for.
//! - Clocks that were set back make stretches overlap. All are found: by [`seek()`] each, by [`timeline`] as overlaps.
//! - At the live end nothing is promised: what is behind the last sample known is neither recorded nor a gap, but where an open gap
//!   record says so. A stream of which nothing came for [`QUIET_NS`] has no live end.
//!
//! A stream of which several volumes have something is answered for from all of them ([`timeline_of`]).
//!
//! What must not live here: footage, HTTP, a clock. All reading goes through [`TimelineSource`].

mod across;
mod answer;
mod coalesce;
mod days;
mod index;
mod reason;
mod seek;
mod shape;
mod source;
#[cfg(test)]
mod tests;
mod walk;
mod window;

pub use answer::{Holding, Timeline, TimelineGap, timeline, timeline_of};
pub use coalesce::{Recorded, coalesce};
pub use days::{Day, days, days_of};
pub use index::Index;
pub use reason::Reason;
pub use seek::{SeekAnswer, SeekPoint, seek};
pub use source::TimelineSource;

/// The longest time between two chunks of a run that is no gap although nothing says why, in nanoseconds: cameras that send a
/// picture every few seconds go on. A recorder takes a camera that is silent for longer for gone, and records the gap.
pub const PAUSE_NS: i64 = 10_000_000_000;

/// A stream of which nothing was written for so long is not going on, in nanoseconds: longer than a pause may be, what may wait to be
/// written, and what may be looked at late.
pub const QUIET_NS: i64 = 30_000_000_000;
