//! What recording many cameras costs, as ratios within one run: `keha record` over ffmpeg, and over the least it could cost.
//!
//! For 4, 16 and 64 cameras each turn lets these programs do their work for the same time, one after the other, with cameras of
//! [`keha_tests::crowd`] (1080p25 H.264 at 4 Mbit/s, a GOP a second, a packet in each write): `keha record`; `ffmpeg -c copy`, a process
//! for each camera; a program that reads the sockets and throws away, looking at them every 10 ms and every 100 ms; and one that does
//! nothing but copy as many bytes once into an aligned buffer, add up their CRC-32C, write them past the page cache and flush once a
//! second. Counted is CPU time of those processes while they are settled, for each Gbit of pictures that the cameras sent meanwhile.
//! Then memory, and two hundred cameras at once; and how late four cameras that hold little themselves become by their receiver.
//!
//! Arguments: seconds a turn (10), turns (6), cameras (4,16,64), cameras at once (200; 0: not); `windows`, for the last of these alone; or
//! `serve`, for the cameras alone. Use a release build, on a machine that does nothing else.
#![forbid(unsafe_code)]

use anyhow::{Context, Result, bail, ensure};
use keha_bench::Median;
use keha_fs::disk::AlignedBuffer;
use keha_tests::crowd::{Crowd, drain};
use keha_tests::media::{Clip, ClipKind};
use keha_tests::process::Running;
use keha_tests::usage::{own_cpu_s, process_cpu_fine_s, resident_peak_bytes};
use keha_tests::{record_json, rig};
use std::fs::OpenOptions;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Until all cameras play.
const BEGINNING: Duration = Duration::from_secs(120);
/// From then until what is measured is what goes on for days.
const SETTLE: Duration = Duration::from_secs(4);
/// Until a program that was told so has ended.
const END: Duration = Duration::from_secs(60);
/// How long it reads nothing after it found nothing, as the recorder's threads do while somebody watches,
const ATTENTIVE: Duration = Duration::from_millis(10);
/// and while nobody does: docs/decisions/0023-sockets-are-looked-at-less-often-while-nobody-watches.md.
const AT_REST: Duration = Duration::from_millis(100);
const BARE_BYTES: usize = 1 << 20;
/// What a camera holds that holds little: at most a quarter of a second of 4 Mbit/s, and 42 ms of 25.
const HELD_BYTES: usize = 128 << 10;
const MB: f64 = 1e6;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["drain", port, cameras, pause_ms] => {
            drain::run(port.parse()?, cameras.parse()?, Duration::from_millis(pause_ms.parse()?))
        }
        ["serve"] => serve(),
        ["windows"] => windows(),
        ["write", path, bytes_a_second] => write_bare(Path::new(path), bytes_a_second.parse()?),
        words => {
            let word = |n: usize, default: &'static str| words.get(n).copied().unwrap_or(default).to_owned();
            let seconds = Duration::from_secs(word(0, "10").parse()?);
            let turns: usize = word(1, "6").parse()?;
            let counts: Vec<usize> =
                word(2, "4,16,64").split(',').map(str::parse).collect::<Result<_, _>>()?;
            let at_once: usize = word(3, "200").parse()?;
            println!("{} s, {turns} turns; median (95 % interval)", seconds.as_secs());
            for cameras in counts.into_iter().filter(|cameras| *cameras > 0) {
                Bench::new(cameras, seconds)?.compare(turns)?;
            }
            if at_once > 0 {
                Bench::new(at_once, seconds.max(Duration::from_secs(30)))?.hold()?;
                windows()?;
            }
            Ok(())
        }
    }
}

/// So many cameras, and room for what is recorded of them.
struct Bench {
    cameras: usize,
    seconds: Duration,
    crowd: Crowd,
    dir: tempfile::TempDir,
    volume: PathBuf,
    /// What the cameras send together in a second, of pictures.
    bytes_a_second: f64,
}

/// What a program cost.
#[derive(Clone, Copy, Debug)]
struct Cost {
    cpu_s: f64,
    gbit: f64,
    memory_bytes: u64,
}

impl Cost {
    fn cpu_s_per_gbit(&self) -> f64 {
        self.cpu_s / self.gbit
    }
}

