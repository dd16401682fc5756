//! Files of footage that were prepared, and how much memory they take: a bounded number of bytes over all downloads.
//!
//! A file is prepared whole before its first byte is given, and kept until its last was: of MP4 that is some 8 bytes a sample, which for a
//! day of one camera is tens of megabytes. While a file is laid out it takes a few times as much, so few are at once.

use crate::problem::Problem;
use axum::http::StatusCode;
use keha_player::footage::Prepared;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// The most bytes of memory that prepared files take.
const MEMORY_MAX: u64 = 256 << 20;
/// How many are laid out at a time.
const AT_ONCE_MAX: usize = 4;
/// How long is waited for that.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// What prepared files take.
pub(crate) struct Desk {
    memory_max: u64,
    taken: AtomicU64,
    working: Mutex<usize>,
    ended: Condvar,
}

impl Default for Desk {
    fn default() -> Desk {
        Desk {
            memory_max: MEMORY_MAX,
            taken: AtomicU64::new(0),
            working: Mutex::default(),
            ended: Condvar::new(),
        }
    }
}

/// A prepared file; what it takes is given back when the last who has it drops it.
pub(crate) struct Kept {
    prepared: Prepared,
    _taken: Taken,
}

impl Deref for Kept {
    type Target = Prepared;

    fn deref(&self) -> &Prepared {
        &self.prepared
    }
}

struct Taken(Arc<Desk>, u64);

impl Drop for Taken {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(self.1, Ordering::SeqCst);
    }
}

struct Working<'a>(&'a Desk);

impl Drop for Working<'_> {
    fn drop(&mut self) {
        *self.0.working.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        self.0.ended.notify_one();
    }
}

impl Desk {
    /// Prepares a file, if there is room for it. Blocks.
    ///
    /// # Errors
    /// Those of `prepare`; 503 where others take the room, 422 where it alone is too large.
    pub(crate) fn prepare(
        self: &Arc<Self>,
        prepare: impl FnOnce() -> keha_player::Result<Prepared>,
    ) -> Result<Arc<Kept>, Problem> {
        let working = self.begin()?;
        let prepared = prepare()?;
        drop(working);
        let taken = self.take(prepared.memory_bytes())?;
        Ok(Arc::new(Kept { prepared, _taken: taken }))
    }

    fn begin(&self) -> Result<Working<'_>, Problem> {
        let working = self.working.lock().unwrap_or_else(PoisonError::into_inner);
        let full = |working: &mut usize| *working >= AT_ONCE_MAX;
        let waited = self.ended.wait_timeout_while(working, WAIT_MAX, full);
        let (mut working, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() {
            return Err(busy("too many files are being prepared at a time"));
        }
        *working += 1;
        Ok(Working(self))
    }

    fn take(self: &Arc<Self>, bytes: u64) -> Result<Taken, Problem> {
        if bytes > self.memory_max {
            let why =
                "the file has more samples than this server prepares: ask for a shorter range, or for fmp4";
            return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, why));
        }
        let more = |taken: u64| taken.checked_add(bytes).filter(|all| *all <= self.memory_max);
        let taken = self.taken.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more);
        taken.map_err(|_| busy("downloads take all the memory that they may"))?;
        Ok(Taken(Arc::clone(self), bytes))
    }
}

fn busy(why: &str) -> Problem {
    Problem::wait(StatusCode::SERVICE_UNAVAILABLE, why, Duration::from_secs(10))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::response::IntoResponse;

    #[test]
    fn prepared_files_take_so_much_memory_and_give_it_back() {
        let desk = Arc::new(Desk { memory_max: 100, ..Desk::default() });
        let status =
            |taken: Result<Taken, Problem>| taken.err().map(|problem| problem.into_response().status());
        let first = desk.take(60).expect("room");
        assert_eq!(status(desk.take(41)), Some(StatusCode::SERVICE_UNAVAILABLE));
        assert_eq!(status(desk.take(101)), Some(StatusCode::UNPROCESSABLE_ENTITY), "it never will have room");
        let second = desk.take(40).expect("room");
        drop(first);
        drop(second);
        assert_eq!(desk.taken.load(Ordering::SeqCst), 0);
        assert!(desk.take(100).is_ok());
    }

    #[test]
    fn a_file_that_cannot_be_prepared_takes_nothing() {
        let desk = Arc::new(Desk::default());
        for _ in 0..2 * AT_ONCE_MAX {
            let refused = desk.prepare(|| Err(keha_player::Error::Cancelled));
            assert!(refused.is_err());
        }
        assert_eq!((desk.taken.load(Ordering::SeqCst), *desk.working.lock().expect("free")), (0, 0));
    }
}
