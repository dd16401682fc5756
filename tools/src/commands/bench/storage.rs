//! `keha bench storage`: what this disk takes from a ring, and what that costs the processor.

use super::figure::{self, Figure};
use super::scratch;
use crate::failure::Exit;
use crate::opener::opener;
use crate::output::progress::{Bar, Unit};
use crate::output::table::{Align, Table};
use crate::output::{Output, document};
use crate::process::signals;
use crate::units::{io, size};
use anyhow::Context;
use keha_bench::{Cost, Median, Ring, RingOptions, SECOND_BYTES, Source, Turn, bare, measured};
use keha_fs::disk::IoEngine;
use serde::Serialize;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

/// A block of the scratch ring is this share of it: there are enough of them for each stream to have one more.
const BLOCKS: u64 = 256;
/// The smallest and largest block that is made, bytes.
const BLOCK_BYTES: (u64, u64) = (1 << 20, 32 << 20);
/// What waits in memory at most, and which share of what is free there.
const BUFFER_BYTES: u64 = 2 << 30;
const BUFFER_BYTES_MIN: u64 = 64 << 20;
const BUFFER_SHARE: u64 = 4;

/// Arguments of `keha bench storage`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A directory on the disk that is meant: scratch files are made in it, and removed
    #[arg(value_name = "DIRECTORY", default_value = ".")]
    dir: PathBuf,
    /// How much is written in each turn, each way
    #[arg(long, value_name = "SIZE", default_value = "2GiB", value_parser = parse_amount)]
    amount: u64,
    /// How many turns
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=1000))]
    turns: u32,
    /// The size of the scratch ring
    #[arg(long, value_name = "SIZE", default_value = "8GiB", value_parser = size::parse)]
    ring: u64,
    /// How many streams are written at once, of 4 Mbit/s each
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=120))]
    streams: u32,
    /// What does the I/O: io_uring, threads, or auto for io_uring where it is to be had
    #[arg(long, value_name = "ENGINE", value_parser = io::parse_engine, default_value = io::DEFAULT_ENGINE)]
    io_engine: IoEngine,
    /// How many requests the disk sees at once, 1 to 32
    #[arg(long, value_name = "N", value_parser = io::parse_depth, default_value_t = io::Io::default().depth)]
    io_depth: usize,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// Reads how much is written in a turn.
fn parse_amount(text: &str) -> Result<u64, String> {
    let bytes = size::parse(text)?;
    if bytes < 1 << 20 {
        return Err("write at least 1MiB".to_owned());
    }
    Ok(bytes)
}

pub(crate) fn run(args: &Args, output: Output) -> anyhow::Result<Exit> {
    let measured = measure(args, output)?;
    let figures = Figures::new(&measured, args.amount)?;
    let document = StorageDocument::new(args, &measured, &figures);
    document::show(output, args.json, &document, || text(args, &measured.engine, &figures))?;
    Ok(Exit::Done)
}

/// What was measured.
struct Measured {
    engine: String,
    turns: Vec<Turn>,
    bare: Vec<Cost>,
}

