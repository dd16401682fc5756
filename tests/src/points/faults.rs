//! Cameras that misbehave: each fault has its gap and its reason, and no other camera's footage shows it.

use super::figure;
use crate::flaky::{Flaky, Mode};
use crate::footage;
use crate::media::{Clip, ClipKind};
use crate::process::Running;
use crate::rig::{self, Export, scratch};
use crate::server::CameraServer;
use crate::wait;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Names of the cameras that have no fault.
const STEADY: [&str; 2] = ["steady1", "steady2"];

struct Scene {
    dir: tempfile::TempDir,
    volume: PathBuf,
    clip: Clip,
    other: Clip,
    server: CameraServer,
    frozen: CameraServer,
    garbled: Flaky,
    flapping: Flaky,
}

impl Scene {
    fn new() -> Result<Self> {
        let dir = scratch()?;
        let volume = dir.path().join("faults.ring");
        rig::create_volume(&volume, "1GiB", 8)?;
        let (clip, other) = (ClipKind::WithAac.clip()?, ClipKind::Other.clip()?);
        let names = STEADY.into_iter().chain(["killed", "switched", "garbled", "flapping"]);
        let server = CameraServer::with_cameras(names.map(|name| (name, &clip)))?;
        let frozen = CameraServer::with_cameras([("frozen", &clip)])?;
        let garbled = Flaky::start(Mode::Pass, Some(server.port()))?;
        let flapping = Flaky::start(Mode::Pass, Some(server.port()))?;
        Ok(Self { dir, volume, clip, other, server, frozen, garbled, flapping })
    }

    fn record(&self) -> Result<Running> {
        let mut cameras: Vec<(&str, String)> = STEADY
            .into_iter()
            .chain(["killed", "switched"])
            .map(|name| (name, self.server.url(name)))
            .collect();
        cameras.push(("frozen", self.frozen.url("frozen")));
        cameras.push(("garbled", self.garbled.url("garbled")));
        cameras.push(("flapping", self.flapping.url("flapping")));
        rig::record(&self.volume, cameras.iter().map(|(name, url)| (*name, url.as_str())), &[])
    }

    fn export(&self, name: &str) -> Result<Export> {
        rig::export(&self.volume, name, &self.dir.path().join(format!("{name}.mkv")), &["--force"])
    }

    /// Waits until new samples of a camera are kept: those after what is kept now.
    fn await_footage(&self, name: &str, limit: Duration) -> Result<()> {
        let before = self.samples(name)?;
        wait::until(&format!("footage of {name}"), limit, || {
            std::thread::sleep(Duration::from_millis(200));
            Ok((self.samples(name)? > before).then_some(()))
        })
    }

    fn samples(&self, name: &str) -> Result<u64> {
        let info = rig::volume_json("info", &self.volume)?;
        let streams = info["streams"].as_array().context("streams")?;
        let stream = streams.iter().find(|stream| stream["name"] == name);
        Ok(stream.and_then(|stream| stream["samples"].as_u64()).unwrap_or(0))
    }
}

/// Runs through all faults; the flapping lasts at least so many seconds.
pub fn whole(flapping_seconds: u64) -> Result<()> {
    let mut scene = Scene::new()?;
    let mut recorder = scene.record()?;
    for name in STEADY.into_iter().chain(["killed", "switched", "frozen", "garbled", "flapping"]) {
        scene.await_footage(name, Duration::from_secs(60)).with_context(|| name.to_owned())?;
    }
    // Killed, away for a while, back.
    scene.server.stop("killed")?;
    scene.garbled.set(Mode::Garbage);
    scene.frozen.freeze()?;
    let (clip, frozen_at) = (scene.other.clone(), Instant::now());
    scene.server.switch("switched", &clip)?;
    scene.await_footage("switched", Duration::from_secs(40)).context("after the switch")?;
    // The recorder has to find out by itself that the frozen camera sends nothing.
    await_word(&recorder, "silent", Duration::from_secs(20))?;
    let found_s = frozen_at.elapsed().as_secs_f64();
    scene.frozen.thaw()?;
    scene.garbled.set(Mode::Pass);
    scene.server.restart("killed")?;
    for name in ["killed", "frozen", "garbled"] {
        scene.await_footage(name, Duration::from_secs(60)).with_context(|| format!("{name} is back"))?;
    }
    let taken = flap(&scene, flapping_seconds)?;
    scene.await_footage("flapping", Duration::from_secs(60)).context("flapping is over")?;
    ensure!(recorder.terminate(Duration::from_secs(30))?.success(), "SIGTERM");
    rig::assert_check_clean(&scene.volume)?;
    judge(&scene)?;
    figure(
        "faults",
        &format!("silence found after {found_s:.1} s; flapping for {flapping_seconds} s took {taken} blocks"),
    );
    Ok(())
}

