//! A wall clock that is set, far and near, forward and back, while the recorder runs and while it does not; and one that
//! drifts. No sample is lost for it, nothing that is kept goes early, and where two runs cover the same time both come out.
//!
//! The recorder's process alone sees that clock ([`crate::fake_clock`]): the cameras and the judging commands have the
//! machine's. Must not live here: whether times are right at all ([`super::clock`]).

use super::figure;
use crate::fake_clock::{self, FakeClock};
use crate::footage;
use crate::loss;
use crate::media::ClipKind;
use crate::process::{Running, keha_ok, now_ns};
use crate::record_json;
use crate::rig::{self, COMMAND_LIMIT, Camera, Export, Rig, named, text};
use crate::wait;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::time::Duration;

const DAY_S: i64 = 86_400;
const LIMIT: Duration = Duration::from_secs(30);

/// What happens to the clock.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Case {
    /// As people say it.
    pub name: &'static str,
    /// It is set to be off by this, while recording, seconds. `None`: it is not set, it drifts.
    pub while_recording_s: Option<i64>,
    /// The next recorder finds it off by this, seconds.
    pub across_restart_s: i64,
}

/// All there are.
pub fn cases() -> Vec<Case> {
    let case = |name, while_recording_s, across_restart_s| Case { name, while_recording_s, across_restart_s };
    let to_1970_s = 1000 - (now_ns() / 1_000_000_000) as i64;
    vec![
        // More than the few seconds by which a camera's clock is believed against the recorder's.
        case("back by seconds, twice", Some(-6), -14),
        case("back by a day", Some(-DAY_S), 0),
        case("forward by a day", Some(DAY_S), 0),
        case("1970", Some(to_1970_s), to_1970_s + 3600),
        case("forward by ten years", Some(3653 * DAY_S), 0),
        case("an hour fast, then a day back", Some(3600), 3600 - DAY_S),
        case("200 ppm of drift", None, 0),
    ]
}

/// Records `count` cameras through a case, `seconds` before and after each change.
pub fn whole(case: Case, count: usize, kinds: &[ClipKind], seconds: u64) -> Result<()> {
    fake_clock::possible()?;
    let mut rig = Rig::new(&named(count, kinds), "256MiB")?;
    let clock = FakeClock::new(rig.dir.path())?;
    clock.set(0, if case.while_recording_s.is_none() { 200 } else { 0 })?;
    let mut recorder = record(&rig, &clock)?;
    record_json::await_durable(&mut recorder, &rig.cameras, Duration::from_secs(60))?;
    std::thread::sleep(Duration::from_secs(seconds));
    let hold = hold(&rig)?;
    limit_age(&rig, case)?;
    let mut begins = vec![(0, None)];
    if let Some(off_s) = case.while_recording_s {
        begins.push((off_s, Some(now_ns())));
        clock.set(off_s, 0)?;
        await_step(&rig, &mut recorder)?;
    }
    std::thread::sleep(Duration::from_secs(seconds));
    let first_end = stop(&mut recorder)?;
    rig.await_quiet()?;
    clock.set(case.across_restart_s, 0)?;
    begins.push((case.across_restart_s, Some(now_ns())));
    let mut recorder = record(&rig, &clock)?;
    record_json::await_durable(&mut recorder, &rig.cameras, Duration::from_secs(60))?;
    std::thread::sleep(Duration::from_secs(seconds));
    let second_end = stop(&mut recorder)?;
    rig::assert_check_clean(&rig.volume)?;
    nothing_went_early(&rig, &hold)?;
    let mut overlaps = 0;
    for camera in rig.cameras.clone() {
        let export = rig.export(&camera.name)?;
        nothing_is_missing(&rig, &camera, &export, &[first_end, second_end])
            .with_context(|| format!("{}, {}", case.name, camera.name))?;
        let runs = runs(&export)?;
        ensure!(
            runs.len() == begins.len(),
            "{}: {} runs instead of {}",
            camera.name,
            runs.len(),
            begins.len()
        );
        for ((off_s, set_ns), run) in begins.iter().zip(&runs) {
            let Some(set_ns) = set_ns else { continue };
            // Up to a GOP until a run can end, or a recorder's start, after the clock was set.
            let late = run.first_ns - (*set_ns as i64 + off_s * 1_000_000_000);
            ensure!(
                (-500_000_000..5_000_000_000).contains(&late),
                "{}: a run begins {late} ns after its time",
                case.name
            );
        }
        overlaps += every_run_comes_out_alone(&rig, &camera, &runs)?;
    }
    let set_back = case.name.contains("seconds");
    ensure!(!set_back || overlaps > 0, "{}: nothing overlaps, this proves nothing", case.name);
    figure(
        "clocks",
        &format!(
            "{}: {count} cameras, nothing lost, the hold stands, {overlaps} runs that overlap others come out by themselves",
            case.name
        ),
    );
    Ok(())
}

