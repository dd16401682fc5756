//! A cursor over a stream of which several volumes have something: run by run, in the order in which files and playlists have them
//! ([`crate::runs`]). Within a run it is the cursor of its volume.
//!
//! What the ring of one of them takes meanwhile keeps nobody from the rest. Only where nothing is left forwards, and a volume has been gone
//! over as far as this look at it reaches, that is [`keha_fs::Error::Overwritten`]: a later look has more.
//!
//! What a camera that went over to another volume took along stands in both: it is stepped to where its turn came first, whichever way. Where
//! one volume has all, this is a [`Cursor`] and costs nothing more.

use super::runs::Begins;
use super::{Cursor, Direction, Discontinuity, Mark, Moment, Nearest, Step};
use crate::error::Result;
use crate::library::Found;
use keha_fs::{RunId, SampleRow, TrackNumber, VolumeId, WallTime};
use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

/// What two volumes have of one run is looked for this long before where the later one begins, and behind it at most so many samples.
const TAKEN_NS: i64 = 2_000_000_000;
const TAKEN_MAX: usize = 1 << 16;

/// Steps over a stream in several volumes.
pub struct Across<'a> {
    lanes: Vec<Lane<'a>>,
    /// In which of them it stands.
    at: Option<usize>,
}

struct Lane<'a> {
    volume: VolumeId,
    cursor: Cursor<'a>,
    /// Of its runs, what another volume has of them whose turn came first.
    taken: RefCell<HashMap<RunId, Rc<Taken>>>,
}

/// Samples of a run, by track and ticks.
type Taken = HashSet<(TrackNumber, i64)>;

/// When something comes: of two that begin at a moment, that of the first volume.
type Turn = (WallTime, usize);

impl Lane<'_> {
    /// The run that it stands in.
    fn run(&self) -> Result<Option<Begins>> {
        let spot = self.cursor.spot();
        Ok(spot.map(|spot| self.cursor.walk.begin_of(spot)).transpose()?.flatten())
    }
}

