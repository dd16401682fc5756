//! Evidence holds on a live volume: what `hold add` acknowledged outlives a `kill -9` at once and any number of laps.

use super::figure;
use super::lap::sequences;
use crate::footage;
use crate::ground::Ground;
use crate::media::ClipKind;
use crate::process::keha_ok;
use crate::record_json;
use crate::rig::{self, COMMAND_LIMIT, Export, Rig, named, text};
use crate::wait;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::time::Duration;

/// Records three cameras eight times as fast as life, holds some seconds of the first, kills the recorder, records `laps` more
/// laps, and judges what is there.
pub fn whole(ground: Ground, laps: u64, limit: Duration) -> Result<()> {
    let mut rig = Rig::new(ground, &named(3, &[ClipKind::Main, ClipKind::Main, ClipKind::H265Cra]), "64MiB")?;
    for camera in rig.cameras.clone() {
        rig.server.stop(&camera.name)?;
        rig.server.add_with(&camera.name, &camera.clip, 8.0, false)?;
    }
    let mut recorder = rig.record(&[])?;
    record_json::await_durable(&mut recorder, &rig.cameras, Duration::from_secs(60))?;
    wait::until("some blocks of footage", limit, || {
        std::thread::sleep(Duration::from_millis(200));
        let info = rig::volume_json("info", &rig.volume)?;
        let blocks = info["streams"][0]["blocks"].as_u64().unwrap_or(0);
        Ok((blocks >= 12).then_some(()))
    })?;
    let volume = text(&rig.volume)?.to_owned();
    let volume = volume.as_str();
    refusals(volume)?;
    let range = ["--from=-2500ms", "--to=-1500ms"];
    let made =
        hold(&[volume, "--stream", "cam01", range[0], range[1], "--label", "case 17", "--expires", "30d"])?;
    recorder.kill()?;
    let made = made["holds"].get(0).context("no hold in the answer")?.clone();
    let id = made["id"].as_str().context("no ID")?.to_owned();
    rig.await_quiet()?;
    let before = held_range(&rig, &made, "before.mkv")?;

    let blocks_total =
        rig::volume_json("info", &rig.volume)?["volume"]["blocks"].as_u64().context("blocks")?;
    let newest = |rig: &Rig| -> Result<u64> {
        Ok(sequences(&rig::volume_json("blocks", &rig.volume)?).into_iter().max().unwrap_or(0))
    };
    let from = newest(&rig)?;
    let mut recorder = rig.record(&[])?;
    wait::until("the ring to be lapped", limit, || {
        ensure!(recorder.ended()?.is_none(), "the recorder ended: {}", recorder.stderr().join("\n"));
        std::thread::sleep(Duration::from_millis(250));
        Ok((newest(&rig)? >= from + laps * blocks_total).then_some(()))
    })?;
    let listed = list(volume)?;
    ensure!(listed["holds"][0]["id"] == made["id"], "while it is recorded, the hold is not listed: {listed}");
    ensure!(recorder.terminate(Duration::from_secs(30))?.success(), "SIGTERM");
    rig::assert_check_clean(&rig.volume)?;

    let after = held_range(&rig, &made, "after.mkv")?;
    ensure!(pictures(&before)? == pictures(&after)?, "what was held is not what it was");
    footage::video_run(&after.only()?.mkv, &rig.cameras[0].clip).context("what was held")?;
    for part in rig.export("cam01")?.parts {
        crate::probe::decode(&part.path).context("all of the camera that is held")?;
    }
    for camera in rig.cameras.iter().skip(1) {
        let export = rig.export(&camera.name)?;
        let part = export.only().context("a camera beside the one that is held")?;
        footage::video_run(&part.mkv, &camera.clip).with_context(|| camera.name.clone())?;
    }
    keha_ok(&["hold", "lift", volume, &id], COMMAND_LIMIT)?;
    ensure!(list(volume)?["holds"].as_array().is_some_and(Vec::is_empty), "a lifted hold is listed");
    // Nobody records now: the same by a writer of its own.
    let last = rig::volume_json("info", &rig.volume)?["streams"][1]["last"].clone();
    let last = last.as_str().context("no footage")?;
    hold(&[volume, "--stream", "cam02", "--from", last, "--duration", "1ms"])?;
    rig::assert_check_clean(&rig.volume)?;
    figure(
        "holds",
        &format!(
            "{} pictures in {} blocks held over a kill and {laps} laps",
            pictures(&after)?.len(),
            made["blocks"]
        ),
    );
    Ok(())
}

/// What cannot be held is refused with the right status, by a recorder too.
fn refusals(volume: &str) -> Result<()> {
    let past = ["--from", "2001-01-01T00:00:00Z", "--to", "2001-01-02T00:00:00Z"];
    for (stream, range, status, says) in [
        ("cam01", &past[..], 4, "nothing recorded"),
        ("cam77", &past[..], 1, "cam01"),
        ("cam01", &["--from=-1s", "--to", "2200-01-01T00:00:00Z"][..], 1, "may be held"),
        ("cam01", &["--from=-1s", "--to=-2s"][..], 2, "before"),
    ] {
        let arguments = [&["hold", "add", volume, "--stream", stream][..], range].concat();
        rig::assert_refused(&arguments, status, says)?;
    }
    ensure!(list(volume)?["holds"].as_array().is_some_and(Vec::is_empty), "what was refused is held");
    Ok(())
}

fn hold(arguments: &[&str]) -> Result<Value> {
    let arguments = [&["hold", "add", "--json"][..], arguments].concat();
    Ok(serde_json::from_str(&keha_ok(&arguments, COMMAND_LIMIT)?)?)
}

fn list(volume: &str) -> Result<Value> {
    Ok(serde_json::from_str(&keha_ok(&["hold", "list", volume, "--json"], COMMAND_LIMIT)?)?)
}

/// Exports what a hold was asked to keep, and has every picture decoded.
fn held_range(rig: &Rig, hold: &Value, name: &str) -> Result<Export> {
    let moment = |field: &str| hold[field].as_str().with_context(|| format!("no {field} in {hold}"));
    let range = ["--from", moment("from")?, "--to", moment("to")?];
    let export = rig::export(&rig.volume, "cam01", &rig.dir.path().join(name), &range)?;
    crate::probe::decode(&export.only()?.path)?;
    ensure!(pictures(&export)?.len() > 20, "hardly anything is held: {hold}");
    Ok(export)
}

fn pictures(export: &Export) -> Result<Vec<Vec<crate::media::nal::NalHash>>> {
    export.only()?.mkv.video()?.nal_hashes()
}
