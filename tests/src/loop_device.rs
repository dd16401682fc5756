//! A loop device over a file, for the tests of whichever crate needs a block device: detached whatever happens.
//!
//! Its owner keeps it open and has it detached at the last close: so it goes with its owner, however that ends, SIGKILL included, as
//! soon as nobody else has it open either. Needs root and `losetup`; nothing but the standard library, because tests of several crates
//! take this very file in (`#[path]`).
//!
//! Must not live here: what is on it.

use std::fs::File;
use std::io;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// How long others may keep a device open that is to go: somebody who looks through all disks.
const DETACH_LIMIT: Duration = Duration::from_secs(10);

/// What kind of device.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    /// The size of a sector, bytes.
    pub(crate) sector_bytes: u32,
    /// Past the page cache of the file.
    pub(crate) direct: bool,
    /// Its partitions are known to the kernel from the start, and no more when it goes.
    pub(crate) partitions: bool,
}

/// An attached device.
#[derive(Debug)]
pub(crate) struct LoopDevice {
    node: String,
    open: Option<File>,
    /// Whether its partitions go with it.
    partitions: bool,
}

impl LoopDevice {
    /// Attaches `file`.
    ///
    /// # Errors
    /// What `losetup` says, where there is none or it may not.
    pub(crate) fn attach(file: &Path, kind: Kind) -> io::Result<LoopDevice> {
        let mut losetup = Command::new("losetup");
        losetup.args(["--find", "--show"]).arg(format!("--sector-size={}", kind.sector_bytes));
        losetup.args(kind.direct.then_some("--direct-io=on")).args(kind.partitions.then_some("--partscan"));
        let node = said(losetup.arg(file))?;
        let open = File::open(&node);
        // As long as it is open it stays, and then it goes.
        said(Command::new("losetup").args(["--detach", &node]))?;
        let device = LoopDevice { node, open: Some(open?), partitions: kind.partitions };
        if kind.partitions {
            // Not every kernel reads such tables by itself.
            said(Command::new("partx").args(["--update", &device.node]))?;
        }
        Ok(device)
    }

    /// Its node, `/dev/loop3`.
    pub(crate) fn node(&self) -> &str {
        &self.node
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        let disk = Path::new("/sys/block").join(self.node.trim_start_matches("/dev/"));
        let since = Instant::now();
        // Those that the kernel was told of by hand would be there for the next file on this device. What somebody has open stays.
        while !self.partitions && has_partitions(&disk) && since.elapsed() < DETACH_LIMIT {
            let _refused = Command::new("partx").args(["--delete", &self.node]).output();
            std::thread::sleep(Duration::from_millis(10));
        }
        drop(self.open.take());
        let attached = disk.join("loop/backing_file");
        let since = Instant::now();
        while attached.exists() {
            if since.elapsed() > DETACH_LIMIT {
                eprintln!("{} stays attached until whoever has it open closes it", self.node);
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Whether the kernel has partitions of this disk, a folder each within its own.
fn has_partitions(disk: &Path) -> bool {
    let Ok(entries) = disk.read_dir() else { return false };
    entries.flatten().any(|entry| entry.path().join("partition").exists())
}

/// What a program answers that must succeed.
fn said(command: &mut Command) -> io::Result<String> {
    let output = command.output()?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(io::Error::other(format!("{}: {why}", command.get_program().display())));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
