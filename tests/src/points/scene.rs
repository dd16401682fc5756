//! Cameras recorded onto a disk that fails on command, and what every such recording must satisfy: its cameras stay
//! connected, and what is missing is what its gap records say.

use crate::faulty::{self, FaultyDisk};
use crate::ground::{Ground, Hangs};
use crate::loss;
use crate::media::ClipKind;
use crate::process::{self, Running};
use crate::record_json;
use crate::rig::{self, Rig, named, text};
use crate::wait;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// How long the recorder may take to notice or to tell; far more than it needs.
pub(super) const LIMIT: Duration = Duration::from_secs(30);

/// The cameras, and the disk that their volume is on.
pub(super) struct Scene {
    pub(super) disk: Arc<FaultyDisk>,
    pub(super) rig: Rig,
}

impl Scene {
    /// The disk is well, and a volume of this size is on it.
    pub(super) fn new(
        ground: Ground,
        count: usize,
        kinds: &[ClipKind],
        size: &str,
        hangs: Hangs,
    ) -> Result<Self> {
        faulty::possible()?;
        let rig = Rig::on_faulty(ground, &named(count, kinds), size, hangs)?;
        Ok(Self { disk: rig.laid.disk()?, rig })
    }

    /// The recorder, once every camera is durable.
    pub(super) fn record(&self) -> Result<Running> {
        let mut recorder = self.rig.record(&[])?;
        record_json::await_durable(&mut recorder, &self.rig.cameras, Duration::from_secs(60))?;
        // Told once a second, and later than a round on a busy machine.
        wait::until("the status to tell of every camera", LIMIT, || Ok(self.all_recording().ok()))?;
        Ok(recorder)
    }

    /// `keha status`, which must answer while the disk does not.
    fn status(&self) -> Result<Value> {
        let output = process::keha(&["status", text(&self.rig.volume)?, "--json"], LIMIT)?;
        serde_json::from_slice(&output.stdout)
            .with_context(|| format!("keha status: {}", String::from_utf8_lossy(&output.stderr)))
    }

    /// The status, in which every camera is recording.
    pub(super) fn all_recording(&self) -> Result<Value> {
        let status = self.status()?;
        let streams = status["streams"].as_array().context("no streams in the status")?;
        ensure!(
            streams.len() == self.rig.cameras.len()
                && streams.iter().all(|stream| stream["state"] == "recording"),
            "cameras do not stay connected: {streams:?}"
        );
        Ok(status)
    }

    /// Waits until the status says that the disk is in this state.
    pub(super) fn await_health(&self, state: &str) -> Result<Value> {
        wait::until(&format!("the status to say that the disk is {state}"), LIMIT, || {
            std::thread::sleep(Duration::from_millis(200));
            let status = self.all_recording()?;
            Ok((status["round"]["health"]["state"] == state).then_some(status))
        })
    }
}

/// Every camera stayed connected, and between its first and its last sample exactly those are missing that its gap records
/// count, up to where decoding can begin anew; answers how many.
pub(super) fn what_is_missing_is_told(rig: &Rig, end_ns: u64) -> Result<u64> {
    let mut all = 0;
    for camera in &rig.cameras {
        let export = rig.export(&camera.name)?;
        let mut missing = 0;
        for (k, track) in camera.clip.tracks.iter().enumerate() {
            let context = || format!("{} track {k}", camera.name);
            let exported = export.samples(track.codec)?;
            let kept = crate::footage::number_samples(&exported, &camera.clip.hashes(track))
                .with_context(context)?;
            let sent = rig.server.sent_by(&camera.name, k)?;
            let holes = loss::holes(&sent, &kept, end_ns).with_context(context)?;
            ensure!(holes.at_end_s <= 0.3, "{}: {:.3} s are missing at the end", context(), holes.at_end_s);
            for begin in holes.resumed_at.iter().filter(|_| track.codec.is_video()) {
                let sample = &track.samples[(begin % track.samples.len() as u64) as usize];
                ensure!(sample.sync, "{}: it goes on at sample {begin}, which needs others", context());
            }
            missing += holes.missing;
        }
        let told = gap_samples(&export)?;
        ensure!(missing == told, "{}: {missing} samples are missing, the gaps tell {told}", camera.name);
        all += missing;
        for part in &export.parts {
            crate::probe::ffprobe(&part.path)?;
            std::fs::remove_file(&part.path)?;
        }
    }
    Ok(all)
}

/// Samples that the gap records of an export count as left out, each gap once however many files tell it.
fn gap_samples(export: &rig::Export) -> Result<u64> {
    let streams = export.parts.iter().filter_map(|part| part.manifest["streams"].as_array()).flatten();
    let gaps = streams.filter_map(|stream| stream["gaps"].as_array()).flatten();
    let mut told: Vec<(String, u64)> = Vec::new();
    for gap in gaps {
        let from = gap["from"].as_str().context("a gap without a beginning")?.to_owned();
        let samples = gap["samples_lost"].as_u64().context("a gap without a count")?;
        ensure!(gap["reason"] == "overload" && gap["to"].is_string(), "an unexpected gap: {gap}");
        if !told.iter().any(|(known, _)| *known == from) {
            told.push((from, samples));
        }
    }
    Ok(told.iter().map(|(_, samples)| samples).sum())
}
