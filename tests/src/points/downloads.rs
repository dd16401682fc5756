//! Footage as files over HTTP: the same in every container, any range of its bytes, gone on with after a kill; and pictures.

use crate::barcode;
use crate::http::Client;
use crate::probe::{self, run_silent};
use crate::serving::{READY_LIMIT, Serving, moment_ns, moment_text};
use crate::wait;
use anyhow::{Context, Result, bail};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

const CAMERA: &str = "film";
const URL: &str = "testsrc://?size=640x360&fps=15&gop=15&audio=1&bitrate=2M";
const STREAM: &str = "/api/v1/cameras/film/streams/main";
/// So many slices of a file are compared.
const SLICES: usize = 20;
/// The most that the moment in a picture may be from the one that is told: the picture's clock has milliseconds.
const APART_NS_MAX: i64 = 2_000_000;

/// Some seconds of footage, of which everything is on the disk: what was recorded since is three seconds more, in all its tracks.
fn film() -> Result<(Serving, i64, i64)> {
    let serving = Serving::start(&[(CAMERA, URL)])?;
    serving.await_footage(CAMERA, 8.0)?;
    let recorded = serving.recorded(CAMERA)?;
    let (from, to) = *recorded.first().context("nothing is recorded")?;
    serving.await_footage(CAMERA, (to - from) as f64 / 1e9 + 3.0)?;
    Ok((serving, from, to))
}

/// MP4, fragmented MP4 and Matroska of one range hold the same packets, pictures and sound.
pub fn containers_hold_the_same() -> Result<()> {
    let (serving, from, to) = film()?;
    let range = format!("from={}&to={}", moment_text(from)?, moment_text(to)?);
    let mut first: Option<Contents> = None;
    for format in ["mp4", "fmp4", "mkv"] {
        let footage = serving.client().body(&format!("{STREAM}/footage?{range}&format={format}"))?;
        let path = serving.dir().join(format!("footage.{format}"));
        std::fs::write(&path, footage)?;
        probe::decode(&path)?;
        let contents = Contents::of(&path)?;
        match &first {
            None => first = Some(contents),
            Some(first) if *first == contents => {}
            Some(first) => bail!("{format} holds other footage: {contents:?}, mp4 {first:?}"),
        }
    }
    serving.stop()
}

/// What a file holds.
#[derive(PartialEq, Eq)]
struct Contents {
    /// Packets of pictures, and of sound.
    packets: Vec<String>,
    /// The hash of each decoded picture.
    pictures: Vec<String>,
    /// The hash of all decoded sound.
    sound: String,
}

impl Contents {
    fn of(path: &Path) -> Result<Contents> {
        let found = probe::ffprobe(path)?;
        let streams = found["streams"].as_array().context("no streams")?;
        let count = |stream: &Value| stream["nb_read_packets"].as_str().map(str::to_owned);
        let packets = streams.iter().filter_map(count).collect();
        let mut ffmpeg = Command::new("ffmpeg");
        ffmpeg.args(["-v", "error", "-nostdin", "-i"]).arg(path);
        ffmpeg.args([
            "-map",
            "0:v",
            "-fps_mode",
            "passthrough",
            "-enc_time_base",
            "-1",
            "-f",
            "framemd5",
            "-",
        ]);
        let text = run_silent(&mut ffmpeg)?;
        let rows = text.lines().filter(|line| !line.starts_with('#'));
        let pictures = rows.filter_map(|row| Some(row.rsplit_once(',')?.1.trim().to_owned())).collect();
        let mut ffmpeg = Command::new("ffmpeg");
        ffmpeg.args(["-v", "error", "-nostdin", "-i"]).arg(path);
        ffmpeg.args(["-map", "0:a", "-c:a", "pcm_s16le", "-f", "md5", "-"]);
        Ok(Contents { packets, pictures, sound: run_silent(&mut ffmpeg)? })
    }
}

impl std::fmt::Debug for Contents {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(to, "{:?} packets, {} pictures, {}", self.packets, self.pictures.len(), self.sound.trim())
    }
}

/// Slices of an MP4 file are what stands there in the whole; what lies behind its end is refused.
pub fn slices_are_those_of_the_whole(seed: u64) -> Result<()> {
    let (serving, from, to) = film()?;
    let path = format!("{STREAM}/footage?from={}&to={}", moment_text(from)?, moment_text(to)?);
    let client = serving.client();
    let whole = client.body(&path)?;
    let slice = |asked: &str| client.get_with(&path, &[("range", asked)]);
    let mut chance = StdRng::seed_from_u64(seed);
    for _ in 0..SLICES {
        let begin = chance.random_range(0..whole.len());
        let end = chance.random_range(begin..whole.len());
        let answer = slice(&format!("bytes={begin}-{end}"))?.with_status(206)?;
        let told = format!("bytes {begin}-{end}/{}", whole.len());
        if answer.body != whole[begin..=end] || answer.header("content-range") != Some(told.as_str()) {
            bail!("bytes {begin} to {end}: {:?}: not those of the whole", answer.header("content-range"));
        }
    }
    let last = slice("bytes=-1000")?.with_status(206)?.body;
    if last != whole[whole.len() - 1000..] {
        bail!("the last 1000 bytes are not those of the whole");
    }
    slice(&format!("bytes={}-", whole.len()))?.with_status(416)?;
    serving.stop()
}

