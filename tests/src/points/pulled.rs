//! A disk is pulled away under `keha serve`, or stops answering: its cameras go on on another volume, nobody else notices, and they
//! return by order.
//!
//! The disk is a partition on a loop device over a file of the faulty filesystem. Pulling it away makes each request to that fail, and has
//! the device detached, which the kernel does once the last one closes it: as with a disk that is unplugged, whoever has it open has a
//! device that answers nothing but errors, and whoever looks for it finds none. Plugged in again it has another name.
//!
//! Must not live here: the disk ([`crate::faulty`]).

mod held;
mod plugged;

use super::figure;
use crate::media::ClipKind;
use crate::process::{keha_ok, now_ns};
use crate::rig::{self, COMMAND_LIMIT, scratch, text};
use crate::server::{CameraServer, Options};
use crate::serving::{READY_LIMIT, Serving, moment_ns};
use crate::two_volumes::{Stands, Thing, missing, together};
use crate::wait;
use anyhow::{Context, Result, bail, ensure};
use keha_fs::{GapReason, WallTime};
use plugged::Plugged;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What is promised: so long after its disk went there is footage of a camera on another one.
const BACK_NS_MAX: i64 = 5_000_000_000;
/// A picture is durable so long after it came: two rounds.
const DURABLE_NS: i64 = 2_000_000_000;
/// The built-in cameras: ten pictures a second, each tenth of them a sync sample, and how many ticks lie between two.
const URL: &str = "testsrc://?size=320x240&fps=10&gop=10";
const STEP: i64 = 9_000;
/// Cameras of the volume that is pulled away, the last one a real one, and those of the other.
const MOVED: [&str; 3] = ["front", "yard", "gate"];
const STAYS: [&str; 2] = ["attic", "shed"];
/// One of the first volume that is stopped while its disk does not answer, and one that is added and removed.
const STOPPED: &str = "porch";
const REMOVED: &str = "lane";
const VOLUME_BYTES: u64 = 128 << 20;

/// Whether this machine lets such a disk be made.
pub fn possible() -> Result<()> {
    crate::faulty::possible()?;
    ensure!(Path::new("/dev/loop-control").exists(), "a disk that is pulled away needs loop devices");
    Ok(())
}

/// A server with two volumes and cameras on both.
struct World {
    serving: Serving,
    plugged: Plugged,
    cameras: CameraServer,
}

/// A camera and where it is recorded: name, address, volume.
type Placed<'a> = (&'a str, &'a str, &'a str);

impl World {
    fn new(plugged: Plugged) -> Result<World> {
        let mut cameras = CameraServer::start(&Options::default())?;
        cameras.add("gate", &ClipKind::Small.clip()?)?;
        let gate = cameras.url("gate");
        let moved = MOVED.map(|name| (name, if name == "gate" { gate.as_str() } else { URL }, "main"));
        let others = STAYS.map(|name| (name, URL, "archive"));
        let placed: Vec<Placed<'_>> =
            moved.into_iter().chain([(STOPPED, URL, "main")]).chain(others).collect();
        World::with(plugged, cameras, &placed, VOLUME_BYTES, "")
    }

