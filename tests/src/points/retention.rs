//! Erasing, quotas and maximum ages on a live volume: what `erase` acknowledged is gone whatever comes right after it, what is
//! past its age comes out of no command, and what was to stay is there.

use super::damage::{lose_all_but_sessions, lose_all_but_sessions_and_holds};
use super::figure;
use super::gone::{self, Bytes, Gone, Volume::Live, Volume::Resting, nothing_of, shown};
use super::kill::{Life, judge_lapped};
use crate::footage;
use crate::ground::Ground;
use crate::media::ClipKind;
use crate::media::nal::NalHash;
use crate::process::{Running, keha, keha_ok, now_ns};
use crate::record_json;
use crate::rig::{self, COMMAND_LIMIT, Rig, named, text};
use crate::wait;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Records three cameras for `seconds`, erases some seconds of the first and kills the recorder at once; `times` times. Then once
/// more beside a recorder that goes on, and asks every command for all that was erased: live, resting, and when all that describes
/// the volume was lost and found again from its blocks.
pub fn whole(ground: Ground, times: usize, seconds: u64) -> Result<()> {
    let mut rig =
        Rig::new(ground, &named(3, &[ClipKind::Plain720, ClipKind::Main, ClipKind::H265Cra]), "96MiB")?;
    let volume = text(&rig.volume)?.to_owned();
    let volume = volume.as_str();
    let (mut samples, mut asked, mut sought) = (0, 0, 0);
    let mut lives = Vec::new();
    let mut all_gone = Vec::new();
    for turn in 0..times {
        let mut recorder = record(&rig)?;
        if turn == 0 {
            settings(volume)?;
        }
        std::thread::sleep(Duration::from_secs(seconds));
        let hold = hold(volume, &["--from=-1500ms", "--to=-1s"])?;
        refusals(volume, &hold)?;
        let before = rig.export("cam01")?;
        let erased = erase(volume, Gone::named(&hold)?.from_ns)?;
        let end_ns = recorder.kill()?;
        lives.push(Life { end_ns, durable: record_json::last_durable(&recorder.stdout()) });
        rig.await_quiet()?;
        samples += erased["samples"].as_u64().unwrap_or(0);
        let gone = Gone::named(&erased)?;
        asked += nothing_of(&rig.volume, "cam01", gone, Resting)?;
        if turn == 0 {
            // Later the clip comes round to the same pictures.
            sought = Bytes::of(&before, gone, &rig.export("cam01")?)?.stand_nowhere(&rig.laid.raw)?;
        }
        all_gone.push(gone);
        held_is_there(&rig, &hold).with_context(|| format!("turn {turn}"))?;
        keha_ok(&["hold", "lift", volume, hold["id"].as_str().context("id")?], COMMAND_LIMIT)?;
    }
    for camera in rig.cameras.iter().skip(1) {
        judge_lapped(&rig, camera, &lives).with_context(|| camera.name.clone())?;
    }
    let all = rig.export("cam01")?;
    let told = all.gaps().iter().filter(|(reason, ..)| reason == "erased").count();
    ensure!(told >= times, "the export tells of {told} erased stretches: {:?}", all.gaps());

    let mut recorder = record(&rig)?;
    std::thread::sleep(Duration::from_secs(seconds + 2));
    all_gone.push(Gone::named(&erase(volume, i64::try_from(now_ns())?)?)?);
    for gone in &all_gone {
        asked += nothing_of(&rig.volume, "cam01", *gone, Live)?;
    }
    ensure!(recorder.terminate(Duration::from_secs(30))?.success(), "the recorder ends badly");
    for gone in &all_gone {
        asked += nothing_of(&rig.volume, "cam01", *gone, Resting)?;
    }
    let image = rebuilt(&rig, lose_all_but_sessions)?;
    for gone in &all_gone {
        asked += nothing_of(&image, "cam01", *gone, Resting).context("after a rebuild")?;
    }
    figure(
        "retention",
        &format!(
            "{samples} samples erased beside a recorder that was killed {times} times, {sought} pictures sought on the raw disk; \
             {asked} commands asked live, resting and after a rebuild from the blocks: nothing of what was erased"
        ),
    );
    Ok(())
}

