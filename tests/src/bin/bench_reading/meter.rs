//! How often reading was asked of the system (proc(5) `io`).

use anyhow::{Context, Result};
use std::path::Path;

/// Calls so far, and what came of disks, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reads {
    pub(crate) calls: u64,
    pub(crate) bytes: u64,
}

impl Reads {
    /// Of this process.
    pub(crate) fn of_process() -> Result<Reads> {
        Reads::at("/proc/self/io")
    }

    /// Of this thread.
    pub(crate) fn of_thread() -> Result<Reads> {
        Reads::at("/proc/thread-self/io")
    }

    fn at(path: impl AsRef<Path>) -> Result<Reads> {
        let text = std::fs::read_to_string(path)?;
        let value = |name: &str| -> Result<u64> {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            Ok(line.with_context(|| format!("no {name}"))?.trim().parse()?)
        };
        Ok(Reads { calls: value("syscr:")?, bytes: value("read_bytes:")? })
    }

    /// What came since, but for the calls by which that was found out.
    pub(crate) fn since(self, before: Reads) -> Reads {
        Reads { calls: self.calls - before.calls, bytes: self.bytes - before.bytes }
    }
}

/// How many calls finding out takes: two that follow each other differ by it.
pub(crate) fn own_calls() -> Result<u64> {
    let before = Reads::of_thread()?;
    Ok(Reads::of_thread()?.since(before).calls)
}
