//! What storing costs by itself, as ratios within one run: sixty streams into a ring against fio and against a bare program.
//!
//! Each turn writes the same number of bytes three ways, one after the other, into files of the same filesystem that were written whole
//! before: the ring, as fast as it takes samples; fio, with writes as large as the ring's are on average, as many at a time, and as many
//! flushes; and a bare program that does nothing but copy each byte once into an aligned buffer, add up its CRC-32C, and write that past the
//! page cache. Each is timed until all of it is on the disk. Then what is read
//! of a ring that was written a second at a time, as cameras send. Arguments: megabytes a turn (6000), turns (15), engine (auto, threads
//! or uring), and "partition" to have all of the first on partitions of loop devices. Use a release build, on a machine that does nothing else.
#![forbid(unsafe_code)]

use anyhow::{Context, Result, bail, ensure};
use keha_bench::{BEGIN, Median, Ring, RingOptions, SECOND_BYTES, Source, Turn, bare, measured};
use keha_fs::disk::{EngineKind, IoEngine};
use keha_fs::{Item, Opener, TimeRange, Volume, VolumeId, WallTime};
use keha_tests::ground::Ground;
use keha_tests::probe::run_silent;
use keha_tests::rig::{scratch, text};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::ops::ControlFlow;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// As the recorder has it.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const STREAMS: u32 = 60;
const S: i64 = 1_000_000_000;
/// Requests at a time, as the writer has them.
const DEPTH: usize = 4;
/// For so long a ring has just been opened: each stream takes its first two blocks, and what that costs comes once.
const SETTLED_S: u64 = 20;
/// Until each has taken two more.
const PACED_S: u64 = SETTLED_S + 34;
/// The ring that is written as fast as it goes, and its blocks.
const RING_BYTES: u64 = 8 << 30;
const BLOCK_BYTES: u32 = 32 << 20;

fn main() -> Result<()> {
    let number = |n: usize, default: u64| -> Result<u64> {
        std::env::args().nth(n).map_or(Ok(default), |text| Ok(text.parse()?))
    };
    let (bytes, turns) = (number(1, 6000)? * 1_000_000, number(2, 15)? as usize);
    let engine = match std::env::args().nth(3).as_deref() {
        None | Some("auto") => IoEngine::Auto,
        Some("threads") => IoEngine::Threads,
        Some("uring") => IoEngine::Uring,
        Some(other) => bail!("no engine {other}"),
    };
    let dir = scratch()?;
    let on_partition = match std::env::args().nth(4).as_deref() {
        None | Some("file") => false,
        Some("partition") => true,
        Some(other) => bail!("no place {other}"),
    };
    println!("{STREAMS} streams, {} MB a turn, {turns} turns; median (95 % interval)", bytes / 1_000_000);
    if on_partition {
        return writing_to_partitions(dir.path(), engine, bytes, turns);
    }
    let ring = ring(&dir.path().join("write.ring"), engine, RING_BYTES, BLOCK_BYTES, None)?;
    writing(ring, &dir.path().join("other"), bytes, turns)?;
    reading(dir.path(), engine, bytes)
}

/// As into files, on two partitions of two loop devices.
fn writing_to_partitions(dir: &Path, engine: IoEngine, bytes: u64, turns: usize) -> Result<()> {
    Ground::Partition.possible()?;
    let place = |name: &str, mebibytes: u64| {
        let dir = dir.join(name);
        std::fs::create_dir(&dir)?;
        Ground::Partition.lay(&dir, &format!("{mebibytes}MiB"), STREAMS as usize)
    };
    let (ours, other) = (place("ring", RING_BYTES >> 20)?, place("other", (bytes >> 20) + 64)?);
    let id = Volume::open(&ours.volume)?.info().id;
    let ring = ring(&ours.volume, engine, 0, BLOCK_BYTES, Some(id))?;
    writing(ring, &other.raw, bytes, turns)
}

