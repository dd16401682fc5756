//! `keha bench export`: how fast a stream goes out as Matroska, beside `cp` of the file that comes of it to the same place. Both end when all
//! is on the disk, and both read what the system no longer has in memory.

use super::figure::{self, Figure};
use super::scratch;
use crate::commands::volume::parse_stream;
use crate::failure::Exit;
use crate::output::progress::{Bar, Unit};
use crate::output::table::{Align, Table};
use crate::output::{Output, document};
use crate::process::signals;
use crate::units::range::RangeArguments;
use crate::units::size;
use crate::volume_argument::VolumeArgument;
use anyhow::{Context, ensure};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use keha_bench::{Cost, Median, measured};
use keha_fs::{StreamName, Volume, partition};
use keha_player::ExportRequest;
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use serde::Serialize;
use std::fs::{self, File};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::Ordering;

/// Arguments of `keha bench export`.
#[derive(Debug, clap::Args)]
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

/// What was measured.
struct Measured {
    bytes: u64,
    exports: Vec<Cost>,
    copies: Vec<Cost>,
}

pub(crate) fn run(args: &Args, output: Output) -> anyhow::Result<Exit> {
    let path = args.volume.path()?;
    let measured = measure(args, &path, output)?;
    let figures = Figures::new(&measured)?;
    let document = ExportDocument::new(args, &path, measured.bytes, &figures);
    document::show(output, args.json, &document, || text(args, &path, measured.bytes, &figures))?;
    Ok(Exit::Done)
}

