//! Clients that seek, play, export, watch and vanish at random, while cameras record: no sample is lost for them, what they cost is
//! bounded, and nothing of them is left when they are gone.

use super::figure;
use crate::http::Client;
use crate::rounds::Rounds;
use crate::serving::{READY_LIMIT, Serving};
use crate::usage::{resident_bytes, resident_peak_bytes};
use crate::visitor::{Did, Visitor};
use crate::wait;
use anyhow::{Context, Result, anyhow, bail};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A camera that costs little to make, and whose footage has a size.
const URL: &str = "testsrc://?size=320x240&fps=10&gop=10&audio=1&bitrate=1M";
/// The most memory that the server may have had.
const RESIDENT_BYTES_MAX: u64 = 600 << 20;
/// So many more files and connections than before may be open when all clients are gone: connections of whoever looks.
const MORE_OPEN_MAX: usize = 8;
/// Of a hundred rounds, the last but one may take so many times as long with clients as without.
const SLOWER_MAX: f64 = 2.0;
/// Clients have machines of their own. Here they are as nice as the server's threads that answer, and so take no more from those that
/// record than their answers do.
const NICER: i32 = 10;

/// What is tried.
#[derive(Clone, Copy, Debug)]
pub struct Trial<'a> {
    /// So many clients,
    pub clients: u64,
    /// of whom so many make an export each,
    pub exports: u64,
    /// at so many cameras,
    pub cameras: usize,
    /// whose volume has this size,
    pub size: &'a str,
    /// for so long.
    pub duration: Duration,
    /// For so long before, and as long again behind it, rounds are measured without clients; those with them are then held against
    /// these. Of a test beside others on a busy machine, that would tell nothing.
    pub alone: Option<Duration>,
    /// What chance begins with.
    pub seed: u64,
}

/// Tries it.
pub fn whole(trial: &Trial<'_>) -> Result<()> {
    let names: Vec<String> = (1..=trial.cameras).map(|number| format!("cam{number:02}")).collect();
    let list: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), URL)).collect();
    let mut serving = Serving::start_with(&list, trial.size)?;
    serving.add_token()?;
    serving.await_ready()?;
    for name in &names {
        serving.await_footage(name, 3.0)?;
    }
    let watcher = serving.another("watcher")?;
    let open_before = open_files(serving.id())?;
    let before = trial.alone.map(|time| alone(&watcher, time)).transpose()?;
    let memory = resident_bytes(serving.id())?;
    let (did, with) = visited(&serving, &watcher, trial, &names)?;
    let did = did.is_served()?;
    let peak = resident_peak_bytes(serving.id())?;
    figure(
        "clients",
        &format!(
            "{} clients asked {} times ({} of them refused as too much at a time); the server had {} MB before them, at most {} MB",
            trial.clients,
            did.asked,
            did.refused,
            memory >> 20,
            peak >> 20
        ),
    );
    nothing_is_left(&serving, open_before)?;
    let behind = trial.alone.map(|time| alone(&watcher, time)).transpose()?;
    let alone = before.zip(behind).map(|(before, behind)| before.and(behind));
    for name in &names {
        let counts = serving.counts(name)?;
        if counts.samples == 0 || counts.dropped_samples > 0 {
            bail!("{name}: {counts:?}");
        }
        if serving.recorded(name)?.len() != 1 {
            bail!("{name} has gaps: {:?}", serving.recorded(name)?);
        }
    }
    if peak > RESIDENT_BYTES_MAX {
        bail!("the server had {} MB of memory", peak >> 20);
    }
    if let Some(line) =
        serving.stderr().iter().find(|line| line.contains("panicked") || line.contains(" ERROR "))
    {
        bail!("the server said: {line}");
    }
    compared(&with, alone.as_ref())?;
    serving.stop()
}

/// How long rounds take without clients.
fn alone(watcher: &Client, time: Duration) -> Result<Rounds> {
    let end = Instant::now() + time;
    Rounds::watched(watcher, || Instant::now() >= end)
}

/// The clients come and go: what they did, and how long rounds took meanwhile.
fn visited(
    serving: &Serving,
    watcher: &Client,
    trial: &Trial<'_>,
    names: &[String],
) -> Result<(Did, Rounds)> {
    let clients = (0..trial.clients).map(|number| serving.another(&format!("client {number}")));
    let clients = clients.collect::<Result<Vec<_>>>()?;
    let end = Instant::now() + trial.duration;
    let gone = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let rounds = scope.spawn(|| Rounds::watched(watcher, || gone.load(Ordering::Relaxed)));
        let all: Vec<_> = (0..)
            .zip(clients)
            .map(|(number, client)| {
                let mut visitor = Visitor::new(client, names, trial.seed + number, number < trial.exports);
                scope.spawn(move || {
                    rustix::process::nice(NICER).context("a client cannot be made nicer")?;
                    visitor.stay(|| Instant::now() >= end)
                })
            })
            .collect();
        let did = all
            .into_iter()
            .map(|one| one.join().unwrap_or_else(|_| Err(anyhow!("a client panicked"))))
            .collect::<Vec<_>>();
        gone.store(true, Ordering::Relaxed);
        let rounds = rounds.join().unwrap_or_else(|_| Err(anyhow!("the watcher of rounds panicked")))?;
        let did = did.into_iter().try_fold(Did::default(), |all, did| anyhow::Ok(all + did?))?;
        Ok((did, rounds))
    })
}

/// Tells how long rounds took, and holds those with clients against those without.
fn compared(with: &Rounds, alone: Option<&Rounds>) -> Result<()> {
    let told = |what: &str, rounds: &Rounds| -> Result<f64> {
        let (half, most) = (rounds.quantile_s(0.5)?, rounds.quantile_s(0.99)?);
        let (half_ms, most_ms, count) = (half * 1e3, most * 1e3, rounds.count());
        figure(
            "clients",
            &format!("{count} rounds {what} clients: p50 {half_ms:.1} ms, p99 {most_ms:.1} ms"),
        );
        Ok(most)
    };
    let with_s = told("with", with)?;
    let Some(alone) = alone else { return Ok(()) };
    let times = with_s / told("without", alone)?;
    figure("clients", &format!("p99 of rounds with clients over that without: {times:.2}"));
    if times > SLOWER_MAX {
        bail!("of rounds, the 99th of a hundred takes {times:.2} times as long with clients");
    }
    Ok(())
}

/// Downloads and viewers are counted down, and their connections and files are closed.
fn nothing_is_left(serving: &Serving, open_before: usize) -> Result<()> {
    for name in ["keha_downloads", "keha_viewers"] {
        wait::until(&format!("{name} to be 0"), READY_LIMIT, || {
            Ok((serving.metric(name)? == 0.0).then_some(()))
        })?;
    }
    wait::until("what was open for clients to be closed", READY_LIMIT, || {
        Ok((open_files(serving.id())? <= open_before + MORE_OPEN_MAX).then_some(()))
    })
}

/// How many files and connections a process has open (proc(5) `fd`).
fn open_files(pid: u32) -> Result<usize> {
    Ok(std::fs::read_dir(format!("/proc/{pid}/fd"))?.count())
}
