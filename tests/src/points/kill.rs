//! `kill -9` at random instants: the next start just goes on, and what was lost is counted from the cameras' send log.

use super::figure;
use crate::footage;
use crate::ground::Ground;
use crate::loss::{self, Loss};
use crate::media::ClipKind;
use crate::record_json::{self, Durable};
use crate::rig::{self, Camera, Rig, named};
use anyhow::{Context, Result, ensure};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::time::Duration;

/// The most that may be lost of any stream, seconds.
const LOST_S_MAX: f64 = 1.2;

/// One life of the recorder: how it ended, and what it had promised.
pub(crate) struct Life {
    pub(crate) end_ns: u64,
    pub(crate) durable: Vec<Durable>,
}

/// The longest a recorder lives once every camera is durable, milliseconds: for half of it sockets are looked at as seldom as later.
const LIFE_MS_MAX: u64 = 3500;

/// Kills a recorder of `count` cameras `kills` times, then ends it by SIGTERM, and judges what is left.
pub fn whole(
    ground: Ground,
    count: usize,
    kinds: &[ClipKind],
    kills: usize,
    volume_size: &str,
    seed: u64,
) -> Result<()> {
    let (worst, last) = cycles(ground, count, kinds, kills, LIFE_MS_MAX, volume_size, seed)?;
    figure(
        "kill",
        &format!(
            "{count} cameras, {kills} kills (seed {seed}): worst loss {worst:.3} s, after SIGTERM {last:.3} s, all durable samples there"
        ),
    );
    Ok(())
}

/// Many kills in less time: `lanes` recorders at once, each of `count` cameras and a volume of its own. Most of a life is
/// waiting, so that they hardly disturb each other; lives are shorter than in [`whole`].
pub fn side_by_side(
    ground: Ground,
    lanes: usize,
    count: usize,
    kinds: &[ClipKind],
    kills: usize,
    volume_size: &str,
    seed: u64,
) -> Result<()> {
    let start = std::time::Instant::now();
    let share = |lane: usize| kills / lanes + usize::from(lane < kills % lanes);
    let results: Vec<Result<(f64, f64)>> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..lanes)
            .map(|lane| {
                let seed = seed + lane as u64;
                scope.spawn(move || {
                    cycles(ground, count, kinds, share(lane), LIFE_MS_MAX / 2, volume_size, seed)
                })
            })
            .collect();
        let died = |_| Err(anyhow::anyhow!("a lane panicked"));
        running.into_iter().map(|lane| lane.join().unwrap_or_else(died)).collect()
    });
    let (mut worst, mut last) = (0.0_f64, 0.0_f64);
    for (lane, result) in results.into_iter().enumerate() {
        let (worst_of_lane, last_of_lane) = result.with_context(|| format!("lane {lane}"))?;
        (worst, last) = (worst.max(worst_of_lane), last.max(last_of_lane));
    }
    figure(
        "kills",
        &format!(
            "{kills} kills in {lanes} lanes of {count} cameras (seed {seed}), {} s: worst loss {worst:.3} s, after SIGTERM {last:.3} s, all durable samples there",
            start.elapsed().as_secs()
        ),
    );
    Ok(())
}

/// Answers the worst loss of a life that was killed, and of the last one.
fn cycles(
    ground: Ground,
    count: usize,
    kinds: &[ClipKind],
    kills: usize,
    life_ms_max: u64,
    volume_size: &str,
    seed: u64,
) -> Result<(f64, f64)> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut rig = Rig::new(ground, &named(count, kinds), volume_size)?;
    let mut lives = Vec::new();
    for number in 0..kills {
        let mut recorder = rig.record(&[])?;
        record_json::await_durable(&mut recorder, &rig.cameras, Duration::from_secs(60))
            .with_context(|| format!("life {number}"))?;
        // The instant of the fault is drawn, it does not stand for a condition.
        std::thread::sleep(Duration::from_millis(random.random_range(0..life_ms_max)));
        let end_ns = recorder.kill()?;
        lives.push(Life { end_ns, durable: record_json::last_durable(&recorder.stdout()) });
        rig.await_quiet()?;
        if number % 10 == 9 {
            rig::assert_check_clean(&rig.volume).with_context(|| format!("after kill {number}"))?;
        }
    }
    let mut recorder = rig.record(&[])?;
    record_json::await_durable(&mut recorder, &rig.cameras, Duration::from_secs(60))?;
    let end_ns = crate::process::now_ns();
    let status = recorder.terminate(Duration::from_secs(30))?;
    ensure!(status.success(), "SIGTERM: {status}: {}", recorder.stderr().join("\n"));
    lives.push(Life { end_ns, durable: record_json::last_durable(&recorder.stdout()) });
    rig::assert_check_clean(&rig.volume)?;
    let (worst, last) = judge(&rig, &lives, LOST_S_MAX)?;
    // In flight at the moment of the signal: sent, but not yet through server, socket and recorder.
    ensure!(last <= 0.1, "SIGTERM lost {last:.3} s");
    Ok((worst, last))
}

