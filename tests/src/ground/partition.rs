//! A partition of a GPT on a loop device: over a file, or over the file of a disk that fails, past all page caches.
//!
//! Whoever opens a partition by its identity reads the tables of all disks of the machine, and so waits for one that stalls. Therefore
//! a test with such a disk has the partitions of all tests of this machine to itself, by a lock.

use super::Hangs;
use crate::faulty::{self, FaultyDisk};
use crate::loop_device::{Kind, LoopDevice};
use anyhow::{Context, Result, ensure};
use keha_fs::Uuid;
use nix::fcntl::{Flock, FlockArg};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

/// Where the partition begins on its disk.
pub(super) const BEGIN: u64 = 1 << 20;
/// Room for the tables in front and behind.
const TABLES_BYTES: u64 = 4 << 20;
/// Programs of administrators are not everywhere on the path.
const PATH: &str = "/usr/sbin:/sbin:/usr/bin:/bin";

/// Whether this machine lets these tests have a partition; otherwise why not.
pub(super) fn possible() -> Result<()> {
    ensure!(nix::unistd::geteuid().is_root(), "a partition on a loop device needs root");
    ensure!(Path::new("/dev/loop-control").exists(), "a partition needs loop devices");
    Ok(())
}

/// A partition that is meant for a volume, and the device it is on.
pub(super) struct Partition {
    id: Uuid,
    device: LoopDevice,
    _alone: Flock<File>,
}

impl Partition {
    /// One of this size over a file in `dir`.
    pub(super) fn shared(dir: &Path, size: &str) -> Result<Partition> {
        let lock = lock(FlockArg::LockShared)?;
        let image = dir.join("disk.img");
        let id = partitioned(&image, size)?;
        Self::of(&image, id, lock)
    }

    /// One of this size over the file of a disk that fails, mounted in `dir`.
    pub(super) fn on_faulty(dir: &Path, size: &str, hangs: Hangs) -> Result<(Arc<FaultyDisk>, Partition)> {
        faulty::possible()?;
        let lock = lock(match hangs {
            Hangs::Never => FlockArg::LockShared,
            Hangs::Sometimes => FlockArg::LockExclusive,
        })?;
        let image = dir.join("disk.img");
        let id = partitioned(&image, size)?;
        let disk = Arc::new(FaultyDisk::mount(dir, &image, nix::unistd::getuid().as_raw())?);
        let partition = Self::of(&disk.volume(), id, lock)?;
        Ok((disk, partition))
    }

    fn of(backing: &Path, id: Uuid, _alone: Flock<File>) -> Result<Partition> {
        let kind = Kind { sector_bytes: 512, direct: true, partitions: true };
        Ok(Partition { id, device: LoopDevice::attach(backing, kind)?, _alone })
    }

    /// How a volume on it is named.
    pub(super) fn name(&self) -> PathBuf {
        format!("partuuid:{}", self.id).into()
    }

    /// Its node.
    pub(super) fn node(&self) -> PathBuf {
        format!("{}p1", self.device.node()).into()
    }
}

/// Waits until nobody, or nobody with a disk that stalls, has partitions of tests. Whoever waits is let in before those who come later;
/// so nobody who has one may ask for another.
fn lock(kind: FlockArg) -> Result<Flock<File>> {
    let file = |name: &str| {
        let path = std::env::temp_dir().join(name);
        File::options().create(true).append(true).open(&path).with_context(|| path.display().to_string())
    };
    let locked = |name, kind| Flock::lock(file(name)?, kind).map_err(|(_, error)| anyhow::Error::from(error));
    let _next = locked("keha-tests.partitions.next", FlockArg::LockExclusive)?;
    locked("keha-tests.partitions", kind)
}

/// An image of a disk with one partition of this size, meant for a volume; its identity.
fn partitioned(image: &Path, size: &str) -> Result<Uuid> {
    let size_bytes = bytes(size)?;
    File::create(image)?.set_len(size_bytes + TABLES_BYTES)?;
    let id = Uuid::new_v4();
    let mut sgdisk = Command::new("sgdisk");
    sgdisk
        .env("PATH", PATH)
        .arg(format!("--new=1:{}K:+{}K", BEGIN >> 10, size_bytes >> 10))
        .arg("--typecode=1:8200");
    sgdisk.arg(format!("--partition-guid=1:{id}")).arg("--attributes=1:set:63").arg(image);
    let output = sgdisk.output().context("sgdisk")?;
    ensure!(output.status.success(), "sgdisk: {}", String::from_utf8_lossy(&output.stderr));
    Ok(id)
}

/// As `keha volume create --size` is given it.
fn bytes(size: &str) -> Result<u64> {
    let units = [("GiB", 30), ("MiB", 20)];
    let found = units.iter().find_map(|(unit, shift)| Some((size.strip_suffix(unit)?, *shift)));
    let (number, shift) = found.with_context(|| format!("{size} is no size"))?;
    Ok(number.parse::<u64>()? << shift)
}