/// The ring, of blocks such that one of each stream is enough from one round to the next.
fn ring(
    path: &Path,
    engine: IoEngine,
    size_bytes: u64,
    block_bytes: u32,
    over: Option<VolumeId>,
) -> Result<Ring> {
    keha_bench::create(path, size_bytes, STREAMS, block_bytes, over)?;
    let options = RingOptions {
        streams: STREAMS,
        buffer_bytes: 2 << 30,
        engine,
        depth: DEPTH,
        opener: Opener::default(),
    };
    let ring = Ring::open(path, &options)?;
    println!("{}: by {}", path.file_name().unwrap_or_default().display(), ring.engine());
    Ok(ring)
}

/// Nobody stops this.
fn on(_bytes: u64) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// Writes into the ring, and what it is compared with into `other`.
fn writing(mut ring: Ring, other: &Path, bytes: u64, turns: usize) -> Result<()> {
    let source = Source::new();
    // The first lap meets blocks that were never written.
    ring.write(&source, RING_BYTES, &mut on)?;
    bare(other, &source, bytes, &mut on)?;
    let (mut ours, mut bares, mut fios) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..turns {
        let turn = ring.turn(&source, bytes, &mut on).with_context(|| format!("turn {number}"))?;
        bares.push(measured(|| bare(other, &source, bytes, &mut on))?);
        let one = (turn.cost.bytes / turn.writes.max(1)).next_multiple_of(4096);
        fios.push(fio(other, ring.engine(), bytes, one, turn.writes / turn.rounds.max(1))?);
        ours.push(turn);
    }
    let of = |figure: fn(&Turn) -> f64| ours.iter().map(figure);
    let (rate, cpu) = (|turn: &Turn| turn.cost.mb_s, |turn: &Turn| turn.cost.cpu_s_per_gb);
    show("ring, MB/s", Median::of(of(rate)))?;
    show("fio, MB/s", Median::of(fios.iter().copied()))?;
    show("bare program, MB/s", Median::of(bares.iter().map(|cost| cost.mb_s)))?;
    show("ring over fio, speed (goal 0.95)", Median::of_ratios(of(rate).zip(fios.iter().copied())))?;
    show(
        "ring over bare program, speed",
        Median::of_ratios(of(rate).zip(bares.iter().map(|cost| cost.mb_s))),
    )?;
    show("ring, CPU s/GB (goal 0.3)", Median::of(of(cpu)))?;
    let theirs = || bares.iter().map(|cost| cost.cpu_s_per_gb);
    show("bare program, CPU s/GB", Median::of(theirs()))?;
    show("ring over bare program, CPU (goal 1.5)", Median::of_ratios(of(cpu).zip(theirs())))?;
    show(
        "writes a MB (goal 2)",
        Median::of(ours.iter().map(|turn| turn.writes as f64 / (turn.cost.bytes as f64 / 1e6))),
    )?;
    show(
        "rounds a second, as fast as it goes",
        Median::of(of(|turn| turn.rounds as f64 / turn.took.as_secs_f64())),
    )?;
    show("bytes written over payload, as fast as it goes", Median::of(of(|turn| turn.written_over_payload)))?;
    ring.close()
}

