//! From chunk to chunk of a stream, by the outlines of its blocks: no table and no footage is read. Pure but for [`TimelineSource`].
//!
//! What the ring takes while somebody walks is passed over as a later look at the volume would, and told. Where nothing is left that way
//! forwards that is an error: what was recorded since is newer than this look.

use super::Direction;
use super::joins::Met;
use crate::error::{Error, Result};
use crate::segments::leading;
use crate::timeline::{Reason, TimelineSource};
use keha_fs::{
    BlockOutline, BlockState, ChunkNumber, OutlineChunk, OutlineKind, OutlineSync, StreamId, StreamRow,
    TrackNumber, WallTime,
};
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

/// How many outlines are kept: a group may reach over some blocks, and steps go to and fro.
const OUTLINES_KEPT: usize = 4;

/// A chunk of samples: the place of its block's row, and which of its chunks it is. They are ordered as they were recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Spot {
    pub(super) place: usize,
    pub(super) chunk: usize,
}

/// Whether decoding can have begun before a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begun {
    Yes,
    No,
    /// Where it may have begun the ring has taken since.
    Taken,
}

/// Walks over a stream.
#[derive(Clone)]
pub(super) struct Walk<'a> {
    source: &'a dyn TimelineSource,
    stream: StreamId,
    rows: &'a [StreamRow],
    kept: RefCell<VecDeque<(usize, Arc<BlockOutline>)>>,
    /// Blocks that the ring has taken since, and from when on there is something still, where that was said.
    gone: Rc<RefCell<BTreeMap<usize, Option<WallTime>>>>,
    sought: Option<WallTime>,
    is_wanted: &'a dyn Fn() -> bool,
}

