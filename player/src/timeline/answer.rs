//! The answer to a question for a time range. Pure, but for the outlines that the walk reads.

use super::PAUSE_NS;
use super::across::{Look, end_open, overlaps_of};
use super::coalesce::{Recorded, clip, coalesce};
use super::index::Index;
use super::reason::{Claim, Claims, Reason};
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

/// What one volume has of a stream.
#[derive(Clone, Copy)]
pub struct Holding<'a> {
    /// The rows of the volume's streams.
    pub index: &'a Index,
    /// The volume.
    pub source: &'a dyn TimelineSource,
    /// The stream, as it is known there.
    pub stream: StreamId,
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
    timeline_of(&[Holding { index, source, stream }], &[], range, resolution)
}

/// The same of a stream of which several volumes have something: see `across.rs`. `away` is what is known to stand in volumes that do
/// not answer.
///
/// # Errors
/// As [`timeline`].
pub fn timeline_of(
    holdings: &[Holding<'_>],
    away: &[Recorded],
    range: TimeRange,
    resolution: Duration,
) -> Result<Timeline> {
    let resolution_ns = i64::try_from(resolution.as_nanos()).unwrap_or(i64::MAX);
    let mut looks = Vec::new();
    for holding in holdings {
        looks.extend(look(holding, range, resolution_ns)?);
    }
    end_open(&mut looks);
    let mut away = away.to_vec();
    clip(&mut away, range);
    let reaches = looks.iter().filter_map(|look| reach(look, range));
    let (from, to): (Vec<_>, Vec<_>) = reaches.chain(away.iter().map(|away| (away.from, away.to))).unzip();
    let twice = overlaps_of(&looks, resolution_ns);
    let covered = looks.iter_mut().flat_map(|look| std::mem::take(&mut look.covered)).collect();
    let recorded = coalesce(covered, resolution_ns);
    let away = away.iter().map(|away| Claim { from: away.from, to: away.to, reason: Reason::Away });
    let live = looks.iter().any(|look| look.live);
    let outlines_read = looks.iter().map(|look| look.read).sum();
    let claims = looks.into_iter().map(|look| look.claims).chain([away.collect()]);
    let claims = Claims::new(claims);
    let reach = from.into_iter().min().zip(to.into_iter().max()).filter(|(from, to)| from < to);
    let gaps = reach.map(|(from, to)| holes(&recorded, from, to, resolution_ns)).unwrap_or_default();
    let explained = gaps.into_iter().flat_map(|hole| claims.explain(hole.from, hole.to, PAUSE_NS));
    let gap = |claim: Claim| TimelineGap { from: claim.from, to: claim.to, reason: claim.reason };
    Ok(Timeline { gaps: explained.map(gap).collect(), recorded, overlaps: twice, live, outlines_read })
}

/// What one volume says of a range; `None` if it does not know the stream.
fn look<'a>(holding: &Holding<'a>, range: TimeRange, resolution_ns: i64) -> Result<Option<Look<'a>>> {
    let Holding { index, source, stream } = *holding;
    let Some(mine) = index.stream(stream) else { return Ok(None) };
    let marked = window(&mine.rows, range);
    let Walk { intervals, claims, open, read, .. } = walk(source, (stream, mine), &marked, resolution_ns)?;
    let reached: Vec<Recorded> =
        intervals.iter().map(|interval| Recorded { from: interval.from, to: interval.to }).collect();
    let mut covered = reached.clone();
    clip(&mut covered, range);
    let live = index.goes_on(stream);
    Ok(Some(Look { stream: mine, reached, covered, claims, open, live, read }))
}

/// From when to when something can be said about a volume's part of a stream: before it began, and behind its end, there are no gaps.
fn reach(look: &Look<'_>, range: TimeRange) -> Option<(WallTime, WallTime)> {
    let walls = || look.stream.rows.iter().filter_map(|row| row.wall);
    let reached = || look.reached.iter();
    let first = walls().map(|(min, _)| min).chain(reached().map(|recorded| recorded.from)).min()?;
    let last = walls().map(|(_, max)| max).chain(reached().map(|recorded| recorded.to)).max()?;
    let began = look.stream.rows.first().is_some_and(|row| row.follows);
    let from = match range.from {
        Some(from) if began => from.max(first),
        Some(from) => from,
        None => first,
    };
    let to = match range.to {
        Some(to) if look.open.is_empty() => to.min(last),
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
