//! Follows a stream's rows in the order of recording and tells what is covered, and what anyone says about what is not.
//!
//! A row stands for its block as a whole, from its first moment to its last, where that is exact enough. These blocks are looked
//! into: longer than the resolution; beside a hole longer than it; with clocks set back, or parts overwritten, in them; behind
//! something overwritten, for they begin with the first sample that can be decoded; without samples; the stream's last.

use super::PAUSE_NS;
use super::index::{Learnt, Stream};
use super::reason::{Claim, Reason};
use super::shape::{Media, Part, Shape};
use super::source::TimelineSource;
use super::window::{is_void, samples_of};
use crate::error::Result;
use keha_fs::{Gap, RunId, StreamId, StreamRow, WallTime};
use std::sync::Arc;

/// A stretch that is covered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Interval {
    pub(super) from: WallTime,
    pub(super) to: WallTime,
    /// Its run and where it ends: the place of the row, and the chunk. `None` where a row stands for all.
    pub(super) end: Option<(RunId, usize, u32)>,
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Walk {
    pub(super) intervals: Vec<Interval>,
    pub(super) claims: Vec<Claim>,
    /// Gap records without an end behind which nothing was recorded, by their places in the claims.
    pub(super) open: Vec<usize>,
    /// How many outlines were read.
    pub(super) read: usize,
    carried: Carried,
    /// Gap records since the last samples.
    records: Vec<Arc<Gap>>,
    /// From when on something was overwritten.
    overwritten: Option<WallTime>,
    last: WallTime,
}

/// What the next samples can be decoded from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Carried {
    /// Nothing: they begin with a sync sample.
    #[default]
    Nothing,
    /// What came before, if they are of this run.
    Run(RunId),
    /// What came before.
    Any,
}

/// Follows the rows that are marked.
pub(super) fn walk(
    source: &dyn TimelineSource,
    (id, stream): (StreamId, &Stream),
    marked: &[bool],
    resolution_ns: i64,
) -> Result<Walk> {
    let mut walk = Walk { last: WallTime::MIN, ..Walk::default() };
    let rows = &stream.rows;
    let mut expected = 0;
    for (place, row) in rows.iter().enumerate() {
        if marked.get(place) != Some(&true) {
            continue;
        }
        let before = place.checked_sub(1).and_then(|before| rows.get(before));
        if place != expected {
            walk.begin_behind(before);
        }
        expected = place + 1;
        if !row.follows {
            walk.lose();
        }
        if is_void(row) {
            let (from, to) = row.wall.unwrap_or((walk.last, walk.last));
            walk.void(from, to, row.state == keha_fs::BlockState::Expired);
        } else if walk.carried == Carried::Nothing || must_open(rows, place, resolution_ns) {
            match stream.learn(source, id, place, &mut walk.read)? {
                Learnt::Shape(shape) => walk.block(place, row, &shape),
                Learnt::Gone => walk.lose(),
            }
        } else if let Some((from, to)) = samples_of(row) {
            walk.whole(from, to);
        }
    }
    Ok(walk)
}

fn must_open(rows: &[StreamRow], place: usize, resolution_ns: i64) -> bool {
    let Some(row) = rows.get(place) else { return false };
    let Some((min, max)) = samples_of(row) else { return true };
    let (before, behind) = rows.split_at(place);
    let reached = before.iter().rev().find_map(samples_of).map(|(_, max)| max);
    let next = behind.iter().skip(1).find_map(samples_of).map(|(min, _)| min);
    row.part_void
        || row.times_not_monotone
        || behind.len() == 1
        || max.since_ns(min) > resolution_ns
        || reached.is_some_and(|reached| min.since_ns(reached) > resolution_ns)
        || next.is_some_and(|next| next.since_ns(max) > resolution_ns)
}

impl Walk {
    /// Goes on in the middle of the stream.
    fn begin_behind(&mut self, before: Option<&StreamRow>) {
        self.records.clear();
        // What is behind a record that is open was not asked for.
        self.open.drain(..).for_each(|open| {
            if let Some(claim) = self.claims.get_mut(open) {
                claim.to = claim.from;
            }
        });
        self.overwritten = None;
        self.carried =
            if before.is_some_and(|before| !is_void(before)) { Carried::Any } else { Carried::Nothing };
        self.last = before.and_then(|before| before.wall).map_or(WallTime::MIN, |(_, max)| max);
    }

