//! What `keha record --json` says, as far as these tests use it.

use crate::process::Running;
use crate::rig::Camera;
use crate::wait;
use anyhow::{Result, bail};
use serde_json::Value;
use std::time::Duration;

/// How far a track of a stream had been reported durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Durable {
    /// The stream.
    pub stream: String,
    /// The track's number in it.
    pub track: u64,
    /// Samples of this track that were durable since the recorder opened the volume.
    pub samples: u64,
}

/// The last report of each track in these lines.
pub fn last_durable(lines: &[String]) -> Vec<Durable> {
    let mut last: Vec<Durable> = Vec::new();
    for line in lines {
        // A line cut short by a kill is no report.
        let Ok(document) = serde_json::from_str::<Value>(line) else { continue };
        for report in reports(&document) {
            match last.iter_mut().find(|known| (&known.stream, known.track) == (&report.stream, report.track))
            {
                Some(known) => known.samples = known.samples.max(report.samples),
                None => last.push(report),
            }
        }
    }
    last
}

fn reports(document: &Value) -> Vec<Durable> {
    let mut found = Vec::new();
    if document["event"] != "round" {
        return found;
    }
    for stream in document["streams"].as_array().into_iter().flatten() {
        let Some(name) = stream["name"].as_str() else { continue };
        for track in stream["durable"]["tracks"].as_array().into_iter().flatten() {
            if let (Some(number), Some(samples)) = (track["track"].as_u64(), track["samples"].as_u64()) {
                found.push(Durable { stream: name.to_owned(), track: number, samples });
            }
        }
    }
    found
}

/// Counters of all streams in the last line that has them: samples left out because the disk did not keep up, and
/// packets that the network lost.
pub fn dropped_and_lost(lines: &[String]) -> Option<(u64, u64)> {
    let last = stopped(lines)?;
    let sum = |field: &str| {
        last["streams"].as_array().into_iter().flatten().filter_map(|stream| stream[field].as_u64()).sum()
    };
    Some((sum("dropped_samples"), sum("lost_packets")))
}

/// Samples left out of each stream, by its name, as the last line says.
pub fn dropped_by_stream(lines: &[String]) -> Option<Vec<(String, u64)>> {
    let last = stopped(lines)?;
    let one =
        |stream: &Value| Some((stream["name"].as_str()?.to_owned(), stream["dropped_samples"].as_u64()?));
    last["streams"].as_array()?.iter().map(one).collect()
}

fn stopped(lines: &[String]) -> Option<Value> {
    let mut documents = lines.iter().rev().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    documents.find(|document| document["event"] == "stopped")
}

/// The promise for a track of the clip; tracks of a stream stand in the order of the camera's description.
pub fn samples_of(durable: &[Durable], stream: &str, track: usize) -> Option<u64> {
    let mut tracks: Vec<_> = durable.iter().filter(|report| report.stream == stream).collect();
    tracks.sort_by_key(|report| report.track);
    tracks.get(track).map(|report| report.samples)
}

/// Waits until every track of every camera has been reported durable in this life of the recorder.
pub fn await_durable(recorder: &mut Running, cameras: &[Camera], limit: Duration) -> Result<()> {
    wait::until("every camera to be durable", limit, || {
        if let Some(status) = recorder.ended()? {
            bail!("the recorder ended with {status}: {}", recorder.stderr().join("\n"));
        }
        let durable = last_durable(&recorder.stdout());
        let safe = |camera: &Camera| {
            (0..camera.clip.tracks.len())
                .all(|k| samples_of(&durable, &camera.name, k).is_some_and(|samples| samples > 0))
        };
        Ok(cameras.iter().all(safe).then_some(()))
    })
}
