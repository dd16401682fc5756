//! A stream with ten thousand gaps: timelines tell them all, and footage and exports over HTTP have every picture, in each container.

use super::figure;
use crate::ground::Ground;
use crate::http::Client;
use crate::media::ClipKind;
use crate::probe::run_silent;
use crate::rig::{Rig, named, text};
use crate::serving::{READY_LIMIT, moment_ns, run};
use crate::wait;
use crate::written::{Recorded, push};
use anyhow::{Context, Result, bail};
use keha_fs::{Anchor, RunId, Sample, SampleFlags, StreamName, Uuid, WallTime, Writer, WriterOptions};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// How far runs are apart: more than a camera that is merely slow.
const APART_NS: i64 = 20_000_000_000;
/// 2026-06-01T00:00:00Z.
const FIRST: WallTime = WallTime(1_780_272_000_000_000_000);
const STREAM: &str = "/api/v1/cameras/cam01/streams/main";

/// So many gaps.
pub fn whole(gaps: usize) -> Result<()> {
    let mut rig = Rig::new(Ground::File, &named(1, &[ClipKind::Small]), "64MiB")?;
    rig.record(&["--duration", "3s"])?.wait(Duration::from_secs(60))?;
    rig.await_quiet()?;
    let recorded = Recorded::of(&rig.volume)?;
    crate::rig::create_volume(&rig.dir.path().join("gaps.ring"), "512MiB", 4)?;
    write(&rig.dir.path().join("gaps.ring"), &recorded, gaps + 1)?;
    let config = rig.dir.path().join("keha.toml");
    let volume = "[[volumes]]\nname = \"main\"\npath = \"gaps.ring\"\n";
    std::fs::write(&config, format!("[server]\nhttp = \"127.0.0.1:0\"\nstate = \"state\"\n{volume}"))?;
    let (mut running, base) = run(&config)?;
    let client = Client::new(base, None);
    wait::until("the server to be ready", READY_LIMIT, || {
        Ok((client.get("/readyz")?.status == 200).then_some(()))
    })?;
    timeline_tells_all(&client, gaps + 1)?;
    for format in ["mp4", "fmp4", "mkv"] {
        let path = rig.dir.path().join(format!("footage.{format}"));
        let footage = client.body(&format!("{STREAM}/footage?format={format}"))?;
        std::fs::write(&path, &footage)?;
        has_all(&path, gaps + 1).with_context(|| format!("footage as {format}"))?;
        let exported = export(&client, format, gaps + 1).with_context(|| format!("an export as {format}"))?;
        std::fs::write(&path, &exported)?;
        has_all(&path, gaps + 1).with_context(|| format!("an export as {format}"))?;
        figure("gaps", &format!("{gaps} gaps as {format}: {} bytes", footage.len()));
    }
    let status = running.terminate(Duration::from_secs(30))?;
    if !status.success() {
        bail!("the server ended with {status}");
    }
    Ok(())
}

/// A keyframe a run.
fn write(volume: &Path, recorded: &Recorded, runs: usize) -> Result<()> {
    let is_keyframe = |sample: &&keha_fs::StoredSample| sample.flags.contains(SampleFlags::SYNC);
    let keyframe = recorded.samples.iter().find(is_keyframe).context("no keyframe")?;
    let writer = Writer::open(volume, WriterOptions::default(), Box::new(|_| {}))?;
    let mut stream = writer.stream(&StreamName::new("cam01")?)?;
    for number in 0..runs {
        let wall = FIRST.plus_ns(number as i64 * APART_NS);
        stream.configure(&recorded.configuration)?;
        stream.begin_run(RunId(Uuid::from_u128(number as u128 + 1)));
        stream.anchor(Anchor { ticks: 0, wall, arrival: wall, ..recorded.anchor });
        let data = vec![keyframe.data.clone()];
        push(&mut stream, &Sample { track: keyframe.track, ticks: 0, flags: keyframe.flags, data })?;
    }
    drop(stream);
    writer.close()?;
    Ok(())
}

/// Every run is told, where it is, over as many answers as that takes.
fn timeline_tells_all(client: &Client, runs: usize) -> Result<()> {
    let (mut found, mut query) = (Vec::new(), String::new());
    loop {
        let timeline = client.json(&format!("{STREAM}/timeline{query}"))?;
        for range in timeline["recorded"].as_array().context("no ranges")? {
            found.push(moment_ns(&range["from"])?);
        }
        let Some(next) = timeline["next"].as_str() else { break };
        query = format!("?from={next}");
    }
    let expected = (0..runs).map(|number| FIRST.plus_ns(number as i64 * APART_NS).0);
    if !found.iter().copied().eq(expected) {
        bail!("the timeline tells {} ranges of {runs}, or others", found.len());
    }
    Ok(())
}

/// A named export, waited for and downloaded.
fn export(client: &Client, format: &str, runs: usize) -> Result<Vec<u8>> {
    let to = FIRST.plus_ns(runs as i64 * APART_NS);
    let wanted = json!({ "streams": ["cam01"], "from": moment(FIRST)?, "to": moment(to)?, "format": format });
    let made = client.change("POST", "/api/v1/exports", &wanted)?;
    let id = made["id"].as_str().context("no id")?;
    let ready: Value = wait::until("the export to be ready", READY_LIMIT, || {
        let export = client.json(&format!("/api/v1/exports/{id}"))?;
        match export["state"].as_str() {
            Some("ready") => Ok(Some(export)),
            Some("measuring") => Ok(None),
            _ => bail!("the export failed: {export}"),
        }
    })?;
    let file = client.body(&format!("/api/v1/exports/{id}/file"))?;
    if ready["bytes"] != file.len() || ready["blake3"] != blake3::hash(&file).to_hex().as_str() {
        bail!("{} bytes are not what was told: {ready}", file.len());
    }
    Ok(file)
}

fn moment(wall: WallTime) -> Result<String> {
    crate::serving::moment_text(wall.0)
}

/// ffprobe finds every picture, each where it belongs, to the millisecond.
fn has_all(path: &Path, runs: usize) -> Result<()> {
    let mut ffprobe = Command::new("ffprobe");
    ffprobe.args(["-v", "error", "-select_streams", "v:0", "-show_entries", "packet=pts_time"]);
    ffprobe.args(["-of", "csv=p=0", text(path)?]);
    let told = run_silent(&mut ffprobe)?;
    let times: Vec<f64> = told.lines().map(|line| Ok(line.parse()?)).collect::<Result<_>>()?;
    let first = times.first().copied().context("no pictures")?;
    let apart_s = APART_NS as f64 / 1e9;
    let astray =
        times.iter().enumerate().find(|(n, time)| (*time - first - *n as f64 * apart_s).abs() > 0.001);
    if times.len() != runs || astray.is_some() {
        bail!("{} pictures of {runs}, the first one astray: {astray:?}", times.len());
    }
    Ok(())
}
