//! Clips encoded by ffmpeg, as the samples a recorder would have made of them.

use bytes::Bytes;
use keha_fs::{
    Anchor, ClockSource, Configuration, SampleFlags, TrackConfiguration, TrackKind, TrackNumber, WallTime,
};
use matroska_demuxer::{Frame, MatroskaFile, TrackEntry, TrackType};
use std::fs::File;
use std::process::Command;

/// A sample of a clip.
#[derive(Clone, Debug)]
pub struct ClipSample {
    pub track: TrackNumber,
    pub ticks: i64,
    pub flags: SampleFlags,
    pub data: Bytes,
}

/// A clip: its configuration, and its samples in storage order.
#[derive(Clone, Debug)]
pub struct Clip {
    pub configuration: Configuration,
    pub samples: Vec<ClipSample>,
}

impl Clip {
    /// The anchor of each track: so many milliseconds of the clip were at `wall`.
    pub fn anchors(&self, wall: WallTime, ms: i64) -> impl Iterator<Item = Anchor> {
        self.configuration.tracks.iter().map(move |track| Anchor {
            track: track.track,
            timescale: track.timescale,
            ticks: ms * i64::from(track.timescale) / 1000,
            wall,
            source: ClockSource::Arrival,
            uncertainty_us: 1000,
            arrival: wall,
            camera_offset_ns: 0,
        })
    }
}

/// H.264 with B-frames and a keyframe a second.
pub const H264: &[&str] = &[
    "-c:v",
    "libx264",
    "-preset",
    "ultrafast",
    "-bf",
    "3",
    "-b_strategy",
    "0",
    "-g",
    "25",
    "-sc_threshold",
    "0",
];
/// H.265 with B-frames and CRA keyframes.
pub const H265: &[&str] = &[
    "-c:v",
    "libx265",
    "-preset",
    "ultrafast",
    "-x265-params",
    "open-gop=1:keyint=25:min-keyint=25:bframes=3:scenecut=0:log-level=none",
];
/// AAC.
pub const AAC: &[&str] = &["-c:a", "aac", "-ar", "48000", "-ac", "1"];
/// G.711, µ-law.
pub const MULAW: &[&str] = &["-c:a", "pcm_mulaw", "-ar", "8000", "-ac", "1"];

/// Encodes `seconds` of a test picture of `size`, and of a tone if there is a codec for it.
pub fn encode(seconds: u32, size: &str, video: &[&str], audio: &[&str]) -> Clip {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("clip.mkv");
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-nostdin", "-y"]);
    if !video.is_empty() {
        ffmpeg.args(["-f", "lavfi", "-i", &format!("testsrc2=size={size}:rate=25")]);
    }
    if !audio.is_empty() {
        ffmpeg.args(["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000"]);
    }
    ffmpeg.args(["-t", &seconds.to_string()]).args(video).args(audio).arg(&path);
    assert!(ffmpeg.status().expect("ffmpeg runs").success());
    read(&path)
}

/// Reads a Matroska file as a clip. Times of 25 frames a second and of whole audio frames are exact.
fn read(path: &std::path::Path) -> Clip {
    let mut file =
        MatroskaFile::open(File::open(path).expect("the clip opens")).expect("the clip is Matroska");
    let tracks: Vec<TrackConfiguration> = file.tracks().iter().map(configuration_of).collect();
    let (mut frame, mut samples, mut aac_frames) = (Frame::default(), Vec::new(), 0);
    while file.next_frame(&mut frame).expect("the clip reads") {
        let track =
            tracks.iter().find(|track| u64::from(track.track.0) == frame.track).expect("a known track");
        let ticks = if &track.codec == b"mp4a" {
            aac_frames += 1;
            (aac_frames - 1) * 1024
        } else {
            frame.timestamp as i64 * i64::from(track.timescale) / 1000
        };
        let sync = track.kind != TrackKind::Video || frame.is_keyframe == Some(true);
        samples.push(ClipSample {
            track: track.track,
            ticks,
            flags: if sync { SampleFlags::SYNC } else { SampleFlags::default() },
            data: Bytes::from(std::mem::take(&mut frame.data)),
        });
    }
    Clip { configuration: Configuration { tracks, session: Vec::new() }, samples }
}

fn configuration_of(entry: &TrackEntry) -> TrackConfiguration {
    let video = entry.video();
    let audio = entry.audio();
    let sample_rate = audio.map_or(0, |audio| audio.sampling_frequency() as u32);
    let private = entry.codec_private().unwrap_or_default().to_vec();
    let codec = match entry.codec_id() {
        "V_MPEG4/ISO/AVC" => *b"avc1",
        "V_MPEGH/ISO/HEVC" => *b"hvc1",
        "A_AAC" => *b"mp4a",
        "A_MS/ACM" => *b"ulaw",
        other => panic!("{other} in a test clip"),
    };
    TrackConfiguration {
        track: TrackNumber(u8::try_from(u64::from(entry.track_number())).expect("few tracks")),
        kind: if entry.track_type() == TrackType::Video { TrackKind::Video } else { TrackKind::Audio },
        codec,
        timescale: if video.is_some() { 90_000 } else { sample_rate },
        width: video.map_or(0, |video| u64::from(video.pixel_width()) as u16),
        height: video.map_or(0, |video| u64::from(video.pixel_height()) as u16),
        channels: audio.map_or(0, |audio| u64::from(audio.channels()) as u8),
        sample_rate,
        // G.711 has nothing to configure; what ffmpeg keeps here is the container's own.
        private: if &codec == b"ulaw" { Vec::new() } else { private },
    }
}
