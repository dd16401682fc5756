//! All of a stream's footage, in whichever volumes it stands, and which of them do not answer.
//!
//! The parts stand in the order of their volumes' identities: it is the same in any process, whatever a configuration calls them. What comes
//! when is said by the footage (docs/decisions/0018-streams-over-several-volumes.md).

use super::{Found, Known};
use crate::error::Result;
use crate::timeline::{Day, Holding, PAUSE_NS, Recorded, Timeline, coalesce, days_of, timeline_of};
use jiff::tz::TimeZone;
use keha_fs::{StreamName, TimeRange, VolumeId, WallTime};
use std::time::Duration;

/// A stream over all volumes.
#[derive(Clone)]
pub struct Whole {
    /// Its name.
    pub name: StreamName,
    parts: Vec<Found>,
    missing: Vec<Missing>,
}

/// A volume that does not answer, and may have something of a stream.
#[derive(Clone)]
pub struct Missing {
    /// Its name.
    pub volume: String,
    /// What it had when it answered last; `None` if it never did since the server was started.
    pub known: Option<Known>,
}

impl Missing {
    /// `None` for a volume that has nothing of it, as far as is known.
    pub(super) fn of(volume: &str, known: Option<Option<Known>>) -> Option<Missing> {
        let known = match known {
            Some(None) => return None,
            known => known.flatten(),
        };
        Some(Missing { volume: volume.to_owned(), known })
    }
}

impl Whole {
    pub(super) fn new(name: StreamName, mut parts: Vec<Found>, mut missing: Vec<Missing>) -> Whole {
        parts.sort_by_key(|part| part.volume().info().id);
        // The same volume under two names is one.
        parts.dedup_by_key(|part| part.volume().info().id);
        missing.sort_by(|one, other| one.volume.cmp(&other.volume));
        Whole { name, parts, missing }
    }

    /// What each volume that answers has of it.
    pub fn parts(&self) -> &[Found] {
        &self.parts
    }

    /// The volumes that do not answer and may have something of it.
    pub fn missing(&self) -> &[Missing] {
        &self.missing
    }

    /// The parts that may have something from one moment to another (inclusive), by their tables.
    pub fn parts_in(&self, from: WallTime, to: WallTime) -> Vec<&Found> {
        self.parts.iter().filter(|part| part.may_have(from, to)).collect()
    }

    /// The names of the volumes that do not answer and may have something of a range.
    pub fn missing_in(&self, range: TimeRange) -> Vec<String> {
        let (from, to) = (range.from.unwrap_or(WallTime::MIN), range.to.unwrap_or(WallTime::MAX));
        let mine = |missing: &&Missing| missing.known.as_ref().is_none_or(|known| known.may_have(from, to));
        self.missing.iter().filter(mine).map(|missing| missing.volume.clone()).collect()
    }

    /// The same of these volumes alone, as if there were no others.
    #[must_use]
    pub fn in_volumes(&self, volumes: &[VolumeId]) -> Whole {
        let parts = self.parts.iter().filter(|part| volumes.contains(&part.volume().info().id));
        Whole { name: self.name.clone(), parts: parts.cloned().collect(), missing: self.missing.clone() }
    }

    /// The part with its latest footage; the first where none has any.
    pub fn latest(&self) -> Option<&Found> {
        let mut latest: Option<&Found> = None;
        for part in &self.parts {
            if latest.is_none_or(|latest| part.stream.last > latest.stream.last) {
                latest = Some(part);
            }
        }
        latest
    }

    pub(super) fn into_latest(self) -> Option<Found> {
        self.latest().cloned()
    }

    /// What each part has, as timelines and playlists take it.
    pub fn holdings(&self) -> Vec<Holding<'_>> {
        self.parts.iter().map(Found::holding).collect()
    }

    /// Its earliest and its latest moment in the volumes that answer.
    pub fn reach(&self) -> Option<(WallTime, WallTime)> {
        let first = self.parts.iter().filter_map(|part| part.stream.first).min();
        first.zip(self.parts.iter().filter_map(|part| part.stream.last).max())
    }

    /// What of it is known to stand in volumes that do not answer, by the tables that they had. Where one failed behind that it is taken to
    /// have been recorded there until then, or until another one has footage.
    pub fn away(&self) -> Vec<Recorded> {
        let known = self.missing.iter().filter_map(|missing| missing.known.as_ref());
        let walls = known.flat_map(|known| {
            let since = known.until_it_failed().and_then(|(from, to)| self.until_elsewhere(from, to));
            known.walls().chain(since)
        });
        coalesce(walls.map(|(from, to)| Recorded { from, to }).collect(), PAUSE_NS)
    }

    /// From a moment on to where a volume that answers has footage. `None` where that is not known: a block that has some from before it.
    fn until_elsewhere(&self, from: WallTime, to: WallTime) -> Option<(WallTime, WallTime)> {
        let rows = self.parts.iter().flat_map(|part| part.snapshot.index.rows_of(part.stream.id));
        let walls = rows.filter(|row| row.samples > 0).filter_map(|row| row.wall);
        let later = walls.filter(|(_, max)| *max > from).map(|(min, _)| min).min();
        let to = later.map_or(to, |later| later.min(to));
        (from < to).then_some((from, to))
    }

    /// When it has footage: [`crate::timeline::timeline_of`].
    ///
    /// # Errors
    /// As [`crate::timeline::timeline`].
    pub fn timeline(&self, range: TimeRange, resolution: Duration) -> Result<Timeline> {
        timeline_of(&self.holdings(), &self.away(), range, resolution)
    }

    /// On which days of a zone it has footage.
    ///
    /// # Errors
    /// As [`crate::timeline::days`].
    pub fn days(&self, range: TimeRange, zone: &TimeZone) -> Result<Vec<Day>> {
        days_of(&self.holdings(), range, zone)
    }
}
