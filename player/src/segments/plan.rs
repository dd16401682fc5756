//! Which segments a range of a stream has. Outlines are read, no footage.

use super::gops::{Gop, Gops};
use super::join::Joiner;
use super::left_out::tell_left_out;
use super::tracks::is_independent;
use super::{SEGMENTS_MAX, SegmentName};
use crate::error::{Error, Result};
use crate::timeline::{Index, PAUSE_NS, TimelineSource};
use keha_fs::{BlockIndex, BlockState, ChunkNumber, Sequence, StreamId, StreamRow, TimeRange, WallTime};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Duration;

/// How many blocks without a sync sample are looked back for the one that a range's beginning needs.
const BLOCKS_BACK_MAX: usize = 64;
/// How many blocks a live playlist catches up with.
const BLOCKS_BEHIND_MAX: usize = 64;
/// Up to this long a range has short segments, so that it begins to play soon.
const SHORT_RANGE_NS: i64 = 600 * 1_000_000_000;

/// A segment that can be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedSegment {
    /// Its name.
    pub name: SegmentName,
    /// It does not go on where the one before it ended. Never set for the first.
    pub discontinuity: bool,
    /// About how many bytes it has: those of its chunks on the disk.
    pub bytes: u64,
    /// Each of its pictures can be decoded from it alone. Not so in H.265: see [`crate::hls`].
    pub independent: bool,
    /// In which of the volumes that were looked at it stands, from 0.
    pub part: usize,
    /// The block in which it begins, and the block's take.
    pub(crate) block: (BlockIndex, Sequence),
}

impl PlannedSegment {
    /// How long it is.
    pub fn duration(&self) -> Duration {
        Duration::from_nanos(self.name.to.since_ns(self.name.from).max(0).unsigned_abs())
    }

    /// When it begins.
    pub fn wall(&self) -> WallTime {
        self.name.from
    }
}

/// The segments of a range.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// They, in the order of recording.
    pub segments: Vec<PlannedSegment>,
    /// Recorded, but longer without a sync sample, or larger, than a segment may be ([`super::LENGTH_MAX`], [`super::BYTES_MAX`]). The
    /// log tells of it.
    pub left_out: Vec<(WallTime, WallTime)>,
}

/// How long segments of a range should be: short ones begin to play soon, long ones make a short playlist.
pub fn target_of(range: TimeRange) -> Duration {
    let short = range.from.zip(range.to).is_some_and(|(from, to)| to.since_ns(from) <= SHORT_RANGE_NS);
    Duration::from_secs(if short { 2 } else { 6 })
}

