//! Erasing and quotas on a live volume: what `erase` acknowledged is gone whatever comes right after it, and what was to stay is
//! there.

use super::figure;
use crate::footage;
use crate::media::ClipKind;
use crate::process::{keha, keha_ok};
use crate::record_json;
use crate::rig::{self, COMMAND_LIMIT, Rig, named, text};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::time::Duration;

/// Records three cameras for `seconds`, erases some seconds of the first and kills the recorder at once; `times` times.
pub fn whole(times: usize, seconds: u64) -> Result<()> {
    let mut rig = Rig::new(&named(3, &[ClipKind::Main, ClipKind::Main, ClipKind::H265Cra]), "96MiB")?;
    let volume = text(&rig.volume)?.to_owned();
    let volume = volume.as_str();
    let mut samples = 0;
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
        recorder.kill()?;
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
        for part in rig.export(&camera.name)?.parts {
            footage::video_run(&part.mkv, &camera.clip).with_context(|| camera.name.clone())?;
        }
    }
    let all = rig.export("cam01")?;
    let told = all.gaps().iter().filter(|(reason, ..)| reason == "erased").count();
    ensure!(told >= times, "the export tells of {told} erased stretches: {:?}", all.gaps());
    figure("retention", &format!("{samples} samples erased beside a recorder that was killed {times} times"));
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
        let output = keha(&arguments, COMMAND_LIMIT)?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.code() == Some(status) && said.contains(says),
            "{arguments:?}: {}: {said}",
            output.status
        );
    }
    Ok(())
}
