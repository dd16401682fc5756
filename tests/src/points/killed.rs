//! `keha serve` is killed again and again while it records, is asked and is changed: what was answered as done is done, what was
//! listed is footage, and every camera is recorded again soon.
//!
//! Cameras speak RTSP. Clients seek, play, download, export and watch; another one adds and removes cameras, users, tokens and holds;
//! a third one asks for the timelines. The instant of the kill is drawn.

use super::figure;
use crate::ledger::Ledger;
use crate::listed::Listed;
use crate::media::ClipKind;
use crate::process::now_ns;
use crate::rig::{self, named};
use crate::server::{CameraServer, Options};
use crate::serving::{READY_LIMIT, Serving};
use crate::visitor::{Did, Visitor};
use crate::wait;
use anyhow::{Context, Result, anyhow, bail};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Cameras with a group of pictures a second.
const KINDS: [ClipKind; 4] = [ClipKind::WithAac, ClipKind::H265Cra, ClipKind::WithG711, ClipKind::Small];
/// A camera's first sample comes so soon after the server listens again: 2 s, and a group of pictures.
const RECORDED_AGAIN_S_MAX: f64 = 3.0;
/// How long the server lives under load.
const LIFE_MS: std::ops::Range<u64> = 500..4000;
/// How often timelines are asked for.
const LISTING_INTERVAL: Duration = Duration::from_millis(50);

/// What is tried.
#[derive(Clone, Copy, Debug)]
pub struct Trial<'a> {
    /// So many cameras, all but the first of them added over HTTP,
    pub cameras: usize,
    /// so many clients,
    pub clients: u64,
    /// a volume of this size, which is not lapped meanwhile,
    pub size: &'a str,
    /// so many kills.
    pub kills: usize,
    /// What chance begins with.
    pub seed: u64,
}

/// Tries it.
pub fn whole(trial: &Trial<'_>) -> Result<()> {
    let mut chance = StdRng::seed_from_u64(trial.seed);
    let mut cameras = CameraServer::start(&Options::default())?;
    let named = named(trial.cameras, &KINDS);
    for (name, kind) in &named {
        cameras.add(name, &kind.clip()?)?;
    }
    let names: Vec<String> = named.into_iter().map(|(name, _)| name).collect();
    let (fixed, added) = names.split_first().context("no cameras")?;
    let mut serving = Serving::start_with(&[(fixed, &cameras.url(fixed))], trial.size)?;
    serving.add_token()?;
    for name in added {
        let camera = json!({ "name": name, "url": cameras.url(name) });
        serving.client().change("POST", "/api/v1/cameras", &camera)?;
    }
    for name in &names {
        serving.await_footage(name, 3.0)?;
    }
    let mut ledger = Ledger::new(fixed, trial.seed);
    let (mut judged, mut worst_s, mut ranges) = (Listed::default(), 0.0_f64, 0);
    let mut did = Did::default();
    for number in 0..trial.kills {
        let context = || format!("kill {number} (seed {})", trial.seed);
        let life = Duration::from_millis(chance.random_range(LIFE_MS));
        let load = Load { trial, names: &names, seed: chance.random_range(0..u64::MAX / 2), life };
        let (listed, more) = load.until_killed(&mut serving, &mut ledger).with_context(context)?;
        did = did + more;
        serving.start_again()?;
        let started_ns = i64::try_from(now_ns())?;
        let began_s = again(&serving, &names, started_ns).with_context(context)?;
        worst_s = worst_s.max(began_s);
        ledger.check(&serving.client()).with_context(context)?;
        let now = Listed::now(&serving.client())?;
        listed.is_kept(&now).with_context(context)?;
        ranges += now
            .is_all_footage(&serving.client(), &judged, serving.dir(), &mut chance)
            .with_context(context)?;
        judged = now;
    }
    did.is_served()?;
    figure(
        "killed",
        &format!(
            "{} kills under {} changes and {} clients (seed {}): all changes are there, {ranges} ranges are footage, \
             cameras are recorded again {worst_s:.2} s after the server listens at the latest",
            trial.kills,
            ledger.answered(),
            trial.clients,
            trial.seed
        ),
    );
    let volume = serving.volume();
    nothing_went_wrong(&serving)?;
    let at_the_end = Listed::now(&serving.client())?;
    judged.is_kept(&at_the_end)?;
    serving.stop_and_keep(|| rig::assert_check_clean(&volume).map(drop))
}

