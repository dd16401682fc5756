//! What giving footage back over HTTP costs, as ratios within one run.
//!
//! Exports to nothing against `ffmpeg -c copy` of the same footage to nothing, and against reading the same file; the first byte of
//! random seeks; viewers of live video. One volume of some gigabytes of 1080p25 H.264 at 4 Mbit/s, which is written for it. Arguments:
//! gigabytes (4), seeks (300), viewers (100). Use a release build, on a machine that does nothing else. The volume is read past the page
//! cache; the file that ffmpeg and cp read is in it as far as it fits (hot), or was put out of it before (cold). What the disk gives
//! by itself is told by reading the volume past the page cache, to nothing; what reading and sending cost at least, by sending that over a
//! connection like the server's without a look at it, one piece after the other (bare): whoever reads ahead can be faster.
#![forbid(unsafe_code)]

use anyhow::{Context, Result, ensure};
use keha_fs::{WallTime, Writer, WriterOptions};
use keha_tests::ground::Ground;
use keha_tests::media::ClipKind;
use keha_tests::process::{Running, keha_ok};
use keha_tests::rig::{Rig, named, text};
use keha_tests::serving::{moment_text, run};
use keha_tests::usage::{children_cpu_s, process_cpu_s, resident_bytes};
use keha_tests::written::{Recorded, push};
use rand::RngExt;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const S: i64 = 1_000_000_000;
const TURNS: usize = 3;

fn main() -> Result<()> {
    let number = |n: usize, default: usize| -> Result<usize> {
        std::env::args().nth(n).map_or(Ok(default), |text| Ok(text.parse()?))
    };
    let (gigabytes, seeks, viewers) = (number(1, 4)?, number(2, 300)?, number(3, 100)?);
    let mut rig = Rig::new(Ground::File, &named(1, &[ClipKind::Main]), "64MiB")?;
    let made = Made::new(&mut rig, gigabytes)?;
    let server = Server::start(&made.config(&rig)?)?;
    println!(
        "{:.1} GB of 1080p25 H.264 at 4 Mbit/s, {TURNS} turns; median (least to most)",
        made.bytes as f64 / 1e9
    );
    exports(&server, &made, &rig)?;
    first_bytes(&server, &made, seeks)?;
    drop(server);
    live(&rig, viewers)
}

/// Footage that was made for this.
struct Made {
    volume: PathBuf,
    from: WallTime,
    to: WallTime,
    bytes: u64,
}

impl Made {
    /// Records a camera for a while, and writes what it sent over and over into a large volume.
    fn new(rig: &mut Rig, gigabytes: usize) -> Result<Made> {
        rig.record(&["--duration", "12s"])?.wait(Duration::from_secs(60))?;
        let recorded = Recorded::of(&rig.volume)?;
        let laps = (gigabytes as u64 * 1_000_000_000).div_ceil(recorded.bytes()) as usize;
        let volume = rig.dir.path().join("large.ring");
        let size = format!("{}MiB", gigabytes * 1100 + 512);
        keha_ok(
            &["volume", "create", text(&volume)?, "--size", &size, "--streams", "4"],
            Duration::from_secs(120),
        )?;
        let writer = Writer::open(&volume, WriterOptions::default(), Box::new(|_| {}))?;
        let from = WallTime(1_780_000_000 * S);
        let mut stream = recorded.begin(&writer, "large", from)?;
        for number in 0..laps * recorded.samples.len() {
            push(&mut stream, &recorded.sample(number)?)?;
        }
        drop(stream);
        writer.close()?;
        let to = from.plus_ns(laps as i64 * recorded.lap_ticks() * S / i64::from(recorded.anchor.timescale));
        Ok(Made { volume, from, to, bytes: recorded.bytes() * laps as u64 })
    }

    fn config(&self, rig: &Rig) -> Result<PathBuf> {
        let path = rig.dir.path().join("keha.toml");
        let volume = text(&self.volume)?;
        let config = format!(
            "[server]\nhttp = \"127.0.0.1:0\"\nstate = \"state\"\n[[volumes]]\nname = \"large\"\npath = \"{volume}\"\n"
        );
        std::fs::write(&path, config)?;
        Ok(path)
    }
}

/// A server, and who asks it.
struct Server {
    running: Running,
    address: String,
}

impl Server {
    fn start(config: &Path) -> Result<Server> {
        let (running, base) = run(config)?;
        let address = base.trim_start_matches("http://").trim_end_matches('/').to_owned();
        Ok(Server { running, address })
    }

