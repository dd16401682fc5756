//! HLS as players that are not ours play it: hls.js in Chromium, ffmpeg, GStreamer; and playlists as m3u8-rs reads them.
//!
//! A camera is recorded, stopped, and recorded again, so that what is played has a gap. Every picture that was recorded
//! must be decoded, counted against Matroska of the same range.

use super::figure;
use crate::browser::Browser;
use crate::http::Client;
use crate::judges;
use crate::probe::{self, run_silent};
use crate::process::now_ns;
use crate::serving::{Serving, moment_text};
use crate::wait;
use anyhow::{Context, Result, bail};
use m3u8_rs::{MediaPlaylist, MediaPlaylistType, Playlist};
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// The longest that a player may take to play some seconds on a loaded machine.
const LIMIT: Duration = Duration::from_secs(90);
const CAMERA: &str = "film";
const URL: &str = "testsrc://?size=640x360&fps=15&gop=15&audio=1";
const STREAM: &str = "/api/v1/cameras/film/streams/main";

/// For the page: what is known of why nothing is played.
const STATE: &str = "({ wrong, time: video.currentTime, ready: video.readyState, paused: video.paused, \
    buffered: [...Array(video.buffered.length).keys()].map((i) => [video.buffered.start(i), video.buffered.end(i)]) })";

/// What a range holds, by Matroska of it.
struct Truth {
    pictures: usize,
    /// Samples of sound, 8,000 of them a second: a byte each in G.711.
    sound_samples: usize,
}

/// Footage with a gap in its middle; what is recorded now is not of it.
struct Filmed {
    serving: Serving,
    range: String,
    truth: Truth,
}

/// Every program plays a range with a gap, whole.
pub fn recorded_range_with_a_gap() -> Result<()> {
    let filmed = film()?;
    let path = format!("{STREAM}/hls/vod.m3u8?{}", filmed.range);
    let client = filmed.serving.client();
    let playlist = media_playlist(&client, &path)?;
    if !playlist.end_list || playlist.playlist_type != Some(MediaPlaylistType::Vod) {
        bail!("a recorded range is not told as one");
    }
    let breaks = playlist.segments.iter().filter(|segment| segment.discontinuity).count();
    if breaks != 1 {
        bail!("{breaks} discontinuities instead of one");
    }
    let url = format!("{}{path}", client.base());
    by_ffmpeg(&url, &filmed.truth)?;
    by_gstreamer(&url, &filmed.truth)?;
    by_hls_js(&filmed.serving, &url, &filmed.truth)?;
    let master = client.body(&format!("/api/v1/cameras/{CAMERA}/hls/master.m3u8?{}", filmed.range))?;
    match m3u8_rs::parse_playlist_res(&master) {
        Ok(Playlist::MasterPlaylist(master)) if master.variants.len() == 1 => {}
        other => bail!("no master playlist of one stream: {other:?}"),
    }
    filmed.serving.stop()
}

/// hls.js and ffmpeg play what goes on.
pub fn live() -> Result<()> {
    let serving = Serving::start(&[(CAMERA, URL)])?;
    serving.await_ready()?;
    let path = format!("{STREAM}/hls/live.m3u8");
    let client = serving.client();
    wait::until("a live playlist", LIMIT, || Ok((client.get(&path)?.status == 200).then_some(())))?;
    if media_playlist(&client, &path)?.end_list {
        bail!("a live playlist says that it is at its end");
    }
    let url = format!("{}{path}", client.base());
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-nostdin", "-i", &url, "-t", "5", "-f", "null", "-"]);
    run_silent(&mut ffmpeg)?;
    let mut browser = open_hls_js(&serving, &url)?;
    browser.until("live pictures by hls.js", LIMIT, "video.videoWidth === 640 && video.currentTime > 0")?;
    browser.evaluate("window.before = video.currentTime")?;
    let went_on = browser.until("live pictures to go on", LIMIT, "video.currentTime > window.before + 5");
    went_on.with_context(|| format!("hls.js: {:?}", browser.evaluate(STATE)))?;
    nothing_went_wrong(&mut browser)?;
    drop(browser);
    serving.stop()
}

fn film() -> Result<Filmed> {
    let serving = Serving::start(&[(CAMERA, URL)])?;
    await_range(&serving, 1, 6.0)?;
    for (number, seconds) in [(2, 4.0), (3, 0.5)] {
        serving.record(CAMERA, false)?;
        wait::until("a gap of two seconds", LIMIT, || {
            let camera = serving.client().json(&format!("/api/v1/cameras/{CAMERA}"))?;
            let stopped = camera["streams"][0]["state"] == "stopped";
            let last_ns = serving.recorded(CAMERA)?.last().map_or(i64::MAX, |(_, to)| *to);
            let since_ns = i64::try_from(now_ns())?.saturating_sub(last_ns);
            Ok((stopped && since_ns > 2_000_000_000).then_some(()))
        })?;
        serving.record(CAMERA, true)?;
        await_range(&serving, number, seconds)?;
    }
    // What comes behind a stop says that nothing more belongs to what came before it.
    let recorded = serving.recorded(CAMERA)?;
    let [(from, _), (_, to), _] = recorded[..] else { bail!("not three ranges: {recorded:?}") };
    // The end is exclusive, and the last sample belongs to it.
    let range = format!("from={}&to={}", moment_text(from)?, moment_text(to + 1_000_000)?);
    let mkv = serving.dir().join("truth.mkv");
    let footage = serving.client().body(&format!("{STREAM}/footage?{range}&format=mkv"))?;
    std::fs::write(&mkv, footage)?;
    let mkv = probe::read_mkv(&mkv)?;
    let sound = mkv.tracks.iter().find(|track| track.codec_id == "A_MS/ACM").context("no sound")?;
    let truth = Truth { pictures: mkv.video()?.frames.len(), sound_samples: sound.payload().len() };
    figure("players", &format!("{} pictures, {} samples of sound", truth.pictures, truth.sound_samples));
    Ok(Filmed { serving, range, truth })
}

