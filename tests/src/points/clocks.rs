//! A wall clock that is set, far and near, forward and back, while the recorder runs and while it does not; and one that
//! drifts; also one that a restart finds wrong. No sample is lost for it, no hold ends and no maximum age is acted on early, and
//! where two runs cover the same time both come out.
//!
//! The recorder's process alone sees that clock ([`crate::fake_clock`]): the cameras and the judging commands have the
//! machine's. Must not live here: whether times are right at all ([`super::clock`]).

use super::figure;
use crate::fake_clock::{self, FakeClock};
use crate::footage;
use crate::ground::Ground;
use crate::loss;
use crate::media::ClipKind;
use crate::process::{Running, keha_ok, now_ns};
use crate::record_json;
use crate::rig::{self, COMMAND_LIMIT, Camera, Export, Rig, named, text};
use crate::wait;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::time::{Duration, Instant};

const DAY_S: i64 = 86_400;
const LIMIT: Duration = Duration::from_secs(30);

/// What happens to the clock.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Case {
    /// As people say it.
    pub name: &'static str,
    /// It is set to be off by this, while recording, seconds. `None`: it is not set.
    pub while_recording_s: Option<i64>,
    /// The next recorder finds it off by this, seconds.
    pub across_restart_s: i64,
    /// By how much it gains on the true one, from beginning to end, millionths.
    pub drift_ppm: i32,
}

/// All there are.
pub fn cases() -> Vec<Case> {
    let case = |name, while_recording_s, across_restart_s| Case {
        name,
        while_recording_s,
        across_restart_s,
        drift_ppm: 0,
    };
    let to_1970_s = 1000 - (now_ns() / 1_000_000_000) as i64;
    vec![
        // More than the few seconds by which a camera's clock is believed against the recorder's.
        case("back by 6 s, then by 8 s more", Some(-6), -14),
        case("back by a day", Some(-DAY_S), 0),
        case("forward by a day", Some(DAY_S), 0),
        case("1970", Some(to_1970_s), to_1970_s + 3600),
        case("forward by ten years", Some(3653 * DAY_S), 0),
        case("an hour fast, then a day back", Some(3600), 3600 - DAY_S),
        case("1970 at the restart", None, to_1970_s),
        case("ten years ahead at the restart", None, 3653 * DAY_S),
        case("a day behind at the restart", None, -DAY_S),
        Case { drift_ppm: 200, ..case("200 ppm of drift", None, 0) },
        // In a minute what 200 ppm come to in twenty-five.
        Case { drift_ppm: 5000, ..case("5,000 ppm of drift", None, 0) },
    ]
}

/// The maximum age of every camera; by any clock that is set wrong by more, footage is past it at once.
const AGE_S: i64 = 3600;

/// Where a run is to begin: how far off the clock was, and when it was set to that.
struct Begin {
    off_s: i64,
    set_ns: Option<u64>,
}

