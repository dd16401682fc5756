//! Encoding by ffmpeg, and the way from its Matroska file to a clip's samples.
//!
//! Deterministic: one thread where the encoder's output depends on it, noise with a seed, no dates.

use super::clip::{Clip, Codec, Sample, Track};
use super::{nal, two_pps};
use crate::probe;
use anyhow::{Context, Result, bail};
use std::path::Path;
use std::process::Command;

const FPS: u64 = 25;
const FRAME_NS: u64 = 1_000_000_000 / FPS;
/// Raised when this file changes what it makes of the same recipe.
const VERSION: u32 = 2;

#[derive(Clone, Debug)]
pub(super) struct Video {
    size: &'static str,
    codec: Codec,
    arguments: Vec<String>,
    two_pps: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Audio {
    Aac,
    Pcmu,
}

#[derive(Clone, Debug)]
pub(super) struct Recipe {
    pub(super) seconds: u64,
    pub(super) video: Video,
    pub(super) audio: Option<Audio>,
}

impl Video {
    fn x264(size: &'static str, kbits: u32, profile: &str, more: &str) -> Self {
        let rate = format!("{kbits}k");
        let params = format!("keyint=25:min-keyint=25:scenecut=0:repeat-headers=1:threads=2:{more}");
        let arguments = ["-c:v", "libx264", "-preset", "ultrafast", "-profile:v", profile]
            .into_iter()
            .chain(["-b:v", &rate, "-maxrate", &rate, "-bufsize", &rate, "-x264-params", &params])
            .map(str::to_owned)
            .collect();
        Self { size, codec: Codec::H264, arguments, two_pps: false }
    }

    pub(super) fn h264(size: &'static str, kbits: u32) -> Self {
        Self::x264(size, kbits, "main", "bframes=0")
    }

    pub(super) fn reordered(size: &'static str, kbits: u32) -> Self {
        Self::x264(size, kbits, "main", "bframes=3:b-adapt=0:b-pyramid=none")
    }

    pub(super) fn two_pps(size: &'static str, kbits: u32) -> Self {
        // Without CABAC a slice header can grow by two bits without touching the entropy coder's alignment.
        let video = Self::x264(size, kbits, "baseline", "bframes=0:cabac=0:aud=1:nal-hrd=vbr:slices=2");
        Self { two_pps: true, ..video }
    }

    pub(super) fn h265_open_gop(size: &'static str, kbits: u32) -> Self {
        // Four B-pictures before each P: the 25th picture ends such a group, so the CRA there has leading pictures.
        Self::x265(size, kbits, "open-gop=1:bframes=4:b-adapt=0")
    }

    pub(super) fn h265_closed_gop(size: &'static str, kbits: u32) -> Self {
        Self::x265(size, kbits, "open-gop=0:bframes=0")
    }

    fn x265(size: &'static str, kbits: u32, gop: &str) -> Self {
        let rate = format!("{kbits}k");
        let params = format!(
            "keyint=25:min-keyint=25:scenecut=0:{gop}:repeat-headers=1:pools=2:frame-threads=1:log-level=error"
        );
        let arguments = ["-c:v", "libx265", "-preset", "ultrafast", "-b:v", &rate, "-x265-params", &params]
            .into_iter()
            .map(str::to_owned)
            .collect();
        Self { size, codec: Codec::H265, arguments, two_pps: false }
    }
}

impl Recipe {
    /// Names the recipe, so that a changed one is a cache miss.
    pub(super) fn fingerprint(&self) -> String {
        let text = format!("{VERSION} {self:?}");
        blake3::hash(text.as_bytes()).to_hex()[..12].to_owned()
    }

    /// Encodes, takes apart, edits and saves.
    pub(super) fn make(&self, path: &Path) -> Result<Clip> {
        let scratch = tempfile::tempdir()?;
        let mkv = scratch.path().join("clip.mkv");
        self.encode(&mkv)?;
        let tracks = probe::read_mkv(&mkv)?;
        let mut data = Vec::new();
        let mut out = Vec::new();
        for read in &tracks.tracks {
            out.push(if read.codec_id.starts_with("V_") {
                self.video_track(read, &mut data)?
            } else {
                audio_track(read, &mut data)?
            });
        }
        Clip::save(path, out, data)
    }

