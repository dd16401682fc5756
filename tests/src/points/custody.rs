//! The chain of custody as an examiner asks for it: who had the volume open for writing, from when to when, with which
//! program, for what, by what clock, and how far each camera's own clock was off. All of it stands in the volume itself and is
//! shown by `keha volume info --json`.
//!
//! Must not live here: whether pictures have the right times ([`super::clock`]).

use super::figure;
use crate::media::ClipKind;
use crate::process::{Running, keha_ok, now_ns};
use crate::rig::{self, COMMAND_LIMIT, scratch, text};
use crate::server::{CameraServer, Options, SenderReports};
use crate::wait;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);
const SECOND_NS: i64 = 1_000_000_000;

/// A camera whose sender reports are wrong by so many seconds, and what its footage's times are to rest on for it: reports
/// within 5 s are followed, others are noted and not believed (`docs/time.md`).
const CAMERAS: [(&str, i64, &str); 2] = [("near", 3, "sender report"), ("far", -3600, "arrival")];

/// A session as it was made, each moment known to within these (Unix nanoseconds).
struct Made {
    purpose: &'static str,
    state: &'static str,
    began: (i64, i64),
    ended: (i64, i64),
}

/// Records twice, killed and ended by order, holds something in the resting volume, and asks who did what.
pub fn whole() -> Result<()> {
    let dir = scratch()?;
    let volume = dir.path().join("custody.ring");
    let created = now()?;
    rig::create_volume(&volume, "64MiB", 2)?;
    let mut made = vec![Made::closed("create", created, created)?];
    let mut servers = Vec::new();
    for (name, off_s, _) in CAMERAS {
        let options = Options { sender_reports: SenderReports::OffBySeconds(off_s), ..Options::default() };
        let mut server = CameraServer::start(&options)?;
        server.add(name, &ClipKind::Small.clip()?)?;
        servers.push((name, server.url(name), server));
    }
    let record = || rig::record(&volume, servers.iter().map(|(name, url, _)| (*name, url.as_str())), &[]);

    let start = now()?;
    let mut recorder = record()?;
    let began = (start, await_clocks(&mut recorder, &volume)?);
    let known = rounds(&recorder)?;
    let killed = i64::try_from(recorder.kill()?)?;
    made.push(Made { purpose: "record", state: "crashed", began, ended: (known, killed) });

    let start = now()?;
    let mut recorder = record()?;
    let began = (start, await_clocks(&mut recorder, &volume)?);
    let live = session(&rig::volume_json("info", &volume)?, 2)?;
    ensure!(live["state"] == "open" && live["ended"].is_null(), "while it is recorded: {live}");
    let order = now()?;
    ensure!(recorder.terminate(LIMIT)?.success(), "SIGTERM: {}", recorder.stderr().join("\n"));
    made.push(Made { purpose: "record", state: "closed", began, ended: (order, now()?) });

    let start = now()?;
    let last = rig::volume_json("info", &volume)?["streams"][0]["last"].clone();
    let last = last.as_str().context("no footage")?;
    let hold = ["hold", "add", text(&volume)?, "--stream", "near", "--from", last, "--duration", "1ms"];
    keha_ok(&hold, COMMAND_LIMIT)?;
    made.push(Made::closed("hold", start, start)?);

    let info = rig::volume_json("info", &volume)?;
    sessions_are_told(&info, &made)?;
    let clocks = clocks(&info)?.context("the cameras' clocks are not told of the resting volume")?;
    people_are_told(&volume)?;
    rig::assert_check_clean(&volume)?;
    figure(
        "custody",
        &format!(
            "{} sessions with user, program, moments, clock and end; cameras' clocks {} told within {:.3} s",
            made.len(),
            CAMERAS.map(|(_, off_s, _)| format!("{off_s:+} s")).join(" and "),
            clocks as f64 / 1e9
        ),
    );
    Ok(())
}

impl Made {
    /// One that a command made, which has just ended.
    fn closed(purpose: &'static str, start: i64, from: i64) -> Result<Made> {
        let end = now()?;
        Ok(Made { purpose, state: "closed", began: (start, end), ended: (from, end) })
    }
}

fn now() -> Result<i64> {
    Ok(i64::try_from(now_ns())?)
}

fn moment(of: &Value, field: &str) -> Result<i64> {
    let text = of[field].as_str().with_context(|| format!("no {field} in {of}"))?;
    Ok(i64::try_from(text.parse::<jiff::Timestamp>()?.as_nanosecond())?)
}

/// Waits until both cameras' clocks are told, while they are recorded; answers when that was.
fn await_clocks(recorder: &mut Running, volume: &Path) -> Result<i64> {
    wait::until("the cameras' clocks to be told", LIMIT, || {
        ensure!(recorder.ended()?.is_none(), "the recorder ended: {}", recorder.stderr().join("\n"));
        std::thread::sleep(Duration::from_millis(300));
        // Two rounds at least, so that one is known to be over.
        if rounds(recorder).is_err() {
            return Ok(None);
        }
        clocks(&rig::volume_json("info", volume)?)
    })?;
    now()
}