impl Bench {
    fn new(cameras: usize, seconds: Duration) -> Result<Self> {
        let clip = ClipKind::Main.clip()?;
        Self::of(cameras, seconds, &clip, Crowd::start(&clip)?)
    }

    fn of(cameras: usize, seconds: Duration, clip: &Clip, crowd: Crowd) -> Result<Self> {
        let dir = rig::scratch()?;
        let volume = dir.path().join("bench.ring");
        rig::create_volume(&volume, "8GiB", cameras)?;
        let track = clip.video()?;
        let bytes: usize = track.samples.iter().map(|sample| sample.size).sum();
        let bytes_a_second = bytes as f64 * 1e9 / track.duration_ns as f64 * cameras as f64;
        Ok(Self { cameras, seconds, crowd, dir, volume, bytes_a_second })
    }

    fn compare(&self, turns: usize) -> Result<()> {
        let (mut ours, mut ffmpegs, mut writes) = (vec![], vec![], vec![]);
        let (mut drains, mut resting) = (vec![], vec![]);
        for turn in 0..turns {
            ours.push(self.keha().with_context(|| format!("keha, turn {turn}"))?);
            ffmpegs.push(self.ffmpeg().with_context(|| format!("ffmpeg, turn {turn}"))?);
            drains.push(self.drain(ATTENTIVE).with_context(|| format!("reading, turn {turn}"))?);
            resting.push(self.drain(AT_REST).with_context(|| format!("reading seldom, turn {turn}"))?);
            writes.push(self.write().with_context(|| format!("writing, turn {turn}"))?);
        }
        println!("{} cameras", self.cameras);
        let cpu = |costs: &[Cost]| Median::of(costs.iter().map(Cost::cpu_s_per_gbit));
        show("keha record, CPU s/Gbit", cpu(&ours))?;
        show("ffmpeg -c copy, CPU s/Gbit", cpu(&ffmpegs))?;
        show("reading every 10 ms and throwing away, CPU s/Gbit", cpu(&drains))?;
        show("reading every 100 ms and throwing away, CPU s/Gbit", cpu(&resting))?;
        show("bare writer, CPU s/Gbit", cpu(&writes))?;
        let pairs = ours.iter().zip(&ffmpegs).map(|(a, b)| (a.cpu_s_per_gbit(), b.cpu_s_per_gbit()));
        show("keha over ffmpeg (goal 0.25)", Median::of_ratios(pairs))?;
        for (what, reading) in [("reading (goal 2)", &drains), ("reading every 100 ms", &resting)] {
            let least = reading.iter().zip(&writes).map(|(a, b)| a.cpu_s_per_gbit() + b.cpu_s_per_gbit());
            let pairs = ours.iter().zip(least).map(|(ours, least)| (ours.cpu_s_per_gbit(), least));
            show(&format!("keha over the bare writer and {what}"), Median::of_ratios(pairs))?;
        }
        let memory = Median::of(ours.iter().map(|cost| cost.memory_bytes as f64 / MB));
        show(&format!("keha, MB of memory at most (goal {:.0})", self.memory_goal_bytes() / MB), memory)?;
        show("ffmpeg, MB of memory", Median::of(ffmpegs.iter().map(|cost| cost.memory_bytes as f64 / MB)))
    }

    /// 20 MB, and 4 s of what each camera sends.
    fn memory_goal_bytes(&self) -> f64 {
        20.0 * MB + 4.0 * self.bytes_a_second
    }

    /// Whether so many are recorded, by this machine, together with the cameras themselves.
    fn hold(&self) -> Result<()> {
        let mut recorder = self.record()?;
        self.begin()?;
        let (own, began) = (own_cpu_s()?, Instant::now());
        self.crowd.sent().take_late_max();
        let cost = self.cost(&[recorder.id()])?;
        let (source_s, took_s) = (own_cpu_s()? - own, began.elapsed().as_secs_f64());
        let late = self.crowd.sent().take_late_max();
        let (dropped, lost) = self.end(&mut recorder)?;
        println!("{} cameras at once, {took_s:.0} s, {:.0} Mbit/s", self.cameras, cost.gbit * 1e3 / took_s);
        println!("pictures left out (goal 0): {dropped}; packets lost: {lost}");
        println!(
            "keha record, processors: {:.2}; CPU s/Gbit: {:.3}",
            cost.cpu_s / took_s,
            cost.cpu_s_per_gbit()
        );
        println!(
            "the cameras, processors: {:.2}; latest picture: {} ms late",
            source_s / took_s,
            late.as_millis()
        );
        println!(
            "keha, MB of memory at most (goal {:.0}): {:.0}",
            self.memory_goal_bytes() / MB,
            cost.memory_bytes as f64 / MB
        );
        Ok(())
    }

