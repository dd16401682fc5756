//! Footage that must not come out any more, erased or past its age: every command that gives footage or tells of it is asked
//! for it.
//!
//! Must not live here: how it came to be gone, and what is to stay ([`super::retention`]).

use crate::process::{keha, keha_ok, now_ns};
use crate::rig::{self, COMMAND_LIMIT, Export, text};
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::collections::HashSet;
use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

/// Whether a recorder is at the volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Volume {
    Live,
    Resting,
}

/// Footage of a stream, from one moment up to another, both of it; Unix nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gone {
    pub(super) from_ns: i64,
    pub(super) to_ns: i64,
}

/// Times in files are rounded to their ticks.
const ROUNDED_NS: i64 = 2_000_000;

impl Gone {
    /// What is older than an age by now, up to an hour.
    pub(super) fn older_than(age: Duration) -> Result<Gone> {
        let to_ns = i64::try_from(now_ns())? - i64::try_from(age.as_nanos())?;
        Ok(Gone { from_ns: to_ns - 3_600_000_000_000, to_ns })
    }

    /// What a document names by `from` and `to`.
    pub(super) fn named(document: &Value) -> Result<Gone> {
        let moment = |field: &str| -> Result<i64> {
            let at = document[field].as_str().and_then(instant);
            at.with_context(|| format!("no {field} in {document}"))
        };
        Ok(Gone { from_ns: moment("from")?, to_ns: moment("to")? })
    }

    pub(super) fn has(self, at_ns: i64) -> bool {
        (self.from_ns..=self.to_ns).contains(&at_ns)
    }

    /// The same in a file.
    fn has_in_file(self, at_ns: i64) -> bool {
        (self.from_ns + ROUNDED_NS..=self.to_ns - ROUNDED_NS).contains(&at_ns)
    }
}

fn instant(text: &str) -> Option<i64> {
    i64::try_from(text.parse::<jiff::Timestamp>().ok()?.as_nanosecond()).ok()
}

/// A moment as commands take it.
pub(super) fn shown(ns: i64) -> Result<String> {
    Ok(jiff::Timestamp::from_nanosecond(i128::from(ns))?.to_string())
}

/// Asks every command. Of a resting volume all of them must count the same samples; whatever is there of the stream is
/// exported, copied and dumped as well, and none of it may be of that time. Answers how many commands were asked.
pub(super) fn nothing_of(volume: &Path, stream: &str, gone: Gone, state: Volume) -> Result<usize> {
    let scratch = rig::scratch()?;
    let into = scratch.path().join("into.ring");
    rig::create_volume(&into, "64MiB", 2)?;
    let at = |what: &str| format!("{what} of {stream}, {state:?}");
    let mut asked = the_range(volume, stream, gone, &into).with_context(|| at("the range"))?;
    asked += all_there_is(volume, stream, gone, scratch.path()).with_context(|| at("an export"))?;
    asked += a_copy(volume, stream, gone, &into).with_context(|| at("a copy"))?;
    asked += what_is_told(volume, stream, gone, state).with_context(|| at("what is told"))?;
    Ok(asked)
}

/// Nothing is found where that range is asked for.
fn the_range(volume: &Path, stream: &str, gone: Gone, into: &Path) -> Result<usize> {
    let (volume, into) = (text(volume)?, text(into)?);
    let (from, to) = (shown(gone.from_ns)?, shown(gone.to_ns)?);
    let range = ["--stream", stream, "--from", &from, "--to", &to];
    let commands = [
        (&["export", volume, "-o", "-"][..], &range[..]),
        (&["export", volume, "--dry-run"], &range),
        (&["volume", "copy", volume, into], &range),
        (&["volume", "copy", volume, into, "--dry-run"], &range),
    ];
    for (command, range) in commands {
        let arguments = [command, range].concat();
        let output = keha(&arguments, COMMAND_LIMIT)?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(4), "{arguments:?}: {}: {said}", output.status);
        ensure!(output.stdout.is_empty(), "{arguments:?} gives {} bytes", output.stdout.len());
    }
    Ok(commands.len())
}

