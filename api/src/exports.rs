//! Named exports: files that can be downloaded again, and gone on with where a download broke off, also after the server was started
//! again.
//!
//! Kept is what was asked for, not the file: the same request gives the same bytes as long as the footage stands, and holds see to that.
//! What the file will be (its tag) is noted when it is made, its length and its hash once all of it was made once and thrown away. A
//! file that would come out otherwise than noted is not given. Where going on in the middle of it would cost all that lies before,
//! marks are kept beside ([`crate::marks`]).
//!
//! ```text
//! asked --(prepared, noted in exports.json, held)--> measuring --(made once)--> ready --(expired, or removed)--> gone
//!                                                     ^  \--(footage gone, disk failed)--> failed
//!                                                     \------(asked for again)---------------/
//! ```
//! Where there is too much to do just now it stays `measuring`, and is tried again. A server that ends while it measures begins anew with
//! that when the export is asked for next. Noting comes before holding, so that no hold stands that no export knows of; one that a crash
//! left so ends with the time that the export was to be kept.
//!
//! Who asks waits for nobody who changes something, and who changes something only for the disk ([`crate::keeping`]): where that does not
//! answer, the change is taken back.

use crate::error::Result;
use crate::keeping::{Keeping, PATIENCE};
use crate::marks::MarkFiles;
use crate::routes::Container;
use crate::state::{StateFile, put_aside};
use jiff::Timestamp;
use keha_fs::{StreamName, TimeRange, Uuid, VolumeId, WallTime};
use keha_player::footage::FootageRequest;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The most exports that are kept, of all users together.
pub(crate) const EXPORTS_MAX: usize = 1000;
/// And of one user or token.
pub(crate) const EXPORTS_OF_ONE_MAX: usize = 100;
/// How many are measured at a time: each reads the disk as fast as it goes.
const MEASURED_AT_ONCE: usize = 2;

/// An export.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Export {
    /// Who made it.
    pub(crate) user: String,
    /// The streams.
    pub(crate) streams: Vec<String>,
    /// The range, in nanoseconds since 1970.
    pub(crate) from_ns: i64,
    /// Its end.
    pub(crate) to_ns: i64,
    /// The container.
    pub(crate) format: Container,
    /// The part.
    pub(crate) part: Option<usize>,
    /// When it was made.
    pub(crate) created: Timestamp,
    /// When it goes.
    pub(crate) expires: Timestamp,
    /// The tag of the file.
    pub(crate) tag: String,
    /// Its name.
    pub(crate) file_name: String,
    /// The volumes that it is made from, by their identities; all that have something where none is noted.
    #[serde(default)]
    pub(crate) volumes: Vec<String>,
    /// All that were looked at when it was made: also those that have nothing of its range, or another part.
    #[serde(default)]
    pub(crate) looked_at: Vec<String>,
    /// The names of those that did not answer then, and may have part of it.
    #[serde(default)]
    pub(crate) missing: Vec<String>,
    /// Holds that keep its footage.
    pub(crate) holds: Vec<String>,
    /// The names of volumes in which its footage was to be held, and is not.
    #[serde(default)]
    pub(crate) not_held: Vec<String>,
    /// Its length and BLAKE3, once known.
    pub(crate) measured: Option<Measured>,
    /// Why it could not be made the last time that it was tried.
    pub(crate) failed: Option<String>,
}

/// What making it once told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Measured {
    pub(crate) bytes: u64,
    pub(crate) blake3: String,
}

impl Export {
    /// What to prepare. `None` for names that are none, which nobody wrote here.
    pub(crate) fn request(&self) -> Option<FootageRequest> {
        let streams = self.streams.iter().map(|name| StreamName::new(name).ok());
        Some(FootageRequest {
            streams: streams.collect::<Option<_>>()?,
            range: TimeRange { from: Some(WallTime(self.from_ns)), to: Some(WallTime(self.to_ns)) },
            format: self.format.format(),
            part: self.part,
        })
    }

    /// The volumes that it is made from, as far as that was noted.
    pub(crate) fn needed(&self) -> Vec<VolumeId> {
        ids(&self.volumes).collect()
    }

