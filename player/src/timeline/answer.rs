//! The answer to a question for a time range. Pure, but for the outlines that the walk reads.

use super::PAUSE_NS;
use super::coalesce::{Recorded, clip, coalesce, overlaps};
use super::index::{Index, Stream};
use super::reason::{Claims, Reason};
use super::source::TimelineSource;
use super::walk::{Walk, walk};
use super::window::window;
use crate::error::Result;
use keha_fs::{StreamId, TimeRange, WallTime};
use std::time::Duration;

/// The same moment may be told by the table and by a sample with a difference of a nanosecond: both are rounded from ticks.
const ROUNDING_NS: i64 = 1_000;

/// When a stream has footage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timeline {
    /// What is recorded, in the order of time; further apart than the resolution.
    pub recorded: Vec<Recorded>,
    /// What is not, as far as the stream reaches: in the order of time, one piece for each reason.
    pub gaps: Vec<TimelineGap>,
    /// What is recorded more than once: clocks were set back. Where a block was not looked into, only if by more than
    /// [`PAUSE_NS`].
    pub overlaps: Vec<Recorded>,
    /// The stream may be going on ([`Index::goes_on`]): behind the last sample nothing is known.
    pub live: bool,
    /// How many blocks had to be looked into that were not known yet.
    pub outlines_read: usize,
}

/// A time without footage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimelineGap {
    /// From the last sample before it, or from the beginning of the range.
    pub from: WallTime,
    /// To the first sample behind it, or the end of the range.
    pub to: WallTime,
    /// Why.
    pub reason: Reason,
}

/// When a stream has footage within a range, and why it has none elsewhere, at a resolution: what is no further apart is one.
/// A stream that is unknown has nothing.
///
/// # Errors
/// What the source has to say but that a block is gone, which is a gap.
pub fn timeline(
    index: &Index,
    source: &dyn TimelineSource,
    stream: StreamId,
    range: TimeRange,
    resolution: Duration,
) -> Result<Timeline> {
    let Some(mine) = index.stream(stream) else { return Ok(Timeline::default()) };
    let resolution_ns = i64::try_from(resolution.as_nanos()).unwrap_or(i64::MAX);
    let marked = window(&mine.rows, range);
    let mut walked = walk(source, (stream, mine), &marked, resolution_ns)?;
    let mut covered: Vec<Recorded> =
        walked.intervals.iter().map(|interval| Recorded { from: interval.from, to: interval.to }).collect();
    let reach = reach(mine, &walked, &covered, range);
    clip(&mut covered, range);
    let overlaps = overlaps(covered.clone());
    let recorded = coalesce(covered, resolution_ns);
    let claims = Claims::new(std::mem::take(&mut walked.claims));
    let gaps = reach.map(|(from, to)| holes(&recorded, from, to, resolution_ns)).unwrap_or_default();
    let explained = gaps.into_iter().flat_map(|hole| claims.explain(hole.from, hole.to, PAUSE_NS));
    let gap =
        |claim: super::reason::Claim| TimelineGap { from: claim.from, to: claim.to, reason: claim.reason };
    Ok(Timeline {
        gaps: explained.map(gap).collect(),
        recorded,
        overlaps,
        live: index.goes_on(stream),
        outlines_read: walked.read,
    })
}

/// From when to when something can be said about a stream: before it began, and behind its end, there are no gaps.
fn reach(
    stream: &Stream,
    walked: &Walk,
    covered: &[Recorded],
    range: TimeRange,
) -> Option<(WallTime, WallTime)> {
    let walls = || stream.rows.iter().filter_map(|row| row.wall);
    let first = walls().map(|(min, _)| min).chain(covered.iter().map(|recorded| recorded.from)).min()?;
    let last = walls().map(|(_, max)| max).chain(covered.iter().map(|recorded| recorded.to)).max()?;
    let began = stream.rows.first().is_some_and(|row| row.follows);
    let from = match range.from {
        Some(from) if began => from.max(first),
        Some(from) => from,
        None => first,
    };
    let to = match range.to {
        Some(to) if walked.open.is_empty() => to.min(last),
        Some(to) => to,
        None => last,
    };
    (from < to).then_some((from, to))
}

/// What of a time no range covers, if it is longer than the resolution, and than what moments are rounded by.
fn holes(recorded: &[Recorded], from: WallTime, to: WallTime, resolution_ns: i64) -> Vec<Recorded> {
    let resolution_ns = resolution_ns.max(ROUNDING_NS);
    let mut reached = from;
    let mut holes = Vec::new();
    let end = Recorded { from: to, to };
    for range in recorded.iter().chain([&end]) {
        if range.from.since_ns(reached) > resolution_ns {
            holes.push(Recorded { from: reached, to: range.from });
        }
        reached = reached.max(range.to);
    }
    holes
}
