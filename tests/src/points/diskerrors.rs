//! A disk that reports errors: in one block, at every flush, at every write, and a filesystem that is full under a sparse
//! volume. Recording goes on or resumes by itself, the ring does not run, and what is missing is what the gap records say.
//!
//! Must not live here: the disk ([`crate::faulty`], [`crate::power`]).

use super::figure;
use super::scene::{LIMIT, Scene, what_is_missing_is_told};
use crate::ground::{Ground, Hangs};
use crate::media::ClipKind;
use crate::power::{self, Mounted};
use crate::process::{Running, now_ns};
use crate::record_json;
use crate::rig::{self, Rig, named};
use crate::wait;
use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use serde_json::Value;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Where writes fail in one block of the first of `count` cameras: it goes on elsewhere and loses nothing, that block is
/// withdrawn, nobody else notices.
pub fn bad_block(ground: Ground, count: usize, kinds: &[ClipKind]) -> Result<()> {
    let scene = Scene::new(ground, count, kinds, "256MiB", Hangs::Never)?;
    let mut recorder = scene.record()?;
    let block_bytes = u64_of(&rig::volume_json("info", &scene.rig.volume)?["volume"]["block_bytes"])?;
    // The one taken last is being written.
    let rows = blocks(&scene.rig.volume)?.into_iter().filter(|row| row["stream"] == "cam01");
    let open = rows.max_by_key(|row| row["sequence"].as_u64()).context("no block of cam01")?;
    let at = scene.rig.laid.disk_offset() + u64_of(&open["at"])?;
    scene.disk.fail_writes(at..at + block_bytes, Errno::EIO);
    let bad = wait::until("the block to be withdrawn", LIMIT, || {
        std::thread::sleep(Duration::from_millis(200));
        Ok(blocks(&scene.rig.volume)?.into_iter().find(|row| row["state"] == "bad"))
    })?;
    ensure!(bad["block"] == open["block"], "block {} was withdrawn, not {}", bad["block"], open["block"]);
    // The fault stays: the block must not be met again.
    std::thread::sleep(Duration::from_secs(4));
    scene.await_health("good")?;
    stop(&scene.rig, &mut recorder, 0)?;
    let rows = blocks(&scene.rig.volume)?;
    let bad: Vec<_> = rows.iter().filter(|row| row["state"] == "bad").collect();
    ensure!(bad.len() == 1, "several blocks are withdrawn: {bad:?}\n{}", recorder.stderr().join("\n"));
    figure(
        "diskerrors",
        &format!("{count} cameras, a block that refuses writes: it alone is withdrawn, nothing lost"),
    );
    Ok(())
}

/// What the disk refuses for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Every flush.
    Flushes,
    /// Every write.
    Writes,
}

/// Flushes or writes all fail for so many seconds: no block is taken meanwhile, and recording resumes by itself without a
/// loss beyond what the gap records say.
pub fn refusing(
    ground: Ground,
    count: usize,
    kinds: &[ClipKind],
    what: Refused,
    error: Errno,
    seconds: u64,
    size: &str,
) -> Result<()> {
    let scene = Scene::new(ground, count, kinds, size, Hangs::Never)?;
    let mut recorder = scene.record()?;
    std::thread::sleep(Duration::from_secs(2));
    match what {
        Refused::Flushes => scene.disk.fail_flushes(error),
        Refused::Writes => scene.disk.fail_writes(0..u64::MAX, error),
    }
    let status = scene.await_health("failing")?;
    let said = status["round"]["health"]["error"].as_str().unwrap_or_default();
    ensure!(said.contains(&told(error)), "the status does not say why: {}", status["round"]["health"]);
    let before = taken(&scene)?;
    let began = std::time::Instant::now();
    while began.elapsed() < Duration::from_secs(seconds) {
        std::thread::sleep(Duration::from_millis(500));
        let status = scene.all_recording()?;
        ensure!(status["round"]["health"]["state"] == "failing", "it says that all is well: {status}");
    }
    let while_failing = taken(&scene)? - before;
    ensure!(while_failing == 0, "{while_failing} blocks were taken while the disk took nothing");
    scene.disk.heal();
    scene.await_health("good")?;
    std::thread::sleep(Duration::from_secs(4));
    let lost = stop(&scene.rig, &mut recorder, u64::MAX)?;
    let withdrawn = blocks(&scene.rig.volume)?.iter().filter(|row| row["state"] == "bad").count();
    ensure!(withdrawn == 0, "{withdrawn} blocks are withdrawn for a fault of the whole disk");
    let (kind, tally) = (format!("{what:?}").to_lowercase(), scene.disk.tally());
    figure(
        "diskerrors",
        &format!(
            "{count} cameras, {kind} refused with {error:?} for {seconds} s ({} refusals): no block taken, {lost} samples left out and told",
            tally.refused
        ),
    );
    Ok(())
}