    fn names(&self) -> Vec<(String, String)> {
        let name = |number: usize| format!("cam{number:03}");
        (1..=self.cameras).map(|number| (name(number), self.crowd.url(&name(number)))).collect()
    }

    fn record(&self) -> Result<Running> {
        let names = self.names();
        rig::record(&self.volume, names.iter().map(|(name, url)| (name.as_str(), url.as_str())), &[])
    }

    /// Waits until all cameras play, and then some.
    fn begin(&self) -> Result<()> {
        self.crowd.await_sessions(self.cameras, BEGINNING)?;
        std::thread::sleep(SETTLE);
        Ok(())
    }

    /// What these processes cost while the cameras play.
    fn cost(&self, processes: &[u32]) -> Result<Cost> {
        let cpu_s = || processes.iter().map(|id| process_cpu_fine_s(*id)).sum::<Result<f64>>();
        let (before, sent) = (cpu_s()?, self.crowd.sent().payload_bytes());
        std::thread::sleep(self.seconds);
        let (cpu_s, sent) = (cpu_s()? - before, self.crowd.sent().payload_bytes() - sent);
        let memory_bytes = processes.iter().map(|id| resident_peak_bytes(*id)).sum::<Result<u64>>()?;
        Ok(Cost { cpu_s, gbit: sent as f64 * 8.0 / 1e9, memory_bytes })
    }

    /// Ends a recorder; answers what it left out, and packets lost.
    fn end(&self, recorder: &mut Running) -> Result<(u64, u64)> {
        ensure!(recorder.terminate(END)?.success(), "{}", recorder.stderr().join("\n"));
        self.crowd.await_sessions(0, END)?;
        record_json::dropped_and_lost(&recorder.stdout()).context("no totals")
    }

    fn keha(&self) -> Result<Cost> {
        let mut recorder = self.record()?;
        self.begin()?;
        let cost = self.cost(&[recorder.id()])?;
        let missing = self.end(&mut recorder)?;
        ensure!(missing == (0, 0), "{missing:?} pictures and packets are missing");
        Ok(cost)
    }

    fn ffmpeg(&self) -> Result<Cost> {
        let mut running = Vec::new();
        for (name, url) in self.names() {
            let mut ffmpeg = Command::new("ffmpeg");
            ffmpeg.args(["-v", "error", "-nostdin", "-rtsp_transport", "tcp", "-i", &url, "-c", "copy"]);
            running.push(Running::start(ffmpeg.arg("-y").arg(self.dir.path().join(format!("{name}.mkv"))))?);
        }
        self.begin()?;
        let ids: Vec<u32> = running.iter().map(Running::id).collect();
        let cost = self.cost(&ids)?;
        for one in &running {
            one.signal(nix::sys::signal::Signal::SIGINT)?;
        }
        for one in &mut running {
            // 255 is what ffmpeg ends with after a signal.
            one.wait(END)?;
        }
        self.crowd.await_sessions(0, END)?;
        Ok(cost)
    }

    /// Who reads the sockets and throws away.
    fn reading(&self, pause: Duration) -> Result<Running> {
        let (port, cameras) = (self.crowd.port().to_string(), self.cameras.to_string());
        own(&["drain", &port, &cameras, &pause.as_millis().to_string()])
    }

    /// How late the latest picture was sent, from when all cameras play.
    fn latest(&self) -> Result<Duration> {
        self.crowd.await_sessions(self.cameras, BEGINNING)?;
        self.crowd.sent().take_late_max();
        std::thread::sleep(self.seconds);
        Ok(self.crowd.sent().take_late_max())
    }

