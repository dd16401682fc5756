//! Foreign programs as judges of an export, and Matroska read by a foreign crate.
//!
//! A judge passes a file only if it says nothing: any line on stderr is a failure, with that line in the message.

use crate::media::Codec;
use crate::media::nal::{self, NalHash};
use anyhow::{Context, Result, bail};
use matroska_demuxer::{Frame, MatroskaFile, TrackType};
use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::process::{Command, Stdio};

/// Runs a program that must succeed and say nothing on stderr; answers its stdout.
pub fn run_silent(command: &mut Command) -> Result<String> {
    let name = format!("{command:?}");
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("starting {name}"))?;
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if !output.status.success() || !err.trim().is_empty() {
        bail!("{name}\nended with {}\n{}\n{}", output.status, err.trim(), tail(&out));
    }
    Ok(out.into_owned())
}

fn tail(text: &str) -> &str {
    let from = text.len().saturating_sub(2000);
    text.get(from..).unwrap_or(text).trim()
}

/// All four judges: ffprobe, a full decode by ffmpeg, mkvinfo, and mkvmerge reading and remuxing it.
pub fn assert_clean(mkv: &Path) -> Result<()> {
    ffprobe(mkv)?;
    decode(mkv)?;
    mkvinfo(mkv)?;
    mkvmerge(mkv)
}

/// `ffprobe` reads every packet without a warning; answers its JSON of format and streams.
pub fn ffprobe(mkv: &Path) -> Result<serde_json::Value> {
    let mut ffprobe = Command::new("ffprobe");
    ffprobe
        .args(["-v", "warning", "-count_packets", "-show_format", "-show_streams", "-of", "json"])
        .arg(mkv);
    Ok(serde_json::from_str(&run_silent(&mut ffprobe)?)?)
}

/// Every picture and sound decodes. The file's own time base is kept: pictures may follow each other closer than the one that
/// ffmpeg would guess for its output can tell apart, where a camera is served faster than life, or the machine is busy.
pub fn decode(mkv: &Path) -> Result<()> {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-nostdin", "-i"]).arg(mkv).args(["-map", "0", "-vsync", "passthrough"]);
    ffmpeg.args(["-enc_time_base", "-1", "-f", "null", "-"]);
    run_silent(&mut ffmpeg).map(drop)
}

/// `mkvinfo` walks every element and finds nothing unknown or damaged.
pub fn mkvinfo(mkv: &Path) -> Result<()> {
    let text = run_silent(Command::new("mkvinfo").args(["--ui-language", "en_US", "--all"]).arg(mkv))?;
    for sign in ["Error", "error:", "Warning", "(Unknown element", "EbmlDummy"] {
        if let Some(line) = text.lines().find(|line| line.contains(sign)) {
            bail!("mkvinfo {}: {line}", mkv.display());
        }
    }
    Ok(())
}

/// `mkvmerge` identifies it without warnings or errors and remuxes it with exit status 0 (1 would be a warning).
pub fn mkvmerge(mkv: &Path) -> Result<()> {
    let english = ["--ui-language", "en_US"];
    let text = run_silent(Command::new("mkvmerge").args(english).arg("-J").arg(mkv))?;
    let json: serde_json::Value = serde_json::from_str(&text)?;
    for list in ["errors", "warnings"] {
        if json[list].as_array().is_none_or(|found| !found.is_empty()) {
            bail!("mkvmerge -J {}: {list}: {}", mkv.display(), json[list]);
        }
    }
    let scratch = tempfile::tempdir()?;
    let remuxed = scratch.path().join("remuxed.mkv");
    let text = run_silent(Command::new("mkvmerge").args(english).arg("-o").arg(&remuxed).arg(mkv))?;
    match text.lines().find(|line| line.contains("Warning:") || line.contains("Error:")) {
        Some(line) => bail!("mkvmerge {}: {line}", mkv.display()),
        None => Ok(()),
    }
}

/// One block of a track.
#[derive(Clone, Debug)]
pub struct MkvFrame {
    /// Presentation time in the file, nanoseconds.
    pub time_ns: u64,
    /// Marked as a keyframe.
    pub keyframe: bool,
    /// The sample.
    pub data: Vec<u8>,
}

/// A track of a Matroska file, read whole.
#[derive(Clone, Debug)]
pub struct MkvTrack {
    /// `CodecID`, such as `V_MPEG4/ISO/AVC`.
    pub codec_id: String,
    /// `CodecPrivate`.
    pub codec_private: Option<Vec<u8>>,
    /// `PixelWidth` and `PixelHeight`, for video.
    pub pixels: Option<(u64, u64)>,
    /// Its blocks in the file's order.
    pub frames: Vec<MkvFrame>,
}

impl MkvTrack {
    /// The hashes of each sample's NAL units.
    pub fn nal_hashes(&self) -> Result<Vec<Vec<NalHash>>> {
        let hashes =
            |frame: &MkvFrame| Ok(nal::split_lengths(&frame.data)?.into_iter().map(NalHash::of).collect());
        self.frames.iter().map(hashes).collect()
    }

    /// The hash of each sample.
    pub fn hashes(&self) -> Vec<NalHash> {
        self.frames.iter().map(|frame| NalHash::of(&frame.data)).collect()
    }

    /// All samples back to back.
    pub fn payload(&self) -> Vec<u8> {
        self.frames.iter().flat_map(|frame| frame.data.iter().copied()).collect()
    }