/// Records three cameras for `seconds`, two of them with a maximum age of some seconds, and asks every command for what is past it:
/// beside the recorder, when it has ended, and when all that describes the volume was lost and found again from its blocks, once
/// with the holds left and once with them lost. What is held of the first stays as long as its hold is known.
pub fn ages(ground: Ground, seconds: u64) -> Result<()> {
    const AGE: Duration = Duration::from_secs(3);
    let mut rig = Rig::new(ground, &named(3, &[ClipKind::Main, ClipKind::Main, ClipKind::H265Cra]), "96MiB")?;
    let volume = text(&rig.volume)?.to_owned();
    let mut recorder = record(&rig)?;
    for camera in ["cam01", "cam02"] {
        keha_ok(&["stream", "set", &volume, camera, "--max-age", "3s"], COMMAND_LIMIT)?;
    }
    std::thread::sleep(Duration::from_secs(seconds));
    let hold = hold(&volume, &["--from=-1500ms", "--to=-500ms"])?;
    let fresh = rig.export("cam02")?;
    let pictures = fresh.only()?.mkv.video()?.frames.len();
    ensure!((10..150).contains(&pictures), "{pictures} pictures are younger than {AGE:?}");
    let held = held_is_there(&rig, &hold)?;
    let mut asked = nothing_of(&rig.volume, "cam02", Gone::older_than(AGE)?, Live)?;
    wait_past(&hold, AGE)?;
    asked += nothing_of(&rig.volume, "cam02", Gone::older_than(AGE)?, Live)?;
    let kept = held_is_there(&rig, &hold).context("past its age, while it is recorded")?;
    ensure!(kept == held, "{} pictures were held, {} stayed", held.len(), kept.len());
    nothing_else_is_there(&rig, &rig.volume, &hold, Some(AGE)).context("while it is recorded")?;
    ensure!(recorder.ended()?.is_none(), "the recorder ended: {}", recorder.stderr().join("\n"));
    ensure!(recorder.terminate(Duration::from_secs(30))?.success(), "the recorder ends badly");
    rig.await_quiet()?;
    // By now all is past its age.
    std::thread::sleep(AGE + Duration::from_secs(2));
    asked += nothing_of(&rig.volume, "cam02", Gone::older_than(AGE)?, Resting)?;
    let kept = held_is_there(&rig, &hold).context("past its age")?;
    ensure!(kept == held, "{} pictures were held, {} stayed", held.len(), kept.len());
    nothing_else_is_there(&rig, &rig.volume, &hold, None)?;
    let info = rig::volume_json("info", &rig.volume)?;
    let aged = info["streams"].as_array().context("no streams")?;
    let shown = aged.iter().filter(|stream| stream["maximum_age_s"] == 3).count();
    ensure!(shown == 2, "the maximum ages are not shown: {info:#}");

    let image = rebuilt(&rig, lose_all_but_sessions_and_holds)?;
    asked += nothing_of(&image, "cam02", Gone::older_than(AGE)?, Resting).context("rebuilt with holds")?;
    let kept = held_of(&rig, &image, &hold).context("rebuilt with holds")?;
    ensure!(kept == held, "{} pictures were held, {} stayed over a rebuild", held.len(), kept.len());
    nothing_else_is_there(&rig, &image, &hold, None).context("rebuilt with holds")?;
    std::fs::remove_file(&image)?;

    let image = rebuilt(&rig, lose_all_but_sessions)?;
    for camera in ["cam01", "cam02"] {
        // With the holds it is lost what was held: that is past its age like the rest.
        asked += nothing_of(&image, camera, Gone::older_than(AGE)?, Resting).context("holds lost, too")?;
    }
    let other = rig.cameras.last().context("no camera")?.clone();
    for part in rig::export(&image, &other.name, &rig.dir.path().join("other.mkv"), &[])?.parts {
        footage::video_run(&part.mkv, &other.clip)?;
    }
    figure(
        "retention",
        &format!(
            "{asked} commands asked live, resting and after rebuilds from the blocks: nothing past its maximum age; \
             {} pictures that are held stay, also over a rebuild with one copy of the holds left",
            held.len()
        ),
    );
    Ok(())
}

fn record(rig: &Rig) -> Result<Running> {
    let mut recorder = rig.record(&[])?;
    record_json::await_durable(&mut recorder, &rig.cameras, Duration::from_secs(60))?;
    Ok(recorder)
}

