//! What happened: a log of events for people and programs, kept in the state directory.
//!
//! Each event has an [`EventId`] that rises strictly, over restarts too and whatever the clock does: milliseconds since 1970, shifted
//! by 20 bits, or one more than the last. So an identifier says about when it was, and is all that a client keeps to go on where it was
//! ([`Events::follow`]).
//!
//! - `event`: events and their identifiers, as they are written and told. Pure.
//! - `log`: the last [`KEPT_MAX`] in memory, what a query gives of them. Pure.
//! - `filing`: a thread that writes them down, for which nobody waits.
//! - `file`: the same on disk: JSON lines, a file of so many and the one before it. A line that was torn by a crash, or that a newer
//!   version wrote, is passed over.
//! - [`Events`]: both, and those who wait for more.
//!
//! Nothing here is evidence: a gap stands in its stream, a hold in its volume. Writing is not flushed: a power cut costs the last
//! events, never their order. A disk that fails costs the file; what is in memory goes on being told.
//!
//! What must not live here: HTTP, and finding out what happened.

mod event;
mod file;
mod filing;
mod log;

pub use event::{Event, EventId, EventKind, NewEvent};
pub use log::{After, Found, KEPT_MAX, Query};

use crate::auth::Grant;
use file::EventFile;
use filing::Filing;
use log::Log;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// The most events that one look gives.
pub const GIVEN_MAX: usize = 1000;

/// The log of a server.
pub struct Events {
    log: Mutex<Log>,
    latest: watch::Sender<EventId>,
    filing: Filing,
}

impl Events {
    /// The log in this state directory, with what it holds of earlier. A file that cannot be read or written is put aside.
    ///
    /// # Errors
    /// Where that cannot be done, or nothing can be written there.
    pub fn open(directory: &Path) -> crate::Result<Events> {
        let (file, events) = EventFile::open(directory)?;
        let mut log = Log::default();
        events.into_iter().for_each(|event| log.restore(event));
        if file.is_cut() {
            log.begins_late();
        }
        let latest = watch::Sender::new(log.latest());
        let path = directory.join("events.jsonl");
        let filing = Filing::start(file).map_err(|source| crate::Error::Io {
            op: "start a thread for",
            path,
            source,
        })?;
        Ok(Events { log: Mutex::new(log), latest, filing })
    }

    fn lock(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many events could not be written: the disk did not answer, and too many waited for it.
    pub fn unwritten(&self) -> u64 {
        self.filing.unwritten()
    }

    /// Notes that something happened now. It is written soon; nobody waits for the disk.
    pub fn note(&self, event: NewEvent) -> EventId {
        self.note_at(event, jiff::Timestamp::now())
    }

    fn note_at(&self, event: NewEvent, now: jiff::Timestamp) -> EventId {
        let mut log = self.lock();
        let event = log.add(event, now);
        let id = event.id;
        // Under the lock: so they are written in their order, and the latest never goes back.
        self.filing.file(event);
        self.latest.send_replace(id);
        id
    }

    /// Events that a query asks for, what is missing of them, and from where to ask again.
    pub fn query(&self, query: &Query) -> Found {
        self.lock().look(query)
    }

    /// Follows what happens from behind an event on; `None`: from now on.
    pub fn follow(self: &Arc<Events>, after: Option<EventId>, query: Query) -> Follower {
        let latest = self.latest.subscribe();
        let after = after.unwrap_or_else(|| *latest.borrow());
        Follower { events: Arc::clone(self), latest, query: Query { from: Some(After::Id(after)), ..query } }
    }
}

/// Somebody who is told what happens.
pub struct Follower {
    events: Arc<Events>,
    latest: watch::Receiver<EventId>,
    query: Query,
}

/// What a follower is told.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    /// This happened.
    Events(Vec<Arc<Event>>),
    /// Some of what happened meanwhile is no longer in memory; what there is comes next.
    Missed,
}

impl Follower {
    /// What happened next; waits for it. `None` if nothing can happen any more. Nothing is lost if the wait is given up.
    pub async fn next(&mut self) -> Option<Told> {
        loop {
            self.latest.mark_unchanged();
            if let Some(told) = self.look() {
                return Some(told);
            }
            self.latest.changed().await.ok()?;
        }
    }

    /// From now on he is told what this allows.
    pub fn permit(&mut self, grant: Grant) {
        self.query.grant = Some(grant);
    }

    fn look(&mut self) -> Option<Told> {
        let log = self.events.lock();
        if let Some(After::Id(after)) = self.query.from
            && log.lost_after(after)
        {
            self.query.from = Some(After::Id(log.before_first()));
            return Some(Told::Missed);
        }
        let given = log.query(&self.query);
        // Events of other kinds are not looked at again.
        let full = given.len() >= self.query.limit.min(GIVEN_MAX);
        let reached = given.last().filter(|_| full).map_or(log.latest(), |event| event.id);
        if let Some(After::Id(after)) = &mut self.query.from {
            *after = reached.max(*after);
        }
        (!given.is_empty()).then_some(Told::Events(given))
    }
}

#[cfg(test)]
mod tests;
