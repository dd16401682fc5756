//! From chunk to chunk of a stream, by the outlines of its blocks: no table and no footage is read. Pure but for [`TimelineSource`].

use super::Direction;
use super::joins::Met;
use crate::error::Result;
use crate::segments::leading;
use crate::timeline::{Reason, TimelineSource};
use keha_fs::{
    BlockOutline, BlockState, ChunkNumber, OutlineChunk, OutlineKind, OutlineSync, StreamId, StreamRow,
    TrackNumber, WallTime,
};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;

/// How many outlines are kept: a group may reach over some blocks, and steps go to and fro.
const OUTLINES_KEPT: usize = 4;

/// A chunk of samples: the place of its block's row, and which of its chunks it is. They are ordered as they were recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Spot {
    pub(super) place: usize,
    pub(super) chunk: usize,
}

/// Walks over a stream.
#[derive(Clone)]
pub(super) struct Walk<'a> {
    source: &'a dyn TimelineSource,
    stream: StreamId,
    rows: &'a [StreamRow],
    kept: RefCell<VecDeque<(usize, Arc<BlockOutline>)>>,
    sought: Option<WallTime>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(source: &'a dyn TimelineSource, stream: StreamId, rows: &'a [StreamRow]) -> Walk<'a> {
        Walk { source, stream, rows, kept: RefCell::default(), sought: None }
    }

    pub(super) fn rows(&self) -> &'a [StreamRow] {
        self.rows
    }

    /// From here on blocks that have nothing at or behind this moment are passed over unread, and so is what they tell of joints.
    pub(super) fn seek_at_or_behind(&mut self, sought: Option<WallTime>) {
        self.sought = sought;
    }

    /// Whether nothing of a block is at or behind the moment that is sought, nor of those beside it: a sample may be split between two.
    fn is_too_early(&self, place: usize) -> bool {
        let Some(sought) = self.sought else { return false };
        let is_early =
            |row: &StreamRow| is_told(row) && row.wall.map_or(row.samples == 0, |(_, max)| max < sought);
        let beside = self.rows.get(place.saturating_sub(1)..).unwrap_or_default();
        beside.iter().take(3).all(is_early)
    }

    /// What a block holds.
    pub(super) fn outline(&self, place: usize) -> Result<Arc<BlockOutline>> {
        let Some(row) = self.rows.get(place).filter(|row| void_of(row).is_none()) else {
            return Ok(Arc::default());
        };
        let mut kept = self.kept.borrow_mut();
        if let Some((_, outline)) = kept.iter().find(|(kept, _)| *kept == place) {
            return Ok(Arc::clone(outline));
        }
        let outline = Arc::new(self.source.outline(self.stream, row)?);
        if kept.len() >= OUTLINES_KEPT {
            kept.pop_front();
        }
        kept.push_back((place, Arc::clone(&outline)));
        Ok(outline)
    }

    /// The chunk that stands at a spot.
    pub(super) fn chunk(&self, spot: Spot) -> Result<Option<OutlineChunk>> {
        Ok(self.outline(spot.place)?.chunks.get(spot.chunk).cloned())
    }

    /// The next chunk of samples from a spot, or from the end of the stream. With `keyframes`, blocks without any are passed over unread.
    pub(super) fn next(
        &self,
        from: Option<Spot>,
        direction: Direction,
        keyframes: bool,
        met: &mut Met,
    ) -> Result<Option<Spot>> {
        let forwards = direction == Direction::Forwards;
        let first = if forwards { Some(0) } else { self.rows.len().checked_sub(1) };
        let Some(mut place) = from.map(|from| from.place).or(first) else { return Ok(None) };
        let mut chunk = from.map(|from| from.chunk);
        let mut left = from.map(|from| self.chunk(from)).transpose()?.flatten();
        while let Some(row) = self.rows.get(place) {
            if chunk.is_none() && (keyframes && has_none(row) || self.is_too_early(place)) {
                left = None;
            } else {
                let outline = self.outline(place)?;
                let count = outline.chunks.len();
                let next = match (forwards, chunk) {
                    (true, chunk) => chunk.map_or(0, |chunk| chunk + 1),
                    (false, chunk) => chunk.unwrap_or(count).wrapping_sub(1),
                };
                if is_hidden_before(row, &outline, if forwards { next } else { next.wrapping_add(1) }) {
                    met.add(Reason::Damaged);
                }
                if let Some(found) = outline.chunks.get(next) {
                    chunk = Some(next);
                    match &found.kind {
                        OutlineKind::Media => {
                            met.reach(left.as_ref(), found, direction);
                            return Ok(Some(Spot { place, chunk: next }));
                        }
                        OutlineKind::Erased => met.add(Reason::Erased),
                        OutlineKind::Expired => met.add(Reason::Expired),
                        OutlineKind::Gap(gap) => met.record(gap),
                        _ => {}
                    }
                    continue;
                }
            }
            let next = if forwards { place.checked_add(1) } else { place.checked_sub(1) };
            let Some((next, entered)) = next.and_then(|next| Some((next, self.rows.get(next)?))) else {
                break;
            };
            if self.rows.get(place.max(next)).is_some_and(|later| !later.follows) {
                met.add(Reason::Overwritten);
            }
            void_of(entered).into_iter().for_each(|reason| met.add(reason));
            (place, chunk) = (next, None);
        }
        Ok(None)
    }

    /// The keyframes that begin in a chunk, in the order of recording: those of the track that leads; without video, of any.
    pub(super) fn keyframes(&self, spot: Spot) -> Result<Vec<OutlineSync>> {
        let outline = self.outline(spot.place)?;
        let all = syncs_in(&outline, spot.chunk);
        let (Some(row), Some(chunk), false) =
            (self.rows.get(spot.place), outline.chunks.get(spot.chunk), all.is_empty())
        else {
            return Ok(Vec::new());
        };
        let found = self.source.configuration(self.stream, row, chunk.configuration)?;
        let track = match &found {
            Some(configuration) => leading(configuration).map(|video| video.track),
            None => all.iter().map(|sync| sync.track).min(),
        };
        Ok(all.iter().filter(|sync| track.is_none_or(|track| sync.track == track)).copied().collect())
    }

    /// Whether decoding can have begun before a chunk, in its run, without anything overwritten between.
    pub(super) fn is_begun(&self, spot: Spot) -> Result<bool> {
        let Some(run) = self.chunk(spot)?.map(|chunk| chunk.run) else { return Ok(false) };
        let mut end = Some(spot.chunk);
        for place in (0..=spot.place).rev() {
            let Some(row) = self.rows.get(place).filter(|row| void_of(row).is_none()) else {
                return Ok(false);
            };
            let outline = self.outline(place)?;
            let before = outline.chunks.get(..end.take().unwrap_or(outline.chunks.len())).unwrap_or_default();
            let cuts = |chunk: &OutlineChunk| match chunk.kind {
                OutlineKind::Erased | OutlineKind::Expired => true,
                OutlineKind::Media => chunk.run != run,
                _ => false,
            };
            let cut = before.iter().rposition(cuts).map_or(0, |cut| cut + 1);
            if (cut..before.len()).any(|chunk| !syncs_in(&outline, chunk).is_empty()) {
                return Ok(true);
            }
            if cut > 0 || !row.follows {
                return Ok(false);
            }
        }
        Ok(false)
    }

    /// The spot of the chunk with a number.
    pub(super) fn spot_of(&self, number: ChunkNumber) -> Result<Option<Spot>> {
        let behind = self.rows.partition_point(|row| row.first_chunk <= number);
        let Some(place) = behind.checked_sub(1) else { return Ok(None) };
        let outline = self.outline(place)?;
        let chunk = outline.chunks.iter().position(|chunk| chunk.number == Some(number));
        Ok(chunk.map(|chunk| Spot { place, chunk }))
    }
}

