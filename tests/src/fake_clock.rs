//! A wall clock of a process' own, set while it runs (libfaketime, preloaded). The machine's clock is not touched, and the
//! process' steady clock stays true.
//!
//! Must not live here: what a recorder ought to do about it ([`crate::points::clocks`]).

use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Whether this machine has what it takes; otherwise what is missing.
pub fn possible() -> Result<()> {
    library().map(drop)
}

fn library() -> Result<PathBuf> {
    let places = ["x86_64-linux-gnu", "aarch64-linux-gnu"]
        .map(|machine| Path::new("/usr/lib").join(machine).join("faketime/libfaketimeMT.so.1"));
    places.into_iter().find(|path| path.exists()).context("a clock of its own needs the package faketime")
}

/// The clock of the processes that were given it.
pub struct FakeClock {
    file: PathBuf,
    library: PathBuf,
}

impl FakeClock {
    /// A clock that is right; its file is in `dir`.
    pub fn new(dir: &Path) -> Result<Self> {
        let clock = Self { file: dir.join("clock"), library: library()? };
        clock.set(0.0, 0)?;
        Ok(clock)
    }

    /// From now on it is wrong by so many seconds, and gains so many millionths, counted from each process' own start.
    pub fn set(&self, off_s: f64, drift_ppm: i32) -> Result<()> {
        let rate = 1.0 + f64::from(drift_ppm) / 1e6;
        let drift = if drift_ppm == 0 { String::new() } else { format!(" x{rate:.6}") };
        // Never half written: it is read at every look at the clock.
        let new = self.file.with_extension("new");
        std::fs::write(&new, format!("{off_s:+.6}{drift}\n"))?;
        Ok(std::fs::rename(new, &self.file)?)
    }

    /// Gives it to a process that is about to start.
    pub fn give(&self, command: &mut Command) -> Result<()> {
        ensure!(std::env::var_os("LD_PRELOAD").is_none(), "LD_PRELOAD is in use");
        command
            .env("LD_PRELOAD", &self.library)
            .env("FAKETIME_TIMESTAMP_FILE", &self.file)
            .env("FAKETIME_NO_CACHE", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .env("NO_FAKE_STAT", "1");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ground::launch::confined;
    use crate::process::now_ns;
    use std::os::unix::fs::PermissionsExt;

    const DATE: &str = "/usr/bin/date";

    /// By how much this program's clock is off, s.
    fn off_s(mut date: Command, clock: &FakeClock) -> i64 {
        date.arg("+%s");
        clock.give(&mut date).unwrap();
        let output = date.output().unwrap();
        let told = String::from_utf8(output.stdout).unwrap();
        let seen_s: i64 = told.trim().parse().unwrap_or_else(|_| panic!("{told:?}: {:?}", output.stderr));
        seen_s - now_ns() as i64 / 1_000_000_000
    }

    #[test]
    fn a_process_sees_the_time_that_is_set_and_this_one_does_not() {
        if !crate::tried::is_possible(possible) {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let clock = FakeClock::new(dir.path()).unwrap();
        for off_s in [0, -86_400, 315_576_000] {
            clock.set(off_s as f64, 200).unwrap();
            let off = self::off_s(Command::new(DATE), &clock);
            assert!((off - off_s).abs() <= 2, "{off} instead of {off_s}");
        }
    }

    #[test]
    fn a_process_that_becomes_another_user_sees_it_too() {
        let is_root = || {
            ensure!(nix::unistd::getuid().is_root(), "only root becomes another user");
            possible()
        };
        if !crate::tried::is_possible(is_root) {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let clock = FakeClock::new(dir.path()).unwrap();
        clock.set(-86_400.0, 0).unwrap();
        let off = off_s(confined(&["--uid", "65534"], Path::new(DATE)), &clock);
        assert!((off + 86_400).abs() <= 2, "{off}");
    }
}