fn measure(args: &Args, output: Output) -> anyhow::Result<Measured> {
    let scratch =
        scratch::make(&args.dir, args.ring.saturating_add(args.amount), "a smaller --ring or --amount")?;
    let (path, other) = (scratch.path().join("bench.ring"), scratch.path().join("other"));
    let block_bytes = (args.ring / BLOCKS).next_power_of_two().clamp(BLOCK_BYTES.0, BLOCK_BYTES.1);
    keha_bench::create(&path, args.ring, args.streams, u32::try_from(block_bytes)?, None)?;
    let stopped = signals::flag().context("cannot wait for signals")?;
    let mut bar = Bar::new("measuring", Unit::Bytes, output.quiet);
    let (mut done, all) = (0, args.ring + args.amount + 2 * args.amount * u64::from(args.turns));
    let mut watch = |bytes: u64| {
        done += bytes;
        bar.set(done, all.max(done));
        if stopped.load(Ordering::SeqCst) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let source = Source::new();
    let options = RingOptions {
        streams: args.streams,
        buffer_bytes: buffer_bytes(args.amount),
        engine: args.io_engine,
        depth: args.io_depth,
        opener: opener("bench"),
    };
    let mut ring = Ring::open(&path, &options)?;
    let mut all_turns = Measured { engine: ring.engine().to_string(), turns: Vec::new(), bare: Vec::new() };
    // The first lap meets blocks that were never written.
    ring.write(&source, args.ring, &mut watch)?;
    bare(&other, &source, args.amount, &mut watch)?;
    for _ in 0..args.turns {
        all_turns.turns.push(ring.turn(&source, args.amount, &mut watch)?);
        all_turns.bare.push(measured(args.amount, || bare(&other, &source, args.amount, &mut watch))?);
    }
    ring.close()?;
    scratch.close().with_context(|| format!("{}: cannot remove the scratch files", args.dir.display()))?;
    Ok(all_turns)
}

/// How much may wait: what is waited for together is written together.
fn buffer_bytes(amount: u64) -> usize {
    let free = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| available_bytes(&text));
    let share = free.map_or(BUFFER_BYTES, |free| free / BUFFER_SHARE);
    let bytes = amount.min(BUFFER_BYTES).min(share).max(BUFFER_BYTES_MIN);
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// The memory that could be had without swapping (proc(5) `meminfo`).
fn available_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// The document of what was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct StorageDocument {
    schema: &'static str,
    directory: String,
    io_engine: String,
    io_depth: usize,
    streams: u32,
    ring_bytes: u64,
    turns: u32,
    turn_bytes: u64,
    ring_mb_s: Figure,
    bare_mb_s: Figure,
    ring_over_bare_speed: Figure,
    ring_cpu_s_per_gb: Figure,
    bare_cpu_s_per_gb: Figure,
    ring_over_bare_cpu: Figure,
    writes_per_mb: Figure,
    written_over_payload: Figure,
}

/// Each figure of the turns.
struct Figures {
    ring_mb_s: Median,
    bare_mb_s: Median,
    speed: Median,
    ring_cpu: Median,
    bare_cpu: Median,
    cpu: Median,
    writes_per_mb: Median,
    written_over_payload: Median,
}

impl Figures {
    fn new(measured: &Measured, turn_bytes: u64) -> anyhow::Result<Figures> {
        let speeds = || measured.turns.iter().map(|turn| turn.cost.mb_s);
        let cpu = || measured.turns.iter().map(|turn| turn.cost.cpu_s_per_gb);
        let bare_speeds = || measured.bare.iter().map(|cost| cost.mb_s);
        let bare_cpu = || measured.bare.iter().map(|cost| cost.cpu_s_per_gb);
        let writes = measured.turns.iter().map(|turn| turn.writes as f64 / (turn_bytes as f64 / 1e6));
        let median = |median: Option<Median>| median.context("nothing was measured");
        Ok(Figures {
            ring_mb_s: median(Median::of(speeds()))?,
            bare_mb_s: median(Median::of(bare_speeds()))?,
            speed: median(Median::of_ratios(speeds().zip(bare_speeds())))?,
            ring_cpu: median(Median::of(cpu()))?,
            bare_cpu: median(Median::of(bare_cpu()))?,
            cpu: median(Median::of_ratios(cpu().zip(bare_cpu())))?,
            writes_per_mb: median(Median::of(writes))?,
            written_over_payload: median(Median::of(
                measured.turns.iter().map(|turn| turn.written_over_payload),
            ))?,
        })
    }
}

impl StorageDocument {
    fn new(args: &Args, measured: &Measured, figures: &Figures) -> StorageDocument {
        StorageDocument {
            schema: "keha.bench-storage/1",
            directory: args.dir.display().to_string(),
            io_engine: measured.engine.clone(),
            io_depth: args.io_depth,
            streams: args.streams,
            ring_bytes: args.ring,
            turns: args.turns,
            turn_bytes: args.amount,
            ring_mb_s: Figure::new(figures.ring_mb_s),
            bare_mb_s: Figure::new(figures.bare_mb_s),
            ring_over_bare_speed: Figure::new(figures.speed),
            ring_cpu_s_per_gb: Figure::new(figures.ring_cpu),
            bare_cpu_s_per_gb: Figure::new(figures.bare_cpu),
            ring_over_bare_cpu: Figure::new(figures.cpu),
            writes_per_mb: Figure::new(figures.writes_per_mb),
            written_over_payload: Figure::new(figures.written_over_payload),
        }
    }
}

