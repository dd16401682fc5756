//! Wall-clock times in exports are right to one picture, whatever the camera's sender reports say.
//!
//! The judge is in the picture: a bar code of the time at which it was taken.

use super::figure;
use crate::barcode;
use crate::rig::{self, scratch};
use crate::server::{CameraServer, Options, SenderReports};
use anyhow::{Context, Result, ensure};
use std::path::Path;
use std::time::Duration;

/// One picture at 25 a second.
const FRAME_MS: i128 = 40;

/// Records a filmed clock for so many seconds under each kind of sender report.
pub fn whole(seconds: u64) -> Result<()> {
    for reports in [SenderReports::Right, SenderReports::Absent, SenderReports::OffBySeconds(3600)] {
        let dir = scratch()?;
        let volume = dir.path().join("clock.ring");
        rig::create_volume(&volume, "64MiB", 1)?;
        let mut server = CameraServer::start(&Options { sender_reports: reports, ..Options::default() })?;
        server.add_clock("clock")?;
        let url = server.url("clock");
        let duration = format!("{seconds}s");
        let mut recorder =
            rig::record(&volume, [("clock", url.as_str())].into_iter(), &["--duration", &duration])?;
        ensure!(recorder.wait(Duration::from_secs(seconds + 60))?.success(), "record");
        let export = rig::export(&volume, "clock", &dir.path().join("clock.mkv"), &[])?;
        let part = export.only()?;
        let errors = errors_ms(&part.path, &barcode::read_times_ms(&part.path)?)?;
        let worst = errors.iter().copied().max_by_key(|error| error.abs()).context("no pictures")?;
        ensure!(errors.len() as u64 + 75 > seconds * 25, "only {} pictures", errors.len());
        ensure!(worst.abs() <= FRAME_MS, "sender reports {reports:?}: a picture is {worst} ms off");
        let gaps = export.gaps();
        ensure!(gaps.is_empty(), "sender reports {reports:?} made gaps: {gaps:?}");
        let mean = errors.iter().sum::<i128>() / errors.len() as i128;
        figure(
            "clock",
            &format!(
                "sender reports {reports:?}: {} pictures, worst {worst} ms, mean {mean} ms",
                errors.len()
            ),
        );
    }
    Ok(())
}

/// The built-in camera's pictures show the time that the export gives them.
pub fn built_in(seconds: u64) -> Result<()> {
    let dir = scratch()?;
    let volume = dir.path().join("built-in.ring");
    rig::create_volume(&volume, "64MiB", 1)?;
    let url = "testsrc://?size=640x360&fps=25&gop=25";
    let duration = format!("{seconds}s");
    let mut recorder = rig::record(&volume, [("test", url)].into_iter(), &["--duration", &duration])?;
    ensure!(recorder.wait(Duration::from_secs(seconds + 60))?.success(), "record");
    let export = rig::export(&volume, "test", &dir.path().join("test.mkv"), &[])?;
    let part = export.only()?;
    crate::probe::assert_clean(&part.path)?;
    let pictures = barcode::read_built_in(&part.path)?;
    ensure!(pictures.len() as u64 + 50 > seconds * 25, "only {} pictures", pictures.len());
    ensure!(pictures.windows(2).all(|pair| pair[1].counter == pair[0].counter + 1), "a picture is missing");
    let times: Vec<u64> = pictures.iter().map(|picture| picture.wall_ms).collect();
    let errors = errors_ms(&part.path, &times)?;
    let worst = errors.iter().copied().max_by_key(|error| error.abs()).context("no pictures")?;
    ensure!(worst.abs() <= FRAME_MS, "a picture is {worst} ms off");
    figure("clock", &format!("built-in camera: {} pictures, worst {worst} ms", errors.len()));
    Ok(())
}

/// Wall time in the file minus the time in the picture, picture by picture.
fn errors_ms(file: &Path, shown_ms: &[u64]) -> Result<Vec<i128>> {
    let mkv = crate::probe::read_mkv(file)?;
    let zero_ns = mkv.date_utc_ns.context("no DateUTC")?;
    let mut times: Vec<u64> = mkv.video()?.frames.iter().map(|frame| frame.time_ns).collect();
    times.sort_unstable();
    ensure!(times.len() == shown_ms.len(), "{} blocks, {} pictures decoded", times.len(), shown_ms.len());
    let error = |(time, shown): (&u64, &u64)| (zero_ns + i128::from(*time)) / 1_000_000 - i128::from(*shown);
    Ok(times.iter().zip(shown_ms).map(error).collect())
}
