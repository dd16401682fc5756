//! `keha bench export`: how fast a stream goes out as Matroska, beside a plain copy of what comes of it to the same place. Both end when all
//! is on the disk, and what the system has in memory of what they read is let go before.

use super::figure::{self, Figure};
use super::scratch;
use crate::commands::volume::parse_stream;
use crate::failure::Exit;
use crate::output::progress::{Bar, Unit};
use crate::output::table::{Align, Table};
use crate::output::{Output, document};
use crate::process::signals;
use crate::units::range::RangeArguments;
use crate::units::{size, time};
use crate::volume_argument::VolumeArgument;
use anyhow::{Context, ensure};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use keha_bench::{Cost, Median, Stopped, measured};
use keha_fs::{StreamName, Volume, partition};
use keha_player::ExportRequest;
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use serde::Serialize;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What is read and written at once where files are copied.
const COPY_BYTES: usize = 1 << 20;

/// Arguments of `keha bench export`.
#[derive(Debug, clap::Args)]
#[command(after_help = format!("T is {}. Without --from and --to everything there is goes out. Give --dir on the disk of the volume: \
                                copying reads and writes there.", time::HELP))]
pub(crate) struct Args {
    #[command(flatten)]
    volume: VolumeArgument,
    /// The stream: the camera's name, or camera/sub
    #[arg(long, value_name = "NAME", value_parser = parse_stream)]
    stream: StreamName,
    #[command(flatten)]
    range: RangeArguments,
    /// A directory on the disk to write to: scratch files are made in it, and removed
    #[arg(long, value_name = "DIRECTORY", default_value = ".")]
    dir: PathBuf,
    /// How many turns
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=1000))]
    turns: u32,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// What was measured, turn by turn.
#[derive(Default)]
struct Measured {
    exports: Vec<Cost>,
    copies: Vec<Cost>,
}

/// How far it is, and whether to go on.
struct Progress {
    stopped: Arc<AtomicBool>,
    bar: Bar,
    /// Bytes of what is done, and of all that will be.
    done: u64,
    all: u64,
}

impl Progress {
    /// So many bytes of what is under way are done.
    fn tell(&mut self, bytes: u64) -> ControlFlow<()> {
        let done = self.done.saturating_add(bytes);
        self.bar.set(done, self.all.max(done));
        if self.stopped.load(Ordering::SeqCst) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// What was under way is done.
    fn step(&mut self, bytes: u64) -> u64 {
        self.done = self.done.saturating_add(bytes);
        bytes
    }
}

pub(crate) fn run(args: &Args, output: Output) -> anyhow::Result<Exit> {
    let path = args.volume.path()?;
    let measured = measure(args, &path, output)?;
    let figures = Figures::new(&measured)?;
    let document = ExportDocument::new(args, &path, &figures);
    document::show(output, args.json, &document, || text(args, &path, &figures))?;
    Ok(Exit::Done)
}

fn measure(args: &Args, ring: &Path, output: Output) -> anyhow::Result<Measured> {
    let range = args.range.range(Timestamp::now(), &TimeZone::system())?;
    let request = ExportRequest { streams: vec![args.stream.clone()], range, run: None };
    let each = keha_player::plan(&Volume::open(ring)?, &request)?.estimated_bytes;
    let stopped = signals::flag().context("cannot wait for signals")?;
    let scratch = scratch::make(&args.dir, each.saturating_mul(2), "a shorter range")?;
    let (out, copy) = (scratch.path().join("out"), scratch.path().join("copy"));
    let node = partition::at(ring).ok().flatten().map_or(ring.to_owned(), |there| there.device);
    let mut progress = Progress {
        stopped,
        bar: Bar::new("measuring", Unit::Bytes, output.quiet),
        done: 0,
        all: each.saturating_mul(2 * u64::from(args.turns)),
    };
    let mut measured_turns = Measured::default();
    for _ in 0..args.turns {
        empty(&out)?;
        forget(&node)?;
        let ours = measured(|| export(ring, &request, &out, &mut progress))?;
        let first = measured_turns.exports.first().unwrap_or(&ours);
        ensure!(
            first.bytes == ours.bytes,
            "{}: the range changes: give --from and --to, between which nothing is recorded or overwritten now",
            ring.display()
        );
        let files = files_in(&out)?;
        files.iter().try_for_each(|file| forget(file))?;
        empty(&copy)?;
        let theirs = measured(|| copied(&files, &copy, &mut progress))?;
        measured_turns.exports.push(ours);
        measured_turns.copies.push(theirs);
    }
    scratch::remove(scratch.path())?;
    Ok(measured_turns)
}

/// Exports into a directory; answers how many bytes that are.
fn export(ring: &Path, request: &ExportRequest, dir: &Path, progress: &mut Progress) -> anyhow::Result<u64> {
    let target = keha_player::Output::File { path: dir.join("out.mkv"), force: false };
    let mut tell = |done: keha_player::Progress| progress.tell(done.bytes);
    let report = keha_player::export(&Volume::open(ring)?, request, target, &mut tell)?;
    ensure!(report.is_complete(), "{}: the range is damaged, or was overwritten meanwhile", ring.display());
    Ok(progress.step(report.files.iter().map(|file| file.manifest.file.bytes).sum()))
}

/// Makes a directory, or removes what is in it.
fn empty(dir: &Path) -> anyhow::Result<()> {
    let _absent = fs::remove_dir_all(dir);
    fs::create_dir(dir).with_context(|| dir.display().to_string())
}

/// The Matroska files in a directory.
fn files_in(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let paths = fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
    Ok(paths
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "mkv"))
        .collect())
}

