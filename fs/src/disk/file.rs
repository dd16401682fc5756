//! [`FileDisk`]: a file or block device behind a few threads that read and write at positions.
//!
//! It opens past the page cache where that is accepted, keeps other writers out for as long as any of its
//! requests may still land, and completes short transfers. It never retries what failed: whoever submitted
//! decides. What must not live here: io_uring, which is another disk.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::libc;

use super::direct::{self, Access, Opened};
use super::lock::{self, LOCK_WAIT, RETRY_INTERVAL};
use super::{Completion, Disk, Operation, Token, Waker};
use crate::error::{Error, Result};

/// More operations at once than any engine has use for: a runaway caller meets an error, not the end of memory.
const IN_FLIGHT_MAX: usize = 4096;

/// How a [`FileDisk`] is opened.
#[derive(Clone, Debug)]
pub struct FileOptions {
    /// Threads that do the I/O, which is also how many requests the device sees at once; at least 1.
    pub threads: usize,
    /// Whether to go past the page cache where that is accepted.
    pub prefer_direct: bool,
    /// How long to try for the writer's lock.
    pub lock_wait: Duration,
}

impl Default for FileOptions {
    fn default() -> Self {
        Self { threads: 4, prefer_direct: true, lock_wait: LOCK_WAIT }
    }
}

/// A file or block device, opened for its only writer.
///
/// Dropping it forgets what has not started yet; what has started lands, and the lock lasts until then.
#[derive(Debug)]
pub struct FileDisk {
    shared: Arc<Shared>,
    size_bytes: u64,
    submitted: u64,
    in_flight: usize,
}

/// What the threads see.
#[derive(Debug)]
struct Shared {
    direct: bool,
    alignment_bytes: u32,
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

impl FileDisk {
    /// Opens an existing file or block device for writing and takes the writer's lock.
    ///
    /// # Errors
    /// [`Error::Locked`] when another writer has it or a device is in use, [`Error::Invalid`] for what is neither file nor device,
    /// [`Error::Io`] for what the system refuses.
    pub fn open(path: impl AsRef<Path>, options: &FileOptions) -> Result<Self> {
        let path = path.as_ref();
        let started = Instant::now();
        let opened = loop {
            match direct::open(path, Access::Write, options.prefer_direct) {
                // A device has one exclusive opener at a time, which may be about to go.
                Err(Error::Locked { .. }) if started.elapsed() < options.lock_wait => {
                    std::thread::sleep(RETRY_INTERVAL);
                }
                opened => break opened?,
            }
        };
        let Opened { file, direct, alignment_bytes, size_bytes } = opened;
        lock::lock(&file, path, options.lock_wait.saturating_sub(started.elapsed()))?;
        let shared = Arc::new(Shared {
            direct,
            alignment_bytes,
            work: Mutex::new(Work { queue: VecDeque::new(), file: Some(Arc::new(file)) }),
            work_came: Condvar::new(),
            done: Mutex::default(),
            done_came: Condvar::new(),
        });
        let disk = Self { shared, size_bytes, submitted: 0, in_flight: 0 };
        for number in 0..options.threads.max(1) {
            let shared = Arc::clone(&disk.shared);
            std::thread::Builder::new()
                .name(format!("keha-disk-{number}"))
                .spawn(move || shared.serve())
                .map_err(|source| Error::io("start a thread for", path, source))?;
        }
        Ok(disk)
    }

    /// Whether I/O goes past the page cache.
    pub fn direct(&self) -> bool {
        self.shared.direct
    }
}

impl Disk for FileDisk {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn alignment_bytes(&self) -> u32 {
        self.shared.alignment_bytes
    }

    fn submit(&mut self, operation: Operation) -> Token {
        let token = Token::new(self.submitted);
        self.submitted += 1;
        self.in_flight += 1;
        let refusal = if self.in_flight > IN_FLIGHT_MAX {
            Err(io::Error::from_raw_os_error(libc::EAGAIN))
        } else {
            operation.check(self.size_bytes, self.shared.alignment_bytes)
        };
        match refusal {
            Ok(()) => {
                self.shared.work().queue.push_back((token, operation));
                self.shared.work_came.notify_one();
            }
            Err(_) => self.shared.complete(Completion { token, operation, result: refusal }),
        }
        token
    }

    fn poll(&mut self, wait: Duration) -> Option<Completion> {
        let deadline = Instant::now().checked_add(wait);
        let mut done = self.shared.done();
        loop {
            if let Some(completion) = done.completions.pop_front() {
                self.in_flight -= 1;
                return Some(completion);
            }
            if std::mem::take(&mut done.woken) || self.in_flight == 0 {
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

    fn in_flight(&self) -> usize {
        self.in_flight
    }

    fn waker(&self) -> Option<Waker> {
        let shared = Arc::downgrade(&self.shared);
        Some(Waker::new(move || {
            if let Some(shared) = shared.upgrade() {
                shared.done().woken = true;
                shared.done_came.notify_all();
            }
        }))
    }
}

impl Drop for FileDisk {
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
                        moved => done += self.progress(moved?, whole - done, io::ErrorKind::UnexpectedEof)?,
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
                        moved => done += self.progress(moved?, *len - done, io::ErrorKind::WriteZero)?,
                    }
                }
                Ok(())
            }
            Operation::Flush => file.sync_data(),
        }
    }

    /// How much of a transfer counts: where the page cache is not there to help, the rest has to begin aligned.
    fn progress(&self, moved: usize, wanted: usize, none: io::ErrorKind) -> io::Result<usize> {
        let unit = self.alignment_bytes as usize;
        let counted = if moved < wanted && self.direct { moved / unit * unit } else { moved };
        if counted == 0 {
            return Err(io::Error::new(none, format!("{moved} of {wanted} bytes moved")));
        }
        Ok(counted)
    }
}
