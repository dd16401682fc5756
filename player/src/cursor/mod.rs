//! A cursor over what is recorded of one stream: sample by sample, picture by picture, keyframe by keyframe, group by group, in both
//! directions. Stepping, reverse play and fast play are made of it.
//!
//! It stands nowhere at first, then on one sample. [`Cursor::seek`] puts it somewhere by wall time, [`Cursor::resume`] by a [`Mark`],
//! [`Cursor::step`] moves it to a neighbour, [`Cursor::read`] gives the bytes of where it stands, [`Cursor::gop`] the group of pictures.
//! From nowhere a step forwards leads to the first, one backwards to the last there is.
//!
//! What is promised:
//!
//! - Neighbours are those in the order of recording, which is the order of decoding: nothing is sorted by clocks. Backwards are met exactly
//!   those that are met forwards, in the opposite order. They are those that [`keha_fs::Volume::read`] gives: what comes before the first
//!   keyframe of a stretch is left out, but for sound.
//! - A step tells where it leads, and why that does not join what the cursor stood on before ([`Discontinuity`]): the same whichever
//!   way the step goes. Behind a seek nothing was before.
//! - Nothing is given that does not verify. Where the table of a chunk, or all of it, is damaged it is passed over, and told. That a sample's own bytes are
//!   damaged is known by reading them: [`Cursor::read`] gives nothing then, and the step behind it tells.
//! - Steps read outlines and tables of chunks, no footage. Behind a step by keyframe `read` reads the bytes of that sample alone; else
//!   of the chunk it stands in, once.
//! - In memory are the outlines of four blocks, the table of one chunk, its samples once one was read (a chunk has at most a quarter of a
//!   block, and what is split ends in it whole), and a part of a group.
//! - Whether it is still wanted can be asked at each chunk and block ([`Cursor::while_wanted`]). A seek passes over blocks in which nothing can fit
//!   without reading them.
//! - What the ring takes after the volume was looked at is passed over and told, as what it had taken before. An error changes nothing: the
//!   cursor stands where it stood. Where all that comes is taken, or what is to be read, that is [`keha_fs::Error::Overwritten`]; seek
//!   elsewhere then, with a later look at the volume.
//!
//! A group is its keyframe and what is stored up to the next one: the other tracks too. It ends at a discontinuity. It is given in parts of
//! at most [`GOP_PART_BYTES`] and [`GOP_PART_SAMPLES`] (one sample may be larger), for a camera may send a keyframe an hour. In a stream
//! without video it is a chunk of sound.
//!
//! Where clocks were set back several runs cover a moment: a seek chooses the one that was recorded last, steps pass through all.
//!
//! Of a stream that stands in several volumes, [`Across`] is the same.
//!
//! What must not live here: HTTP, decoding, pacing, a clock, several streams.

mod across;
mod gop;
mod joins;
mod mark;
mod page;
mod runs;
mod seek;
mod walk;
#[cfg(test)]
mod walk_tests;

pub use across::Across;
pub use gop::{GOP_PART_BYTES, GOP_PART_SAMPLES, Gop};
pub use joins::Discontinuity;
pub use mark::Mark;
pub use seek::Nearest;

use crate::error::{Error, Result};
use crate::timeline::{Index, Reason};
use bytes::Bytes;
use joins::Met;
use keha_fs::{Configuration, SampleRow, StreamId, Volume};
use page::Page;
use std::sync::Arc;
use walk::{Spot, Walk};

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// To what was recorded later.
    Forwards,
    /// To what was recorded before.
    Backwards,
}

/// From what to what a step leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Any sample, of all tracks.
    Sample,
    /// A sample of the track that leads: the video track with the lowest number; without video, the track with the lowest.
    Picture,
    /// A sync sample of that track; without video, the first sample of a chunk.
    Keyframe,
}

/// Where a cursor stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The sample, without its bytes: its run, configuration, time, size and place.
    pub row: SampleRow,
    /// Whether it is a keyframe, as [`Step::Keyframe`] has it.
    pub keyframe: bool,
    /// Why it does not join what the cursor stood on before; `None` if it does, or nothing was before.
    pub discontinuity: Option<Discontinuity>,
}

/// Steps over a stream. See the module.
#[derive(Clone)]
pub struct Cursor<'a> {
    volume: &'a Volume,
    index: &'a Index,
    stream: StreamId,
    walk: Walk<'a>,
    at: Option<At>,
    /// As long as it stands nowhere: the chunk that a step begins with, instead of the first or the last.
    begin: Option<Spot>,
    /// The bytes of the sample it stands on were read, and do not verify.
    lost: bool,
    /// The last step was one by keyframe: what lies around it will not be read.
    sparse: bool,
}

/// A chunk's samples, and which of them it is.
#[derive(Clone)]
struct At {
    page: Page,
    index: usize,
}

