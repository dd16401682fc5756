//! A disk that fails on command: a filesystem of one file (FUSE), with its volume in it, served by this process.
//!
//! What was written since the last completed flush lies in memory alone: a power cut loses of it what it likes, sector by
//! sector. Besides, I/O can stall, and writes, reads or flushes can fail with any error. Commands that only look the file up
//! are always answered. Needs root and `/dev/fuse`.
//!
//! Promises: whatever happens to the test, its panic included, held requests are answered, the filesystem is unmounted, and
//! nothing here waits without a bound.
//!
//! Must not live here: knowledge of what the bytes mean, and what a recorder ought to do about the faults
//! ([`crate::points`]).

mod filesystem;
mod platter;

use crate::wait;
use anyhow::{Context, Result, ensure};
use filesystem::{OneFile, State};
use fuser::{BackgroundSession, Config, MountOption, Session, SessionACL};
use nix::errno::Errno;
use nix::mount::{MntFlags, umount2};
use platter::Platter;
use rand::rngs::StdRng;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use platter::Survivors;

/// The name of the one file.
pub(crate) const FILE_NAME: &str = "test.ring";
/// What such mounts are called in the table of mounts, before the number of their process.
const SOURCE: &str = "keha-tests-";
/// How long the writes up to a power cut may take: a recorder makes some every second.
const CUT_LIMIT: Duration = Duration::from_secs(30);
/// How long a process that was just killed may still keep the filesystem busy.
const UNMOUNT_LIMIT: Duration = Duration::from_secs(20);

/// Whether this machine lets these tests mount such a disk; otherwise why not.
pub fn possible() -> Result<()> {
    ensure!(nix::unistd::geteuid().is_root(), "a disk that fails needs root to mount it");
    ensure!(Path::new("/dev/fuse").exists(), "a disk that fails needs /dev/fuse");
    Ok(())
}

/// What the disk was asked to do and did, or refused, since it was mounted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Writes that were taken.
    pub writes: u64,
    /// Flushes that were done.
    pub flushes: u64,
    /// Requests of any kind that were refused with an error.
    pub refused: u64,
    /// Requests that had to wait for the end of a stall.
    pub held: u64,
}

/// The mounted disk.
pub struct FaultyDisk {
    state: Arc<Mutex<State>>,
    session: Option<BackgroundSession>,
    at: PathBuf,
}

impl FaultyDisk {
    /// Mounts a disk at a new directory in `dir`, with the volume of `image` in it, which is this user's. The image changes with
    /// it.
    pub fn mount(dir: &Path, image: &Path, owner: u32) -> Result<Self> {
        sweep();
        let at = dir.join("faulty");
        std::fs::create_dir(&at)?;
        let state = Arc::new(Mutex::new(State::new(Platter::open(image)?)));
        let mut config = Config::default();
        config.mount_options = vec![
            MountOption::FSName(format!("{SOURCE}{}", std::process::id())),
            MountOption::DefaultPermissions,
        ];
        if owner != nix::unistd::getuid().as_raw() {
            config.acl = SessionACL::All;
        }
        let session = Session::new(OneFile::new(Arc::clone(&state), owner)?, &at, &config)
            .and_then(Session::spawn)
            .context("mounting a FUSE filesystem")?;
        Ok(Self { state, session: Some(session), at })
    }

    /// The volume on it.
    pub fn volume(&self) -> PathBuf {
        self.at.join(FILE_NAME)
    }

    /// The power goes: every request from here on fails, those that wait too.
    pub fn cut(&self) {
        self.state().power_off();
    }

    /// The power goes at the so manieth write or flush from now, counted from 1, which may be in the midst of anything; answers
    /// when it went, Unix nanoseconds.
    pub fn cut_at_change(&self, changes: u64) -> Result<u64> {
        self.arm_cut(changes);
        wait::until("what is written up to the power cut", CUT_LIMIT, || Ok(self.state().cut_ns))
    }

    /// The same, if so many come; nobody waits for them.
    pub fn arm_cut(&self, changes: u64) {
        self.state().faults.changes_left = Some(changes.max(1));
    }

    /// The power is back. Of every sector written since the last flush, what stood there before, or any of what was written
    /// to it, is there now.
    pub fn restore(&self, random: &mut StdRng) -> Result<Survivors> {
        let mut state = self.state();
        ensure!(state.faults.powered_off, "the power was not cut");
        let survivors = state.platter.lose(random)?;
        (state.faults, state.cut_ns) = (Default::default(), None);
        Ok(survivors)
    }

    /// Nothing is read, written or flushed from here on: requests wait until what this returns is dropped. Keep it no longer
    /// than the processes that may be waiting: until they are answered, nothing can end them.
    pub fn stall(&self) -> Stall<'_> {
        self.state().faults.stalled = true;
        Stall(self)
    }

    /// Writes that touch these bytes fail with this error.
    pub fn fail_writes(&self, bytes: Range<u64>, error: Errno) {
        self.state().faults.writes = Some((bytes, error));
    }

    /// Every flush fails with this error; what was written stays volatile.
    pub fn fail_flushes(&self, error: Errno) {
        self.state().faults.flushes = Some(error);
    }

    /// The disk is well again, but for a stall or a power cut.
    pub fn heal(&self) {
        let mut state = self.state();
        state.faults.writes = None;
        state.faults.flushes = None;
    }

    /// What it did so far.
    pub fn tally(&self) -> Tally {
        self.state().tally
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unmount(&mut self) -> Result<()> {
        let Some(session) = self.session.take() else { return Ok(()) };
        // Whoever still waits for an answer keeps the filesystem busy.
        self.cut();
        let unmounted = wait::until("the faulty disk to be unmounted", UNMOUNT_LIMIT, || {
            Ok(match umount2(&self.at, MntFlags::empty()) {
                Ok(()) | Err(Errno::EINVAL) => Some(()),
                Err(Errno::EBUSY) => None,
                Err(error) => return Err(error.into()),
            })
        });
        if unmounted.is_err() {
            umount2(&self.at, MntFlags::MNT_DETACH)?;
            return unmounted;
        }
        let guard = session.guard;
        wait::until("the filesystem's thread to end", UNMOUNT_LIMIT, || Ok(guard.is_finished().then_some(())))
    }
}

/// A stall of a disk, for as long as this lives.
#[must_use]
pub struct Stall<'a>(&'a FaultyDisk);

impl Drop for Stall<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.faults.stalled = false;
        state.release();
    }
}

impl Drop for FaultyDisk {
    fn drop(&mut self) {
        if let Err(error) = self.unmount() {
            eprintln!("{}: {error:#}", self.at.display());
        }
    }
}

/// Unmounts what processes left behind that were killed: their connection to the kernel is gone, the mount is not.
fn sweep() {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    for line in mounts.lines() {
        let mut words = line.split(' ');
        let (Some(source), Some(at)) = (words.next(), words.next()) else { continue };
        let Some(process) = source.strip_prefix(SOURCE) else { continue };
        if !Path::new("/proc").join(process).exists() {
            umount2(at, MntFlags::MNT_DETACH).ok();
        }
    }
}

#[cfg(test)]
mod tests;
