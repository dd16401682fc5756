//! `keha volume copy`: moves footage whole into another volume: bytes, checksums, times, gaps and clocks as they are, and proves
//! it by reading both.

use super::findings::FindingDocument;
use super::{names, parse_stream};
use crate::failure::{Exit, Failure};
use crate::opener::opener;
use crate::output::Output;
use crate::output::document::{self, Moment, VolumeDocument};
use crate::output::progress::{Bar, Unit};
use crate::process::signals;
use crate::units::range::RangeArguments;
use crate::units::{duration, range, size, time};
use crate::volume_argument;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use keha_fs::{
    CopyReport, Error, Finding, Retention, StreamId, StreamName, StreamSummary, TimeRange, Volume, WallTime,
    Writer, WriterOptions, copy_stream, run_digest,
};
use serde::Serialize;
use std::collections::{BTreeSet, HashMap};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Arguments of `keha volume copy`.
#[derive(Debug, clap::Args)]
#[command(after_help = format!("T is {}. Without --from and --to all of the streams is copied.", time::HELP))]
pub(crate) struct Args {
    /// The volume to copy from; it may be being recorded into
    #[arg(value_name = "FROM")]
    source: String,
    /// The volume to copy into; nobody else may be writing it
    #[arg(value_name = "INTO")]
    destination: String,
    /// A stream: the camera's name, or camera/sub
    #[arg(long = "stream", value_name = "NAME", required = true, value_parser = parse_stream)]
    streams: Vec<StreamName>,
    /// Its name in the other volume, for one stream
    #[arg(long = "as", value_name = "NAME", value_parser = parse_stream)]
    name: Option<StreamName>,
    #[command(flatten)]
    range: RangeArguments,
    /// Let the copy overwrite the oldest footage of the other volume, where it has not enough free blocks
    #[arg(long)]
    overwrite: bool,
    /// Only say what would be copied
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// A stream to copy.
struct Job {
    stream: StreamSummary,
    name: StreamName,
}

/// A stream that was copied and read again.
struct Copied {
    job: Job,
    into: StreamId,
    report: CopyReport,
}

pub(crate) fn run(args: &Args, output: Output) -> anyhow::Result<Exit> {
    let zone = TimeZone::system();
    if args.name.is_some() && args.streams.len() > 1 {
        return Err(Failure::usage("--as gives one stream another name: copy the others by themselves"));
    }
    let range = args.range.range(Timestamp::now(), &zone)?;
    let (source_path, into_path) = paths(args)?;
    let source = Volume::open(&source_path)?;
    let into = Volume::open(&into_path)?;
    if source.info().id == into.info().id {
        return Err(Failure::usage("that is one volume: a copy goes into another"));
    }
    let jobs = plan(args, &source, &into, range)?;
    output.say(&format!("range: {}", range::show(range, &zone)));
    check_room(&jobs, &source, &into, &into_path, range, args.overwrite)?;
    if args.dry_run {
        let names: Vec<String> = jobs.iter().map(|job| job.name.to_string()).collect();
        output.print(&format!("would copy {} into {}\n", names.join(", "), into_path.display()))?;
        return Ok(Exit::Done);
    }
    let copied = copy(jobs, &source, &into_path, range, output)?;
    verify(&copied, &into_path)?;
    let is_whole = |report: &CopyReport| report.damaged == 0 && report.unknown_chunks == 0;
    let whole = copied.iter().all(|copied| is_whole(&copied.report));
    show(args, &source, &source_path, &into, &into_path, &copied, output)?;
    Ok(if whole { Exit::Done } else { Exit::Damaged })
}

fn paths(args: &Args) -> anyhow::Result<(PathBuf, PathBuf)> {
    Ok((volume_argument::path_of(&args.source)?, volume_argument::path_of(&args.destination)?))
}

/// The streams to copy; none of what they hold may stand in the other volume already.
fn plan(args: &Args, source: &Volume, into: &Volume, range: TimeRange) -> anyhow::Result<Vec<Job>> {
    let mut jobs = Vec::new();
    for wanted in &args.streams {
        let stream = source.stream(wanted)?;
        let name = args.name.clone().unwrap_or_else(|| wanted.clone());
        let runs: BTreeSet<_> = source.spans(stream.id, range)?.into_iter().map(|span| span.run).collect();
        let there = into.stream(&name).map(|there| into.spans(there.id, TimeRange::default()));
        let known = there.ok().and_then(Result::ok).unwrap_or_default();
        if known.iter().any(|span| runs.contains(&span.run)) {
            return Err(Failure::failed(format!(
                "{name}: the other volume has footage of these runs already, of an earlier copy perhaps: choose another range, \
                 another name with --as, or erase it there first"
            )));
        }
        jobs.push(Job { stream, name });
    }
    Ok(jobs)
}

/// Finds out before anything is written whether the copy would overwrite what stands in the other volume.
fn check_room(
    jobs: &[Job],
    source: &Volume,
    into: &Volume,
    into_path: &Path,
    range: TimeRange,
    overwrite: bool,
) -> anyhow::Result<()> {
    let blocks = source.blocks();
    let touches = |min, max| range.from.is_none_or(|from| max >= from) && range.to.is_none_or(|to| min < to);
    let block_bytes = u64::from(into.info().block_bytes);
    let mut needed = 0_u64;
    for job in jobs {
        let mine = blocks.iter().filter(|block| block.stream == Some(job.stream.id));
        let inside =
            mine.filter(|block| block.wall_min.zip(block.wall_max).is_some_and(|(a, b)| touches(a, b)));
        let bytes: u64 = inside.map(|block| u64::from(block.used_bytes)).sum();
        // One more for what a block leaves unused, one for the block of the sync sample before the range.
        let blocks = bytes.div_ceil(block_bytes) + 2;
        needed += blocks;
        if let Ok(there) = into.stream(&job.name) {
            check_retention(job, source, &there, blocks * block_bytes, block_bytes, range)?;
        }
    }
    let free = into.free_blocks();
    let size = size::show(needed * block_bytes);
    if needed > u64::from(into.info().blocks) {
        return Err(Failure::failed(format!(
            "{}: too small: the copy needs about {size}; create a larger volume",
            into_path.display()
        )));
    }
    if needed > free && !overwrite {
        return Err(Failure::failed(format!(
            "{}: the copy needs about {size}, {free} blocks are free: its oldest footage would be overwritten; create a larger volume, or say --overwrite",
            into_path.display()
        )));
    }
    Ok(())
}

/// That the stream which a copy goes into may keep it: what is over its quota overwrites its own beginning, and nobody is given
/// what is past its maximum age.
fn check_retention(
    job: &Job,
    source: &Volume,
    there: &StreamSummary,
    needed_bytes: u64,
    block_bytes: u64,
    range: TimeRange,
) -> anyhow::Result<()> {
    let Retention { quota_bytes, maximum_age_s, .. } = there.retention;
    let has_bytes = u64::from(there.blocks) * block_bytes;
    if quota_bytes > 0 && has_bytes + needed_bytes > quota_bytes {
        return Err(Failure::failed(format!(
            "{}: in the other volume its quota is {}, and with the copy it would have {}: raise the quota there, or give the \
             copy another name with --as",
            job.name,
            size::show(quota_bytes),
            size::show(has_bytes + needed_bytes)
        )));
    }
    let oldest = source.spans(job.stream.id, range)?.into_iter().map(|span| span.from).min();
    let age_ns = i64::try_from(maximum_age_s).unwrap_or(i64::MAX).saturating_mul(1_000_000_000);
    let now = time::wall(Timestamp::now()).unwrap_or(WallTime::MAX);
    if maximum_age_s > 0 && oldest.is_some_and(|oldest| oldest.plus_ns(age_ns) < now) {
        return Err(Failure::failed(format!(
            "{}: in the other volume nobody is given what is older than {}, and some of this is: give the copy another name \
             with --as",
            job.name,
            duration::show(Duration::from_secs(maximum_age_s))
        )));
    }
    Ok(())
}

fn copy(
    jobs: Vec<Job>,
    source: &Volume,
    into: &Path,
    range: TimeRange,
    output: Output,
) -> anyhow::Result<Vec<Copied>> {
    let stopped = signals::flag()?;
    let options = WriterOptions { opener: opener("copy"), ..WriterOptions::default() };
    let writer = Writer::open(into, options, Box::new(|_| ()))?;
    let mut copied = Vec::new();
    for job in jobs {
        let mut stream = writer.stream(&job.name)?;
        let mut bar = Bar::new("copying", Unit::Bytes, output.quiet);
        let report = copy_stream(source, job.stream.id, range, &mut stream, &mut |done| {
            bar.set(done, job.stream.payload_bytes.max(done));
            if stopped.load(Ordering::SeqCst) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        copied.push(Copied { into: stream.id(), job, report });
    }
    writer.close()?;
    Ok(copied)
}

/// Reads what was copied, and holds it against what was read before.
fn verify(copied: &[Copied], into: &Path) -> anyhow::Result<()> {
    let volume = Volume::open(into)?;
    for Copied { job, into, report } in copied {
        if run_digest(&volume, *into, &report.runs)? != (report.samples, report.digest) {
            let what = format!("the copy of {}: it is not what was copied", job.name);
            return Err(Error::Corrupt { what, at: 0 }.into());
        }
    }
    Ok(())
}

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    source: VolumeDocument,
    destination: VolumeDocument,
    streams: Vec<StreamDocument<'a>>,
}

#[derive(Serialize)]
struct StreamDocument<'a> {
    stream: String,
    stream_id: String,
    copied_as: String,
    copied_id: String,
    runs: Vec<String>,
    from: Option<Moment>,
    to: Option<Moment>,
    samples: u64,
    payload_bytes: u64,
    gaps: u64,
    /// Over every sample with its run, track, ticks, wall time, flags, configuration and bytes; read from both volumes.
    blake3: String,
    /// Chunks of kinds that this version does not know, which are not in the copy.
    unknown_chunks: u64,
    /// How many places did not verify in the source, and are gaps in the copy.
    damaged: u64,
    /// The first of them.
    damage: Vec<FindingDocument<'a>>,
}

impl<'a> StreamDocument<'a> {
    fn new(copied: &'a Copied, names: &'a HashMap<StreamId, StreamName>) -> StreamDocument<'a> {
        let report = &copied.report;
        let finding = |finding: &'a Finding| FindingDocument::new(finding, names);
        StreamDocument {
            stream: copied.job.stream.name.to_string(),
            stream_id: copied.job.stream.id.to_string(),
            copied_as: copied.job.name.to_string(),
            copied_id: copied.into.to_string(),
            runs: report.runs.iter().map(ToString::to_string).collect(),
            from: report.span.map(|(from, _)| Moment(from)),
            to: report.span.map(|(_, to)| Moment(to)),
            samples: report.samples,
            payload_bytes: report.payload_bytes,
            gaps: report.gaps,
            unknown_chunks: report.unknown_chunks,
            blake3: report.digest.iter().map(|byte| format!("{byte:02x}")).collect(),
            damaged: report.damaged,
            damage: report.damage.iter().map(finding).collect(),
        }
    }
}

