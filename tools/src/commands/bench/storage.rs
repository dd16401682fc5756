//! `keha bench storage`: what this disk takes from a ring, and what that costs the processor.

use super::figure::{self, Figure};
use super::scratch;
use crate::failure::{Exit, Failure};
use crate::opener::opener;
use crate::output::progress::{Bar, Unit};
use crate::output::table::{Align, Table};
use crate::output::{Output, document};
use crate::process::signals;
use crate::units::io::Io;
use crate::units::size;
use anyhow::Context;
use keha_bench::{Cost, Median, Ring, RingOptions, SECOND_BYTES, Source, Turn, bare, measured};
use serde::Serialize;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

/// The scratch ring has so many blocks, or so many a stream if that is more: enough for a round to find free ones for each stream.
const BLOCKS: u64 = 256;
const BLOCKS_A_STREAM: u64 = 4;
/// The smallest and largest block that is made, bytes.
const BLOCK_BYTES: (u64, u64) = (1 << 20, 32 << 20);
/// What waits in memory at most, and which share of what is free there.
const BUFFER_BYTES: u64 = 2 << 30;
const BUFFER_SHARE: u64 = 4;
/// A stream may have as much in any case.
const STREAM_BUFFER_BYTES: u64 = 4 << 20;

/// What to mind.
const AFTER_HELP: &str = "It writes the ring once, and the amount twice in each turn and once more: 38 GiB if nothing else is said. A recorder on \
                          the same disk is disturbed by it.";

/// Arguments of `keha bench storage`.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// A directory on the disk that is meant: scratch files are made in it, and removed
    #[arg(value_name = "DIRECTORY", default_value = ".")]
    dir: PathBuf,
    /// How much is measured in each turn, each way
    #[arg(long, value_name = "SIZE", default_value = "2GiB", value_parser = parse_amount)]
    amount: u64,
    /// How many turns
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=1000))]
    turns: u32,
    /// The size of the scratch ring; a small one has small blocks, and is written in many short rounds
    #[arg(long, value_name = "SIZE", default_value = "8GiB", value_parser = size::parse)]
    ring: u64,
    /// How many streams are written at once, of 4 Mbit/s each
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=120))]
    streams: u32,
    #[command(flatten)]
    io: Io,
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
    let figures = Figures::new(&measured)?;
    let document = StorageDocument::new(args, &measured, &figures);
    document::show(output, args.json, &document, || text(args, &measured.engine, &figures))?;
    Ok(Exit::Done)
}

/// What was measured.
struct Measured {
    engine: String,
    buffer_bytes: usize,
    turns: Vec<Turn>,
    bare: Vec<Cost>,
}

fn measure(args: &Args, output: Output) -> anyhow::Result<Measured> {
    let block_bytes = block_bytes(args.ring, args.streams)?;
    let stopped = signals::flag().context("cannot wait for signals")?;
    let needed = args.ring.saturating_add(args.amount);
    let scratch = scratch::make(&args.dir, needed, "a smaller --ring or --amount")?;
    let (path, other) = (scratch.path().join("bench.ring"), scratch.path().join("other"));
    let mut bar = Bar::new("measuring", Unit::Bytes, output.quiet);
    let turns = args.amount.saturating_mul(2).saturating_mul(u64::from(args.turns));
    let (mut done, all) = (0_u64, needed.saturating_add(turns));
    let mut watch = |bytes: u64| {
        done += bytes;
        bar.set(done, all.max(done));
        if stopped.load(Ordering::SeqCst) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let source = Source::new();
    // What this disk cannot do at all shows first.
    bare(&other, &source, args.amount, &mut watch)?;
    keha_bench::create(&path, args.ring, args.streams, block_bytes, None)?;
    let free = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| available_bytes(&text));
    let options = RingOptions {
        streams: args.streams,
        buffer_bytes: buffer_bytes(args.amount, free, args.streams)?,
        engine: args.io.engine,
        depth: args.io.depth,
        opener: opener("bench"),
    };
    let mut ring = Ring::open(&path, &options)?;
    let mut take = || {
        // The first lap meets blocks that were never written.
        ring.write(&source, args.ring, &mut watch)?;
        let mut taken = (Vec::new(), Vec::new());
        for _ in 0..args.turns {
            taken.0.push(ring.turn(&source, args.amount, &mut watch)?);
            taken.1.push(measured(|| bare(&other, &source, args.amount, &mut watch))?);
        }
        anyhow::Ok(taken)
    };
    let taken = take();
    // Before the ring is closed: on a slow disk that takes a while, and who waits for it may end this program.
    let removed = scratch::remove(scratch.path());
    let (turns, bare) = taken?;
    removed?;
    let (engine, buffer_bytes) = (ring.engine().to_string(), options.buffer_bytes);
    Ok(Measured { engine, buffer_bytes, turns, bare })
}

