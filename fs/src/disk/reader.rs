//! [`FileReader`]: reads a file or block device beside its writer, without a lock and without writing anything.
//!
//! Past the page cache where possible, through a bounce buffer that each thread keeps: a page cached before the
//! writer wrote it could otherwise be served again. Through the page cache only where the caller can tell
//! ([`ReadAt::read_remembered_at`]). What must not live here: caching of its own.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, IoSliceMut, Seek, SeekFrom};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use nix::errno::Errno;
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use nix::sys::uio::preadv;

use super::buffer::{AlignedBuffer, BUFFER_ALIGNMENT_BYTES};
use super::direct::{self, Access, Opened};
use super::pool::{BufferPool, Pooled};
use super::{ReadAt, beyond_end};
use crate::error::Result;

/// How much memory of earlier reads is kept for later ones, of one file.
const IDLE_BYTES_MAX: usize = 8 << 20;
/// Long reads go through the bounce buffer in parts of at most this size, which bounds what a thread keeps.
const BOUNCE_BYTES: usize = 1 << 20;

thread_local! {
    static BOUNCE: RefCell<AlignedBuffer> = RefCell::default();
}

/// A file or block device, opened for reading.
#[derive(Debug)]
pub struct FileReader {
    file: File,
    direct: bool,
    alignment_bytes: u32,
    /// The largest size that it was seen to have: a volume may grow while it is open here.
    size_bytes: AtomicU64,
    /// The same through the page cache, once it is wanted; `None` where it cannot be opened.
    remembered: OnceLock<Option<File>>,
    pool: Arc<BufferPool>,
}

/// Which file or device: whatever its path, as long as somebody has it open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FileIdentity(pub(crate) u64, pub(crate) u64);

impl FileReader {
    /// Which file is open.
    pub(crate) fn identity(&self) -> io::Result<FileIdentity> {
        let metadata = self.file.metadata()?;
        // A device has many nodes, in many filesystems.
        let device = metadata.file_type().is_block_device().then(|| FileIdentity(u64::MAX, metadata.rdev()));
        Ok(device.unwrap_or_else(|| FileIdentity(metadata.dev(), metadata.ino())))
    }