/// An export of all there is has nothing of it, and neither has what is said of it before.
fn all_there_is(volume: &Path, stream: &str, gone: Gone, dir: &Path) -> Result<usize> {
    let plan = keha(&["export", text(volume)?, "--stream", stream, "--dry-run"], COMMAND_LIMIT)?;
    let out = dir.join("all.mkv");
    let output = keha(&["export", text(volume)?, "--stream", stream, "-o", text(&out)?], COMMAND_LIMIT)?;
    match (plan.status.code(), output.status.code()) {
        (Some(4), Some(4)) => ensure!(!out.exists() && plan.stdout.is_empty(), "it gives something"),
        (Some(0), Some(0)) => {
            let export = rig::read_export(&out)?;
            let times = frame_times(&export)?;
            ensure!(!times.is_empty(), "an export without a picture");
            let told = times.iter().filter(|at| gone.has_in_file(**at)).count();
            ensure!(told == 0, "{told} of {} samples are of {gone:?}", times.len());
        }
        codes => bail!("ended with {codes:?}: {}", String::from_utf8_lossy(&output.stderr)),
    }
    Ok(2)
}

/// A copy of all there is has nothing of it.
fn a_copy(volume: &Path, stream: &str, gone: Gone, into: &Path) -> Result<usize> {
    let output = keha(&["volume", "copy", text(volume)?, text(into)?, "--stream", stream], COMMAND_LIMIT)?;
    match output.status.code() {
        Some(4) => {}
        Some(0) => {
            let (samples, _) = dumped(into, stream, gone)?;
            ensure!(samples > 0, "nothing was copied");
        }
        _ => bail!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr)),
    }
    Ok(1)
}

/// What is told of a stream's blocks and damage is not of that time. (Its clock's last anchor may be: it says how wall time follows
/// from media time, and is of use for as long as it holds.)
fn what_is_told(volume: &Path, stream: &str, gone: Gone, state: Volume) -> Result<usize> {
    let (dumped, dumps) = dumped(volume, stream, gone)?;
    let rows = rows_of(volume, stream)?;
    let with_samples = rows.iter().filter(|row| row["samples"] != 0 && row["state"] != "expired");
    let counted: u64 = with_samples.clone().filter_map(|row| row["samples"].as_u64()).sum();
    for row in with_samples {
        for field in ["wall_min", "wall_max"] {
            not_of(row, field, gone)?;
        }
    }
    let info = rig::volume_json("info", volume)?;
    let streams = info["streams"].as_array().context("streams")?;
    let told = streams.iter().find(|told| told["name"] == stream).context("the stream in info")?;
    for field in ["first", "last"] {
        not_of(told, field, gone)?;
    }
    let samples = told["samples"].as_u64().context("samples")?;
    ensure!(
        state == Volume::Live || (samples == counted && (counted..=counted + dumps as u64).contains(&dumped)),
        "info tells of {samples} samples, the blocks of {counted}, dumped are {dumped}"
    );
    rig::assert_check_clean(volume)?;
    status(volume, stream, gone, state)?;
    Ok(dumps + 4)
}

fn rows_of(volume: &Path, stream: &str) -> Result<Vec<Value>> {
    let blocks = rig::volume_json("blocks", volume)?;
    let rows = blocks["blocks"].as_array().context("blocks")?;
    Ok(rows.iter().filter(|row| row["stream"] == stream).cloned().collect())
}

/// Dumps every block of a stream; answers how many samples are told of, and how many blocks that were. A sample that is split over
/// two blocks counts in both, as far as both are there.
fn dumped(volume: &Path, stream: &str, gone: Gone) -> Result<(u64, usize)> {
    let rows = rows_of(volume, stream)?;
    ensure!(!rows.is_empty(), "no block of {stream}");
    let mut samples = 0;
    for row in &rows {
        // Of a sample in pieces each is told of.
        let mut pieces = HashSet::new();
        let block = row["block"].as_u64().context("block")?.to_string();
        let dump = keha_ok(&["volume", "dump", text(volume)?, "--block", &block], COMMAND_LIMIT)?;
        for line in dump.lines().filter(|line| line.contains(" ticks ")) {
            let wall = line.split_once("wall_ns ").and_then(|(_, rest)| rest.split(' ').next());
            let wall: i64 = wall.with_context(|| format!("no time in {line}"))?.parse()?;
            ensure!(!gone.has(wall), "the dump of block {block} tells of what is gone: {line}");
            let track = line.trim_start().split(' ').nth(1).unwrap_or_default().to_owned();
            pieces.insert((track, wall));
        }
        samples += pieces.len() as u64;
    }
    Ok((samples, rows.len()))
}

