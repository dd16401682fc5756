//! The streams whose recording was stopped over HTTP: `stopped.json` in the state directory, so that they stay so when the server is
//! started again.
//!
//! A file that is damaged is put aside, and the log says so: a camera that is recorded against somebody's will can be stopped again, one
//! that is not recorded cannot be made up for. What cannot be kept counts all the same, until the server ends.

use keha_api::Error;
use keha_api::keeping::{Keeping, PATIENCE};
use keha_api::state::{StateFile, put_aside};
use keha_fs::StreamName;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::Path;

/// The version of the file.
const SCHEMA: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    schema: u32,
    streams: BTreeSet<String>,
}

/// All of them.
pub(super) struct Stopped(Keeping<BTreeSet<StreamName>>);

impl Stopped {
    /// Those that a server before this one kept.
    pub(super) fn open(state: &Path) -> Stopped {
        let file = StateFile::new(state, "stopped.json");
        let streams = read(&file).unwrap_or_else(|why| {
            if let Err(error) = put_aside(file.path(), &why) {
                tracing::error!(%error, "streams that were stopped are recorded again");
            }
            BTreeSet::new()
        });
        let unkept = "which streams are stopped is so only until the server is started again";
        Stopped(Keeping::new(file, streams, render, unkept))
    }

    pub(super) fn all(&self) -> BTreeSet<StreamName> {
        self.0.look(BTreeSet::clone)
    }

    /// Changes which they are, from now on until the server ends. Waits for no disk.
    pub(super) fn change(&self, change: impl FnOnce(&mut BTreeSet<StreamName>)) {
        self.0.change(change);
    }

    /// Has what has changed written down. Nobody waits for it.
    pub(super) fn soon(&self) {
        self.0.soon();
    }

    /// Writes down what has changed. When this returns it survives any crash.
    ///
    /// # Errors
    /// Where it cannot be kept, or that disk does not answer for [`PATIENCE`].
    pub(super) fn keep(&self) -> Result<(), Error> {
        self.0.keep(PATIENCE)
    }
}

fn render(streams: &BTreeSet<StreamName>) -> Vec<u8> {
    let file = File { schema: SCHEMA, streams: streams.iter().map(StreamName::to_string).collect() };
    serde_json::to_vec_pretty(&file).unwrap_or_default()
}

/// # Errors
/// Why it is not what it should be.
fn read(file: &StateFile) -> Result<BTreeSet<StreamName>, String> {
    let Some(bytes) = file.read().map_err(|error| error.to_string())? else { return Ok(BTreeSet::new()) };
    let File { schema, streams } = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
    if schema != SCHEMA {
        return Err(format!("it is of version {schema}, and this program knows {SCHEMA}"));
    }
    streams.iter().map(|name| StreamName::new(name).map_err(|error| error.to_string())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> StreamName {
        StreamName::new(text).expect("a name")
    }

    #[test]
    fn what_was_stopped_is_so_again_until_it_is_said_otherwise() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let stopped = Stopped::open(dir.path());
        stopped.change(|streams| streams.extend([name("front"), name("yard/sub")]));
        stopped.keep().expect("kept");
        stopped.change(|streams| streams.retain(|stream| *stream != name("front")));
        stopped.keep().expect("kept");
        assert_eq!(Stopped::open(dir.path()).all(), [name("yard/sub")].into());
    }

    #[test]
    fn a_damaged_file_stops_nothing_and_is_there_to_be_looked_at() {
        for text in ["{\"schema\":9,\"streams\":[]}", "{\"schema\":1,\"streams\":[\"A b\"]}", "x"] {
            let dir = tempfile::tempdir().expect("a temporary directory");
            std::fs::write(dir.path().join("stopped.json"), text).expect("written");
            let stopped = Stopped::open(dir.path());
            assert!(stopped.all().is_empty());
            stopped.change(|streams| streams.extend([name("front")]));
            stopped.keep().expect("kept");
            let aside = std::fs::read_to_string(dir.path().join("stopped.json.damaged-1"));
            assert_eq!(aside.expect("there"), text);
        }
    }
}
