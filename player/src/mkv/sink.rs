//! Where a Matroska file goes: a file whose header is written last, or a pipe that nothing can be changed in.
//!
//! Both collect large writes, count positions and hash on the way. What must not live here: names, renaming, Matroska.

use crate::mkv::tree_hash::TreeHash;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;

/// What is collected before it is written: large enough for few calls, small enough to be hashed while it is warm.
const BUFFER_BYTES: usize = 512 << 10;
/// What direct writes must be aligned to, in memory and in the file: enough for every disk.
const ALIGNMENT_BYTES: usize = 4096;

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
    /// The same file, open past the page cache; `None` where that is not to be had.
    direct: Option<File>,
    /// Holds `full` bytes from `start` on, where the memory is aligned as direct writes need it.
    buffer: Vec<u8>,
    start: usize,
    full: usize,
    filled: usize,
    written: u64,
    hash: Option<TreeHash>,
}

impl FileSink {
    /// `direct` is the same file opened with `O_DIRECT`: fresh page cache costs several times what the export itself does.
    pub(crate) fn new(file: File, direct: Option<File>) -> FileSink {
        FileSink { file, direct, buffer: Vec::new(), start: 0, full: 0, filled: 0, written: 0, hash: None }
    }

    fn flush(&mut self) -> io::Result<()> {
        let bytes = self.buffer.get(self.start..self.start + self.filled).unwrap_or_default();
        if let Some(hash) = &mut self.hash {
            hash.update(bytes);
        }
        // The end of the file is no whole buffer, and direct writes take whole sectors only.
        let direct = self.direct.take().filter(|_| self.filled == self.full);
        match direct.map(|direct| direct.write_all_at(bytes, self.written).map(|()| direct)) {
            Some(Ok(direct)) => self.direct = Some(direct),
            // The file system refuses this alignment: without it, then.
            Some(Err(error)) if error.kind() == io::ErrorKind::InvalidInput => {
                self.file.write_all_at(bytes, self.written)?;
            }
            Some(Err(error)) => return Err(error),
            None => self.file.write_all_at(bytes, self.written)?,
        }
        self.written += self.filled as u64;
        self.filled = 0;
        Ok(())
    }
}

impl Sink for FileSink {
    fn can_patch(&self) -> bool {
        true
    }

    fn begin(&mut self, header: &[u8]) -> io::Result<()> {
        self.file.write_all_at(header, 0)?;
        self.written = header.len() as u64;
        // Whole groups are hashed at every flush, so the buffer holds a whole number of them.
        self.full = BUFFER_BYTES.max(header.len());
        self.buffer = vec![0; self.full + ALIGNMENT_BYTES];
        self.start = self.buffer.as_ptr().align_offset(ALIGNMENT_BYTES).min(ALIGNMENT_BYTES);
        self.hash = Some(TreeHash::new(header.len()));
        Ok(())
    }

    fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(self.full - self.filled));
            let at = self.start + self.filled;
            if let Some(room) = self.buffer.get_mut(at..at + now.len()) {
                room.copy_from_slice(now);
            }
            self.filled += now.len();
            bytes = later;
            if self.filled == self.full {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn position(&self) -> u64 {
        self.written + self.filled as u64
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
