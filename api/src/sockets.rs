//! How many WebSockets somebody has: each is a connection for as long as he likes.

use crate::problem::Problem;
use axum::http::StatusCode;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What a WebSocket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// Live footage.
    Live,
    /// Events.
    Events,
}

impl Kind {
    /// The most of one user or token: a wall of cameras, and some pages.
    fn of_one_max(self) -> usize {
        match self {
            Kind::Live => 256,
            Kind::Events => 32,
        }
    }
}

/// Who has how many.
#[derive(Default)]
pub(crate) struct Sockets {
    by_name: Mutex<HashMap<(Kind, String), usize>>,
}

/// A place for a WebSocket; given back when dropped.
pub(crate) struct Place {
    sockets: Arc<Sockets>,
    key: (Kind, String),
}

impl Sockets {
    /// A place for somebody.
    ///
    /// # Errors
    /// 503 where he has as many as one may have.
    pub(crate) fn place(self: &Arc<Self>, kind: Kind, name: &str) -> Result<Place, Problem> {
        let key = (kind, name.to_owned());
        let mut by_name = self.by_name.lock().unwrap_or_else(PoisonError::into_inner);
        let count = by_name.entry(key.clone()).or_default();
        if *count >= kind.of_one_max() {
            let why = "too many WebSockets at a time";
            return Err(Problem::wait(StatusCode::SERVICE_UNAVAILABLE, why, Duration::from_secs(5)));
        }
        *count += 1;
        drop(by_name);
        Ok(Place { sockets: Arc::clone(self), key })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut by_name = self.sockets.by_name.lock().unwrap_or_else(PoisonError::into_inner);
        match by_name.get_mut(&self.key) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(by_name.remove(&self.key)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Kind, Sockets};
    use std::sync::Arc;

    #[test]
    fn nobody_has_more_than_his_sockets_and_places_come_back() {
        let sockets = Arc::new(Sockets::default());
        for kind in [Kind::Live, Kind::Events] {
            let mut places: Vec<_> =
                (0..kind.of_one_max()).map(|_| sockets.place(kind, "anna").expect("a place")).collect();
            assert!(sockets.place(kind, "anna").is_err() && sockets.place(kind, "bert").is_ok());
            places.pop();
            assert!(sockets.place(kind, "anna").is_ok());
        }
        assert!(sockets.by_name.lock().expect("not poisoned").is_empty());
    }
}
