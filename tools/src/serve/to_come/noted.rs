//! Holds of what is still to come, by where they stand: `to_come.json` in the state directory, so that they go on where their streams are
//! also when the server was started again and the volume that has them is gone.
//!
//! ```text
//! made in a volume --> noted --(its stream is recorded into another one)--> due there --> held there, too
//!                        \--(one of its holds is lifted, it expires, its range is over)--> forgotten
//! ```
//!
//! Whoever lifts one of them wants none of them to go on: what is held by then stands until it is lifted, too. A file that is damaged is
//! put aside, and the log says so: what stands in volumes that are there is found again when they are opened. What cannot be kept counts
//! all the same, until the server ends.
//!
//! What must not live here: volumes, threads.

use keha_api::state::{StateFile, put_aside};
use keha_fs::{Hold, HoldId, HoldRequest, StreamName, Uuid, WallTime};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The version of the file.
const SCHEMA: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    schema: u32,
    holds: Vec<Noted>,
}

/// A hold that reaches into what is to come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Noted {
    stream: String,
    from_ns: i64,
    to_ns: i64,
    label: String,
    expires_ns: Option<i64>,
    /// Its holds, by the names of the volumes in which they stand.
    holds: BTreeMap<String, String>,
}

/// A hold that is to be made.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Due {
    /// A hold that stands for the same.
    pub(super) of: String,
    /// Where it is to stand.
    pub(super) volume: String,
    pub(super) request: HoldRequest,
}

/// All of them.
pub(in crate::serve) struct ToCome {
    file: StateFile,
    noted: Mutex<Vec<Noted>>,
    /// What stands in the file, as far as is known. Held while that is written; the other is not.
    written: Mutex<Option<Vec<Noted>>>,
}

impl Noted {
    fn is_over(&self, now: WallTime) -> bool {
        self.to_ns <= now.0 || self.expires_ns.is_some_and(|expires| expires <= now.0)
    }

    fn has(&self, id: &str) -> bool {
        self.holds.values().any(|known| known == id)
    }

    fn request(&self) -> Option<HoldRequest> {
        Some(HoldRequest {
            stream: StreamName::new(&self.stream).ok()?,
            from: WallTime(self.from_ns),
            to: WallTime(self.to_ns),
            label: self.label.clone(),
            expires: self.expires_ns.map(WallTime),
        })
    }
}

impl ToCome {
    /// Those that a server before this one noted.
    pub(in crate::serve) fn open(state: &Path) -> ToCome {
        let file = StateFile::new(state, "to_come.json");
        let noted = read(&file).unwrap_or_else(|why| {
            if let Err(error) = put_aside(file.path(), &why) {
                tracing::error!(%error, "what is still to be held in volumes that are gone is not known");
            }
            Vec::new()
        });
        ToCome { file, noted: Mutex::new(noted.clone()), written: Mutex::new(Some(noted)) }
    }

    fn noted(&self) -> MutexGuard<'_, Vec<Noted>> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A hold was made, or found, in a volume. When this returns it is known after any crash, unless the log says otherwise.
    pub(in crate::serve) fn note(&self, volume: &str, request: &HoldRequest, hold: &Hold) {
        let id = hold.id.to_string();
        if !hold.growing {
            return;
        }
        let noted = Noted {
            stream: request.stream.to_string(),
            from_ns: request.from.0,
            to_ns: request.to.0,
            label: request.label.clone(),
            expires_ns: request.expires.map(|expires| expires.0),
            holds: [(volume.to_owned(), id.clone())].into(),
        };
        self.change(|all| {
            if !all.iter().any(|known| known.has(&id)) {
                all.push(noted);
            }
        });
    }

    /// What was due stands now, as this hold. False where it is not wanted any more.
    pub(super) fn stands(&self, due: &Due, id: HoldId) -> bool {
        let mut wanted = false;
        self.change(|all| {
            let Some(noted) = all.iter_mut().find(|noted| noted.has(&due.of)) else { return };
            noted.holds.insert(due.volume.clone(), id.to_string());
            wanted = true;
        });
        wanted
    }

