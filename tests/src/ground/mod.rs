//! The ground that a suite stands on: where its volume lies, and how its recorder is started. Each suite takes it as an argument, and is
//! otherwise the same.
//!
//! | ground | the volume is | its recorder |
//! |---|---|---|
//! | `file` | a file | is started as anybody starts it |
//! | `threads` | a file | writes by threads |
//! | `io_uring` | a file | writes through io_uring, or not at all |
//! | `partition` | a partition of a GPT on a loop device, named by its identity | writes through io_uring, or not at all |
//! | `sandbox` | a file | is under a filter of system calls that refuses io_uring |
//! | `unprivileged` | a file of uid 65534 | is of that user, and may lock 8 MiB of memory |
//!
//! Suites with a disk that fails ([`crate::faulty`]) lay the same volume on that: a file of it, or a partition on a loop device over
//! it. Where a file lies on such a disk or not, whoever records into it and whoever asks about it does so by `launch`.
//!
//! Must not live here: what must hold ([`crate::points`]).

pub(crate) mod launch;
mod partition;
#[cfg(test)]
mod tests;

use crate::faulty::FaultyDisk;
use crate::process::build_dir;
use crate::rig::{self, text};
use anyhow::{Context, Result, bail, ensure};
use launch::{Launch, Registered};
use nix::unistd::{Uid, chown};
use partition::Partition;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Nobody in particular.
const NOBODY: u32 = 65_534;
/// What such a user may lock by default on most systems of today.
const MEMLOCK_BYTES: u64 = 8 << 20;

/// Where a volume lies, and how its recorder is started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ground {
    /// A file, and whatever engine the recorder chooses.
    #[default]
    File,
    /// A file, written by threads.
    Threads,
    /// A file, written through io_uring.
    Uring,
    /// A partition, written through io_uring.
    Partition,
    /// A file, and no io_uring to be had.
    Sandbox,
    /// A file, and few rights.
    Unprivileged,
}

/// Whether the disk below a volume is going to answer nothing for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hangs {
    /// It always answers, be it with errors.
    Never,
    /// It stalls: whoever looks through all disks for a partition waits as well.
    Sometimes,
}

/// A volume that was laid, and all that is below it. Everything is gone when it is dropped, in this order.
pub struct Laid {
    /// How the volume is named.
    pub volume: PathBuf,
    /// Where its bytes are: the same file, or the node of the partition.
    pub raw: PathBuf,
    _launch: Registered,
    partition: Option<Partition>,
    /// The disk that fails, if it lies on one.
    pub disk: Option<Arc<FaultyDisk>>,
}

impl Ground {
    /// All there are.
    pub const ALL: [Ground; 6] = [
        Ground::File,
        Ground::Threads,
        Ground::Uring,
        Ground::Partition,
        Ground::Sandbox,
        Ground::Unprivileged,
    ];

