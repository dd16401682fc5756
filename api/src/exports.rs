//! Named exports: files that can be downloaded again, and gone on with where a download broke off, also after the server was started
//! again.
//!
//! Kept is what was asked for, not the file: the same request gives the same bytes as long as the footage stands, and holds see to that.
//! What the file will be (its tag) is noted when it is made, its length and its hash once all of it was made once and thrown away. A
//! file that would come out otherwise than noted is not given.
//!
//! ```text
//! asked --(prepared, held, noted in exports.json)--> measuring --(made once)--> ready --(expired, or removed)--> gone
//!                                                         \--(footage gone)--> failed
//! ```
//! A server that ends while it measures begins anew with that when the export is asked for next.

use crate::error::Result;
use crate::routes::Container;
use crate::state::StateFile;
use jiff::Timestamp;
use keha_fs::{StreamName, TimeRange, WallTime};
use keha_player::footage::FootageRequest;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The most exports that are kept, of all users together.
pub(crate) const EXPORTS_MAX: usize = 1000;

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
    /// Holds that keep its footage.
    pub(crate) holds: Vec<String>,
    /// Its length and BLAKE3, once known.
    pub(crate) measured: Option<Measured>,
    /// Why it cannot be had any more.
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

    /// The cameras that it shows.
    pub(crate) fn cameras(&self) -> impl Iterator<Item = &str> {
        self.streams.iter().map(|name| name.split('/').next().unwrap_or_default())
    }
}

/// All exports, in `exports.json` of the state directory.
pub(crate) struct Exports {
    file: StateFile,
    known: Mutex<BTreeMap<String, Export>>,
    /// Those that are being measured.
    measuring: Mutex<BTreeSet<String>>,
}

impl Exports {
    /// Reads them.
    ///
    /// # Errors
    /// Where the file cannot be read, or holds something else.
    pub(crate) fn open(directory: &Path) -> Result<Exports> {
        let file = StateFile::new(directory, "exports.json");
        let known = file.read()?.map(|bytes| parse(&file, &bytes)).transpose()?.unwrap_or_default();
        Ok(Exports { file, known: Mutex::new(known), measuring: Mutex::default() })
    }

    /// Those that have not expired.
    pub(crate) fn all(&self, now: Timestamp) -> Vec<(String, Export)> {
        let known = self.known();
        known
            .iter()
            .filter(|(_, export)| now < export.expires)
            .map(|(id, export)| (id.clone(), export.clone()))
            .collect()
    }

    /// One of them.
    pub(crate) fn get(&self, id: &str, now: Timestamp) -> Option<Export> {
        self.known().get(id).filter(|export| now < export.expires).cloned()
    }

    /// Changes one (or, from or to `None`, adds or removes it), and forgets those that expired. Blocks until it is durable.
    ///
    /// # Errors
    /// Where the file cannot be written; [`crate::Error::Refused`] where there are too many.
    pub(crate) fn change(
        &self,
        id: &str,
        now: Timestamp,
        change: impl FnOnce(&mut Option<Export>),
    ) -> Result<()> {
        let mut known = self.known();
        let mut changed = known.clone();
        changed.retain(|_, export| now < export.expires);
        let mut export = changed.remove(id);
        change(&mut export);
        changed.extend(export.map(|export| (id.to_owned(), export)));
        if changed.len() > EXPORTS_MAX {
            let why = format!("{EXPORTS_MAX} are kept at most: remove some, or wait until they expire");
            return Err(crate::Error::Refused { what: "exports", why });
        }
        let bytes = serde_json::to_vec_pretty(&changed).unwrap_or_default();
        self.file.change(|_| Ok((bytes, ())))?;
        *known = changed;
        Ok(())
    }

    /// Whether this caller is the one to measure it.
    pub(crate) fn begin_measuring(&self, id: &str) -> bool {
        self.measuring.lock().unwrap_or_else(PoisonError::into_inner).insert(id.to_owned())
    }

    /// It was measured, or cannot be.
    pub(crate) fn end_measuring(&self, id: &str) {
        self.measuring.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<String, Export>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn parse(file: &StateFile, bytes: &[u8]) -> Result<BTreeMap<String, Export>> {
    serde_json::from_slice(bytes)
        .map_err(|error| crate::Error::State { path: file.path().to_owned(), why: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::{Export, Exports, Measured};
    use crate::routes::Container;
    use jiff::{SignedDuration, Timestamp};

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
            holds: Vec::new(),
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

    #[test]
    fn its_cameras_are_those_of_its_streams() {
        assert_eq!(export(1).cameras().collect::<Vec<_>>(), ["door", "yard"]);
        assert_eq!(export(1).request().expect("names").streams.len(), 2);
    }
}
