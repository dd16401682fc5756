//! Sixty streams written, sixteen played, four exported, in one process, as a server has them.

use crate::made::{self, BEGIN, S, STREAMS};
use crate::{quantile, show};
use anyhow::{Context, Result};
use keha_bench::Median;
use keha_fs::{Health, Item, Rejected, StreamId, StreamName, TimeRange, Volume, Writer};
use keha_player::{ExportRequest, Output};
use keha_tests::written::Recorded;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const PLAYED: usize = 16;
const EXPORTED: usize = 4;
const PICTURE: Duration = Duration::from_millis(40);
/// What clients are answered by stands back behind what records, as in `keha serve`.
const NICENESS: i32 = 5;

/// What rounds told.
#[derive(Default)]
struct Told {
    took_ms: Mutex<Vec<f64>>,
    bad: AtomicU64,
    most_waiting: AtomicU64,
}

pub(crate) fn measure(dir: &Path, recorded: &Recorded, seconds: u64, turns: usize) -> Result<()> {
    let path = dir.join("mixed.ring");
    // Half a minute and what is written while it is measured.
    let rate = recorded.bytes() * u64::try_from(S)? / nanoseconds(recorded) * STREAMS as u64;
    made::create(&path, (rate * 60).max(8_000_000_000), STREAMS)?;
    let told = Arc::new(Told::default());
    let (stop, dropped) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let writing = write(&path, recorded, &told, &stop, &dropped)?;
    std::thread::sleep(Duration::from_secs(30));
    let each = Duration::from_secs_f64(seconds as f64 / turns as f64 / 2.0);
    let take = || std::mem::take(&mut *told.took_ms.lock().unwrap_or_else(PoisonError::into_inner));
    let (mut idle, mut busy, mut pairs) = (Vec::new(), Vec::new(), Vec::new());
    let (mut played, mut exported) = (0, 0);
    for _ in 0..turns {
        let _before = take();
        std::thread::sleep(each);
        let mut alone = take();
        let load = Load::start(&path)?;
        let begun = Instant::now();
        std::thread::sleep(each);
        let mut with = take();
        let took = begun.elapsed().as_secs_f64();
        let (some, more) = load.stop()?;
        played += (some as f64 / 1e6 / took) as u64;
        exported += (more as f64 / 1e6 / took) as u64;
        pairs.push((quantile(&mut with, 0.99), quantile(&mut alone, 0.99)));
        idle.extend(alone);
        busy.extend(with);
    }
    stop.store(true, Ordering::SeqCst);
    writing.join().map_err(|_| anyhow::anyhow!("the writer's thread panicked"))??;
    std::fs::remove_file(&path)?;
    println!(
        "{STREAMS} streams written; {PLAYED} played and {EXPORTED} exported every other {:.0} s:",
        each.as_secs_f64()
    );
    println!("  played {} MB/s, exported {} MB/s", played / turns as u64, exported / turns as u64);
    for (what, took) in [("without readers", &mut idle), ("with them", &mut busy)] {
        let at = [0.5, 0.99, 1.0].map(|share| quantile(took, share));
        println!(
            "  rounds {what}, ms: p50 {:.1}, p99 {:.1}, most {:.1} of {}",
            at[0],
            at[1],
            at[2],
            took.len()
        );
    }
    println!(
        "  p99 of all rounds with readers over that without (goal 2): {:.2}",
        quantile(&mut busy, 0.99) / quantile(&mut idle, 0.99)
    );
    show("  the same of each pair", Median::of_ratios(pairs))?;
    println!(
        "  dropped (goal 0): {} samples; rounds that failed: {}; most that waited: {:.1} MB",
        dropped.load(Ordering::SeqCst),
        told.bad.load(Ordering::SeqCst),
        told.most_waiting.load(Ordering::SeqCst) as f64 / 1e6
    );
    Ok(())
}

/// How long what was recorded takes.
fn nanoseconds(recorded: &Recorded) -> u64 {
    (recorded.lap_ticks() * S / i64::from(recorded.anchor.timescale)).unsigned_abs().max(1)
}