    fn encode(&self, mkv: &Path) -> Result<()> {
        let seconds = self.seconds.to_string();
        // A test pattern with its own counter, and fresh noise in each picture: no two coded pictures are equal.
        let picture = format!("testsrc2=size={}:rate={FPS},noise=alls=12:allf=t:all_seed=7", self.video.size);
        let mut ffmpeg = Command::new("ffmpeg");
        ffmpeg.args(["-v", "error", "-nostdin", "-y", "-f", "lavfi", "-i", &picture]);
        match self.audio {
            Some(Audio::Aac) => {
                ffmpeg.args([
                    "-f",
                    "lavfi",
                    "-i",
                    "anoisesrc=r=48000:a=0.3:seed=11,aformat=channel_layouts=stereo",
                ]);
                ffmpeg.args(["-c:a", "aac", "-b:a", "96k"]);
            }
            Some(Audio::Pcmu) => {
                ffmpeg.args(["-f", "lavfi", "-i", "anoisesrc=r=8000:a=0.5:seed=13,asetnsamples=160"]);
                ffmpeg.args(["-c:a", "pcm_mulaw", "-ac", "1"]);
            }
            None => {}
        }
        ffmpeg.args(["-t", &seconds, "-pix_fmt", "yuv420p"]).args(&self.video.arguments);
        ffmpeg.args(["-fflags", "+bitexact", "-flags:v", "+bitexact"]).arg(mkv);
        probe::run_silent(&mut ffmpeg)?;
        Ok(())
    }

    fn video_track(&self, read: &probe::MkvTrack, data: &mut Vec<u8>) -> Result<Track> {
        let codec = self.video.codec;
        let mut samples = Vec::new();
        for (i, frame) in read.frames.iter().enumerate() {
            let nals = nal::split_lengths(&frame.data)?;
            let sync = nals.iter().any(|n| nal::is_sync(codec, n));
            let annex_b = if self.video.two_pps {
                nal::join_annex_b(&two_pps::edit(&nals, i)?)
            } else {
                nal::join_annex_b(&nals)
            };
            let dts_ns = i as u64 * FRAME_NS;
            let sample =
                Sample { offset: data.len(), size: annex_b.len(), pts_ns: frame.time_ns, dts_ns, sync };
            samples.push(sample);
            data.extend_from_slice(&annex_b);
        }
        if !samples.first().is_some_and(|first| first.sync) {
            bail!("the clip does not start with a sync sample");
        }
        let name = if codec == Codec::H265 { "video/x-h265" } else { "video/x-h264" };
        let caps = format!("{name},stream-format=byte-stream,alignment=au");
        Ok(Track { codec, caps, duration_ns: samples.len() as u64 * FRAME_NS, samples })
    }
}

fn audio_track(read: &probe::MkvTrack, data: &mut Vec<u8>) -> Result<Track> {
    let mut samples = Vec::new();
    if read.codec_id == "A_AAC" {
        let config = read.codec_private.as_ref().context("AAC without AudioSpecificConfig")?;
        let time = |n: usize| n as u64 * 1024 * 1_000_000_000 / 48_000;
        for (i, frame) in read.frames.iter().enumerate() {
            push(&mut samples, data, &frame.data, time(i));
        }
        let hex: String = config.iter().map(|byte| format!("{byte:02x}")).collect();
        let caps = format!(
            "audio/mpeg,mpegversion=(int)4,stream-format=raw,rate=(int)48000,channels=(int)2,codec_data=(buffer){hex}"
        );
        return Ok(Track { codec: Codec::Aac, caps, duration_ns: time(samples.len()), samples });
    }
    // ffmpeg cuts mu-law as it likes; a camera sends 20 ms a packet.
    let all: Vec<u8> = read.frames.iter().flat_map(|frame| frame.data.iter().copied()).collect();
    for (i, packet) in all.chunks_exact(160).enumerate() {
        push(&mut samples, data, packet, i as u64 * 20_000_000);
    }
    let caps = "audio/x-mulaw,rate=(int)8000,channels=(int)1".to_owned();
    Ok(Track { codec: Codec::Pcmu, caps, duration_ns: samples.len() as u64 * 20_000_000, samples })
}

fn push(samples: &mut Vec<Sample>, data: &mut Vec<u8>, bytes: &[u8], time_ns: u64) {
    let sample =
        Sample { offset: data.len(), size: bytes.len(), pts_ns: time_ns, dts_ns: time_ns, sync: true };
    samples.push(sample);
    data.extend_from_slice(bytes);
}
