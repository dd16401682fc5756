//! Not a frame lost: what cameras serve stands in the exports, NAL unit for NAL unit, and every tool opens them.

use super::figure;
use crate::footage::{self, payload_run, unbroken_run};
use crate::ground::Ground;
use crate::manifest;
use crate::media::{ClipKind, Codec, nal};
use crate::probe;
use crate::record_json;
use crate::rig::{self, Camera, Export, Part, Rig, named};
use crate::server::Sent;
use anyhow::{Context, Result, ensure};
use std::time::Duration;

/// Records `count` cameras of these kinds in turn for so many seconds, and judges every export.
pub fn whole(count: usize, kinds: &[ClipKind], seconds: u64, volume_size: &str) -> Result<()> {
    let rig = Rig::new(Ground::File, &named(count, kinds), volume_size)?;
    let duration = format!("{seconds}s");
    let mut recorder = rig.record(&["--duration", &duration])?;
    let status = recorder.wait(Duration::from_secs(seconds + 60))?;
    ensure!(status.success(), "record ended with {status}: {}", recorder.stderr().join("\n"));
    let counted = record_json::dropped_and_lost(&recorder.stdout());
    ensure!(counted == Some((0, 0)), "dropped samples and lost packets: {counted:?}");
    rig::assert_check_clean(&rig.volume)?;
    let sent = rig.server.sent()?;
    let mut units = 0;
    let mut samples = 0;
    for camera in &rig.cameras {
        let export = rig.export(&camera.name)?;
        let found = judge(camera, &export, &sent, seconds).with_context(|| camera.name.clone())?;
        units += found.0;
        samples += found.1;
        for part in &export.parts {
            std::fs::remove_file(&part.path)?;
        }
    }
    figure(
        "frames",
        &format!(
            "{count} cameras, {seconds} s, {kinds:?}: {samples} samples, {units} NAL units, none missing"
        ),
    );
    Ok(())
}

/// Judges one camera's export; answers its NAL units and samples.
fn judge(camera: &Camera, export: &Export, sent: &[Sent], seconds: u64) -> Result<(usize, usize)> {
    let part = export.only()?;
    probe::assert_clean(&part.path)?;
    probe::seeks_land_on_keyframes(&part.path)?;
    manifest::assert_true(part)?;
    let video = camera.clip.video()?;
    let run = footage::video_run(&part.mkv, &camera.clip)?;
    let frames = &part.mkv.video()?.frames;
    // Recording begins a little after the start: connections are made, GStreamer prepares its pipeline.
    ensure!(frames.len() as u64 + 75 >= seconds * 25, "only {} pictures in {seconds} s", frames.len());
    for (i, frame) in frames.iter().enumerate() {
        let sync = nal::split_lengths(&frame.data)?.iter().any(|unit| nal::is_sync(video.codec, unit));
        ensure!(frame.keyframe == sync, "picture {i}: keyframe flag {}, sync {sync}", frame.keyframe);
    }
    times_are_the_cameras(camera, part, sent)?;
    let mut samples = frames.len();
    if let Some(track) = camera.clip.track(Codec::Aac) {
        let aac = part.mkv.track(Codec::Aac)?;
        unbroken_run(&aac.hashes(), &camera.clip.hashes(track).concat()).context("AAC")?;
        ensure!(aac.frames.len() as u64 + 150 >= seconds * 46, "only {} AAC samples", aac.frames.len());
        samples += aac.frames.len();
    }
    if let Some(track) = camera.clip.track(Codec::Pcmu) {
        let pcmu = part.mkv.track(Codec::Pcmu)?;
        payload_run(&pcmu.payload(), &camera.clip.payload(track)).context("G.711")?;
        ensure!(pcmu.payload().len() as u64 + 24_000 >= seconds * 8000, "too little G.711");
        samples += pcmu.frames.len();
    }
    ensure!(export.gaps().is_empty(), "gaps: {:?}", export.gaps());
    Ok((run.len, samples))
}

/// Distances between pictures are those on the camera's own clock: nothing is bent to a nominal rate. The estimate of
/// the wall clock may be slewed to, by 5,000 ppm in a run's first 20 s and by 500 ppm from then on.
fn times_are_the_cameras(camera: &Camera, part: &Part, sent: &[Sent]) -> Result<()> {
    let video = camera.clip.video()?;
    let track = part.mkv.video()?;
    let numbers = footage::number_samples(&track.nal_hashes()?, &camera.clip.hashes(video))?;
    let log: Vec<&Sent> = sent.iter().filter(|line| line.mount == camera.name && line.track == 0).collect();
    let start =
        log.iter().position(|line| line.number == numbers[0]).context("the first picture was never sent")?;
    let mut bent_ns_last = 0;
    for (i, (frame, line)) in track.frames.iter().zip(&log[start..]).enumerate() {
        ensure!(line.number == numbers[i], "picture {i} of the export is not the next one sent");
        let shown_ns = frame.time_ns as i64 - track.frames[0].time_ns as i64;
        let meant_ns = line.running_ns as i64 - log[start].running_ns as i64;
        let bent_ns = shown_ns - meant_ns;
        let settling_ns = meant_ns.clamp(0, 20_000_000_000);
        // Half a tick of the file's and of the camera's clock at each end.
        let slack_ns = 2_000_000 + settling_ns / 200 + (meant_ns - settling_ns).max(0) / 2000;
        ensure!(bent_ns.abs() <= slack_ns, "picture {i} is at {shown_ns} ns, the camera says {meant_ns} ns");
        let step_ns = bent_ns - bent_ns_last;
        ensure!(
            step_ns.abs() <= 2_000_000,
            "picture {i} is {step_ns} ns off the distance to the one before it"
        );
        bent_ns_last = bent_ns;
    }
    Ok(())
}

