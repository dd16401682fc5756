//! What a [`Waker`](crate::disk::Waker) pulls: a flag, and an eventfd that ends a wait in the kernel.
//!
//! The flag says whether anybody rang; the eventfd only makes the kernel look up. So a ring that comes between two waits is
//! kept, and one that was answered already ends no later wait. What must not live here: the ring's request for it.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};

#[derive(Debug)]
pub(super) struct Bell {
    rung: AtomicBool,
    event: EventFd,
}

impl Bell {
    pub(super) fn new() -> io::Result<Self> {
        let event = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        Ok(Self { rung: AtomicBool::new(false), event })
    }

    /// Ends the wait of now, or else the next one.
    pub(super) fn ring(&self) {
        // In this order: who is woken by the event has to find the flag.
        self.rung.store(true, Ordering::SeqCst);
        // It refuses only when so much was written that it is readable anyway.
        let _readable = self.event.write(1);
    }

    /// Whether it was rung since this was asked last.
    pub(super) fn take(&self) -> bool {
        self.rung.swap(false, Ordering::SeqCst)
    }

    /// Makes the eventfd silent again; asked before [`Bell::take`], which then misses nothing.
    pub(super) fn hush(&self) {
        let _silent_already = self.event.read();
    }

    /// Waits for it without a ring.
    pub(super) fn wait(&self, wait: Duration) {
        let mut wanted = [PollFd::new(self.event.as_fd(), PollFlags::POLLIN)];
        let timeout = PollTimeout::try_from(wait).unwrap_or(PollTimeout::MAX);
        // Interrupted or not: the caller looks again.
        let _looked = poll(&mut wanted, timeout);
        self.hush();
    }

    pub(super) fn descriptor(&self) -> RawFd {
        self.event.as_raw_fd()
    }
}