    fn cpu_s(&self) -> Result<f64> {
        process_cpu_s(self.running.id())
    }

    /// Asks, and goes away with the first bytes: how long they took.
    fn first(&self, path: &str) -> Result<Duration> {
        let mut stream = TcpStream::connect(&self.address)?;
        let begun = Instant::now();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.address)?;
        let mut buffer = [0; 4096];
        let read = stream.read(&mut buffer)?;
        ensure!(buffer.get(..read).unwrap_or_default().starts_with(b"HTTP/1.1 200"), "{path} was refused");
        Ok(begun.elapsed())
    }

    /// Asks, and reads to the end: how long until the first byte of the body, and how many bytes came.
    fn ask(&self, path: &str) -> Result<(Duration, u64)> {
        let mut stream = TcpStream::connect(&self.address)?;
        let begun = Instant::now();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.address)?;
        let mut buffer = vec![0; 1 << 20];
        let mut read = stream.read(&mut buffer)?;
        let status = buffer.get(..read).unwrap_or_default().starts_with(b"HTTP/1.1 200");
        ensure!(
            status,
            "{path}: {}",
            String::from_utf8_lossy(buffer.get(..read.min(500)).unwrap_or_default())
        );
        let is_head =
            |buffer: &[u8]| buffer.windows(4).any(|end| end == b"\r\n\r\n") && !buffer.ends_with(b"\r\n\r\n");
        let mut bytes = read as u64;
        let mut first = is_head(buffer.get(..read).unwrap_or_default()).then(|| begun.elapsed());
        while read > 0 {
            read = stream.read(&mut buffer)?;
            first = first.or(Some(begun.elapsed()));
            bytes += read as u64;
        }
        Ok((first.unwrap_or_default(), bytes))
    }
}

/// What moved so many bytes.
#[derive(Clone, Copy)]
struct Cost {
    mb_s: f64,
    cpu_s_per_gb: f64,
}

impl Cost {
    fn new(bytes: u64, took: Duration, cpu_s: f64) -> Cost {
        Cost { mb_s: bytes as f64 / 1e6 / took.as_secs_f64(), cpu_s_per_gb: cpu_s / (bytes as f64 / 1e9) }
    }
}