/// The clip with two PPS, AUD and SEI costs no more blocks than a plain one of the same rate.
pub fn changing_sets_cost_no_blocks(seconds: u64) -> Result<()> {
    let kinds = [ClipKind::TwoPps, ClipKind::Plain720];
    let rig = Rig::new(Ground::File, &named(2, &kinds), "256MiB")?;
    let duration = format!("{seconds}s");
    rig.record(&["--duration", &duration])?.wait(Duration::from_secs(seconds + 60))?;
    let blocks = rig::volume_json("blocks", &rig.volume)?;
    let of = |name: &str| {
        let rows = blocks["blocks"].as_array().map(Vec::as_slice).unwrap_or_default();
        rows.iter().filter(|row| row["stream"] == name).count()
    };
    ensure!(
        of("cam01") <= of("cam02") + 1,
        "{} blocks for two PPS, {} for the plain clip",
        of("cam01"),
        of("cam02")
    );
    figure("frames", &format!("two PPS: {} blocks, plain: {}", of("cam01"), of("cam02")));
    Ok(())
}

/// Exports beside the live recorder: a range, both streams in one file, and all there is, each without a hole.
pub fn beside_a_live_recorder() -> Result<()> {
    let rig = Rig::new(Ground::File, &named(2, &[ClipKind::WithAac, ClipKind::Plain720]), "256MiB")?;
    let mut recorder = rig.record(&[])?;
    let long_enough = |export: &Export| export.only().is_ok_and(|part| part.mkv.order.len() > 400);
    let early = crate::wait::until("eight seconds of footage", Duration::from_secs(60), || {
        ensure!(recorder.ended()?.is_none(), "the recorder ended: {}", recorder.stderr().join("\n"));
        // Before the first chunk is written there is nothing to export, which is an answer too.
        Ok(rig.export("cam01").ok().filter(long_enough))
    })?;
    let whole = early.only()?;
    footage::video_run(&whole.mkv, &rig.cameras[0].clip)?;
    manifest::assert_true(whole)?;
    range(&rig, &early)?;
    together(&rig)?;
    let later = rig.export("cam01")?;
    footage::video_run(&later.only()?.mkv, &rig.cameras[0].clip)?;
    ensure!(
        later.only()?.mkv.order.len() > early.only()?.mkv.order.len(),
        "the export does not follow the recorder"
    );
    ensure!(recorder.terminate(Duration::from_secs(30))?.success(), "the exports disturbed the recorder");
    for camera in &rig.cameras {
        let export = rig.export(&camera.name)?;
        footage::video_run(&export.only()?.mkv, &camera.clip)?;
        ensure!(export.gaps().is_empty(), "the exports made gaps: {:?}", export.gaps());
    }
    figure("frames", "a range, two streams in one file, and all there is: whole beside the live recorder");
    Ok(())
}

/// From the keyframe at or before the beginning to before the end: no picture more, none less.
fn range(rig: &Rig, whole: &Export) -> Result<()> {
    let mkv = &whole.only()?.mkv;
    let zero = mkv.date_utc_ns.context("no DateUTC")?;
    let wall = |time_ns: u64| zero + i128::from(time_ns);
    let frames = &mkv.video()?.frames;
    let (from, to) = (wall(frames[40].time_ns) + 13_000_000, wall(frames[120].time_ns) + 13_000_000);
    let show = |ns: i128| jiff::Timestamp::from_nanosecond(ns).map(|time| time.to_string());
    let out = rig.dir.path().join("range.mkv");
    let (from_text, to_text) = (show(from)?, show(to)?);
    let export =
        rig::export(&rig.volume, "cam01", &out, &["--from", &from_text, "--to", &to_text, "--force"])?;
    let part = export.only()?;
    probe::assert_clean(&part.path)?;
    manifest::assert_true(part)?;
    let keyframe = (0..=40).rev().find(|i| frames[*i].keyframe).context("no keyframe before the range")?;
    let expected: Vec<_> = frames[keyframe..=120].iter().map(|frame| nal::NalHash::of(&frame.data)).collect();
    let got = part.mkv.video()?.hashes();
    ensure!(got == expected, "{} pictures in the range, {} were meant", got.len(), expected.len());
    let last_audio = part.mkv.track(Codec::Aac)?.frames.last().context("no AAC in the range")?;
    let zero = part.mkv.date_utc_ns.context("no DateUTC")?;
    ensure!(zero + i128::from(last_audio.time_ns) < to + 1_000_000, "audio behind the end of the range");
    Ok(())
}

/// Two streams in one file, on one clock.
fn together(rig: &Rig) -> Result<()> {
    let out = rig.dir.path().join("together.mkv");
    let export = rig::export(&rig.volume, "cam01", &out, &["--stream", "cam02", "--force"])?;
    let part = export.only()?;
    probe::assert_clean(&part.path)?;
    let videos: Vec<_> = part.mkv.tracks.iter().filter(|track| track.codec() == Some(Codec::H264)).collect();
    ensure!(videos.len() == 2, "{} video tracks", videos.len());
    for (track, camera) in videos.iter().zip(&rig.cameras) {
        unbroken_run(&track.nal_hashes()?.concat(), &camera.clip.hashes(camera.clip.video()?).concat())
            .with_context(|| camera.name.clone())?;
    }
    Ok(())
}
