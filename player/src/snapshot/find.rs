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

/// The same of a stream of which several volumes have something; in which of them it stands, too. For the newest it is looked first into the
/// one that has the latest footage by its table, and into no other that has nothing newer than what is found: that is asked for again and
/// again while a stream is recorded.
///
/// # Errors
/// As [`find`].
pub fn find_of(holdings: &[Holding<'_>], moment: Moment) -> Result<Option<(usize, SnapshotName)>> {
    let mut best: Option<(Nearness, usize, SnapshotName)> = None;
    let mut parts: Vec<(usize, &Holding<'_>)> = holdings.iter().enumerate().collect();
    if moment == Moment::Newest {
        parts.sort_by_key(|(_, holding)| Reverse(latest(holding)));
    }
    for (part, holding) in parts {
        let found = best.as_ref().map(|(.., name)| name.at);
        if moment == Moment::Newest && found.is_some_and(|found| latest(holding) < Some(found)) {
            break;
        }
        if let Some((near, name)) = nearest(holding, moment)?
            && best.as_ref().is_none_or(|(known, ..)| near >= *known)
        {
            best = Some((near, part, name));
        }
    }
    Ok(best.map(|(_, part, name)| (part, name)))
}

/// The latest moment of which there may be a picture, by the table.
fn latest(holding: &Holding<'_>) -> Option<WallTime> {
    let rows = holding.index.rows_of(holding.stream).iter().filter(|row| row.sync_samples > 0);
    rows.filter_map(|row| row.wall).map(|(_, to)| to).max()
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

#[cfg(test)]
mod tests {
    use super::*;
    use keha_fs::{BlockOutline, BlockState, OutlineChunk, OutlineSync, StreamRow, TrackNumber, Uuid};
    use std::sync::atomic::{AtomicUsize, Ordering};

    const STREAM: StreamId = StreamId(Uuid::from_u128(1));

    /// A volume with a picture at each of these moments, a block each; how often it is read.
    struct Volume(Vec<i64>, AtomicUsize);

    impl TimelineSource for Volume {
        fn streams(&self) -> Vec<StreamId> {
            vec![STREAM]
        }

        fn is_live(&self) -> bool {
            true
        }

        fn rows(&self, _: StreamId) -> Vec<StreamRow> {
            let row = |at: &i64| StreamRow {
                state: BlockState::Sealed,
                samples: 1,
                sync_samples: 1,
                wall: Some((WallTime(*at), WallTime(*at))),
                ..StreamRow::default()
            };
            self.0.iter().map(row).collect()
        }

        fn outline(&self, _: StreamId, row: &StreamRow) -> keha_fs::Result<BlockOutline> {
            self.1.fetch_add(1, Ordering::SeqCst);
            let (from, to) = row.wall.expect("a moment");
            let chunk = OutlineChunk {
                number: None,
                kind: OutlineKind::Media,
                run: RunId::default(),
                from,
                to,
                configuration: Default::default(),
                bytes: 1,
            };
            let sync = OutlineSync { chunk: 0, entry: 0, wall: from, track: TrackNumber(1) };
            Ok(BlockOutline { chunks: vec![chunk], syncs: vec![sync], ..BlockOutline::default() })
        }
    }

    #[test]
    fn the_newest_picture_is_looked_for_where_it_is_recorded_and_nowhere_else() {
        let volume = |moments: &[i64]| Volume(moments.to_vec(), AtomicUsize::new(0));
        let volumes = [volume(&[10, 20]), volume(&[30, 40]), volume(&[25]), volume(&[])];
        let indices: Vec<Index> = volumes.iter().map(|volume| Index::new(volume)).collect();
        let holdings = indices.iter().zip(&volumes);
        let holdings: Vec<Holding<'_>> =
            holdings.map(|(index, source)| Holding { index, source, stream: STREAM }).collect();
        let found = find_of(&holdings, Moment::Newest).expect("found");
        assert_eq!(found, Some((1, SnapshotName { run: RunId::default(), at: WallTime(40) })));
        let read: Vec<usize> = volumes.iter().map(|volume| volume.1.load(Ordering::SeqCst)).collect();
        assert_eq!(read, [0, 1, 0, 0]);
        assert_eq!(find_of(&holdings[3..], Moment::Newest).expect("nothing"), None);
    }
}