fn exports(server: &Server, made: &Made, rig: &Rig) -> Result<()> {
    let file = rig.dir.path().join("large.mkv");
    let limit = Duration::from_secs(300);
    keha_ok(&["export", text(&made.volume)?, "--stream", "large", "-o", text(&file)?, "-q"], limit)?;
    let (mut ours, mut theirs, mut cold) = ([const { Vec::new() }; 3], Vec::new(), Vec::new());
    let (mut copied, mut disk, mut bare) = (Vec::new(), Vec::new(), Vec::new());
    let (path, volume) = (text(&file)?, text(&made.volume)?);
    let remux = || {
        let mut ffmpeg = Command::new("ffmpeg");
        ffmpeg.args([
            "-v",
            "error",
            "-nostdin",
            "-y",
            "-i",
            path,
            "-c",
            "copy",
            "-f",
            "matroska",
            "/dev/null",
        ]);
        ffmpeg
    };
    let formats = ["mp4", "fmp4", "mkv"];
    for _ in 0..TURNS {
        for (format, ours) in formats.iter().zip(&mut ours) {
            let (cpu_s, begun) = (server.cpu_s()?, Instant::now());
            let (_, bytes) =
                server.ask(&format!("/api/v1/cameras/large/streams/main/footage?format={format}"))?;
            ensure!(bytes > made.bytes, "{bytes} bytes came of {}", made.bytes);
            ours.push(Cost::new(bytes, begun.elapsed(), server.cpu_s()? - cpu_s));
        }
        let _warm = child(made.bytes, Command::new("cp").args([path, "/dev/null"]))?;
        theirs.push(child(made.bytes, &mut remux())?);
        copied.push(child(made.bytes, Command::new("cp").args([path, "/dev/null"]))?);
        let of = format!("of={path}");
        let mut forget = Command::new("dd");
        forget.args([of.as_str(), "oflag=nocache", "conv=notrunc,fdatasync", "count=0", "status=none"]);
        ensure!(forget.status()?.success(), "{forget:?} failed");
        cold.push(child(made.bytes, &mut remux())?);
        let from = format!("if={volume}");
        // As far as footage stands: what was never written costs the disk nothing.
        let (pieces, piece_bytes) = (made.bytes >> 20, 1 << 20);
        let count = format!("count={pieces}");
        let read = || {
            let mut dd = Command::new("dd");
            dd.args([&from, "bs=1M", &count, "iflag=direct", "status=none"]);
            dd
        };
        disk.push(child(pieces * piece_bytes, read().stdout(Stdio::null()))?);
        bare.push(sent(pieces * piece_bytes, read())?);
    }
    let of = |costs: &[Cost], value: fn(&Cost) -> f64| spread(costs.iter().map(value));
    for (format, ours) in formats.iter().zip(&ours) {
        show(&format!("{format} over HTTP, MB/s"), of(ours, |cost| cost.mb_s));
        show(
            &format!("{format} over HTTP, CPU seconds of the server a GB"),
            of(ours, |cost| cost.cpu_s_per_gb),
        );
        let both = || ours.iter().zip(&theirs);
        let cold = || ours.iter().zip(&cold);
        show("    speed over ffmpeg -c copy, hot (goal 2)", spread(both().map(|(a, b)| a.mb_s / b.mb_s)));
        show("    speed over ffmpeg -c copy, cold", spread(cold().map(|(a, b)| a.mb_s / b.mb_s)));
        show(
            "    CPU over ffmpeg -c copy, hot (goal 0.3)",
            spread(both().map(|(a, b)| a.cpu_s_per_gb / b.cpu_s_per_gb)),
        );
        show(
            "    CPU over ffmpeg -c copy, cold",
            spread(cold().map(|(a, b)| a.cpu_s_per_gb / b.cpu_s_per_gb)),
        );
        let bare = || ours.iter().zip(&bare);
        show("    speed over bare sending", spread(bare().map(|(a, b)| a.mb_s / b.mb_s)));
        show("    CPU over bare sending", spread(bare().map(|(a, b)| a.cpu_s_per_gb / b.cpu_s_per_gb)));
        show("    speed over the disk's own", spread(ours.iter().zip(&disk).map(|(a, b)| a.mb_s / b.mb_s)));
        show("    speed over cp", spread(ours.iter().zip(&copied).map(|(a, b)| a.mb_s / b.mb_s)));
    }
    let others = [("ffmpeg -c copy, hot", &theirs), ("ffmpeg -c copy, cold", &cold), ("bare sending", &bare)];
    for (what, costs) in others {
        show(&format!("{what}, MB/s"), of(costs, |cost| cost.mb_s));
        show(&format!("{what}, CPU seconds a GB"), of(costs, |cost| cost.cpu_s_per_gb));
    }
    show("the disk past the page cache, MB/s", of(&disk, |cost| cost.mb_s));
    show("cp, MB/s", of(&copied, |cost| cost.mb_s));
    Ok(())
}

/// What a program says is sent over a connection of this machine to itself, and thrown away.
fn sent(bytes: u64, mut command: Command) -> Result<Cost> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let mut stream = TcpStream::connect(listener.local_addr()?)?;
    let (sender, _) = listener.accept()?;
    let reader = std::thread::spawn(move || {
        let mut buffer = vec![0; 1 << 20];
        while stream.read(&mut buffer)? > 0 {}
        std::io::Result::Ok(())
    });
    let cost = child(bytes, command.stdout(OwnedFd::from(sender)))?;
    // The command holds the connection open.
    drop(command);
    reader.join().map_err(|_| anyhow::anyhow!("the reader panicked"))??;
    Ok(cost)
}

fn child(bytes: u64, command: &mut Command) -> Result<Cost> {
    let (cpu_s, begun) = (children_cpu_s()?, Instant::now());
    ensure!(command.status()?.success(), "{command:?} failed");
    Ok(Cost::new(bytes, begun.elapsed(), children_cpu_s()? - cpu_s))
}

/// Two seconds from a random moment on, each on a connection of its own.
fn first_bytes(server: &Server, made: &Made, seeks: usize) -> Result<()> {
    let span = made.to.since_ns(made.from) - 10 * S;
    let path = |at: i64, rest: &str| -> Result<String> {
        let (from, to) = (moment_text(made.from.0 + at)?, moment_text(made.from.0 + at + 2 * S)?);
        Ok(format!("/api/v1/cameras/large/streams/main/footage?from={from}&to={to}&{rest}"))
    };
    for format in ["fmp4", "mp4"] {
        let mut cold = Vec::with_capacity(seeks);
        let mut warm = Vec::with_capacity(seeks);
        for _ in 0..seeks {
            let path = path(rand::rng().random_range(0..span), &format!("format={format}"))?;
            cold.push(server.ask(&path)?.0.as_secs_f64() * 1e3);
            warm.push(server.ask(&path)?.0.as_secs_f64() * 1e3);
        }
        show_quantiles(&format!("first byte of a random {format}, ms"), &mut cold);
        show_quantiles(&format!("first byte of the same {format} again, ms"), &mut warm);
    }
    let hour = 3600 * S;
    let mut hours = Vec::new();
    while made.to.since_ns(made.from) > hour + S && hours.len() < 30 {
        let at = rand::rng().random_range(0..made.to.since_ns(made.from) - hour - S);
        let (from, to) = (moment_text(made.from.0 + at)?, moment_text(made.from.0 + at + hour)?);
        let path = format!("/api/v1/cameras/large/streams/main/footage?from={from}&to={to}&format=mp4");
        hours.push(server.first(&path)?.as_secs_f64() * 1e3);
    }
    show_quantiles("first byte of a random hour as mp4, ms (goal 50)", &mut hours);
    Ok(())
}