/// When the last round but one was over: the newest record in the volume is of no earlier moment.
fn rounds(recorder: &Running) -> Result<i64> {
    let lines = recorder.json();
    let last_but_one = lines.iter().filter(|line| line["event"] == "round").rev().nth(1);
    moment(last_but_one.context("no two rounds")?, "at")
}

/// The worst of what is told of each camera's clock against what its reports said, if all say where their times come from.
fn clocks(info: &Value) -> Result<Option<i64>> {
    let mut worst = 0;
    for (name, off_s, source) in CAMERAS {
        let streams = info["streams"].as_array().context("streams")?;
        let Some(stream) = streams.iter().find(|stream| stream["name"] == name) else { return Ok(None) };
        let clocks = stream["clocks"].as_array().context("clocks")?;
        let Some(clock) = clocks.first() else { return Ok(None) };
        ensure!(clocks.len() == 1, "{name} has one track: {clocks:?}");
        let off = clock["camera_offset_ns"].as_i64().context("camera_offset_ns")?;
        if off == 0 || clock["source"] != source {
            return Ok(None);
        }
        let error = (off - off_s * SECOND_NS).abs();
        ensure!(error < SECOND_NS, "{name} is off by {off_s} s, told are {off} ns");
        let uncertainty = clock["uncertainty_us"].as_u64().context("uncertainty_us")?;
        ensure!(uncertainty > 0, "nothing is certain: {clock}");
        worst = worst.max(error);
    }
    Ok(Some(worst))
}

fn session(info: &Value, number: usize) -> Result<Value> {
    info["sessions"]["sessions"].get(number).cloned().with_context(|| format!("no session {number}"))
}

/// Every session, with all that is to be known of it and nothing else.
fn sessions_are_told(info: &Value, made: &[Made]) -> Result<()> {
    let told = info["sessions"]["sessions"].as_array().context("sessions")?;
    ensure!(told.len() == made.len(), "{} sessions, told are {told:#?}", made.len());
    ensure!(info["sessions"]["missing_epochs"] == Value::Array(Vec::new()), "epochs are missing");
    let (user, uid, host) = (said("id", "-un")?, said("id", "-u")?, said("uname", "-n")?);
    let version = keha_ok(&["--version"], COMMAND_LIMIT)?;
    let software = version.split(" (").next().unwrap_or_default();
    let synchronised = kernel_clock()?;
    let mut before: Option<&Value> = None;
    for (number, (told, made)) in (0_u64..).zip(told.iter().zip(made)) {
        let is = |field: &str, expected: &str| {
            ensure!(told[field] == expected, "session {number}: {field} is not {expected:?}: {told:#}");
            Ok(())
        };
        is("purpose", made.purpose)?;
        is("state", made.state)?;
        is("software", software)?;
        is("host", &host)?;
        is("user", &format!("{user} (uid {uid})"))?;
        ensure!(told["epoch"] == number, "session {number}: {told:#}");
        for (field, (from, to)) in [("began", made.began), ("ended", made.ended)] {
            let at = moment(told, field)?;
            ensure!((from..=to).contains(&at), "session {number} {field} at {at}, not in {from} to {to}");
        }
        let clock = &told["began_clock"];
        ensure!(clock["synchronised"] == synchronised, "the kernel says {synchronised}: {told:#}");
        ensure!(clock["error_max_us"].is_null() != (synchronised == true), "its error: {told:#}");
        // What a killed one's clock was at its end nobody can know.
        let at_end = &told["ended_clock"]["synchronised"];
        let expected = if made.state == "crashed" { &Value::Null } else { &synchronised };
        ensure!(at_end == expected, "the clock at its end: {told:#}");
        ensure!(told["clock_steps"] == 0 && told["largest_clock_step_ns"] == 0, "no clock was set: {told:#}");
        if let Some(before) = before {
            ensure!(told["follows"] == true, "it does not follow the one before: {told:#}");
            ensure!(told["machine_id"] == before["machine_id"], "on another machine: {told:#}");
            let grows = |field: &str| told[field].as_u64() >= before[field].as_u64();
            ensure!(grows("first_round") && grows("began_running_s"), "{told:#} comes before {before:#}");
        }
        before = Some(told);
    }
    Ok(())
}

/// A program's answer of one word.
fn said(program: &str, argument: &str) -> Result<String> {
    let output = Command::new(program).arg(argument).output()?;
    ensure!(output.status.success(), "{program} {argument}: {}", output.status);
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// Whether the kernel's clock is synchronised, as another program sees it: its error bound is below the limit to which that of
/// a clock without a reference grows (adjtimex(2)). Null where the kernel does not say.
fn kernel_clock() -> Result<Value> {
    let ask = "import ctypes; b = (ctypes.c_long * 64)(); s = ctypes.CDLL(None).adjtimex(b); \
               print('null' if s < 0 else str(b[3] < 16000000).lower())";
    let output = Command::new("/usr/bin/python3").args(["-c", ask]).output()?;
    ensure!(output.status.success(), "adjtimex: {}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Without `--json`, too.
fn people_are_told(volume: &Path) -> Result<()> {
    let told = keha_ok(&["volume", "info", text(volume)?], COMMAND_LIMIT)?;
    for words in ["opened for writing 3 times", "(not closed)", "hold", "record"] {
        ensure!(told.contains(words), "volume info does not say {words:?}: {told}");
    }
    Ok(())
}
