//! The newest events, and what a query gives of them. Pure logic.

use super::GIVEN_MAX;
use super::event::{Event, EventId, EventKind, NewEvent};
use crate::auth::Grant;
use jiff::Timestamp;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

/// How many events are kept in memory.
pub const KEPT_MAX: usize = 10_000;
/// The most characters of a text.
const TEXT_CHARACTERS_MAX: usize = 1000;

/// From where on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// Behind this event.
    Id(EventId),
    /// At this time or later, by the clock of then.
    Time(Timestamp),
}

/// Which events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// From where on; the newest if `None`.
    pub from: Option<After>,
    /// Of these kinds; of all if empty.
    pub kinds: BTreeSet<EventKind>,
    /// Of these cameras; of all, and of none, if `None`.
    pub cameras: Option<BTreeSet<String>>,
    /// What whoever asks may see: what concerns no camera takes a grant of all. `None`: everything.
    pub grant: Option<Grant>,
    /// So many at most, and no more than [`GIVEN_MAX`].
    pub limit: usize,
}

/// What a look at the log gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What was asked for, in the order in which it happened.
    pub events: Vec<Arc<Event>>,
    /// Some of what happened in the time asked for may be missing: it is no longer kept.
    pub missed: bool,
    /// Behind this the next look goes on: [`After::Id`]. It tells nothing of what may not be seen.
    pub next: EventId,
}

impl Query {
    fn may_see(&self, event: &Event) -> bool {
        let camera = event.camera.as_deref();
        let may =
            |grant: &Grant| camera.map_or_else(|| grant.may_administer(), |camera| grant.may_see(camera));
        self.grant.as_ref().is_none_or(may)
    }

    fn asks_for(&self, event: &Event) -> bool {
        let camera = event.camera.as_deref();
        (self.kinds.is_empty() || self.kinds.contains(&event.kind))
            && self.cameras.as_ref().is_none_or(|names| camera.is_some_and(|camera| names.contains(camera)))
            && self.may_see(event)
    }
}

/// The newest events.
#[derive(Debug, Default)]
pub(super) struct Log {
    kept: VecDeque<Arc<Event>>,
    latest: EventId,
    /// The last one that is no longer kept.
    dropped: EventId,
}

impl Log {
    /// The last event's identifier; 0 if there never was one.
    pub(super) fn latest(&self) -> EventId {
        self.latest
    }

    /// Whether an event behind this one is no longer kept.
    pub(super) fn lost_after(&self, id: EventId) -> bool {
        id < self.dropped
    }

    /// What is behind this is kept.
    pub(super) fn before_first(&self) -> EventId {
        self.dropped
    }

    /// Of what was noted before what is kept, nothing is known.
    pub(super) fn begins_late(&mut self) {
        if let Some(first) = self.kept.front() {
            self.dropped = self.dropped.max(EventId(first.id.0.saturating_sub(1)));
        }
    }

    /// Takes an event that was noted earlier, in the order of identifiers; others are passed over.
    pub(super) fn restore(&mut self, event: Event) {
        if event.id > self.latest {
            self.keep(Arc::new(event));
        }
    }

    /// Notes an event.
    pub(super) fn add(&mut self, new: NewEvent, now: Timestamp) -> Arc<Event> {
        let NewEvent { kind, camera, user, text } = new;
        let text = text.chars().take(TEXT_CHARACTERS_MAX).collect();
        let event =
            Arc::new(Event { id: EventId::next(self.latest, now), at: now, kind, camera, user, text });
        self.keep(Arc::clone(&event));
        event
    }

    fn keep(&mut self, event: Arc<Event>) {
        self.latest = event.id;
        self.kept.push_back(event);
        if self.kept.len() > KEPT_MAX
            && let Some(dropped) = self.kept.pop_front()
        {
            self.dropped = dropped.id;
        }
    }

    /// What a query asks for, what is missing of it, and from where to ask again.
    pub(super) fn look(&self, query: &Query) -> Found {
        let events = self.query(query);
        let seen = self.kept.iter().rev().find(|event| query.may_see(event)).map(|event| event.id);
        let end = seen.unwrap_or_default().max(self.dropped);
        let missed = match query.from {
            // An event that is newer than all is one of a log that was lost.
            Some(After::Id(id)) => self.lost_after(id) || id > end,
            Some(After::Time(time)) => self.lost_after(EventId::before(time)),
            None => false,
        };
        let is_cut = query.from.is_some() && events.len() >= query.limit.min(GIVEN_MAX);
        let next = events.last().filter(|_| is_cut).map_or(end, |event| event.id);
        Found { events, missed, next }
    }

    /// What a query asks for, in order: the first behind its beginning, or else the newest.
    pub(super) fn query(&self, query: &Query) -> Vec<Arc<Event>> {
        let limit = query.limit.min(GIVEN_MAX);
        let asked = |event: &&Arc<Event>| query.asks_for(event);
        match query.from {
            Some(After::Id(id)) => {
                let first = self.kept.partition_point(|event| event.id <= id);
                self.kept.range(first..).filter(asked).take(limit).cloned().collect()
            }
            Some(After::Time(time)) => {
                let late = |event: &&Arc<Event>| event.at >= time && query.asks_for(event);
                self.kept.iter().filter(late).take(limit).cloned().collect()
            }
            None => {
                let mut newest: Vec<Arc<Event>> =
                    self.kept.iter().rev().filter(asked).take(limit).cloned().collect();
                newest.reverse();
                newest
            }
        }
    }
}