    /// The codec, where it is one of the clips'.
    pub fn codec(&self) -> Option<Codec> {
        match self.codec_id.as_str() {
            "V_MPEG4/ISO/AVC" => Some(Codec::H264),
            "V_MPEGH/ISO/HEVC" => Some(Codec::H265),
            "A_AAC" => Some(Codec::Aac),
            "A_MS/ACM" => Some(Codec::Pcmu),
            _ => None,
        }
    }
}

/// A Matroska file, read whole.
#[derive(Clone, Debug)]
pub struct Mkv {
    /// Its tracks in order of track number.
    pub tracks: Vec<MkvTrack>,
    /// The blocks of all tracks in the order in which they stand in the file: track and frame, as places in the lists.
    pub order: Vec<(usize, usize)>,
    /// `DateUTC`, nanoseconds since 1970.
    pub date_utc_ns: Option<i128>,
    /// Simple tags: name and value.
    pub tags: Vec<(String, String)>,
}

impl Mkv {
    /// The first video track.
    pub fn video(&self) -> Result<&MkvTrack> {
        self.tracks
            .iter()
            .find(|track| track.codec_id.starts_with("V_"))
            .context("the file has no video track")
    }

    /// The track of this codec.
    pub fn track(&self, codec: Codec) -> Result<&MkvTrack> {
        self.tracks
            .iter()
            .find(|track| track.codec() == Some(codec))
            .with_context(|| format!("the file has no {codec:?} track"))
    }
}

/// Seeking to moments all over the file, as a player does by its Cues, lands on the last keyframe before each.
pub fn seeks_land_on_keyframes(path: &Path) -> Result<()> {
    let whole = read_mkv(path)?;
    let frames = &whole.video()?.frames;
    let mut times: Vec<u64> = frames.iter().map(|frame| frame.time_ns).collect();
    times.sort_unstable();
    for tenth in 1..10 {
        let place = times.len() * tenth / 10;
        // In the middle between two pictures, so that rounding does not decide.
        let [before, after] = times.get(place..place + 2).context("too few pictures to seek in")? else {
            bail!("too few pictures to seek in");
        };
        let wanted_ns = before.midpoint(*after);
        let keyframes = frames.iter().filter(|frame| frame.keyframe && frame.time_ns <= wanted_ns);
        let expected_ns = keyframes.map(|frame| frame.time_ns).max().context("no keyframe before")?;
        let mut ffprobe = Command::new("ffprobe");
        let interval = format!("{}.{:09}%+#1", wanted_ns / 1_000_000_000, wanted_ns % 1_000_000_000);
        ffprobe.args(["-v", "warning", "-select_streams", "v:0", "-read_intervals", &interval]);
        ffprobe.args(["-show_entries", "packet=pts_time,flags", "-of", "csv=p=0"]).arg(path);
        let line = run_silent(&mut ffprobe)?;
        let (time, flags) =
            line.trim().split_once(',').with_context(|| format!("no packet at {wanted_ns} ns"))?;
        let landed_ns = time.parse::<f64>()? * 1e9;
        if !flags.starts_with('K') || (landed_ns - expected_ns as f64).abs() > 1e6 {
            bail!(
                "{}: a seek to {wanted_ns} ns lands at {time} s ({flags}), not on the keyframe at {expected_ns} ns",
                path.display()
            );
        }
    }
    Ok(())
}

/// The hashes of the NAL units of a raw byte stream (Annex B).
pub fn read_annex_b(path: &Path) -> Result<Vec<NalHash>> {
    let stream = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    Ok(nal::split_annex_b(&stream).into_iter().map(NalHash::of).collect())
}

/// Reads a whole Matroska file by a foreign crate.
pub fn read_mkv(path: &Path) -> Result<Mkv> {
    let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
    let mut mkv =
        MatroskaFile::open(BufReader::new(file)).with_context(|| format!("reading {}", path.display()))?;
    let scale = mkv.info().timestamp_scale().get();
    // DateUTC counts from 2001-01-01 (RFC 9559 section 5.1.2.11).
    let date_utc_ns =
        mkv.info().date_utc().map(|since_2001| 978_307_200_000_000_000 + i128::from(since_2001));
    let mut numbers = Vec::new();
    let mut tracks = Vec::new();
    for entry in mkv.tracks() {
        let pixels = (entry.track_type() == TrackType::Video)
            .then(|| entry.video().map(|video| (video.pixel_width().get(), video.pixel_height().get())))
            .flatten();
        numbers.push(entry.track_number().get());
        tracks.push(MkvTrack {
            codec_id: entry.codec_id().to_owned(),
            codec_private: entry.codec_private().map(<[u8]>::to_vec),
            pixels,
            frames: Vec::new(),
        });
    }
    let tags = mkv
        .tags()
        .unwrap_or_default()
        .iter()
        .flat_map(|tag| tag.simple_tags())
        .filter_map(|tag| Some((tag.name().to_owned(), tag.string()?.to_owned())))
        .collect();
    let mut order = Vec::new();
    let mut frame = Frame::default();
    while mkv.next_frame(&mut frame)? {
        let place =
            numbers.iter().position(|number| *number == frame.track).context("a block of no track")?;
        order.push((place, tracks[place].frames.len()));
        tracks[place].frames.push(MkvFrame {
            time_ns: frame.timestamp * scale,
            keyframe: frame.is_keyframe.unwrap_or(false),
            data: std::mem::take(&mut frame.data),
        });
    }
    Ok(Mkv { tracks, order, date_utc_ns, tags })
}
