//! Verifies an exported file against its manifest, by what the manifest's description says and nothing else.

use matroska_demuxer::{Frame, MatroskaFile};
use serde_json::Value;
use std::collections::VecDeque;
use std::fs::{self, File};
use std::path::Path;

/// A block as another program's reader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadBlock {
    pub track: u64,
    /// Nanoseconds since the file's time zero.
    pub at_ns: i64,
    pub key: bool,
    pub data: Vec<u8>,
}

/// All blocks, in the order of the file.
pub fn blocks(path: &Path) -> Vec<ReadBlock> {
    let mut file =
        MatroskaFile::open(File::open(path).expect("the file opens")).expect("the file is Matroska");
    let scale = u64::from(file.info().timestamp_scale()) as i64;
    let (mut frame, mut all) = (Frame::default(), Vec::new());
    while file.next_frame(&mut frame).expect("the file reads") {
        let at_ns = frame.timestamp as i64 * scale;
        all.push(ReadBlock {
            track: frame.track,
            at_ns,
            key: frame.is_keyframe == Some(true),
            data: std::mem::take(&mut frame.data),
        });
    }
    all
}

/// Recomputes every hash of the manifest; an error says which does not hold.
pub fn manifest(path: &Path, manifest: &Path) -> Result<(), String> {
    let manifest: Value = serde_json::from_slice(&fs::read(manifest).expect("the manifest opens"))
        .expect("the manifest is JSON");
    if manifest["schema"] != "keha.export.manifest/1" {
        return Err("schema".into());
    }
    let whole = fs::read(path).expect("the file opens");
    let file = &manifest["file"];
    if file["bytes"] != whole.len() || file["blake3"] != blake3::hash(&whole).to_hex().as_str() {
        return Err("the file's hash".into());
    }
    let blocks = blocks(path);
    let mut counted = 0;
    for stream in manifest["streams"].as_array().expect("streams") {
        let tracks: Vec<u64> =
            list(&stream["tracks"]).iter().map(|track| number(&track["mkv_track"])).collect();
        let mut payloads: VecDeque<&[u8]> = blocks
            .iter()
            .filter(|block| tracks.contains(&block.track))
            .map(|block| &block.data[..])
            .collect();
        counted += payloads.len();
        for range in list(&stream["ranges"]) {
            let (mut hasher, mut bytes) = (blake3::Hasher::new(), 0);
            for _ in 0..number(&range["samples"]) {
                let payload = payloads.pop_front().ok_or("a range beyond the last sample")?;
                hasher.update(payload);
                bytes += payload.len() as u64;
            }
            if range["bytes"] != bytes || range["blake3"] != hasher.finalize().to_hex().as_str() {
                return Err(format!("the range from {} of {}", range["first"], stream["name"]));
            }
        }
        if !payloads.is_empty() {
            return Err(format!("{} samples of {} in no range", payloads.len(), stream["name"]));
        }
    }
    if counted == blocks.len() { Ok(()) } else { Err("blocks of no stream".into()) }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

fn number(value: &Value) -> u64 {
    value.as_u64().expect("a number")
}