/// The figures for people.
fn text(args: &Args, engine: &str, figures: &Figures) -> String {
    let mut table = Table::new(&[
        ("", Align::Left),
        ("ring", Align::Left),
        ("bare program", Align::Left),
        ("ring over bare program", Align::Left),
    ]);
    let mut row = |what: &str, cells: [Option<Median>; 3]| {
        let cells = cells.map(|cell| cell.map(figure::show).unwrap_or_default());
        table.row([what.to_owned()].into_iter().chain(cells).collect());
    };
    row("MB/s", [figures.ring_mb_s, figures.bare_mb_s, figures.speed].map(Some));
    row("CPU s/GB", [figures.ring_cpu, figures.bare_cpu, figures.cpu].map(Some));
    row("writes a MB", [Some(figures.writes_per_mb), None, None]);
    row("bytes written for each of a camera", [Some(figures.written_over_payload), None, None]);
    let cameras = figures.ring_mb_s.value * 1e6 / SECOND_BYTES as f64;
    format!(
        "{}: {} streams into a ring of {}, by {engine}, {} requests at once; {} turns of {}\n\n{}\n{}\n\
         At this speed the disk takes what {cameras:.0} cameras of 4 Mbit/s send; plan for half of that, for footage is read, too.\n",
        args.dir.display(),
        args.streams,
        size::show(args.ring),
        args.io_depth,
        args.turns,
        size::show(args.amount),
        table.render(),
        figure::INTERVALS,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use std::time::Duration;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn measured() -> Measured {
        let cost = |mb_s, cpu_s_per_gb| Cost { mb_s, cpu_s_per_gb };
        let turn = |cost| Turn {
            cost,
            writes: 2362,
            rounds: 5,
            took: Duration::from_secs(2),
            written_over_payload: 1.0109,
        };
        Measured {
            engine: "io_uring".to_owned(),
            turns: vec![turn(cost(1800.0, 0.25)), turn(cost(900.0, 0.5))],
            bare: vec![cost(2000.0, 0.2), cost(1200.0, 0.25)],
        }
    }

    fn args() -> Args {
        Line::parse_from(["bench", "/srv/disk", "--turns", "2"]).args
    }

    #[test]
    fn the_text_is_as_published() {
        let (args, measured) = (args(), measured());
        let figures = Figures::new(&measured, args.amount).expect("two turns");
        insta::assert_snapshot!(text(&args, &measured.engine, &figures));
    }

    #[test]
    fn the_document_is_as_published() {
        let (args, measured) = (args(), measured());
        let figures = Figures::new(&measured, args.amount).expect("two turns");
        insta::assert_json_snapshot!(StorageDocument::new(&args, &measured, &figures));
    }

    #[test]
    fn ratios_are_of_turns_that_ran_one_after_the_other() {
        let figures = Figures::new(&measured(), 2 << 30).expect("two turns");
        assert_eq!((figures.speed.value, figures.speed.interval), (0.825, (0.75, 0.9)));
        assert_eq!(figures.cpu.interval, (1.25, 2.0));
    }

    #[test]
    fn no_more_memory_is_waited_with_than_is_free() {
        assert_eq!(available_bytes("MemTotal: 9 kB\nMemAvailable:   1024 kB\n"), Some(1 << 20));
        assert_eq!(available_bytes("MemTotal: 9 kB\n"), None);
        assert_eq!(buffer_bytes(1), usize::try_from(BUFFER_BYTES_MIN).expect("fits"));
        assert!(buffer_bytes(u64::MAX) <= usize::try_from(BUFFER_BYTES).expect("fits"));
    }
}
