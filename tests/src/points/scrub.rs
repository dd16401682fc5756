//! The scrub: bytes changed beneath a live recorder are found without anybody asking, each damaged block is told once, and a
//! recorder that was killed goes on where it was.

use super::figure;
use crate::ground::Ground;
use crate::media::ClipKind;
use crate::process::{Running, keha};
use crate::record_json;
use crate::rig::{self, COMMAND_LIMIT, Rig, named, text};
use crate::wait;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// Fills blocks, changes a byte in `damaged` of them while a recorder verifies everything once in `every`, kills that recorder when
/// it has found the first, and lets another finish the pass.
pub fn whole(ground: Ground, damaged: usize, every: &str, limit: Duration) -> Result<()> {
    let mut rig = Rig::new(ground, &named(2, &[ClipKind::Main, ClipKind::H265Cra]), "256MiB")?;
    for camera in rig.cameras.clone() {
        rig.server.stop(&camera.name)?;
        rig.server.add_with(&camera.name, &camera.clip, 8.0, false)?;
    }
    let mut recorder = rig.record(&["--scrub", "off"])?;
    record_json::await_durable(&mut recorder, &rig.cameras, limit)?;
    wait::until("some blocks of footage", limit, || {
        std::thread::sleep(Duration::from_millis(200));
        Ok((sealed(&rig.volume)?.len() >= 3 * damaged).then_some(()))
    })?;
    ensure!(recorder.terminate(Duration::from_secs(30))?.success(), "SIGTERM");
    let before = rig::volume_json("info", &rig.volume)?;
    ensure!(before["scrub"]["pass"].is_null(), "it was off: {}", before["scrub"]);

    // At their own speed the cameras do not come round to these blocks while they are looked at.
    for camera in rig.cameras.clone() {
        rig.server.stop(&camera.name)?;
        rig.server.add(&camera.name, &camera.clip)?;
    }
    let mut recorder = rig.record(&["--scrub", every])?;
    record_json::await_durable(&mut recorder, &rig.cameras, limit)?;
    let began = Instant::now();
    let hurt = hurt(&rig, damaged)?;
    let first = await_damage(&mut recorder, &rig.volume, limit)?;
    let first_s = began.elapsed().as_secs_f64();
    let status = keha(&["status", text(&rig.volume)?], COMMAND_LIMIT)?;
    let told = String::from_utf8_lossy(&status.stdout).into_owned();
    ensure!(told.contains("damaged: stream cam"), "status for people does not tell it: {told}");
    recorder.kill()?;
    let mut told = events(&recorder);

    let noted = info(&rig.volume)?;
    let place = |scrub: &Value| (scrub["pass"]["number"].as_u64(), scrub["blocks_done"].as_u64());
    ensure!(blocks_of(&noted).contains(&first), "info after the kill does not list block {first}: {noted}");
    ensure!(place(&noted) > (Some(0), Some(0)), "its place is lost: {noted}");
    let mut recorder = rig.record(&["--scrub", every])?;
    let goes_on = wait::until("the next recorder's status", limit, || {
        ensure!(recorder.ended()?.is_none(), "the recorder ended: {}", recorder.stderr().join("\n"));
        status_scrub(&rig.volume)
    })?;
    ensure!(place(&goes_on) >= place(&noted), "it was at {noted} and goes on at {goes_on}");
    let number = noted["pass"]["number"].as_u64();
    let mut last = wait::until("the pass to end", limit, || {
        ensure!(recorder.ended()?.is_none(), "the recorder ended: {}", recorder.stderr().join("\n"));
        let scrub = status_scrub(&rig.volume)?;
        Ok(scrub.filter(|scrub| scrub["last"]["number"].as_u64() >= number && number.is_some()))
    })?;
    if blocks_of(&last).len() < damaged {
        // A block before the place at which its byte was changed is found in the pass after.
        last = wait::until("the next pass to end", limit, || {
            let scrub = status_scrub(&rig.volume)?;
            Ok(scrub.filter(|scrub| scrub["last"]["number"].as_u64() > number))
        })?;
    }
    let all_s = began.elapsed().as_secs_f64();
    ensure!(recorder.terminate(Duration::from_secs(30))?.success(), "SIGTERM");
    told.extend(events(&recorder));
    told.sort_unstable();
    let mut found = blocks_of(&last);
    found.sort_unstable();
    ensure!(found == hurt, "changed were blocks {hurt:?}, found {found:?}: {last}");
    ensure!(told == hurt, "changed were blocks {hurt:?}, told {told:?}");
    ensure!(last["last"]["damaged"].as_u64() == Some(damaged as u64), "counted in the pass: {last}");
    // The recorder's own blocks, which it wrote meanwhile, are well.
    let check = rig::check(&rig.volume)?;
    let places = check["findings"].as_array().context("findings")?.len();
    ensure!(places == damaged, "check finds {places}: {check:#}");
    let count = |field: &str| last["last"][field].as_u64().context("a count of the pass");
    figure(
        "scrub",
        &format!(
            "{damaged} changed bytes, a pass in {every}: the first told after {first_s:.1} s, all told once each when their pass ended, \
             {all_s:.1} s after, a kill in between; that pass verified {} blocks, {} bytes",
            count("blocks")?,
            count("bytes")?
        ),
    );
    Ok(())
}