    fn drain(&self, pause: Duration) -> Result<Cost> {
        let reader = self.reading(pause)?;
        self.begin()?;
        let cost = self.cost(&[reader.id()])?;
        drop(reader);
        self.crowd.await_sessions(0, END)?;
        Ok(cost)
    }

    fn write(&self) -> Result<Cost> {
        let path = self.dir.path().join("bare");
        let rate = format!("{:.0}", self.bytes_a_second);
        let mut writer = own(&["write", rig::text(&path)?, &rate])?;
        std::thread::sleep(SETTLE);
        let cost = self.cost(&[writer.id()])?;
        ensure!(writer.ended()?.is_none(), "it ended: {}", writer.stderr().join("\n"));
        let gbit = self.bytes_a_second * self.seconds.as_secs_f64() * 8.0 / 1e9;
        Ok(Cost { gbit, ..cost })
    }
}

/// How late pictures are sent by cameras that hold little, to a receiver that looks every 10 ms and to Keha, which looks less often by
/// and by while nobody watches: from the first one on.
fn windows() -> Result<()> {
    let seconds = Duration::from_secs(30);
    println!(
        "4 cameras that hold {} KiB, their latest picture within {} s",
        HELD_BYTES >> 10,
        seconds.as_secs()
    );
    for (what, kind) in [("4 Mbit/s", ClipKind::Main), ("25 Mbit/s", ClipKind::High)] {
        let clip = kind.clip()?;
        let bench = Bench::of(4, seconds, &clip, Crowd::start_holding(HELD_BYTES, &clip)?)?;
        let reading = bench.reading(ATTENTIVE)?;
        let attentive = bench.latest()?;
        drop(reading);
        bench.crowd.await_sessions(0, END)?;
        let mut recorder = bench.record()?;
        let recorded = bench.latest()?;
        let missing = bench.end(&mut recorder)?;
        println!(
            "  {what}, reading every 10 ms and throwing away: {} ms; keha record: {} ms; left out and lost: {missing:?}",
            attentive.as_millis(),
            recorded.as_millis()
        );
    }
    Ok(())
}

/// Cameras alone, for a profiler beside them: any path at the address that is printed. Until it is killed.
fn serve() -> Result<()> {
    let crowd = Crowd::start(&ClipKind::Main.clip()?)?;
    println!("{}", crowd.url(""));
    loop {
        std::thread::sleep(Duration::from_secs(10));
        let late = crowd.sent().take_late_max();
        eprintln!("{} sessions, at most {} ms late", crowd.sent().sessions(), late.as_millis());
    }
}

/// This program in another of its parts.
fn own(arguments: &[&str]) -> Result<Running> {
    Running::start(Command::new(std::env::current_exe()?).args(arguments))
}

/// Writes so much each second, over and over the same place, until it is killed.
fn write_bare(path: &Path, bytes_a_second: u64) -> Result<()> {
    let mut options = OpenOptions::new();
    let options = options.write(true).create(true).truncate(false).custom_flags(nix::libc::O_DIRECT);
    let file = options.open(path).with_context(|| path.display().to_string())?;
    let bytes_a_second = usize::try_from(bytes_a_second)?;
    let source: Vec<u8> = (0..bytes_a_second.max(BARE_BYTES)).map(|at| (at * 31 + at / 7) as u8).collect();
    let mut buffer = AlignedBuffer::zeroed(BARE_BYTES);
    let begun = Instant::now();
    for second in 1_u64.. {
        let mut sum = 0;
        for (place, part) in (0_u64..).zip(source[..bytes_a_second].chunks(BARE_BYTES)) {
            buffer[..part.len()].copy_from_slice(part);
            let length = part.len().next_multiple_of(4096);
            sum ^= crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, &buffer[..length]);
            file.write_all_at(&buffer[..length], place * BARE_BYTES as u64)?;
        }
        std::hint::black_box(sum);
        file.sync_data()?;
        std::thread::sleep(Duration::from_secs(second).saturating_sub(begun.elapsed()));
    }
    bail!("time ended")
}

fn show(what: &str, median: Option<Median>) -> Result<()> {
    println!("  {what}: {}", median.context("nothing was measured")?);
    Ok(())
}