/// Writes sixty streams, a picture of each every 40 ms, until it is to stop.
fn write(
    path: &Path,
    recorded: &Recorded,
    told: &Arc<Told>,
    stop: &Arc<AtomicBool>,
    dropped: &Arc<AtomicU64>,
) -> Result<JoinHandle<Result<()>>> {
    let (seen, stop, dropped) = (Arc::clone(told), Arc::clone(stop), Arc::clone(dropped));
    let on_round = move |report: keha_fs::RoundReport| {
        let took = report.took.as_secs_f64() * 1e3;
        seen.took_ms.lock().unwrap_or_else(PoisonError::into_inner).push(took);
        seen.bad.fetch_add(u64::from(report.health != Health::Good), Ordering::SeqCst);
        seen.most_waiting.fetch_max(report.waiting_bytes, Ordering::SeqCst);
    };
    let writer = Writer::open(path, made::options(recorded), Box::new(on_round))?;
    let streams = (0..STREAMS).map(|number| recorded.begin(&writer, &format!("cam{number:02}"), BEGIN));
    let mut streams = streams.collect::<Result<Vec<_>>>()?;
    let samples: Vec<_> = (0..recorded.samples.len()).map(|n| recorded.sample(n)).collect::<Result<_>>()?;
    let lap = recorded.lap_ticks();
    let run = move || -> Result<()> {
        let begun = Instant::now();
        let mut number = 0;
        while !stop.load(Ordering::SeqCst) {
            let mut sample = samples.get(number % samples.len()).context("nothing was recorded")?.clone();
            sample.ticks += (number / samples.len()) as i64 * lap;
            for stream in &mut streams {
                match stream.push(sample.clone()) {
                    Ok(()) => {}
                    Err(Rejected::Full) => drop(dropped.fetch_add(1, Ordering::SeqCst)),
                    Err(other) => return Err(other.into()),
                }
            }
            number += 1;
            std::thread::sleep((PICTURE * u32::try_from(number)?).saturating_sub(begun.elapsed()));
        }
        drop(streams);
        Ok(writer.close()?)
    };
    Ok(std::thread::Builder::new().name("cameras".into()).spawn(run)?)
}

/// Who reads.
struct Load {
    stop: Arc<AtomicBool>,
    played: Arc<AtomicU64>,
    exported: Arc<AtomicU64>,
    threads: Vec<JoinHandle<Result<()>>>,
}

impl Load {
    fn start(path: &Path) -> Result<Load> {
        let volume = Volume::open(path)?;
        let streams = volume.streams();
        let (stop, played, exported) = <(Arc<AtomicBool>, Arc<AtomicU64>, Arc<AtomicU64>)>::default();
        let mut threads = Vec::new();
        for (number, stream) in streams.into_iter().enumerate().take(PLAYED + EXPORTED) {
            // The ring must not pass it.
            let (first, last) = stream.first.zip(stream.last).context("nothing is recorded")?;
            let range = TimeRange { from: Some(first.plus_ns(last.since_ns(first) / 2)), to: None };
            let (volume, stop) = (volume.clone(), Arc::clone(&stop));
            let bytes = Arc::clone(if number < PLAYED { &played } else { &exported });
            let run = move || -> Result<()> {
                // What a thread starts inherits it.
                rustix::process::setpriority_process(None, NICENESS)?;
                while !stop.load(Ordering::SeqCst) {
                    match number < PLAYED {
                        true => play(&volume, stream.id, range, &stop, &bytes)?,
                        false => export(&volume, &stream.name, range, &stop, &bytes)?,
                    }
                }
                Ok(())
            };
            threads.push(std::thread::Builder::new().name("reader".into()).spawn(run)?);
        }
        Ok(Load { stop, played, exported, threads })
    }

    /// Ends it; how many bytes were played, and exported.
    fn stop(self) -> Result<(u64, u64)> {
        self.stop.store(true, Ordering::SeqCst);
        for thread in self.threads {
            thread.join().map_err(|_| anyhow::anyhow!("a reader panicked"))??;
        }
        Ok((self.played.load(Ordering::SeqCst), self.exported.load(Ordering::SeqCst)))
    }
}

/// Plays a stream in its time.
fn play(volume: &Volume, id: StreamId, range: TimeRange, stop: &AtomicBool, bytes: &AtomicU64) -> Result<()> {
    let begun = Instant::now();
    let mut first = None;
    let mut cursor = volume.read(id, range)?.reading_ahead();
    while let Some(item) = cursor.next_item().or_else(passed)? {
        let Item::Sample(sample) = item else { continue };
        bytes.fetch_add(sample.data.len() as u64, Ordering::Relaxed);
        let ahead = sample.wall.since_ns(*first.get_or_insert(sample.wall));
        let due = Duration::from_nanos(u64::try_from(ahead)?);
        std::thread::sleep(due.saturating_sub(begun.elapsed()).min(Duration::from_secs(1)));
        if stop.load(Ordering::SeqCst) {
            break;
        }
    }
    Ok(())
}

fn export(
    volume: &Volume,
    name: &StreamName,
    range: TimeRange,
    stop: &AtomicBool,
    bytes: &AtomicU64,
) -> Result<()> {
    let request = ExportRequest { streams: vec![name.clone()], range, run: None };
    let mut done = 0;
    let mut progress = |now: keha_player::Progress| {
        bytes.fetch_add(now.bytes - done, Ordering::Relaxed);
        done = now.bytes;
        if stop.load(Ordering::SeqCst) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let mut sink = std::io::sink();
    match keha_player::export(volume, &request, Output::Pipe(&mut sink), &mut progress) {
        Ok(_) | Err(keha_player::Error::Cancelled) => Ok(()),
        Err(keha_player::Error::Overwritten { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Where the ring has passed, another stretch is played.
fn passed(error: keha_fs::Error) -> keha_fs::Result<Option<Item>> {
    match error {
        keha_fs::Error::Overwritten { .. } => Ok(None),
        other => Err(other),
    }
}