    /// The volumes that it was looked for in, as far as that was noted.
    pub(crate) fn looked_at(&self) -> Vec<VolumeId> {
        ids(&self.volumes).chain(ids(&self.looked_at)).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// The cameras that it shows, each once.
    pub(crate) fn cameras(&self) -> BTreeSet<&str> {
        self.streams.iter().map(|name| camera_of(name)).collect()
    }

    /// Its streams that are of this camera.
    pub(crate) fn streams_of<'a>(&'a self, camera: &'a str) -> impl Iterator<Item = &'a str> {
        self.streams.iter().map(String::as_str).filter(move |name| camera_of(name) == camera)
    }
}

/// All exports, in `exports.json` of the state directory.
pub(crate) struct Exports {
    known: Keeping<Known>,
    /// How long whoever changes one waits for the disk.
    patience: Duration,
    /// Those that are being measured, or wait for it.
    measuring: Mutex<BTreeSet<String>>,
    turns: Arc<Semaphore>,
    pub(crate) marks: MarkFiles,
}

/// By their identifiers.
type Known = BTreeMap<String, Export>;

/// An export that is being measured, or waits for it, until this is dropped.
pub(crate) struct Measuring {
    exports: Arc<Exports>,
    id: String,
}

impl Exports {
    /// Reads them. A file that cannot be read, or holds something else, is put aside: no export is worth more than that recording begins,
    /// and what they hold stays until they would have expired.
    ///
    /// # Errors
    /// Where it cannot be put aside.
    pub(crate) fn open(directory: &Path) -> Result<Exports> {
        let file = StateFile::new(directory, "exports.json");
        let read = file.read().and_then(|bytes| bytes.map(|bytes| parse(&file, &bytes)).transpose());
        let known = match read {
            Ok(known) => known.unwrap_or_default(),
            Err(error) => {
                put_aside(file.path(), &error)?;
                BTreeMap::new()
            }
        };
        let marks = MarkFiles::open(directory, |id| known.contains_key(id));
        let unkept = "exports are as they are only until the server is started again";
        Ok(Exports {
            known: Keeping::new(file, known, render, unkept),
            patience: PATIENCE,
            measuring: Mutex::default(),
            turns: Arc::new(Semaphore::new(MEASURED_AT_ONCE)),
            marks,
        })
    }

    /// Those that have not expired.
    pub(crate) fn all(&self, now: Timestamp) -> Vec<(String, Export)> {
        let stands = |(_, export): &(&String, &Export)| now < export.expires;
        self.known.look(|known| {
            known.iter().filter(stands).map(|(id, export)| (id.clone(), export.clone())).collect()
        })
    }

    /// One of them.
    pub(crate) fn get(&self, id: &str, now: Timestamp) -> Option<Export> {
        self.known.look(|known| known.get(id).filter(|export| now < export.expires).cloned())
    }

    /// Changes one (or, from or to `None`, adds or removes it), and forgets those that expired. Blocks until it is durable. Answers
    /// what the change does.
    ///
    /// # Errors
    /// [`crate::Error::Unkept`] where the file cannot be written, or its disk does not answer in time: it is as before then.
    /// [`crate::Error::Refused`] where there are too many.
    pub(crate) fn change<T>(
        &self,
        id: &str,
        now: Timestamp,
        change: impl FnOnce(&mut Option<Export>) -> T,
    ) -> Result<T> {
        let (before, after, done) = self.known.change(|known| {
            let mut changed = known.clone();
            changed.retain(|_, export| now < export.expires);
            let mut export = changed.remove(id);
            let is_new = export.is_none();
            let done = change(&mut export);
            if let Some(export) = export.as_ref().filter(|_| is_new) {
                room_for(export, &changed)?;
            }
            changed.extend(export.clone().map(|export| (id.to_owned(), export)));
            Ok::<_, crate::Error>((std::mem::replace(known, changed), export, done))
        })?;
        if let Err(error) = self.known.keep(self.patience) {
            self.take_back(id, before.get(id), after.as_ref());
            return Err(error);
        }
        let stand: BTreeSet<String> = self.known.look(|known| known.keys().cloned().collect());
        before.keys().filter(|id| !stand.contains(*id)).for_each(|id| self.marks.forget(id));
        Ok(done)
    }

