//! The engine of io_uring: requests go to the kernel from the thread that submits and polls, with no thread of its own.
//!
//! ```text
//! submit -> waiting (ours, in order) -> in the kernel (at most `depth`) -> ready (ours) -> poll
//!                   ^--- the rest of a short transfer, first of all ---'
//! ```
//!
//! # When requests begin
//! - `submit` enters the kernel while fewer than `depth` requests are there: an idle device never waits for a poll. What
//!   is beyond that goes with whatever enters next, many in one call: each submit and each poll fills up what was freed,
//!   and a poll that waits does both in one call.
//! - So between two calls at most `depth` requests are worked on. The writer's thread sleeps for up to an interval between
//!   rounds; it collects whenever it works, and what was left waiting goes with the next round.
//!
//! # What always holds
//! - **Memory of a request is neither freed nor handed out before its completion was taken**, whatever happens: it lies in
//!   a slot of `kernel`, which leaks slots rather than free them. A completion comes for each request, exactly one.
//! - The completion queue cannot overflow: it has room for twice as many as there are slots and the bell.
//! - Any thread may use the disk, one at a time. Where a thread ends, the kernel calls off what it had submitted
//!   (`ECANCELED`); such requests are made again by the next call.
//! - A waker's bell is a request too, but no operation: it is armed before a wait, and only makes the wait look again.
//!
//! # When something fails
//! - A failed request fails its operation with the system's error; interrupted and called-off ones are made again (`job`).
//! - The kernel has no memory for requests just now (`EAGAIN`, `EBUSY`, `ENOMEM`): they stand in the submission queue and go with the
//!   next call, as if the device were slow.
//! - Entering fails otherwise: the ring is broken for good. All operations fail, later ones too, which the layers above
//!   take for a failing disk. What was in the kernel may still land, so its memory is leaked: a write is handed back
//!   sharing its buffer with that leak, a read with an empty buffer. The lock lasts until it has landed, because
//!   requests in the kernel hold the file.
//! - Dropped while requests are in the kernel: a thread takes all of it and waits (`kernel`).
//!
//! What must not live here: any knowledge of what bytes mean.

mod bell;
mod job;
mod kernel;
mod refusal;
mod registered;
mod ring;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::libc;

use super::transfer::Transfer;
use crate::disk::{Completion, Operation, Token, Waker};
use bell::Bell;
use job::{Job, Verdict};
use kernel::Kernel;
pub(super) use ring::Ring;

/// Between two tries to enter a kernel that has no memory at the moment.
const SHORT_OF_MEMORY_PAUSE: Duration = Duration::from_millis(1);

/// The engine, as its disk sees it.
#[derive(Debug)]
pub(super) struct Uring {
    /// Or why it is broken.
    kernel: Result<Kernel, String>,
    waiting: VecDeque<Job>,
    ready: VecDeque<Completion>,
    bell: Arc<Bell>,
    transfer: Transfer,
}

impl Uring {
    /// For `file`, with at most `depth` requests in the kernel; `ring` was set up for as many.
    pub(super) fn new(ring: Ring, file: File, depth: usize, transfer: Transfer) -> Self {
        let bell = ring.bell();
        let kernel = Ok(Kernel::new(ring, file, depth));
        Self { kernel, waiting: VecDeque::new(), ready: VecDeque::new(), bell, transfer }
    }

    /// Takes in an operation that was found good.
    pub(super) fn submit(&mut self, token: Token, operation: Operation) {
        let job = Job::new(token, operation);
        if let Err(why) = &self.kernel {
            self.ready.push_back(job.finish(Err(broken(why))));
            return;
        }
        self.waiting.push_back(job);
        self.turn();
        self.push_out();
    }

    /// As [`Disk::poll`](crate::disk::Disk::poll), whether or not anything is under way.
    pub(super) fn poll(&mut self, wait: Duration) -> Option<Completion> {
        let deadline = Instant::now().checked_add(wait);
        let mut looked = false;
        loop {
            self.turn();
            if !self.ready.is_empty() || self.bell.take() {
                self.push_out();
                return self.ready.pop_front();
            }
            let left = deadline.map_or(Duration::MAX, |at| at.saturating_duration_since(Instant::now()));
            if left.is_zero() && (looked || self.is_idle()) {
                return None;
            }
            looked = left.is_zero();
            self.enter(left);
        }
    }

    /// Ends a wait from another thread; of no effect once the disk is gone.
    pub(super) fn waker(&self) -> Waker {
        let bell = Arc::downgrade(&self.bell);
        Waker::new(move || {
            if let Some(bell) = bell.upgrade() {
                bell.ring();
            }
        })
    }

    fn is_idle(&self) -> bool {
        self.kernel.as_ref().map_or(true, |kernel| kernel.occupied() == 0)
    }

    /// Takes what has landed, without a call into the kernel.
    fn land(&mut self) {
        let Ok(kernel) = &mut self.kernel else { return };
        while let Some((mut job, result)) = kernel.take_landed() {
            match job.judge(result, self.transfer) {
                Verdict::Again => self.waiting.push_front(job),
                Verdict::Over(result) => self.ready.push_back(job.finish(result)),
            }
        }
    }

    /// Takes what has landed and makes requests in its place, for whoever enters the kernel next.
    fn turn(&mut self) {
        self.land();
        let Ok(kernel) = &mut self.kernel else { return };
        while kernel.has_room()
            && let Some(job) = self.waiting.pop_front()
        {
            kernel.begin(job);
        }
    }

    /// Hands the kernel what [`Uring::turn`] has made ready for it.
    fn push_out(&mut self) {
        if self.kernel.as_mut().is_ok_and(Kernel::has_unsubmitted) {
            self.enter(Duration::ZERO);
        }
    }

    /// Submits, and waits for something to land or the bell to ring; no wait at all still lets the kernel tell what landed.
    fn enter(&mut self, wait: Duration) {
        let Ok(kernel) = &mut self.kernel else {
            // Nothing will come any more, but for the bell.
            self.bell.wait(wait);
            return;
        };
        match kernel.enter(wait) {
            Ok(()) => {}
            Err(error) if is_passing(&error) => std::thread::sleep(wait.min(SHORT_OF_MEMORY_PAUSE)),
            Err(error) => self.give_up(&error),
        }
    }

    /// The ring cannot be used any more.
    fn give_up(&mut self, error: &io::Error) {
        tracing::error!(%error, "io_uring is broken; the disk has to be opened again");
        self.land();
        let why = format!("io_uring is broken ({error}): close the volume and open it again");
        if let Ok(kernel) = std::mem::replace(&mut self.kernel, Err(why.clone())) {
            let failed = |(token, operation)| Completion { token, operation, result: Err(broken(&why)) };
            self.ready.extend(kernel.abandon().map(failed));
        }
        self.ready.extend(self.waiting.drain(..).map(|job| job.finish(Err(broken(&why)))));
    }
}

impl Drop for Uring {
    fn drop(&mut self) {
        if let Ok(kernel) = std::mem::replace(&mut self.kernel, Err(String::new())) {
            kernel.close();
        }
    }
}

fn broken(why: &str) -> io::Error {
    io::Error::other(why)
}

/// Whether the kernel could not take requests at the moment.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EBUSY | libc::ENOMEM))
}
