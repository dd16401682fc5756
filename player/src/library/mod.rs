//! The volumes of a server, open for reading by many at once while they are written.
//!
//! A [`Snapshot`] is a volume as its tables were at one moment, with the [`Index`] that timelines are answered from. It never changes:
//! whoever has one reads in peace, and what the ring takes meanwhile is an error that says so. [`Library::snapshot`] takes a new one
//! when the last is too old, one at a time for each volume, and never more often than a tenth of the time allows: reading a large
//! table must not take the disk from recording.
//!
//! A volume that is missing or no volume is no reason for the others not to be served: it is asked for again each time.
//!
//! What must not live here: HTTP, writing, cameras.

mod fresh;
#[cfg(test)]
mod tests;

use crate::error::Result;
use crate::timeline::Index;
use keha_fs::{StreamName, StreamSummary, Volume, WallTime};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

/// A snapshot is not taken anew within this time of the last.
const AGE_MIN: Duration = Duration::from_millis(250);
/// Nor within so many times what taking the last one took.
const COST_FACTOR: u32 = 10;

/// A volume as it was at one moment.
pub struct Snapshot {
    /// The name under which the server knows it.
    pub name: String,
    /// The volume; reads beside its writer.
    pub volume: Volume,
    /// What its tables say, for timelines.
    pub index: Index,
    /// Its streams, by name: looked at once, for that takes all of the table.
    pub streams: Vec<StreamSummary>,
}

impl Snapshot {
    /// The stream of this name.
    pub fn stream(&self, name: &StreamName) -> Option<&StreamSummary> {
        let place = self.streams.binary_search_by(|stream| stream.name.cmp(name)).ok()?;
        self.streams.get(place)
    }
}

/// A stream in a snapshot.
pub struct Found {
    /// Where it is.
    pub snapshot: Arc<Snapshot>,
    /// What its tables say.
    pub stream: StreamSummary,
}

/// The volumes of a server, by name.
#[derive(Default)]
pub struct Library {
    shelves: RwLock<Vec<Arc<Shelf>>>,
    opening: fresh::Opening,
}

/// One volume.
struct Shelf {
    name: String,
    path: PathBuf,
    latest: Mutex<Option<Latest>>,
    /// Held while a snapshot is taken.
    taking: Mutex<()>,
    /// Grows with each change that a snapshot has to tell.
    generation: AtomicU64,
}

#[derive(Clone)]
struct Latest {
    snapshot: Arc<Snapshot>,
    taken: Instant,
    cost: Duration,
    /// That of the shelf before it was taken.
    generation: u64,
}

impl Latest {
    fn is_young(&self, age_max: Duration, generation: u64) -> bool {
        self.generation == generation
            && self.taken.elapsed() <= age_max.max(AGE_MIN).max(self.cost.saturating_mul(COST_FACTOR))
    }
}

impl Library {
    /// A library of these volumes, by name and path. Nothing is opened before it is asked for.
    pub fn new(volumes: impl IntoIterator<Item = (String, PathBuf)>) -> Library {
        let library = Library::default();
        library.set_volumes(volumes);
        library
    }

    /// These volumes from now on. Those that were there under the same name and path stay as they are.
    pub fn set_volumes(&self, volumes: impl IntoIterator<Item = (String, PathBuf)>) {
        let mut shelves = self.shelves.write().unwrap_or_else(PoisonError::into_inner);
        let kept = |name: &str, path: &Path| {
            shelves.iter().find(|shelf| shelf.name == name && shelf.path == path).map(Arc::clone)
        };
        let wanted = volumes
            .into_iter()
            .map(|(name, path)| kept(&name, &path).unwrap_or_else(|| Arc::new(Shelf::new(name, path))));
        *shelves = wanted.collect();
    }

    /// The names of the volumes, in the order given.
    pub fn volumes(&self) -> Vec<String> {
        self.shelves().iter().map(|shelf| shelf.name.clone()).collect()
    }

