//! [`FileDisk`]: a file or block device, opened for its only writer.
//!
//! It opens past the page cache where that is accepted, keeps other writers out for as long as any of its requests may
//! still land, and checks and counts operations. Doing them is the business of its engine: io_uring (`uring`) or a few
//! threads (`threads`), which complete short transfers by the same rule (`transfer`) and never retry what failed: whoever
//! submitted decides. What must not live here: how an operation is done.

#[cfg(test)]
mod tests;
mod threads;
mod transfer;
mod uring;

use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::libc;
use nix::sys::statfs::{FUSE_SUPER_MAGIC, fstatfs};

use super::direct::{self, Access, Opened};
use super::lock::{self, LOCK_WAIT, RETRY_INTERVAL};
use super::{Completion, Disk, Operation, Token, Waker};
use crate::error::{Error, Result};
use threads::Threads;
use transfer::Transfer;
use uring::{Ring, Uring};

/// More operations at once than any engine has use for: a runaway caller meets an error, not the end of memory.
const IN_FLIGHT_MAX: usize = 4096;
/// How many requests the device sees at once if nothing else is said.
pub const IO_DEPTH: usize = 4;
/// The most requests that may be asked for at once. A write is of up to a megabyte: more of them than a SATA disk queues (32) make no
/// disk faster, and each makes whoever waits for a flush wait longer. With threads it is their number.
pub const IO_DEPTH_MAX: usize = 32;

/// Why there is no io_uring by itself where direct writes are done within the call that submits: the caller would wait for the disk.
const ON_FUSE: &str = "FUSE does what io_uring submits within the call, and that waits for the disk";

/// By which engine a [`FileDisk`] is to do its operations.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug, Default)]
#[non_exhaustive]
pub enum IoEngine {
    /// io_uring where the kernel has it and allows it to this process, else threads; threads on FUSE.
    #[default]
    Auto,
    /// A few threads, which serve everywhere.
    Threads,
    /// io_uring or nothing: opening fails where it is refused.
    Uring,
}

/// By which engine a [`FileDisk`] does its operations.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug)]
#[non_exhaustive]
pub enum EngineKind {
    /// A few threads.
    Threads,
    /// io_uring, on the thread that submits.
    Uring,
}

impl fmt::Display for EngineKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            EngineKind::Threads => "threads",
            EngineKind::Uring => "io_uring",
        })
    }
}

/// What does the I/O of a disk that is open.
#[derive(Clone, Eq, PartialEq, Debug)]
#[non_exhaustive]
pub struct EngineInUse {
    /// What it is.
    pub kind: EngineKind,
    /// How many requests the device sees at once, at most.
    pub depth: usize,
    /// Why it is not io_uring, where [`IoEngine::Auto`] could not have it; no secret, one line.
    pub why_threads: Option<String>,
}

/// How a [`FileDisk`] is opened.
#[derive(Clone, Debug)]
pub struct FileOptions {
    /// What does the I/O.
    pub engine: IoEngine,
    /// How many requests the device sees at once, 1 to [`IO_DEPTH_MAX`]; with threads that is their number. The others wait in
    /// order.
    pub depth: usize,
    /// Whether to go past the page cache where that is accepted.
    pub prefer_direct: bool,
    /// How long to try for the writer's lock.
    pub lock_wait: Duration,
}

impl Default for FileOptions {
    fn default() -> Self {
        Self { engine: IoEngine::Auto, depth: IO_DEPTH, prefer_direct: true, lock_wait: LOCK_WAIT }
    }
}

/// A file or block device, opened for its only writer.
///
/// Dropping it forgets what has not started yet; what has started lands, and the lock lasts until then. Dropping it does not
/// wait for that; but the system lets no thread end of which io_uring still has requests on a device that does not answer.
#[derive(Debug)]
pub struct FileDisk {
    engine: Engine,
    in_use: EngineInUse,
    direct: bool,
    alignment_bytes: u32,
    size_bytes: u64,
    /// Operations that were found bad, failed but not yet handed out.
    refused: VecDeque<Completion>,
    submitted: u64,
    in_flight: usize,
}

#[derive(Debug)]
enum Engine {
    Threads(Threads),
    Uring(Box<Uring>),
}

