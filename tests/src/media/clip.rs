//! A clip as it lies in the cache: NAME.bin, all samples back to back, and NAME.json, the place and time of each.
//! `tests/scripts/rtsp_server.py` reads the same two files.

use super::nal::{self, NalHash};
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// What a track is coded in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Codec {
    /// H.264, Annex B access units.
    H264,
    /// H.265, Annex B access units.
    H265,
    /// AAC-LC, raw access units.
    Aac,
    /// G.711 mu-law, 20 ms a sample.
    Pcmu,
}

impl Codec {
    /// Whether samples are made of NAL units.
    pub fn is_video(self) -> bool {
        matches!(self, Self::H264 | Self::H265)
    }
}

/// Place and time of one sample.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Sample {
    /// Offset in NAME.bin, bytes.
    pub offset: usize,
    /// Size, bytes.
    pub size: usize,
    /// Presentation time since the start of the clip, nanoseconds.
    pub pts_ns: u64,
    /// When a camera would send it, nanoseconds since the start of the clip; grows with storage order.
    pub dts_ns: u64,
    /// Whether decoding can start here.
    pub sync: bool,
}

/// One track of a clip.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Track {
    /// Its codec.
    pub codec: Codec,
    /// GStreamer caps of its samples.
    pub caps: String,
    /// Length of one lap of a looping track, nanoseconds.
    pub duration_ns: u64,
    /// Its samples in decode order.
    pub samples: Vec<Sample>,
}

#[derive(Serialize, Deserialize)]
struct Index {
    tracks: Vec<Track>,
}

/// A clip in memory.
#[derive(Clone, Debug)]
pub struct Clip {
    /// The NAME.json that the camera server is given.
    pub path: PathBuf,
    /// Its tracks; video first.
    pub tracks: Vec<Track>,
    data: Vec<u8>,
}

impl Clip {
    /// Reads a clip from the cache.
    pub fn load(path: &Path) -> Result<Self> {
        let text = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        let index: Index = serde_json::from_slice(&text)?;
        let data = std::fs::read(path.with_extension("bin"))?;
        Ok(Self { path: path.to_owned(), tracks: index.tracks, data })
    }

    /// Writes a clip so that a reader sees all of it or nothing: tests of several processes share the cache.
    pub(super) fn save(path: &Path, tracks: Vec<Track>, data: Vec<u8>) -> Result<Self> {
        let clip = Self { path: path.to_owned(), tracks, data };
        clip.assert_pictures_unique()?;
        let own = format!("{}-{:?}", std::process::id(), std::thread::current().id());
        let bin = path.with_extension(format!("bin.{own}"));
        let json = path.with_extension(format!("json.{own}"));
        std::fs::write(&bin, &clip.data)?;
        std::fs::write(&json, serde_json::to_vec(&Index { tracks: clip.tracks.clone() })?)?;
        std::fs::rename(&bin, path.with_extension("bin"))?;
        std::fs::rename(&json, path)?;
        Ok(clip)
    }

    /// The bytes of a sample, as the camera hands them to its payloader.
    pub fn bytes(&self, sample: &Sample) -> &[u8] {
        &self.data[sample.offset..sample.offset + sample.size]
    }

    /// The track of this codec.
    pub fn track(&self, codec: Codec) -> Option<&Track> {
        self.tracks.iter().find(|track| track.codec == codec)
    }

    /// The video track.
    pub fn video(&self) -> Result<&Track> {
        self.tracks.iter().find(|track| track.codec.is_video()).context("the clip has no video")
    }

    /// For each sample of a track its hashes: one for each NAL unit, or one of the whole sample for audio.
    pub fn hashes(&self, track: &Track) -> Vec<Vec<NalHash>> {
        let of_sample = |sample| {
            let bytes = self.bytes(sample);
            if track.codec.is_video() {
                nal::split_annex_b(bytes).into_iter().map(NalHash::of).collect()
            } else {
                vec![NalHash::of(bytes)]
            }
        };
        track.samples.iter().map(of_sample).collect()
    }

    /// All payload bytes of a track, back to back.
    pub fn payload(&self, track: &Track) -> Vec<u8> {
        track.samples.iter().flat_map(|sample| self.bytes(sample)).copied().collect()
    }

    fn assert_pictures_unique(&self) -> Result<()> {
        for track in &self.tracks {
            let mut seen = HashSet::new();
            for (i, sample) in track.samples.iter().enumerate() {
                let bytes = self.bytes(sample);
                let coded: Vec<&[u8]> = if track.codec.is_video() {
                    nal::split_annex_b(bytes).into_iter().filter(|n| nal::is_slice(track.codec, n)).collect()
                } else {
                    vec![bytes]
                };
                if coded.is_empty() || !coded.into_iter().all(|c| seen.insert(NalHash::of(c))) {
                    bail!("{}: sample {i} of {:?} is empty or not unique", self.path.display(), track.codec);
                }
            }
        }
        Ok(())
    }
}
