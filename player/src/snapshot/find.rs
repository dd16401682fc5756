//! Which picture stands for a moment.

use crate::error::Result;
use crate::timeline::{Index, TimelineSource, seek};
use keha_fs::{OutlineKind, RunId, StreamId, WallTime};

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
    let Moment::At(wall) = moment else { return newest(index, source, stream) };
    let answer = seek(index, source, stream, wall)?;
    let near = answer.before.or(answer.behind);
    let points = match near {
        Some(near) if answer.at.is_empty() => seek(index, source, stream, near)?.at,
        _ => answer.at,
    };
    // Where a clock was set back, what was recorded last.
    Ok(points.last().map(|point| SnapshotName { run: point.run, at: point.sync }))
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
