//! One operation on its way: how far it has come, which request is next, and what a request's result means for it.
//!
//! What must not live here: anything that talks to the kernel.

use std::io;
use std::sync::Arc;

use io_uring::squeue::{Entry, Flags};
use io_uring::{opcode, types};
use nix::libc;

use crate::disk::file::transfer::Transfer;
use crate::disk::slab::Slab;
use crate::disk::{Completion, Operation, OperationKind, Token};

/// The kernel moves less than 2 GiB at once; the rest follows as after a short transfer.
const REQUEST_BYTES_MAX: usize = 1 << 30;
/// How often a request is made again that the system had no means for; then its operation fails.
const RETRIES_MAX: u32 = 64;

/// The file, as requests name it.
#[derive(Copy, Clone, Debug)]
pub(super) struct Target {
    /// A descriptor, or the place among the registered files.
    pub(super) number: i32,
    pub(super) registered: bool,
}

/// What a request's result means.
#[derive(Debug)]
pub(super) enum Verdict {
    /// There is more to do, or the same once more.
    Again,
    Over(io::Result<()>),
}

#[derive(Debug)]
pub(super) struct Job {
    token: Token,
    operation: Operation,
    moved: usize,
    retries: u32,
}

impl Job {
    pub(super) fn new(token: Token, operation: Operation) -> Self {
        Self { token, operation, moved: 0, retries: 0 }
    }

    /// The slab that a write's bytes lie in.
    pub(super) fn slab(&self) -> Option<&Arc<Slab>> {
        match &self.operation {
            Operation::Write { buffer, .. } => buffer.slab(),
            Operation::Read { .. } | Operation::Flush => None,
        }
    }

    pub(super) fn is_flush(&self) -> bool {
        self.operation.kind() == OperationKind::Flush
    }

    /// The request for what is left; `memory` is the place at which a write's slab is registered. It points into the operation's buffer, which stays where it is when the job moves.
    pub(super) fn request(&mut self, target: Target, memory: Option<u16>) -> Entry {
        let file = types::Fd(target.number);
        let moved = self.moved;
        let length = |rest: &[u8]| rest.len().min(REQUEST_BYTES_MAX) as u32;
        let request = match &mut self.operation {
            Operation::Read { offset, buffer } => {
                let rest = buffer.get_mut(moved..).unwrap_or_default();
                let length = length(rest);
                opcode::Read::new(file, rest.as_mut_ptr(), length).offset(*offset + moved as u64).build()
            }
            Operation::Write { offset, buffer, len } => {
                let rest = buffer.get(moved..*len).unwrap_or_default();
                let (bytes, length, offset) = (rest.as_ptr(), length(rest), *offset + moved as u64);
                match memory {
                    Some(place) => opcode::WriteFixed::new(file, bytes, length, place).offset(offset).build(),
                    None => opcode::Write::new(file, bytes, length).offset(offset).build(),
                }
            }
            Operation::Flush => opcode::Fsync::new(file).flags(types::FsyncFlags::DATASYNC).build(),
        };
        let mut flags = Flags::empty();
        flags.set(Flags::FIXED_FILE, target.registered);
        // A worker of the kernel may wait for what the first try found missing.
        flags.set(Flags::ASYNC, self.retries > 0);
        request.flags(flags)
    }

    /// Judges what the kernel answered: bytes moved, or a negative errno.
    pub(super) fn judge(&mut self, result: i32, transfer: Transfer) -> Verdict {
        let Ok(moved) = usize::try_from(result) else { return self.judge_error(-result) };
        if self.is_flush() {
            return Verdict::Over(Ok(()));
        }
        let left = self.operation.len_bytes() - self.moved;
        match transfer.counted(moved, left, self.operation.kind()) {
            Err(error) => Verdict::Over(Err(error)),
            Ok(counted) => {
                self.moved += counted;
                self.retries = 0;
                if counted == left { Verdict::Over(Ok(())) } else { Verdict::Again }
            }
        }
    }

    fn judge_error(&mut self, errno: i32) -> Verdict {
        let again = match errno {
            // Nothing was tried: interrupted, or called off because the thread that asked has ended.
            libc::EINTR | libc::ECANCELED => true,
            // A flush that was tried tells of an error only once: a second one would hide it.
            libc::EAGAIN => !self.is_flush(),
            _ => false,
        };
        if !again || self.retries >= RETRIES_MAX {
            return Verdict::Over(Err(io::Error::from_raw_os_error(errno)));
        }
        self.retries += 1;
        Verdict::Again
    }

    /// What may be handed out while the kernel still has the request: the operation, but no memory that anybody may write to.
    pub(super) fn abandoned(&self) -> (Token, Operation) {
        let operation = match &self.operation {
            Operation::Read { offset, .. } => Operation::Read { offset: *offset, buffer: Default::default() },
            Operation::Write { offset, buffer, len } => {
                Operation::Write { offset: *offset, buffer: buffer.clone(), len: *len }
            }
            Operation::Flush => Operation::Flush,
        };
        (self.token, operation)
    }

    /// The end of it, outside the kernel.
    pub(super) fn finish(self, result: io::Result<()>) -> Completion {
        Completion { token: self.token, operation: self.operation, result }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::AlignedBuffer;

    const TRANSFER_UNIT: u32 = 512;

    fn read(len: usize) -> Job {
        let operation = Operation::Read { offset: 0, buffer: AlignedBuffer::zeroed(len) };
        Job::new(Token::new(0), operation)
    }

    fn over(verdict: Verdict) -> io::Result<()> {
        match verdict {
            Verdict::Over(result) => result,
            Verdict::Again => panic!("it goes on"),
        }
    }

    #[test]
    fn a_short_transfer_goes_on_where_whole_units_end() {
        let direct = Transfer::new(true, TRANSFER_UNIT);
        let mut job = read(4096);
        assert!(matches!(job.judge(700, direct), Verdict::Again));
        assert_eq!(job.moved, 512);
        over(job.judge(4096 - 512, direct)).unwrap();
        let mut ended = read(4096);
        assert!(matches!(ended.judge(3584, direct), Verdict::Again));
        assert_eq!(over(ended.judge(0, direct)).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn what_was_not_tried_is_tried_again_but_not_for_ever_and_other_errors_are_told() {
        let direct = Transfer::new(true, TRANSFER_UNIT);
        let mut job = read(512);
        for _ in 0..RETRIES_MAX {
            assert!(matches!(job.judge(-libc::EAGAIN, direct), Verdict::Again));
        }
        assert_eq!(over(job.judge(-libc::EAGAIN, direct)).unwrap_err().raw_os_error(), Some(libc::EAGAIN));
        let mut failed = read(512);
        assert_eq!(over(failed.judge(-libc::EIO, direct)).unwrap_err().raw_os_error(), Some(libc::EIO));
    }

    #[test]
    fn a_flush_that_was_tried_is_never_repeated() {
        let direct = Transfer::new(true, TRANSFER_UNIT);
        let mut flush = Job::new(Token::new(0), Operation::Flush);
        assert!(matches!(flush.judge(-libc::ECANCELED, direct), Verdict::Again));
        for errno in [libc::EAGAIN, libc::EIO, libc::ENOSPC] {
            assert_eq!(over(flush.judge(-errno, direct)).unwrap_err().raw_os_error(), Some(errno));
        }
        over(flush.judge(0, direct)).unwrap();
    }
}
