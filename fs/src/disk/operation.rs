//! What a [`Disk`](super::Disk) is asked to do, and what it hands back.
//!
//! Buffers are owned by the operation while it is in flight: nobody can touch memory that a device may still be
//! reading or filling. Checks common to all disks live here; doing anything does not.

use std::io;
use std::sync::Arc;

use super::buffer::AlignedBuffer;

/// Names one submitted operation of one disk; larger means submitted later.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug, Ord, PartialOrd)]
pub struct Token(u64);

impl Token {
    /// The token of the `number`-th operation.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// How many operations were submitted before this one.
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// An operation with the memory it needs.
#[derive(Debug)]
pub enum Operation {
    /// Fill the whole buffer from `offset` bytes on.
    Read {
        /// Byte offset, a multiple of the disk's alignment.
        offset: u64,
        /// What to fill; its length is a multiple of the disk's alignment.
        buffer: AlignedBuffer,
    },
    /// Write the first `len` bytes of the buffer at `offset`.
    ///
    /// The buffer is shared because its owner keeps the bytes until a flush has succeeded: after a failed one
    /// the same bytes have to be written again.
    Write {
        /// Byte offset, a multiple of the disk's alignment.
        offset: u64,
        /// The bytes.
        buffer: Arc<AlignedBuffer>,
        /// How many of them, a multiple of the disk's alignment.
        len: usize,
    },
    /// Make durable every write that completed before this was submitted.
    Flush,
}

impl Operation {
    /// What sort of operation this is.
    pub fn kind(&self) -> OperationKind {
        match self {
            Operation::Read { .. } => OperationKind::Read,
            Operation::Write { .. } => OperationKind::Write,
            Operation::Flush => OperationKind::Flush,
        }
    }

    /// Byte offset; `None` for a flush.
    pub fn offset(&self) -> Option<u64> {
        match self {
            Operation::Read { offset, .. } | Operation::Write { offset, .. } => Some(*offset),
            Operation::Flush => None,
        }
    }

    /// Bytes to move; 0 for a flush.
    pub fn len_bytes(&self) -> usize {
        match self {
            Operation::Read { buffer, .. } => buffer.len(),
            Operation::Write { len, .. } => *len,
            Operation::Flush => 0,
        }
    }

    /// Whether a disk of this size and alignment can do this at all.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`], saying what is wrong.
    pub fn check(&self, size_bytes: u64, alignment_bytes: u32) -> io::Result<()> {
        let Some(offset) = self.offset() else { return Ok(()) };
        let len = self.len_bytes();
        let refuse = |why: String| Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        let unit = u64::from(alignment_bytes);
        if let Operation::Write { buffer, .. } = self
            && len > buffer.len()
        {
            return refuse(format!("a write of {len} bytes from a buffer that holds {}", buffer.len()));
        }
        if len == 0 {
            return refuse(format!("nothing to move at offset {offset}"));
        }
        if !offset.is_multiple_of(unit) || !(len as u64).is_multiple_of(unit) {
            return refuse(format!("{len} bytes at offset {offset} are not aligned to {unit} bytes"));
        }
        match offset.checked_add(len as u64) {
            Some(end) if end <= size_bytes => Ok(()),
            _ => refuse(format!("{len} bytes at offset {offset} reach beyond the end at {size_bytes}")),
        }
    }
}

/// The sort of an [`Operation`].
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug, Ord, PartialOrd)]
pub enum OperationKind {
    /// [`Operation::Read`].
    Read,
    /// [`Operation::Write`].
    Write,
    /// [`Operation::Flush`].
    Flush,
}

/// An operation that came to its end.
#[derive(Debug)]
pub struct Completion {
    /// As returned by [`Disk::submit`](super::Disk::submit).
    pub token: Token,
    /// The operation with its buffer, handed back; a failed read's may be empty, where the engine lost it.
    pub operation: Operation,
    /// Done whole, or why not.
    pub result: io::Result<()>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(offset: u64, held: usize, len: usize) -> Operation {
        Operation::Write { offset, buffer: Arc::new(AlignedBuffer::zeroed(held)), len }
    }

    #[test]
    fn what_a_disk_cannot_do_is_refused_with_the_reason() {
        let refused = |operation: Operation| operation.check(8192, 512).unwrap_err().to_string();
        assert!(refused(write(0, 512, 1024)).contains("buffer that holds 512"));
        assert!(refused(write(0, 512, 0)).contains("nothing to move"));
        assert!(refused(write(100, 512, 512)).contains("not aligned"));
        assert!(refused(write(0, 512, 100)).contains("not aligned"));
        assert!(refused(write(8192, 512, 512)).contains("beyond the end"));
        assert!(refused(write(u64::MAX - 511, 512, 512)).contains("beyond the end"));
        assert!(
            refused(Operation::Read { offset: 7680, buffer: AlignedBuffer::zeroed(1024) }).contains("end")
        );
        assert!(write(7680, 1024, 512).check(8192, 512).is_ok());
        assert!(Operation::Flush.check(8192, 512).is_ok());
    }
}
