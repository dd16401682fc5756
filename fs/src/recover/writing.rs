//! Opening for one who will write: what seems lost will be overwritten, so it must not seem so because a read failed.

use super::{Recovered, recover};
use crate::disk::ReadAt;
use crate::error::{Error, Result};
use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How often reading is begun anew.
const PASSES_MAX: usize = 5;

/// Remembers which reads failed.
struct Watched<'a> {
    disk: &'a dyn ReadAt,
    failed: Mutex<Failed>,
}

/// Reads that failed: where, and how much was to be read.
type Failed = BTreeSet<(u64, usize)>;

impl ReadAt for Watched<'_> {
    fn size_bytes(&self) -> u64 {
        self.disk.size_bytes()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let read = self.disk.read_exact_at(buffer, offset);
        if read.is_err() {
            let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
            failed.insert((offset, buffer.len()));
        }
        read
    }
}

/// How long to wait after a pass in which reads failed; longer each time.
const PAUSES_S: [u64; PASSES_MAX - 1] = [1, 2, 4, 4];

/// Lets time pass: [`std::thread::sleep`], or nothing where time is simulated.
pub(crate) type Pause = fn(Duration);

/// Does what reads a disk again until no read failed or the same ones failed as the time before: a passing error is over then,
/// and only what cannot be read for good is given up.
///
/// # Errors
/// As `read`; [`Error::Io`] if reads fail now here and now there.
pub(crate) fn settled<T>(
    disk: &dyn ReadAt,
    path: &Path,
    pause: Pause,
    mut read: impl FnMut(&dyn ReadAt) -> Result<T>,
) -> Result<T> {
    let mut before: Option<Failed> = None;
    for pass in 0..PASSES_MAX {
        let watched = Watched { disk, failed: Mutex::default() };
        let found = read(&watched);
        let failed = watched.failed.into_inner().unwrap_or_else(PoisonError::into_inner);
        let settled = failed.is_empty() || before.as_ref() == Some(&failed);
        if settled || planted!(ReadErrorsBelieved) {
            return found;
        }
        before = Some(failed);
        if let Some(seconds) = PAUSES_S.get(pass) {
            pause(Duration::from_secs(*seconds));
        }
    }
    let why = "reads fail now here and now there; nothing was written";
    Err(Error::io("find out what stands on", path, io::Error::other(why)))
}

/// [`recover`], [`settled`].
///
/// # Errors
/// As these; [`Error::Corrupt`] if a part of the stream directory stands in neither copy: a new one would hide footage.
pub(crate) fn recover_to_write(disk: &dyn ReadAt, path: &Path, pause: Pause) -> Result<Recovered> {
    with_directory(settled(disk, path, pause, |disk| recover(disk, path))?)
}

fn with_directory(recovered: Recovered) -> Result<Recovered> {
    let [front, back] = &recovered.directories;
    let apart = planted!(CopiesNeedOperator) && front != back;
    if !recovered.directory_stands && !planted!(ReadErrorsBelieved) || apart {
        let what = "the stream directory (neither copy can be read and verified; nothing was written; \
                    `keha volume check --repair` makes a new one from the blocks)"
            .to_owned();
        return Err(Error::Corrupt { what, at: recovered.geometry.directories_at()[0] });
    }
    Ok(recovered)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proof::a_recorded_volume;
    use std::cell::Cell;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// A disk of which two reads fail, by their numbers.
    struct Flaky<'a> {
        disk: &'a dyn ReadAt,
        reads: AtomicU64,
        fail: [u64; 2],
    }

    impl<'a> Flaky<'a> {
        fn new(disk: &'a dyn ReadAt, fail: [u64; 2]) -> Flaky<'a> {
            Flaky { disk, reads: AtomicU64::new(0), fail }
        }
    }

    impl ReadAt for Flaky<'_> {
        fn size_bytes(&self) -> u64 {
            self.disk.size_bytes()
        }

        fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
            if self.fail.contains(&self.reads.fetch_add(1, Ordering::Relaxed)) {
                return Err(io::Error::other("a passing error"));
            }
            self.disk.read_exact_at(buffer, offset)
        }
    }

    #[test]
    fn reads_that_fail_in_two_passes_in_a_row_hide_nothing() {
        const NONE: u64 = u64::MAX;
        let image = a_recorded_volume();
        let path = Path::new("tests");
        let disk = Flaky::new(&image, [NONE; 2]);
        let whole = recover_to_write(&disk, path, |_| ()).expect("it stands");
        let reads = disk.reads.into_inner();
        let disk = Flaky::new(&image, [0, NONE]);
        let _first_pass = recover(&disk, path);
        let behind = disk.reads.into_inner();
        for nth in 0..reads {
            let disk = Flaky::new(&image, [0, behind + nth]);
            let found = recover_to_write(&disk, path, |_| ()).expect("the third pass reads all");
            assert_eq!(found.rows, whole.rows, "read {nth}");
            // The same place failing twice is believed.
            assert!(found.findings.iter().all(|finding| finding.what == "superblock"), "read {nth}");
        }
    }
    thread_local! {
        static PASSED: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    }

    /// A disk that gives nothing until some time has passed.
    struct Waking<'a>(&'a dyn ReadAt, Duration);

    impl ReadAt for Waking<'_> {
        fn size_bytes(&self) -> u64 {
            self.0.size_bytes()
        }

        fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
            match PASSED.get() < self.1 {
                true => Err(io::Error::other("it wakes up")),
                false => self.0.read_exact_at(buffer, offset),
            }
        }
    }

    #[test]
    fn a_disk_that_fails_for_a_moment_is_given_that_moment() {
        let image = a_recorded_volume();
        PASSED.set(Duration::ZERO);
        let disk = Waking(&image, Duration::from_millis(900));
        let found = recover_to_write(&disk, Path::new("tests"), |time| PASSED.set(PASSED.get() + time));
        assert!(found.is_ok_and(|found| found.findings.is_empty()));
    }
}