/// Holds a range of the first camera.
fn hold(volume: &str, range: &[&str]) -> Result<Value> {
    let arguments = [&["hold", "add", "--json", volume, "--stream", "cam01"][..], range].concat();
    let made: Value = serde_json::from_str(&keha_ok(&arguments, COMMAND_LIMIT)?)?;
    made["holds"].get(0).cloned().context("no hold in the answer")
}

/// Erases a range of the first camera that ended 4.5 s before a moment from which on it may be held: chunks go whole, and holds begin at
/// keyframes.
fn erase(volume: &str, before_ns: i64) -> Result<Value> {
    let (from, to) = (shown(before_ns - 6_000_000_000)?, shown(before_ns - 4_500_000_000)?);
    let erase = ["erase", volume, "--stream", "cam01", "--json", "--from", &from, "--to", &to];
    let planned = keha_ok(&[&erase[..], &["--dry-run"]].concat(), COMMAND_LIMIT)?;
    let planned: Value = serde_json::from_str(&planned)?;
    ensure!(planned["samples"].as_u64() > Some(10), "hardly anything is to go: {planned}");
    Ok(serde_json::from_str(&keha_ok(&[&erase[..], &["--yes"]].concat(), COMMAND_LIMIT)?)?)
}

/// The pictures of what is held of the first camera.
fn held_is_there(rig: &Rig, hold: &Value) -> Result<Vec<Vec<NalHash>>> {
    held_of(rig, &rig.volume, hold)
}

fn held_of(rig: &Rig, volume: &Path, hold: &Value) -> Result<Vec<Vec<NalHash>>> {
    let moment = |field: &str| hold[field].as_str().with_context(|| format!("no {field} in {hold}"));
    let range = ["--force", "--from", moment("from")?, "--to", moment("to")?];
    let kept = rig::export(volume, "cam01", &rig.dir.path().join("held.mkv"), &range)?;
    let pictures = kept.only()?.mkv.video()?.nal_hashes()?;
    ensure!(pictures.len() > 5, "what is held is not there");
    Ok(pictures)
}

/// Waits until what is held is past its age.
fn wait_past(hold: &Value, age: Duration) -> Result<()> {
    wait::until("what is held to be past its age", Duration::from_secs(60), || {
        let past = Gone::older_than(age)?;
        Ok((Gone::named(hold)?.to_ns < past.to_ns).then_some(()))
    })
}

/// Nothing of the first camera comes out but what is held and what is not yet of that age.
fn nothing_else_is_there(rig: &Rig, volume: &Path, hold: &Value, age: Option<Duration>) -> Result<()> {
    // Holds begin with the keyframe before, a second, and with the chunk that it stands in, another; and end with a chunk.
    const AROUND_NS: i64 = 2_500_000_000;
    let held = Gone::named(hold)?;
    let past_ns = age.map(Gone::older_than).transpose()?.map_or(i64::MAX, |gone| gone.to_ns);
    let all = rig::export(volume, "cam01", &rig.dir.path().join("rest.mkv"), &["--force"])?;
    for at in gone::frame_times(&all)? {
        let is_held = (held.from_ns - AROUND_NS..=held.to_ns + AROUND_NS).contains(&at);
        ensure!(is_held || at >= past_ns, "a picture of {at} comes out, held is {held:?}, past is {past_ns}");
    }
    Ok(())
}

/// A copy of the volume of which `lose` destroyed what describes it, repaired from its blocks, with its cameras' names.
fn rebuilt(rig: &Rig, lose: fn(&File) -> Result<()>) -> Result<PathBuf> {
    let info = rig::volume_json("info", &rig.volume)?;
    let image = rig.dir.path().join("rebuilt.ring");
    rig.laid.copy_to(&image)?;
    lose(&OpenOptions::new().read(true).write(true).open(&image)?)?;
    let mut repair = vec!["volume".to_owned(), "check".into(), text(&image)?.into(), "--repair".into()];
    for stream in info["streams"].as_array().context("no streams")? {
        let digits: String = stream["id"].as_str().context("id")?.split('-').take(1).collect();
        repair.extend([
            "--name".to_owned(),
            format!("recovered-{digits}={}", stream["name"].as_str().context("name")?),
        ]);
    }
    keha_ok(&repair, COMMAND_LIMIT)?;
    Ok(image)
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
