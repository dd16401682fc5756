//! Erasing, quotas and maximum ages on a live volume: what `erase` acknowledged is gone whatever comes right after it, what is
//! past its age comes out of no command, and what was to stay is there.

use super::damage::lose_all_but_sessions;
use super::figure;
use super::kill::{Life, judge_lapped};
use crate::footage;
use crate::media::ClipKind;
use crate::process::{keha, keha_ok};
use crate::record_json;
use crate::rig::{self, COMMAND_LIMIT, Rig, named, text};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::fs::OpenOptions;
use std::path::Path;
use std::time::Duration;

/// Records three cameras for `seconds`, erases some seconds of the first and kills the recorder at once; `times` times.
pub fn whole(times: usize, seconds: u64) -> Result<()> {
    let mut rig = Rig::new(&named(3, &[ClipKind::Main, ClipKind::Main, ClipKind::H265Cra]), "96MiB")?;
    let volume = text(&rig.volume)?.to_owned();
    let volume = volume.as_str();
    let mut samples = 0;
    let mut lives = Vec::new();
    for turn in 0..times {
        let mut recorder = rig.record(&[])?;
        record_json::await_durable(&mut recorder, &rig.cameras, Duration::from_secs(60))?;
        if turn == 0 {
            settings(volume)?;
        }
        std::thread::sleep(Duration::from_secs(seconds));
        let held = ["--from=-1500ms", "--to=-1s"];
        let hold = keha_ok(
            &[&["hold", "add", "--json", volume, "--stream", "cam01"][..], &held].concat(),
            COMMAND_LIMIT,
        )?;
        let hold: Value = serde_json::from_str(&hold)?;
        let hold = hold["holds"].get(0).context("no hold in the answer")?.clone();
        refusals(volume, &hold)?;
        // Seconds before the held part: chunks go whole, holds begin at keyframes, and to hold took a while.
        let range = ["--from=-8s", "--to=-6500ms"];
        let erase = [&["erase", volume, "--stream", "cam01", "--json"][..], &range].concat();
        let planned = keha_ok(&[&erase[..], &["--dry-run"]].concat(), COMMAND_LIMIT)?;
        let planned: Value = serde_json::from_str(&planned)?;
        ensure!(planned["samples"].as_u64() > Some(10), "hardly anything is to go: {planned}");
        let erased = keha_ok(&[&erase[..], &["--yes"]].concat(), COMMAND_LIMIT)?;
        let end_ns = recorder.kill()?;
        lives.push(Life { end_ns, durable: record_json::last_durable(&recorder.stdout()) });
        rig.await_quiet()?;
        let erased: Value = serde_json::from_str(&erased)?;
        let moment = |of: &Value, field: &str| {
            of[field].as_str().map(str::to_owned).with_context(|| format!("no {field} in {of}"))
        };
        let (from, to) = (moment(&erased, "from")?, moment(&erased, "to")?);
        samples += erased["samples"].as_u64().unwrap_or(0);
        let gone = keha(
            &["export", volume, "--stream", "cam01", "--from", &from, "--to", &to, "-o", "-"],
            COMMAND_LIMIT,
        )?;
        let said = String::from_utf8_lossy(&gone.stderr);
        ensure!(gone.status.code() == Some(4), "what was erased is exported: {}: {said}", gone.status);
        let kept = rig.dir.path().join(format!("held{turn}.mkv"));
        let range = ["--from", &moment(&hold, "from")?, "--to", &moment(&hold, "to")?];
        let kept = rig::export(&rig.volume, "cam01", &kept, &range)?;
        ensure!(kept.only()?.mkv.video()?.nal_hashes()?.len() > 5, "what is held is not there");
        rig::assert_check_clean(&rig.volume)?;
        let id = moment(&hold, "id")?;
        keha_ok(&["hold", "lift", volume, &id], COMMAND_LIMIT)?;
    }
    for camera in rig.cameras.iter().skip(1) {
        judge_lapped(&rig, camera, &lives).with_context(|| camera.name.clone())?;
    }
    let all = rig.export("cam01")?;
    let told = all.gaps().iter().filter(|(reason, ..)| reason == "erased").count();
    ensure!(told >= times, "the export tells of {told} erased stretches: {:?}", all.gaps());
    figure("retention", &format!("{samples} samples erased beside a recorder that was killed {times} times"));
    Ok(())
}

