//! A disk that can be pulled away and plugged in again: a partition on a loop device over a file of the faulty filesystem.
//!
//! Must not live here: who records into it.

use crate::faulty::FaultyDisk;
use crate::loop_device::{Kind, LoopDevice};
use crate::process::{keha_ok, now_ns};
use crate::rig::{self, COMMAND_LIMIT, scratch, text};
use anyhow::{Context, Result, ensure};
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::path::PathBuf;
use std::process::Command;
use std::thread::JoinHandle;

/// The disk, and what is plugged in of it.
pub(super) struct Plugged {
    device: Option<LoopDevice>,
    /// Waits until nobody has what was pulled away open any more.
    going: Option<JoinHandle<()>>,
    pub(super) disk: FaultyDisk,
    pub(super) volume: PathBuf,
    /// The disk that was there before, with all that still looks at it.
    before: Vec<FaultyDisk>,
    dir: tempfile::TempDir,
}

impl Plugged {
    /// A volume on a partition.
    pub(super) fn partition(bytes: u64, streams: usize) -> Result<Plugged> {
        let dir = scratch()?;
        let image = dir.path().join("disk");
        std::fs::File::create(&image)?.set_len(bytes + (4 << 20))?;
        let disk = FaultyDisk::mount(dir.path(), &image, nix::unistd::getuid().as_raw())?;
        let device = attach(&disk, false)?;
        let sgdisk = |arguments: &[&str]| -> Result<String> {
            let output = Command::new("sgdisk").args(arguments).arg(device.node()).output()?;
            ensure!(output.status.success(), "sgdisk: {}", String::from_utf8_lossy(&output.stderr));
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        };
        sgdisk(&["--new=1:0:0", "--typecode=1:8200", "--attributes=1:set:63"])?;
        let info = sgdisk(&["--info=1"])?;
        let id = info.lines().find_map(|line| line.strip_prefix("Partition unique GUID: "));
        let id = id.with_context(|| format!("no identity: {info}"))?.trim().to_lowercase();
        let updated = Command::new("partx").args(["--update", device.node()]).status()?;
        ensure!(updated.success(), "partx: {updated}");
        let volume = PathBuf::from(format!("partuuid:{id}"));
        let streams = streams.to_string();
        keha_ok(&["volume", "create", text(&volume)?, "--streams", &streams], COMMAND_LIMIT)?;
        Ok(Plugged { device: Some(device), going: None, disk, volume, before: Vec::new(), dir })
    }

    /// A volume in the file itself.
    pub(super) fn file(bytes: u64) -> Result<Plugged> {
        let dir = scratch()?;
        let image = dir.path().join("disk");
        rig::create_volume(&image, &format!("{}MiB", bytes >> 20), 8)?;
        let disk = FaultyDisk::mount(dir.path(), &image, nix::unistd::getuid().as_raw())?;
        let volume = disk.volume();
        Ok(Plugged { device: None, going: None, disk, volume, before: Vec::new(), dir })
    }

    /// It is pulled away; answers when, Unix nanoseconds.
    pub(super) fn pull(&mut self) -> Result<i64> {
        let at = i64::try_from(now_ns())?;
        self.disk.cut();
        if let Some(device) = self.device.take() {
            // It goes when the last one has closed it, and waits for that.
            self.going = Some(std::thread::spawn(move || drop(device)));
        }
        Ok(at)
    }

    /// It is plugged in again. What was not flushed when it went may be lost.
    pub(super) fn plug_in(&mut self) -> Result<()> {
        if let Some(going) = self.going.take() {
            ensure!(going.join().is_ok(), "the device that was pulled away");
        }
        self.disk.restore(&mut StdRng::seed_from_u64(3))?;
        self.device = Some(attach(&self.disk, true)?);
        Ok(())
    }

    /// The same while somebody still has the device open that was pulled away: that one answers nothing but errors for ever.
    pub(super) fn plug_in_anew(&mut self) -> Result<()> {
        let again = self.dir.path().join("again");
        std::fs::create_dir(&again)?;
        let image = self.dir.path().join("disk");
        let disk = FaultyDisk::mount(&again, &image, nix::unistd::getuid().as_raw())?;
        self.before.push(std::mem::replace(&mut self.disk, disk));
        self.device = Some(attach(&self.disk, true)?);
        Ok(())
    }
}

/// Plugs it in, with or without partitions on it.
fn attach(disk: &FaultyDisk, partitions: bool) -> Result<LoopDevice> {
    let kind = Kind { sector_bytes: 512, direct: true, partitions };
    LoopDevice::attach(&disk.volume(), kind).context("a loop device over the faulty disk")
}