/// An MP4 file of footage goes on where a download of it broke off, in a server that was killed in between; where it is another file by
/// then, all of it comes.
pub fn footage_goes_on_after_a_kill() -> Result<()> {
    let (mut serving, from, to) = film()?;
    let path = format!("{STREAM}/footage?from={}&to={}", moment_text(from)?, moment_text(to)?);
    let whole = serving.client().get(&path)?.with_status(200)?;
    let tag = whole.header("etag").context("no tag")?.to_owned();
    let half = whole.body.len() as u64 / 2;
    let mut got = serving.client().beginning(&path, half)?.with_status(200)?.body;
    serving.kill_and_start_again()?;
    serving.await_ready()?;
    let range = format!("bytes={half}-");
    let rest = |tag: &str| serving.client().get_with(&path, &[("range", &range), ("if-range", tag)]);
    got.extend(rest(&tag)?.with_status(206)?.body);
    if got != whole.body {
        bail!("the two halves are not the whole: {} bytes of {}", got.len(), whole.body.len());
    }
    let other = rest("\"another\"")?.with_status(200)?;
    if other.body != whole.body || other.header("etag") != Some(&tag) {
        bail!("for a part of another file {} bytes come of {}", other.body.len(), whole.body.len());
    }
    serving.stop()
}

/// A named export goes on where a download broke off, in a server that was killed in between.
pub fn an_export_goes_on_after_a_kill() -> Result<()> {
    let (mut serving, from, to) = film()?;
    let wanted =
        json!({ "streams": [CAMERA], "from": moment_text(from)?, "to": moment_text(to)?, "format": "mkv" });
    let made = serving.client().change("POST", "/api/v1/exports", &wanted)?;
    let id = made["id"].as_str().context("no id")?.to_owned();
    let before = ready(&serving.client(), &id)?;
    let bytes = before["bytes"].as_u64().context("no length")?;
    let file = format!("/api/v1/exports/{id}/file");
    let mut got = serving.client().beginning(&file, bytes / 2)?.with_status(200)?.body;
    if got.len() as u64 != bytes / 2 {
        bail!("half of {bytes} bytes is not {}: {}", got.len(), String::from_utf8_lossy(&got));
    }
    serving.kill_and_start_again()?;
    serving.await_ready()?;
    let client = serving.client();
    if ready(&client, &id)? != before {
        bail!("the export is not the one that was made: {before}");
    }
    let rest = client.get_with(&file, &[("range", &format!("bytes={}-", got.len()))])?.with_status(206)?;
    got.extend(rest.body);
    let whole = client.body(&file)?;
    let hash = blake3::hash(&whole).to_hex().to_string();
    if got != whole || before["blake3"] != hash.as_str() || whole.len() as u64 != bytes {
        bail!(
            "the two halves ({} bytes) are not the whole: {} bytes, BLAKE3 {hash}, told {before}",
            got.len(),
            whole.len()
        );
    }
    let path = serving.dir().join("export.mkv");
    std::fs::write(&path, whole)?;
    probe::assert_clean(&path)?;
    serving.stop()
}

fn ready(client: &Client, id: &str) -> Result<Value> {
    wait::until("the export to be ready", READY_LIMIT, || {
        let export = client.json(&format!("/api/v1/exports/{id}"))?;
        match export["state"].as_str() {
            Some("ready") => Ok(Some(export)),
            Some("measuring") => Ok(None),
            _ => bail!("the export failed: {export}"),
        }
    })
}

/// A picture is JPEG of the size that was asked for, and of the moment that is told.
pub fn pictures_are_of_the_moment_they_tell() -> Result<()> {
    let (serving, from, to) = film()?;
    let middle = moment_text(from.midpoint(to))?;
    for (query, width) in
        [(String::new(), 640), (format!("?at={middle}"), 640), ("?width=320".to_owned(), 320)]
    {
        let answer = serving.client().get(&format!("{STREAM}/snapshot.jpg{query}"))?.with_status(200)?;
        let told = answer.header("x-keha-moment").context("no moment is told")?;
        let moment = moment_ns(&json!(told))?;
        if moment < from || query.starts_with("?at") && moment > from.midpoint(to) {
            bail!("{query}: a picture of {told}, recorded is from {}", moment_text(from)?);
        }
        let path = serving.dir().join("picture.jpg");
        std::fs::write(&path, &answer.body)?;
        let found = probe::ffprobe(&path)?;
        let picture = &found["streams"][0];
        if picture["codec_name"] != "mjpeg"
            || picture["width"] != width
            || picture["height"] != width * 9 / 16
        {
            bail!("{query}: no JPEG of {width} pixels: {picture}");
        }
        if width == 640 {
            let shown = barcode::read_built_in(&path)?;
            let wall_ms = shown.first().context("no bar code")?.wall_ms;
            if (i64::try_from(wall_ms)? * 1_000_000 - moment).abs() > APART_NS_MAX {
                bail!("{query}: the picture is of {wall_ms} ms, told is {told}");
            }
        }
    }
    serving.stop()
}
