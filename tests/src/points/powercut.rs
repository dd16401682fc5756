//! Power cuts of the real binary, of two kinds. The volume lies in an ext4 of its own, which is shut down under the recorder
//! without flushing its log (`EXT4_IOC_SHUTDOWN`), then mounted again: what a filesystem loses. Or it lies on a disk of
//! these tests that forgets, sector by sector, what was not flushed: what a disk with a cache loses, without the filesystem.

use super::figure;
use super::kill::{Life, judge};
use crate::faulty::{self, Survivors};
use crate::ground::{Ground, Hangs};
use crate::media::ClipKind;
use crate::power::{self, Mounted};
use crate::process::{keha, now_ns};
use crate::record_json;
use crate::rig::{self, COMMAND_LIMIT, Rig, named, text};
use anyhow::{Context, Result, ensure};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::time::Duration;

/// The most that may be lost of any stream, seconds.
const LOST_S_MAX: f64 = 1.5;
/// About as many writes and flushes as opening a volume for writing and closing it takes.
const OPENING_CHANGES: u64 = 20;

/// Cuts the power of a recorder of `count` cameras on an ext4 `cuts` times and judges what is left.
pub fn whole(
    ground: Ground,
    count: usize,
    kinds: &[ClipKind],
    cuts: usize,
    volume_mib: u64,
    seed: u64,
) -> Result<()> {
    power::possible()?;
    ensure!(ground.is_file(), "there is no filesystem on a {}", ground.name());
    let mut disk = None;
    let mut rig = Rig::with(ground, &named(count, kinds), |dir| {
        let made = disk.insert(Mounted::make(dir, volume_mib + volume_mib / 8 + 32)?);
        ground.lay(made.path(), &format!("{volume_mib}MiB"), count)
    })?;
    let disk = disk.context("no disk")?;
    let restore = |_: &mut StdRng| {
        disk.unmount()?;
        disk.mount()
    };
    let cut = |_: &mut StdRng| {
        let end_ns = now_ns();
        disk.cut()?;
        Ok(end_ns)
    };
    let worst = cycles(&mut rig, cuts, seed, cut, restore)?;
    figure("powercut", &told(count, cuts, "of an ext4", seed, worst));
    Ok(())
}

/// Cuts the power of a recorder of `count` cameras `cuts` times on a disk that keeps of all that was not flushed what it
/// likes, and judges what is left.
pub fn sectors(
    ground: Ground,
    count: usize,
    kinds: &[ClipKind],
    cuts: usize,
    volume_mib: u64,
    seed: u64,
) -> Result<()> {
    faulty::possible()?;
    let size = format!("{volume_mib}MiB");
    let mut rig = Rig::on_faulty(ground, &named(count, kinds), &size, Hangs::Never)?;
    let disk = rig.laid.disk()?;
    let mut all = Survivors::default();
    // Somewhere within the next rounds: between them everything is durable.
    let cut = |random: &mut StdRng| disk.cut_at_change(random.random_range(1..=6 * (count as u64 + 4)));
    let (volume, camera) = (rig.volume.clone(), rig.cameras[0].name.clone());
    let mut openings = 0;
    let restore = |random: &mut StdRng| {
        let mut back = |random: &mut StdRng| -> Result<()> {
            let survivors = disk.restore(random)?;
            all.volatile += survivors.volatile;
            all.kept += survivors.kept;
            Ok(())
        };
        back(random)?;
        // Cut off again while the volume is being opened for writing, which recovers it.
        while random.random_bool(0.4) {
            disk.arm_cut(random.random_range(1..=OPENING_CHANGES));
            let arguments = ["stream", "set", text(&volume)?, &camera, "--max-age", "none"];
            keha(&arguments, COMMAND_LIMIT)?;
            disk.cut();
            back(random)?;
            openings += 1;
        }
        Ok(())
    };
    let worst = cycles(&mut rig, cuts, seed, cut, restore)?;
    let tally = disk.tally();
    ensure!(cuts < 3 || all.volatile > all.kept, "no cut lost anything: {all:?}, {tally:?}");
    figure(
        "powercut",
        &format!(
            "{}; {openings} more cuts of openings; {} sectors were not flushed at the cuts, {} of them kept",
            told(count, cuts, "that lose single sectors", seed, worst),
            all.volatile,
            all.kept
        ),
    );
    Ok(())
}

fn told(count: usize, cuts: usize, kind: &str, seed: u64, worst: f64) -> String {
    format!(
        "{count} cameras, {cuts} cuts {kind} (seed {seed}): worst loss {worst:.3} s, all durable samples there"
    )
}

/// Records, cuts (`cut` answers when, Unix nanoseconds), restores, checks, again and again, stops cleanly at last; answers the worst loss of a life that was cut.
fn cycles(
    rig: &mut Rig,
    cuts: usize,
    seed: u64,
    cut: impl Fn(&mut StdRng) -> Result<u64>,
    mut restore: impl FnMut(&mut StdRng) -> Result<()>,
) -> Result<f64> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut lives = Vec::new();
    for number in 0..cuts {
        let mut recorder = rig.record(&[])?;
        record_json::await_durable(&mut recorder, &rig.cameras, Duration::from_secs(60))
            .with_context(|| format!("life {number}"))?;
        // The instant of the fault is drawn, it does not stand for a condition.
        std::thread::sleep(Duration::from_millis(random.random_range(0..3000)));
        let end_ns = cut(&mut random)?;
        recorder.kill()?;
        // What was reported between the cut and the kill was durable before it, or must not have been reported.
        lives.push(Life { end_ns, durable: record_json::last_durable(&recorder.stdout()) });
        rig.await_quiet()?;
        restore(&mut random)?;
        rig::assert_check_clean(&rig.volume).with_context(|| format!("after cut {number} (seed {seed})"))?;
    }
    let mut recorder = rig.record(&[])?;
    record_json::await_durable(&mut recorder, &rig.cameras, Duration::from_secs(60))?;
    let end_ns = now_ns();
    let status = recorder.terminate(Duration::from_secs(30))?;
    ensure!(status.success(), "SIGTERM: {status}: {}", recorder.stderr().join("\n"));
    lives.push(Life { end_ns, durable: record_json::last_durable(&recorder.stdout()) });
    rig::assert_check_clean(&rig.volume)?;
    Ok(judge(rig, &lives, LOST_S_MAX)?.0)
}