impl<'a> Cursor<'a> {
    /// A cursor over a stream of a volume; `index` is of the same look at it. Reads nothing.
    pub fn new(volume: &'a Volume, index: &'a Index, stream: StreamId) -> Cursor<'a> {
        let walk = Walk::new(volume, stream, index.rows_of(stream));
        let (at, begin) = (None, None);
        Cursor { volume, index, stream, walk, at, begin, lost: false, sparse: false }
    }

    /// The same for as long as this says so, which is asked at every chunk and block: then steps and seeks fail with
    /// [`Error::Cancelled`].
    #[must_use]
    pub fn while_wanted(self, is_wanted: &'a dyn Fn() -> bool) -> Cursor<'a> {
        Cursor { walk: self.walk.while_wanted(is_wanted), ..self }
    }

    /// Moves on. `None` at the end: the cursor stays where it is.
    ///
    /// # Errors
    /// [`keha_fs::Error::Overwritten`] if the ring has taken all that comes; [`Error::Cancelled`]; what is wrong with the disk.
    pub fn step(&mut self, direction: Direction, step: Step) -> Result<Option<Moment>> {
        let mut met = Met::default();
        if self.lost {
            met.add(Reason::Damaged);
        }
        let found = match step {
            Step::Keyframe => self.next_keyframe(direction, &mut met)?,
            Step::Sample | Step::Picture => self.next_sample(direction, step, &mut met)?,
        };
        let Some(found) = found else { return Ok(None) };
        let before = self.row().copied();
        let Some(row) = found.page.row(found.index) else { return Ok(None) };
        let discontinuity = before.and_then(|before| met.between(&before, row));
        self.stand(found, step);
        Ok(self.moment(discontinuity))
    }

    /// The bytes of the sample it stands on, verified; `None` if they do not verify, were erased meanwhile, or it stands nowhere.
    ///
    /// # Errors
    /// [`keha_fs::Error::Overwritten`] if the ring has taken it.
    pub fn read(&mut self) -> Result<Option<Bytes>> {
        let Some(at) = &mut self.at else { return Ok(None) };
        let data = match at.page.row(at.index) {
            Some(row) if self.sparse && !at.page.has_data() => self.volume.read_sample(self.stream, row)?,
            _ => at.page.data(self.volume, self.stream, at.index)?,
        };
        self.lost = data.is_none();
        Ok(data)
    }

    /// Where it stands.
    pub fn row(&self) -> Option<&SampleRow> {
        self.at.as_ref().and_then(|at| at.page.row(at.index))
    }

    /// The configuration of the sample it stands on.
    pub fn configuration(&self) -> Option<&Arc<Configuration>> {
        self.at.as_ref().and_then(|at| at.page.configuration())
    }

    fn moment(&self, discontinuity: Option<Discontinuity>) -> Option<Moment> {
        let At { page, index } = self.at.as_ref()?;
        Some(Moment { row: *page.row(*index)?, keyframe: page.is_keyframe(*index), discontinuity })
    }

    fn stand(&mut self, at: At, step: Step) {
        self.at = Some(at);
        self.lost = false;
        self.sparse = step == Step::Keyframe;
    }

    fn spot(&self) -> Option<Spot> {
        self.at.as_ref().map(|at| at.page.spot)
    }

    fn page(&self, spot: Spot) -> Result<Page> {
        match self.at.as_ref().filter(|at| at.page.spot == spot) {
            Some(at) => Ok(at.page.clone()),
            None => self.walk.noted(spot.place, Page::load(&self.walk, self.volume, self.stream, spot)),
        }
    }

    fn next_sample(&self, direction: Direction, step: Step, met: &mut Met) -> Result<Option<At>> {
        if let Some(at) = &self.at
            && let Some(index) = at.page.find(Some(at.index), direction, step)
        {
            return Ok(Some(At { page: at.page.clone(), index }));
        }
        self.at.iter().for_each(|at| at.page.tell(met));
        let mut spot = self.spot();
        if let (None, Some(begin)) = (spot, self.begin) {
            if let Some(found) = self.found_in(begin, direction, step, met)? {
                return Ok(Some(found));
            }
            spot = Some(begin);
        }
        while let Some(next) = self.walk.next(spot, direction, false, met)? {
            if let Some(found) = self.found_in(next, direction, step, met)? {
                return Ok(Some(found));
            }
            spot = Some(next);
        }
        Ok(None)
    }

    /// The first of a chunk that a step leads to.
    fn found_in(&self, spot: Spot, direction: Direction, step: Step, met: &mut Met) -> Result<Option<At>> {
        self.walk.ask()?;
        let Some(page) = unless_taken(self.page(spot), met)? else { return Ok(None) };
        page.tell(met);
        Ok(page.find(None, direction, step).map(|index| At { page, index }))
    }

    fn next_keyframe(&self, direction: Direction, met: &mut Met) -> Result<Option<At>> {
        // First what is left of the chunk it stands in.
        let mut next = match self.spot().or(self.begin) {
            Some(spot) => Some(spot),
            None => self.walk.next(None, direction, true, met)?,
        };
        while let Some(spot) = next {
            self.walk.ask()?;
            let mut syncs = unless_taken(self.walk.keyframes(spot), met)?.unwrap_or_default();
            if direction == Direction::Backwards {
                syncs.reverse();
            }
            for sync in syncs {
                match unless_taken(self.locate(spot, sync), met)? {
                    Some(Some(found)) if self.is_behind(&found, direction) => return Ok(Some(found)),
                    Some(Some(_)) | None => {}
                    Some(None) => met.add(Reason::Damaged),
                }
            }
            next = self.walk.next(Some(spot), direction, true, met)?;
        }
        Ok(None)
    }

    /// Whether this lies in a direction from where the cursor stands.
    fn is_behind(&self, found: &At, direction: Direction) -> bool {
        let Some(at) = &self.at else { return true };
        let (here, there) = ((at.page.spot, at.index), (found.page.spot, found.index));
        match direction {
            Direction::Forwards => there > here,
            Direction::Backwards => there < here,
        }
    }
}

/// What the ring has taken meanwhile is nothing, and told.
fn unless_taken<T>(read: Result<T>, met: &mut Met) -> Result<Option<T>> {
    match read {
        Err(Error::Volume(keha_fs::Error::Overwritten { .. })) => {
            met.add(Reason::Overwritten);
            Ok(None)
        }
        read => read.map(Some),
    }
}