    /// As people name it.
    pub fn name(self) -> &'static str {
        match self {
            Ground::File => "file",
            Ground::Threads => "threads",
            Ground::Uring => "io_uring",
            Ground::Partition => "partition",
            Ground::Sandbox => "sandbox",
            Ground::Unprivileged => "unprivileged",
        }
    }

    /// The ground of that name.
    pub fn named(name: &str) -> Option<Ground> {
        Self::ALL.into_iter().find(|ground| ground.name() == name)
    }

    /// Whether this machine has it; otherwise what is missing.
    pub fn possible(self) -> Result<()> {
        match self {
            Ground::Partition => partition::possible(),
            Ground::Unprivileged => {
                ensure!(nix::unistd::geteuid().is_root(), "being somebody else takes root");
                self.base().map(drop)
            }
            _ => Ok(()),
        }
    }

    /// Whether the volume lies on a filesystem.
    pub fn is_file(self) -> bool {
        self != Ground::Partition
    }

    /// A directory for a test's files on the disk of the build, not on a tmpfs; where the recorder may come, too.
    pub fn scratch(self) -> Result<tempfile::TempDir> {
        let dir = tempfile::tempdir_in(self.base()?)?;
        self.hand_over(dir.path())?;
        Ok(dir)
    }

    fn base(self) -> Result<PathBuf> {
        let base = build_dir()?.join("keha-scratch");
        std::fs::create_dir_all(&base)?;
        let is_open = |dir: &Path| dir.metadata().is_ok_and(|found| found.permissions().mode() & 0o001 != 0);
        match self {
            Ground::Unprivileged if !base.ancestors().all(is_open) => {
                let other = Path::new("/var/tmp");
                ensure!(other.ancestors().all(is_open), "uid {NOBODY} may look into no directory of a disk");
                Ok(other.to_owned())
            }
            _ => Ok(base),
        }
    }

    /// Makes a file or directory the recorder's own.
    fn hand_over(self, path: &Path) -> Result<()> {
        if self == Ground::Unprivileged {
            chown(path, Some(Uid::from_raw(NOBODY)), None).with_context(|| path.display().to_string())?;
        }
        Ok(())
    }

    /// Creates a volume in `dir`.
    pub fn lay(self, dir: &Path, size: &str, streams: usize) -> Result<Laid> {
        if self == Ground::Partition {
            let partition = Partition::shared(dir, size)?;
            return self.on_partition(partition, None, streams);
        }
        let path = dir.join("test.ring");
        self.hand_over(dir)?;
        rig::create_volume(&path, size, streams)?;
        self.adopt(path)
    }

    /// Takes a volume in a file as it is.
    pub fn adopt(self, path: PathBuf) -> Result<Laid> {
        self.hand_over(&path)?;
        self.laid(path, None)
    }

    /// Creates a volume on a disk that fails, which is mounted in `dir`, and well for now.
    pub fn lay_on_faulty(self, dir: &Path, size: &str, streams: usize, hangs: Hangs) -> Result<Laid> {
        if self == Ground::Partition {
            let (disk, partition) = Partition::on_faulty(dir, size, hangs)?;
            return self.on_partition(partition, Some(disk), streams);
        }
        let image = dir.join("test.ring");
        rig::create_volume(&image, size, streams)?;
        let owner = if self == Ground::Unprivileged { NOBODY } else { nix::unistd::getuid().as_raw() };
        let disk = Arc::new(FaultyDisk::mount(dir, &image, owner)?);
        self.laid(disk.volume(), Some(disk))
    }

    fn laid(self, path: PathBuf, disk: Option<Arc<FaultyDisk>>) -> Result<Laid> {
        let _launch = self.launch()?.register(&path);
        Ok(Laid { volume: path.clone(), raw: path, _launch, partition: None, disk })
    }

    fn on_partition(
        self,
        partition: Partition,
        disk: Option<Arc<FaultyDisk>>,
        streams: usize,
    ) -> Result<Laid> {
        let (volume, raw) = (partition.name(), partition.node());
        let streams = streams.to_string();
        let create = ["volume", "create", text(&volume)?, "--streams", &streams];
        crate::process::keha_ok(&create, rig::COMMAND_LIMIT)?;
        let _launch = self.launch()?.register(&volume);
        Ok(Laid { volume, raw, _launch, partition: Some(partition), disk })
    }

    fn launch(self) -> Result<Launch> {
        Ok(match self {
            Ground::File => Launch::default(),
            Ground::Threads => Launch::by_engine("threads"),
            Ground::Uring | Ground::Partition => Launch::by_engine("io_uring"),
            Ground::Sandbox => Launch::confined(&["--no-io-uring"]),
            Ground::Unprivileged => {
                let (uid, memlock) = (NOBODY.to_string(), MEMLOCK_BYTES.to_string());
                Launch::confined(&["--uid", &uid, "--memlock", &memlock]).with_runtime_dir_of(NOBODY)?
            }
        })
    }
}

impl Laid {
    /// The disk that fails.
    pub fn disk(&self) -> Result<Arc<FaultyDisk>> {
        self.disk.clone().context("the volume lies on a disk that does not fail")
    }

    /// Where the volume begins on the disk that fails, bytes.
    pub fn disk_offset(&self) -> u64 {
        if self.partition.is_some() { partition::BEGIN } else { 0 }
    }

    /// Copies all bytes of the volume into a file.
    pub fn copy_to(&self, image: &Path) -> Result<()> {
        let (mut from, mut to) = (std::fs::File::open(&self.raw)?, std::fs::File::create(image)?);
        if std::io::copy(&mut from, &mut to)? == 0 {
            bail!("{} is empty", self.raw.display());
        }
        Ok(())
    }
}
