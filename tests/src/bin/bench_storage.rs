//! What storing costs by itself, as ratios within one run: sixty streams into a ring against fio and against a bare program.
//!
//! Each turn writes the same number of bytes three ways, one after the other, into files of the same filesystem that were written whole
//! before: the ring, as fast as it takes samples; fio, with writes as large as the ring's are on average, as many at a time, and as many
//! flushes; and a bare program that does nothing but copy each byte once into an aligned buffer, add up its CRC-32C, and write that past the
//! page cache. The ring's speed is that between rounds, for what was pushed last waits up to a second for its round. Then what is read
//! of a ring that was written a second at a time, as cameras send. Arguments: megabytes a turn (6000), turns (15), engine (auto, threads
//! or uring), and "partition" to have all of the first on partitions of loop devices. Use a release build, on a machine that does nothing else.
#![forbid(unsafe_code)]

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use keha_fs::disk::{AlignedBuffer, EngineKind, IoEngine};
use keha_fs::{
    Anchor, ClockSource, Configuration, Item, RunId, Sample, SampleFlags, StreamName, StreamWriter,
    TimeRange, TrackConfiguration, TrackKind, TrackNumber, Uuid, Volume, WallTime, Writer, WriterOptions,
};
use keha_tests::ground::Ground;
use keha_tests::probe::run_silent;
use keha_tests::process::keha_ok;
use keha_tests::ratio::Median;
use keha_tests::rig::{scratch, text};
use keha_tests::usage::own_cpu_s;
use keha_tests::written::push;
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// As the recorder has it.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const STREAMS: usize = 60;
/// A camera of 4 Mbit/s: a keyframe and 24 pictures a second.
const KEYFRAME_BYTES: usize = 80_000;
const PICTURE_BYTES: usize = 17_500;
const PICTURES: i64 = 25;
const SECOND_BYTES: u64 = (KEYFRAME_BYTES + 24 * PICTURE_BYTES) as u64;
const TIMESCALE: u32 = 90_000;
const S: i64 = 1_000_000_000;
/// Requests at a time, as the writer has them.
const DEPTH: usize = 4;
const BARE_BYTES: usize = 1 << 20;
/// For so long a ring has just been opened: each stream takes its first block, and what that costs comes once.
const SETTLED_S: u64 = 8;
/// The ring that is written as fast as it goes. Its blocks are such that one of each stream is enough from one round to the next.
const RING_MIB: u64 = 8 << 10;
const BLOCKS: &[&str] = &["--block-size", "32MiB"];

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
    let ring = Ring::new(&dir.path().join("write.ring"), engine, RING_MIB, BLOCKS)?;
    writing(ring, &dir.path().join("other"), bytes, turns)?;
    reading(dir.path(), engine, bytes)
}

/// As into files, on two partitions of two loop devices.
fn writing_to_partitions(dir: &Path, engine: IoEngine, bytes: u64, turns: usize) -> Result<()> {
    Ground::Partition.possible()?;
    let place = |name: &str, mebibytes: u64| {
        let dir = dir.join(name);
        std::fs::create_dir(&dir)?;
        Ground::Partition.lay(&dir, &format!("{mebibytes}MiB"), STREAMS)
    };
    let (ours, other) = (place("ring", RING_MIB)?, place("other", (bytes >> 20) + 64)?);
    let id = Volume::open(&ours.volume)?.info().id.to_string();
    let ring = Ring::new(&ours.volume, engine, RING_MIB, &[BLOCKS, &["--overwrite", &id]].concat())?;
    writing(ring, &other.raw, bytes, turns)
}

/// What moved so many bytes.
#[derive(Clone, Copy, Debug)]
struct Cost {
    mb_s: f64,
    cpu_s_per_gb: f64,
}

