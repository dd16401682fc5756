//! Footage on its way to clients: read on threads of their own, handed over in pieces, a bounded number at a time.
//!
//! A client that reads slowly keeps a thread and about a megabyte; one that reads next to nothing is gone after a while
//! ([`crate::handover`]). What goes wrong on the way breaks the answer off, so that nobody takes a part for the whole.

use crate::filed::in_bulk;
use crate::handover::handover;
use crate::prepared::Kept;
use crate::problem::Problem;
use axum::body::Body;
use axum::http::StatusCode;
use keha_player::footage::Marks;
use keha_player::library::Snapshot;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Downloads at a time, of all clients.
const DOWNLOADS_MAX: usize = 64;
/// And of one user or token.
const DOWNLOADS_OF_ONE_MAX: usize = 8;
/// Pieces of 256 KiB that wait for a client.
const PIECES: usize = 4;

/// Who downloads how much.
#[derive(Default)]
pub(crate) struct Downloads {
    by_name: Mutex<HashMap<String, usize>>,
}

/// A place among the downloads; given back when dropped.
pub(crate) struct Place {
    downloads: Arc<Downloads>,
    name: String,
}

impl Downloads {
    /// A place, if there is one.
    ///
    /// # Errors
    /// 503 where there is none.
    pub(crate) fn place(self: &Arc<Self>, name: &str) -> Result<Place, Problem> {
        let mut by_name = self.by_name.lock().unwrap_or_else(PoisonError::into_inner);
        let of_one = by_name.get(name).copied().unwrap_or(0);
        let all: usize = by_name.values().sum();
        if of_one >= DOWNLOADS_OF_ONE_MAX || all >= DOWNLOADS_MAX {
            let why = "too many downloads at a time";
            return Err(Problem::wait(StatusCode::SERVICE_UNAVAILABLE, why, Duration::from_secs(5)));
        }
        by_name.insert(name.to_owned(), of_one + 1);
        Ok(Place { downloads: Arc::clone(self), name: name.to_owned() })
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.by_name.lock().unwrap_or_else(PoisonError::into_inner).values().sum()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut by_name = self.downloads.by_name.lock().unwrap_or_else(PoisonError::into_inner);
        match by_name.get_mut(&self.name) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(by_name.remove(&self.name)),
        }
    }
}

/// A range of a file's bytes as the body of an answer, made from a mark where there are any. `held` is kept until the last of them was handed over.
pub(crate) fn body(
    volumes: Vec<Arc<Snapshot>>,
    prepared: Arc<Kept>,
    bytes: Range<u64>,
    marks: Option<Marks>,
    held: impl Send + 'static,
) -> Body {
    let (mut giver, body) = handover(PIECES);
    tokio::task::spawn_blocking(move || {
        let is_there = giver.is_there();
        let mut give = |piece| giver.give(piece);
        match prepared.write_while(&in_bulk(&volumes), bytes, marks.as_ref(), &is_there, &mut give) {
            Ok(_) => giver.finish(),
            Err(error) => {
                prepared.spoil();
                tracing::warn!(%error, file = prepared.file_name(), "a download was broken off");
                giver.break_off();
            }
        }
        drop(held);
    });
    body
}

#[cfg(test)]
mod tests {
    use super::{DOWNLOADS_MAX, DOWNLOADS_OF_ONE_MAX, Downloads};
    use std::sync::Arc;

    #[test]
    fn nobody_takes_all_places_and_places_come_back() {
        let downloads = Arc::new(Downloads::default());
        let mut places: Vec<_> =
            (0..DOWNLOADS_OF_ONE_MAX).map(|_| downloads.place("anna").expect("a place")).collect();
        assert!(downloads.place("anna").is_err());
        for other in 0.. {
            match downloads.place(&format!("user {other}")) {
                Ok(place) => places.push(place),
                Err(_) => break,
            }
        }
        assert_eq!((places.len(), downloads.count()), (DOWNLOADS_MAX, DOWNLOADS_MAX));
        places.remove(0);
        assert!(downloads.place("anna").is_ok());
        places.clear();
        assert_eq!(downloads.count(), 0);
    }
}