fn show(
    args: &Args,
    source: &Volume,
    source_path: &Path,
    into: &Volume,
    into_path: &Path,
    copied: &[Copied],
    output: Output,
) -> anyhow::Result<()> {
    let names = names(source);
    let streams: Vec<_> = copied.iter().map(|copied| StreamDocument::new(copied, &names)).collect();
    if args.json {
        document::print(&Document {
            schema: "keha.volume-copy/1",
            source: VolumeDocument::new(source_path, source.info()),
            destination: VolumeDocument::new(into_path, into.info()),
            streams,
        })?;
        return Ok(());
    }
    let lines = copied.iter().zip(&streams).map(|(copied, document)| {
        let mut text = format!(
            "{} as {}: {} samples, {}, {} gaps, read again and the same; BLAKE3 {}\n",
            document.stream,
            document.copied_as,
            document.samples,
            size::show(document.payload_bytes),
            document.gaps,
            document.blake3
        );
        if document.unknown_chunks > 0 {
            let count = document.unknown_chunks;
            text += &format!(
                "  {count} chunks are of kinds that this version does not know: they were not copied\n"
            );
        }
        if document.damaged > 0 {
            text += &format!("  {} places do not verify: they are gaps in the copy\n", document.damaged);
        }
        text.extend(copied.report.damage.iter().map(|finding| super::findings::line(finding, &names) + "\n"));
        let unnamed = document.damaged - document.damage.len() as u64;
        if unnamed > 0 {
            text += &format!("  and {unnamed} more\n");
        }
        text
    });
    output.print(&lines.collect::<String>())?;
    Ok(())
}
