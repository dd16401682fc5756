//! Where scratch files lie: in a directory of their own on the disk that is measured, removed with all in it when the measurement ends.

use crate::room;
use anyhow::Context;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

/// Makes it, where there is room for so many bytes; `smaller` is how to need fewer.
///
/// # Errors
/// There is no such directory, nothing may be made in it, or too little is free.
pub(super) fn make(dir: &Path, needed_bytes: u64, smaller: &str) -> anyhow::Result<TempDir> {
    room::check(dir, needed_bytes, "the measurement", &format!("{smaller}, or another disk"))?;
    tempfile::Builder::new()
        .prefix("keha-bench.")
        .tempdir_in(dir)
        .with_context(|| format!("{}: cannot make a directory for scratch files", dir.display()))
}

/// Removes it. Files in it that are still open go on without a name until they are closed.
///
/// # Errors
/// Those of the system.
pub(super) fn remove(scratch: &Path) -> anyhow::Result<()> {
    fs::remove_dir_all(scratch).with_context(|| format!("{}: cannot be removed", scratch.display()))
}