/// The segments of a range of a stream, from the sync sample at or before its beginning to the end of the group of pictures in which
/// it ends. Groups of pictures that begin within the same `target` of wall time are joined; one that is longer is a longer segment. A stream that is unknown,
/// or has nothing there, has no segments. What is still being recorded at the end is left out, until the stream does not go on any more
/// ([`Index::goes_on`]).
///
/// # Errors
/// [`Error::Invalid`] if there are more than [`SEGMENTS_MAX`]; as [`crate::timeline::timeline`].
pub fn plan(
    index: &Index,
    source: &dyn TimelineSource,
    stream: StreamId,
    range: TimeRange,
    target: Duration,
) -> Result<Plan> {
    let mut joiner = Joiner::new(i64::try_from(target.as_nanos()).unwrap_or(i64::MAX), None);
    let rows = Rows { rows: index.rows_of(stream), source, stream, is_live: index.goes_on(stream) };
    let complete = rows.gops(range, &mut |gop| {
        let inside = range.to.is_none_or(|to| gop.from < to) && range.from.is_none_or(|from| gop.to > from);
        if inside {
            joiner.push(&gop);
        }
        if joiner.count() <= SEGMENTS_MAX { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    joiner.close();
    if complete.is_break() || joiner.count() > SEGMENTS_MAX {
        return Err(too_many(target));
    }
    let (mut segments, left_out) = joiner.finish();
    tell_left_out(stream, &left_out);
    mark_independent(index, source, stream, &mut segments)?;
    Ok(Plan { segments, left_out })
}

/// The error where a range has too many segments of about this length.
pub(super) fn too_many(target: Duration) -> Error {
    let longest = target.as_secs_f64() * SEGMENTS_MAX as f64 / 3600.0;
    Error::Invalid(format!(
        "a playlist has at most {SEGMENTS_MAX} segments, and this range has more; ask for up to {longest:.0} hours at once"
    ))
}

/// Finds out of new segments whether they are independent. A configuration that is gone is taken for one of which they are not.
pub(crate) fn mark_independent(
    index: &Index,
    source: &dyn TimelineSource,
    stream: StreamId,
    segments: &mut [PlannedSegment],
) -> Result<()> {
    let mut known = BTreeMap::new();
    for segment in segments {
        let hash = segment.name.configuration;
        segment.independent = match known.get(&hash) {
            Some(independent) => *independent,
            None => {
                let mut rows = index.rows_of(stream).iter();
                let row = rows.find(|row| (row.block, row.sequence) == segment.block);
                let configuration = match row.map(|row| source.configuration(stream, row, hash)) {
                    None | Some(Err(keha_fs::Error::Overwritten { .. })) => None,
                    Some(found) => found?,
                };
                let independent = configuration.is_some_and(|found| is_independent(&found));
                known.insert(hash, independent);
                independent
            }
        };
    }
    Ok(())
}

/// Where a live playlist goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    /// The block in which the last segment begins, and its take.
    pub(crate) block: (BlockIndex, Sequence),
    /// That segment.
    pub(crate) name: SegmentName,
}

/// The groups of pictures behind a position; of the last `window_ns` of a stream alone, if there is none, or it is gone, or so long ago
/// that nobody waits for what follows it.
pub(crate) fn live_gops(
    index: &Index,
    source: &dyn TimelineSource,
    stream: StreamId,
    behind: Option<Position>,
    window_ns: i64,
) -> Result<Vec<Gop>> {
    let rows = index.rows_of(stream);
    let mut found = Vec::new();
    let mut take = |gop: Gop| {
        found.push(gop);
        ControlFlow::Continue(())
    };
    let mut first = None;
    if let Some(behind) = behind {
        first = rows.iter().position(|row| (row.block, row.sequence) == behind.block);
        // This look at the volume is older than the one that the position is from.
        if first.is_none() && rows.iter().all(|row| row.sequence < behind.block.1) {
            return Ok(found);
        }
        first = first.filter(|first| rows.len() - first <= BLOCKS_BEHIND_MAX);
    }
    let from = if first.is_some() { None } else { newest(rows).map(|newest| newest.plus_ns(-window_ns)) };
    // Blocks of runs with later clocks, before a clock was set back, are not the newest.
    let begins = || rows.iter().rposition(|row| row.wall.is_some_and(|(min, _)| Some(min) <= from));
    let rows = rows.get(first.or_else(begins).unwrap_or(0)..).unwrap_or_default();
    let rows = Rows { rows, source, stream, is_live: index.is_live() };
    let _ = rows.gops(TimeRange::default(), &mut take)?;
    found.retain(|gop| from.is_none_or(|from| gop.to > from));
    Ok(found.split_off(behind.map_or(0, |behind| behind.passed(&found))))
}

/// The latest moment of the newest block with samples.
fn newest(rows: &[StreamRow]) -> Option<WallTime> {
    rows.iter().rev().filter(|row| row.samples > 0).find_map(|row| row.wall).map(|(_, max)| max)
}

impl Position {
    /// How many of the groups, from its block on, are not behind it.
    fn passed(&self, gops: &[Gop]) -> usize {
        let mine =
            |gop: &Gop| gop.run == self.name.run && gop.from >= self.name.from && gop.from < self.name.to;
        let behind =
            |gop: &Gop| gop.block.1 > self.block.1 || gop.run == self.name.run && gop.from >= self.name.to;
        match gops.iter().rposition(mine) {
            Some(last) => last + 1,
            // Erased since; or not there yet, where this look is older.
            None => gops.iter().position(behind).unwrap_or(gops.len()),
        }
    }
}

/// A stream's rows, and whom to ask for their outlines.
struct Rows<'a> {
    rows: &'a [StreamRow],
    source: &'a dyn TimelineSource,
    stream: StreamId,
    is_live: bool,
}

impl Rows<'_> {
    /// Gives the groups of the blocks that touch a range, and of those around it that are needed to know where they begin and end.
    fn gops(
        &self,
        range: TimeRange,
        sink: &mut dyn FnMut(Gop) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>> {
        let wanted = self.wanted(range);
        let (mut gops, mut expected) = (Gops::default(), None);
        for (place, row) in self.rows.iter().enumerate() {
            let goes_on = expected == Some(place);
            if wanted.get(place) != Some(&true) && !(goes_on && gops.wants_more(range.to)) {
                continue;
            }
            if !goes_on {
                gops.abandon();
            }
            expected = Some(place + 1);
            self.take(row, &mut gops)?;
            if gops.take_ready().try_for_each(&mut *sink).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        if expected == Some(self.rows.len()) && !self.is_live {
            gops.end_stretch();
        }
        Ok(gops.take_ready().try_for_each(sink))
    }

    fn take(&self, row: &StreamRow, gops: &mut Gops) -> Result<()> {
        let is_first = row.first_chunk == ChunkNumber(1);
        if !row.follows || is_first || matches!(row.state, BlockState::Erased | BlockState::Expired) {
            gops.end_stretch();
        }
        match self.source.shared_outline(self.stream, row) {
            Ok(outline) => gops.block(row, &outline),
            Err(keha_fs::Error::Overwritten { .. }) => gops.abandon(),
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn wanted(&self, range: TimeRange) -> Vec<bool> {
        let to = range.to.map(|to| to.plus_ns(PAUSE_NS));
        let touches = |row: &StreamRow| {
            row.wall.is_some_and(|(min, max)| {
                range.from.is_none_or(|from| max >= from) && to.is_none_or(|to| min < to)
            })
        };
        let mut wanted: Vec<bool> = self.rows.iter().map(touches).collect();
        for place in 1..wanted.len() {
            if wanted.get(place) == Some(&true) && wanted.get(place - 1) == Some(&false) {
                self.look_back(&mut wanted, place);
            }
        }
        wanted
    }

    /// Marks the blocks before one, back to one with a sync sample.
    fn look_back(&self, wanted: &mut [bool], place: usize) {
        for back in (place.saturating_sub(BLOCKS_BACK_MAX)..place).rev() {
            let follows = self.rows.get(back + 1).is_some_and(|row| row.follows);
            let (Some(mark), Some(row), true) = (wanted.get_mut(back), self.rows.get(back), follows) else {
                return;
            };
            *mark = true;
            if row.sync_samples > 0 {
                return;
            }
        }
    }
}
