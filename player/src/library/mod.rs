//! The volumes of a server, open for reading by many at once while they are written.
//!
//! A [`Snapshot`] is a volume as its tables were at one moment, with the [`Index`] that timelines are answered from. It never changes:
//! whoever has one reads in peace, and what the ring takes meanwhile is an error that says so. [`Library::snapshot`] takes a new one
//! when the last is too old, one at a time for each volume, and never more often than a tenth of the time allows: reading a large
//! table must not take the disk from recording.
//!
//! A volume that is missing, is no volume or does not answer is no reason for the others not to be served: nobody waits for it for longer
//! than `WAIT_MAX`, it is tried once a second, and a stream that is found elsewhere is given from there.
//!
//! A camera may have been recorded into one volume and then into another: [`Whole`] is all of a stream, and what of it is missing for
//! now. What a volume has that does not answer is known by what its tables said last, also once it was left behind ([`Known`]).
//!
//! What must not live here: HTTP, writing, cameras.

mod fresh;
mod seen;
mod shelf;
#[cfg(test)]
mod tests;
mod whole;

pub use seen::Known;
pub use whole::{Missing, Whole};

use crate::chunks::{Chunks, ChunksUse};
use crate::error::{Error, Result};
use crate::timeline::{Holding, Index};
use keha_fs::{ChunkCache, StreamName, StreamSummary, Volume, WallTime};
use shelf::{Open, Patience, Shelf};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

/// How long is waited for a volume.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// And for one that is asked only whether it has what another one has too: from when it was asked first.
const OTHERS_MAX: Duration = Duration::from_secs(1);

/// How much footage is kept in memory, in bytes, unless told otherwise.
pub const CHUNKS_BYTES: u64 = 64 << 20;

/// A volume as it was at one moment.
pub struct Snapshot {
    /// The name under which the server knows it.
    pub name: String,
    /// The volume; reads beside its writer.
    pub volume: Volume,
    /// What its tables say, for timelines.
    pub index: Arc<Index>,
    /// Its streams, by name: looked at once, for that takes all of the table.
    pub streams: Arc<Vec<StreamSummary>>,
    /// Which file it is of.
    file: Option<shelf::FileId>,
}

impl Snapshot {
    /// The stream of this name.
    pub fn stream(&self, name: &StreamName) -> Option<&StreamSummary> {
        let place = self.streams.binary_search_by(|stream| stream.name.cmp(name)).ok()?;
        self.streams.get(place)
    }
}

/// A stream in a snapshot.
#[derive(Clone)]
pub struct Found {
    /// Where it is.
    pub snapshot: Arc<Snapshot>,
    /// What its tables say.
    pub stream: StreamSummary,
}

impl Found {
    fn of(snapshot: &Arc<Snapshot>, name: &StreamName) -> Option<Found> {
        let stream = snapshot.stream(name)?.clone();
        Some(Found { snapshot: Arc::clone(snapshot), stream })
    }

    fn each_of(snapshot: &Arc<Snapshot>) -> impl Iterator<Item = (StreamName, Found)> {
        let each = snapshot.streams.iter();
        each.map(|stream| {
            let found = Found { snapshot: Arc::clone(snapshot), stream: stream.clone() };
            (stream.name.clone(), found)
        })
    }

    /// The volume.
    pub fn volume(&self) -> &Volume {
        &self.snapshot.volume
    }

    /// Whether there may be something from one moment to another (inclusive), by the table.
    pub fn may_have(&self, from: WallTime, to: WallTime) -> bool {
        let rows = self.snapshot.index.rows_of(self.stream.id).iter();
        let mut walls = rows.filter(|row| row.samples > 0).filter_map(|row| row.wall);
        walls.any(|(min, max)| min <= to && max >= from)
    }

    /// What the volume has of it, as timelines and playlists take it.
    pub fn holding(&self) -> Holding<'_> {
        Holding { index: &self.snapshot.index, source: &self.snapshot.volume, stream: self.stream.id }
    }
}

/// The volumes of a server, by name.
pub struct Library {
    shelves: RwLock<Vec<Arc<Shelf>>>,
    open: Arc<Open>,
    opening: fresh::Opening,
    chunks: Arc<Chunks>,
}

