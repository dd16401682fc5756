//! Where to begin reading for a moment.

use super::index::{Index, Stream};
use super::source::TimelineSource;
use super::walk::{Interval, walk};
use super::window::{is_void, mark_nearest, window};
use crate::error::Result;
use keha_fs::{
    BlockIndex, BlockOutline, ChunkNumber, OutlineKind, OutlineSync, RunId, Sequence, StreamId, TimeRange,
    TrackNumber, WallTime,
};

/// A resolution at which no row stands for its block, not even one of a single sample.
const EVERY_BLOCK: i64 = -1;

/// Where a moment is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeekAnswer {
    /// Every stretch of a run that covers it, in the order of recording; several where a clock was set back.
    pub at: Vec<SeekPoint>,
    /// Where nothing covers the moment, the last sample before it, if any.
    pub before: Option<WallTime>,
    /// Where nothing covers it, the first sample behind it, if any.
    pub behind: Option<WallTime>,
    /// The stream may be going on ([`Index::goes_on`]): behind the last sample nothing is known.
    pub live: bool,
}

/// Where to begin reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeekPoint {
    /// The run.
    pub run: RunId,
    /// The nearest sync sample at or before the moment: from here on [`keha_fs::Volume::read`] gives this run.
    pub sync: WallTime,
    /// Its track.
    pub track: TrackNumber,
    /// Its block,
    pub block: BlockIndex,
    /// the block's take,
    pub sequence: Sequence,
    /// its chunk; `None` where damage hides the number,
    pub chunk: Option<ChunkNumber>,
    /// and its entry in the chunk, from 0.
    pub entry: u32,
}

/// Finds a moment in a stream: everything that covers it. A stream that is unknown has nothing.
///
/// # Errors
/// As [`super::timeline`].
pub fn seek(
    index: &Index,
    source: &dyn TimelineSource,
    stream: StreamId,
    wall: WallTime,
) -> Result<SeekAnswer> {
    let Some(mine) = index.stream(stream) else { return Ok(SeekAnswer::default()) };
    let range = TimeRange { from: Some(wall), to: Some(wall.plus_ns(1)) };
    let mut marked = window(&mine.rows, range);
    mark_nearest(&mine.rows, wall, &mut marked);
    let walked = walk(source, (stream, mine), &marked, EVERY_BLOCK)?;
    let mut answer = SeekAnswer { live: index.goes_on(stream), ..SeekAnswer::default() };
    for interval in &walked.intervals {
        if interval.to < wall {
            answer.before = answer.before.max(Some(interval.to));
        } else if interval.from > wall {
            answer.behind = Some(answer.behind.map_or(interval.from, |behind| behind.min(interval.from)));
        } else {
            answer.at.extend(point(source, (stream, mine), interval, wall)?);
        }
    }
    if !answer.at.is_empty() {
        (answer.before, answer.behind) = (None, None);
    }
    Ok(answer)
}

/// The last sync sample of a stretch at or before a moment, also in blocks before those that were looked into.
fn point(
    source: &dyn TimelineSource,
    (id, stream): (StreamId, &Stream),
    interval: &Interval,
    wall: WallTime,
) -> Result<Option<SeekPoint>> {
    let Some((run, last_place, last_chunk)) = interval.end else { return Ok(None) };
    let mut upto = Some(last_chunk);
    for place in (0..=last_place).rev() {
        let Some(row) = stream.rows.get(place).filter(|row| !is_void(row)) else { break };
        let outline = match source.outline(id, row) {
            Ok(outline) => outline,
            Err(keha_fs::Error::Overwritten { .. }) => break,
            Err(error) => return Err(error.into()),
        };
        if upto.is_none() && last_run(&outline).is_some_and(|last| last != run) {
            break;
        }
        let (sync, is_cut) = last_sync(&outline, run, upto.unwrap_or(u32::MAX), wall);
        if let Some(sync) = sync {
            return Ok(Some(SeekPoint {
                run,
                sync: sync.wall,
                track: sync.track,
                block: row.block,
                sequence: row.sequence,
                chunk: outline
                    .first_chunk
                    .map(|first| ChunkNumber(first.0.saturating_add(sync.chunk.into()))),
                entry: sync.entry,
            }));
        }
        if is_cut || !row.follows {
            break;
        }
        upto = None;
    }
    Ok(None)
}

/// The last sync sample of a run at or before a moment, in chunks up to one and behind what is void before that; and whether
/// something is.
fn last_sync(outline: &BlockOutline, run: RunId, upto: u32, wall: WallTime) -> (Option<OutlineSync>, bool) {
    let chunks = || (0..).zip(&outline.chunks).take_while(|(index, _)| *index <= upto);
    let is_void = |kind: &OutlineKind| matches!(kind, OutlineKind::Erased | OutlineKind::Expired);
    let void: Option<u32> = chunks().filter(|(_, chunk)| is_void(&chunk.kind)).map(|(index, _)| index).last();
    let is_mine = |sync: &OutlineSync| {
        let chunk = outline.chunks.get(sync.chunk as usize);
        sync.chunk <= upto
            && void.is_none_or(|void| sync.chunk > void)
            && sync.wall <= wall
            && chunk.is_some_and(|chunk| chunk.run == run && chunk.kind == OutlineKind::Media)
    };
    (outline.syncs.iter().rev().copied().find(is_mine), void.is_some())
}

fn last_run(outline: &BlockOutline) -> Option<RunId> {
    outline.chunks.iter().rev().find(|chunk| chunk.kind == OutlineKind::Media).map(|chunk| chunk.run)
}
