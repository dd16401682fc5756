//! Power cuts of the real binary: the volume lies in an ext4 of its own, which is shut down under the recorder without
//! flushing its log (`EXT4_IOC_SHUTDOWN`), then mounted again. Needs root and a loop device.

use super::figure;
use super::kill::{Life, judge};
use crate::media::ClipKind;
use crate::probe::run_silent;
use crate::process::now_ns;
use crate::record_json;
use crate::rig::{self, Rig, named};
use anyhow::{Context, Result, ensure};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The most that may be lost of any stream, seconds.
const LOST_S_MAX: f64 = 1.5;

/// Whether this machine lets these tests make and mount a filesystem; otherwise why not.
pub fn possible() -> Result<()> {
    ensure!(nix::unistd::geteuid().is_root(), "a power cut needs root to mount a filesystem of its own");
    ensure!(Path::new("/dev/loop-control").exists(), "a power cut needs loop devices");
    Ok(())
}

/// An ext4 in a file, mounted; unmounted when dropped.
struct Mounted {
    image: PathBuf,
    at: PathBuf,
}

impl Mounted {
    fn make(dir: &Path, mebibytes: u64) -> Result<Self> {
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

    fn mount(&self) -> Result<()> {
        run_silent(Command::new("mount").args(["-o", "loop"]).arg(&self.image).arg(&self.at)).map(drop)
    }

    fn unmount(&self) -> Result<()> {
        // Held for a moment by the last requests of the recorder that was just killed.
        crate::wait::until("the filesystem to be unmounted", Duration::from_secs(20), || {
            Ok(Command::new("umount").arg(&self.at).output()?.status.success().then_some(()))
        })
    }

    /// The cut: from here on nothing reaches the disk, and what the log had not written is gone.
    fn cut(&self) -> Result<()> {
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

/// Cuts the power of a recorder of `count` cameras `cuts` times and judges what is left.
pub fn whole(count: usize, kinds: &[ClipKind], cuts: usize, volume_mib: u64, seed: u64) -> Result<()> {
    possible()?;
    let mut random = StdRng::seed_from_u64(seed);
    let mut rig = Rig::new(&named(count, kinds), "64MiB")?;
    let disk = Mounted::make(rig.dir.path(), volume_mib + volume_mib / 8 + 32)?;
    rig.volume = disk.at.join("test.ring");
    rig::create_volume(&rig.volume, &format!("{volume_mib}MiB"), count)?;
    let mut lives = Vec::new();
    for number in 0..cuts {
        let mut recorder = rig.record(&[])?;
        record_json::await_durable(&mut recorder, &rig.cameras, Duration::from_secs(60))
            .with_context(|| format!("life {number}"))?;
        std::thread::sleep(Duration::from_millis(random.random_range(0..3000)));
        let end_ns = now_ns();
        let durable = record_json::last_durable(&recorder.stdout());
        disk.cut()?;
        recorder.kill()?;
        lives.push(Life { end_ns, durable });
        rig.await_quiet()?;
        disk.unmount()?;
        disk.mount()?;
        rig::assert_check_clean(&rig.volume).with_context(|| format!("after cut {number}"))?;
    }
    let mut recorder = rig.record(&[])?;
    record_json::await_durable(&mut recorder, &rig.cameras, Duration::from_secs(60))?;
    let end_ns = now_ns();
    recorder.terminate(Duration::from_secs(30))?;
    lives.push(Life { end_ns, durable: record_json::last_durable(&recorder.stdout()) });
    let (worst, _) = judge(&rig, &lives, LOST_S_MAX)?;
    figure(
        "powercut",
        &format!(
            "{count} cameras, {cuts} cuts (seed {seed}): worst loss {worst:.3} s, all durable samples there"
        ),
    );
    drop(disk);
    Ok(())
}
