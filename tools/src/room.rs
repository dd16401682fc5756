//! Whether a disk has room for what is to be made on it.

use crate::failure::Failure;
use crate::units::size;
use anyhow::Context;
use nix::sys::statvfs::statvfs;
use std::path::Path;

/// What is left free on the disk.
const RESERVE_BYTES: u64 = 256 << 20;

/// Whether `what` finds so many bytes free where `dir` is; `advice` is what to use if not.
///
/// # Errors
/// Too little is free, or that cannot be asked.
pub(crate) fn check(dir: &Path, needed_bytes: u64, what: &str, advice: &str) -> anyhow::Result<()> {
    let shown = dir.display();
    let disk = statvfs(dir).with_context(|| format!("{shown}: cannot ask for free space"))?;
    let free = disk.blocks_available().saturating_mul(disk.fragment_size());
    if free < needed_bytes.saturating_add(RESERVE_BYTES) {
        return Err(Failure::failed(format!(
            "{shown}: {what} needs {} and leaves {} free, but only {} are; use {advice}",
            size::show(needed_bytes),
            size::show(RESERVE_BYTES),
            size::show(free),
        )));
    }
    Ok(())
}
