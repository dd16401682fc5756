//! The edge where the ring meets storage: [`Disk`] for the one writer, [`ReadAt`] for every reader.
//!
//! A disk takes owned operations and hands each one back once, with its result, in any order. That shape fits
//! a pool of threads, io_uring and a simulation alike, so the code above is the same under all of them.
//!
//! Promises of every implementation:
//! - an operation succeeded whole or failed: short reads and writes never get out;
//! - a bad operation (out of range, unaligned, empty) fails, it never panics;
//! - a flush orders nothing. It makes durable the writes that had *completed* before it was submitted, no others;
//! - what a failed write left behind is unknown: nothing, all of it, or any of its sectors;
//! - after a failed flush every write since the last good one is unknown until it is written again and flushed.
//!
//! What must not live here: anything that knows what the bytes mean. No blocks, no checksums, no retries.
//!
//! This is the only place of the crate where `unsafe` may stand.

mod buffer;
mod create;
mod device;
mod direct;
mod file;
mod lock;
mod operation;
mod past_cache;
mod pool;
mod reader;
pub mod sim;
mod slab;
#[cfg(test)]
mod testing;

use bytes::Bytes;
use std::io;
use std::sync::Arc;
use std::time::Duration;

pub use buffer::{AlignedBuffer, BUFFER_ALIGNMENT_BYTES};
pub use create::create_file;
pub(crate) use create::extend_file;
pub(crate) use device::Device;
pub use file::{EngineInUse, EngineKind, FileDisk, FileOptions, IO_DEPTH, IO_DEPTH_MAX, IoEngine};
pub use lock::LOCK_WAIT;
pub use operation::{Completion, Operation, OperationKind, Token};
pub(crate) use past_cache::copy_past_cache;
pub(crate) use reader::FileIdentity;
pub use reader::FileReader;
pub(crate) use slab::Slabs;

/// Storage as its writer sees it: operations go in, completions come out.
pub trait Disk: Send {
    /// Size in bytes. Operations that reach beyond it fail.
    fn size_bytes(&self) -> u64;

    /// Smallest unit of offsets and lengths: a power of two, at least 512.
    fn alignment_bytes(&self) -> u32;

    /// Starts an operation; its completion bears the returned token. Never blocks for the device.
    fn submit(&mut self, operation: Operation) -> Token;

    /// One completion, if there is one within `wait` ([`Duration::ZERO`] only looks).
    ///
    /// `None`: nothing came in that time, nothing is in flight, or another thread used the [`Waker`].
    fn poll(&mut self, wait: Duration) -> Option<Completion>;

    /// Operations submitted whose completion was not yet handed out.
    fn in_flight(&self) -> usize;

    /// A handle with which another thread makes a blocked [`Disk::poll`] return early.
    ///
    /// `None` where `poll` never blocks, as in a simulation.
    fn waker(&self) -> Option<Waker> {
        None
    }
}

/// Storage as its readers see it: positioned, synchronous, shared between threads.
///
/// It sees what the writer's completed operations left, also those of another process.
pub trait ReadAt: Send + Sync {
    /// Size in bytes at the time of opening.
    fn size_bytes(&self) -> u64;

    /// Fills `buffer` from `offset`; both may be unaligned.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] for a range beyond the end, else what the device reported. The buffer's
    /// content is then unspecified.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;

    /// As [`ReadAt::read_exact_at`], but by what the system may remember: perhaps what stood there before. Only for who can tell.
    ///
    /// # Errors
    /// As [`ReadAt::read_exact_at`].
    fn read_remembered_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.read_exact_at(buffer, offset)
    }

    /// As [`ReadAt::read_exact_at`], of pieces of these lengths that follow each other: each in memory of its own, which may serve again
    /// when nobody has it any more.
    ///
    /// # Errors
    /// As [`ReadAt::read_exact_at`], for all of them.
    fn read_pieces_at(&self, lengths: &[usize], offset: u64) -> io::Result<Vec<Bytes>> {
        let mut at = offset;
        let pieces = lengths.iter().map(|length| {
            let mut buffer = AlignedBuffer::zeroed(*length);
            self.read_exact_at(&mut buffer, at)?;
            at += *length as u64;
            Ok(Bytes::from_owner(buffer))
        });
        pieces.collect()
    }

    /// These bytes will be read as remembered: they may be fetched meanwhile.
    fn will_read(&self, _offset: u64, _bytes: usize) {}
}

impl<T: ReadAt + ?Sized> ReadAt for Arc<T> {
    fn size_bytes(&self) -> u64 {
        (**self).size_bytes()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        (**self).read_exact_at(buffer, offset)
    }

    fn read_remembered_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        (**self).read_remembered_at(buffer, offset)
    }

    fn read_pieces_at(&self, lengths: &[usize], offset: u64) -> io::Result<Vec<Bytes>> {
        (**self).read_pieces_at(lengths, offset)
    }

    fn will_read(&self, offset: u64, bytes: usize) {
        (**self).will_read(offset, bytes);
    }
}

/// Whoever has a disk by a reference or a box has a disk.
macro_rules! disk_behind {
    ($($pointer:ty),*) => {$(
        impl<T: Disk + ?Sized> Disk for $pointer {
            fn size_bytes(&self) -> u64 {
                (**self).size_bytes()
            }

            fn alignment_bytes(&self) -> u32 {
                (**self).alignment_bytes()
            }

            fn submit(&mut self, operation: Operation) -> Token {
                (**self).submit(operation)
            }

            fn poll(&mut self, wait: Duration) -> Option<Completion> {
                (**self).poll(wait)
            }

            fn in_flight(&self) -> usize {
                (**self).in_flight()
            }

            fn waker(&self) -> Option<Waker> {
                (**self).waker()
            }
        }
    )*};
}

disk_behind!(&mut T, Box<T>);

/// Makes a blocked [`Disk::poll`] return; kept until the next poll when none is blocked at the moment.
#[derive(Clone)]
pub struct Waker(Arc<dyn Fn() + Send + Sync>);

impl Waker {
    /// A waker that calls `wake`, which must not block.
    pub fn new(wake: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Arc::new(wake))
    }

    /// Wakes the poll that is blocked now, or else the next one.
    pub fn wake(&self) {
        (self.0)();
    }
}

impl std::fmt::Debug for Waker {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Waker")
    }
}

/// The error of a read that reaches beyond the end.
fn beyond_end(offset: u64, len: usize, size_bytes: u64) -> io::Error {
    io::Error::new(
        io::ErrorKind::UnexpectedEof,
        format!("{len} bytes at offset {offset} reach beyond the end at {size_bytes}"),
    )
}
