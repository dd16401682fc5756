//! One volume: its latest snapshot, and who takes the next.
//!
//! A disk may hang for minutes, and whoever asks for a volume on it is not to hang with it. So a snapshot is taken on a thread of its
//! own, one at a time, and who asks waits for it only so long: a volume that hangs costs one thread, whoever asks and however often.
//! While it is taken, the one before serves for [`STALE_MAX`]. What went wrong is told to all who ask within [`FAILED_AGAIN`] without
//! another try, unless something changed.
//!
//! A volume that is forgotten is given to nobody as it was before, also where a snapshot was being taken just then: who waits for that
//! waits for the next one. What its tables said stays known ([`Seen`]).

use super::Snapshot;
use super::seen::Seen;
use crate::error::{Error, Result};
use crate::time::now;
use crate::timeline::Index;
use keha_fs::{Volume, WallTime};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A snapshot is not taken anew within this time of the last.
pub(super) const AGE_MIN: Duration = Duration::from_millis(250);
/// Nor within so many times what taking the last one took.
const COST_FACTOR: u32 = 10;
/// How old a snapshot may be that is given while another one is taken.
const STALE_MAX: Duration = Duration::from_secs(10);
/// A volume that failed is not tried again within this time.
const FAILED_AGAIN: Duration = Duration::from_secs(1);

/// How a volume is looked at, anew or again: in tests, not from a disk.
pub(super) type Open = dyn Fn(&Path, Option<&Volume>) -> keha_fs::Result<Volume> + Send + Sync;

/// One volume.
pub(super) struct Shelf {
    pub(super) name: String,
    pub(super) path: PathBuf,
    open: Arc<Open>,
    state: Mutex<State>,
    /// A snapshot was taken, or could not be.
    ended: Condvar,
}

#[derive(Default)]
struct State {
    latest: Option<Latest>,
    failed: Option<Failed>,
    /// What its tables said last, whatever became of it.
    seen: Option<Seen>,
    /// Since when a snapshot is being taken.
    taking: Option<Instant>,
    /// Grows with each change that a snapshot has to tell.
    generation: u64,
    /// How often it was forgotten, and when the last time.
    forgotten: (u64, WallTime),
}

#[derive(Clone)]
struct Latest {
    snapshot: Arc<Snapshot>,
    taken: Taken,
}

struct Failed {
    error: Error,
    taken: Taken,
}

/// When something was found out.
#[derive(Clone, Copy)]
struct Taken {
    at: Instant,
    cost: Duration,
    /// Those of the shelf before.
    generation: u64,
    forgotten: u64,
}

impl Taken {
    fn is_young(&self, age_max: Duration, generation: u64) -> bool {
        self.generation == generation
            && self.at.elapsed() <= age_max.max(self.cost.saturating_mul(COST_FACTOR))
    }
}

/// How long is waited.
#[derive(Clone, Copy, Debug)]
pub(super) enum Patience {
    /// Until this moment.
    Until(Instant),
    /// So long from when the taking was begun: not at all for a volume that has hung for longer.
    SinceBegun(Duration),
}

impl Patience {
    fn left(self, begun: Instant) -> Duration {
        let end = match self {
            Patience::Until(end) => end,
            Patience::SinceBegun(time) => begun + time,
        };
        end.saturating_duration_since(Instant::now())
    }
}

impl Shelf {
    pub(super) fn new(name: String, path: PathBuf, open: Arc<Open>) -> Shelf {
        Shelf { name, path, open, state: Mutex::default(), ended: Condvar::new() }
    }

    pub(super) fn outdate(&self) {
        self.state().generation += 1;
    }

    /// It is given to nobody any more as it was before now.
    pub(super) fn forget(&self) {
        let mut state = self.state();
        state.generation += 1;
        state.forgotten = (state.forgotten.0 + 1, now());
        let at = state.forgotten.1;
        state.seen = state.seen.take().map(|seen| seen.ended(at));
        // Closed behind the lock.
        let latest = state.latest.take();
        drop(state);
        drop(latest);
    }

    /// What its tables said last, however long ago.
    pub(super) fn seen(&self) -> Option<Seen> {
        self.state().seen.clone()
    }

    /// Has a snapshot taken, if there is none that is young enough. Does not wait for it.
    pub(super) fn begin(self: &Arc<Self>, age_max: Duration) {
        let mut state = self.state();
        if state.answer(age_max).is_none() {
            self.take(&mut state);
        }
    }