/// Records `count` cameras through a case, `seconds` before and after each change.
pub fn whole(ground: Ground, case: Case, count: usize, kinds: &[ClipKind], seconds: u64) -> Result<()> {
    fake_clock::possible()?;
    let mut rig = Rig::new(ground, &named(count, kinds), "256MiB")?;
    let clock = FakeClock::new(rig.dir.path())?;
    clock.set(0.0, case.drift_ppm)?;
    let began = Instant::now();
    let mut recorder = record(&rig, &clock)?;
    record_json::await_durable(&mut recorder, &rig.cameras, Duration::from_secs(60))?;
    limit_age(&rig, &format!("{AGE_S}s"))?;
    std::thread::sleep(Duration::from_secs(seconds));
    let mut holds = vec![hold(&rig, None)?];
    let mut begins = vec![Begin { off_s: 0, set_ns: None }];
    if let Some(off_s) = case.while_recording_s {
        begins.push(Begin { off_s, set_ns: Some(now_ns()) });
        clock.set(off_s as f64, 0)?;
        await_step(&rig, &mut recorder)?;
    }
    std::thread::sleep(Duration::from_secs(seconds));
    if case.while_recording_s.is_some() {
        holds.push(hold(&rig, Some(&clock))?);
    }
    let first_end = stop(&mut recorder)?;
    rig.await_quiet()?;
    // A process' clock drifts from its own start: what it came to goes over to the next.
    let drifted_s = began.elapsed().as_secs_f64() * f64::from(case.drift_ppm) / 1e6;
    clock.set(case.across_restart_s as f64 + drifted_s, case.drift_ppm)?;
    begins.push(Begin { off_s: case.across_restart_s, set_ns: Some(now_ns()) });
    let mut recorder = record(&rig, &clock)?;
    record_json::await_durable(&mut recorder, &rig.cameras, Duration::from_secs(60))?;
    std::thread::sleep(Duration::from_secs(seconds));
    if case.across_restart_s != 0 {
        holds.push(hold(&rig, Some(&clock))?);
    }
    let second_end = stop(&mut recorder)?;
    let drifted_s = began.elapsed().as_secs_f64() * f64::from(case.drift_ppm) / 1e6;
    rig::assert_check_clean(&rig.volume)?;
    no_hold_went_early(&rig, &clock, &holds)?;
    sessions_tell(&rig, case)?;
    let hidden = no_age_went_early(&rig, &begins)?;
    let mut overlaps = 0;
    for camera in rig.cameras.clone() {
        let export = rig.export(&camera.name)?;
        nothing_is_missing(&rig, &camera, &export, &[first_end, second_end])
            .with_context(|| format!("{}, {}", case.name, camera.name))?;
        let runs = runs(&export)?;
        begin_in_time(case, &camera, &runs, &begins)?;
        if case.drift_ppm != 0 {
            between_the_clocks(&rig, &camera, &runs, &[first_end, second_end], drifted_s)?;
        }
        overlaps += every_run_comes_out_alone(&rig, &camera, &runs)?;
    }
    let set_back = case.across_restart_s == -14;
    ensure!(!set_back || overlaps > 0, "{}: nothing overlaps, this proves nothing", case.name);
    let drift = if case.drift_ppm == 0 { String::new() } else { format!(" ({:.0} ms)", drifted_s * 1e3) };
    figure(
        "clocks",
        &format!(
            "{}{drift}: {count} cameras, nothing lost, {} holds stand, nothing overwritten for its age, {hidden} runs hidden \
             in whole or in part while their stamps were past it, {overlaps} runs that overlap others come out by themselves",
            case.name,
            holds.len(),
        ),
    );
    Ok(())
}

/// There is a run for each setting of the clock, and it begins when it was set, by that clock.
fn begin_in_time(case: Case, camera: &Camera, runs: &[RunSeen], begins: &[Begin]) -> Result<()> {
    ensure!(
        runs.len() == begins.len(),
        "{}: {} has {} runs instead of {}",
        case.name,
        camera.name,
        runs.len(),
        begins.len()
    );
    for (begin, run) in begins.iter().zip(runs) {
        let Some(set_ns) = begin.set_ns else { continue };
        // Up to a GOP until a run can end, or a recorder's start, after the clock was set.
        let late = run.first_ns - (set_ns as i64 + begin.off_s * 1_000_000_000);
        ensure!(
            (-500_000_000..5_000_000_000).contains(&late),
            "{}: a run begins {late} ns after its time",
            case.name
        );
    }
    Ok(())
}

