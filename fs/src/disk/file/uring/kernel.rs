//! Requests that are with the kernel, and the memory they point into.
//!
//! Each request has a slot with its job from before it is pushed until its completion is taken. However a [`Kernel`] goes, it
//! frees no slot that is occupied: dropped on the way it leaks them. The orderly way is [`Kernel::close`]: with requests
//! left it moves to a thread that waits until they have landed, so that a device that hangs keeps that thread and nobody
//! else. What must not live here: what to do next.

#![expect(unsafe_code, reason = "only who keeps the memory can promise the kernel that it stays")]

use std::fs::File;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::AsRawFd;
use std::time::Duration;

use super::job::{Job, Target};
use super::registered::Registered;
use super::ring::Ring;
use super::{SHORT_OF_MEMORY_PAUSE, is_passing};
use crate::disk::{Operation, Token};

/// How long the thread that waits for the last requests stays in the kernel at a time.
const REAPER_WAIT: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Kernel {
    ring: Ring,
    target: Target,
    memory: Registered,
    /// A slot's place is the name of its request. Never dropped by itself: see [`Kernel::drop`].
    slots: ManuallyDrop<Vec<Option<Job>>>,
    occupied: usize,
    /// Kept open for its requests, and locked.
    _file: File,
}

impl Kernel {
    pub(super) fn new(ring: Ring, file: File, depth: usize) -> Self {
        let registered = ring.register(&file);
        let target = Target { number: if registered { 0 } else { file.as_raw_fd() }, registered };
        let slots = ManuallyDrop::new(std::iter::repeat_with(|| None).take(depth).collect());
        let memory = Registered::new(&ring);
        Self { ring, target, memory, slots, occupied: 0, _file: file }
    }

    /// Requests whose completion was not yet taken.
    pub(super) fn occupied(&self) -> usize {
        self.occupied
    }

    /// Slabs that are registered.
    #[cfg(test)]
    pub(super) fn registered(&self) -> usize {
        self.memory.count()
    }

    pub(super) fn has_room(&self) -> bool {
        self.occupied < self.slots.len()
    }

    /// Pushes a request for what is left of a job; there is room. The kernel sees it with the next [`Kernel::enter`].
    pub(super) fn begin(&mut self, job: Job) {
        let free = self.slots.iter_mut().enumerate().find(|(_, slot)| slot.is_none());
        let (name, slot) = free.expect("begun only where there is room");
        let memory = match job.slab() {
            Some(slab) => self.memory.place_of(&self.ring, slab),
            None => None,
        };
        if job.is_flush() {
            self.memory.forget_gone(&self.ring);
        }
        let request = slot.insert(job).request(self.target, memory).user_data(name as u64);
        self.occupied += 1;
        // SAFETY: the request points into the buffer of the job that now lies in its slot. The slot is emptied only by
        // `take_landed`, on the one completion of this request; until then nobody has the job, so nobody can free, move
        // or change the buffer's memory (a write's is shared, and only ever read), and dropping `self` frees no occupied
        // slot. The file stays open as long as `self`, and the request itself holds it from when it is submitted.
        unsafe { self.ring.push(&request) };
    }

    pub(super) fn has_unsubmitted(&mut self) -> bool {
        self.ring.has_unsubmitted()
    }

    /// Submits what was pushed, and waits for something to land or for the bell.
    ///
    /// # Errors
    /// As [`Ring::enter`].
    pub(super) fn enter(&mut self, wait: Duration) -> io::Result<()> {
        if !wait.is_zero() {
            self.ring.arm_bell();
        }
        self.ring.enter(wait)
    }

    /// A job that is out of the kernel again, with the result of its request.
    pub(super) fn take_landed(&mut self) -> Option<(Job, i32)> {
        while let Some((name, result)) = self.ring.take_completion() {
            let slot = usize::try_from(name).ok().and_then(|name| self.slots.get_mut(name));
            if let Some(job) = slot.and_then(Option::take) {
                self.occupied -= 1;
                return Some((job, result));
            }
            tracing::error!(name, result, "io_uring completes what nobody asked for");
        }
        None
    }

    /// Leaves the ring with what is in it: the operations, with the memory that may be handed out.
    pub(super) fn abandon(self) -> impl Iterator<Item = (Token, Operation)> {
        let left: Vec<_> = self.slots.iter().flatten().map(Job::abandoned).collect();
        left.into_iter()
    }

    /// Lets go of ring and file, once what is in the kernel has landed; does not wait for that.
    pub(super) fn close(mut self) {
        while self.take_landed().is_some() {}
        if self.occupied == 0 {
            return;
        }
        let reaper = std::thread::Builder::new().name("keha-disk-last".to_owned());
        if let Err(error) = reaper.spawn(move || self.reap()) {
            tracing::error!(%error, "no thread to wait for the last requests: their memory is lost");
        }
    }

    /// Waits for as long as it takes.
    fn reap(mut self) {
        while self.occupied > 0 {
            match self.ring.enter(REAPER_WAIT) {
                Ok(()) => {}
                Err(error) if is_passing(&error) => std::thread::sleep(SHORT_OF_MEMORY_PAUSE),
                Err(error) => {
                    tracing::error!(%error, "io_uring is broken: memory of its last requests is lost");
                    return;
                }
            }
            while self.take_landed().is_some() {}
        }
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        if self.occupied == 0 {
            drop(std::mem::take(&mut *self.slots));
            // At once, for the lock: the kernel lets go of a closed ring's files some time later.
            self.ring.unregister();
        }
    }
}
