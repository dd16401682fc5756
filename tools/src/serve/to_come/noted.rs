//! Holds of what is still to come, by where they stand: `to_come.json` in the state directory, so that they go on where their streams are
//! also when the server was started again and the volume that has them is gone.
//!
//! ```text
//! made in a volume --> noted --(its stream is recorded into another one)--> due there --> held there, too
//!                        \--(one of its holds is lifted, it expires, its range is over)--> forgotten
//! ```
//!
//! Whoever lifts one of them wants none of them to go on: what is held by then stands until it is lifted, too. A file that is damaged is
//! put aside, and the log says so: what stands in volumes that are there is found again when they are opened.
//!
//! Whoever makes or lifts one is answered once that stands in the file. Where its disk refuses that, or does not answer for
//! [`PATIENCE`], nothing is made and nothing lifted. Nobody else waits for that disk: what is found out counts all the same, until the
//! server ends.
//!
//! What must not live here: volumes, threads.

use keha_api::keeping::{Keeping, PATIENCE};
use keha_api::state::{StateFile, put_aside};
use keha_fs::{Hold, HoldId, HoldRequest, StreamName, Uuid, WallTime};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

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
    noted: Keeping<Vec<Noted>>,
    patience: Duration,
}

impl Noted {
    fn new(volume: &str, request: &HoldRequest, hold: &Hold) -> Noted {
        Noted {
            stream: request.stream.to_string(),
            from_ns: request.from.0,
            to_ns: request.to.0,
            label: request.label.clone(),
            expires_ns: request.expires.map(|expires| expires.0),
            holds: [(volume.to_owned(), hold.id.to_string())].into(),
        }
    }

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
        let unkept = "where holds go on is known only until the server is started again";
        let render = |holds: &Vec<Noted>| {
            serde_json::to_vec_pretty(&File { schema: SCHEMA, holds: holds.clone() }).unwrap_or_default()
        };
        ToCome { noted: Keeping::new(file, noted, render, unkept), patience: PATIENCE }
    }

    /// The same, where that disk is waited for so long.
    #[cfg(test)]
    pub(in crate::serve) fn waiting(self, patience: Duration) -> ToCome {
        ToCome { patience, ..self }
    }

    /// A hold was made in a volume. When this returns it is known after any crash.
    ///
    /// # Errors
    /// Where that cannot be kept: it is not known at all then.
    pub(in crate::serve) fn note(
        &self,
        volume: &str,
        request: &HoldRequest,
        hold: &Hold,
    ) -> keha_api::Result<()> {
        if !hold.growing {
            return Ok(());
        }
        self.add(Noted::new(volume, request, hold));
        let kept = self.noted.keep(self.patience);
        if kept.is_err() {
            drop(self.take(hold.id));
            self.noted.soon();
        }
        kept
    }

    /// A hold was found in a volume.
    pub(super) fn found_one(&self, volume: &str, request: &HoldRequest, hold: &Hold) {
        if hold.growing {
            self.add(Noted::new(volume, request, hold));
            self.noted.soon();
        }
    }

    fn add(&self, noted: Noted) {
        self.noted.change(|all| {
            if !all.iter().any(|known| noted.holds.values().any(|id| known.has(id))) {
                all.push(noted);
            }
        });
    }

    fn take(&self, id: HoldId) -> Vec<Noted> {
        let id = id.to_string();
        self.noted.change(|all| all.extract_if(.., |noted| noted.has(&id)).collect())
    }

    /// What was due stands now, as this hold. False where it is not wanted any more.
    pub(super) fn stands(&self, due: &Due, id: HoldId) -> bool {
        let wanted = self.noted.change(|all| {
            let noted = all.iter_mut().find(|noted| noted.has(&due.of));
            noted.map(|noted| noted.holds.insert(due.volume.clone(), id.to_string())).is_some()
        });
        self.noted.soon();
        wanted
    }

    /// Lifts a hold: it goes on nowhere from then on, after any crash, too.
    ///
    /// # Errors
    /// Where that cannot be kept: it is not lifted, and goes on as before. What `lift` says: so it does then, too.
    pub(in crate::serve) fn lift<T, E>(
        &self,
        id: HoldId,
        lift: impl FnOnce() -> Result<T, E>,
    ) -> keha_api::Result<Result<T, E>> {
        let taken = self.take(id);
        if taken.is_empty() {
            return Ok(lift());
        }
        let lifted = self.noted.keep(self.patience).map(|()| lift());
        if !matches!(lifted, Ok(Ok(_))) {
            taken.into_iter().for_each(|noted| self.add(noted));
            self.noted.soon();
        }
        lifted
    }

    /// These are all holds of a volume that is open now: one that is gone from there was lifted while nobody looked, or has ended, or
    /// another volume has its place. What stands in others still is to go on.
    pub(super) fn found(&self, volume: &str, holds: &[Hold]) {
        let stands = |id: &str| holds.iter().any(|hold| hold.id.to_string() == id);
        self.noted.change(|all| {
            for noted in all.iter_mut() {
                noted.holds.retain(|at, id| at != volume || stands(id));
            }
            all.retain(|noted| !noted.holds.is_empty());
        });
        self.noted.soon();
    }

    /// Forgets those that are over.
    pub(super) fn forget_over(&self, now: WallTime) {
        self.noted.change(|all| all.retain(|noted| !noted.is_over(now)));
        self.noted.soon();
    }

    /// Whether some are over.
    pub(super) fn has_over(&self, now: WallTime) -> bool {
        self.noted.look(|all| all.iter().any(|noted| noted.is_over(now)))
    }

    /// What is to be held, given where streams are recorded. Waits for no disk.
    pub(super) fn due(&self, now: WallTime, at: impl Fn(&StreamName) -> Option<String>) -> Vec<Due> {
        let due = |noted: &Noted| {
            let request = noted.request()?;
            let volume = at(&request.stream).filter(|volume| !noted.holds.contains_key(volume))?;
            Some(Due { of: noted.holds.values().next()?.clone(), volume, request })
        };
        self.noted.look(|all| all.iter().filter(|noted| !noted.is_over(now)).filter_map(due).collect())
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

    fn lift(to_come: &ToCome, number: u128) {
        to_come.lift(HoldId(Uuid::from_u128(number)), || Ok::<_, ()>(())).expect("kept").expect("lifted");
    }

    /// What stands in the file, once nobody writes it any more.
    fn again(to_come: &ToCome, dir: &tempfile::TempDir) -> ToCome {
        to_come.noted.keep(Duration::from_secs(60)).expect("kept");
        ToCome::open(dir.path())
    }

    #[test]
    fn what_is_to_come_is_held_where_its_stream_goes_also_by_the_next_server() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let to_come = ToCome::open(dir.path());
        to_come.note("main", &request(2000), &hold(1, true)).expect("kept");
        to_come.note("main", &request(2000), &hold(1, true)).expect("kept");
        to_come.note("main", &request(900), &hold(2, false)).expect("kept");
        assert_eq!(due(&to_come, NOW, "main"), [], "it stands there");
        assert_eq!(to_come.due(NOW, |_| None), [], "it is recorded nowhere");
        let to_come = ToCome::open(dir.path());
        let there = due(&to_come, NOW, "archive");
        let [one] = &there[..] else { panic!("{there:?}") };
        assert_eq!((one.volume.as_str(), &one.request), ("archive", &request(2000)));
        assert!(to_come.stands(one, HoldId(Uuid::from_u128(3))));
        for volume in ["main", "archive"] {
            assert_eq!(due(&again(&to_come, &dir), NOW, volume), [], "it stands in both");
        }
        assert_eq!(due(&to_come, NOW, "third").len(), 1);
        assert_eq!(due(&to_come, WallTime(2000), "third"), [], "it is over");
        assert!(to_come.has_over(WallTime(2000)) && !to_come.has_over(WallTime(1999)));
        to_come.forget_over(WallTime(2000));
        assert_eq!(due(&again(&to_come, &dir), NOW, "third"), []);
    }

    /// Whoever asked waited for as long as the disk took, and whoever came for anything else waited behind him.
    #[test]
    fn a_disk_that_hangs_keeps_nobody_waiting_for_long_and_none_who_needs_it_not() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let to_come = ToCome::open(dir.path()).waiting(Duration::from_millis(50));
        to_come.note("main", &request(2000), &hold(1, true)).expect("kept");
        let lock = dir.path().join("to_come.json.lock");
        let hung = std::fs::OpenOptions::new().write(true).open(lock).expect("a file");
        hung.lock().expect("it is free");
        let said = to_come.note("main", &request(3000), &hold(2, true)).expect_err("it hangs").to_string();
        assert!(said.contains("to_come.json") && said.contains("does not answer"), "{said}");
        assert_eq!(due(&to_come, NOW, "archive").len(), 1, "what was not kept is not to be held");
        let lifted =
            to_come.lift(HoldId(Uuid::from_u128(1)), || -> Result<(), ()> { panic!("it is not noted") });
        assert!(lifted.is_err());
        assert_eq!(due(&to_come, NOW, "archive").len(), 1, "it stands, and goes on");
        // Holds of what has been need no file.
        to_come.note("main", &request(900), &hold(3, false)).expect("nothing is to be kept");
        lift(&to_come, 3);
        drop(hung);
        let refused = to_come.waiting(Duration::from_secs(60));
        let lifted = refused.lift(HoldId(Uuid::from_u128(1)), || Err::<(), _>("its volume hangs"));
        assert_eq!(lifted.expect("kept"), Err("its volume hangs"));
        assert_eq!(due(&again(&refused, &dir), NOW, "archive").len(), 1, "it stands, and goes on");
        lift(&refused, 1);
        assert_eq!(due(&ToCome::open(dir.path()), NOW, "archive"), []);
    }

    #[test]
    fn a_hold_that_is_lifted_anywhere_goes_on_nowhere() {
        for lifted in [1, 3] {
            let dir = tempfile::tempdir().expect("a temporary directory");
            let to_come = ToCome::open(dir.path());
            to_come.note("main", &request(2000), &hold(1, true)).expect("kept");
            let there = due(&to_come, NOW, "archive");
            assert!(to_come.stands(&there[0], HoldId(Uuid::from_u128(3))));
            lift(&to_come, 7);
            assert_eq!(due(&to_come, NOW, "third").len(), 1, "another one");
            lift(&to_come, lifted);
            assert_eq!(due(&to_come, NOW, "third"), []);
            assert!(!to_come.stands(&there[0], HoldId(Uuid::from_u128(4))), "it was lifted meanwhile");
        }
    }

    #[test]
    fn what_was_lifted_while_nobody_looked_is_forgotten() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let to_come = ToCome::open(dir.path());
        to_come.note("main", &request(2000), &hold(1, true)).expect("kept");
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
        to_come.note("main", &request(2000), &hold(1, true)).expect("kept");
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