fn not_of(document: &Value, field: &str, gone: Gone) -> Result<()> {
    let at = document[field].as_str().and_then(instant);
    ensure!(!at.is_some_and(|at| gone.has(at)), "{field} is of {gone:?}: {document}");
    Ok(())
}

/// Of a live recorder the status tells of no footage of that time: what is safe is newer, and nothing of it is damaged.
fn status(volume: &Path, stream: &str, gone: Gone, state: Volume) -> Result<()> {
    let output = keha(&["status", text(volume)?, "--json"], COMMAND_LIMIT)?;
    if state == Volume::Resting {
        ensure!(output.status.code() == Some(1), "nobody records, and yet: {}", output.status);
        return Ok(());
    }
    let status: Value = serde_json::from_slice(&output.stdout).context("keha status")?;
    ensure!(
        status.pointer("/round/scrub/damaged").and_then(Value::as_array).is_some_and(Vec::is_empty),
        "damage: {status}"
    );
    let durable = status.pointer("/round/streams").and_then(Value::as_array).context("round")?;
    let mine = durable.iter().find(|durable| durable["name"] == stream).context("the stream in status")?;
    for track in mine["durable"]["tracks"].as_array().context("tracks")? {
        not_of(track, "to", gone)?;
    }
    Ok(())
}

/// The wall times of all samples of an export, Unix nanoseconds.
pub(super) fn frame_times(export: &Export) -> Result<Vec<i64>> {
    let mut times = Vec::new();
    for part in &export.parts {
        let zero = i64::try_from(part.mkv.date_utc_ns.context("no DateUTC")?)?;
        let frames = part.mkv.tracks.iter().flat_map(|track| &track.frames);
        times.extend(frames.map(|frame| zero + frame.time_ns as i64));
    }
    Ok(times)
}

/// The bytes of pictures that are gone, to be looked for on the raw disk.
pub(super) struct Bytes(Vec<Vec<u8>>);

/// So many bytes from the midst of a picture tell it from all others.
const PROBE: usize = 32;

impl Bytes {
    /// Those of an export that are of that time and in nothing that is left: a clip repeats itself.
    pub(super) fn of(before: &Export, gone: Gone, left: &Export) -> Result<Bytes> {
        let payloads = |export: &Export| -> Vec<Vec<u8>> {
            let tracks = export.parts.iter().flat_map(|part| &part.mkv.tracks);
            tracks.flat_map(|track| &track.frames).map(|frame| frame.data.clone()).collect()
        };
        let left: HashSet<Vec<u8>> = payloads(left).into_iter().collect();
        let times = frame_times(before)?;
        let gone = times.iter().zip(payloads(before)).filter(|(at, _)| gone.has_in_file(**at));
        let probes = gone.filter(|(_, data)| !left.contains(data)).filter_map(|(_, data)| {
            let middle = data.len() / 2;
            data.get(middle..middle + PROBE).map(<[u8]>::to_vec)
        });
        Ok(Bytes(probes.collect()))
    }

    /// Searches all of a volume's file, or of its device; answers for how many pictures.
    pub(super) fn stand_nowhere(&self, volume: &Path) -> Result<usize> {
        ensure!(self.0.len() > 5, "only {} pictures to look for", self.0.len());
        let pair = |bytes: &[u8]| usize::from(bytes[0]) << 8 | usize::from(bytes[1]);
        let mut begins = vec![false; 1 << 16];
        self.0.iter().for_each(|probe| begins[pair(probe)] = true);
        let mut file = File::open(volume)?;
        // A device has no length.
        let size = file.seek(SeekFrom::End(0))?;
        let mut window = vec![0; (1 << 20) + PROBE];
        for at in (0..size).step_by(1 << 20) {
            let length = usize::try_from(size - at)?.min(window.len());
            file.read_exact_at(&mut window[..length], at)?;
            // Most of a young volume was never written.
            if window[..length].iter().all(|byte| *byte == 0) {
                continue;
            }
            for (offset, found) in window[..length].windows(PROBE).enumerate() {
                let stands = begins[pair(found)] && self.0.iter().any(|probe| probe == found);
                ensure!(!stands, "a picture that is gone stands at byte {}", at + offset as u64);
            }
        }
        Ok(self.0.len())
    }
}