/// The places in a chunk where reading may begin.
pub(super) fn syncs_in(outline: &BlockOutline, chunk: usize) -> &[OutlineSync] {
    let before = outline.syncs.partition_point(|sync| (sync.chunk as usize) < chunk);
    let behind = outline.syncs.partition_point(|sync| (sync.chunk as usize) <= chunk);
    outline.syncs.get(before..behind).unwrap_or_default()
}

/// The track that leads in a chunk of this configuration.
pub(super) fn leading_track(configuration: &keha_fs::Configuration) -> Option<TrackNumber> {
    let lowest = || configuration.tracks.iter().map(|track| track.track).min();
    leading(configuration).map(|video| video.track).or_else(lowest)
}

/// Why nothing is left of a block, if nothing is.
fn void_of(row: &StreamRow) -> Option<Reason> {
    match row.state {
        BlockState::Erased => Some(Reason::Erased),
        BlockState::Expired => Some(Reason::Expired),
        _ => None,
    }
}

/// Whether a block is known to have no keyframe, and nothing in it that has to be told: of one that is being written the row does not
/// tell yet, and of one that is part void it does not tell where.
fn has_none(row: &StreamRow) -> bool {
    row.sync_samples == 0 && !row.part_void && is_told(row)
}

/// Whether a block's row tells all of it.
fn is_told(row: &StreamRow) -> bool {
    matches!(row.state, BlockState::Sealed | BlockState::Parked)
}

/// Whether damage hides chunks of a block before this one, or before its end.
fn is_hidden_before(row: &StreamRow, outline: &BlockOutline, chunk: usize) -> bool {
    let number = |chunk: usize| outline.chunks.get(chunk).map(|chunk| chunk.number);
    let end = row.first_chunk.0.saturating_add(u64::from(row.chunks));
    let expected = match chunk.checked_sub(1).and_then(number) {
        Some(before) => before.map(ChunkNumber::next),
        None => Some(row.first_chunk),
    };
    let found = number(chunk).unwrap_or(Some(ChunkNumber(end)));
    outline.damaged && (expected.is_none() || found.is_none() || expected != found)
}