    /// A hold was lifted: it goes on nowhere.
    pub(in crate::serve) fn lifted(&self, id: HoldId) {
        let id = id.to_string();
        self.change(|all| all.retain(|noted| !noted.has(&id)));
    }

    /// These are all holds of a volume that is open now: one that is gone from there was lifted while nobody looked, or has ended, or
    /// another volume has its place. What stands in others still is to go on.
    pub(super) fn found(&self, volume: &str, holds: &[Hold]) {
        let stands = |id: &str| holds.iter().any(|hold| hold.id.to_string() == id);
        self.change(|all| {
            for noted in all.iter_mut() {
                noted.holds.retain(|at, id| at != volume || stands(id));
            }
            all.retain(|noted| !noted.holds.is_empty());
        });
    }

    /// Forgets those that are over.
    pub(super) fn forget_over(&self, now: WallTime) {
        self.change(|all| all.retain(|noted| !noted.is_over(now)));
    }

    /// Whether some are over.
    pub(super) fn has_over(&self, now: WallTime) -> bool {
        self.noted().iter().any(|noted| noted.is_over(now))
    }

    /// What is to be held, given where streams are recorded. Waits for no disk.
    pub(super) fn due(&self, now: WallTime, at: impl Fn(&StreamName) -> Option<String>) -> Vec<Due> {
        let noted = self.noted();
        let due = noted.iter().filter(|noted| !noted.is_over(now)).filter_map(|noted| {
            let request = noted.request()?;
            let volume = at(&request.stream).filter(|volume| !noted.holds.contains_key(volume))?;
            Some(Due { of: noted.holds.values().next()?.clone(), volume, request })
        });
        due.collect()
    }

    /// Changes them, and writes them down if that changed anything. May take as long as the disk does.
    fn change(&self, change: impl FnOnce(&mut Vec<Noted>)) {
        change(&mut self.noted());
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let holds = self.noted().clone();
        if written.as_ref() == Some(&holds) {
            return;
        }
        let file = File { schema: SCHEMA, holds };
        let bytes = serde_json::to_vec_pretty(&file).unwrap_or_default();
        *written = match self.file.change(|_| Ok((bytes, ()))) {
            Ok(()) => Some(file.holds),
            Err(error) => {
                tracing::error!(%error, "where holds go on is known only until the server is started again");
                None
            }
        };
    }
}

