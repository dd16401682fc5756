//! What processes cost: CPU time and memory, as the kernel counts them.

use anyhow::{Context, Result};
use keha_bench::cpu_s;
use nix::sys::resource::UsageWho;
use nix::sys::time::TimeValLike;
use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

/// CPU seconds, user and system, of all children that have ended and been waited for.
pub fn children_cpu_s() -> Result<f64> {
    cpu_s(UsageWho::RUSAGE_CHILDREN)
}

/// CPU seconds, user and system, of all threads of this process.
pub fn own_cpu_s() -> Result<f64> {
    cpu_s(UsageWho::RUSAGE_SELF)
}

/// The most memory a living process has had resident, bytes (proc(5) `status`, VmHWM).
pub fn resident_peak_bytes(pid: u32) -> Result<u64> {
    memory(pid, "VmHWM:")
}

/// CPU seconds, user and system, of a living process (proc(5) `stat`).
pub fn process_cpu_s(pid: u32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, fields) = stat.rsplit_once(')').context("no fields")?;
    let mut ticks = fields.split_whitespace().skip(11).take(2);
    let mut next = || -> Result<f64> { Ok(ticks.next().context("too few fields")?.parse()?) };
    Ok((next()? + next()?) / 100.0)
}

/// The same to the microsecond, of all its threads, also those that have ended (clock_getcpuclockid(3)).
pub fn process_cpu_fine_s(pid: u32) -> Result<f64> {
    let clock = clock_getcpuclockid(Pid::from_raw(i32::try_from(pid)?))?;
    Ok(clock_gettime(clock)?.num_microseconds() as f64 / 1e6)
}

/// The memory that a living process has resident, bytes (proc(5) `status`, VmRSS).
pub fn resident_bytes(pid: u32) -> Result<u64> {
    memory(pid, "VmRSS:")
}

fn memory(pid: u32, which: &str) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(which));
    let kibibytes: u64 = line.context("no such field")?.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kibibytes * 1024)
}