fn record(rig: &Rig, clock: &FakeClock) -> Result<Running> {
    let cameras = rig.cameras.iter().map(|camera| (camera.name.as_str(), camera.url.as_str()));
    rig::record_with(&rig.volume, cameras, &[], |command| clock.give(command))
}

/// Waits until every camera's run has ended because of the clock.
fn await_step(rig: &Rig, recorder: &mut Running) -> Result<()> {
    let stepped = |camera: &Camera, lines: &[Value]| {
        lines.iter().any(|line| line["name"] == camera.name.as_str() && line["reason"] == "clock")
    };
    wait::until("every camera to notice the clock", LIMIT, || {
        ensure!(recorder.ended()?.is_none(), "the recorder ended: {}", recorder.stderr().join("\n"));
        let lines = recorder.json();
        Ok(rig.cameras.iter().all(|camera| stepped(camera, &lines)).then_some(()))
    })
}

/// SIGTERM; answers when, Unix nanoseconds.
fn stop(recorder: &mut Running) -> Result<u64> {
    let end_ns = now_ns();
    let status = recorder.terminate(LIMIT)?;
    ensure!(status.success(), "SIGTERM: {status}: {}", recorder.stderr().join("\n"));
    Ok(end_ns)
}

/// A hold that ends in an hour, which no clock that is set may shorten.
fn hold(rig: &Rig) -> Result<Value> {
    let camera = rig.cameras.first().context("no camera")?;
    let arguments = ["--stream", &camera.name, "--from=-2s", "--to=-1s", "--expires", "1h", "--json"];
    let all = [&["hold", "add", text(&rig.volume)?][..], &arguments].concat();
    let made: Value = serde_json::from_str(&keha_ok(&all, COMMAND_LIMIT)?)?;
    made["holds"].get(0).cloned().context("no hold in the answer")
}

/// Where the clock only ever runs ahead, footage past its age would go by that clock, and all of it must come out by the right
/// one: nothing is past it there.
fn limit_age(rig: &Rig, case: Case) -> Result<()> {
    if case.while_recording_s.is_none_or(|off_s| off_s < 0) || case.across_restart_s < 0 {
        return Ok(());
    }
    rig.cameras.iter().try_for_each(|camera| {
        let arguments = ["stream", "set", text(&rig.volume)?, &camera.name, "--max-age", "1h"];
        keha_ok(&arguments, COMMAND_LIMIT).map(drop)
    })
}

/// What is held for an hour is still held.
fn nothing_went_early(rig: &Rig, hold: &Value) -> Result<()> {
    let list: Value =
        serde_json::from_str(&keha_ok(&["hold", "list", text(&rig.volume)?, "--json"], COMMAND_LIMIT)?)?;
    let still = list["holds"].as_array().context("no holds")?.iter().any(|held| held["id"] == hold["id"]);
    ensure!(still, "the hold is gone: {list}");
    let blocks = rig::volume_json("blocks", &rig.volume)?;
    let rows = blocks["blocks"].as_array().context("no blocks")?;
    ensure!(rows.iter().any(|row| row["held"] == true), "the hold keeps no block");
    Ok(())
}

/// All that was sent up to the ends of the two recorders is in the export, in the order of recording.
fn nothing_is_missing(rig: &Rig, camera: &Camera, export: &Export, ends: &[u64]) -> Result<()> {
    for (k, track) in camera.clip.tracks.iter().enumerate() {
        let kept = footage::number_samples(&export.samples(track.codec)?, &camera.clip.hashes(track))
            .with_context(|| format!("track {k}"))?;
        let losses = loss::by_session(&rig.server.sent_by(&camera.name, k)?, &kept, ends)
            .with_context(|| format!("track {k}"))?;
        ensure!(losses.len() == ends.len(), "track {k}: {} sessions", losses.len());
        for loss in losses {
            ensure!(loss.lost_s <= 0.3 && loss.head_missing == 0, "track {k}: {loss:?}");
        }
    }
    for part in &export.parts {
        crate::probe::ffprobe(&part.path)?;
    }
    Ok(())
}

