//! What recording costs, as ratios within one run: `keha record` against `ffmpeg -c copy`, one process a camera.
//!
//! The cameras are GStreamer's, which many other programs are measured with; bench_record is for hundreds of cameras, and for the least
//! that recording could cost. Both record the same cameras for the same time, in turns, on the same disk; machines differ, ratios travel.
//! Prints the median of the turns and their spread. Use a release build, on a machine that does nothing else.
#![forbid(unsafe_code)]

use anyhow::{Context, Result, ensure};
use keha_tests::ground::Ground;
use keha_tests::media::ClipKind;
use keha_tests::process::Running;
use keha_tests::rig::{self, Rig, named};
use keha_tests::usage::{children_cpu_s, resident_peak_bytes};
use std::process::Command;
use std::time::Duration;

/// One recording's cost.
#[derive(Clone, Copy, Debug)]
struct Turn {
    cpu_s_per_gbit: f64,
    disk_over_payload: f64,
    resident_bytes: u64,
}

fn main() -> Result<()> {
    let number = |n: usize, default: u64| -> Result<u64> {
        std::env::args().nth(n).map_or(Ok(default), |text| Ok(text.parse()?))
    };
    let (cameras, seconds, turns) = (number(1, 16)? as usize, number(2, 30)?, number(3, 3)?);
    let (mut ours, mut theirs, mut single) = (Vec::new(), Vec::new(), Vec::new());
    for turn in 0..turns {
        ours.push(keha(cameras, seconds).with_context(|| format!("keha, turn {turn}"))?);
        theirs.push(ffmpeg(cameras, seconds).with_context(|| format!("ffmpeg, turn {turn}"))?);
        single.push(keha(1, seconds.min(15))?);
    }
    println!("{cameras} cameras, 1080p25 H.264 4 Mbit/s, {seconds} s, {turns} turns; median (least to most)");
    let cpu = |turns: &[Turn]| spread(turns.iter().map(|turn| turn.cpu_s_per_gbit));
    show("keha record, CPU seconds a Gbit", cpu(&ours));
    show("ffmpeg -c copy, CPU seconds a Gbit", cpu(&theirs));
    show(
        "keha over ffmpeg (goal 0.4)",
        spread(ours.iter().zip(&theirs).map(|(a, b)| a.cpu_s_per_gbit / b.cpu_s_per_gbit)),
    );
    show("bytes on disk over payload (goal 1.012)", spread(ours.iter().map(|turn| turn.disk_over_payload)));
    let per_camera = |(many, one): (&Turn, &Turn)| {
        many.resident_bytes.saturating_sub(one.resident_bytes) as f64
            / (cameras.max(2) - 1) as f64
            / f64::from(1 << 20)
    };
    show("keha, MiB of memory for each further camera", spread(ours.iter().zip(&single).map(per_camera)));
    let of_one = |turn: &Turn| turn.resident_bytes as f64 / cameras as f64 / f64::from(1 << 20);
    show("ffmpeg, MiB of memory a camera", spread(theirs.iter().map(of_one)));
    Ok(())
}

/// Median, least and most.
fn spread(values: impl Iterator<Item = f64>) -> (f64, f64, f64) {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let at = |i: usize| values.get(i).copied().unwrap_or(f64::NAN);
    (at(values.len() / 2), at(0), at(values.len().saturating_sub(1)))
}

fn show(what: &str, (median, least, most): (f64, f64, f64)) {
    println!("{what}: {median:.3} ({least:.3} to {most:.3})");
}

fn keha(cameras: usize, seconds: u64) -> Result<Turn> {
    let rig = Rig::new(Ground::File, &named(cameras, &[ClipKind::Main]), "4GiB")?;
    let before = children_cpu_s()?;
    let mut recorder = rig.record(&[])?;
    std::thread::sleep(Duration::from_secs(seconds));
    let resident_bytes = resident_peak_bytes(recorder.id())?;
    ensure!(recorder.terminate(Duration::from_secs(30))?.success(), "{}", recorder.stderr().join("\n"));
    let cpu_s = children_cpu_s()? - before;
    let info = rig::volume_json("info", &rig.volume)?;
    let payload = info["payload_bytes"].as_u64().context("payload_bytes")? as f64;
    let used = info["used_bytes"].as_u64().context("used_bytes")? as f64;
    Ok(Turn {
        cpu_s_per_gbit: cpu_s / (payload * 8.0 / 1e9),
        disk_over_payload: used / payload,
        resident_bytes,
    })
}

fn ffmpeg(cameras: usize, seconds: u64) -> Result<Turn> {
    let rig = Rig::new(Ground::File, &named(cameras, &[ClipKind::Main]), "64MiB")?;
    let before = children_cpu_s()?;
    let mut running = Vec::new();
    for camera in &rig.cameras {
        let mut ffmpeg = Command::new("ffmpeg");
        ffmpeg.args(["-v", "error", "-nostdin", "-rtsp_transport", "tcp", "-i", &camera.url, "-c", "copy"]);
        running.push(Running::start(ffmpeg.arg(rig.dir.path().join(format!("{}.mkv", camera.name))))?);
    }
    std::thread::sleep(Duration::from_secs(seconds));
    let resident: Result<Vec<u64>> = running.iter().map(|one| resident_peak_bytes(one.id())).collect();
    for one in &running {
        one.signal(nix::sys::signal::Signal::SIGINT)?;
    }
    for one in &mut running {
        // 255 is what ffmpeg ends with after a signal.
        one.wait(Duration::from_secs(30))?;
    }
    let cpu_s = children_cpu_s()? - before;
    let mut bytes = 0;
    for camera in &rig.cameras {
        bytes += std::fs::metadata(rig.dir.path().join(format!("{}.mkv", camera.name)))?.len();
    }
    let resident_bytes = resident?.iter().sum();
    Ok(Turn { cpu_s_per_gbit: cpu_s / (bytes as f64 * 8.0 / 1e9), disk_over_payload: 1.0, resident_bytes })
}
