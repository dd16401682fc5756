//! Cameras that are recorded elsewhere than they are configured, and the identities of all streams: `moved.json` in the state
//! directory, so that the server goes on where it was when it is started again.
//!
//! A file that is damaged is put aside, and the log says so: cameras are recorded where they are configured then. What cannot be kept
//! counts all the same, until the server ends: the disk of the state directory may be the one that failed.

use keha_api::keeping::{Keeping, PATIENCE};
use keha_api::state::{StateFile, put_aside};
use keha_fs::{StreamId, StreamName, Uuid, WallTime};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// The version of the file.
const SCHEMA: u32 = 1;

/// Where a camera is recorded instead.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::serve) struct Moved {
    /// Its own volume.
    pub(in crate::serve) home: String,
    /// Where it is recorded.
    pub(in crate::serve) to: String,
    /// Since when, Unix nanoseconds.
    since_ns: i64,
    /// What was wrong with its own volume.
    pub(in crate::serve) why: String,
}

impl Moved {
    pub(in crate::serve) fn new(home: &str, to: &str, since: WallTime, why: &str) -> Moved {
        Moved { home: home.to_owned(), to: to.to_owned(), since_ns: since.0, why: why.to_owned() }
    }

    /// Since when.
    pub(in crate::serve) fn since(&self) -> WallTime {
        WallTime(self.since_ns)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    schema: u32,
    cameras: BTreeMap<String, Moved>,
    /// By name.
    streams: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Kept {
    cameras: BTreeMap<String, Moved>,
    streams: BTreeMap<StreamName, StreamId>,
}

/// All of them.
pub(in crate::serve) struct Moves(Keeping<Kept>);

impl Moves {
    /// Those that a server before this one kept.
    pub(in crate::serve) fn open(state: &Path) -> Moves {
        let file = StateFile::new(state, "moved.json");
        let kept = read(&file).unwrap_or_else(|why| {
            if let Err(error) = put_aside(file.path(), &why) {
                tracing::error!(%error, "cameras that were moved are recorded where they are configured");
            }
            Kept::default()
        });
        let unkept = "where cameras were moved is so only until the server is started again";
        Moves(Keeping::new(file, kept, render, unkept))
    }

    /// Where a camera of this volume is recorded instead, if so.
    pub(in crate::serve) fn of(&self, camera: &str, home: &str) -> Option<Moved> {
        self.0.look(|now| now.cameras.get(camera).filter(|moved| moved.home == home).cloned())
    }

    /// The camera is recorded elsewhere from now on, or where it is configured.
    pub(in crate::serve) fn set(&self, camera: &str, moved: Option<Moved>) {
        self.0.change(|now| match moved {
            Some(moved) => drop(now.cameras.insert(camera.to_owned(), moved)),
            None => drop(now.cameras.remove(camera)),
        });
    }

    /// Cameras that are not there any more, or have another volume now, are forgotten, and so are their streams.
    pub(in crate::serve) fn retain(&self, homes: &BTreeMap<String, String>) {
        self.0.change(|now| {
            now.cameras.retain(|camera, moved| homes.get(camera) == Some(&moved.home));
            now.streams.retain(|stream, _| homes.contains_key(stream.camera()));
        });
    }

    /// Which stream is meant by a name.
    pub(in crate::serve) fn identity(&self, stream: &StreamName) -> Option<StreamId> {
        self.0.look(|now| now.streams.get(stream).copied())
    }

    /// This is the identity of a stream.
    pub(in crate::serve) fn learn(&self, stream: StreamName, id: StreamId) {
        self.0.change(|now| now.streams.insert(stream, id));
    }

    /// The camera has this volume now: that it was moved from another is of no account any more.
    pub(in crate::serve) fn settle(&self, camera: &str, home: &str) {
        self.0.change(|now| now.cameras.retain(|name, moved| name != camera || moved.home == home));
    }

    /// A camera is not there any more.
    pub(in crate::serve) fn forget(&self, camera: &str) {
        self.0.change(|now| {
            now.cameras.remove(camera);
            now.streams.retain(|stream, _| stream.camera() != camera);
        });
    }

    /// Has what has changed written down. Nobody waits for it: that disk may be the one that failed.
    pub(in crate::serve) fn soon(&self) {
        self.0.soon();
    }

    /// Writes down what has changed. When this returns it survives any crash.
    ///
    /// # Errors
    /// Where it cannot be kept, or that disk does not answer for [`PATIENCE`].
    pub(in crate::serve) fn keep(&self) -> keha_api::Result<()> {
        self.0.keep(PATIENCE)
    }
}

fn render(kept: &Kept) -> Vec<u8> {
    let streams = kept.streams.iter().map(|(name, id)| (name.to_string(), id.to_string())).collect();
    let file = File { schema: SCHEMA, cameras: kept.cameras.clone(), streams };
    serde_json::to_vec_pretty(&file).unwrap_or_default()
}

/// # Errors
/// Why it is not what it should be.
fn read(file: &StateFile) -> Result<Kept, String> {
    let Some(bytes) = file.read().map_err(|error| error.to_string())? else { return Ok(Kept::default()) };
    let File { schema, cameras, streams } =
        serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
    if schema != SCHEMA {
        return Err(format!("it is of version {schema}, and this program knows {SCHEMA}"));
    }
    let stream = |(name, id): (String, String)| -> Result<_, String> {
        let id: Uuid = id.parse().map_err(|_| format!("{id:?} is no identity"))?;
        Ok((StreamName::new(&name).map_err(|error| error.to_string())?, StreamId(id)))
    };
    Ok(Kept { cameras, streams: streams.into_iter().map(stream).collect::<Result<_, _>>()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> StreamName {
        StreamName::new(text).expect("a name")
    }

    #[test]
    fn who_was_moved_is_so_again_until_it_is_said_otherwise() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let moves = Moves::open(dir.path());
        let moved = Moved::new("main", "archive", WallTime(7), "gone");
        moves.set("front", Some(moved.clone()));
        moves.set("yard", Some(moved.clone()));
        let id = StreamId(Uuid::from_u128(9));
        moves.learn(name("front"), id);
        moves.learn(name("shed"), id);
        moves.set("yard", None);
        moves.keep().expect("kept");
        let again = Moves::open(dir.path());
        assert_eq!(again.of("front", "main"), Some(moved));
        assert_eq!((again.of("yard", "main"), again.identity(&name("front"))), (None, Some(id)));
        // Another volume in the file is an order.
        assert_eq!(again.of("front", "third"), None);
        let homes = [("front".to_owned(), "third".to_owned())].into();
        again.retain(&homes);
        again.keep().expect("kept");
        let last = Moves::open(dir.path());
        assert_eq!((last.of("front", "main"), last.identity(&name("shed"))), (None, None));
        assert_eq!(last.identity(&name("front")), Some(id));
    }

    #[test]
    fn a_damaged_file_moves_nobody_and_is_there_to_be_looked_at() {
        let one =
            "{\"schema\":1,\"cameras\":{},\"streams\":{\"A b\":\"00000000-0000-0000-0000-000000000000\"}}";
        for text in ["{\"schema\":9,\"cameras\":{},\"streams\":{}}", one, "x"] {
            let dir = tempfile::tempdir().expect("a temporary directory");
            std::fs::write(dir.path().join("moved.json"), text).expect("written");
            let moves = Moves::open(dir.path());
            assert_eq!(moves.of("front", "main"), None);
            let aside = std::fs::read_to_string(dir.path().join("moved.json.damaged-1"));
            assert_eq!(aside.expect("there"), text);
        }
    }
}