struct RunSeen {
    id: String,
    first_ns: i64,
    last_ns: i64,
    samples: u64,
}

/// The runs of all files, in the order of recording.
fn runs(export: &Export) -> Result<Vec<RunSeen>> {
    let mut seen: Vec<RunSeen> = Vec::new();
    for part in &export.parts {
        for run in part.manifest["streams"][0]["runs"].as_array().context("no runs in the manifest")? {
            let word = |name: &str| run[name].as_str().with_context(|| format!("no {name} in {run}"));
            let moment = |name: &str| -> Result<i64> {
                Ok(i64::try_from(word(name)?.parse::<jiff::Timestamp>()?.as_nanosecond())?)
            };
            let (id, first_ns, last_ns) = (word("run")?.to_owned(), moment("first")?, moment("last")?);
            let samples = run["samples"].as_u64().context("samples of a run")?;
            match seen.iter_mut().find(|known| known.id == id) {
                Some(known) => {
                    known.samples += samples;
                    known.last_ns = last_ns;
                }
                None => seen.push(RunSeen { id, first_ns, last_ns, samples }),
            }
        }
    }
    Ok(seen)
}

/// Each run is to be had alone; where one goes back in time, that is said. Answers how many cover time that one before covers.
fn every_run_comes_out_alone(rig: &Rig, camera: &Camera, runs: &[RunSeen]) -> Result<u64> {
    let volume = text(&rig.volume)?;
    let plan = keha_ok(&["export", volume, "--stream", &camera.name, "--dry-run"], COMMAND_LIMIT)?;
    let mut overlapping = 0;
    for (i, run) in runs.iter().enumerate() {
        let number = (i + 1).to_string();
        let to = rig.dir.path().join("run.mkv");
        let alone = rig::export(&rig.volume, &camera.name, &to, &["--force", "--run", &number])?;
        let part = alone.only()?;
        let manifest = &part.manifest["streams"][0];
        ensure!(
            manifest["runs"][0]["run"] == run.id.as_str() && manifest["samples"] == run.samples,
            "--run {number} gives another run, or not all of it"
        );
        let before = runs.get(i.wrapping_sub(1)).filter(|before| run.first_ns <= before.last_ns);
        let overlaps = before.is_some();
        let line = plan.lines().find(|line| line.trim_start().starts_with(&format!("run {number}:")));
        let said = line
            .with_context(|| format!("the plan has no run {number}: {plan}"))?
            .contains("file of its own");
        ensure!(
            said == overlaps,
            "run {number} begins before the one before it ends: {overlaps}; said: {plan}"
        );
        // Less than a GOP in common may be a picture of one and then one of the other.
        let shared_ns =
            |before: &RunSeen| before.last_ns.min(run.last_ns) - before.first_ns.max(run.first_ns);
        let covers = |before: &&RunSeen| shared_ns(before) > 1_500_000_000;
        if let Some(before) = before.filter(covers) {
            both_come_out(rig, camera, before, run)?;
            overlapping += 1;
        }
    }
    Ok(overlapping)
}

/// A range of time that both runs cover gives both, each in a file of its own, and says why.
fn both_come_out(rig: &Rig, camera: &Camera, one: &RunSeen, other: &RunSeen) -> Result<()> {
    let moment =
        |ns: i64| -> Result<String> { Ok(jiff::Timestamp::from_nanosecond(i128::from(ns))?.to_string()) };
    let from = moment(one.first_ns.max(other.first_ns))?;
    let to = moment(one.last_ns.min(other.last_ns))?;
    let range = ["--force", "--from", &from, "--to", &to];
    let both = rig::export(&rig.volume, &camera.name, &rig.dir.path().join("both.mkv"), &range)?;
    let ids: Vec<_> = runs(&both)?.into_iter().map(|run| run.id).collect();
    ensure!(ids.contains(&one.id) && ids.contains(&other.id), "{from} to {to} gives {ids:?} only");
    ensure!(both.parts.len() == ids.len(), "{} runs in {} files", ids.len(), both.parts.len());
    let why = both.parts.iter().skip(1).map(|part| &part.manifest["file"]["begins_because"]);
    ensure!(why.clone().all(|why| why.is_string()), "it is not said why there are further files");
    Ok(())
}