/// Viewers of one camera at 4 Mbit/s.
fn live(rig: &Rig, viewers: usize) -> Result<()> {
    let camera = rig.cameras.first().context("a camera")?;
    let config = rig.dir.path().join("live.toml");
    let (name, url) = (&camera.name, &camera.url);
    std::fs::write(
        &config,
        format!(
            "[server]\nhttp = \"127.0.0.1:0\"\nstate = \"state2\"\n[[volumes]]\nname = \"live\"\npath = \"live.ring\"\nsize = \"256MiB\"\n[[cameras]]\nname = \"{name}\"\nurl = \"{url}\"\n"
        ),
    )?;
    let server = Server::start(&config)?;
    std::thread::sleep(Duration::from_secs(5));
    let cost = |seconds: u64| -> Result<f64> {
        let before = server.cpu_s()?;
        std::thread::sleep(Duration::from_secs(seconds));
        Ok((server.cpu_s()? - before) / seconds as f64)
    };
    let alone = cost(10)?;
    let memory_alone = resident_bytes(server.running.id())?;
    let mut watching = Vec::new();
    for _ in 0..viewers {
        watching.push(watch(&server.address, name)?);
    }
    std::thread::sleep(Duration::from_secs(3));
    let with = cost(10)?;
    let memory = resident_bytes(server.running.id())?;
    let each = (with - alone) / viewers as f64;
    println!("live, {viewers} viewers of one camera at 4 Mbit/s:");
    println!(
        "  CPU of the server without them {:.1} %, with them {:.1} % of a core",
        alone * 100.0,
        with * 100.0
    );
    println!("  so one core holds {:.0}", 1.0 / each.max(1e-9));
    println!(
        "  memory {:.1} MiB without, {:.1} MiB with them",
        memory_alone as f64 / 1048576.0,
        memory as f64 / 1048576.0
    );
    for (stop, thread) in watching {
        stop.shutdown(std::net::Shutdown::Both)?;
        let bytes = thread.join().map_err(|_| anyhow::anyhow!("a viewer failed"))?;
        ensure!(bytes > 3_000_000, "a viewer was given {bytes} bytes only");
    }
    Ok(())
}

/// Opens a WebSocket, and throws away what comes.
fn watch(address: &str, camera: &str) -> Result<(TcpStream, std::thread::JoinHandle<u64>)> {
    let mut stream = TcpStream::connect(address)?;
    write!(
        stream,
        "GET /api/v1/cameras/{camera}/streams/main/live HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )?;
    let other = stream.try_clone()?;
    let thread = std::thread::spawn(move || {
        let mut buffer = vec![0; 256 << 10];
        let mut bytes = 0;
        while let Ok(read) = stream.read(&mut buffer) {
            if read == 0 {
                break;
            }
            bytes += read as u64;
        }
        bytes
    });
    Ok((other, thread))
}

/// Median, least and most.
fn spread(values: impl Iterator<Item = f64>) -> (f64, f64, f64) {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let at = |i: usize| values.get(i).copied().unwrap_or(f64::NAN);
    (at(values.len() / 2), at(0), at(values.len().saturating_sub(1)))
}

fn show(what: &str, (median, least, most): (f64, f64, f64)) {
    println!("{what:<60} {median:>9.3}  ({least:.3} to {most:.3})");
}

fn show_quantiles(what: &str, values: &mut [f64]) {
    values.sort_by(f64::total_cmp);
    let at = |share: f64| {
        values.get((values.len().saturating_sub(1) as f64 * share) as usize).copied().unwrap_or(f64::NAN)
    };
    println!("{what:<60} p50 {:.2}, p99 {:.2}", at(0.5), at(0.99));
}