/// # Errors
/// Why it is not what it should be.
fn read(file: &StateFile) -> Result<Vec<Noted>, String> {
    let Some(bytes) = file.read().map_err(|error| error.to_string())? else { return Ok(Vec::new()) };
    let File { schema, holds } = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
    if schema != SCHEMA {
        return Err(format!("it is of version {schema}, and this program knows {SCHEMA}"));
    }
    for noted in &holds {
        StreamName::new(&noted.stream).map_err(|error| error.to_string())?;
        for id in noted.holds.values() {
            id.parse::<Uuid>().map_err(|_| format!("{id:?} is no identity"))?;
        }
    }
    Ok(holds)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: WallTime = WallTime(1000);

    fn request(to: i64) -> HoldRequest {
        HoldRequest {
            stream: StreamName::new("front").expect("a name"),
            from: WallTime(500),
            to: WallTime(to),
            label: "theft".to_owned(),
            expires: Some(WallTime(9000)),
        }
    }

    fn hold(number: u128, growing: bool) -> Hold {
        Hold { id: HoldId(Uuid::from_u128(number)), growing, ..Hold::default() }
    }

    fn due(to_come: &ToCome, now: WallTime, volume: &str) -> Vec<Due> {
        to_come.due(now, |stream| (stream.as_str() == "front").then(|| volume.to_owned()))
    }

    #[test]
    fn what_is_to_come_is_held_where_its_stream_goes_also_by_the_next_server() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let to_come = ToCome::open(dir.path());
        to_come.note("main", &request(2000), &hold(1, true));
        to_come.note("main", &request(2000), &hold(1, true));
        to_come.note("main", &request(900), &hold(2, false));
        assert_eq!(due(&to_come, NOW, "main"), [], "it stands there");
        assert_eq!(to_come.due(NOW, |_| None), [], "it is recorded nowhere");
        let to_come = ToCome::open(dir.path());
        let there = due(&to_come, NOW, "archive");
        let [one] = &there[..] else { panic!("{there:?}") };
        assert_eq!((one.volume.as_str(), &one.request), ("archive", &request(2000)));
        assert!(to_come.stands(one, HoldId(Uuid::from_u128(3))));
        for volume in ["main", "archive"] {
            assert_eq!(due(&ToCome::open(dir.path()), NOW, volume), [], "it stands in both");
        }
        assert_eq!(due(&to_come, NOW, "third").len(), 1);
        assert_eq!(due(&to_come, WallTime(2000), "third"), [], "it is over");
        assert!(to_come.has_over(WallTime(2000)) && !to_come.has_over(WallTime(1999)));
        to_come.forget_over(WallTime(2000));
        assert_eq!(due(&ToCome::open(dir.path()), NOW, "third"), []);
    }

    #[test]
    fn a_hold_that_is_lifted_anywhere_goes_on_nowhere() {
        for lifted in [1, 3] {
            let dir = tempfile::tempdir().expect("a temporary directory");
            let to_come = ToCome::open(dir.path());
            to_come.note("main", &request(2000), &hold(1, true));
            let there = due(&to_come, NOW, "archive");
            assert!(to_come.stands(&there[0], HoldId(Uuid::from_u128(3))));
            to_come.lifted(HoldId(Uuid::from_u128(7)));
            assert_eq!(due(&to_come, NOW, "third").len(), 1, "another one");
            to_come.lifted(HoldId(Uuid::from_u128(lifted)));
            assert_eq!(due(&to_come, NOW, "third"), []);
            assert!(!to_come.stands(&there[0], HoldId(Uuid::from_u128(4))), "it was lifted meanwhile");
        }
    }

    #[test]
    fn what_was_lifted_while_nobody_looked_is_forgotten() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let to_come = ToCome::open(dir.path());
        to_come.note("main", &request(2000), &hold(1, true));
        to_come.found("archive", &[]);
        to_come.found("main", &[hold(2, true), hold(1, true)]);
        assert_eq!(due(&to_come, NOW, "archive").len(), 1);
        to_come.found("main", &[hold(2, true)]);
        assert_eq!(due(&to_come, NOW, "archive"), []);
    }

    #[test]
    fn what_is_held_elsewhere_goes_on_when_another_disk_takes_the_place_of_the_one_that_failed() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let to_come = ToCome::open(dir.path());
        to_come.note("main", &request(2000), &hold(1, true));
        let there = due(&to_come, NOW, "archive");
        assert!(to_come.stands(&there[0], HoldId(Uuid::from_u128(3))));
        to_come.found("main", &[]);
        assert_eq!(due(&to_come, NOW, "archive"), []);
        assert_eq!(due(&to_come, NOW, "main").len(), 1, "it is held there when its stream returns");
    }

    #[test]
    fn a_damaged_file_is_put_aside() {
        let no_id = "{\"schema\":1,\"holds\":[{\"stream\":\"a\",\"from_ns\":0,\"to_ns\":1,\"label\":\"\",\"expires_ns\":null,\"holds\":{\"a\":\"x\"}}]}";
        for text in ["{\"schema\":9,\"holds\":[]}", no_id, "x"] {
            let dir = tempfile::tempdir().expect("a temporary directory");
            std::fs::write(dir.path().join("to_come.json"), text).expect("written");
            assert_eq!(due(&ToCome::open(dir.path()), NOW, "archive"), []);
            let aside = std::fs::read_to_string(dir.path().join("to_come.json.damaged-1"));
            assert_eq!(aside.expect("there"), text);
        }
    }
}
