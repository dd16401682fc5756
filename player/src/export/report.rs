//! What an export did, for the caller to show or act on.

use crate::export::manifest::Manifest;
use keha_fs::{StreamName, WallTime};
use std::path::PathBuf;

/// The outcome of an export.
#[derive(Clone, Debug, Default)]
pub struct ExportReport {
    /// The files, in the order of their parts.
    pub files: Vec<FileReport>,
    /// Samples written, over all files.
    pub samples: u64,
    /// Their bytes.
    pub payload_bytes: u64,
    /// Streams that have nothing in the range, beside others that have.
    pub streams_without_footage: Vec<StreamName>,
    /// Places where something did not verify and footage is missing.
    pub damaged: u64,
    /// Times the ring passed the export and it went on behind.
    pub overwritten: u64,
    /// For a pipe: where and why it ends early, because what follows needs a second file.
    pub cut: Option<(WallTime, String)>,
}

impl ExportReport {
    /// Whether every original sample in the range is in the files. If not, the exit status is 3.
    pub fn is_complete(&self) -> bool {
        self.damaged == 0 && self.overwritten == 0 && self.cut.is_none()
    }
}

/// One written file.
#[derive(Clone, Debug)]
pub struct FileReport {
    /// Where it is; `None` for a pipe.
    pub path: Option<PathBuf>,
    /// Where its manifest is; `None` for a pipe.
    pub manifest_path: Option<PathBuf>,
    /// What is in it.
    pub manifest: Manifest,
}
