//! Opening for one who will write: what seems lost will be overwritten, so it must not seem so because a read failed.

use super::{Recovered, recover};
use crate::disk::ReadAt;
use crate::error::{Error, Result};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// Remembers that a read failed.
struct Watched<'a> {
    disk: &'a dyn ReadAt,
    failed: AtomicBool,
}

impl ReadAt for Watched<'_> {
    fn size_bytes(&self) -> u64 {
        self.disk.size_bytes()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let read = self.disk.read_exact_at(buffer, offset);
        self.failed.fetch_or(read.is_err(), Ordering::Relaxed);
        read
    }
}

/// [`recover`], done once more if a read failed: a passing error is over then, a disk that went away says so, and only what
/// can not be read for good is given up.
///
/// # Errors
/// As [`recover`]; [`Error::Corrupt`] if a part of the stream directory stands in neither copy: a new one would hide footage.
pub(crate) fn recover_to_write(disk: &dyn ReadAt, path: &Path) -> Result<Recovered> {
    let watched = Watched { disk, failed: AtomicBool::new(false) };
    let mut recovered = recover(&watched, path)?;
    if watched.failed.into_inner() && !planted!(ReadErrorsBelieved) {
        recovered = recover(disk, path)?;
    }
    if !recovered.directory_stands && !planted!(ReadErrorsBelieved) {
        let what = "the stream directory (neither copy can be read and verified; nothing was written; \
                    `keha volume check --repair` makes a new one from the blocks)"
            .to_owned();
        return Err(Error::Corrupt { what, at: recovered.geometry.directories_at()[0] });
    }
    Ok(recovered)
}