    /// With these cameras; `archive` is of so many bytes, and has these further settings.
    fn with(
        plugged: Plugged,
        cameras: CameraServer,
        placed: &[Placed<'_>],
        bytes: u64,
        settings: &str,
    ) -> Result<World> {
        let dir = scratch()?;
        let archive = dir.path().join("archive.ring");
        rig::create_volume(&archive, &format!("{}MiB", bytes >> 20), placed.len().max(8))?;
        let mut config = String::from("[server]\nhttp = \"127.0.0.1:0\"\nstate = \"state\"\n");
        for (name, path, settings) in
            [("main", text(&plugged.volume)?, ""), ("archive", text(&archive)?, settings)]
        {
            writeln!(config, "[[volumes]]\nname = \"{name}\"\npath = \"{path}\"\n{settings}")?;
        }
        for (name, url, volume) in placed {
            writeln!(config, "[[cameras]]\nname = \"{name}\"\nurl = \"{url}\"\nvolume = \"{volume}\"")?;
        }
        let mut serving = Serving::start_in(dir, &config)?;
        serving.add_token()?;
        let world = World { serving, plugged, cameras };
        for (name, ..) in placed {
            world.serving.await_footage(name, 3.0)?;
        }
        Ok(world)
    }

    fn archive(&self) -> PathBuf {
        self.serving.dir().join("archive.ring")
    }

    fn camera(&self, name: &str) -> Result<Value> {
        self.serving.client().json(&format!("/api/v1/cameras/{name}"))
    }

    /// Waits until all that were on the volume that failed are recorded on the other one.
    fn await_moved(&self) -> Result<()> {
        for name in MOVED {
            wait::until(&format!("{name} to be recorded on archive"), READY_LIMIT, || {
                let camera = self.camera(name)?;
                let is = camera["volume"] == "archive" && camera["streams"][0]["state"] == "recording";
                Ok(is.then_some(()))
            })?;
            let camera = self.camera(name)?;
            let told = camera["moved"]["text"].as_str().unwrap_or_default();
            let says = |what: &str| told.contains(what);
            ensure!(says("recorded on archive since") && says("because main failed: "), "{camera:#}");
            ensure!(camera["home"] == "main", "{camera:#}");
        }
        Ok(())
    }

    fn await_volume(&self, name: &str, is_open: bool) -> Result<()> {
        wait::until(&format!("volume {name} to be open: {is_open}"), READY_LIMIT, || {
            let volumes = self.serving.client().json("/api/v1/volumes")?;
            let all = volumes.as_array().context("no volumes")?;
            let volume = all.iter().find(|volume| volume["name"] == name).context("no such volume")?;
            Ok((volume["failed"].is_null() == is_open).then_some(()))
        })
    }

    /// Waits until a camera has so many samples more, counted since the server was started.
    fn await_more(&self, camera: &str, samples: u64) -> Result<()> {
        let before = self.serving.counts(camera)?.samples;
        wait::until(&format!("more of {camera}"), READY_LIMIT, || {
            Ok((self.serving.counts(camera)?.samples >= before + samples).then_some(()))
        })
    }
}

/// The disk of one of two volumes is pulled away, and plugged in again; the server is killed and started again in between.
pub fn whole() -> Result<()> {
    let mut world = World::new(Plugged::partition(VOLUME_BYTES, 8)?)?;
    held::hold_what_is_to_come(&world)?;
    let pulled = world.plugged.pull()?;
    world.await_moved()?;
    for name in MOVED.into_iter().chain(STAYS) {
        world.await_more(name, 30)?;
    }
    it_is_told(&world)?;
    held::it_is_held(&world)?;
    refused(&world, "front", "main does not take it")?;
    // It works again, and nobody returns by himself.
    world.plugged.plug_in()?;
    world.await_volume("main", true)?;
    world.await_more("front", 20)?;
    stays(&world)?;
    // Nor by a kill.
    world.serving.kill_and_start_again()?;
    world.serving.await_ready()?;
    stays(&world)?;
    world.await_more("front", 20)?;
    held::it_is_held(&world)?;
    let killed = i64::try_from(now_ns())?;
    // By order they do: over HTTP, and by command.
    let client = world.serving.client();
    client.change("POST", "/api/v1/cameras/front/return", &Value::Null)?;
    keha_ok(&["stream", "return", text(&world.plugged.volume)?, "gate"], COMMAND_LIMIT)?;
    refused(&world, "front", "is recorded on its own volume")?;
    for name in ["front", "gate"] {
        world.await_more(name, 20)?;
        let camera = world.camera(name)?;
        ensure!(camera["volume"] == "main" && camera["moved"].is_null(), "{camera:#}");
    }
    ensure!(world.camera("yard")?["volume"] == "archive", "yard returned by itself");
    let (archive, main) = (world.archive(), world.plugged.volume.clone());
    let World { serving, plugged, cameras: _cameras } = world;
    serving.stop_and_keep(|| {
        rig::assert_check_clean(&archive)?;
        rig::assert_check_clean(&main)?;
        nobody_else_noticed(&archive, killed)?;
        let worst =
            MOVED.iter().map(|name| seam(&main, &archive, name, pulled)).collect::<Result<Vec<_>>>()?;
        for name in ["front", "gate"] {
            returned(&main, name)?;
        }
        let worst_s = worst.into_iter().max().unwrap_or_default() as f64 / 1e9;
        figure(
            "pulled",
            &format!("{} cameras go on {worst_s:.2} s after the disk went at the latest", MOVED.len()),
        );
        Ok(())
    })?;
    drop(plugged);
    Ok(())
}

/// The disk of a partition stops answering: a volume on another partition is opened and recorded into all the same.
pub fn beside() -> Result<()> {
    let (hung, other) = (Plugged::partition(VOLUME_BYTES, 8)?, Plugged::partition(VOLUME_BYTES, 8)?);
    let stall = hung.disk.stall();
    let dir = scratch()?;
    let mut config = String::from("[server]\nhttp = \"127.0.0.1:0\"\nstate = \"state\"\n");
    writeln!(config, "[[volumes]]\nname = \"main\"\npath = \"{}\"", text(&other.volume)?)?;
    writeln!(config, "[[cameras]]\nname = \"front\"\nurl = \"{URL}\"")?;
    let serving = Serving::start_in(dir, &config)?;
    let recorded = serving.await_footage("front", 2.0);
    // Until it is answered nothing can end who waits for it.
    drop(stall);
    recorded?;
    serving.stop_and_keep(|| rig::assert_check_clean(&other.volume).map(drop))?;
    drop((hung, other));
    Ok(())
}

/// The disk stops answering, for ever: its cameras go on elsewhere, and the server ends when it is told to.
pub fn for_ever() -> Result<()> {
    let world = World::new(Plugged::file(VOLUME_BYTES)?)?;
    let client = world.serving.client();
    client.change("POST", "/api/v1/cameras", &json!({ "name": REMOVED, "url": URL, "volume": "main" }))?;
    world.serving.await_footage(REMOVED, 2.0)?;
    let stall = world.plugged.disk.stall();
    let stalled = i64::try_from(now_ns())?;
    world.await_more(STOPPED, 20)?;
    world.serving.record(STOPPED, false)?;
    client.change("DELETE", &format!("/api/v1/cameras/{REMOVED}"), &Value::Null)?;
    world.await_moved()?;
    for name in MOVED.into_iter().chain(STAYS) {
        world.await_more(name, 30)?;
    }
    // And what waited of one that was removed is said to be lost.
    let lost = format!("{REMOVED}: ");
    wait::until("what is lost to be said", READY_LIMIT, || {
        let events = client.json("/api/v1/events?kinds=disk")?;
        let told = events["events"].as_array().context("no events")?;
        let mut texts = told.iter().filter_map(|event| event["text"].as_str());
        let is_it =
            |text: &str| text.starts_with(&lost) && text.contains("waited for volume main, which failed");
        Ok(texts.any(is_it).then_some(()))
    })?;
    let archive = world.archive();
    world.serving.terminate()?;
    // What waits in the kernel for the disk cannot be ended by anybody: all but that is gone.
    let stat = format!("/proc/{}/stat", world.serving.id());
    wait::until("the server to end", Duration::from_secs(30), || {
        let stat = std::fs::read_to_string(&stat)?;
        let state = stat.rsplit_once(')').map(|(_, rest)| rest.trim_start().starts_with('Z'));
        Ok((state == Some(true)).then_some(()))
    })?;
    let said = world.serving.stderr();
    ensure!(said.iter().any(|line| line.contains("everything is on the disk")), "{}", said.join("\n"));
    world.plugged.disk.cut();
    drop(stall);
    rig::assert_check_clean(&archive)?;
    nobody_else_noticed(&archive, i64::MAX)?;
    // What waited of one that was stopped meanwhile came over, too.
    let stopped = Stands::read(&archive, STOPPED)?;
    let last =
        stopped.runs().last().and_then(|(_, samples)| samples.last().copied()).context("nothing of it")?;
    ensure!(
        last.wall.0 > stalled + 1_000_000_000,
        "{STOPPED} stands up to {last:?}, the disk hung at {stalled}"
    );
    ensure!(stopped.runs().len() == 1, "{STOPPED} was recorded although it was stopped");
    for name in MOVED {
        let there = Stands::read(&archive, name)?;
        let why = there.gaps().first().map(|gap| gap.detail.clone()).unwrap_or_default();
        ensure!(why.contains("did not answer"), "{name}: {why:?}");
    }
    Ok(())
}

/// A camera that has nowhere else to go is recorded again once its disk is plugged in again, although the server has the device open that was
/// pulled away. What waited in memory then is not lost.
pub fn alone() -> Result<()> {
    let placed = [("front", URL, "main"), ("attic", URL, "archive")];
    let cameras = CameraServer::start(&Options::default())?;
    let plugged = Plugged::partition(VOLUME_BYTES, 8)?;
    let mut world = World::with(plugged, cameras, &placed, VOLUME_BYTES, "takes_over = false")?;
    let pulled = world.plugged.pull()?;
    // Nothing is written any more: what comes waits.
    let failing = "the disk fails";
    wait::until("the disk to be found failing", READY_LIMIT, || {
        let events = world.serving.client().json("/api/v1/events?kinds=disk")?;
        Ok(events.to_string().contains(failing).then_some(()))
    })?;
    ensure!(world.camera("front")?["volume"] == "main", "front had nowhere to go");
    world.plugged.plug_in_anew()?;
    wait::until("front to be recorded into the disk that is there again", READY_LIMIT, || {
        let recorded = world.serving.recorded("front")?;
        Ok(recorded.iter().any(|(_, to)| *to > pulled + 15_000_000_000).then_some(()))
    })?;
    world.await_more("front", 30)?;
    world.await_more("attic", 30)?;
    let (archive, main) = (world.archive(), world.plugged.volume.clone());
    let World { serving, plugged, cameras: _cameras } = world;
    serving.stop_and_keep(|| {
        rig::assert_check_clean(&main)?;
        let stands = Stands::read(&main, "front")?;
        let runs = stands.runs();
        let (_, first) = runs.first().context("no run")?;
        let last = first.last().context("an empty run")?.wall;
        ensure!(last.0 > pulled, "what came after the disk went is lost");
        ensure!(
            first.is_sorted_by(|a, b| a.ticks + STEP == b.ticks),
            "front lacks pictures, or has some twice"
        );
        ensure!(runs.len() == 2, "front has {} runs", runs.len());
        let attic = Stands::read(&archive, "attic")?;
        ensure!(
            together(&[&attic]).values().all(|samples| missing(samples, STEP) == 0),
            "attic lacks pictures"
        );
        Ok(())
    })?;
    drop(plugged);
    Ok(())
}

/// The disk of so many cameras of an ordinary rate is pulled away, four more are on the other one: how soon there is a picture of each there
/// that survives any crash.
pub fn many(count: usize) -> Result<()> {
    const OTHERS: usize = 4;
    let bytes = VOLUME_BYTES * (1 + count as u64 / 4);
    let clip = ClipKind::Main.clip()?;
    let names: Vec<String> = (0..count + OTHERS).map(|number| format!("cam{number:03}")).collect();
    let mut cameras = CameraServer::start(&Options::default())?;
    names.iter().try_for_each(|name| cameras.add(name, &clip))?;
    let urls: Vec<String> = names.iter().map(|name| cameras.url(name)).collect();
    let volume = |index| if index < count { "main" } else { "archive" };
    let placed: Vec<Placed<'_>> = (0..)
        .zip(names.iter().zip(&urls))
        .map(|(index, (name, url))| (name.as_str(), url.as_str(), volume(index)))
        .collect();
    let plugged = Plugged::partition(bytes, count + OTHERS)?;
    let mut world = World::with(plugged, cameras, &placed, bytes, "")?;
    let (main, archive) = (world.plugged.volume.clone(), world.archive());
    let before = durable(&main)?;
    let pulled = world.plugged.pull()?;
    // Of each: when footage of later than that, and of a new session, was seen to be durable.
    let (mut any, mut new) = (BTreeMap::new(), BTreeMap::new());
    wait::until("all to be recorded on archive", READY_LIMIT, || {
        let now = durable(&archive)?;
        let seen = i64::try_from(now_ns())? - pulled;
        for (name, (run, to)) in now.into_iter().filter(|(name, _)| names[..count].contains(name)) {
            if to > pulled {
                any.entry(name.clone()).or_insert(seen);
                if before.get(&name).is_none_or(|(old, _)| *old != run) {
                    new.entry(name).or_insert(seen);
                }
            }
        }
        Ok((new.len() == count).then_some(()))
    })?;
    let left_out: u64 =
        names.iter().map(|name| Ok(world.serving.counts(name)?.dropped_samples)).sum::<Result<u64>>()?;
    let World { serving, plugged, cameras: _cameras } = world;
    serving.stop_and_keep(|| rig::assert_check_clean(&archive).map(drop))?;
    drop(plugged);
    let seconds = |times: &BTreeMap<String, i64>| {
        let mut times: Vec<f64> = times.values().map(|ns| *ns as f64 / 1e9).collect();
        times.sort_by(f64::total_cmp);
        let at = |place: usize| times.get(place).copied().unwrap_or_default();
        format!("{:.2} to {:.2} s, half within {:.2} s", at(0), at(times.len() - 1), at(times.len() / 2))
    };
    figure(
        "pulled",
        &format!(
            "{count} cameras, {OTHERS} on the other disk: a picture of after the pull is durable there {}, one of a new session {}; {left_out} samples left out",
            seconds(&any),
            seconds(&new)
        ),
    );
    let late: Vec<_> = new.iter().filter(|(_, took)| **took > BACK_NS_MAX + DURABLE_NS).collect();
    ensure!(late.is_empty(), "too late: {late:?}");
    Ok(())
}

/// The run and the time of the last durable sample of each stream that is recorded into a volume.
fn durable(volume: &Path) -> Result<BTreeMap<String, (String, i64)>> {
    let status: Value = serde_json::from_str(&keha_ok(&["status", text(volume)?, "--json"], COMMAND_LIMIT)?)?;
    let streams = status["round"]["streams"].as_array().context("no round")?;
    let mut durable = BTreeMap::new();
    for stream in streams {
        let Some(track) = stream["durable"]["tracks"].get(0) else { continue };
        let run = track["run"].as_str().context("no run")?.to_owned();
        let name = stream["name"].as_str().context("no name")?.to_owned();
        durable.insert(name, (run, moment_ns(&track["to"])?));
    }
    Ok(durable)
}

/// It is told everywhere.
fn it_is_told(world: &World) -> Result<()> {
    let client = world.serving.client();
    let metrics = client.get("/metrics")?.with_status(200)?.text();
    for line in ["keha_volume_failovers_total{volume=\"main\"} 4", "keha_camera_moved{camera=\"front\"} 1"] {
        ensure!(metrics.contains(line), "{line} is not in {metrics}");
    }
    ensure!(metrics.contains("keha_volume_failovers_total{volume=\"archive\"} 0"), "{metrics}");
    let events = client.json("/api/v1/events?kinds=camera_moved")?;
    let told = events["events"].as_array().context("no events")?;
    let texts: Vec<&str> = told.iter().filter_map(|event| event["text"].as_str()).collect();
    for name in MOVED {
        let begins = format!("{name}: recorded on archive since");
        let is_it = |text: &&&str| text.starts_with(&begins) && text.contains("because main failed");
        ensure!(texts.iter().filter(is_it).count() == 1, "{texts:?}");
    }
    ensure!(told.len() == MOVED.len() + 1, "{texts:?}");
    let timeline = client.json("/api/v1/cameras/front/streams/main/timeline")?;
    let gaps = timeline["gaps"].as_array().context("no gaps")?;
    ensure!(gaps.iter().any(|gap| gap["reason"] == "other volume"), "{timeline:#}");
    // What is gone with the volume is told, and of nobody who was not on it.
    ensure!(gaps.iter().any(|gap| gap["reason"] == "volume not there"), "{timeline:#}");
    ensure!(timeline["missing"] == json!(["main"]), "{timeline:#}");
    let stays = client.json("/api/v1/cameras/attic/streams/main/timeline")?;
    ensure!(stays["missing"] == json!([]), "{stays:#}");
    Ok(())
}

fn refused(world: &World, camera: &str, says: &str) -> Result<()> {
    let path = format!("/api/v1/cameras/{camera}/return");
    match world.serving.client().change("POST", &path, &Value::Null) {
        Err(error) if format!("{error:#}").contains(says) => Ok(()),
        other => bail!("{camera} is to stay, for {says:?}: {other:?}"),
    }
}

fn stays(world: &World) -> Result<()> {
    for name in MOVED {
        let camera = world.camera(name)?;
        ensure!(camera["volume"] == "archive" && camera["moved"]["why"].is_string(), "{camera:#}");
    }
    Ok(())
}

/// Cameras of the other volume have every picture: one run until the server was killed at `killed`, and one from then on.
fn nobody_else_noticed(archive: &Path, killed: i64) -> Result<()> {
    for name in STAYS {
        let stands = Stands::read(archive, name)?;
        let runs = together(&[&stands]);
        let expected = if killed == i64::MAX { 1 } else { 2 };
        ensure!(runs.len() == expected, "{name} has {} runs", runs.len());
        for samples in runs.values() {
            ensure!(missing(samples, STEP) == 0, "{name} lacks {} pictures", missing(samples, STEP));
        }
        let reasons: Vec<GapReason> = stands.gaps().iter().map(|gap| gap.reason).collect();
        ensure!(reasons.iter().all(|reason| *reason == GapReason::RecorderDown), "{name}: {reasons:?}");
    }
    Ok(())
}

/// The seam of a camera: what was not durable on the volume that went stands on the other one, and a new session soon after it. How
/// soon, in nanoseconds after the disk went.
fn seam(main: &Path, archive: &Path, name: &str, pulled: i64) -> Result<i64> {
    let (there, here) = (Stands::read(main, name)?, Stands::read(archive, name)?);
    ensure!(there.id == here.id, "{name} is another stream on archive");
    let Some(Thing::Gap(first)) = here.order.first() else { bail!("{name} begins without a word") };
    let says = "it came over from volume main, which failed: ";
    ensure!(first.reason == GapReason::OtherVolume && first.detail.starts_with(says), "{name}: {first:?}");
    let (old, carried) = *here.runs().first().context("nothing was recorded")?;
    ensure!(there.runs().iter().any(|(run, _)| *run == old), "{name}: what was not durable is lost");
    ensure!(!carried.is_empty(), "{name}: an empty run");
    // All that had come until its session ended stands on one of both, without a hole.
    let all = together(&[&there, &here]);
    let run = all.get(&old).context("the run")?;
    let last = run.last().context("a sample")?.wall;
    ensure!(last.0 > pulled, "{name}: what came after the disk went is lost");
    if name != "gate" {
        ensure!(missing(run, STEP) == 0, "{name} lacks {} pictures at the seam", missing(run, STEP));
    }
    let mut gaps = here.gaps().into_iter().filter(|gap| gap.reason == GapReason::OtherVolume);
    let closed = |gap: &&keha_fs::Gap| gap.from > last && gap.to.is_some();
    let second = gaps.find(closed).with_context(|| format!("{name}: the hole has no reason"))?;
    let (_, new) = *here.runs().get(1).context("nothing was recorded after the seam")?;
    let began = new.first().context("an empty run")?.wall;
    ensure!(second.to.is_some_and(|to| to <= began), "{name}: {second:?}, footage from {began:?}");
    let took = began.0 - pulled;
    ensure!(took <= BACK_NS_MAX, "{name} goes on {:.2} s after its disk went", took as f64 / 1e9);
    Ok(took)
}

/// A camera that returned says so where it went on.
fn returned(main: &Path, name: &str) -> Result<()> {
    let stands = Stands::read(main, name)?;
    let gap = |gap: &&&keha_fs::Gap| gap.reason == GapReason::OtherVolume && gap.to.is_some();
    let gaps = stands.gaps();
    let gap = gaps.iter().rfind(gap).with_context(|| format!("{name} returned without a word"))?;
    ensure!(gap.detail == "it was recorded on volume archive until then, and returned by order", "{gap:?}");
    let (_, last) = *stands.runs().last().context("no run")?;
    let began = last.first().context("an empty run")?.wall;
    ensure!(gap.to.is_some_and(|to| to <= began) && began > WallTime(0), "{name}: {gap:?}");
    Ok(())
}
