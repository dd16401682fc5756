//! What tests of real files share: a folder on a real disk, and small filesystems of a chosen kind.

use std::path::{Path, PathBuf};
use std::process::Command;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use tempfile::TempDir;

#[path = "../../../tests/src/loop_device.rs"]
mod loop_device;

/// A folder on the filesystem of the build's output: a temporary one in memory may treat direct I/O differently.
pub(super) fn scratch() -> TempDir {
    let output = std::env::current_exe().unwrap();
    TempDir::new_in(output.parent().unwrap()).unwrap()
}

/// A mounted filesystem; unmounted at the end.
pub(super) struct Mounted {
    folder: TempDir,
    _device: Option<LoopDevice>,
}

impl Mounted {
    /// Mounts one in memory of `kind`, or says why it cannot and returns `None`: the test is then skipped.
    pub(super) fn new(kind: &str, options: &str) -> Option<Self> {
        Self::mount(None, kind, options)
    }

    /// Makes one of `kind` in a file and mounts it, or says why it cannot.
    pub(super) fn formatted(kind: &str, image: &Path) -> Option<Self> {
        let made = Command::new(format!("mkfs.{kind}")).arg("-q").arg(image).status();
        if !made.as_ref().is_ok_and(std::process::ExitStatus::success) {
            eprintln!("skipped: no {kind} can be made here ({made:?})");
            return None;
        }
        Self::mount(Some(LoopDevice::new(image)?), kind, "")
    }

    fn mount(device: Option<LoopDevice>, kind: &str, options: &str) -> Option<Self> {
        let folder = scratch();
        let source = device.as_ref().map_or(Path::new("none"), LoopDevice::path);
        match mount(Some(source), folder.path(), Some(kind), MsFlags::empty(), Some(options)) {
            Ok(()) => Some(Self { folder, _device: device }),
            Err(errno) => {
                eprintln!("skipped: a {kind} cannot be mounted by this process here ({errno})");
                None
            }
        }
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn file(&self, name: &str, size_bytes: u64) -> PathBuf {
        let path = self.path().join(name);
        std::fs::File::create(&path).unwrap().set_len(size_bytes).unwrap();
        path
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Detached: a process that another test is just starting may still have our files open.
        if let Err(errno) = umount2(self.folder.path(), MntFlags::MNT_DETACH) {
            eprintln!("{} stays mounted: {errno}", self.folder.path().display());
        }
    }
}

/// A block device over a file; detached at the end.
pub(super) struct LoopDevice(loop_device::LoopDevice);

impl LoopDevice {
    /// Attaches `file`, or says why it cannot and returns `None`: the test is then skipped.
    pub(super) fn new(file: &Path) -> Option<Self> {
        Self::with_sectors_of(file, 512)
    }

    /// As [`LoopDevice::new`], with sectors of this size.
    pub(super) fn with_sectors_of(file: &Path, bytes: u32) -> Option<Self> {
        let kind = loop_device::Kind { sector_bytes: bytes, direct: true, partitions: false };
        let device = loop_device::LoopDevice::attach(file, kind);
        device.inspect_err(|error| eprintln!("skipped: no loop device to be had ({error})")).ok().map(Self)
    }

    pub(super) fn path(&self) -> &Path {
        Path::new(self.0.node())
    }
}