/// The volume is a sparse file on a filesystem that somebody else fills, then makes room on again.
pub fn full(ground: Ground, count: usize, kinds: &[ClipKind], seconds: u64) -> Result<()> {
    power::possible()?;
    ensure!(ground.is_file(), "there is no filesystem on a {}", ground.name());
    let mut disk = None;
    let rig = Rig::with(ground, &named(count, kinds), |dir| {
        let (whole, made) = (dir.join("whole.ring"), disk.insert(Mounted::make(dir, 96)?));
        rig::create_volume(&whole, "256MiB", count)?;
        let sparse = made.path().join("test.ring");
        crate::probe::run_silent(Command::new("cp").arg("--sparse=always").arg(&whole).arg(&sparse))?;
        ground.adopt(sparse)
    })?;
    let disk = disk.context("no disk")?;
    let mut recorder = rig.record(&[])?;
    record_json::await_durable(&mut recorder, &rig.cameras, Duration::from_secs(60))?;
    let filler = disk.path().join("filler");
    fill(&filler)?;
    await_round(&mut recorder, "failing")?;
    let before = last_round(&recorder)?;
    ensure!(
        before["health"]["error"].as_str().is_some_and(|error| error.contains(&told(Errno::ENOSPC))),
        "the rounds do not say why: {}",
        before["health"]
    );
    std::thread::sleep(Duration::from_secs(seconds));
    let after = last_round(&recorder)?;
    ensure!(after["health"]["state"] == "failing", "it says that all is well: {after}");
    ensure!(after["blocks_taken"] == before["blocks_taken"], "blocks were taken on a full filesystem");
    std::fs::remove_file(&filler)?;
    await_round(&mut recorder, "good")?;
    std::thread::sleep(Duration::from_secs(2));
    let lost = stop(&rig, &mut recorder, u64::MAX)?;
    figure(
        "diskerrors",
        &format!(
            "{count} cameras, no space left under a sparse volume for {seconds} s: {lost} samples left out and told"
        ),
    );
    drop(disk);
    Ok(())
}

/// Fills the filesystem to its last block.
fn fill(filler: &Path) -> Result<()> {
    let mut file = File::create(filler)?;
    let mut size = 1 << 20;
    while size >= 4096 {
        // Durable at once, or the filesystem only promises it.
        let written = file.write_all(&vec![0x5a; size]).and_then(|()| file.sync_data());
        match written {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(Errno::ENOSPC as i32) => size /= 2,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Stops the recorder cleanly and judges: a clean volume, and at most so many samples missing, each of them told; answers how
/// many.
fn stop(rig: &Rig, recorder: &mut Running, lost_max: u64) -> Result<u64> {
    let end_ns = now_ns();
    let status = recorder.terminate(Duration::from_secs(60))?;
    ensure!(status.success(), "SIGTERM: {status}: {}", recorder.stderr().join("\n"));
    rig::assert_check_clean(&rig.volume)?;
    let lost = what_is_missing_is_told(rig, end_ns)?;
    let (dropped, _) = record_json::dropped_and_lost(&recorder.stdout()).context("no totals")?;
    ensure!(dropped == lost, "{dropped} samples were counted as left out, {lost} are missing");
    ensure!(lost <= lost_max, "{lost} samples are missing");
    Ok(lost)
}

fn taken(scene: &Scene) -> Result<u64> {
    u64_of(&scene.all_recording()?["round"]["blocks_taken"])
}

fn blocks(volume: &Path) -> Result<Vec<Value>> {
    Ok(rig::volume_json("blocks", volume)?["blocks"].as_array().context("no blocks")?.clone())
}

fn last_round(recorder: &Running) -> Result<Value> {
    let mut rounds = recorder.json().into_iter().filter(|document| document["event"] == "round");
    rounds.next_back().context("no round")
}

fn await_round(recorder: &mut Running, state: &str) -> Result<()> {
    wait::until(&format!("a round that says that the disk is {state}"), LIMIT, || {
        ensure!(recorder.ended()?.is_none(), "the recorder ended: {}", recorder.stderr().join("\n"));
        std::thread::sleep(Duration::from_millis(200));
        Ok((last_round(recorder)?["health"]["state"] == state).then_some(()))
    })
}

/// An error as the standard library ends its text.
fn told(error: Errno) -> String {
    format!("(os error {})", error as i32)
}

fn u64_of(value: &Value) -> Result<u64> {
    value.as_u64().with_context(|| format!("{value} is no number"))
}
