//! Tests that need more than every machine gives (root, FUSE, loop devices, libfaketime): where it is missing that is said, and
//! counted, so that no run passes for more than it tried.
//!
//! Must not live here: what is needed for what; each instrument says that itself, by its `possible`.

use anyhow::Result;
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many tests of this process were not tried.
static NOT_TRIED: AtomicUsize = AtomicUsize::new(0);

/// Runs `test` where it is possible, and says so where it is not.
///
/// # Errors
/// Those of the test.
pub fn where_possible(
    possible: impl FnOnce() -> Result<()>,
    test: impl FnOnce() -> Result<()>,
) -> Result<()> {
    if is_possible(possible) { test() } else { Ok(()) }
}

/// Whether a test is possible; else says so past the test harness, which shows nothing of what passes. `.ci/run` counts these
/// lines.
pub fn is_possible(possible: impl FnOnce() -> Result<()>) -> bool {
    let Err(why) = possible() else { return true };
    let count = NOT_TRIED.fetch_add(1, Ordering::Relaxed) + 1;
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("a test");
    // A line of its own: the harness has written half of one where it runs one test at a time. Where nobody listens, nobody is told.
    writeln!(std::io::stderr(), "\nnot tried: {name}: {why} ({count} so far)").ok();
    false
}
