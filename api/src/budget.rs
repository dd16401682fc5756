//! How much is read for clients at once: of disks, and of processors to make something of it.
//!
//! All work that may wait runs on one pool of threads, and whoever logs in, or changes something, needs one of them too. So reading takes a
//! permit first: there are so many in all, and so many for one user or token. The permit goes along with the work and comes back when
//! that ends, also where nobody waits for it any more: what clients break off and ask for again is not done twice at once without end.
//! Who gets none within a few seconds is told to come back; what nobody waits for takes its turn, however late.

use crate::problem::Problem;
use axum::http::StatusCode;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Reading at a time, for all clients.
pub(crate) const READING_MAX: usize = 32;
/// And for one user or token.
const READING_OF_ONE_MAX: usize = 8;
/// How long is waited for a permit.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// From how many names on those that read nothing are forgotten.
const NAMES_MAX: usize = 64;

/// Who reads how much.
pub(crate) struct Budget {
    all: Arc<Semaphore>,
    by_name: Mutex<HashMap<String, Arc<Semaphore>>>,
}

/// Leave to read; given back when dropped.
pub(crate) struct Permit {
    _of_one: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

impl Default for Budget {
    fn default() -> Budget {
        Budget { all: Arc::new(Semaphore::new(READING_MAX)), by_name: Mutex::default() }
    }
}

impl Budget {
    /// Leave for this user or token to read.
    ///
    /// # Errors
    /// 503 where there is none in time.
    pub(crate) async fn permit(&self, name: &str) -> Result<Permit, Problem> {
        let why = "too much is being read at a time";
        let busy = || Problem::wait(StatusCode::SERVICE_UNAVAILABLE, why, Duration::from_secs(2));
        timeout(WAIT_MAX, self.turn(name)).await.ok().flatten().ok_or_else(busy)
    }

    /// The same, waited for as long as it takes; `None`: nobody gets one any more.
    pub(crate) async fn turn(&self, name: &str) -> Option<Permit> {
        let (own, all) = (self.of(name), Arc::clone(&self.all));
        // First one's own: who has too much to do waits without one of all.
        let of_one = own.acquire_owned().await.ok()?;
        Some(Permit { _of_one: of_one, _of_all: all.acquire_owned().await.ok()? })
    }

    /// How many may begin to read.
    #[cfg(test)]
    pub(crate) fn free(&self) -> usize {
        self.all.available_permits()
    }

    fn of(&self, name: &str) -> Arc<Semaphore> {
        let mut by_name = self.by_name.lock().unwrap_or_else(PoisonError::into_inner);
        if by_name.len() >= NAMES_MAX {
            // A permit keeps its semaphore, as does who waits for one.
            by_name.retain(|_, own| Arc::strong_count(own) > 1);
        }
        let own = by_name.entry(name.to_owned());
        Arc::clone(own.or_insert_with(|| Arc::new(Semaphore::new(READING_OF_ONE_MAX))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn nobody_takes_all_permits_and_who_waits_in_vain_is_told_so() {
        let budget = Budget::default();
        let mut permits = Vec::new();
        for _ in 0..READING_OF_ONE_MAX {
            permits.push(budget.permit("anna").await.expect("a permit"));
        }
        assert!(budget.permit("anna").await.is_err());
        for other in 0..READING_MAX - READING_OF_ONE_MAX {
            permits.push(budget.permit(&format!("user {other}")).await.expect("a permit"));
        }
        assert!(budget.permit("bert").await.is_err(), "all are taken");
        permits.remove(0);
        permits.push(budget.permit("bert").await.expect("one came back"));
        permits.clear();
        assert_eq!(budget.all.available_permits(), READING_MAX);
        assert!(budget.permit("anna").await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn names_that_read_nothing_are_forgotten() {
        let budget = Budget::default();
        let kept = budget.permit("anna").await.expect("a permit");
        for other in 0..1000 {
            budget.permit(&format!("user {other}")).await.expect("a permit");
        }
        let by_name = budget.by_name.lock().expect("free");
        assert!(by_name.len() <= NAMES_MAX && by_name.contains_key("anna"));
        drop(kept);
    }
}
