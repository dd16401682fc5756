//! What `volume info` forecasts (in how long the oldest footage of each stream is overwritten) against what the ring does.

use super::figure;
use crate::ground::Ground;
use crate::media::ClipKind;
use crate::process::{Running, keha_ok};
use crate::record_json;
use crate::rig::{self, COMMAND_LIMIT, Rig, named, text};
use crate::wait;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::time::{Duration, Instant};

/// How far a forecast may be off, either way. Of one of ten seconds, made after ten: the volume counts its running time in whole
/// seconds, so the pace is wrong by up to a tenth at either end of what it was taken from; the newest footage, from which the
/// forecast counts, is up to a second old; and of some hundred blocks up to four are set aside before they are taken. Together a
/// third, and as much again for a machine on which cameras do not keep their pace.
const FACTOR: f64 = 1.67;

/// A stream, its oldest block, and what was forecast of it.
struct Forecast {
    stream: String,
    block: u64,
    sequence: u64,
    forecast_s: f64,
}

/// Records two cameras, one at twice the other's bit rate, `speed` times as fast as life, into a volume of this size; asks when it is
/// half full, and waits for what was forecast of both. Then the same where the faster one may have half of the volume and so ends
/// its oldest footage earlier by itself; of the other the forecast is early there, for it counts on the plain ring.
pub fn whole(size: &str, speed: f64, limit: Duration) -> Result<()> {
    let mut rig = Rig::new(Ground::File, &named(2, &[ClipKind::Main, ClipKind::H265Cra]), size)?;
    for camera in rig.cameras.clone() {
        rig.server.stop(&camera.name)?;
        rig.server.add_with(&camera.name, &camera.clip, speed, false)?;
    }
    let plain = trial(&rig, false, limit).context("the plain ring")?;
    rig.await_quiet()?;
    std::fs::remove_file(&rig.volume)?;
    rig::create_volume(&rig.volume, size, 2)?;
    let quota = trial(&rig, true, limit).context("with a quota")?;
    let told = [plain, quota].concat();
    figure("forecast", &format!("{size}: {} (a factor of {FACTOR} is allowed)", told.join(", ")));
    Ok(())
}

/// Records until the volume is half full, and holds its forecasts to what happens.
fn trial(rig: &Rig, has_quota: bool, limit: Duration) -> Result<Vec<String>> {
    let mut recorder = rig.record(&[])?;
    record_json::await_durable(&mut recorder, &rig.cameras, Duration::from_secs(60))?;
    let volume = &rig::volume_json("info", &rig.volume)?["volume"];
    let number = |field: &str| volume[field].as_u64().with_context(|| format!("no {field}"));
    let (blocks, block_bytes) = (number("blocks")?, number("block_bytes")?);
    if has_quota {
        let quota = format!("{}MiB", blocks / 2 * block_bytes / (1 << 20));
        keha_ok(&["stream", "set", text(&rig.volume)?, "cam01", "--quota", &quota], COMMAND_LIMIT)?;
    }
    wait::until("the ring to be half full", limit, || {
        ensure!(recorder.ended()?.is_none(), "the recorder ended: {}", recorder.stderr().join("\n"));
        std::thread::sleep(Duration::from_millis(100));
        let newest = rows(rig)?.iter().filter_map(|row| row["sequence"].as_u64()).max();
        Ok((newest >= Some(blocks / 2)).then_some(()))
    })?;
    let asked = Instant::now();
    let mut forecasts = forecasts(rig)?;
    if has_quota {
        forecasts.truncate(1);
    } else {
        let bits = rates(rig)?;
        ensure!(bits.len() == 2 && bits[0] > 1.4 * bits[1], "{bits:?} bit/s are not two different rates");
    }
    let told = hold_true(rig, &mut recorder, asked, forecasts, limit)?;
    ensure!(recorder.terminate(Duration::from_secs(30))?.success(), "SIGTERM");
    rig::assert_check_clean(&rig.volume)?;
    Ok(told)
}

fn rows(rig: &Rig) -> Result<Vec<Value>> {
    let blocks = rig::volume_json("blocks", &rig.volume)?;
    Ok(blocks["blocks"].as_array().context("blocks")?.clone())
}

/// Bits a second of both streams.
fn rates(rig: &Rig) -> Result<Vec<f64>> {
    let info = rig::volume_json("info", &rig.volume)?;
    let streams = info["streams"].as_array().context("streams")?;
    streams.iter().map(|stream| stream["bits_per_second"].as_f64().context("bits_per_second")).collect()
}

/// Waits until each stream's oldest block is given to something newer.
fn hold_true(
    rig: &Rig,
    recorder: &mut Running,
    asked: Instant,
    mut forecasts: Vec<Forecast>,
    limit: Duration,
) -> Result<Vec<String>> {
    let mut told = Vec::new();
    while !forecasts.is_empty() {
        ensure!(recorder.ended()?.is_none(), "the recorder ended: {}", recorder.stderr().join("\n"));
        ensure!(asked.elapsed() < limit, "{} is not overwritten", forecasts[0].stream);
        std::thread::sleep(Duration::from_millis(100));
        let rows = rows(rig)?;
        let took_s = asked.elapsed().as_secs_f64();
        let stands = |of: &Forecast| {
            rows.iter()
                .any(|row| row["block"] == of.block && row["sequence"] == of.sequence && row["samples"] != 0)
        };
        let (left, over): (Vec<_>, Vec<_>) = forecasts.into_iter().partition(stands);
        forecasts = left;
        for of in over {
            let off = (of.forecast_s / took_s).max(took_s / of.forecast_s);
            ensure!(
                off < FACTOR,
                "{}: forecast were {} s, it took {took_s:.1} s: a factor of {off:.2}",
                of.stream,
                of.forecast_s
            );
            told.push(format!("{} forecast {} s, took {took_s:.1} s", of.stream, of.forecast_s));
        }
    }
    Ok(told)
}

fn forecasts(rig: &Rig) -> Result<Vec<Forecast>> {
    let info = rig::volume_json("info", &rig.volume)?;
    let rows = rows(rig)?;
    let streams = info["streams"].as_array().context("streams")?;
    let forecast = |stream: &Value| {
        let mine = rows.iter().filter(|row| row["stream"] == stream["name"] && row["samples"] != 0);
        let oldest = mine.min_by_key(|row| row["sequence"].as_u64()).context("no block")?;
        Ok(Forecast {
            stream: stream["name"].as_str().context("name")?.to_owned(),
            block: oldest["block"].as_u64().context("block")?,
            sequence: oldest["sequence"].as_u64().context("sequence")?,
            forecast_s: stream["overwritten_in_s"].as_f64().context("no forecast")?,
        })
    };
    streams.iter().map(forecast).collect()
}