/// Waits until each camera is recorded again: how long after the server listened its first sample was, of the latest, in seconds.
fn again(serving: &Serving, names: &[String], started_ns: i64) -> Result<f64> {
    let mut latest_s = 0.0_f64;
    for name in names {
        let first = wait::until(&format!("{name} to be recorded again"), READY_LIMIT, || {
            let recorded = serving.recorded(name)?;
            Ok(recorded.last().filter(|(_, to)| *to > started_ns).map(|(from, _)| *from))
        })?;
        let after_s = (first - started_ns) as f64 / 1e9;
        if after_s > RECORDED_AGAIN_S_MAX {
            bail!("{name} is recorded again {after_s:.2} s after the server listens");
        }
        latest_s = latest_s.max(after_s);
        let timeline = serving.client().json(&format!("/api/v1/cameras/{name}/streams/main/timeline"))?;
        let gap = timeline["gaps"].as_array().and_then(|gaps| gaps.last()).context("no gap is told")?;
        if gap["reason"] != "recorder down" {
            bail!("{name}: a kill is told as {gap}");
        }
    }
    Ok(latest_s)
}

/// What goes on until the kill.
struct Load<'a> {
    trial: &'a Trial<'a>,
    names: &'a [String],
    seed: u64,
    life: Duration,
}

impl Load<'_> {
    /// Answers what was listed last before the kill, and what clients did until then.
    fn until_killed(&self, serving: &mut Serving, ledger: &mut Ledger) -> Result<(Listed, Did)> {
        let killed = AtomicBool::new(false);
        let is_over = || killed.load(Ordering::SeqCst);
        let (client, visitors) = (serving.client(), serving.another("visitors")?);
        std::thread::scope(|scope| {
            let listing = scope.spawn(|| {
                let mut last = Listed::default();
                until(&is_over, || {
                    last = Listed::now(&client)?;
                    std::thread::sleep(LISTING_INTERVAL);
                    Ok(())
                })?;
                Ok(last)
            });
            let changing = scope.spawn(|| until(&is_over, || ledger.change(&client)));
            let visiting: Vec<_> = (0..self.trial.clients)
                .map(|number| {
                    let seed = self.seed + number;
                    let mut visitor = Visitor::new(visitors.clone(), self.names, seed, number % 4 == 0);
                    let is_over = &is_over;
                    scope.spawn(move || match visitor.stay(is_over) {
                        // What breaks off is the kill.
                        Err(_) if is_over() => Ok(visitor.did()),
                        stayed => stayed,
                    })
                })
                .collect();
            // The instant of the fault is drawn, it does not stand for a condition.
            std::thread::sleep(self.life);
            killed.store(true, Ordering::SeqCst);
            let done = serving.kill();
            let died = |_| Err(anyhow!("a client panicked"));
            let mut did = Did::default();
            for visitor in visiting {
                did = did + visitor.join().unwrap_or_else(|_| Err(anyhow!("a client panicked")))?;
            }
            changing.join().unwrap_or_else(|_| Err(anyhow!("the one who changes panicked")))?;
            done?;
            Ok((listing.join().unwrap_or_else(died)?, did))
        })
    }
}

/// Does something again and again until it is over; what fails then is the kill.
fn until(is_over: &impl Fn() -> bool, mut what: impl FnMut() -> Result<()>) -> Result<()> {
    while !is_over() {
        match what() {
            Err(_) if is_over() => {}
            done => done?,
        }
    }
    Ok(())
}

fn nothing_went_wrong(serving: &Serving) -> Result<()> {
    let cameras: Value = serving.client().json("/api/v1/cameras")?;
    for camera in cameras.as_array().context("no cameras")? {
        for stream in camera["streams"].as_array().context("no streams")? {
            if stream["dropped_samples"] != 0 {
                bail!("samples were dropped: {stream}");
            }
        }
    }
    match serving.stderr().iter().find(|line| line.contains("panicked") || line.contains(" ERROR ")) {
        Some(line) => bail!("the server said: {line}"),
        None => Ok(()),
    }
}
