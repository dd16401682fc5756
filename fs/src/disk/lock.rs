//! Keeping a second writer out.
//!
//! An open-file-description lock over the whole file: it belongs to the opening, not to the process, so two
//! openings in one process exclude each other too, and it ends when the last request of a killed process has
//! landed. Readers take no lock. What must not live here: deciding who may write.

use std::fs::File;
use std::os::linux::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

use crate::error::{Error, Result};

/// How long a writer tries by default: requests of a killed process may still be landing.
pub const LOCK_WAIT: Duration = Duration::from_secs(5);
/// Between two tries.
pub(super) const RETRY_INTERVAL: Duration = Duration::from_millis(25);

/// Locks `file` for its only writer, trying for `wait`; the lock ends when the opening is closed.
///
/// # Errors
/// [`Error::Locked`] with the holder where the system tells it; [`Error::Io`] where the filesystem has no locks.
pub(super) fn lock(file: &File, path: &Path, wait: Duration) -> Result<()> {
    let started = Instant::now();
    loop {
        match fcntl(file, FcntlArg::F_OFD_SETLK(&whole_file())) {
            Ok(_) => return Ok(()),
            Err(Errno::EAGAIN | Errno::EACCES) => {}
            Err(Errno::EINTR) => continue,
            Err(errno) => return Err(Error::io("lock for writing", path, errno.into())),
        }
        let left = wait.saturating_sub(started.elapsed());
        if left.is_zero() {
            return Err(Error::Locked { path: path.to_owned(), holder: holder(file) });
        }
        std::thread::sleep(left.min(RETRY_INTERVAL));
    }
}

fn whole_file() -> libc::flock {
    libc::flock {
        l_type: libc::F_WRLCK as i16,
        l_whence: libc::SEEK_SET as i16,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}

/// ` by process N (name)`, or nothing where it cannot be found out.
fn holder(file: &File) -> String {
    let mut found = whole_file();
    let asked = fcntl(file, FcntlArg::F_OFD_GETLK(&mut found));
    // A lock of an open file description has no process to the kernel; its descriptors tell all the same.
    let process = match asked {
        Ok(_) if found.l_type != libc::F_UNLCK as i16 && found.l_pid > 0 => u32::try_from(found.l_pid).ok(),
        _ => search_holder(file),
    };
    let Some(process) = process else { return String::new() };
    match std::fs::read_to_string(format!("/proc/{process}/comm")) {
        Ok(name) => format!(" by process {process} ({})", name.trim_end()),
        Err(_) => format!(" by process {process}"),
    }
}

/// The process with a descriptor that holds such a lock; only those that we may look into are found.
fn search_holder(file: &File) -> Option<u32> {
    let metadata = file.metadata().ok()?;
    let device = metadata.st_dev();
    let (major, minor) = (nix::sys::stat::major(device), nix::sys::stat::minor(device));
    let inode = format!(" {major:02x}:{minor:02x}:{} ", metadata.st_ino());
    let holds = |line: &str| line.starts_with("lock:") && line.contains("OFDLCK") && line.contains(&inode);
    let processes = std::fs::read_dir("/proc").ok()?.flatten();
    let mut numbered = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    numbered.find(|process| {
        let Ok(descriptors) = std::fs::read_dir(format!("/proc/{process}/fdinfo")) else { return false };
        let mut told = descriptors.flatten().filter_map(|entry| std::fs::read_to_string(entry.path()).ok());
        told.any(|told| told.lines().any(holds))
    })
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::process::{Command, Stdio};

    use super::*;
    use crate::disk::testing::scratch;

    #[test]
    fn two_openings_in_one_process_exclude_each_other() {
        let folder = scratch();
        let path = folder.path().join("volume");
        let first = File::create(&path).unwrap();
        let second = File::options().write(true).open(&path).unwrap();
        lock(&first, &path, Duration::ZERO).unwrap();
        let refused = lock(&second, &path, Duration::ZERO).unwrap_err();
        assert!(matches!(&refused, Error::Locked { .. }));
        let us = format!("process {}", std::process::id());
        assert!(refused.to_string().contains(&us), "{refused}");
        // The lock belongs to the opening: a duplicate keeps it, the last close ends it.
        let duplicate = first.try_clone().unwrap();
        drop(first);
        assert!(lock(&second, &path, Duration::ZERO).is_err());
        drop(duplicate);
        // Not at once: a process that another test is just starting has copies of all descriptors for a moment.
        lock(&second, &path, LOCK_WAIT).unwrap();
    }

    #[test]
    fn a_writer_waits_for_one_that_is_about_to_go() {
        let folder = scratch();
        let path = folder.path().join("volume");
        let first = File::create(&path).unwrap();
        lock(&first, &path, Duration::ZERO).unwrap();
        let second = File::options().write(true).open(&path).unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| lock(&second, &path, Duration::from_secs(60)));
            drop(first);
            waiting.join().unwrap().unwrap();
        });
    }

    /// Not a test by itself: the other process of the test below, which holds a lock until its input ends.
    #[test]
    fn child_that_holds_the_lock() {
        let Some(path) = std::env::var_os("KEHA_TEST_LOCK_PATH") else { return };
        let file = File::options().write(true).open(&path).unwrap();
        lock(&file, Path::new(&path), Duration::ZERO).unwrap();
        println!("locked");
        std::io::stdout().flush().unwrap();
        std::io::stdin().lines().for_each(drop);
    }

    #[test]
    fn another_process_is_excluded_and_named_until_it_is_killed() {
        let folder = scratch();
        let path = folder.path().join("volume");
        let file = File::create(&path).unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "disk::lock::tests::child_that_holds_the_lock", "--nocapture"])
            .env("KEHA_TEST_LOCK_PATH", &path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        assert!(said.into_iter().any(|line| line.ends_with("locked")));
        let refused = lock(&file, &path, Duration::ZERO).unwrap_err().to_string();
        assert!(refused.contains(&format!("process {}", child.id())), "{refused}");
        child.kill().unwrap();
        child.wait().unwrap();
        lock(&file, &path, LOCK_WAIT).unwrap();
    }
}