    /// A volume as it was at most `age_max` ago (or a little longer: see above). May read the whole block table.
    ///
    /// # Errors
    /// [`keha_fs::Error::Io`], [`keha_fs::Error::NotAVolume`], [`keha_fs::Error::Unsupported`]; [`crate::Error::Invalid`] if there is
    /// none of that name.
    pub fn snapshot(&self, volume: &str, age_max: Duration) -> Result<Arc<Snapshot>> {
        let shelves = self.shelves();
        let shelf = shelves.iter().find(|shelf| shelf.name == volume);
        let unknown = || crate::Error::Invalid(format!("there is no volume {volume}"));
        shelf.ok_or_else(unknown)?.snapshot(age_max)
    }

    /// All volumes, each as [`Library::snapshot`] gives it, with those that cannot be read.
    pub fn snapshots(&self, age_max: Duration) -> Vec<(String, Result<Arc<Snapshot>>)> {
        self.shelves().iter().map(|shelf| (shelf.name.clone(), shelf.snapshot(age_max))).collect()
    }

    /// Where a stream is, by its name: in the volume that has its latest footage, if a camera was moved.
    ///
    /// # Errors
    /// [`keha_fs::Error::NoSuchStream`] if no volume knows it; what is wrong with a volume, if it may be there.
    pub fn find(&self, name: &StreamName, age_max: Duration) -> Result<Found> {
        let (mut best, mut failed): (Option<Found>, Option<crate::Error>) = (None, None);
        for shelf in self.shelves() {
            match shelf.snapshot(age_max) {
                Ok(snapshot) => {
                    let Some(stream) = snapshot.stream(name).cloned() else { continue };
                    let later =
                        |last: Option<WallTime>| best.as_ref().is_none_or(|best| last > best.stream.last);
                    if later(stream.last) {
                        best = Some(Found { snapshot, stream });
                    }
                }
                Err(error) => failed = Some(error),
            }
        }
        let none = || keha_fs::Error::NoSuchStream {
            name: name.clone(),
            available: "see the list of cameras".into(),
        };
        best.ok_or_else(|| failed.unwrap_or_else(|| none().into()))
    }

    /// Something changed that the next who asks has to be told, however young the snapshots are.
    pub fn outdate(&self) {
        self.shelves().iter().for_each(|shelf| shelf.outdate());
    }

    fn shelves(&self) -> Vec<Arc<Shelf>> {
        self.shelves.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Shelf {
    fn new(name: String, path: PathBuf) -> Shelf {
        Shelf {
            name,
            path,
            latest: Mutex::default(),
            taking: Mutex::default(),
            generation: AtomicU64::new(0),
        }
    }

    fn outdate(&self) {
        self.generation.fetch_add(1, Ordering::SeqCst);
    }

    fn latest(&self) -> MutexGuard<'_, Option<Latest>> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn young(&self, age_max: Duration) -> Option<Arc<Snapshot>> {
        let generation = self.generation.load(Ordering::SeqCst);
        self.latest()
            .as_ref()
            .filter(|latest| latest.is_young(age_max, generation))
            .map(|latest| Arc::clone(&latest.snapshot))
    }

    fn snapshot(&self, age_max: Duration) -> Result<Arc<Snapshot>> {
        if let Some(snapshot) = self.young(age_max) {
            return Ok(snapshot);
        }
        let _taking = self.taking.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever waited here has what the one before took.
        if let Some(snapshot) = self.young(age_max) {
            return Ok(snapshot);
        }
        let generation = self.generation.load(Ordering::SeqCst);
        let taken = Instant::now();
        let volume = Volume::open(&self.path)?;
        let before = self.latest().as_ref().map(|latest| Arc::clone(&latest.snapshot));
        let same = before.filter(|before| before.volume.info().id == volume.info().id);
        let index = match &same {
            Some(before) => before.index.renewed(&volume),
            None => Index::new(&volume),
        };
        let snapshot =
            Arc::new(Snapshot { name: self.name.clone(), streams: volume.streams(), volume, index });
        *self.latest() =
            Some(Latest { snapshot: Arc::clone(&snapshot), taken, cost: taken.elapsed(), generation });
        Ok(snapshot)
    }
}
