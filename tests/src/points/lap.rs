//! Many laps of a small ring: always the newest footage, no hole at the seams.

use super::figure;
use crate::footage;
use crate::ground::Ground;
use crate::media::ClipKind;
use crate::process::now_ns;
use crate::record_json;
use crate::rig::{self, Camera, Export, Rig, named};
use crate::wait;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::time::Duration;

/// Records four cameras, one of 64 kbit/s, `speed` times as fast as life until a volume was lapped `laps` times.
pub fn whole(ground: Ground, laps: u64, speed: f64, limit: Duration) -> Result<()> {
    let kinds = [ClipKind::Main, ClipKind::Main, ClipKind::H265Cra, ClipKind::Small];
    let mut rig = Rig::new(ground, &named(4, &kinds), "64MiB")?;
    for i in 0..3 {
        let camera = rig.cameras[i].clone();
        rig.server.stop(&camera.name)?;
        rig.server.add_with(&camera.name, &camera.clip, speed, false)?;
    }
    let mut recorder = rig.record(&[])?;
    record_json::await_durable(&mut recorder, &rig.cameras, Duration::from_secs(60))?;
    let blocks_total =
        rig::volume_json("info", &rig.volume)?["volume"]["blocks"].as_u64().context("blocks")?;
    wait::until("the ring to be lapped", limit, || {
        ensure!(recorder.ended()?.is_none(), "the recorder ended: {}", recorder.stderr().join("\n"));
        // Beside the live recorder, every time: reading never hinders it.
        let sequence = sequences(&rig::volume_json("blocks", &rig.volume)?).into_iter().max().unwrap_or(0);
        std::thread::sleep(Duration::from_millis(250));
        Ok((sequence >= laps * blocks_total).then_some(()))
    })?;
    let end_ns = now_ns();
    ensure!(recorder.terminate(Duration::from_secs(30))?.success(), "SIGTERM");
    rig::assert_check_clean(&rig.volume)?;
    let blocks = rig::volume_json("blocks", &rig.volume)?;
    ring_order(&blocks, blocks_total)?;
    for camera in &rig.cameras {
        let export = rig.export(&camera.name)?;
        newest(&rig, camera, &export, end_ns).with_context(|| camera.name.clone())?;
    }
    let info = rig::volume_json("info", &rig.volume)?;
    figure(
        "lap",
        &format!(
            "{laps} laps of {blocks_total} blocks: no hole, retained fraction {}",
            info["retained_fraction"]
        ),
    );
    Ok(())
}

pub(crate) fn sequences(blocks: &Value) -> Vec<u64> {
    let rows = blocks["blocks"].as_array().map(Vec::as_slice).unwrap_or_default();
    rows.iter().filter(|row| !row["stream"].is_null()).filter_map(|row| row["sequence"].as_u64()).collect()
}

/// The full-rate cameras' full blocks are the newest takes without a hole: the plain ring. The slow camera's open
/// block may be older, it is never taken while it is open.
fn ring_order(blocks: &Value, total: u64) -> Result<()> {
    let rows = blocks["blocks"].as_array().context("no blocks")?;
    let sealed = rows.iter().filter(|row| row["state"] == "sealed" && row["stream"] != "cam04");
    let mut sequences: Vec<u64> = sealed.filter_map(|row| row["sequence"].as_u64()).collect();
    sequences.sort_unstable();
    ensure!(sequences.windows(2).all(|pair| pair[0] < pair[1]), "a sequence stands twice");
    let (first, last) = (sequences.first().context("none sealed")?, sequences.last().context("none sealed")?);
    // Set aside for coming takes: at most one a stream and two more.
    ensure!(last - first < total + 6, "blocks {first} to {last} are there: something old was kept");
    ensure!(sequences.len() as u64 + 14 >= total, "only {} of {total} blocks are sealed", sequences.len());
    Ok(())
}

/// What is there is one stretch of what was sent, up to the end.
fn newest(rig: &Rig, camera: &Camera, export: &Export, end_ns: u64) -> Result<()> {
    let video = camera.clip.video()?;
    let part = export.only()?;
    footage::video_run(&part.mkv, &camera.clip)?;
    crate::probe::decode(&part.path)?;
    let kept = footage::number_samples(&part.mkv.video()?.nal_hashes()?, &camera.clip.hashes(video))?;
    let sent = rig.server.sent_by(&camera.name, 0)?;
    let in_time: Vec<_> = sent.iter().filter(|line| line.wall_ns + 300_000_000 <= end_ns).collect();
    let last = in_time.last().context("nothing was sent")?;
    let laps = video.samples.len() as u64;
    // Numbers in the footage of a lapped ring are known up to whole laps of the clip; the last one fixes them.
    let last_kept = kept.last().context("nothing was kept")?;
    let behind = (last.number % laps + laps - last_kept % laps) % laps;
    ensure!(behind == 0 || behind > laps / 2, "the newest picture is {behind} behind the last one sent");
    Ok(())
}

/// Fills a large volume once over and states how much of it is retained payload.
pub fn filled(ground: Ground, size: &str, speed: f64, limit: Duration) -> Result<()> {
    let mut rig = Rig::new(ground, &named(8, &[ClipKind::MainLong]), size)?;
    for camera in rig.cameras.clone() {
        rig.server.stop(&camera.name)?;
        rig.server.add_with(&camera.name, &camera.clip, speed, false)?;
    }
    let mut recorder = rig.record(&[])?;
    let total = rig::volume_json("info", &rig.volume)?["volume"]["blocks"].as_u64().context("blocks")?;
    wait::until("the volume to be full", limit, || {
        ensure!(recorder.ended()?.is_none(), "the recorder ended: {}", recorder.stderr().join("\n"));
        std::thread::sleep(Duration::from_secs(2));
        let sequence = sequences(&rig::volume_json("blocks", &rig.volume)?).into_iter().max().unwrap_or(0);
        Ok((sequence > total + total / 20).then_some(()))
    })?;
    ensure!(recorder.terminate(Duration::from_secs(30))?.success(), "SIGTERM");
    let info = rig::volume_json("info", &rig.volume)?;
    let retained = info["retained_fraction"].as_f64().context("retained_fraction")?;
    figure("lap", &format!("{size}, full: {:.1} % of it is retained payload (goal 90)", retained * 100.0));
    ensure!(retained >= 0.9, "only {retained} of the volume is retained payload");
    rig::assert_check_clean(&rig.volume).map(drop)
}
