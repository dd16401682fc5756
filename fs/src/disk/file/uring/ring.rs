//! The ring itself: set up as far as this kernel goes, and the few calls on it.
//!
//! Used is what Linux 5.11 has: waiting with a time limit, and completions that are never dropped. `COOP_TASKRUN` (5.19)
//! spares the thread interrupts and is left out where it is not known. Not `SINGLE_ISSUER` nor `DEFER_TASKRUN`: they bind a
//! ring to one thread, but the last requests of a disk that is closed may be waited for by another. What must not live here: whose request is whose.

#![expect(unsafe_code, reason = "requests point to memory, for which somebody has to vouch")]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

use io_uring::squeue::Entry;
use io_uring::types::{Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, Probe, opcode};
use nix::libc;

use super::bell::Bell;
use super::refusal::Refusal;
use crate::disk::slab::Slab;

/// The longest wait in one call; who waits longer calls again.
const WAIT_MAX: Duration = Duration::from_secs(3600);
/// The name of the bell's request; those of operations count from 0.
const BELL: u64 = u64::MAX;

/// A ring with its bell.
pub(in crate::disk::file) struct Ring {
    uring: IoUring,
    bell: Arc<Bell>,
    bell_armed: bool,
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Ring").field("bell_armed", &self.bell_armed).finish_non_exhaustive()
    }
}

impl Ring {
    /// A ring for `depth` operations at once, if this kernel has what is needed and allows it to this process.
    pub(in crate::disk::file) fn set_up(depth: usize) -> Result<Self, Refusal> {
        let entries = u32::try_from(depth + 1).unwrap_or(u32::MAX);
        let built = match IoUring::builder().setup_coop_taskrun().build(entries) {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => IoUring::new(entries),
            built => built,
        };
        let uring = built.map_err(Refusal::of_setup)?;
        for (there, name) in [
            (uring.params().is_feature_nodrop(), "completions that are never dropped"),
            (uring.params().is_feature_ext_arg(), "waiting with a time limit"),
        ] {
            if !there {
                return Err(Refusal::Missing(name));
            }
        }
        let mut probe = Probe::new();
        uring.submitter().register_probe(&mut probe).map_err(Refusal::Failed)?;
        for (code, name) in [
            (opcode::Read::CODE, "READ"),
            (opcode::Write::CODE, "WRITE"),
            (opcode::Fsync::CODE, "FSYNC"),
            (opcode::PollAdd::CODE, "POLL_ADD"),
        ] {
            if !probe.is_supported(code) {
                return Err(Refusal::Missing(name));
            }
        }
        // A filter may allow the one call and not the other.
        uring.submit().map_err(Refusal::Failed)?;
        let bell = Arc::new(Bell::new().map_err(Refusal::Failed)?);
        Ok(Self { uring, bell, bell_armed: false })
    }

    pub(super) fn bell(&self) -> Arc<Bell> {
        Arc::clone(&self.bell)
    }

    /// Registers the file as number 0, which spares each request looking it up; `false` where that is refused.
    pub(super) fn register(&self, file: &File) -> bool {
        self.uring.submitter().register_files(&[file.as_raw_fd()]).is_ok()
    }

    /// Undoes [`Ring::register`]; no request of the file is under way.
    pub(super) fn unregister(&self) {
        let _was_not_registered = self.uring.submitter().unregister_files();
    }

    /// Makes so many places for memory to be registered; `false` where the kernel has no such thing (before Linux 5.19).
    pub(super) fn make_places(&self, places: u16) -> bool {
        self.uring.submitter().register_buffers_sparse(u32::from(places)).is_ok()
    }

    /// Registers a slab's memory at this place, where there was none.
    ///
    /// # Errors
    /// `ENOMEM` beyond RLIMIT_MEMLOCK, and whatever else the system says.
    pub(super) fn register_memory(&self, place: u16, slab: &Slab) -> io::Result<()> {
        let (memory, bytes) = slab.place();
        self.update_place(place, libc::iovec { iov_base: memory.as_ptr().cast(), iov_len: bytes })
    }

    /// Takes out what is registered at this place. Requests that are under way end as if it were still there.
    pub(super) fn forget_memory(&self, place: u16) {
        let none = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
        // Refused or not, nobody names the place again before other memory was put there.
        let _forgotten = self.update_place(place, none);
    }

    fn update_place(&self, place: u16, memory: libc::iovec) -> io::Result<()> {
        // SAFETY: the kernel pins the pages that lie there now and keeps them for itself, whatever becomes of the addresses. Requests
        // that name the place point into the slab that they keep alive, whose pages these are.
        unsafe { self.uring.submitter().register_buffers_update(u32::from(place), &[memory], None) }
    }

    /// Puts a request into the submission queue. There is room: it has an entry for each operation that may be under way
    /// and for the bell.
    ///
    /// # Safety
    /// What the request points to must stay until its completion was taken.
    pub(super) unsafe fn push(&mut self, request: &Entry) {
        // SAFETY: the caller keeps what the request points to.
        let pushed = unsafe { self.uring.submission().push(request) };
        pushed.expect("an entry for each request");
    }

    /// Has the next wait end when the bell rings.
    pub(super) fn arm_bell(&mut self) {
        if self.bell_armed {
            return;
        }
        let readable = u32::from(libc::POLLIN.unsigned_abs());
        let request = opcode::PollAdd::new(Fd(self.bell.descriptor()), readable).build().user_data(BELL);
        self.bell_armed = true;
        // SAFETY: it points to nothing; the descriptor is open for as long as `self` has the bell.
        unsafe { self.push(&request) };
    }

    pub(super) fn has_unsubmitted(&mut self) -> bool {
        !self.uring.submission().is_empty()
    }

    /// Submits what was pushed and, if `wait` is more than nothing, waits so long at most for a completion.
    ///
    /// # Errors
    /// What `io_uring_enter` reports, but for waits that were interrupted or brought nothing.
    pub(super) fn enter(&self, wait: Duration) -> io::Result<()> {
        let submitter = self.uring.submitter();
        let entered = if wait.is_zero() {
            submitter.submit()
        } else {
            let limit = Timespec::from(wait.min(WAIT_MAX));
            submitter.submit_with_args(1, &SubmitArgs::new().timespec(&limit))
        };
        match entered {
            Err(error) if matches!(error.raw_os_error(), Some(libc::ETIME | libc::EINTR)) => Ok(()),
            entered => entered.map(drop),
        }
    }

    /// The name of a request that has landed, and its result; the bell's are taken on the way.
    pub(super) fn take_completion(&mut self) -> Option<(u64, i32)> {
        loop {
            let completion = self.uring.completion().next()?;
            if completion.user_data() != BELL {
                return Some((completion.user_data(), completion.result()));
            }
            // It rang, or the thread that armed it has ended.
            self.bell_armed = false;
            self.bell.hush();
        }
    }
}