/// The sealed blocks.
fn sealed(volume: &Path) -> Result<Vec<u64>> {
    let blocks = rig::volume_json("blocks", volume)?;
    let rows = blocks["blocks"].as_array().context("blocks")?.iter();
    Ok(rows.filter(|row| row["state"] == "sealed").filter_map(|row| row["block"].as_u64()).collect())
}

/// Changes a byte in the midst of some sealed blocks, spread over all: which.
fn hurt(rig: &Rig, count: usize) -> Result<Vec<u64>> {
    let sealed = sealed(&rig.volume)?;
    // The oldest may be set aside to be overwritten.
    let newer = sealed.get(sealed.len() / 3..).context("too few blocks")?;
    let mut hurt = Vec::new();
    let file = OpenOptions::new().read(true).write(true).open(&rig.laid.raw)?;
    for number in 0..count {
        let block = *newer.get(number * newer.len() / count).context("too few blocks")?;
        let at = super::corrupt::block_at(&rig.volume, block)? + 400_000;
        let mut byte = [0];
        file.read_exact_at(&mut byte, at)?;
        file.write_all_at(&[byte[0] ^ 0x5a], at)?;
        hurt.push(block);
    }
    file.sync_all()?;
    Ok(hurt)
}

/// What the recorder says of the scrub, once it has made a round.
fn status_scrub(volume: &Path) -> Result<Option<Value>> {
    let output = keha(&["status", text(volume)?, "--json"], COMMAND_LIMIT)?;
    let status: Option<Value> = serde_json::from_slice(&output.stdout).ok();
    Ok(status.and_then(|status| status.pointer("/round/scrub").cloned()))
}

/// Waits until status lists a damaged block, and `volume info` as well: the one that was found first.
fn await_damage(recorder: &mut Running, volume: &Path, limit: Duration) -> Result<u64> {
    wait::until("damage to be found", limit, || {
        ensure!(recorder.ended()?.is_none(), "the recorder ended: {}", recorder.stderr().join("\n"));
        let told = status_scrub(volume)?.and_then(|scrub| blocks_of(&scrub).last().copied());
        let Some(told) = told else { return Ok(None) };
        Ok((blocks_of(&info(volume)?).contains(&told) && events(recorder).contains(&told)).then_some(told))
    })
}

/// The blocks that are listed as damaged.
fn blocks_of(scrub: &Value) -> Vec<u64> {
    let damaged = scrub["damaged"].as_array().into_iter().flatten();
    damaged.filter_map(|damage| damage["block"].as_u64()).collect()
}

/// The blocks that a recorder told of by an event.
fn events(recorder: &Running) -> Vec<u64> {
    let lines = recorder.json();
    let damage = lines.iter().filter(|line| line["event"] == "damage");
    damage.filter_map(|line| line["block"].as_u64()).collect()
}

/// What `volume info` says of the scrub; its status says whether there is damage.
fn info(volume: &Path) -> Result<Value> {
    let output = keha(&["volume", "info", text(volume)?, "--json"], COMMAND_LIMIT)?;
    let info: Value = serde_json::from_slice(&output.stdout).context("volume info")?;
    let scrub = info["scrub"].clone();
    let expected = if blocks_of(&scrub).is_empty() { 0 } else { 3 };
    ensure!(output.status.code() == Some(expected), "info ended with {}: {scrub}", output.status);
    Ok(scrub)
}