    /// One is what it was before, unless somebody has changed it since.
    fn take_back(&self, id: &str, before: Option<&Export>, after: Option<&Export>) {
        self.known.change(|known| {
            if known.get(id) != after {
                return;
            }
            match before {
                Some(before) => drop(known.insert(id.to_owned(), before.clone())),
                None => drop(known.remove(id)),
            }
        });
        self.known.soon();
    }

    /// Marks one as being measured; `None` if it is already.
    pub(crate) fn begin_measuring(self: &Arc<Exports>, id: &str) -> Option<Measuring> {
        let begun = lock(&self.measuring).insert(id.to_owned());
        begun.then(|| Measuring { exports: Arc::clone(self), id: id.to_owned() })
    }
}

fn render(known: &Known) -> Vec<u8> {
    serde_json::to_vec_pretty(known).unwrap_or_default()
}

impl Measuring {
    /// Which.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Waits for its turn, in the order of asking. Its turn is over when what this answers is dropped; `None`: nobody has one any more.
    pub(crate) async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.exports.turns).acquire_owned().await.ok()
    }
}

impl Drop for Measuring {
    fn drop(&mut self) {
        lock(&self.exports.measuring).remove(&self.id);
    }
}

/// Whether there is room for one more.
fn room_for(export: &Export, others: &BTreeMap<String, Export>) -> Result<()> {
    let refused = |why| Err(crate::Error::Refused { what: "exports", why });
    if others.len() >= EXPORTS_MAX {
        return refused(format!("{EXPORTS_MAX} are kept at most: remove some, or wait until they expire"));
    }
    if others.values().filter(|other| other.user == export.user).count() >= EXPORTS_OF_ONE_MAX {
        let why = format!(
            "{EXPORTS_OF_ONE_MAX} of one user are kept at most: remove some, or wait until they expire"
        );
        return refused(why);
    }
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn ids(noted: &[String]) -> impl Iterator<Item = VolumeId> + '_ {
    noted.iter().filter_map(|id| Some(VolumeId(id.parse::<Uuid>().ok()?)))
}

fn camera_of(stream: &str) -> &str {
    stream.split('/').next().unwrap_or_default()
}