fn measure(args: &Args, ring: &Path, output: Output) -> anyhow::Result<Measured> {
    let range = args.range.range(Timestamp::now(), &TimeZone::system())?;
    let request = ExportRequest { streams: vec![args.stream.clone()], range, run: None };
    let each = keha_player::plan(&Volume::open(ring)?, &request)?.estimated_bytes;
    let scratch = scratch::make(&args.dir, each.saturating_mul(2), "a shorter range")?;
    let (out, copy) = (scratch.path().join("out"), scratch.path().join("copy"));
    let node = partition::at(ring).ok().flatten().map_or(ring.to_owned(), |there| there.device);
    let stopped = signals::flag().context("cannot wait for signals")?;
    let mut bar = Bar::new("measuring", Unit::Bytes, output.quiet);
    let all = each.saturating_mul(u64::from(args.turns) + 1);
    let mut begun = 0;
    let mut export = || {
        empty(&out)?;
        forget(&node)?;
        let target = keha_player::Output::File { path: out.join("out.mkv"), force: false };
        let report = keha_player::export(&Volume::open(ring)?, &request, target, &mut |done| {
            bar.set(begun + done.bytes, all.max(begun + done.bytes));
            if stopped.load(Ordering::SeqCst) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        begun += each;
        ensure!(
            report.is_complete(),
            "{}: the range is damaged, or was overwritten meanwhile",
            ring.display()
        );
        Ok(report.files.iter().map(|file| file.manifest.file.bytes).sum::<u64>())
    };
    // How much it is, before the first turn.
    let bytes = export()?;
    let mut turns = Measured { bytes, exports: Vec::new(), copies: Vec::new() };
    for _ in 0..args.turns {
        turns.exports.push(measured(bytes, || {
            let same = export()? == bytes;
            ensure!(same, "{}: the range is still being recorded: give it an end with --to", ring.display());
            Ok(())
        })?);
        empty(&copy)?;
        turns.copies.push(measured(bytes, || copied(&out, &copy))?);
    }
    scratch.close().with_context(|| format!("{}: cannot remove the scratch files", args.dir.display()))?;
    Ok(turns)
}

/// Makes a directory, or removes what is in it.
fn empty(dir: &Path) -> anyhow::Result<()> {
    let _absent = fs::remove_dir_all(dir);
    fs::create_dir(dir).with_context(|| dir.display().to_string())
}

/// Puts a file out of the page cache, as far as the system lets it (posix_fadvise(2)).
fn forget(path: &Path) -> anyhow::Result<()> {
    let forgotten = File::open(path)
        .and_then(|file| Ok(posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)?));
    forgotten.with_context(|| path.display().to_string())
}

/// Copies the Matroska files of a directory with `cp`, until they are on the disk.
fn copied(from: &Path, to: &Path) -> anyhow::Result<()> {
    for entry in fs::read_dir(from)? {
        let file = entry?.path();
        if file.extension().is_none_or(|extension| extension != "mkv") {
            continue;
        }
        forget(&file)?;
        let mut cp = Command::new("cp");
        let status = cp.args(["--reflink=never", "--sparse=never"]).arg(&file).arg(to).status();
        ensure!(status.context("cannot start cp")?.success(), "cp: could not copy {}", file.display());
        let name = file.file_name().context("a file has a name")?;
        File::open(to.join(name))?.sync_all()?;
    }
    Ok(())
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
    cp_mb_s: Figure,
    export_over_cp_speed: Figure,
    export_cpu_s_per_gb: Figure,
}

/// Each figure of the turns.
struct Figures {
    export_mb_s: Median,
    cp_mb_s: Median,
    speed: Median,
    cpu_s_per_gb: Median,
}

impl Figures {
    fn new(measured: &Measured) -> anyhow::Result<Figures> {
        let median = |median: Option<Median>| median.context("nothing was measured");
        let exports = || measured.exports.iter().map(|cost| cost.mb_s);
        let copies = || measured.copies.iter().map(|cost| cost.mb_s);
        Ok(Figures {
            export_mb_s: median(Median::of(exports()))?,
            cp_mb_s: median(Median::of(copies()))?,
            speed: median(Median::of_ratios(exports().zip(copies())))?,
            cpu_s_per_gb: median(Median::of(measured.exports.iter().map(|cost| cost.cpu_s_per_gb)))?,
        })
    }
}

impl ExportDocument {
    fn new(args: &Args, volume: &Path, turn_bytes: u64, figures: &Figures) -> ExportDocument {
        ExportDocument {
            schema: "keha.bench-export/1",
            volume: volume.display().to_string(),
            stream: args.stream.to_string(),
            directory: args.dir.display().to_string(),
            turns: args.turns,
            turn_bytes,
            export_mb_s: Figure::new(figures.export_mb_s),
            cp_mb_s: Figure::new(figures.cp_mb_s),
            export_over_cp_speed: Figure::new(figures.speed),
            export_cpu_s_per_gb: Figure::new(figures.cpu_s_per_gb),
        }
    }
}

/// The figures for people.
fn text(args: &Args, volume: &Path, turn_bytes: u64, figures: &Figures) -> String {
    let columns = ["", "export", "cp and sync", "export over cp"].map(|name| (name, Align::Left));
    let mut table = Table::new(&columns);
    let speeds = [figures.export_mb_s, figures.cp_mb_s, figures.speed].map(figure::show);
    table.row(["MB/s".to_owned()].into_iter().chain(speeds).collect());
    let cpu = figure::show(figures.cpu_s_per_gb);
    table.row(vec!["CPU s/GB".to_owned(), cpu, String::new(), String::new()]);
    format!(
        "{}, stream {}: {} of Matroska into {}, read from the disk; {} turns\n\n{}\n{}\n",
        volume.display(),
        args.stream,
        size::show(turn_bytes),
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
        let cost = |mb_s, cpu_s_per_gb| Cost { mb_s, cpu_s_per_gb };
        let exports = vec![cost(600.0, 0.8), cost(640.0, 0.9)];
        let copies = vec![cost(300.0, 0.0), cost(400.0, 0.0)];
        Figures::new(&Measured { bytes: 4 << 30, exports, copies }).expect("two turns")
    }

    fn args() -> Args {
        Line::parse_from(["bench", "attic.ring", "--stream", "front", "--turns", "2"]).args
    }

    #[test]
    fn the_text_is_as_published() {
        insta::assert_snapshot!(text(&args(), Path::new("attic.ring"), 4 << 30, &figures()));
    }

    #[test]
    fn the_document_is_as_published() {
        insta::assert_json_snapshot!(ExportDocument::new(
            &args(),
            Path::new("attic.ring"),
            4 << 30,
            &figures()
        ));
    }
}