impl<'a> Across<'a> {
    /// A cursor over what these volumes have of a stream, in the order of their identities. Reads nothing.
    pub fn new(parts: &'a [Found], is_wanted: &'a dyn Fn() -> bool) -> Across<'a> {
        let lane = |part: &'a Found| Lane {
            volume: part.volume().info().id,
            cursor: Cursor::new(part.volume(), &part.snapshot.index, part.stream.id).while_wanted(is_wanted),
            taken: RefCell::default(),
        };
        Across { lanes: parts.iter().map(lane).collect(), at: None }
    }

    /// The volume that it stands in.
    pub fn volume(&self) -> Option<VolumeId> {
        self.at.and_then(|at| self.lanes.get(at)).map(|lane| lane.volume)
    }

    /// [`Cursor::step`].
    ///
    /// # Errors
    /// As there.
    pub fn step(&mut self, direction: Direction, step: Step) -> Result<Option<Moment>> {
        if let [only] = self.lanes.as_mut_slice() {
            self.at = Some(0);
            return only.cursor.step(direction, step);
        }
        let Some(at) = self.at else { return self.enter(None, direction, step) };
        let Some(lane) = self.lanes.get(at) else { return Ok(None) };
        let before = lane.cursor.row().copied();
        let mut cursor = lane.cursor.clone();
        let next = loop {
            let next = cursor.step(direction, step)?;
            match &next {
                Some(moment) if self.was_taken(at, &moment.row)? => {}
                _ => break next,
            }
        };
        let run = |row: &SampleRow| row.run;
        if next.as_ref().map(|next| next.row.run) == before.as_ref().map(run) {
            self.stand(at, cursor);
            return Ok(next);
        }
        self.enter(Some((at, cursor, next)), direction, step)
    }

    /// [`Cursor::seek`]: of several volumes that which is nearest; of those that are as near, what was recorded last.
    ///
    /// # Errors
    /// As there.
    pub fn seek(&mut self, wall: WallTime, nearest: Nearest, step: Step) -> Result<Option<Moment>> {
        let mut best: Option<(Moment, usize, Cursor<'a>)> = None;
        for at in 0..self.lanes.len() {
            let Some(lane) = self.lanes.get(at) else { continue };
            let mut cursor = lane.cursor.clone();
            let Some(found) = cursor.seek(wall, nearest, step)? else { continue };
            if self.was_taken(at, &found.row)? {
                continue;
            }
            let is_nearer = |known: &Moment| match nearest {
                Nearest::AtOrBefore => found.row.wall >= known.row.wall,
                Nearest::AtOrAfter => found.row.wall < known.row.wall,
            };
            if best.as_ref().is_none_or(|(known, ..)| is_nearer(known)) {
                best = Some((found, at, cursor));
            }
        }
        let Some((found, at, cursor)) = best else { return Ok(None) };
        self.stand(at, cursor);
        Ok(Some(found))
    }

    /// [`Cursor::resume`] in the volume of this identity; `None` also where that is none of them.
    ///
    /// # Errors
    /// As there.
    pub fn resume(&mut self, volume: VolumeId, mark: Mark) -> Result<Option<Moment>> {
        let Some(at) = self.lanes.iter().position(|lane| lane.volume == volume) else { return Ok(None) };
        let Some(lane) = self.lanes.get_mut(at) else { return Ok(None) };
        let found = lane.cursor.resume(mark)?;
        if found.is_some() {
            self.at = Some(at);
        }
        Ok(found)
    }

    fn stand(&mut self, at: usize, cursor: Cursor<'a>) {
        if let Some(lane) = self.lanes.get_mut(at) {
            lane.cursor = cursor;
            self.at = Some(at);
        }
    }

    /// Goes over to the run that comes next, in whichever volume. `own` is where the one that it stands in leads.
    fn enter(
        &mut self,
        own: Option<(usize, Cursor<'a>, Option<Moment>)>,
        direction: Direction,
        step: Step,
    ) -> Result<Option<Moment>> {
        let here = own.as_ref().map(|(at, ..)| *at);
        let left = match here.and_then(|at| self.lanes.get(at)) {
            Some(lane) => lane.run()?,
            None => None,
        };
        let turn = match (here.and_then(|at| self.lanes.get(at)), &left) {
            (Some(lane), Some(run)) => Some(lane.cursor.walk.turn_of(run)?),
            _ => None,
        };
        let from = turn.zip(here);
        let mut found: Vec<(Turn, Moment, usize, Cursor<'a>)> = Vec::new();
        for at in (0..self.lanes.len()).filter(|at| Some(*at) != here) {
            if let Some((moment, cursor)) = self.entered(at, from, direction, step)? {
                found.push((self.turn(at, &cursor)?, moment, at, cursor));
            }
        }
        if let Some((at, cursor, Some(moment))) = own {
            found.push((self.turn(at, &cursor)?, moment, at, cursor));
        }
        let next = match direction {
            Direction::Forwards => found.into_iter().min_by_key(|(turn, ..)| *turn),
            Direction::Backwards => found.into_iter().min_by_key(|(turn, ..)| Reverse(*turn)),
        };
        let Some((_, mut moment, at, cursor)) = next else {
            let overtaken = self.lanes.iter().find_map(|lane| lane.cursor.walk.overtaken());
            return overtaken.filter(|_| direction == Direction::Forwards).map_or(Ok(None), Err);
        };
        if let Some(before) = here.filter(|here| *here != at).and_then(|here| self.lanes.get(here)) {
            let before = before.cursor.row().map(|row| (row.run, row.configuration));
            moment.discontinuity = match before {
                Some((run, _)) if run != moment.row.run => Some(Discontinuity::Run),
                Some((_, configuration)) if configuration != moment.row.configuration => {
                    Some(Discontinuity::Configuration)
                }
                _ => None,
            };
        }
        self.stand(at, cursor);
        Ok(Some(moment))
    }

    /// Whether a sample of a volume stands in another one, too, whose turn came first.
    fn was_taken(&self, at: usize, row: &SampleRow) -> Result<bool> {
        let Some(lane) = self.lanes.get(at) else { return Ok(false) };
        let known = lane.taken.borrow().get(&row.run).map(Rc::clone);
        let taken = match known {
            Some(taken) => taken,
            None => {
                let taken = Rc::new(self.taken_from(at, row)?);
                lane.taken.borrow_mut().insert(row.run, Rc::clone(&taken));
                taken
            }
        };
        Ok(taken.contains(&(row.track, row.ticks)))
    }

    /// What other volumes have of the run of a sample, from where it begins in its own, if their turn came first.
    fn taken_from(&self, at: usize, row: &SampleRow) -> Result<Taken> {
        let mut taken = Taken::new();
        let Some(walk) = self.lanes.get(at).map(|lane| &lane.cursor.walk) else { return Ok(taken) };
        let spot = walk.spot_of(row.begins)?;
        let Some(begins) = spot.map(|spot| walk.begin_of(spot)).transpose()?.flatten() else {
            return Ok(taken);
        };
        let mine = (walk.turn_of(&begins)?, at);
        let from = begins.at.plus_ns(-TAKEN_NS);
        for (of, lane) in self.lanes.iter().enumerate().filter(|(of, _)| *of != at) {
            let walk = &lane.cursor.walk;
            let Some(same) = walk.run_near(row.run, from, begins.at.plus_ns(TAKEN_NS))? else { continue };
            if (walk.turn_of(&same)?, of) > mine {
                continue;
            }
            let begin = walk.end_of(&same)?;
            let mut cursor = Cursor { at: None, lost: false, begin, ..lane.cursor.clone() };
            while let Some(found) = cursor.step(Direction::Backwards, Step::Sample)? {
                if found.row.run != row.run || found.row.wall < from || taken.len() >= TAKEN_MAX {
                    break;
                }
                taken.insert((found.row.track, found.row.ticks));
            }
        }
        Ok(taken)
    }

    /// When the run comes that a cursor stands in.
    fn turn(&self, at: usize, cursor: &Cursor<'a>) -> Result<Turn> {
        let spot = cursor.spot().map(|spot| cursor.walk.begin_of(spot)).transpose()?.flatten();
        let turn = spot.map(|run| cursor.walk.turn_of(&run)).transpose()?;
        Ok((turn.unwrap_or(WallTime::MAX), at))
    }

    /// What a volume has that comes next, from a turn in another one on.
    fn entered(
        &self,
        at: usize,
        from: Option<Turn>,
        direction: Direction,
        step: Step,
    ) -> Result<Option<(Moment, Cursor<'a>)>> {
        let Some(lane) = self.lanes.get(at) else { return Ok(None) };
        let walk = &lane.cursor.walk;
        let behind = match from {
            // Of those whose turn is at one moment, it is that of the volumes behind.
            Some((turn, of)) => walk.first_turn(turn, |mine| (mine, at) > (turn, of))?,
            None => walk.first_turn(WallTime::MIN, |_| true)?,
        };
        let mut cursor = Cursor { at: None, lost: false, ..lane.cursor.clone() };
        cursor.begin = match direction {
            Direction::Forwards => behind.map(|run| run.spot),
            Direction::Backwards => {
                let before = walk.run_before(behind.filter(|_| from.is_some()).as_ref())?;
                before.map(|before| walk.end_of(&before)).transpose()?.flatten()
            }
        };
        if cursor.begin.is_none() {
            return Ok(None);
        }
        loop {
            match cursor.step(direction, step)? {
                Some(moment) if self.was_taken(at, &moment.row)? => {}
                moment => return Ok(moment.map(|moment| (moment, cursor))),
            }
        }
    }
}
