//! The engine that is there everywhere: a few threads that read and write at positions.
//!
//! As many operations are under way as there are threads; the others wait in order. Dropping it returns at once: what has
//! not begun is forgotten, and each thread keeps the file, and with it the lock, until its own operation has landed. What
//! must not live here: the checks and counts that both engines share.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::transfer::Transfer;
use crate::disk::{Completion, Operation, OperationKind, Token, Waker};
use crate::error::{Error, Result};

/// The threads, as their disk sees them.
#[derive(Debug)]
pub(super) struct Threads {
    shared: Arc<Shared>,
}

/// What the threads see.
#[derive(Debug)]
struct Shared {
    transfer: Transfer,
    work: Mutex<Work>,
    work_came: Condvar,
    done: Mutex<Done>,
    done_came: Condvar,
}

#[derive(Debug)]
struct Work {
    queue: VecDeque<(Token, Operation)>,
    /// Gone once the disk is dropped; a thread holds it only during an operation, so that the lock ends in time.
    file: Option<Arc<File>>,
}

#[derive(Debug, Default)]
struct Done {
    completions: VecDeque<Completion>,
    woken: bool,
}

impl Threads {
    /// Starts `count` threads for `file`, which lies at `path`.
    ///
    /// # Errors
    /// [`Error::Io`] where the system has no more threads.
    pub(super) fn start(file: File, path: &Path, count: usize, transfer: Transfer) -> Result<Self> {
        let shared = Arc::new(Shared {
            transfer,
            work: Mutex::new(Work { queue: VecDeque::new(), file: Some(Arc::new(file)) }),
            work_came: Condvar::new(),
            done: Mutex::default(),
            done_came: Condvar::new(),
        });
        let threads = Self { shared };
        for number in 0..count {
            let shared = Arc::clone(&threads.shared);
            std::thread::Builder::new()
                .name(format!("keha-disk-{number}"))
                .spawn(move || shared.serve())
                .map_err(|source| Error::io("start a thread for", path, source))?;
        }
        Ok(threads)
    }

    /// Takes in an operation that was found good.
    pub(super) fn submit(&self, token: Token, operation: Operation) {
        self.shared.work().queue.push_back((token, operation));
        self.shared.work_came.notify_one();
    }

    /// As [`Disk::poll`](crate::disk::Disk::poll), whether or not anything is under way.
    pub(super) fn poll(&self, wait: Duration) -> Option<Completion> {
        let deadline = Instant::now().checked_add(wait);
        let mut done = self.shared.done();
        loop {
            if let Some(completion) = done.completions.pop_front() {
                return Some(completion);
            }
            if std::mem::take(&mut done.woken) {
                return None;
            }
            let left = deadline.map_or(Duration::MAX, |at| at.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return None;
            }
            done = match self.shared.done_came.wait_timeout(done, left) {
                Ok((done, _)) => done,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }

    /// Ends a wait from another thread.
    pub(super) fn waker(&self) -> Waker {
        let shared = Arc::downgrade(&self.shared);
        Waker::new(move || {
            if let Some(shared) = shared.upgrade() {
                shared.done().woken = true;
                shared.done_came.notify_all();
            }
        })
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        let mut work = self.shared.work();
        work.file = None;
        work.queue.clear();
        drop(work);
        self.shared.work_came.notify_all();
    }
}

impl Shared {
    fn work(&self) -> MutexGuard<'_, Work> {
        // Nothing panics while it holds this lock, and each change under it is whole.
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn done(&self) -> MutexGuard<'_, Done> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn complete(&self, completion: Completion) {
        self.done().completions.push_back(completion);
        self.done_came.notify_all();
    }

    /// The life of one thread: operations until the disk is dropped.
    fn serve(&self) {
        while let Some((file, token, mut operation)) = self.next() {
            let result = self.perform(&file, &mut operation);
            // Before the completion is seen: who then closes the disk finds the lock free at once.
            drop(file);
            self.complete(Completion { token, operation, result });
        }
    }

    fn next(&self) -> Option<(Arc<File>, Token, Operation)> {
        let mut work = self.work();
        loop {
            let file = Arc::clone(work.file.as_ref()?);
            if let Some((token, operation)) = work.queue.pop_front() {
                return Some((file, token, operation));
            }
            drop(file);
            work = self.work_came.wait(work).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn perform(&self, file: &File, operation: &mut Operation) -> io::Result<()> {
        match operation {
            Operation::Read { offset, buffer } => {
                let whole = buffer.len();
                let mut done = 0;
                while done < whole {
                    let Some(rest) = buffer.get_mut(done..) else { break };
                    match file.read_at(rest, *offset + done as u64) {
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        moved => done += self.transfer.counted(moved?, whole - done, OperationKind::Read)?,
                    }
                }
                Ok(())
            }
            Operation::Write { offset, buffer, len } => {
                let mut done = 0;
                while done < *len {
                    let rest = buffer.get(done..*len).unwrap_or_default();
                    match file.write_at(rest, *offset + done as u64) {
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        moved => done += self.transfer.counted(moved?, *len - done, OperationKind::Write)?,
                    }
                }
                Ok(())
            }
            Operation::Flush => file.sync_data(),
        }
    }
}