/// Judges all cameras; answers the worst loss of a life that died, and of the last life.
pub(crate) fn judge(rig: &Rig, lives: &[Life], lost_s_max: f64) -> Result<(f64, f64)> {
    let (mut worst, mut last_worst) = (0.0_f64, 0.0_f64);
    let (mut judged, mut too_much) = (0, Vec::new());
    for camera in &rig.cameras {
        let export = rig.export(&camera.name)?;
        for part in &export.parts {
            crate::probe::ffprobe(&part.path)?;
            crate::manifest::assert_true(part)?;
        }
        let gaps = export.gaps();
        let down = gaps.iter().filter(|(reason, _, to)| reason == "recorder down" && to.is_some()).count();
        ensure!(
            (down, gaps.len()) == (lives.len() - 1, lives.len() - 1),
            "{}: the recorder was down {} times, the gaps are {gaps:?}",
            camera.name,
            lives.len() - 1
        );
        for (k, track) in camera.clip.tracks.iter().enumerate() {
            let context = || format!("{} track {k} ({:?})", camera.name, track.codec);
            let kept = footage::number_samples(&export.samples(track.codec)?, &camera.clip.hashes(track))
                .with_context(context)?;
            let losses = losses(rig, &kept, camera, k, lives).with_context(context)?;
            ensure!(
                losses.len() == lives.len(),
                "{}: {} sessions in {} lives",
                context(),
                losses.len(),
                lives.len()
            );
            for (number, (loss, life)) in losses.iter().zip(lives).enumerate() {
                judge_life(loss, life, camera, k)
                    .with_context(|| format!("{}, life {number}: {loss:?}", context()))?;
                judged += 1;
                if loss.lost_s > lost_s_max {
                    too_much.push(format!("{} life {number}: {:.3} s", context(), loss.lost_s));
                }
                if number + 1 == lives.len() {
                    last_worst = last_worst.max(loss.lost_s);
                } else {
                    worst = worst.max(loss.lost_s);
                }
            }
        }
        for part in &export.parts {
            std::fs::remove_file(&part.path)?;
        }
    }
    // Told together, after all that must hold without measure: how often and by how much says what kind of fault it is.
    ensure!(
        too_much.is_empty(),
        "{} of {judged} losses are above {lost_s_max} s: {}",
        too_much.len(),
        too_much.join("; ")
    );
    Ok((worst, last_worst))
}

/// What is missing of each session of a camera's track.
fn losses(rig: &Rig, kept: &[u64], camera: &Camera, track: usize, lives: &[Life]) -> Result<Vec<Loss>> {
    let ends: Vec<u64> = lives.iter().map(|life| life.end_ns).collect();
    loss::by_session(&rig.server.sent_by(&camera.name, track)?, kept, &ends)
}

/// Judges a camera of whose oldest footage the ring may have taken some: behind where it begins now nothing is missing but the
/// last moments of lives that were killed.
pub(crate) fn judge_lapped(rig: &Rig, camera: &Camera, lives: &[Life]) -> Result<()> {
    let export = rig.export(&camera.name)?;
    for (track, of_clip) in camera.clip.tracks.iter().enumerate() {
        let hashes = camera.clip.hashes(of_clip);
        let mut kept = footage::number_samples(&export.samples(of_clip.codec)?, &hashes)?;
        let sent = rig.server.sent_by(&camera.name, track)?;
        // The first ones of all laps of the clip may be gone: it is the end that says which lap is which.
        let behind =
            sent.last().map_or(0, |line| line.number).saturating_sub(kept.last().copied().unwrap_or(0));
        let laps = hashes.len() as u64;
        kept.iter_mut().for_each(|number| *number += behind / laps * laps);
        let losses = losses(rig, &kept, camera, track, lives)?;
        ensure!(losses.len() == lives.len(), "{} sessions in {} lives", losses.len(), lives.len());
        let left = losses.iter().zip(lives).enumerate().skip_while(|(_, (loss, _))| loss.kept == 0);
        for (place, (number, (loss, life))) in left.enumerate() {
            let context = || format!("track {track}, life {number}: {loss:?}");
            ensure!(loss.lost_s <= LOST_S_MAX, "{}", context());
            if place > 0 || loss.head_missing == 0 {
                judge_life(loss, life, camera, track).with_context(context)?;
            }
        }
        ensure!(losses.last().is_some_and(|last| last.kept > 0), "nothing is left of the last life");
    }
    Ok(())
}

fn judge_life(loss: &Loss, life: &Life, camera: &Camera, track: usize) -> Result<()> {
    ensure!(loss.head_missing == 0, "{} samples missing at the start", loss.head_missing);
    let promised = record_json::samples_of(&life.durable, &camera.name, track)
        .context("record --json never said how far this track is durable")?;
    ensure!(loss.kept >= promised, "{promised} samples were reported durable, {} are there", loss.kept);
    Ok(())
}
