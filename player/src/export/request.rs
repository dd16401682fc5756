//! What is asked of an export, and where it goes.

use keha_fs::{StreamName, TimeRange, WallTime};
use std::io::Write;
use std::path::PathBuf;

/// What to export.
#[derive(Clone, Debug)]
pub struct ExportRequest {
    /// One stream or several, each once; all go into one file on one clock.
    pub streams: Vec<StreamName>,
    /// From `from` (inclusive) to `to` (exclusive), UTC nanoseconds; `None` is open, both `None` is all there is.
    pub range: TimeRange,
    /// Only the n-th run of those that touch the range, from 1 in the order of recording: where clocks were set back and
    /// several runs cover the same moments. Only with one stream.
    pub run: Option<usize>,
}

/// Where an export goes.
pub enum Output<'a> {
    /// A file, with its manifest beside it as `NAME.json`, and further files `NAME-2`, `NAME-3` ... where one cannot hold
    /// everything. They appear under their names when all of them are complete and on the disk.
    File {
        /// The file; by convention it ends in `.mkv`.
        path: PathBuf,
        /// Whether existing regular files of these names are replaced.
        force: bool,
    },
    /// A pipe: one file in Matroska's live form, of unknown length and without cues; no manifest is written, it is in the
    /// report. What would begin a second file is left out and reported.
    Pipe(&'a mut dyn Write),
}

/// How far an export has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Samples written.
    pub samples: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The moment it has reached.
    pub at: WallTime,
}