/// Measures what this process does until all is on the disk.
fn measured(bytes: u64, what: impl FnOnce() -> Result<()>) -> Result<Cost> {
    let (began, cpu_s) = (Instant::now(), own_cpu_s()?);
    what()?;
    Ok(Cost {
        mb_s: bytes as f64 / 1e6 / began.elapsed().as_secs_f64(),
        cpu_s_per_gb: (own_cpu_s()? - cpu_s) / (bytes as f64 / 1e9),
    })
}

/// Writes into the ring, and what it is compared with into `other`.
fn writing(mut ring: Ring, other: &Path, bytes: u64, turns: usize) -> Result<()> {
    let source = Source::new();
    // The first lap meets blocks that were never written.
    ring.write(&source, RING_MIB << 20)?;
    bare(other, &source, bytes)?;
    let (mut ours, mut bares, mut fios) = (Vec::new(), Vec::new(), Vec::new());
    let (mut calls, mut amount, mut rounds_a_second) = (Vec::new(), Vec::new(), Vec::new());
    for turn in 0..turns {
        let (writes, written, rounds) = (ring.writes(), ring.written(), ring.rounds());
        let began = Instant::now();
        let mut cost =
            measured(bytes, || ring.write(&source, bytes)).with_context(|| format!("turn {turn}"))?;
        cost.mb_s = ring.mb_s_since(began)?;
        ours.push(cost);
        let (requests, rounds) = (ring.writes() - writes, ring.rounds() - rounds);
        rounds_a_second.push(rounds as f64 / began.elapsed().as_secs_f64());
        calls.push(requests as f64 / (bytes as f64 / 1e6));
        amount.push((ring.written() - written) as f64 / bytes as f64);
        bares.push(measured(bytes, || bare(other, &source, bytes))?);
        let one = (bytes / requests.max(1)).next_multiple_of(4096);
        fios.push(fio(other, ring.writer.engine(), bytes, one, requests / rounds.max(1))?);
    }
    let rate = |costs: &[Cost]| Median::of(costs.iter().map(|cost| cost.mb_s));
    let cpu = |costs: &[Cost]| Median::of(costs.iter().map(|cost| cost.cpu_s_per_gb));
    show("ring, MB/s", rate(&ours))?;
    show("fio, MB/s", Median::of(fios.iter().copied()))?;
    show("bare program, MB/s", rate(&bares))?;
    let pairs = ours.iter().zip(&fios).map(|(ours, fio)| (ours.mb_s, *fio));
    show("ring over fio, speed (goal 0.95)", Median::of_ratios(pairs))?;
    show("ring, CPU s/GB (goal 0.3)", cpu(&ours))?;
    show("bare program, CPU s/GB", cpu(&bares))?;
    let pairs = ours.iter().zip(&bares).map(|(ours, bare)| (ours.cpu_s_per_gb, bare.cpu_s_per_gb));
    show("ring over bare program, CPU (goal 1.5)", Median::of_ratios(pairs))?;
    show("writes a MB (goal 2)", Median::of(calls))?;
    show("rounds a second (goal 1)", Median::of(rounds_a_second))?;
    show("bytes written over payload, as fast as it goes", Median::of(amount))?;
    ring.close()
}