impl FileDisk {
    /// Opens an existing file or block device for writing and takes the writer's lock.
    ///
    /// # Errors
    /// [`Error::Locked`] when another writer has it or a device is in use, [`Error::Invalid`] for what is neither file nor device,
    /// [`Error::Io`] for what the system refuses, io_uring included where [`IoEngine::Uring`] asks for it.
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
        let (engine, in_use) = Engine::start(file, path, options, Transfer::new(direct, alignment_bytes))?;
        let refused = VecDeque::new();
        Ok(Self { engine, in_use, direct, alignment_bytes, size_bytes, refused, submitted: 0, in_flight: 0 })
    }

    /// Whether I/O goes past the page cache.
    pub fn direct(&self) -> bool {
        self.direct
    }

    /// What does the I/O.
    pub fn engine(&self) -> EngineKind {
        self.in_use.kind
    }

    /// The same with how many requests at once, and why.
    pub fn in_use(&self) -> &EngineInUse {
        &self.in_use
    }
}

impl Engine {
    fn start(
        file: File,
        path: &Path,
        options: &FileOptions,
        transfer: Transfer,
    ) -> Result<(Self, EngineInUse)> {
        let depth = options.depth.clamp(1, IO_DEPTH_MAX);
        let in_use = |kind, why_threads| EngineInUse { kind, depth, why_threads };
        let ring = match options.engine {
            IoEngine::Threads => Err(None),
            IoEngine::Auto if is_fuse(&file) => Err(Some(ON_FUSE.to_owned())),
            IoEngine::Auto => Ring::set_up(depth).map_err(|refusal| Some(refusal.to_string())),
            IoEngine::Uring => match Ring::set_up(depth) {
                Ok(ring) => Ok(ring),
                Err(refusal) => return Err(Error::io("use io_uring", path, refusal.into())),
            },
        };
        match ring {
            Ok(ring) => {
                tracing::debug!(path = %path.display(), depth, "io_uring does the I/O");
                let uring = Uring::new(ring, file, depth, transfer);
                Ok((Engine::Uring(Box::new(uring)), in_use(EngineKind::Uring, None)))
            }
            Err(why) => {
                match why.as_deref() {
                    // Always so there, and nothing to mend.
                    None | Some(ON_FUSE) => {
                        tracing::debug!(path = %path.display(), depth, why, "threads do the I/O");
                    }
                    Some(why) => tracing::info!(path = %path.display(), depth, why, "threads do the I/O"),
                }
                let threads = Threads::start(file, path, depth, transfer)?;
                Ok((Engine::Threads(threads), in_use(EngineKind::Threads, why)))
            }
        }
    }
}

/// Whether it lies on FUSE.
fn is_fuse(file: &File) -> bool {
    fstatfs(file).is_ok_and(|found| found.filesystem_type() == FUSE_SUPER_MAGIC)
}

impl Disk for FileDisk {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn alignment_bytes(&self) -> u32 {
        self.alignment_bytes
    }

    fn submit(&mut self, operation: Operation) -> Token {
        let token = Token::new(self.submitted);
        self.submitted += 1;
        self.in_flight += 1;
        let refusal = if self.in_flight > IN_FLIGHT_MAX {
            Err(io::Error::from_raw_os_error(libc::EAGAIN))
        } else {
            operation.check(self.size_bytes, self.alignment_bytes)
        };
        match (refusal, &mut self.engine) {
            (Ok(()), Engine::Threads(threads)) => threads.submit(token, operation),
            (Ok(()), Engine::Uring(uring)) => uring.submit(token, operation),
            (result, _) => self.refused.push_back(Completion { token, operation, result }),
        }
        token
    }

    fn poll(&mut self, wait: Duration) -> Option<Completion> {
        let wait = if self.in_flight == 0 { Duration::ZERO } else { wait };
        let completion = self.refused.pop_front().or_else(|| match &mut self.engine {
            Engine::Threads(threads) => threads.poll(wait),
            Engine::Uring(uring) => uring.poll(wait),
        })?;
        self.in_flight -= 1;
        Some(completion)
    }

    fn in_flight(&self) -> usize {
        self.in_flight
    }

    fn waker(&self) -> Option<Waker> {
        Some(match &self.engine {
            Engine::Threads(threads) => threads.waker(),
            Engine::Uring(uring) => uring.waker(),
        })
    }
}
