//! The manifest beside an export, held to the file: its hashes are computed anew from what is published about them.

use crate::rig::Part;
use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// The manifest's hashes and counts are those of the file, for an export of one stream.
pub fn assert_true(part: &Part) -> Result<()> {
    let file = &part.manifest["file"];
    let bytes = std::fs::read(&part.path)?;
    ensure!(file["bytes"].as_u64() == Some(bytes.len() as u64), "the file's size is not the manifest's");
    let whole = blake3::hash(&bytes).to_hex().to_string();
    ensure!(file["blake3"] == whole.as_str(), "the file's BLAKE3 is not the manifest's");
    let stream = part.manifest["streams"].get(0).context("no stream in the manifest")?;
    ensure!(
        stream["samples"].as_u64() == Some(part.mkv.order.len() as u64),
        "the manifest counts other samples"
    );
    let mut blocks = part.mkv.order.iter();
    for (number, range) in list(stream, "ranges")?.iter().enumerate() {
        let samples = range["samples"].as_u64().context("samples of a range")?;
        let mut hasher = blake3::Hasher::new();
        for _ in 0..samples {
            let (track, frame) = blocks.next().context("the ranges have more samples than the file")?;
            hasher.update(&part.mkv.tracks[*track].frames[*frame].data);
        }
        let hash = hasher.finalize().to_hex().to_string();
        ensure!(range["blake3"] == hash.as_str(), "the BLAKE3 of range {number} is not the manifest's");
    }
    ensure!(blocks.next().is_none(), "samples of the file are in no range");
    Ok(())
}

fn list<'a>(value: &'a Value, name: &str) -> Result<&'a Vec<Value>> {
    value[name].as_array().with_context(|| format!("no {name} in the manifest"))
}