/// Two seconds on, two seconds off; answers how many blocks the flapping camera took meanwhile.
fn flap(scene: &Scene, seconds: u64) -> Result<u64> {
    let blocks = |scene: &Scene| -> Result<u64> {
        let rows = rig::volume_json("blocks", &scene.volume)?;
        let rows = rows["blocks"].as_array().context("blocks")?.clone();
        Ok(rows.iter().filter(|row| row["stream"] == "flapping").count() as u64)
    };
    let before = blocks(scene)?;
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(seconds) {
        for mode in [Mode::Refuse, Mode::Pass] {
            scene.flapping.set(mode);
            std::thread::sleep(Duration::from_secs(2));
        }
    }
    let taken = blocks(scene)? - before;
    // 0.9 Mbit/s half of the time, in blocks of 1 MiB and more: anything near a block a flap would be far above.
    let most = seconds / 8 + 3;
    ensure!(taken <= most, "flapping for {seconds} s took {taken} blocks, {most} would be many");
    Ok(taken)
}

fn judge(scene: &Scene) -> Result<()> {
    for name in STEADY {
        let export = scene.export(name)?;
        ensure!(export.gaps().is_empty(), "{name} has gaps: {:?}", export.gaps());
        crate::probe::ffprobe(&export.only()?.path)?;
        footage::video_run(&export.only()?.mkv, &scene.clip).with_context(|| name.to_owned())?;
    }
    let reasons: [(&str, &[&str]); 5] = [
        ("killed", &["connection lost", "not found"]),
        ("frozen", &["silent"]),
        ("garbled", &["connection lost", "protocol"]),
        ("flapping", &["connection lost", "refused"]),
        ("switched", &["connection lost", "configuration change"]),
    ];
    for (name, allowed) in reasons {
        let export = scene.export(name)?;
        let gaps = export.gaps();
        ensure!(!gaps.is_empty(), "{name} has no gap");
        for (reason, from, to) in &gaps {
            ensure!(allowed.contains(&reason.as_str()), "{name}: a gap for {reason:?} from {from} to {to:?}");
            ensure!(to.is_some(), "{name}: the gap from {from} never ended");
        }
    }
    switched(scene)
}

/// The switched camera's two resolutions stand in two files, each a run of its clip.
fn switched(scene: &Scene) -> Result<()> {
    let export = scene.export("switched")?;
    ensure!(export.parts.len() == 2, "{} files after one change of resolution", export.parts.len());
    for (part, clip) in export.parts.iter().zip([&scene.clip, &scene.other]) {
        crate::probe::ffprobe(&part.path)?;
        footage::video_run(&part.mkv, clip)?;
    }
    let pixels: Vec<_> =
        export.parts.iter().map(|part| part.mkv.video().map(|track| track.pixels)).collect::<Result<_>>()?;
    ensure!(pixels == [Some((640, 360)), Some((800, 448))], "{pixels:?}");
    Ok(())
}

fn await_word(recorder: &Running, word: &str, limit: Duration) -> Result<()> {
    wait::until(&format!("record --json to say {word:?}"), limit, || {
        let said = recorder.json().iter().any(|document| mentions(document, word));
        Ok(said.then_some(()))
    })
}

fn mentions(value: &Value, word: &str) -> bool {
    match value {
        Value::String(text) => text.contains(word),
        Value::Array(items) => items.iter().any(|item| mentions(item, word)),
        Value::Object(fields) => fields.values().any(|field| mentions(field, word)),
        _ => false,
    }
}