    /// Opens an existing file or block device, which may have a writer at the same time.
    ///
    /// # Errors
    /// As [`FileDisk::open`](super::FileDisk::open), but never for a lock.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(path.as_ref(), true)
    }

    /// As [`FileReader::open`]; through the page cache unless `prefer_direct`.
    ///
    /// # Errors
    /// As [`FileReader::open`].
    pub fn open_with(path: &Path, prefer_direct: bool) -> Result<Self> {
        let Opened { file, direct, alignment_bytes, size_bytes } =
            direct::open(path, Access::Read, prefer_direct)?;
        let pool = Arc::new(BufferPool::new(IDLE_BYTES_MAX));
        let size_bytes = AtomicU64::new(size_bytes);
        Ok(Self { file, direct, alignment_bytes, size_bytes, remembered: OnceLock::new(), pool })
    }

    /// The file through the page cache, if it is another than the one that is read past it.
    fn remembered(&self) -> Option<&File> {
        let open = || {
            // Not by its path: another file may stand there by now.
            let file = File::open(format!("/proc/self/fd/{}", self.file.as_raw_fd())).ok()?;
            // What stands around the places that are read is not wanted: that is footage.
            posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_RANDOM).ok()?;
            Some(file)
        };
        self.remembered.get_or_init(open).as_ref().filter(|_| self.direct)
    }

    /// Whether reads go past the page cache.
    pub fn direct(&self) -> bool {
        self.direct
    }

    /// The unit in which the device is read; callers need not keep to it.
    pub fn alignment_bytes(&self) -> u32 {
        self.alignment_bytes
    }

    /// Whether the file reaches to there. It is asked anew only where it did not.
    fn reaches(&self, end: Option<u64>) -> bool {
        end.is_some_and(|end| end <= self.size_bytes.load(Ordering::Relaxed) || end <= self.size_bytes())
    }

    /// Reads until at least `wanted` bytes are there; the last unit of a file may be cut short.
    fn fill(&self, buffer: &mut [u8], offset: u64, wanted: usize) -> io::Result<()> {
        let mut done = 0;
        while done < wanted {
            let Some(rest) = buffer.get_mut(done..) else { break };
            match self.file.read_at(rest, offset + done as u64) {
                Ok(0) => return Err(beyond_end(offset, wanted, offset + done as u64)),
                Ok(moved) if self.direct && done + moved < wanted => {
                    let counted = moved - moved % self.alignment_bytes as usize;
                    if counted == 0 {
                        return Err(beyond_end(offset, wanted, offset + (done + moved) as u64));
                    }
                    done += counted;
                }
                Ok(moved) => done += moved,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn accepts(&self, buffer: &[u8], offset: u64) -> bool {
        let unit = u64::from(self.alignment_bytes);
        let aligned = offset.is_multiple_of(unit) && (buffer.len() as u64).is_multiple_of(unit);
        !self.direct || aligned && buffer.as_ptr().addr().is_multiple_of(BUFFER_ALIGNMENT_BYTES)
    }

    /// All pieces at once; how many bytes came, from the first on. Each piece has to be one that the file accepts.
    fn scatter(&self, pieces: &mut [Pooled], offset: u64) -> io::Result<usize> {
        let at = i64::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
        let mut slices: Vec<IoSliceMut<'_>> = pieces.iter_mut().map(|piece| IoSliceMut::new(piece)).collect();
        loop {
            match preadv(&self.file, &mut slices, at) {
                Err(Errno::EINTR) => {}
                other => return Ok(other?),
            }
        }
    }

    /// One part through the thread's own aligned buffer.
    fn read_bounced(&self, part: &mut [u8], offset: u64) -> io::Result<()> {
        let skipped = (offset % u64::from(self.alignment_bytes)) as usize;
        let wanted = skipped + part.len();
        let aligned = wanted.next_multiple_of(self.alignment_bytes as usize);
        BOUNCE.with_borrow_mut(|bounce| {
            if bounce.len() < aligned {
                bounce.resize_zeroed(aligned);
            }
            let buffer = bounce.get_mut(..aligned).unwrap_or_default();
            self.fill(buffer, offset - skipped as u64, wanted)?;
            part.copy_from_slice(buffer.get(skipped..wanted).unwrap_or_default());
            Ok(())
        })
    }
}

impl ReadAt for FileReader {
    fn size_bytes(&self) -> u64 {
        // Reads are positioned: nobody minds where this leaves the file.
        let now = (&self.file).seek(SeekFrom::End(0)).unwrap_or_default();
        self.size_bytes.fetch_max(now, Ordering::Relaxed).max(now)
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        if !self.reaches(offset.checked_add(buffer.len() as u64)) {
            return Err(beyond_end(offset, buffer.len(), self.size_bytes()));
        }
        if self.accepts(buffer, offset) {
            return self.fill(buffer, offset, buffer.len());
        }
        let mut at = offset;
        for part in buffer.chunks_mut(BOUNCE_BYTES) {
            self.read_bounced(part, at)?;
            at += part.len() as u64;
        }
        Ok(())
    }

    fn read_remembered_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        match self.remembered() {
            Some(file) => file.read_exact_at(buffer, offset),
            None => self.read_exact_at(buffer, offset),
        }
    }

    fn read_pieces_at(&self, lengths: &[usize], offset: u64) -> io::Result<Vec<Bytes>> {
        let bytes = lengths.iter().fold(0, |sum: usize, length| sum.saturating_add(*length));
        if !self.reaches(offset.checked_add(bytes as u64)) {
            return Err(beyond_end(offset, bytes, self.size_bytes()));
        }
        let mut pieces: Vec<Pooled> =
            lengths.iter().map(|length| BufferPool::take_pooled(&self.pool, *length)).collect();
        let at_once = pieces.len() > 1 && pieces.iter().all(|piece| self.accepts(piece, offset));
        let mut come = if at_once { self.scatter(&mut pieces, offset)? } else { 0 };
        let mut at = offset;
        for piece in &mut pieces {
            // What did not come with the others is read alone.
            if come < piece.len() {
                self.read_exact_at(piece, at)?;
            }
            come = come.saturating_sub(piece.len());
            at += piece.len() as u64;
        }
        Ok(pieces.into_iter().map(Bytes::from_owner).collect())
    }

    fn will_read(&self, offset: u64, bytes: usize) {
        let place = i64::try_from(offset).ok().zip(i64::try_from(bytes).ok());
        if let Some(((offset, bytes), file)) = place.zip(self.remembered()) {
            // Advice: where it is not taken, reading takes longer.
            let _taken = posix_fadvise(file, offset, bytes, PosixFadviseAdvice::POSIX_FADV_WILLNEED);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_what_stands_there_however_they_lie() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("a.ring");
        let whole: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
        std::fs::write(&path, &whole).expect("written");
        let reader = FileReader::open(&path).expect("it opens");
        let lists: [&[usize]; 5] = [&[4096], &[8192, 4096, 65536], &[4096, 100, 5000], &[], &[0, 4096]];
        for lengths in lists {
            for offset in [0, 4096, 3, 200_000] {
                let pieces = reader.read_pieces_at(lengths, offset).expect("read");
                assert!(pieces.iter().map(Bytes::len).eq(lengths.iter().copied()));
                let (begin, bytes) = (offset as usize, pieces.concat());
                assert!(bytes == whole[begin..begin + bytes.len()], "{lengths:?} at {offset}");
            }
        }
        for (lengths, offset) in [(&[4096, 4096][..], 299_008), (&[4096, 4096], u64::MAX - 4096)] {
            assert!(reader.read_pieces_at(lengths, offset).is_err(), "{lengths:?} at {offset}");
        }
    }

    #[test]
    fn a_file_that_grew_is_read_to_its_new_end() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("a.ring");
        std::fs::write(&path, vec![1; 8192]).expect("written");
        let reader = FileReader::open(&path).expect("it opens");
        let mut read = [0; 512];
        assert!(reader.read_exact_at(&mut read, 12_288).is_err(), "there is nothing yet");
        std::fs::write(&path, vec![2; 16_384]).expect("it grows");
        reader.read_exact_at(&mut read, 12_288).expect("it is there");
        assert_eq!((read, reader.size_bytes()), ([2; 512], 16_384));
        assert!(reader.read_pieces_at(&[4096], 12_288).is_ok());
        assert!(reader.read_exact_at(&mut read, 16_384).is_err(), "and no more");
    }

    #[test]
    fn what_is_remembered_is_of_the_file_that_was_opened_whatever_stands_in_its_place_later() {
        let directory = tempfile::tempdir().expect("a directory");
        let (path, other) = (directory.path().join("a.ring"), directory.path().join("b.ring"));
        std::fs::write(&path, vec![1; 8192]).expect("written");
        std::fs::write(&other, vec![2; 8192]).expect("written");
        let reader = FileReader::open(&path).expect("it opens");
        std::fs::rename(&other, &path).expect("it is replaced");
        let mut read = [0; 512];
        reader.read_remembered_at(&mut read, 4096).expect("it is read");
        assert_eq!(read, [1; 512]);
    }
}