/// What is read of a ring into which sixty cameras were recorded a second at a time.
fn reading(dir: &Path, engine: IoEngine, bytes: u64) -> Result<()> {
    let path = dir.join("read.ring");
    let second_bytes = u64::from(STREAMS) * SECOND_BYTES;
    let seconds = bytes / second_bytes;
    ensure!(seconds >= PACED_S, "{bytes} bytes are no {PACED_S} seconds of {STREAMS} streams");
    let mut ring = ring(&path, engine, bytes * 2, 8 << 20, None)?;
    let source = Source::new();
    let (mut written, mut rounds, begun) = (0, 0, Instant::now());
    for second in 1..=seconds {
        ring.push(&source, second_bytes, &mut on)?;
        std::thread::sleep(Duration::from_secs(second).saturating_sub(begun.elapsed()));
        if second == SETTLED_S {
            // All of it, whenever the last round was.
            ring.flush(&mut on)?;
            (written, rounds) = (ring.written_bytes(), ring.rounds());
        }
    }
    println!(
        "flushes a second at a second's pace (goal 1): {:.3}",
        (ring.rounds() - rounds) as f64 / (seconds - SETTLED_S) as f64
    );
    ring.flush(&mut on)?;
    println!(
        "bytes written over payload at 4 Mbit/s (goal 1.012): {:.4}",
        (ring.written_bytes() - written) as f64 / ((seconds - SETTLED_S) * second_bytes) as f64
    );
    ring.close()?;
    let volume = Volume::open(&path)?;
    let stream = volume.streams().get(STREAMS as usize / 2).context("no such stream")?.id;
    let mut chance = StdRng::seed_from_u64(7);
    let mut over = Vec::new();
    for _ in 0..15 {
        let from = chance.random_range(0..seconds as i64 - 8);
        let range = TimeRange { from: Some(at(from)), to: Some(at(from + 8)) };
        let before = read_bytes()?;
        let needed = read(&volume, stream, range)?;
        over.push((read_bytes()? - before) as f64 / needed as f64);
    }
    show("8 s of one stream of 60, bytes read over needed (goal 1.3)", Median::of(over))
}

fn at(second: i64) -> WallTime {
    BEGIN.plus_ns(second * S)
}

/// Reads all samples of a range; answers their bytes.
fn read(volume: &Volume, stream: keha_fs::StreamId, range: TimeRange) -> Result<u64> {
    let mut cursor = volume.read(stream, range)?;
    let mut bytes = 0;
    while let Some(item) = cursor.next_item()? {
        if let Item::Sample(sample) = item {
            bytes += sample.data.len() as u64;
        }
    }
    Ok(bytes)
}

/// What fio writes in a second, MB, by the same engine, with writes of this size and a flush after so many.
fn fio(path: &Path, engine: EngineKind, bytes: u64, one: u64, flush_after: u64) -> Result<f64> {
    let (jobs, depth) = match engine {
        EngineKind::Uring => (1, DEPTH),
        _ => (DEPTH, 1),
    };
    let each = bytes / jobs as u64 / one * one;
    let mut fio = Command::new("fio");
    fio.args(["--name=ring", "--rw=write", "--direct=1", "--thread", "--group_reporting"]);
    match engine {
        EngineKind::Uring => fio.args(["--ioengine=io_uring", "--fixedbufs", "--registerfiles"]),
        _ => fio.arg("--ioengine=psync"),
    };
    fio.arg(format!("--iodepth={depth}"));
    fio.args(["--output-format=json", "--overwrite=1", "--end_fsync=1", "--refill_buffers=0"]);
    fio.arg(format!("--filename={}", text(path)?));
    fio.args([format!("--bs={one}"), format!("--numjobs={jobs}"), format!("--size={each}")]);
    fio.arg(format!("--offset_increment={each}"));
    fio.arg(format!("--fdatasync={}", (flush_after / jobs as u64).max(1)));
    let told: serde_json::Value = serde_json::from_str(&run_silent(&mut fio)?)?;
    let job = &told["jobs"][0];
    let value = |name: &str| job["write"][name].as_f64().with_context(|| format!("no {name} in {told}"));
    Ok(value("io_bytes")? / 1e3 / value("runtime")?)
}

/// What this process had disks read (proc(5) `io`).
fn read_bytes() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/self/io")?;
    let line = text.lines().find_map(|line| line.strip_prefix("read_bytes: "));
    Ok(line.context("no read_bytes")?.parse()?)
}

fn show(what: &str, median: Option<Median>) -> Result<()> {
    println!("{what}: {}", median.context("nothing was measured")?);
    Ok(())
}
