//! Where a Matroska file goes: a file whose header is written last, or a pipe that nothing can be changed in.
//!
//! Both collect large writes, count positions and hash on the way. What must not live here: names, renaming, Matroska.

use crate::mkv::tree_hash::TreeHash;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;

/// What is collected before it is written: large enough for few calls, small enough to be hashed while it is warm.
const BUFFER_BYTES: usize = 512 << 10;

/// A destination of bytes, written from beginning to end.
pub(crate) trait Sink {
    /// Whether the header can be replaced at the end.
    fn can_patch(&self) -> bool;
    /// Takes the header; a sink that can patch keeps exactly its length, a power of two, for the final one.
    fn begin(&mut self, header: &[u8]) -> io::Result<()>;
    /// Appends.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Bytes so far.
    fn position(&self) -> u64;
    /// Ends the file, with its final header where it can be patched, and gives the BLAKE3 of all of it.
    fn finish(&mut self, header: &[u8]) -> io::Result<blake3::Hash>;
}

/// A file that is this export's own.
pub(crate) struct FileSink {
    file: File,
    buffer: Vec<u8>,
    written: u64,
    hash: Option<TreeHash>,
}

impl FileSink {
    pub(crate) fn new(file: File) -> FileSink {
        FileSink { file, buffer: Vec::with_capacity(BUFFER_BYTES), written: 0, hash: None }
    }

    fn flush(&mut self) -> io::Result<()> {
        if let Some(hash) = &mut self.hash {
            hash.update(&self.buffer);
        }
        self.file.write_all(&self.buffer)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

impl Sink for FileSink {
    fn can_patch(&self) -> bool {
        true
    }

    fn begin(&mut self, header: &[u8]) -> io::Result<()> {
        self.file.write_all(header)?;
        self.written = header.len() as u64;
        // Whole groups are hashed at every flush, so the buffer holds a whole number of them.
        self.buffer.reserve(header.len().max(BUFFER_BYTES));
        self.hash = Some(TreeHash::new(header.len()));
        Ok(())
    }

    fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        let full = BUFFER_BYTES.max(self.hash.as_ref().map_or(0, TreeHash::group_bytes));
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(full - self.buffer.len()));
            self.buffer.extend_from_slice(now);
            bytes = later;
            if self.buffer.len() == full {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn position(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    fn finish(&mut self, header: &[u8]) -> io::Result<blake3::Hash> {
        self.flush()?;
        self.file.write_all_at(header, 0)?;
        self.file.sync_all()?;
        Ok(self.hash.take().map_or_else(|| blake3::hash(header), |hash| hash.finish(header)))
    }
}

/// A pipe, or anything else that only takes bytes.
pub(crate) struct PipeSink<'a> {
    out: &'a mut dyn Write,
    buffer: Vec<u8>,
    written: u64,
    hash: blake3::Hasher,
}

impl<'a> PipeSink<'a> {
    pub(crate) fn new(out: &'a mut dyn Write) -> PipeSink<'a> {
        PipeSink { out, buffer: Vec::with_capacity(BUFFER_BYTES), written: 0, hash: blake3::Hasher::new() }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.hash.update(&self.buffer);
        self.out.write_all(&self.buffer)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

impl Sink for PipeSink<'_> {
    fn can_patch(&self) -> bool {
        false
    }

    fn begin(&mut self, header: &[u8]) -> io::Result<()> {
        self.write(header)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.buffer.len() + bytes.len() > BUFFER_BYTES {
            self.flush()?;
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    fn position(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    fn finish(&mut self, _header: &[u8]) -> io::Result<blake3::Hash> {
        self.flush()?;
        self.out.flush()?;
        Ok(self.hash.finalize())
    }
}
