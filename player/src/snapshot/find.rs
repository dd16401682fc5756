//! Which picture stands for a moment.

use crate::error::Result;
use crate::timeline::{Holding, Index, TimelineSource, seek};
use keha_fs::{OutlineKind, RunId, StreamId, WallTime};
use std::cmp::Reverse;

/// How many blocks are looked into for the newest picture.
const BLOCKS_MAX: usize = 8;

/// When a picture is wanted of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The newest there is.
    Newest,
    /// The nearest at or before a moment; where nothing was recorded then, the last one before, else the first one behind.
    At(WallTime),
}

/// A picture's name within its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SnapshotName {
    /// The run.
    pub run: RunId,
    /// The wall time of its sync sample.
    pub at: WallTime,
}

/// The sync sample for a moment; `None` if the stream has none. No footage is read.
///
/// # Errors
/// As [`crate::timeline::timeline`].
pub fn find(
    index: &Index,
    source: &dyn TimelineSource,
    stream: StreamId,
    moment: Moment,
) -> Result<Option<SnapshotName>> {
    Ok(find_of(&[Holding { index, source, stream }], moment)?.map(|(_, name)| name))
}

/// The same of a stream of which several volumes have something; in which of them it stands, too.
///
/// # Errors
/// As [`find`].
pub fn find_of(holdings: &[Holding<'_>], moment: Moment) -> Result<Option<(usize, SnapshotName)>> {
    let mut best: Option<(Nearness, usize, SnapshotName)> = None;
    for (part, holding) in holdings.iter().enumerate() {
        if let Some((near, name)) = nearest(holding, moment)?
            && best.as_ref().is_none_or(|(known, ..)| near >= *known)
        {
            best = Some((near, part, name));
        }
    }
    Ok(best.map(|(_, part, name)| (part, name)))
}

/// How well a picture stands for a moment: the greatest is the one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Nearness {
    /// Nothing was recorded then: the first behind it.
    Behind(Reverse<WallTime>),
    /// The last before it.
    Before(WallTime),
    /// It was recorded: of several, the one that was begun last.
    Then(WallTime),
}

/// The picture of one volume.
fn nearest(holding: &Holding<'_>, moment: Moment) -> Result<Option<(Nearness, SnapshotName)>> {
    let Holding { index, source, stream } = *holding;
    let Moment::At(wall) = moment else {
        let newest = newest(index, source, stream)?;
        return Ok(newest.map(|name| (Nearness::Then(name.at), name)));
    };
    let answer = seek(index, source, stream, wall)?;
    let near = match (answer.before, answer.behind) {
        _ if !answer.at.is_empty() => None,
        (Some(before), _) => Some((Nearness::Before(before), before)),
        (None, behind) => behind.map(|behind| (Nearness::Behind(Reverse(behind)), behind)),
    };
    let points = match near {
        Some((_, near)) => seek(index, source, stream, near)?.at,
        None => answer.at,
    };
    // Where a clock was set back, what was recorded last.
    let name = points.last().map(|point| SnapshotName { run: point.run, at: point.sync });
    Ok(name.map(|name| (near.map_or(Nearness::Then(name.at), |(near, _)| near), name)))
}

fn newest(index: &Index, source: &dyn TimelineSource, stream: StreamId) -> Result<Option<SnapshotName>> {
    let rows = index.rows_of(stream).iter().rev().filter(|row| row.sync_samples > 0);
    for row in rows.take(BLOCKS_MAX) {
        let outline = match source.outline(stream, row) {
            Ok(outline) => outline,
            Err(keha_fs::Error::Overwritten { .. }) => continue,
            Err(error) => return Err(error.into()),
        };
        let found = outline.syncs.iter().rev().find_map(|sync| {
            let chunk = outline.chunks.get(sync.chunk as usize)?;
            (chunk.kind == OutlineKind::Media).then_some(SnapshotName { run: chunk.run, at: sync.wall })
        });
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}