/// Where a clock drifts every run's first and last moment lies between what the camera's clock said and what the recorder's had
/// come to, give or take what a busy machine takes to deliver a picture.
fn between_the_clocks(
    rig: &Rig,
    camera: &Camera,
    runs: &[RunSeen],
    ends: &[u64],
    drifted_s: f64,
) -> Result<()> {
    const LATE_NS: i64 = 250_000_000;
    let sent = rig.server.sent_by(&camera.name, 0)?;
    for (session, (run, end_ns)) in (1..).zip(runs.iter().zip(ends)) {
        let in_time = sent.iter().filter(|line| line.session == session && line.wall_ns <= *end_ns);
        let lines: Vec<_> = in_time.collect();
        // What went out late on a busy machine still is of the moment at which it was due: what went out least late tells that.
        let zero_ns = lines.iter().map(|line| line.wall_ns as i64 - line.running_ns as i64).min();
        let zero_ns = zero_ns.context("nothing sent")?;
        // Stored is not shown: a keyframe may come before pictures that are shown before it.
        let due = || lines.iter().map(|line| zero_ns + line.running_ns as i64);
        let (first, last) = (due().min(), due().max());
        let (first, last) = (first.context("nothing sent")?, last.context("nothing sent")?);
        let drifted_ns = (drifted_s * 1e9) as i64;
        let off = run.first_ns - first;
        ensure!(
            (-LATE_NS..drifted_ns + LATE_NS).contains(&off),
            "{}: a run begins {off} ns beside what was sent",
            camera.name
        );
        // What was on its way when the recorder was ended is not in it.
        let off = run.last_ns - last;
        ensure!(
            (-LATE_NS - 300_000_000..drifted_ns + LATE_NS).contains(&off),
            "{}: a run ends {off} ns beside what was sent",
            camera.name
        );
    }
    Ok(())
}