/// Records three cameras for `seconds`, two of them with a maximum age of some seconds, and asks every command for what is past it;
/// again when all that describes the volume was lost and found again from its blocks. What is held of the first stays.
pub fn ages(seconds: u64) -> Result<()> {
    const AGE: &str = "3s";
    let mut rig = Rig::new(&named(3, &[ClipKind::Main, ClipKind::Main, ClipKind::H265Cra]), "96MiB")?;
    let volume = text(&rig.volume)?.to_owned();
    let mut recorder = rig.record(&[])?;
    record_json::await_durable(&mut recorder, &rig.cameras, Duration::from_secs(60))?;
    for camera in ["cam01", "cam02"] {
        keha_ok(&["stream", "set", &volume, camera, "--max-age", AGE], COMMAND_LIMIT)?;
    }
    std::thread::sleep(Duration::from_secs(seconds));
    let held = ["--from=-1500ms", "--to=-500ms", "--json"];
    keha_ok(&[&["hold", "add", &volume, "--stream", "cam01"][..], &held].concat(), COMMAND_LIMIT)?;
    let fresh = rig.export("cam02")?;
    let pictures = fresh.only()?.mkv.video()?.frames.len();
    ensure!((10..150).contains(&pictures), "{pictures} pictures are younger than {AGE}");
    ensure!(recorder.terminate(Duration::from_secs(30))?.success(), "the recorder ends badly");
    rig.await_quiet()?;
    // By now all is past its age.
    std::thread::sleep(Duration::from_secs(5));
    nothing_comes_out(&rig, "cam02")?;
    let kept = rig::export(&rig.volume, "cam01", &rig.dir.path().join("kept.mkv"), &[])?;
    let kept = kept.only()?.mkv.video()?.frames.len();
    ensure!((10..150).contains(&kept), "{kept} pictures of a second or two are held");
    let info = rig::volume_json("info", &rig.volume)?;
    let aged = info["streams"].as_array().context("no streams")?;
    let shown = aged.iter().filter(|stream| stream["maximum_age_s"] == 3).count();
    ensure!(shown == 2, "the maximum ages are not shown: {info:#}");
    rig::assert_check_clean(&rig.volume)?;
    lose_all_but_sessions(&OpenOptions::new().read(true).write(true).open(&rig.volume)?)?;
    let mut repair = vec!["volume".to_owned(), "check".into(), volume.clone(), "--repair".into()];
    for stream in aged {
        let digits: String = stream["id"].as_str().context("id")?.split('-').take(1).collect();
        repair.extend([
            "--name".to_owned(),
            format!("recovered-{digits}={}", stream["name"].as_str().context("name")?),
        ]);
    }
    keha_ok(&repair, COMMAND_LIMIT)?;
    // With the holds it is lost what was held.
    nothing_comes_out(&rig, "cam01")?;
    nothing_comes_out(&rig, "cam02")?;
    let other = rig.cameras.last().context("no camera")?.clone();
    for part in rig.export(&other.name)?.parts {
        footage::video_run(&part.mkv, &other.clip)?;
    }
    figure(
        "retention",
        "nothing past its maximum age comes out of any command, nor after a rebuild from the blocks",
    );
    Ok(())
}

/// Of a stream nothing is exported, copied or dumped.
fn nothing_comes_out(rig: &Rig, camera: &str) -> Result<()> {
    let volume = text(&rig.volume)?;
    let into = rig.dir.path().join(format!("into-{camera}.ring"));
    if !Path::new(&into).exists() {
        rig::create_volume(&into, "64MiB", 2)?;
    }
    for arguments in [
        &["export", volume, "--stream", camera, "-o", "-"][..],
        &["export", volume, "--stream", camera, "--from=-1h", "--to=-1s", "-o", "-"],
        &["export", volume, "--stream", camera, "--dry-run"],
        &["volume", "copy", volume, text(&into)?, "--stream", camera],
    ] {
        let output = keha(arguments, COMMAND_LIMIT)?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(4), "{arguments:?}: {}: {said}", output.status);
        ensure!(output.stdout.is_empty(), "{arguments:?} gives {} bytes", output.stdout.len());
    }
    let blocks = rig::volume_json("blocks", &rig.volume)?;
    let rows = blocks["blocks"].as_array().context("no blocks")?;
    let mut dumped = 0;
    for row in rows.iter().filter(|row| row["stream"] == camera) {
        let number = row["block"].as_u64().context("block")?.to_string();
        let dump = keha_ok(&["volume", "dump", volume, "--block", &number], COMMAND_LIMIT)?;
        ensure!(!dump.contains(" ticks "), "the dump of block {number} of {camera} tells of samples: {dump}");
        dumped += 1;
    }
    ensure!(dumped > 0, "no block of {camera}: {blocks:#}");
    Ok(())
}

/// Settings are taken from a live recorder, and shown.
fn settings(volume: &str) -> Result<()> {
    keha_ok(&["stream", "set", volume, "cam02", "--quota", "32MiB", "--min-age", "5s"], COMMAND_LIMIT)?;
    let listed: Value =
        serde_json::from_str(&keha_ok(&["stream", "list", volume, "--json"], COMMAND_LIMIT)?)?;
    let streams = listed["streams"].as_array().context("no streams")?;
    let found = streams.iter().find(|stream| stream["name"] == "cam02").context("no cam02")?;
    ensure!(found["quota_bytes"] == 32 << 20 && found["minimum_age_s"] == 5, "not as set: {found}");
    let refused = keha(&["stream", "set", volume, "cam02", "--quota", "1KiB"], COMMAND_LIMIT)?;
    ensure!(refused.status.code() == Some(2), "a quota of nothing is taken: {}", refused.status);
    Ok(())
}

/// What is held is not erased, and nothing goes without being asked for.
fn refusals(volume: &str, hold: &Value) -> Result<()> {
    let moment = |field: &str| hold[field].as_str().context("a moment of the hold");
    let held = ["--from", moment("from")?, "--to", moment("to")?];
    for (range, more, status, says) in [
        (&held[..], &["--yes"][..], 1, "held by"),
        (&["--from=-6s", "--to=-5s"], &[], 2, "--yes"),
        (
            &["--from", "2001-01-01T00:00:00Z", "--to", "2001-01-02T00:00:00Z"],
            &["--yes"],
            4,
            "nothing recorded",
        ),
    ] {
        let arguments = [&["erase", volume, "--stream", "cam01"][..], range, more].concat();
        rig::assert_refused(&arguments, status, says)?;
    }
    Ok(())
}