    /// Something was overwritten here, and nothing tells when it was.
    fn lose(&mut self) {
        self.carried = Carried::Nothing;
        self.overwritten = self.overwritten.or(Some(self.last));
    }

    fn void(&mut self, from: WallTime, to: WallTime, expired: bool) {
        let reason = if expired { Reason::Expired } else { Reason::Erased };
        // From the last sample before it on: between two samples there is no moment for another reason.
        let begin = if self.last <= from && from.since_ns(self.last) <= PAUSE_NS { self.last } else { from };
        self.claims.push(Claim { from: begin, to, reason });
        self.carried = Carried::Nothing;
        self.last = to;
    }

    fn block(&mut self, place: usize, row: &StreamRow, shape: &Shape) {
        for part in &shape.parts {
            match part {
                Part::Media(media) => self.media(place, media),
                Part::Void { from, to, expired } => self.void(*from, *to, *expired),
                Part::Record(gap) => self.record(gap),
            }
        }
        if let Some((from, to)) = row.wall.filter(|_| shape.damaged) {
            self.claims.push(Claim { from, to, reason: Reason::Damaged });
        }
    }

    fn record(&mut self, gap: &Arc<Gap>) {
        if gap.to.is_none() {
            self.open.push(self.claims.len());
        }
        let (from, to) = (gap.from, gap.to.unwrap_or(WallTime::MAX));
        // A record that ends one that is open stands for both.
        let claims = &self.claims;
        self.open.retain(|open| gap.to.is_none() || claims.get(*open).is_none_or(|claim| claim.from != from));
        self.claims.push(Claim { from, to, reason: Reason::Recorded(Arc::clone(gap)) });
        self.records.push(Arc::clone(gap));
    }

    fn media(&mut self, place: usize, media: &Media) {
        let begun = match self.carried {
            Carried::Nothing => false,
            Carried::Run(run) => run == media.run,
            Carried::Any => true,
        };
        let from = if begun { Some(media.from) } else { media.first_sync };
        let Some(from) = from else {
            // Nothing of it can be decoded.
            self.carried = Carried::Nothing;
            return;
        };
        self.carried = Carried::Run(media.run);
        let end = Some((media.run, place, media.last_chunk));
        let near = |last: &Interval| {
            let hole = |gap: &Arc<Gap>| {
                let to = gap.to.unwrap_or(WallTime::MAX);
                gap.from < to && gap.from < from && to > last.to
            };
            from.since_ns(last.to) <= PAUSE_NS && !self.records.iter().any(hole)
        };
        let joins = begun && self.intervals.last().is_some_and(near);
        self.cover(Interval { from, to: media.to, end }, joins);
    }

    /// A row stands for its block: what lies between it and the one before is shorter than the resolution.
    fn whole(&mut self, from: WallTime, to: WallTime) {
        self.carried = Carried::Any;
        // Pictures are kept in the order of decoding: a block may begin a little before the one before it ended.
        let near = self.last.since_ns(from) <= PAUSE_NS;
        let joins = near && self.intervals.last().is_some_and(|last| last.to == self.last);
        self.cover(Interval { from, to, end: None }, joins);
    }

    fn cover(&mut self, interval: Interval, joins: bool) {
        let Interval { from, to, end } = interval;
        for open in self.open.drain(..) {
            if let Some(claim) = self.claims.get_mut(open) {
                claim.to = from;
            }
        }
        if let Some(since) = self.overwritten.take().filter(|since| *since < from) {
            self.claims.push(Claim { from: since, to: from, reason: Reason::Overwritten });
        }
        self.records.clear();
        self.last = to;
        match self.intervals.last_mut().filter(|last| joins && from >= last.from) {
            Some(last) => {
                last.to = last.to.max(to);
                last.end = end;
                self.last = last.to;
            }
            None => self.intervals.push(interval),
        }
    }
}