fn parse(file: &StateFile, bytes: &[u8]) -> Result<BTreeMap<String, Export>> {
    serde_json::from_slice(bytes)
        .map_err(|error| crate::Error::State { path: file.path().to_owned(), why: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::{EXPORTS_OF_ONE_MAX, Export, Exports, Measured};
    use crate::routes::Container;
    use jiff::{SignedDuration, Timestamp};
    use std::sync::Arc;
    use std::time::Duration;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn export(seconds: i64) -> Export {
        Export {
            user: "anna".to_owned(),
            streams: vec!["door".to_owned(), "yard/sub".to_owned()],
            from_ns: 1,
            to_ns: 2,
            format: Container::Mkv,
            part: None,
            created: NOW,
            expires: NOW + SignedDuration::from_secs(seconds),
            tag: "x".to_owned(),
            file_name: "door.mkv".to_owned(),
            volumes: Vec::new(),
            looked_at: Vec::new(),
            missing: Vec::new(),
            holds: Vec::new(),
            not_held: Vec::new(),
            measured: None,
            failed: None,
        }
    }

    #[test]
    fn exports_outlive_the_server_until_they_expire() {
        let directory = tempfile::tempdir().expect("a directory");
        let exports = Exports::open(directory.path()).expect("none yet");
        exports.change("a", NOW, |new| *new = Some(export(10))).expect("added");
        exports.change("b", NOW, |new| *new = Some(export(20))).expect("added");
        let measured = Measured { bytes: 7, blake3: "00".to_owned() };
        exports
            .change("b", NOW, |known| known.iter_mut().for_each(|b| b.measured = Some(measured.clone())))
            .expect("changed");
        let again = Exports::open(directory.path()).expect("both");
        assert_eq!(again.get("b", NOW).and_then(|b| b.measured), Some(measured));
        let later = NOW + SignedDuration::from_secs(15);
        assert_eq!(again.all(later).len(), 1);
        assert!(again.get("a", later).is_none());
        again.change("b", later, |known| *known = None).expect("removed");
        assert!(Exports::open(directory.path()).expect("none").all(NOW).is_empty());
    }

    /// It kept the server from starting, and so every camera from being recorded.
    #[test]
    fn a_damaged_file_is_put_aside_and_there_are_no_exports_then() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("exports.json");
        for (number, text) in [(1, "{\"a\":1}"), (2, "")] {
            std::fs::write(&path, text).expect("written");
            let exports = Exports::open(directory.path()).expect("none");
            assert!(exports.all(NOW).is_empty());
            let aside = directory.path().join(format!("exports.json.damaged-{number}"));
            assert_eq!(std::fs::read_to_string(aside).expect("put aside"), text);
            exports.change("a", NOW, |new| *new = Some(export(10))).expect("added");
            assert!(Exports::open(directory.path()).expect("one").get("a", NOW).is_some());
        }
    }

    #[test]
    fn its_cameras_are_those_of_its_streams_each_once() {
        let mut export = export(1);
        export.streams.push("door/sub".to_owned());
        assert_eq!(export.cameras().into_iter().collect::<Vec<_>>(), ["door", "yard"]);
        assert_eq!(export.streams_of("door").collect::<Vec<_>>(), ["door", "door/sub"]);
        assert_eq!(export.request().expect("names").streams.len(), 3);
    }

    #[test]
    fn nobody_takes_all_the_room_there_is_for_exports() {
        let directory = tempfile::tempdir().expect("a directory");
        let exports = Exports::open(directory.path()).expect("none yet");
        let of = |user: &str| Some(Export { user: user.to_owned(), ..export(10) });
        for which in 0..EXPORTS_OF_ONE_MAX {
            exports.change(&format!("a{which}"), NOW, |new| *new = of("anna")).expect("added");
        }
        let refused = exports.change("b", NOW, |new| *new = of("anna"));
        assert!(matches!(refused, Err(crate::Error::Refused { .. })), "{refused:?}");
        exports.change("b", NOW, |new| *new = of("bert")).expect("another one's");
        exports.change("a0", NOW, |known| known.iter_mut().for_each(|a| a.tag.clear())).expect("changed");
        exports.change("a0", NOW, |known| *known = None).expect("removed");
        exports.change("b2", NOW, |new| *new = of("anna")).expect("there is room again");
    }

    #[test]
    fn who_asks_waits_for_no_disk_and_what_it_does_not_take_in_time_is_taken_back() {
        let directory = tempfile::tempdir().expect("a directory");
        let open = || Exports::open(directory.path()).expect("a file");
        let exports = Exports { patience: Duration::from_millis(200), ..open() };
        exports.change("b", NOW, |new| *new = Some(export(10))).expect("added");
        // Another process changes the file, and takes its time.
        let lock = std::fs::File::create(directory.path().join("exports.json.lock")).expect("made");
        lock.lock().expect("locked");
        let refused = exports.change("a", NOW, |new| {
            *new = Some(export(10));
            7
        });
        assert!(matches!(refused, Err(crate::Error::Unkept { .. })), "{refused:?}");
        assert!(exports.change("b", NOW, Option::take).is_err());
        assert!(exports.get("a", NOW).is_none() && exports.get("b", NOW).is_some(), "as before");
        drop(lock);
        let exports = Exports { patience: Duration::from_secs(60), ..exports };
        exports.change("c", NOW, |new| *new = Some(export(10))).expect("it answers again");
        let stand: Vec<String> = open().all(NOW).into_iter().map(|(id, _)| id).collect();
        assert_eq!(stand, ["b", "c"]);
    }

    #[tokio::test]
    async fn two_are_measured_at_a_time_and_each_once() {
        let directory = tempfile::tempdir().expect("a directory");
        let exports = Arc::new(Exports::open(directory.path()).expect("none yet"));
        let begin = |id| exports.begin_measuring(id);
        let (a, b, c) = (begin("a").expect("new"), begin("b").expect("new"), begin("c").expect("new"));
        assert!(begin("a").is_none(), "it is being measured");
        let turns = (a.turn().await.expect("a turn"), b.turn().await.expect("a turn"));
        let mut third = std::pin::pin!(c.turn());
        assert!(futures_util::poll!(&mut third).is_pending());
        drop((turns.0, a));
        assert!(third.await.is_some());
        assert!(begin("a").is_some(), "it may be measured again");
    }
}