/// Puts a file out of the page cache, as far as the system lets it (posix_fadvise(2)).
fn forget(path: &Path) -> anyhow::Result<()> {
    let forgotten = File::open(path)
        .and_then(|file| Ok(posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)?));
    forgotten.with_context(|| path.display().to_string())
}

/// Copies files into a directory until they are on the disk, by reading and writing; answers how many bytes they have.
fn copied(files: &[PathBuf], dir: &Path, progress: &mut Progress) -> anyhow::Result<u64> {
    let mut buffer = vec![0; COPY_BYTES];
    let mut bytes = 0;
    for from in files {
        let name = from.file_name().context("a file without a name")?;
        let (mut source, mut target) = (File::open(from)?, File::create_new(dir.join(name))?);
        loop {
            let length = source.read(&mut buffer)?;
            let Some(part) = buffer.get(..length).filter(|part| !part.is_empty()) else { break };
            target.write_all(part)?;
            bytes += length as u64;
            ensure!(progress.tell(bytes).is_continue(), Stopped);
        }
        target.sync_all()?;
    }
    Ok(progress.step(bytes))
}

/// The document of what was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct ExportDocument {
    schema: &'static str,
    volume: String,
    stream: String,
    directory: String,
    turns: u32,
    turn_bytes: u64,
    export_mb_s: Figure,
    copy_mb_s: Figure,
    export_over_copy_speed: Figure,
    export_cpu_s_per_gb: Figure,
}

/// Each figure of the turns.
struct Figures {
    turn_bytes: u64,
    export_mb_s: Median,
    copy_mb_s: Median,
    speed: Median,
    cpu_s_per_gb: Median,
}

impl Figures {
    fn new(measured: &Measured) -> anyhow::Result<Figures> {
        let median = |median: Option<Median>| median.context("nothing was measured");
        let exports = || measured.exports.iter().map(|cost| cost.mb_s);
        let copies = || measured.copies.iter().map(|cost| cost.mb_s);
        Ok(Figures {
            turn_bytes: measured.exports.first().map_or(0, |cost| cost.bytes),
            export_mb_s: median(Median::of(exports()))?,
            copy_mb_s: median(Median::of(copies()))?,
            speed: median(Median::of_ratios(exports().zip(copies())))?,
            cpu_s_per_gb: median(Median::of(measured.exports.iter().map(|cost| cost.cpu_s_per_gb)))?,
        })
    }
}

impl ExportDocument {
    fn new(args: &Args, volume: &Path, figures: &Figures) -> ExportDocument {
        ExportDocument {
            schema: "keha.bench-export/1",
            volume: volume.display().to_string(),
            stream: args.stream.to_string(),
            directory: args.dir.display().to_string(),
            turns: args.turns,
            turn_bytes: figures.turn_bytes,
            export_mb_s: Figure::new(figures.export_mb_s),
            copy_mb_s: Figure::new(figures.copy_mb_s),
            export_over_copy_speed: Figure::new(figures.speed),
            export_cpu_s_per_gb: Figure::new(figures.cpu_s_per_gb),
        }
    }
}

/// The figures for people.
fn text(args: &Args, volume: &Path, figures: &Figures) -> String {
    let columns = ["", "export", "copy", "export over copy"].map(|name| (name, Align::Left));
    let mut table = Table::new(&columns);
    let speeds = [figures.export_mb_s, figures.copy_mb_s, figures.speed].map(figure::show);
    table.row(["MB/s".to_owned()].into_iter().chain(speeds).collect());
    let cpu = figure::show(figures.cpu_s_per_gb);
    table.row(vec!["CPU s/GB".to_owned(), cpu, String::new(), String::new()]);
    format!(
        "{}, stream {}: {} of Matroska into {}; {} turns\n\n{}\n{}\n",
        volume.display(),
        args.stream,
        size::show(figures.turn_bytes),
        args.dir.display(),
        args.turns,
        table.render(),
        figure::INTERVALS,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn figures() -> Figures {
        let cost = |mb_s, cpu_s_per_gb| Cost { bytes: 4 << 30, mb_s, cpu_s_per_gb };
        let exports = vec![cost(600.0, 0.8), cost(640.0, 0.9)];
        let copies = vec![cost(300.0, 0.0), cost(400.0, 0.0)];
        Figures::new(&Measured { exports, copies }).expect("two turns")
    }

    fn args() -> Args {
        Line::parse_from(["bench", "attic.ring", "--stream", "front", "--turns", "2"]).args
    }

    #[test]
    fn the_text_is_as_published() {
        insta::assert_snapshot!(text(&args(), Path::new("attic.ring"), &figures()));
    }

    #[test]
    fn the_document_is_as_published() {
        insta::assert_json_snapshot!(ExportDocument::new(&args(), Path::new("attic.ring"), &figures()));
    }
}
