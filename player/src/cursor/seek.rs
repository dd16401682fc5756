//! Where a cursor is put: by wall time, or by a mark.

use super::page::{Page, is_of};
use super::walk::Spot;
use super::{At, Cursor, Direction, Mark, Moment, Step};
use crate::error::Result;
use crate::segments::LOOK_NS;
use crate::timeline::{self, SeekPoint};
use keha_fs::{OutlineSync, WallTime};

/// On which side of a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nearest {
    /// The last at the moment or before it.
    AtOrBefore,
    /// The first at the moment or behind it.
    AtOrAfter,
}

impl Cursor<'_> {
    /// Puts the cursor on what is nearest to a moment. Of several runs that cover it, in the one that was recorded last; within a run what
    /// is shown nearest, where pictures are stored in another order. `None` if nothing is there: the cursor stays where it is.
    ///
    /// Sound before the first picture of a stretch is no place to begin, as in timelines. At or behind a moment is the next one recorded
    /// that is: behind the last one of its run, it may be in a later run whose clock was set back.
    ///
    /// # Errors
    /// As [`crate::timeline::seek`] and [`Cursor::step`].
    pub fn seek(&mut self, wall: WallTime, nearest: Nearest, step: Step) -> Result<Option<Moment>> {
        let mut wall = wall;
        let mut answer = timeline::seek(self.index, self.volume, self.stream, wall)?;
        if answer.at.is_empty() {
            let near = match nearest {
                Nearest::AtOrBefore => answer.before,
                Nearest::AtOrAfter => answer.behind,
            };
            let Some(near) = near else { return Ok(None) };
            wall = near;
            answer = timeline::seek(self.index, self.volume, self.stream, wall)?;
        }
        let Some(point) = answer.at.last() else { return Ok(None) };
        let mut found = Cursor { at: None, ..self.clone() };
        let Some(at) = found.at_point(point)? else { return Ok(None) };
        found.stand(at, step);
        let best = match nearest {
            Nearest::AtOrBefore => found.last_before(wall, step)?,
            Nearest::AtOrAfter => found.first_behind(wall, step)?,
        };
        let Some(best) = best else { return Ok(None) };
        self.stand(best, step);
        Ok(self.moment(None))
    }

    /// Puts the cursor on a sample by its mark; `None` if it is not there, or not any more: the cursor stays where it is.
    ///
    /// # Errors
    /// [`keha_fs::Error::Overwritten`] if the ring has taken it; what is wrong with the disk.
    pub fn resume(&mut self, mark: Mark) -> Result<Option<Moment>> {
        if let Some(first) = self.walk.rows().first().filter(|first| mark.chunk < first.first_chunk) {
            let available_from = first.wall.map(|(from, _)| from);
            return Err(keha_fs::Error::Overwritten { available_from }.into());
        }
        let Some(spot) = self.walk.spot_of(mark.chunk)? else { return Ok(None) };
        let page = self.page(spot)?;
        let Some(index) = page.position(|row| Mark::of(row) == mark) else { return Ok(None) };
        self.stand(At { page, index }, Step::Sample);
        Ok(self.moment(None))
    }

    /// The sync sample of a seek.
    fn at_point(&self, point: &SeekPoint) -> Result<Option<At>> {
        let place = self
            .walk
            .rows()
            .iter()
            .position(|row| (row.block, row.sequence) == (point.block, point.sequence));
        let Some(place) = place else { return Ok(None) };
        let outline = self.walk.outline(place)?;
        let is_it = |sync: &&OutlineSync| {
            (sync.wall, sync.track, sync.entry) == (point.sync, point.track, point.entry)
                && outline.chunks.get(sync.chunk as usize).is_some_and(|chunk| chunk.run == point.run)
        };
        let Some(sync) = outline.syncs.iter().find(is_it) else { return Ok(None) };
        self.locate(Spot { place, chunk: sync.chunk as usize }, *sync)
    }

    /// The sample of a sync place that begins in a chunk: it ends in the same, or if it is split in a later one. `None` if it is damaged.
    pub(super) fn locate(&self, spot: Spot, sync: OutlineSync) -> Result<Option<At>> {
        let Some(number) = self.walk.chunk(spot)?.and_then(|chunk| chunk.number) else { return Ok(None) };
        let mut next = Some(spot);
        while let Some(spot) = next {
            let page = self.page(spot)?;
            if let Some(index) = page.position(|row| row.begins == number && is_of(row, &sync)) {
                return Ok(Some(At { page, index }));
            }
            // Nothing stands between the parts of a sample.
            if page.position(|row| row.begins > number).is_some() {
                return Ok(None);
            }
            next = self.walk.next(Some(spot), Direction::Forwards, false, &mut Default::default())?;
        }
        Ok(None)
    }

    /// From a sync sample at or before a moment on, the last at or before it.
    fn last_before(&mut self, wall: WallTime, step: Step) -> Result<Option<At>> {
        let fits = |at: &At| {
            at.page.row(at.index).is_some_and(|row| row.wall <= wall) && at.page.is_of_step(at.index, step)
        };
        // It may be a sync sample of another track, and what was recorded before it be shown behind the moment.
        while !self.at.as_ref().is_some_and(fits) {
            if self.step(Direction::Backwards, step)?.is_none() {
                return Ok(None);
            }
        }
        let mut best = self.at.clone();
        let mut reached = self.row().map_or(WallTime::MIN, |row| row.wall);
        loop {
            let next = self.step(Direction::Forwards, step)?;
            let Some(next) = next.filter(|next| next.discontinuity.is_none()) else { return Ok(best) };
            let at = next.row.wall;
            if at > wall.plus_ns(LOOK_NS) {
                return Ok(best);
            }
            if at <= wall && at >= reached {
                (best, reached) = (self.at.clone(), at);
            }
        }
    }

    /// From a sync sample at or before a moment on, the first at or behind it.
    fn first_behind(&mut self, wall: WallTime, step: Step) -> Result<Option<At>> {
        let fits = |page: &Page, index: usize| {
            page.row(index).is_some_and(|row| row.wall >= wall) && page.is_of_step(index, step)
        };
        let mut best = self.at.clone().filter(|at| fits(&at.page, at.index));
        let mut first = best.as_ref().and(self.row()).map(|row| row.wall);
        // Where a clock was ahead, all that was recorded since it was set right may be before the moment.
        self.walk.seek_at_or_behind(first.is_none().then_some(wall));
        while first.is_none_or(|first| first > wall) {
            let Some(next) = self.step(Direction::Forwards, step)? else { break };
            let at = next.row.wall;
            let is_far = first.is_some_and(|first| at > first.plus_ns(LOOK_NS));
            if first.is_some() && (next.discontinuity.is_some() || is_far) {
                break;
            }
            if at >= wall && first.is_none_or(|first| at < first) {
                (best, first) = (self.at.clone(), Some(at));
                self.walk.seek_at_or_behind(None);
            }
        }
        Ok(best)
    }
}