impl<'a> Walk<'a> {
    pub(super) fn new(source: &'a dyn TimelineSource, stream: StreamId, rows: &'a [StreamRow]) -> Walk<'a> {
        let (kept, gone) = Default::default();
        Walk { source, stream, rows, kept, gone, sought: None, is_wanted: &|| true }
    }

    /// The same for as long as this says so, which is asked before each block is read.
    pub(super) fn while_wanted(self, is_wanted: &'a dyn Fn() -> bool) -> Walk<'a> {
        Walk { is_wanted, ..self }
    }

    /// # Errors
    /// [`Error::Cancelled`] where it is not wanted any more.
    pub(super) fn ask(&self) -> Result<()> {
        if (self.is_wanted)() { Ok(()) } else { Err(Error::Cancelled) }
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
    ///
    /// # Errors
    /// [`keha_fs::Error::Overwritten`] where the ring has taken it.
    pub(super) fn outline(&self, place: usize) -> Result<Arc<BlockOutline>> {
        match self.left(place)? {
            Some(outline) => Ok(outline),
            None => Err(self.overwritten(place)),
        }
    }

    /// What a block holds; `None` where the ring has taken it.
    pub(super) fn left(&self, place: usize) -> Result<Option<Arc<BlockOutline>>> {
        let Some(row) = self.rows.get(place).filter(|row| void_of(row).is_none()) else {
            return Ok(Some(Arc::default()));
        };
        let mut kept = self.kept.borrow_mut();
        if let Some((_, outline)) = kept.iter().find(|(kept, _)| *kept == place) {
            return Ok(Some(Arc::clone(outline)));
        }
        if self.gone.borrow().contains_key(&place) {
            return Ok(None);
        }
        self.ask()?;
        let outline = match self.source.outline(self.stream, row) {
            Ok(outline) => Arc::new(outline),
            Err(keha_fs::Error::Overwritten { available_from }) => {
                self.gone.borrow_mut().insert(place, available_from);
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        if kept.len() >= OUTLINES_KEPT {
            kept.pop_front();
        }
        kept.push_back((place, Arc::clone(&outline)));
        Ok(Some(outline))
    }

    /// What was read of a block. Where the ring had taken that nothing else of it is given, either.
    pub(super) fn noted<T>(&self, place: usize, read: Result<T>) -> Result<T> {
        if let Err(Error::Volume(keha_fs::Error::Overwritten { available_from })) = &read {
            self.gone.borrow_mut().insert(place, *available_from);
            self.kept.borrow_mut().retain(|(kept, _)| *kept != place);
        }
        read
    }

    fn overwritten(&self, place: usize) -> Error {
        let available_from = self.gone.borrow().get(&place).copied().flatten();
        keha_fs::Error::Overwritten { available_from }.into()
    }

    /// The chunk that stands at a spot.
    pub(super) fn chunk(&self, spot: Spot) -> Result<Option<OutlineChunk>> {
        Ok(self.outline(spot.place)?.chunks.get(spot.chunk).cloned())
    }

    /// The next chunk of samples from a spot, or from the end of the stream. With `keyframes`, blocks without any are passed over unread.
    ///
    /// # Errors
    /// [`keha_fs::Error::Overwritten`] where the ring has taken all that is left forwards.
    pub(super) fn next(
        &self,
        from: Option<Spot>,
        direction: Direction,
        keyframes: bool,
        met: &mut Met,
    ) -> Result<Option<Spot>> {
        let first = if direction == Direction::Forwards { Some(0) } else { self.rows.len().checked_sub(1) };
        let Some(place) = from.map(|from| from.place).or(first) else { return Ok(None) };
        let standing = from.map(|from| self.left(from.place)).transpose()?.flatten();
        let left = standing.zip(from).and_then(|(block, from)| block.chunks.get(from.chunk).cloned());
        let from = (place, from.map(|from| from.chunk));
        match self.next_from(from, left, direction, keyframes, met)? {
            (None, Some(taken)) if direction == Direction::Forwards => Err(self.overwritten(taken)),
            (found, _) => Ok(found),
        }
    }

    /// The first chunk of samples of a block, or of those behind it, as far as they are left.
    pub(super) fn first_from(&self, place: usize) -> Result<Option<Spot>> {
        Ok(self.next_from((place, None), None, Direction::Forwards, false, &mut Met::default())?.0)
    }

    /// The error of one whose newest block the ring has taken: what was recorded since is newer than this look.
    pub(super) fn overtaken(&self) -> Option<Error> {
        let last = self.rows.len().checked_sub(1).filter(|last| self.gone.borrow().contains_key(last));
        last.map(|last| self.overwritten(last))
    }

    /// The next from a chunk of a block, or from its end, and the last block on the way that the ring has taken; `left` is what stands at
    /// that chunk.
    fn next_from(
        &self,
        (mut place, mut chunk): (usize, Option<usize>),
        mut left: Option<OutlineChunk>,
        direction: Direction,
        keyframes: bool,
        met: &mut Met,
    ) -> Result<(Option<Spot>, Option<usize>)> {
        let mut taken = None;
        while let Some(row) = self.rows.get(place) {
            let is_read = chunk.is_some() || !(keyframes && has_none(row) || self.is_too_early(place));
            match self.left_if(is_read, place)? {
                Some(outline) => {
                    let found = next_in(row, &outline, chunk, direction, met);
                    if let Some((chunk, found)) = found.and_then(|at| Some((at, outline.chunks.get(at)?))) {
                        met.reach(left.as_ref(), found, direction);
                        return Ok((Some(Spot { place, chunk }), taken));
                    }
                }
                None => {
                    left = None;
                    if is_read {
                        met.add(Reason::Overwritten);
                        taken = Some(place);
                    }
                }
            }
            let next = match direction {
                Direction::Forwards => place.checked_add(1),
                Direction::Backwards => place.checked_sub(1),
            };
            let Some((next, entered)) = next.and_then(|next| Some((next, self.rows.get(next)?))) else {
                break;
            };
            if self.rows.get(place.max(next)).is_some_and(|later| !later.follows) {
                met.add(Reason::Overwritten);
            }
            void_of(entered).into_iter().for_each(|reason| met.add(reason));
            (place, chunk) = (next, None);
        }
        Ok((None, taken))
    }

    fn left_if(&self, is_read: bool, place: usize) -> Result<Option<Arc<BlockOutline>>> {
        if is_read { self.left(place) } else { Ok(None) }
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
        let found = self.source.configuration(self.stream, row, chunk.configuration);
        let found = self.noted(spot.place, found.map_err(Error::from))?;
        let track = match &found {
            Some(configuration) => leading(configuration).map(|video| video.track),
            None => all.iter().map(|sync| sync.track).min(),
        };
        Ok(all.iter().filter(|sync| track.is_none_or(|track| sync.track == track)).copied().collect())
    }

    /// Whether decoding can have begun before a chunk, in its run, without anything overwritten between.
    pub(super) fn is_begun(&self, spot: Spot) -> Result<Begun> {
        let Some(run) = self.chunk(spot)?.map(|chunk| chunk.run) else { return Ok(Begun::No) };
        let mut end = Some(spot.chunk);
        for place in (0..=spot.place).rev() {
            let Some(row) = self.rows.get(place).filter(|row| void_of(row).is_none()) else {
                return Ok(Begun::No);
            };
            let Some(outline) = self.left(place)? else { return Ok(Begun::Taken) };
            let before = outline.chunks.get(..end.take().unwrap_or(outline.chunks.len())).unwrap_or_default();
            let cuts = |chunk: &OutlineChunk| match chunk.kind {
                OutlineKind::Erased | OutlineKind::Expired => true,
                OutlineKind::Media => chunk.run != run,
                _ => false,
            };
            let cut = before.iter().rposition(cuts).map_or(0, |cut| cut + 1);
            if (cut..before.len()).any(|chunk| !syncs_in(&outline, chunk).is_empty()) {
                return Ok(Begun::Yes);
            }
            if cut > 0 || !row.follows {
                return Ok(Begun::No);
            }
        }
        Ok(Begun::No)
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

/// The next chunk of samples in a block, from one of its chunks or from its end on. What is met on the way is told.
fn next_in(
    row: &StreamRow,
    outline: &BlockOutline,
    from: Option<usize>,
    direction: Direction,
    met: &mut Met,
) -> Option<usize> {
    let mut at = from;
    loop {
        let (next, behind) = match direction {
            Direction::Forwards => at.map_or((0, 0), |at| (at + 1, at + 1)),
            Direction::Backwards => {
                let next = at.unwrap_or(outline.chunks.len()).wrapping_sub(1);
                (next, next.wrapping_add(1))
            }
        };
        if is_hidden_before(row, outline, behind) {
            met.add(Reason::Damaged);
        }
        match &outline.chunks.get(next)?.kind {
            OutlineKind::Media => return Some(next),
            OutlineKind::Erased => met.add(Reason::Erased),
            OutlineKind::Expired => met.add(Reason::Expired),
            OutlineKind::Gap(gap) => met.record(gap),
            _ => {}
        }
        at = Some(next);
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