/// The size of a block of a ring of this size.
fn block_bytes(ring: u64, streams: u32) -> anyhow::Result<u32> {
    let blocks = BLOCKS.max(u64::from(streams) * BLOCKS_A_STREAM);
    let (least, most) = BLOCK_BYTES;
    let Some(block) = (ring / blocks).checked_ilog2().map(|log| 1 << log).filter(|block| *block >= least)
    else {
        let needed = size::show(blocks * least);
        return Err(Failure::usage(format!("--ring: {streams} streams need {needed} at least")));
    };
    Ok(u32::try_from(block.min(most))?)
}

/// How much may wait: what waits together is written together.
fn buffer_bytes(amount: u64, free: Option<u64>, streams: u32) -> anyhow::Result<usize> {
    let least = u64::from(streams) * STREAM_BUFFER_BYTES;
    let share = free.map_or(BUFFER_BYTES, |free| free / BUFFER_SHARE);
    Ok(usize::try_from(amount.min(BUFFER_BYTES).min(share).max(least))?)
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
    buffer_bytes: usize,
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
    fn new(measured: &Measured) -> anyhow::Result<Figures> {
        let speeds = || measured.turns.iter().map(|turn| turn.cost.mb_s);
        let cpu = || measured.turns.iter().map(|turn| turn.cost.cpu_s_per_gb);
        let bare_speeds = || measured.bare.iter().map(|cost| cost.mb_s);
        let bare_cpu = || measured.bare.iter().map(|cost| cost.cpu_s_per_gb);
        let writes = measured.turns.iter().map(|turn| turn.writes as f64 / (turn.cost.bytes as f64 / 1e6));
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
            io_depth: args.io.depth,
            streams: args.streams,
            ring_bytes: args.ring,
            buffer_bytes: measured.buffer_bytes,
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
        args.io.depth,
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
    use keha_fs::CreateOptions;
    use std::time::Duration;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn measured() -> Measured {
        let cost = |mb_s, cpu_s_per_gb| Cost { bytes: 2 << 30, mb_s, cpu_s_per_gb };
        let turn = |cost| Turn {
            cost,
            writes: 2362,
            rounds: 5,
            took: Duration::from_secs(2),
            written_over_payload: 1.0109,
        };
        Measured {
            engine: "io_uring".to_owned(),
            buffer_bytes: 2 << 30,
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
        let figures = Figures::new(&measured).expect("two turns");
        insta::assert_snapshot!(text(&args, &measured.engine, &figures));
    }

    #[test]
    fn the_document_is_as_published() {
        let (args, measured) = (args(), measured());
        let figures = Figures::new(&measured).expect("two turns");
        insta::assert_json_snapshot!(StorageDocument::new(&args, &measured, &figures));
    }

    #[test]
    fn ratios_are_of_turns_that_ran_one_after_the_other() {
        let figures = Figures::new(&measured()).expect("two turns");
        assert_eq!((figures.speed.value, figures.speed.interval), (0.825, (0.75, 0.9)));
        assert_eq!(figures.cpu.interval, (1.25, 2.0));
    }

    #[test]
    fn what_waits_is_as_much_as_a_turn_and_a_quarter_of_what_is_free() {
        let bytes = |amount, free| buffer_bytes(amount, free, 60).expect("fits") as u64;
        assert_eq!(bytes(1 << 30, Some(u64::MAX)), 1 << 30);
        assert_eq!(bytes(8 << 30, None), 2 << 30);
        assert_eq!(bytes(8 << 30, Some(1 << 30)), 256 << 20);
        assert_eq!((bytes(1, Some(u64::MAX)), bytes(8 << 30, Some(0))), (240 << 20, 240 << 20));
        assert_eq!(available_bytes("MemTotal: 9 kB\nMemAvailable:   1024 kB\n"), Some(1 << 20));
        assert_eq!(available_bytes("MemTotal: 9 kB\n"), None);
    }

    #[test]
    fn a_ring_that_is_large_enough_can_be_made_for_as_many_streams() {
        for streams in [1, 2, 8, 59, 60, 63, 64, 65, 84, 85, 119, 120] {
            for mebibytes in [256, 300, 511, 512, 513, 2049, 4096, 5120, 8191, 8192, 8193, 1 << 20] {
                let Ok(block_bytes) = block_bytes(mebibytes << 20, streams) else {
                    assert!(mebibytes < 512, "{streams} streams, {mebibytes} MiB");
                    continue;
                };
                let options = CreateOptions {
                    size_bytes: mebibytes << 20,
                    block_bytes: Some(block_bytes),
                    streams_max: Some(streams),
                    ..CreateOptions::default()
                };
                let plan = keha_fs::plan(&options);
                let enough = plan.as_ref().is_ok_and(|info| info.blocks > 3 * streams + 2);
                assert!(enough, "{streams} streams, {mebibytes} MiB in blocks of {block_bytes}: {plan:?}");
            }
        }
        assert!(block_bytes(0, 1).is_err_and(|why| why.to_string().contains("256 MiB")));
    }
}