/// The volume itself tells of a clock that was set while it was recorded, by how much, and of no other.
fn sessions_tell(rig: &Rig, case: Case) -> Result<()> {
    let info = rig::volume_json("info", &rig.volume)?;
    let sessions = info["sessions"]["sessions"].as_array().context("no sessions")?;
    let mut recorded = sessions.iter().filter(|session| session["purpose"] == "record");
    let (first, second) = (recorded.next().context("no session")?, recorded.next().context("one session")?);
    let steps =
        |session: &Value| (session["clock_steps"].as_i64(), session["largest_clock_step_ns"].as_i64());
    match (case.while_recording_s, steps(first)) {
        (None, told) => ensure!(told == (Some(0), Some(0)), "{}: nobody set it: {first:#}", case.name),
        (Some(off_s), (Some(count), Some(by_ns))) => {
            let error_ns = (by_ns - off_s * 1_000_000_000).abs();
            ensure!(count == 1 && error_ns < 2_000_000_000, "{}: {first:#}", case.name);
        }
        _ => ensure!(false, "no steps in {first:#}"),
    }
    ensure!(steps(second) == (Some(0), Some(0)), "{}: it was not set again: {second:#}", case.name);
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

/// A hold that ends in an hour, made by the machine's clock or by that of the recorder, which no clock that is set may shorten.
fn hold(rig: &Rig, clock: Option<&FakeClock>) -> Result<Value> {
    let camera = rig.cameras.first().context("no camera")?;
    let volume = text(&rig.volume)?;
    let arguments = ["hold", "add", volume, "--stream", &camera.name, "--from=-2s", "--to=-1s"];
    let arguments = [&arguments[..], &["--expires", "1h", "--json"]].concat();
    let made: Value = serde_json::from_str(&by_clock(&arguments, clock)?)?;
    made["holds"].get(0).cloned().context("no hold in the answer")
}

/// A command by that clock, or by the machine's.
fn by_clock(arguments: &[&str], clock: Option<&FakeClock>) -> Result<String> {
    let mut command =
        Running::keha_with(arguments, |command| clock.map_or(Ok(()), |clock| clock.give(command)))?;
    let status = command.wait(COMMAND_LIMIT)?;
    ensure!(status.success(), "{arguments:?}: {status}: {}", command.stderr().join("\n"));
    Ok(command.stdout().join("\n"))
}

fn limit_age(rig: &Rig, age: &str) -> Result<()> {
    rig.cameras.iter().try_for_each(|camera| {
        let arguments = ["stream", "set", text(&rig.volume)?, &camera.name, "--max-age", age];
        keha_ok(&arguments, COMMAND_LIMIT).map(drop)
    })
}

/// What is held for an hour is still held, by the true clock and by one that is far ahead, and comes out although stamps of a wrong
/// clock may be past their age.
fn no_hold_went_early(rig: &Rig, clock: &FakeClock, holds: &[Value]) -> Result<()> {
    let volume = text(&rig.volume)?;
    for off_s in [0, 3653 * DAY_S] {
        clock.set(off_s as f64, 0)?;
        let list: Value = serde_json::from_str(&by_clock(&["hold", "list", volume, "--json"], Some(clock))?)?;
        let list = list["holds"].as_array().context("no holds")?;
        for hold in holds {
            let still = list.iter().any(|held| held["id"] == hold["id"]);
            ensure!(still, "{off_s} s ahead the hold is gone: {hold} is not in {list:?}");
        }
    }
    let blocks = rig::volume_json("blocks", &rig.volume)?;
    let rows = blocks["blocks"].as_array().context("no blocks")?;
    ensure!(rows.iter().any(|row| row["held"] == true), "the holds keep no block");
    let camera = rig.cameras.first().context("no camera")?;
    for hold in holds {
        let moment = |field: &str| hold[field].as_str().with_context(|| format!("no {field} in {hold}"));
        let range = ["--force", "--from", moment("from")?, "--to", moment("to")?];
        let kept = rig::export(&rig.volume, &camera.name, &rig.dir.path().join("held.mkv"), &range)?;
        let pictures: usize =
            kept.parts.iter().map(|part| part.mkv.video().map_or(0, |video| video.frames.len())).sum();
        ensure!(pictures > 5, "{pictures} pictures of a second are there: {hold}");
    }
    Ok(())
}

/// By the true clock nothing is past its age, so nothing may go. What can be judged depends on the stamps:
///
/// - Stamps of now, or ahead by any length (a day, ten years), back by seconds, or drifting: every run comes out whole while the
///   age is set.
/// - Stamps further back than the age (a day, 1970): where no synchronised clock was ever seen, as on most machines of tests, they
///   are all that is known, and who reads is not given them while the age is set (`docs/decisions/0008-retention.md`). Whether they
///   are hidden is not judged, for with a time server they are not; that nothing of them was overwritten is.
///
/// Then the age is lifted. Answers how many runs were hidden.
fn no_age_went_early(rig: &Rig, begins: &[Begin]) -> Result<usize> {
    let limited =
        rig.cameras.iter().map(|camera| runs(&rig.export(&camera.name)?)).collect::<Result<Vec<_>>>()?;
    limit_age(rig, "none")?;
    let mut hidden = 0;
    for (camera, limited) in rig.cameras.iter().zip(&limited) {
        let all = runs(&rig.export(&camera.name)?)?;
        for (begin, run) in begins.iter().zip(&all) {
            let given = limited.iter().find(|given| given.id == run.id).map_or(0, |given| given.samples);
            let may_be_hidden = begin.off_s <= -AGE_S;
            ensure!(
                given == run.samples || may_be_hidden,
                "{}: {given} of {} samples come out of the run at {:+} s under a maximum age of {AGE_S} s",
                camera.name,
                run.samples,
                begin.off_s
            );
            hidden += usize::from(given != run.samples);
        }
    }
    let blocks = rig::volume_json("blocks", &rig.volume)?;
    let rows = blocks["blocks"].as_array().context("no blocks")?;
    let overwritten = rows.iter().filter(|row| row["state"] == "expired" || row["state"] == "erased").count();
    ensure!(overwritten == 0, "{overwritten} blocks were overwritten for their age: {blocks:#}");
    Ok(hidden)
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