impl Default for Library {
    fn default() -> Library {
        Library::keeping(CHUNKS_BYTES)
    }
}

impl Library {
    /// An empty library that keeps at most so many bytes of footage in memory, over all volumes and readers.
    pub fn keeping(chunks_bytes_max: u64) -> Library {
        let chunks = Arc::new(Chunks::new(chunks_bytes_max));
        let kept = Arc::clone(&chunks);
        // What looks at an open volume again keeps its footage in the same place.
        let open = move |path: &Path, before: Option<&Volume>| match before {
            Some(before) => before.renewed(),
            None => Ok(Volume::open(path)?.with_chunk_cache(Arc::clone(&kept) as Arc<dyn ChunkCache>)),
        };
        let (shelves, opening) = Default::default();
        Library { shelves, open: Arc::new(open), opening, chunks }
    }

    /// How much footage is kept in memory.
    pub fn chunks(&self) -> ChunksUse {
        self.chunks.usage()
    }

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
        let wanted = volumes.into_iter().map(|(name, path)| {
            kept(&name, &path).unwrap_or_else(|| Arc::new(Shelf::new(name, path, Arc::clone(&self.open))))
        });
        *shelves = wanted.collect();
    }

    /// The names of the volumes, in the order given.
    pub fn volumes(&self) -> Vec<String> {
        self.shelves().iter().map(|shelf| shelf.name.clone()).collect()
    }

    /// A volume as it was at most `age_max` ago (or a little longer: see above). May read the whole block table.
    ///
    /// # Errors
    /// [`keha_fs::Error::Io`], [`keha_fs::Error::NotAVolume`], [`keha_fs::Error::Unsupported`]; [`crate::Error::Busy`] if it does not
    /// answer in time; [`crate::Error::Invalid`] if there is none of that name.
    pub fn snapshot(&self, volume: &str, age_max: Duration) -> Result<Arc<Snapshot>> {
        let shelves = self.shelves();
        let shelf = shelves.iter().find(|shelf| shelf.name == volume);
        let unknown = || crate::Error::Invalid(format!("there is no volume {volume}"));
        shelf.ok_or_else(unknown)?.snapshot(age_max, patience())
    }

    /// All volumes, each as [`Library::snapshot`] gives it, with those that cannot be read.
    pub fn snapshots(&self, age_max: Duration) -> Vec<(String, Result<Arc<Snapshot>>)> {
        let (shelves, patience) = (self.begun(age_max), patience());
        shelves.iter().map(|shelf| (shelf.name.clone(), shelf.snapshot(age_max, patience))).collect()
    }

    /// Where a stream is, by its name: in the volume that has its latest footage, if a camera was moved.
    ///
    /// # Errors
    /// As [`Library::find_all`].
    pub fn find(&self, name: &StreamName, age_max: Duration) -> Result<Found> {
        let whole = self.find_all(name, age_max)?;
        whole.into_latest().ok_or_else(|| no_stream(name))
    }

    /// All that there is of a stream, by its name, in whichever volumes.
    ///
    /// # Errors
    /// [`keha_fs::Error::NoSuchStream`] if no volume knows it; what is wrong with a volume, if it may be there and is in no other.
    pub fn find_all(&self, name: &StreamName, age_max: Duration) -> Result<Whole> {
        let (whole, failed) = self.look_for(name, age_max);
        match whole.parts().is_empty() {
            true => Err(failed.unwrap_or_else(|| no_stream(name))),
            false => Ok(whole),
        }
    }

    /// The same where it may be that nothing of it can be had: of a stream that nobody knows nothing is missing, either.
    pub fn find_any(&self, name: &StreamName, age_max: Duration) -> Whole {
        self.look_for(name, age_max).0
    }

    /// What there is of a stream, and what was wrong with a volume that may have some.
    fn look_for(&self, name: &StreamName, age_max: Duration) -> (Whole, Option<Error>) {
        let (mut parts, mut missing, mut failed) = (Vec::new(), Vec::new(), None);
        let (shelves, patience) = (self.begun(age_max), patience());
        let known = |shelf: Arc<Shelf>| (shelf.seen().map(|seen| seen.stream(name)), shelf);
        let mut shelves: Vec<_> = shelves.into_iter().map(known).collect();
        // First where it was last.
        shelves.sort_by_cached_key(|(known, _)| {
            std::cmp::Reverse(known.as_ref().and_then(|known| known.as_ref().map(Known::last)))
        });
        for (known, shelf) in shelves {
            let patience = match known {
                _ if parts.is_empty() => patience,
                Some(Some(_)) => Patience::SinceBegun(WAIT_MAX),
                _ => Patience::SinceBegun(OTHERS_MAX),
            };
            match shelf.snapshot(age_max, patience) {
                Ok(snapshot) => parts.extend(Found::of(&snapshot, name)),
                Err(error) => {
                    missing.extend(Missing::of(&shelf.name, known));
                    failed = Some(error);
                }
            }
        }
        (Whole::new(name.clone(), parts, missing), failed)
    }

    /// All streams of all volumes, by name, each as [`Library::find_all`] gives it; also those that are known of a volume which does not
    /// answer, and of no other.
    pub fn all(&self, age_max: Duration) -> Vec<Whole> {
        let (shelves, patience) = (self.begun(age_max), patience());
        let mut streams: BTreeMap<StreamName, (Vec<Found>, Vec<Missing>)> = BTreeMap::new();
        let mut unknown = Vec::new();
        for shelf in shelves {
            let seen = shelf.seen();
            let answer = shelf.snapshot(age_max, patience);
            if let Err(error) = &answer {
                tracing::warn!(volume = shelf.name, %error, "a volume cannot be read");
            }
            match (answer, seen) {
                (Ok(snapshot), _) => {
                    for (name, found) in Found::each_of(&snapshot) {
                        streams.entry(name).or_default().0.push(found);
                    }
                }
                (Err(_), Some(seen)) => {
                    for known in seen.known() {
                        let name = known.stream.name.clone();
                        let missing = Missing { volume: shelf.name.clone(), known: Some(known) };
                        streams.entry(name).or_default().1.push(missing);
                    }
                }
                (Err(_), None) => unknown.push(shelf.name.clone()),
            }
        }
        let whole = |(name, (parts, mut missing)): (StreamName, (Vec<Found>, Vec<Missing>))| {
            missing.extend(unknown.iter().map(|volume| Missing { volume: volume.clone(), known: None }));
            Whole::new(name, parts, missing)
        };
        streams.into_iter().map(whole).collect()
    }

    /// Whether a volume may have something of a stream for which this holds, by what its tables said when it answered last: of one that never
    /// did nothing is known, so it may.
    pub fn may_have(&self, volume: &str, holds: impl Fn(&StreamName) -> bool) -> bool {
        let shelf = self.shelves().into_iter().find(|shelf| shelf.name == volume);
        let may = |shelf: Arc<Shelf>| {
            shelf.seen().is_none_or(|seen| seen.known().any(|known| holds(&known.stream.name)))
        };
        shelf.is_some_and(may)
    }

    /// Something changed that the next who asks has to be told, however young the snapshots are.
    pub fn outdate(&self) {
        self.shelves().iter().for_each(|shelf| shelf.outdate());
    }

    /// A volume is left behind whose disk has failed: it is given to nobody any more as it was before now, and its device is let go of as
    /// soon as the last one has done so who reads it. What its tables said is kept, to tell what is missing with it.
    pub fn forget(&self, volume: &str) {
        self.shelves().iter().filter(|shelf| shelf.name == volume).for_each(|shelf| shelf.forget());
    }

    fn shelves(&self) -> Vec<Arc<Shelf>> {
        self.shelves.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// All volumes, of which none waits for another to be read.
    fn begun(&self, age_max: Duration) -> Vec<Arc<Shelf>> {
        let shelves = self.shelves();
        shelves.iter().for_each(|shelf| shelf.begin(age_max));
        shelves
    }
}

fn no_stream(name: &StreamName) -> crate::Error {
    keha_fs::Error::NoSuchStream { name: name.clone(), available: "see the list of cameras".into() }.into()
}

fn patience() -> Patience {
    Patience::Until(Instant::now() + WAIT_MAX)
}