    /// A snapshot that is young enough, or the one before while that one is taken; [`Error::Busy`] after having waited in vain.
    pub(super) fn snapshot(self: &Arc<Self>, age_max: Duration, patience: Patience) -> Result<Arc<Snapshot>> {
        let mut state = self.state();
        loop {
            if let Some(answer) = state.answer(age_max) {
                return answer;
            }
            if state.taking.is_some()
                && let Some(stale) = state.stale()
            {
                return Ok(stale);
            }
            let begun = self.take(&mut state);
            let left = patience.left(begun);
            if left.is_zero() {
                return Err(self.busy(begun));
            }
            state = self.ended.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Begins to take a snapshot, if nobody does; since when one is taken.
    fn take(self: &Arc<Self>, state: &mut State) -> Instant {
        if let Some(begun) = state.taking {
            return begun;
        }
        let (generation, forgotten) = (state.generation, state.forgotten.0);
        let taken = Taken { at: Instant::now(), cost: Duration::ZERO, generation, forgotten };
        let shelf = Arc::clone(self);
        let before = state.latest.as_ref().map(|latest| Arc::clone(&latest.snapshot));
        let taker = std::thread::Builder::new().name("keha-snapshot".to_owned());
        match taker.spawn(move || shelf.finish(taken, before)) {
            Ok(_) => state.taking = Some(taken.at),
            Err(error) => {
                let error = Error::Busy(format!("no thread can be started to read {}: {error}", self.name));
                state.failed = Some(Failed { error, taken });
            }
        }
        taken.at
    }

    /// Takes a snapshot and tells all who wait.
    fn finish(&self, taken: Taken, before: Option<Arc<Snapshot>>) {
        // Whoever waits is woken also if this panics.
        let ending = Ending(self);
        let result = self.read(before);
        let taken = Taken { cost: taken.at.elapsed(), ..taken };
        let mut state = self.state();
        let (forgotten, at) = state.forgotten;
        let mut let_go = None;
        match result {
            // It was read before it was left behind: it may be dead by now, and its device is let go of.
            Ok(snapshot) if taken.forgotten != forgotten => {
                state.seen = Some(Seen::of(&snapshot).ended(at));
                let_go = Some(snapshot);
            }
            Ok(snapshot) => {
                state.seen = Some(Seen::of(&snapshot));
                state.latest = Some(Latest { snapshot: Arc::new(snapshot), taken });
                state.failed = None;
            }
            Err(error) => state.failed = Some(Failed { error: error.into(), taken }),
        }
        drop(state);
        drop(let_go);
        drop(ending);
    }

    fn read(&self, before: Option<Arc<Snapshot>>) -> keha_fs::Result<Snapshot> {
        let last = before.as_ref().and_then(|before| before.still_at(&self.path));
        let file = FileId::at(&self.path);
        // Before it is opened: what is written meanwhile is younger than that.
        let looked_at = now();
        let volume = (self.open)(&self.path, last)?;
        let same = before.filter(|before| before.volume.info().id == volume.info().id);
        let index = match &same {
            Some(before) => before.index.renewed(&volume),
            None => Index::new(&volume),
        };
        let (index, streams) = (Arc::new(index.looked_at(looked_at)), Arc::new(volume.streams()));
        Ok(Snapshot { name: self.name.clone(), streams, volume, index, file })
    }

    fn busy(&self, begun: Instant) -> Error {
        let seconds = begun.elapsed().as_secs();
        Error::Busy(format!("volume {} does not answer for {seconds} s: look at its disk", self.name))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which file stands at a path: device and inode, its size, and for a device itself which one it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileId(u64, u64, u64, u64);

impl FileId {
    /// That of the file at a path, if there is one.
    fn at(path: &Path) -> Option<FileId> {
        let metadata = std::fs::metadata(path).ok()?;
        Some(FileId(metadata.dev(), metadata.ino(), metadata.len(), metadata.rdev()))
    }
}

impl Snapshot {
    /// The volume, if the file that it was opened from stands at the path still: then it can be looked at again.
    pub(super) fn still_at(&self, path: &Path) -> Option<&Volume> {
        self.file.filter(|file| FileId::at(path) == Some(*file)).map(|_| &self.volume)
    }
}

impl State {
    /// What can be said without taking a snapshot.
    fn answer(&self, age_max: Duration) -> Option<Result<Arc<Snapshot>>> {
        let failed = self.failed.as_ref();
        if let Some(failed) = failed.filter(|failed| failed.taken.is_young(FAILED_AGAIN, self.generation)) {
            return Some(Err(again(&failed.error)));
        }
        let latest = self.latest.as_ref().filter(|_| failed.is_none())?;
        let young = latest.taken.is_young(age_max.max(AGE_MIN), self.generation);
        young.then(|| Ok(Arc::clone(&latest.snapshot)))
    }

    /// What serves while another one is taken. Not where the last try failed, or something changed since.
    fn stale(&self) -> Option<Arc<Snapshot>> {
        let latest = self.latest.as_ref().filter(|_| self.failed.is_none())?;
        latest.taken.is_young(STALE_MAX, self.generation).then(|| Arc::clone(&latest.snapshot))
    }
}

/// The end of taking a snapshot.
struct Ending<'a>(&'a Shelf);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.state().taking = None;
        self.0.ended.notify_all();
    }
}

/// The same error for another one who asks.
fn again(error: &Error) -> Error {
    use keha_fs::Error as VolumeError;
    match error {
        Error::Volume(VolumeError::Io { operation, path, source }) => {
            let source = match source.raw_os_error() {
                Some(code) => std::io::Error::from_raw_os_error(code),
                None => std::io::Error::new(source.kind(), source.to_string()),
            };
            Error::Volume(VolumeError::Io { operation: operation.clone(), path: path.clone(), source })
        }
        Error::Volume(VolumeError::NotAVolume { path, detail }) => {
            Error::Volume(VolumeError::NotAVolume { path: path.clone(), detail: detail.clone() })
        }
        Error::Volume(VolumeError::Unsupported { path, detail }) => {
            Error::Volume(VolumeError::Unsupported { path: path.clone(), detail: detail.clone() })
        }
        other => Error::Busy(other.to_string()),
    }
}
