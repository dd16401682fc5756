//! A disk whose power can be cut: an ext4 of its own in a file, shut down without flushing its log
//! (`EXT4_IOC_SHUTDOWN`). Needs root and a loop device.

use crate::probe::run_silent;
use anyhow::{Result, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Whether this machine lets these tests make and mount a filesystem; otherwise why not.
pub fn possible() -> Result<()> {
    ensure!(nix::unistd::geteuid().is_root(), "a power cut needs root to mount a filesystem of its own");
    ensure!(Path::new("/dev/loop-control").exists(), "a power cut needs loop devices");
    Ok(())
}

/// An ext4 in a file, mounted; unmounted when dropped.
pub struct Mounted {
    image: PathBuf,
    at: PathBuf,
}

impl Mounted {
    /// Makes and mounts one of this size in `dir`.
    pub fn make(dir: &Path, mebibytes: u64) -> Result<Self> {
        let image = dir.join("disk.img");
        std::fs::File::create(&image)?.set_len(mebibytes << 20)?;
        let mkfs = Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image).env("PATH", PATH).output()?;
        ensure!(mkfs.status.success(), "mkfs.ext4: {}", String::from_utf8_lossy(&mkfs.stderr));
        let at = dir.join("disk");
        std::fs::create_dir(&at)?;
        let mounted = Self { image, at };
        mounted.mount()?;
        Ok(mounted)
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.at
    }

    /// Mounts it again.
    pub fn mount(&self) -> Result<()> {
        // A log written rarely: what nobody asked to be durable is really lost at the cut.
        run_silent(Command::new("mount").args(["-o", "loop,commit=60"]).arg(&self.image).arg(&self.at))
            .map(drop)
    }

    /// Unmounts it, which a filesystem that was cut allows too.
    pub fn unmount(&self) -> Result<()> {
        // Held for a moment by the last requests of the recorder that was just killed.
        crate::wait::until("the filesystem to be unmounted", Duration::from_secs(20), || {
            Ok(Command::new("umount").arg(&self.at).output()?.status.success().then_some(()))
        })
    }

    /// The cut: from here on nothing reaches the disk, and what the log had not written is gone.
    pub fn cut(&self) -> Result<()> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/power_cut.py");
        run_silent(Command::new("/usr/bin/python3").arg(script).arg(&self.at)).map(drop)
    }
}

const PATH: &str = "/usr/sbin:/sbin:/usr/bin:/bin";

impl Drop for Mounted {
    fn drop(&mut self) {
        // After a failure in between; a second unmount of what is not mounted does no harm.
        Command::new("umount").arg("-l").arg(&self.at).output().ok();
    }
}
