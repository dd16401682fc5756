//! `keha export`: a range of footage as Matroska files with their manifests, or one file into a pipe.
//!
//! What was understood and how much it is are said before anything is written.

use super::volume::{is_cut_short, parse_stream, say_findings};
use crate::failure::{Exit, Failure};
use crate::output::Output;
use crate::output::progress::{Bar, Unit};
use crate::process::signals;
use crate::units::range::RangeArguments;
use crate::units::{range, size, time};
use crate::volume_argument::VolumeArgument;
use anyhow::Context;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use keha_fs::{StreamName, TimeRange, Volume, WallTime};
use keha_player::{ExportPlan, ExportReport, ExportRequest, FileReport, PlannedStream, Progress};
use std::io::{IsTerminal, stdout};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

/// Arguments of `keha export`.
#[derive(Debug, clap::Args)]
#[command(after_help = format!("T is {}. Without --from and --to everything there is goes out.", time::HELP))]
pub(crate) struct Args {
    #[command(flatten)]
    volume: VolumeArgument,
    /// A stream: the camera's name, or camera/sub; several go into one file on one clock
    #[arg(long = "stream", value_name = "NAME", required = true, value_parser = parse_stream)]
    streams: Vec<StreamName>,
    #[command(flatten)]
    range: RangeArguments,
    /// The file to write; - is standard output
    #[arg(short, long, value_name = "OUT.mkv", required_unless_present = "dry_run")]
    output: Option<PathBuf>,
    /// Replace existing files of these names
    #[arg(long)]
    force: bool,
    /// Only say what would be exported
    #[arg(long)]
    dry_run: bool,
    /// Only the N-th run in the range, where a clock was set back and several cover the same time
    #[arg(long, value_name = "N", value_parser = parse_run)]
    run: Option<usize>,
}

fn parse_run(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|number| *number > 0).ok_or_else(|| "runs are counted from 1".into())
}

pub(crate) fn run(args: &Args, output: Output) -> anyhow::Result<Exit> {
    let zone = TimeZone::system();
    let path = args.volume.path()?;
    let range = args.range.range(Timestamp::now(), &zone)?;
    let target = args.output.as_deref().filter(|_| !args.dry_run);
    if target.is_some_and(is_pipe) && stdout().is_terminal() {
        return Err(Failure::usage("-o -: standard output is a terminal; redirect it, or name a file"));
    }
    if let Some(target) = target.filter(|target| !is_pipe(target)) {
        check_target(target, args.force)?;
    }
    let volume = Volume::open(&path)?;
    say_findings(&volume);
    let incomplete = is_cut_short(&volume);
    let request = ExportRequest { streams: args.streams.clone(), range, run: args.run };
    let plan = keha_player::plan(&volume, &request)?;
    let Some(target) = target else {
        output.print(&describe_plan(&plan, &zone))?;
        return Ok(if incomplete { Exit::Damaged } else { Exit::Done });
    };
    output.say(&format!("range: {}", range::show(range, &zone)));
    output.say(&format!(
        "available: {}, about {}",
        available(&plan, &zone),
        size::show(plan.estimated_bytes)
    ));
    let report = export(&volume, &request, target, args.force, plan.estimated_bytes, output)?;
    show(&report, target, output)?;
    if let Some(trouble) = trouble(&report, &zone) {
        crate::output::say_always(&format!("keha: {trouble}"));
    }
    Ok(if report.is_complete() && !incomplete { Exit::Done } else { Exit::Damaged })
}

/// Finds out before anything is said or read whether the file can be there.
fn check_target(target: &Path, force: bool) -> anyhow::Result<()> {
    let shown = target.display();
    if !force && target.exists() {
        return Err(Failure::failed(format!("{shown}: already exists; choose another name or use --force")));
    }
    let dir = target.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !dir.is_dir() {
        return Err(Failure::failed(format!(
            "{shown}: there is no directory {}; create it first",
            dir.display()
        )));
    }
    Ok(())
}

fn is_pipe(path: &Path) -> bool {
    path.as_os_str() == "-"
}

