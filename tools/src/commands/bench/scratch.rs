//! Where scratch files lie: in a directory of their own on the disk that is measured, removed with all in it when the measurement ends.

use crate::failure::Failure;
use crate::units::size;
use anyhow::Context;
use nix::sys::statvfs::statvfs;
use std::path::Path;
use tempfile::TempDir;

/// What is left free on the disk.
const RESERVE_BYTES: u64 = 256 << 20;

/// Makes it, where there is room for so many bytes.
///
/// # Errors
/// There is no such directory, nothing may be made in it, or too little is free.
pub(super) fn make(dir: &Path, needed_bytes: u64, smaller_by: &str) -> anyhow::Result<TempDir> {
    let shown = dir.display();
    let disk = statvfs(dir).with_context(|| format!("{shown}: cannot ask for free space"))?;
    let free = disk.blocks_available().saturating_mul(disk.fragment_size());
    if free < needed_bytes.saturating_add(RESERVE_BYTES) {
        return Err(Failure::failed(format!(
            "{shown}: needs {} and leaves {} free, but only {} are; use {smaller_by}, or another disk",
            size::show(needed_bytes),
            size::show(RESERVE_BYTES),
            size::show(free),
        )));
    }
    tempfile::Builder::new()
        .prefix("keha-bench.")
        .tempdir_in(dir)
        .with_context(|| format!("{shown}: cannot make a directory for scratch files"))
}
