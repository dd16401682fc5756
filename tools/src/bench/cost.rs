//! Time and processor time of what moves bytes.

use anyhow::Result;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use std::time::Instant;

/// What moving bytes took.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cost {
    /// So many bytes.
    pub bytes: u64,
    /// Megabytes (of a million bytes) a second.
    pub mb_s: f64,
    /// Processor time, user and system, of this process for each gigabyte (of a thousand million bytes).
    pub cpu_s_per_gb: f64,
}

/// Measures what this process does until `what` is done, which answers how many bytes it moved.
///
/// # Errors
/// Those of `what`.
pub fn measured(what: impl FnOnce() -> Result<u64>) -> Result<Cost> {
    let (began, before) = (Instant::now(), cpu_s(UsageWho::RUSAGE_SELF)?);
    let bytes = what()?;
    Ok(Cost {
        bytes,
        mb_s: bytes as f64 / 1e6 / began.elapsed().as_secs_f64(),
        cpu_s_per_gb: (cpu_s(UsageWho::RUSAGE_SELF)? - before) / (bytes as f64 / 1e9),
    })
}

/// Processor seconds, user and system (getrusage(2)).
///
/// # Errors
/// Those of the system.
pub fn cpu_s(who: UsageWho) -> Result<f64> {
    let usage = getrusage(who)?;
    Ok((usage.user_time().num_microseconds() + usage.system_time().num_microseconds()) as f64 / 1e6)
}