/// What is read of a ring into which sixty cameras were recorded a second at a time.
fn reading(dir: &Path, engine: IoEngine, bytes: u64) -> Result<()> {
    let path = dir.join("read.ring");
    let seconds = bytes / (STREAMS as u64 * SECOND_BYTES);
    ensure!(seconds >= 16, "{bytes} bytes are no 16 seconds of {STREAMS} streams");
    let mut ring = Ring::new(&path, engine, (bytes * 2) >> 20, &["--block-size", "8MiB"])?;
    let source = Source::new();
    let (mut written, begun) = (0, Instant::now());
    for second in 1..=seconds {
        ring.push(&source, STREAMS as u64 * SECOND_BYTES)?;
        std::thread::sleep(Duration::from_secs(second).saturating_sub(begun.elapsed()));
        if second == SETTLED_S {
            written = ring.written();
        }
    }
    println!(
        "bytes written over payload at 4 Mbit/s (goal 1.012): {:.4}",
        (ring.written() - written) as f64 / ((seconds - SETTLED_S) * STREAMS as u64 * SECOND_BYTES) as f64
    );
    ring.flush()?;
    ring.close()?;
    let volume = Volume::open(&path)?;
    let stream = volume.streams().get(STREAMS / 2).context("no such stream")?.id;
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
    WallTime((1_780_000_000 + second) * S)
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

/// Bytes that no disk compresses, to be written over and over.
struct Source(Bytes);

impl Source {
    fn new() -> Source {
        let mut bytes = vec![0; 16 << 20];
        StdRng::seed_from_u64(1).fill_bytes(&mut bytes);
        Source(bytes.into())
    }

    /// So many bytes, others each time.
    fn take(&self, place: u64, length: usize) -> Bytes {
        let from = (place as usize * 4099) % (self.0.len() - length);
        self.0.slice(from..from + length)
    }
}

/// A volume with its writer and all streams.
struct Ring {
    writer: Writer,
    streams: Vec<StreamWriter>,
    /// Pictures pushed into each stream.
    pictures: i64,
    seen: Arc<Seen>,
}

/// What the last round told.
#[derive(Default)]
struct Seen {
    durable: AtomicU64,
    written: AtomicU64,
    writes: AtomicU64,
    rounds: AtomicU64,
    /// When each round ended, and how many samples were durable then.
    ends: Mutex<Vec<(Instant, u64)>>,
}

impl Ring {
    fn new(path: &Path, engine: IoEngine, mebibytes: u64, more: &[&str]) -> Result<Ring> {
        let (size, streams) = (format!("{mebibytes}MiB"), STREAMS.to_string());
        let create = ["volume", "create", text(path)?, "--size", &size, "--streams", &streams];
        keha_ok(&[&create, more].concat(), Duration::from_secs(120))?;
        let seen = Arc::new(Seen::default());
        let told = Arc::clone(&seen);
        let on_round = move |report: keha_fs::RoundReport| {
            let tracks = report.streams.iter().flat_map(|stream| &stream.tracks);
            let durable = tracks.map(|track| track.samples).sum();
            told.durable.store(durable, Ordering::SeqCst);
            told.ends.lock().expect("nobody panics with it").push((Instant::now(), durable));
            told.written.store(report.written_bytes, Ordering::SeqCst);
            told.writes.store(report.writes, Ordering::SeqCst);
            told.rounds.fetch_add(1, Ordering::SeqCst);
        };
        // What is pushed counts as waiting until it is durable: in a second more comes here than sixty cameras send.
        let options = WriterOptions { buffer_bytes: 2 << 30, engine, ..WriterOptions::default() };
        let writer = Writer::open(path, options, Box::new(on_round))?;
        println!("{}: by {}", path.file_name().unwrap_or_default().display(), writer.engine());
        let streams = (0..STREAMS).map(|number| begun(&writer, number)).collect::<Result<Vec<_>>>()?;
        Ok(Ring { writer, streams, pictures: 0, seen })
    }

    /// Pushes so many bytes, and waits until all of it is durable.
    fn write(&mut self, source: &Source, bytes: u64) -> Result<()> {
        self.push(source, bytes)?;
        self.flush()
    }

    /// Pushes so many bytes into all streams, picture by picture.
    fn push(&mut self, source: &Source, bytes: u64) -> Result<()> {
        let mut pushed = 0;
        while pushed < bytes {
            let is_keyframe = self.pictures % PICTURES == 0;
            let length = if is_keyframe { KEYFRAME_BYTES } else { PICTURE_BYTES };
            let flags = if is_keyframe { SampleFlags::SYNC } else { SampleFlags::default() };
            for (number, stream) in self.streams.iter_mut().enumerate() {
                let place = self.pictures as u64 * STREAMS as u64 + number as u64;
                let data = vec![source.take(place, length)];
                let ticks = self.pictures * i64::from(TIMESCALE) / PICTURES;
                push(stream, &Sample { track: TrackNumber(1), ticks, flags, data })?;
                pushed += length as u64;
            }
            self.pictures += 1;
        }
        Ok(())
    }

    /// Waits until all is durable.
    fn flush(&self) -> Result<()> {
        let wanted = self.pictures as u64 * STREAMS as u64;
        let end = Instant::now() + Duration::from_secs(120);
        while self.seen.durable.load(Ordering::SeqCst) < wanted {
            if Instant::now() > end {
                bail!("{wanted} samples are not durable");
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Bytes given to the disk so far.
    fn written(&self) -> u64 {
        self.seen.written.load(Ordering::SeqCst)
    }

    /// In so many writes.
    fn writes(&self) -> u64 {
        self.seen.writes.load(Ordering::SeqCst)
    }

    /// Megabytes a second that became durable from the first round to the last but one that ended since then.
    fn mb_s_since(&self, began: Instant) -> Result<f64> {
        let ends = self.seen.ends.lock().expect("nobody panics with it");
        let since: Vec<_> = ends.iter().filter(|(at, _)| *at > began).collect();
        let [(from, before), .., (to, after), _] = since.as_slice() else {
            bail!("{} rounds in a turn: give it more megabytes", since.len())
        };
        let bytes = (after - before) * SECOND_BYTES / PICTURES.unsigned_abs();
        Ok(bytes as f64 / 1e6 / (*to - *from).as_secs_f64())
    }

    fn rounds(&self) -> u64 {
        self.seen.rounds.load(Ordering::SeqCst)
    }

    fn close(self) -> Result<()> {
        drop(self.streams);
        Ok(self.writer.close()?)
    }
}

/// A stream that takes samples.
fn begun(writer: &Writer, number: usize) -> Result<StreamWriter> {
    let mut stream = writer.stream(&StreamName::new(&format!("cam{number:02}"))?)?;
    let video = TrackConfiguration {
        track: TrackNumber(1),
        kind: TrackKind::Video,
        codec: *b"avc1",
        timescale: TIMESCALE,
        width: 1920,
        height: 1080,
        channels: 0,
        sample_rate: 0,
        private: vec![1, 100, 0, 40],
    };
    stream.configure(&Configuration { tracks: vec![video], session: Vec::new() })?;
    stream.begin_run(RunId(Uuid::from_u128(number as u128 + 1)));
    stream.anchor(Anchor {
        track: TrackNumber(1),
        timescale: TIMESCALE,
        ticks: 0,
        wall: at(0),
        source: ClockSource::Arrival,
        uncertainty_us: 1000,
        arrival: at(0),
        camera_offset_ns: 0,
    });
    Ok(stream)
}

/// Copies each byte once, adds up its checksum, and writes it past the page cache.
fn bare(path: &Path, source: &Source, bytes: u64) -> Result<()> {
    let file = direct(path)?;
    let mut buffer = AlignedBuffer::zeroed(BARE_BYTES);
    let mut sum = 0;
    let mut flushed = Instant::now();
    for part in 0..bytes.div_ceil(BARE_BYTES as u64) {
        for (place, piece) in (0..).zip(buffer.chunks_mut(PICTURE_BYTES)) {
            piece.copy_from_slice(&source.take(part * 64 + place, piece.len()));
        }
        sum ^= crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, &buffer);
        file.write_all_at(&buffer, part * BARE_BYTES as u64)?;
        if flushed.elapsed() >= Duration::from_secs(1) {
            file.sync_data()?;
            flushed = Instant::now();
        }
    }
    file.sync_data()?;
    std::hint::black_box(sum);
    Ok(())
}

fn direct(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    let options = options.write(true).create(true).truncate(false).custom_flags(nix::libc::O_DIRECT);
    options.open(path).with_context(|| path.display().to_string())
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
