//! A disk of a test's own: a loop device over a file, with partitions that the kernel knows of. Taken away at the end, whatever happens.

use crate::loop_device::{Kind, LoopDevice};
use keha_fs::{Uuid, partition};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// Swap, without which nothing is created.
pub(crate) const SWAP: &str = "8200";
pub(crate) const MIB: u64 = 1 << 20;

pub(crate) struct Disk {
    folder: TempDir,
    sector_bytes: u32,
    device: Option<LoopDevice>,
}

/// Runs a program that must succeed; what it says.
pub(crate) fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().expect("the program runs");
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
    said
}

impl Disk {
    /// An empty disk, or why there is none: the test is then skipped.
    pub(crate) fn new(sector_bytes: u32, mebibytes: u64) -> Option<Disk> {
        let output = std::env::current_exe().expect("this test");
        let folder = TempDir::new_in(output.parent().expect("a folder")).expect("a folder");
        File::create(folder.path().join("image"))
            .and_then(|file| file.set_len(mebibytes * MIB))
            .expect("an image");
        let mut disk = Disk { folder, sector_bytes, device: None };
        disk.attach().then_some(disk)
    }

    /// A disk with one partition, meant for a volume and known to the kernel.
    pub(crate) fn with_partition(sector_bytes: u32, mebibytes: u64) -> Option<(Disk, Uuid)> {
        let disk = Disk::new(sector_bytes, mebibytes)?;
        let id = Uuid::new_v4();
        disk.make(1, SWAP, id);
        run("partx", &["-a", &disk.node()]);
        Some((disk, id))
    }

    /// Makes a partition of all that is left but a MiB at the end, that no system uses by itself.
    pub(crate) fn make(&self, number: u32, kind: &str, id: Uuid) {
        let [new, kind, id] =
            [format!("{number}:0:-1M"), format!("{number}:{kind}"), format!("{number}:{id}")];
        let auto = format!("{number}:set:63");
        run(
            "sgdisk",
            &[
                "--new",
                &new,
                "--typecode",
                &kind,
                "--partition-guid",
                &id,
                "--attributes",
                &auto,
                &self.node(),
            ],
        );
    }

    pub(crate) fn attributes(&self, number: u32, change: &str) {
        run("sgdisk", &["--attributes", &format!("{number}:{change}"), &self.node()]);
    }

    pub(crate) fn attach(&mut self) -> bool {
        let kind = Kind { sector_bytes: self.sector_bytes, direct: false, partitions: false };
        match LoopDevice::attach(&self.image(), kind) {
            Ok(device) => {
                self.device = Some(device);
                true
            }
            Err(error) => {
                eprintln!("skipped: no loop device to be had ({error})");
                false
            }
        }
    }

    pub(crate) fn detach(&mut self) {
        self.device = None;
    }

    pub(crate) fn image(&self) -> PathBuf {
        self.folder.path().join("image")
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The disk's node.
    pub(crate) fn node(&self) -> String {
        self.device.as_ref().expect("it is attached").node().to_owned()
    }

    /// The node of a partition.
    pub(crate) fn part(&self, number: u32) -> PathBuf {
        format!("{}p{number}", self.node()).into()
    }
}

/// How a partition is named.
pub(crate) fn named(id: Uuid) -> PathBuf {
    format!("{}{id}", partition::PREFIX).into()
}
