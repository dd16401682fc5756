//! A disk that stops answering: for seconds, which costs nothing; for a minute, which costs what the gap records say, in whole
//! GOPs; for ever, which ends no recorder until it is told to end, and then it ends.
//!
//! Must not live here: the disk ([`crate::faulty`]).

use super::figure;
use super::kill::{Life, judge};
use super::scene::{LIMIT, Scene, what_is_missing_is_told};
use crate::ground::{Ground, Hangs};
use crate::media::ClipKind;
use crate::process::{Running, now_ns};
use crate::record_json;
use crate::rig;
use crate::usage;
use crate::wait;
use anyhow::{Context, Result, ensure};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::Value;
use std::time::{Duration, Instant};

/// What may wait for the disk by default, over all streams, bytes.
const BUFFER_BYTES: u64 = 256 << 20;
/// The most a stall may add to the memory of the recorder: what waits, the same once more on its way to the disk, and the
/// newest samples for readers.
const GROWTH_BYTES_MAX: u64 = 2 * BUFFER_BYTES + (64 << 20);

/// Pictures between two keyframes of the clips that are used here.
const GROUP: u64 = 25;

/// The disk stalls for so many seconds under `count` cameras, which their buffers must bridge if `lossless`.
pub fn whole(
    ground: Ground,
    count: usize,
    kinds: &[ClipKind],
    seconds: u64,
    size: &str,
    lossless: bool,
) -> Result<()> {
    let scene = Scene::new(ground, count, kinds, size, Hangs::Sometimes)?;
    let mut recorder = scene.record()?;
    std::thread::sleep(Duration::from_secs(5));
    let before = usage::resident_peak_bytes(recorder.id())?;
    let stall = scene.disk.stall();
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(seconds) {
        std::thread::sleep(Duration::from_secs(1));
        scene.all_recording()?;
    }
    drop(stall);
    scene.await_health("good")?;
    std::thread::sleep(Duration::from_secs(5));
    let grown = usage::resident_peak_bytes(recorder.id())?.saturating_sub(before);
    let end_ns = now_ns();
    let status = recorder.terminate(Duration::from_secs(60))?;
    ensure!(status.success(), "SIGTERM: {status}: {}", recorder.stderr().join("\n"));
    rig::assert_check_clean(&scene.rig.volume)?;
    let lost = what_is_missing_is_told(&scene.rig, end_ns)?;
    ensure!(!lossless || lost == 0, "{lost} samples are lost by a stall of {seconds} s");
    ensure!(lossless || lost > 0, "a stall of {seconds} s lost nothing: this proves nothing");
    let (dropped, _) = record_json::dropped_and_lost(&recorder.stdout()).context("no totals")?;
    ensure!(dropped == lost, "{dropped} samples were counted as left out, {lost} are missing");
    is_fair(&scene.rig, &recorder.stdout())?;
    ensure!(grown <= GROWTH_BYTES_MAX, "memory grew by {grown} bytes");
    figure(
        "stalls",
        &format!(
            "{count} cameras, {seconds} s: {lost} samples left out, all of them told; memory grew by {} MiB",
            grown >> 20
        ),
    );
    Ok(())
}

/// Cameras that send the same leave out about the same: no more than two groups of pictures apart, for each goes on at a keyframe
/// of its own.
fn is_fair(rig: &rig::Rig, lines: &[String]) -> Result<()> {
    let dropped = record_json::dropped_by_stream(lines).context("no totals")?;
    for camera in &rig.cameras {
        let alike = rig.cameras.iter().filter(|other| other.clip.path == camera.clip.path);
        let of = |name: &str| dropped.iter().find(|(stream, _)| stream == name).map(|(_, count)| *count);
        let counts: Vec<u64> = alike.filter_map(|other| of(&other.name)).collect();
        let (least, most) =
            (counts.iter().min().context("no count")?, counts.iter().max().context("no count")?);
        ensure!(most - least <= 2 * GROUP, "of cameras alike some leave out more than others: {counts:?}");
    }
    Ok(())
}

/// The disk never answers again: the recorder says so, keeps its cameras, answers, and ends when it is told to.
pub fn for_ever(ground: Ground, count: usize, kinds: &[ClipKind], seed: u64) -> Result<()> {
    let scene = Scene::new(ground, count, kinds, "256MiB", Hangs::Sometimes)?;
    let mut recorder = scene.record()?;
    let stall = scene.disk.stall();
    let status = scene.await_health("silent")?;
    ensure!(status["round"]["health"]["since"].is_string(), "no word since when: {status}");
    let said = |recorder: &Running, what: &str| recorder.stderr().iter().any(|line| line.contains(what));
    ensure!(said(&recorder, "the disk does not answer"), "no alarm: {:?}", recorder.stderr());
    let told = |document: &Value| document["event"] == "disk" && document["state"] == "silent";
    ensure!(recorder.json().iter().any(told), "no alarm in the lines of JSON");
    let end_ns = now_ns();
    recorder.signal(nix::sys::signal::Signal::SIGTERM)?;
    let asked = Instant::now();
    wait::until("the recorder to give up on the disk", Duration::from_secs(90), || {
        let stopped = |document: &Value| document["event"] == "stopped" && document["all_written"] == false;
        Ok(recorder.json().iter().any(stopped).then_some(()))
    })?;
    let gave_up_s = asked.elapsed().as_secs_f64();
    // Whoever waits in the kernel for a disk cannot be ended by anybody: all but that is gone.
    wait::until("the process to be gone but for what the kernel holds", LIMIT, || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", recorder.id()))?;
        let state = stat.rsplit_once(')').map(|(_, rest)| rest.trim_start().starts_with('Z'));
        Ok((state == Some(true)).then_some(()))
    })?;
    scene.disk.cut();
    drop(stall);
    let status = recorder.wait(LIMIT)?;
    ensure!(status.code() == Some(1), "it ended with {status}: {}", recorder.stderr().join("\n"));
    ensure!(said(&recorder, "did not answer for"), "no word why: {:?}", recorder.stderr());
    scene.disk.restore(&mut StdRng::seed_from_u64(seed))?;
    rig::assert_check_clean(&scene.rig.volume)?;
    let durable = record_json::last_durable(&recorder.stdout());
    judge(&scene.rig, &[Life { end_ns, durable }], f64::INFINITY)?;
    figure(
        "stalls",
        &format!("{count} cameras, for ever: told, then ended {gave_up_s:.0} s after SIGTERM with status 1"),
    );
    Ok(())
}