fn export(
    volume: &Volume,
    request: &ExportRequest,
    target: &Path,
    force: bool,
    estimated_bytes: u64,
    output: Output,
) -> anyhow::Result<ExportReport> {
    let stop = signals::flag().context("cannot wait for signals")?;
    let mut bar = Bar::new("exporting", Unit::Bytes, output.quiet);
    let mut progress = |done: Progress| {
        bar.set(done.bytes, estimated_bytes.max(done.bytes));
        if stop.load(Ordering::SeqCst) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let mut pipe = stdout().lock();
    let to = match is_pipe(target) {
        true => keha_player::Output::Pipe(&mut pipe),
        false => keha_player::Output::File { path: target.to_owned(), force },
    };
    Ok(keha_player::export(volume, request, to, &mut progress)?)
}

/// The files that were written, where they were: a pipe's reader has no use for them in it.
fn show(report: &ExportReport, target: &Path, output: Output) -> std::io::Result<()> {
    let lines: Vec<String> = report.files.iter().map(describe_file).collect();
    if is_pipe(target) {
        lines.iter().for_each(|line| output.say(line));
        return Ok(());
    }
    output.print(&(lines.join("\n") + "\n"))
}

fn describe_file(file: &FileReport) -> String {
    let facts = &file.manifest.file;
    let samples: u64 = file.manifest.streams.iter().map(|stream| stream.samples).sum();
    let name = file.path.as_ref().map_or("-".to_owned(), |path| path.display().to_string());
    let because =
        facts.begins_because.as_ref().map(|why| format!(" (a further file: {why})")).unwrap_or_default();
    let manifest =
        file.manifest_path.as_ref().map(|path| format!(", manifest {}", path.display())).unwrap_or_default();
    format!(
        "{name}: {}, {samples} samples, begins at {}{manifest}{because}",
        size::show(facts.bytes),
        facts.time_zero
    )
}

/// Why the output is not all that was asked for.
fn trouble(report: &ExportReport, zone: &TimeZone) -> Option<String> {
    let mut said = Vec::new();
    if report.damaged > 0 {
        said.push(format!("footage is damaged in {} places and missing there", report.damaged));
    }
    if report.overwritten > 0 {
        said.push("its beginning was overwritten by newer footage meanwhile".into());
    }
    if let Some((at, why)) = &report.cut {
        let at = time::local(*at, zone);
        said.push(format!("it ends at {at}, because what follows needs a second file ({why}): export it with --from {at}, or into a file"));
    }
    if !report.streams_without_footage.is_empty() {
        said.push(format!("nothing there of {}", names(&report.streams_without_footage)));
    }
    (!said.is_empty()).then(|| format!("the export: {}", said.join("; ")))
}

fn names(streams: &[StreamName]) -> String {
    streams.iter().map(StreamName::as_str).collect::<Vec<_>>().join(", ")
}

fn available(plan: &ExportPlan, zone: &TimeZone) -> String {
    range::show(TimeRange { from: Some(plan.first), to: Some(plan.last) }, zone)
}

fn describe_plan(plan: &ExportPlan, zone: &TimeZone) -> String {
    let files = if plan.files == 1 { "1 file".into() } else { format!("at least {} files", plan.files) };
    let mut text = format!(
        "range: {}\navailable: {}, about {} in {files}\n",
        range::show(plan.range, zone),
        available(plan, zone),
        size::show(plan.estimated_bytes),
    );
    for stream in &plan.streams {
        text.push_str(&describe_stream(stream, zone));
    }
    text
}

fn describe_stream(stream: &PlannedStream, zone: &TimeZone) -> String {
    if stream.spans.is_empty() {
        return format!("{}: nothing there\n", stream.name);
    }
    let tracks: Vec<String> = stream
        .tracks
        .iter()
        .map(|track| match track.kind {
            "video" => format!("video {} {}x{}", track.codec, track.width, track.height),
            "audio" => format!("audio {} {} Hz, {} channels", track.codec, track.sample_rate, track.channels),
            kind => format!("{kind} {}", track.codec),
        })
        .collect();
    let mut text =
        format!("{}: about {}; {}\n", stream.name, size::show(stream.estimated_bytes), tracks.join("; "));
    let span = |from: WallTime, to: WallTime| range::show(TimeRange { from: Some(from), to: Some(to) }, zone);
    for planned in &stream.spans {
        let overlaps = if planned.overlaps {
            ", begins before the one before it ends: in a file of its own"
        } else {
            ""
        };
        text.push_str(&format!(
            "  run {}: {}{overlaps}\n",
            planned.run_number,
            span(planned.from, planned.to)
        ));
    }
    for (from, to) in &stream.gaps {
        text.push_str(&format!("  gap: {}\n", span(*from, *to)));
    }
    text
}
