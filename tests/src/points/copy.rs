//! Footage copied into another volume is the footage itself: exports of both are the same, picture for picture and
//! nanosecond for nanosecond.

use super::figure;
use crate::ground::Ground;
use crate::media::ClipKind;
use crate::process;
use crate::rig::{self, Export, Rig, named, text};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::path::Path;
use std::time::Duration;

const COPY_LIMIT: Duration = Duration::from_secs(120);

/// Copies beside the recorder, and all of it after so many pictures.
pub fn whole(ground: Ground, pictures: usize) -> Result<()> {
    let rig = Rig::new(ground, &named(2, &[ClipKind::WithAac, ClipKind::H265Cra]), "256MiB")?;
    let mut recorder = rig.record(&[])?;
    let enough = |export: &Export| {
        export.only().is_ok_and(|part| part.mkv.video().is_ok_and(|video| video.frames.len() >= pictures))
    };
    // At 25 pictures a second, and as long again.
    let limit = Duration::from_secs(60 + pictures as u64 / 12);
    crate::wait::until("footage to copy", limit, || {
        ensure!(recorder.ended()?.is_none(), "the recorder ended: {}", recorder.stderr().join("\n"));
        Ok(rig.export("cam01").ok().filter(enough))
    })?;
    let beside = rig.dir.path().join("beside.ring");
    rig::create_volume(&beside, "64MiB", 2)?;
    let copied = copy(&rig.volume, &beside, &["--stream", "cam01", "--as", "case-17"])?;
    ensure!(copied["streams"][0]["samples"].as_u64() > Some(pictures as u64), "{copied:#}");
    ensure!(recorder.terminate(Duration::from_secs(30))?.success(), "the copy disturbed the recorder");
    rig::assert_check_clean(&beside)?;
    ensure!(rig.export("cam01")?.gaps().is_empty(), "the copy made gaps");

    let into = rig.dir.path().join("into.ring");
    rig::create_volume(&into, "256MiB", 4)?;
    let arguments = ["--stream", "cam01", "--stream", "cam02"];
    let copied = copy(&rig.volume, &into, &arguments)?;
    rig::assert_check_clean(&into)?;
    let (mut samples, mut bytes, mut hashes) = (0, 0, 0);
    for camera in &rig.cameras {
        let original = rig.export(&camera.name)?;
        let copy = rig::export(&into, &camera.name, &rig.dir.path().join("copy.mkv"), &["--force"])?;
        same(&original, &copy).with_context(|| camera.name.clone())?;
        crate::probe::assert_clean(&copy.only()?.path)?;
        crate::manifest::assert_true(copy.only()?)?;
        hashes += same_hashes(&original, &copy).with_context(|| camera.name.clone())?;
        let tracks = original.only()?.mkv.tracks.iter();
        bytes += tracks.flat_map(|track| &track.frames).map(|frame| frame.data.len()).sum::<usize>();
        samples += original.only()?.mkv.order.len();
    }
    let told: u64 = (0..2).filter_map(|at| copied["streams"][at]["samples"].as_u64()).sum();
    ensure!(told == samples as u64, "{told} samples are said to be copied, {samples} are exported");
    again_is_refused(&rig.volume, &into, &arguments)?;
    let info = rig::volume_json("info", &into)?;
    let sessions = info["sessions"]["sessions"].as_array().context("no sessions")?;
    let purposes: Vec<_> = sessions.iter().filter_map(|session| session["purpose"].as_str()).collect();
    ensure!(purposes == ["create", "copy"], "the volume was opened for {purposes:?}");
    figure(
        "copy",
        &format!(
            "{samples} samples of two cameras, {bytes} bytes, copied: the same by {hashes} hashes of ranges, byte by byte and \
             nanosecond by nanosecond"
        ),
    );
    Ok(())
}

fn copy(from: &Path, into: &Path, more: &[&str]) -> Result<Value> {
    let arguments = [&["volume", "copy", text(from)?, text(into)?, "--json"], more].concat();
    Ok(serde_json::from_str(&process::keha_ok(&arguments, COPY_LIMIT)?)?)
}

/// Both show the same pictures and sounds at the same moments.
fn same(original: &Export, copy: &Export) -> Result<()> {
    let (original, copy) = (&original.only()?.mkv, &copy.only()?.mkv);
    ensure!(original.date_utc_ns == copy.date_utc_ns, "they begin at different times");
    ensure!(original.tracks.len() == copy.tracks.len(), "they have different tracks");
    for (one, other) in original.tracks.iter().zip(&copy.tracks) {
        let frames = |track: &crate::probe::MkvTrack| -> Vec<_> {
            track.frames.iter().map(|frame| (frame.time_ns, frame.keyframe, frame.data.clone())).collect()
        };
        ensure!(one.codec_private == other.codec_private, "{}: another CodecPrivate", one.codec_id);
        ensure!(frames(one) == frames(other), "{}: other samples or times", one.codec_id);
    }
    Ok(())
}

/// Both manifests have the same hashes of the same ranges, which are true ([`crate::manifest`]); answers how many.
fn same_hashes(original: &Export, copy: &Export) -> Result<usize> {
    let ranges = |export: &Export| -> Result<Vec<Value>> {
        let ranges = export.only()?.manifest["streams"][0]["ranges"].as_array().context("no ranges")?.clone();
        Ok(ranges.iter().map(|range| range["blake3"].clone()).collect())
    };
    let (original, copy) = (ranges(original)?, ranges(copy)?);
    ensure!(!original.is_empty() && original.iter().all(Value::is_string), "no hashes: {original:?}");
    ensure!(original == copy, "other hashes: {original:?}, {copy:?}");
    Ok(original.len())
}

/// What stands in the other volume already is not copied a second time, and a volume not into itself.
fn again_is_refused(from: &Path, into: &Path, more: &[&str]) -> Result<()> {
    for (into, status, why) in [(into, 1, "already"), (from, 2, "one volume")] {
        let arguments = [&["volume", "copy", text(from)?, text(into)?], more].concat();
        let output = process::keha(&arguments, COPY_LIMIT)?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.code() == Some(status) && said.contains(why), "{}: {said}", output.status);
    }
    Ok(())
}
