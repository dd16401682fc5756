//! Where the runs of a stream begin in a volume, and which comes when among those of other volumes ([`crate::runs`]): found by looking into
//! few of its blocks, for a run may reach over thousands. Pure but for the outlines.
//!
//! Between volumes the next run is the one that begins earliest. So a run comes when its volume has nothing before it that begins later: its
//! *turn* is the latest beginning of it and of all that were recorded before it there. Turns only grow within a volume.
//!
//! What the ring takes meanwhile is nothing here, as in a later look: a run of which the beginning is gone begins with what is left of it.

use super::Direction;
use super::joins::Met;
use super::walk::{Spot, Walk};
use crate::error::Result;
use keha_fs::{OutlineKind, RunId, WallTime};

/// A run: where it begins in its volume, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Begins {
    pub(super) spot: Spot,
    pub(super) run: RunId,
    pub(super) at: WallTime,
}

impl Walk<'_> {
    /// The run that goes on, or begins, at a chunk of samples.
    fn run_at(&self, spot: Spot) -> Result<Option<Begins>> {
        let found = self.chunk(spot)?.filter(|chunk| chunk.kind == OutlineKind::Media);
        Ok(found.map(|chunk| Begins { spot, run: chunk.run, at: chunk.from }))
    }

    /// The next chunk of samples of another run.
    fn beside(&self, from: Option<Spot>, direction: Direction) -> Result<Option<Begins>> {
        self.run_at_some(self.next(from, direction, false, &mut Met::default())?)
    }

    fn run_at_some(&self, spot: Option<Spot>) -> Result<Option<Begins>> {
        Ok(spot.map(|spot| self.run_at(spot)).transpose()?.flatten())
    }

    /// The first chunk of samples of a block, or of those behind it.
    fn head(&self, place: usize) -> Result<Option<Begins>> {
        self.run_at_some(self.first_from(place)?)
    }

    /// The first place in a range of blocks from which on this holds of their heads; the end of it if none.
    fn first_place(
        &self,
        places: std::ops::Range<usize>,
        holds: impl Fn(Option<Begins>) -> bool,
    ) -> Result<usize> {
        let (mut low, mut high) = (places.start, places.end);
        while low < high {
            let middle = low + (high - low) / 2;
            if holds(self.head(middle)?) { high = middle } else { low = middle + 1 }
        }
        Ok(low)
    }

    /// The first chunk of samples of a block, from one of its chunks on, for which this holds.
    fn first_in(&self, place: usize, from: usize, holds: impl Fn(&Begins) -> bool) -> Result<Option<Begins>> {
        let chunks = self.left(place)?.map_or(0, |block| block.chunks.len());
        for chunk in from..chunks {
            if let Some(found) = self.run_at(Spot { place, chunk })?.filter(&holds) {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Where the run begins that has a chunk of samples.
    ///
    /// # Errors
    /// [`keha_fs::Error::Overwritten`] where the ring has taken that chunk.
    pub(super) fn begin_of(&self, spot: Spot) -> Result<Option<Begins>> {
        let Some(here) = self.run_at(spot)? else { return Ok(None) };
        let mine = |found: &Begins| found.run == here.run;
        let place = self.first_place(0..spot.place, |head| head.is_some_and(|head| mine(&head)))?;
        if let Some(before) = place.checked_sub(1)
            && let Some(found) = self.first_in(before, 0, mine)?
        {
            return Ok(Some(found));
        }
        let head = self.head(place)?.filter(mine);
        let begins = match head {
            Some(head) => Some(head),
            None => self.first_in(place, 0, mine)?,
        };
        // It may be all that is left by now.
        Ok(begins.or(Some(here)))
    }

    /// The run that was recorded after one.
    pub(super) fn run_behind(&self, run: &Begins) -> Result<Option<Begins>> {
        let other = |found: &Begins| found.run != run.run;
        let all = run.spot.place + 1..self.rows().len();
        let place = self.first_place(all, |head| head.is_none_or(|head| other(&head)))?;
        let inside = place.saturating_sub(1);
        let from = if inside == run.spot.place { run.spot.chunk } else { 0 };
        match self.first_in(inside, from, other)? {
            Some(found) => Ok(Some(found)),
            None => self.head(place),
        }
    }

    /// The last chunk of samples of a run.
    pub(super) fn end_of(&self, run: &Begins) -> Result<Option<Spot>> {
        let behind = self.run_behind(run)?.map(|behind| behind.spot);
        self.next(behind, Direction::Backwards, false, &mut Met::default())
    }

    /// The run that was recorded before one, or last of all.
    pub(super) fn run_before(&self, run: Option<&Begins>) -> Result<Option<Begins>> {
        match self.beside(run.map(|run| run.spot), Direction::Backwards)? {
            Some(before) => self.begin_of(before.spot),
            None => Ok(None),
        }
    }

    /// A run by its identity, if it has something there from one moment to another.
    pub(super) fn run_near(&self, run: RunId, from: WallTime, to: WallTime) -> Result<Option<Begins>> {
        for (place, row) in self.rows().iter().enumerate() {
            if row.wall.is_some_and(|(min, max)| min <= to && max >= from)
                && let Some(found) = self.first_in(place, 0, |found| found.run == run)?
            {
                return self.begin_of(found.spot);
            }
        }
        Ok(None)
    }

    /// When a run's turn is.
    pub(super) fn turn_of(&self, run: &Begins) -> Result<WallTime> {
        let (mut turn, mut place) = (run.at, 0);
        // Only where something is later than it can anything have begun later.
        while let Some(row) = self.rows().get(place).filter(|_| place <= run.spot.place) {
            if row.wall.is_none_or(|(_, to)| to <= turn) {
                place += 1;
                continue;
            }
            let mut next = self.first_in(place, 0, |_| true)?;
            place += 1;
            while let Some(found) = next.filter(|found| found.spot < run.spot) {
                let Some(begun) = self.begin_of(found.spot)? else { break };
                turn = turn.max(begun.at);
                let behind = self.run_behind(&begun)?;
                let beyond = behind.map_or(run.spot.place, |behind| behind.spot.place);
                if beyond >= place {
                    place = beyond;
                    break;
                }
                next = behind;
            }
        }
        Ok(turn)
    }

    /// The first run whose turn fits; turns that fit are followed by those that fit alone. No turn before `from` fits.
    pub(super) fn first_turn(
        &self,
        from: WallTime,
        fits: impl Fn(WallTime) -> bool,
    ) -> Result<Option<Begins>> {
        let later = self.rows().iter().position(|row| row.wall.is_none_or(|(_, to)| to >= from));
        let Some(head) = later.map(|place| self.head(place)).transpose()?.flatten() else { return Ok(None) };
        let Some(mut run) = self.begin_of(head.spot)? else { return Ok(None) };
        let mut turn = self.turn_of(&run)?;
        while !fits(turn) {
            let Some(next) = self.run_behind(&run)? else { return Ok(None) };
            (run, turn) = (next, turn.max(next.at));
        }
        Ok(Some(run))
    }
}
