//! Power cuts of the real binary: the volume lies in an ext4 of its own, which is shut down under the recorder without
//! flushing its log (`EXT4_IOC_SHUTDOWN`), then mounted again. Needs root and a loop device.

use super::figure;
use super::kill::{Life, judge};
use crate::media::ClipKind;
use crate::power::{self, Mounted};
use crate::process::now_ns;
use crate::record_json;
use crate::rig::{self, Rig, named};
use anyhow::{Context, Result};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::time::Duration;

/// The most that may be lost of any stream, seconds.
const LOST_S_MAX: f64 = 1.5;

/// Cuts the power of a recorder of `count` cameras `cuts` times and judges what is left.
pub fn whole(count: usize, kinds: &[ClipKind], cuts: usize, volume_mib: u64, seed: u64) -> Result<()> {
    power::possible()?;
    let mut random = StdRng::seed_from_u64(seed);
    let mut rig = Rig::new(&named(count, kinds), "64MiB")?;
    let disk = Mounted::make(rig.dir.path(), volume_mib + volume_mib / 8 + 32)?;
    rig.volume = disk.path().join("test.ring");
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