/// Waits until there are so many ranges, the last of them so long.
fn await_range(serving: &Serving, number: usize, seconds: f64) -> Result<()> {
    wait::until(&format!("range {number} of {seconds} s"), LIMIT, || {
        let recorded = serving.recorded(CAMERA)?;
        let long = recorded.last().is_some_and(|(from, to)| (to - from) as f64 / 1e9 >= seconds);
        Ok((recorded.len() == number && long).then_some(()))
    })
}

/// A media playlist as m3u8-rs reads it, all of whose segments are there.
fn media_playlist(client: &Client, path: &str) -> Result<MediaPlaylist> {
    let text = client.body(path)?;
    let playlist = match m3u8_rs::parse_playlist_res(&text) {
        Ok(Playlist::MediaPlaylist(playlist)) => playlist,
        other => bail!("no media playlist: {other:?}: {}", String::from_utf8_lossy(&text)),
    };
    let maps = playlist.segments.iter().filter_map(|segment| segment.map.as_ref()).map(|map| &map.uri);
    for uri in playlist.segments.iter().map(|segment| &segment.uri).chain(maps) {
        client.body(&format!("{STREAM}/hls/{uri}"))?;
    }
    Ok(playlist)
}

fn by_ffmpeg(url: &str, truth: &Truth) -> Result<()> {
    let mut ffprobe = Command::new("ffprobe");
    ffprobe.args(["-v", "error", "-count_frames", "-show_streams", "-of", "json", url]);
    let found: Value = serde_json::from_str(&run_silent(&mut ffprobe)?)?;
    let streams = found["streams"].as_array().context("no streams")?;
    let video = streams.iter().find(|stream| stream["codec_type"] == "video").context("no video")?;
    let pictures = video["nb_read_frames"].as_str().context("no pictures")?;
    if pictures != truth.pictures.to_string() {
        bail!("ffmpeg decodes {pictures} pictures of {}", truth.pictures);
    }
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-nostdin", "-i", url, "-map", "0:a", "-f", "u8", "-c:a", "pcm_u8", "-"]);
    let sound = ffmpeg.output()?;
    if !sound.status.success() || sound.stdout.len() != truth.sound_samples {
        let said = String::from_utf8_lossy(&sound.stderr);
        bail!("ffmpeg decodes {} samples of sound of {}: {said}", sound.stdout.len(), truth.sound_samples);
    }
    Ok(())
}

fn by_gstreamer(url: &str, truth: &Truth) -> Result<()> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/play_hls.py");
    let mut python = Command::new("/usr/bin/python3");
    python.arg(script).args([url, &LIMIT.as_secs().to_string()]);
    let output = python.output()?;
    if !output.status.success() {
        bail!("GStreamer: {}", String::from_utf8_lossy(&output.stderr));
    }
    let played: Value = serde_json::from_slice(&output.stdout)?;
    figure("players", &format!("GStreamer: {played}"));
    // It decodes sound into samples of two bytes.
    if played["pictures"] != truth.pictures || played["sound_bytes"] != 2 * truth.sound_samples {
        bail!("GStreamer decodes {played} of {} pictures", truth.pictures);
    }
    Ok(())
}

fn by_hls_js(serving: &Serving, url: &str, truth: &Truth) -> Result<()> {
    let mut browser = open_hls_js(serving, url)?;
    browser.until("hls.js to play to the end", LIMIT, "video.ended")?;
    let played = browser.evaluate(
        "({ pictures: video.getVideoPlaybackQuality().totalVideoFrames, sound: video.webkitAudioDecodedByteCount })",
    )?;
    figure("players", &format!("hls.js: {played}"));
    // What comes too late to be shown on a loaded machine is decoded and counted all the same; what a seek skips is not.
    let pictures = played["pictures"].as_u64().context("no count")?;
    if pictures * 10 < truth.pictures as u64 * 9 || played["sound"].as_u64().unwrap_or_default() == 0 {
        bail!("hls.js plays {played} of {} pictures", truth.pictures);
    }
    nothing_went_wrong(&mut browser)
}

/// hls.js, playing this in a page of the server that has nothing else.
fn open_hls_js(serving: &Serving, url: &str) -> Result<Browser> {
    let script = std::fs::read_to_string(judges::hls_js()?)?;
    let mut browser = Browser::start()?;
    browser.open(&format!("{}/healthz", serving.base()))?;
    browser.evaluate(&format!("{script}; true"))?;
    browser.evaluate(&format!(
        "window.video = document.body.appendChild(document.createElement('video'));
        window.wrong = [];
        window.hls = new Hls({{ enableWorker: false }});
        hls.on(Hls.Events.ERROR, (_, error) => {{
            if (error.fatal || error.details !== 'bufferStalledError') wrong.push(`${{error.type}}: ${{error.details}}: ${{error.error}}`);
        }});
        hls.loadSource('{url}');
        hls.attachMedia(video);
        hls.on(Hls.Events.MANIFEST_PARSED, () => {{ video.play(); }});
        true"
    ))?;
    Ok(browser)
}

fn nothing_went_wrong(browser: &mut Browser) -> Result<()> {
    let wrong = browser.evaluate("wrong")?;
    let complaints = browser.complaints()?;
    if wrong.as_array().is_none_or(|wrong| !wrong.is_empty()) || !complaints.is_empty() {
        bail!("hls.js says {wrong}, the page {complaints:?}");
    }
    Ok(())
}
