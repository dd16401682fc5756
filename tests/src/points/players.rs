//! HLS as players that are not ours play it: hls.js in Chromium, ffmpeg, GStreamer; and playlists as m3u8-rs reads them.
//!
//! A camera is recorded, away for a while, recorded again, and then sends pictures of another size: so what is played has a gap and a
//! change. Every picture that was recorded must be decoded, counted against Matroska of the same range.

use super::figure;
use crate::http::Client;
use crate::media::ClipKind;
use crate::played::{
    self, HlsJs, LIMIT, Truth, by_ffmpeg, by_ffmpeg_until, by_gstreamer, by_gstreamer_until,
};
use crate::probe;
use crate::process::now_ns;
use crate::server::CameraServer;
use crate::serving::{Serving, moment_text};
use crate::wait;
use anyhow::{Context, Result, bail};
use m3u8_rs::{MasterPlaylist, MediaPlaylist, MediaPlaylistType, Playlist};

const CAMERA: &str = "film";
const URL: &str = "testsrc://?size=640x360&fps=15&gop=15&audio=1";
const STREAM: &str = "/api/v1/cameras/film/streams/main";
/// Pictures of the new size that a live player must decode.
const PICTURES: usize = 50;

/// A codec, by the cameras that send it: of one size, then of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Film {
    /// H.264 with AAC.
    H264,
    /// H.265 with AAC.
    H265,
}

impl Film {
    fn clips(self) -> [ClipKind; 2] {
        match self {
            Film::H264 => [ClipKind::WithAac, ClipKind::OtherWithAac],
            Film::H265 => [ClipKind::H265WithAac, ClipKind::H265OtherWithAac],
        }
    }
}

/// The sizes of these clips' pictures.
const SIZES: [&str; 2] = ["640x360", "800x448"];

/// Footage with breaks in it; what is recorded now is not of it.
struct Filmed {
    serving: Serving,
    range: String,
    truth: Truth,
    breaks: usize,
}

/// Every program plays a range with a gap, whole. Its sound is G.711.
pub fn recorded_range_with_a_gap() -> Result<()> {
    judge(film()?)
}

/// Every program plays a range with a gap and a change of the pictures' size, whole; hls.js, if Chromium has a decoder. Its sound is AAC.
pub fn recorded_range_with_a_change(film: Film) -> Result<()> {
    judge(film_changing(film)?)
}

fn judge(filmed: Filmed) -> Result<()> {
    let path = format!("{STREAM}/hls/vod.m3u8?{}", filmed.range);
    let client = filmed.serving.client();
    let playlist = media_playlist(&client, &path)?;
    if !playlist.end_list || playlist.playlist_type != Some(MediaPlaylistType::Vod) {
        bail!("a recorded range is not told as one");
    }
    let breaks = playlist.segments.iter().filter(|segment| segment.discontinuity).count();
    let inits = playlist.segments.iter().filter(|segment| segment.map.is_some()).count();
    if (breaks, inits) != (filmed.breaks, filmed.truth.pictures.len()) {
        bail!("{breaks} discontinuities instead of {}, {inits} init segments", filmed.breaks);
    }
    let codecs = codecs(&client, &filmed.range)?;
    let url = format!("{}{path}", client.base());
    by_ffmpeg(&url, &filmed.truth)?;
    by_gstreamer(&url, &filmed.truth)?;
    if played::chromium_plays(&filmed.serving, &codecs)? {
        let played = HlsJs::open(&filmed.serving, &url)?.plays_whole(&filmed.truth)?;
        figure("players", &format!("hls.js: {played}"));
    } else {
        without_a_decoder(&codecs)?;
    }
    filmed.serving.stop()
}

/// A player that has no decoder is told so before it loads anything.
fn without_a_decoder(codecs: &str) -> Result<()> {
    figure("players", &format!("Chromium has no decoder of {codecs} here: hls.js is not tried"));
    if !codecs.starts_with("hvc1.") {
        bail!("Chromium does not play {codecs}");
    }
    Ok(())
}

/// hls.js, ffmpeg and GStreamer play what goes on.
pub fn live() -> Result<()> {
    let serving = Serving::start(&[(CAMERA, URL)])?;
    serving.await_ready()?;
    let url = await_live(&serving)?;
    by_ffmpeg_until(&url, SIZES[0], PICTURES)?;
    by_gstreamer_until(&url, SIZES[0], PICTURES)?;
    let mut hls_js = HlsJs::open(&serving, &url)?;
    hls_js.until("live pictures by hls.js", "video.videoWidth === 640 && video.currentTime > 0")?;
    hls_js.goes_on(5)?;
    figure("players", &format!("hls.js got over {}", hls_js.went_on()?));
    serving.stop()
}

/// They play on when the pictures' size changes under them; hls.js, if Chromium has a decoder.
pub fn live_with_a_change(film: Film) -> Result<()> {
    let [first, other] = film.clips();
    let mut cameras = CameraServer::with_cameras([(CAMERA, &first.clip()?)])?;
    let serving = Serving::start(&[(CAMERA, &cameras.url(CAMERA))])?;
    let url = await_live(&serving)?;
    let codecs = codecs(&serving.client(), "")?;
    let mut hls_js = match played::chromium_plays(&serving, &codecs)? {
        true => Some(HlsJs::open(&serving, &url)?),
        false => without_a_decoder(&codecs).map(|()| None)?,
    };
    if let Some(hls_js) = &mut hls_js {
        hls_js.until("live pictures by hls.js", "video.videoWidth === 640 && video.currentTime > 0")?;
    }
    std::thread::scope(|scope| -> Result<()> {
        let gstreamer = scope.spawn(|| by_gstreamer_until(&url, SIZES[1], PICTURES));
        let ffmpeg = scope.spawn(|| by_ffmpeg_until(&url, SIZES[1], PICTURES));
        serving.await_footage(CAMERA, 10.0)?;
        cameras.switch(CAMERA, &other.clip()?)?;
        if let Some(mut hls_js) = hls_js.take() {
            hls_js.until("pictures of the other size", "video.videoWidth === 800")?;
            hls_js.goes_on(3)?;
            figure("players", &format!("hls.js got over {}", hls_js.went_on()?));
        }
        let played = gstreamer.join().map_err(|_| anyhow::anyhow!("GStreamer's thread panicked"))??;
        figure("players", &format!("GStreamer: {played}"));
        let played = ffmpeg.join().map_err(|_| anyhow::anyhow!("ffmpeg's thread panicked"))??;
        figure("players", &format!("ffmpeg: {played:?}"));
        Ok(())
    })?;
    serving.stop()
}

/// Waits until there is a live playlist: where.
fn await_live(serving: &Serving) -> Result<String> {
    let path = format!("{STREAM}/hls/live.m3u8");
    let client = serving.client();
    wait::until("a live playlist", LIMIT, || Ok((client.get(&path)?.status == 200).then_some(())))?;
    if media_playlist(&client, &path)?.end_list {
        bail!("a live playlist says that it is at its end");
    }
    Ok(format!("{}{path}", client.base()))
}

fn film() -> Result<Filmed> {
    let serving = Serving::start(&[(CAMERA, URL)])?;
    await_range(&serving, 1, 6.0)?;
    for (number, seconds) in [(2, 4.0), (3, 0.5)] {
        serving.record(CAMERA, false)?;
        await_gap(&serving, "stopped")?;
        serving.record(CAMERA, true)?;
        await_range(&serving, number, seconds)?;
    }
    filmed(serving, 2, &[None])
}

fn film_changing(film: Film) -> Result<Filmed> {
    let [first, other] = film.clips();
    let mut cameras = CameraServer::with_cameras([(CAMERA, &first.clip()?)])?;
    let serving = Serving::start(&[(CAMERA, &cameras.url(CAMERA))])?;
    await_range(&serving, 1, 5.0)?;
    cameras.stop(CAMERA)?;
    await_gap(&serving, "")?;
    cameras.restart(CAMERA)?;
    await_range(&serving, 2, 4.0)?;
    cameras.switch(CAMERA, &other.clip()?)?;
    await_range(&serving, 3, 4.0)?;
    cameras.switch(CAMERA, &first.clip()?)?;
    await_range(&serving, 4, 0.5)?;
    filmed(serving, 3, &[Some(1), Some(2)])
}

/// The first so many ranges, which fill so many files. What comes behind a break says that nothing more belongs to what came before it.
fn filmed(serving: Serving, ranges: usize, parts: &[Option<usize>]) -> Result<Filmed> {
    let recorded = serving.recorded(CAMERA)?;
    if recorded.len() != ranges + 1 {
        bail!("not {ranges} ranges and one: {recorded:?}");
    }
    let (from, to) = (recorded[0].0, recorded[ranges - 1].1);
    // The end is exclusive, and the last sample belongs to it.
    let range = format!("from={}&to={}", moment_text(from)?, moment_text(to + 1_000_000)?);
    let mut files = Vec::new();
    for part in parts {
        let mkv = serving.dir().join("truth.mkv");
        let part = part.map_or_else(String::new, |part| format!("&part={part}"));
        let footage = serving.client().body(&format!("{STREAM}/footage?{range}&format=mkv{part}"))?;
        std::fs::write(&mkv, footage)?;
        files.push(probe::read_mkv(&mkv)?);
    }
    let truth = Truth::of(&files, ranges)?;
    figure("players", &format!("{truth:?}"));
    Ok(Filmed { serving, range, truth, breaks: ranges - 1 })
}

/// Waits until nothing has been recorded for two seconds, and the stream's state is this one, if it is to be one.
fn await_gap(serving: &Serving, state: &str) -> Result<()> {
    wait::until("a gap of two seconds", LIMIT, || {
        let camera = serving.client().json(&format!("/api/v1/cameras/{CAMERA}"))?;
        let is_so = state.is_empty() || camera["streams"][0]["state"] == state;
        let last_ns = serving.recorded(CAMERA)?.last().map_or(i64::MAX, |(_, to)| *to);
        let since_ns = i64::try_from(now_ns())?.saturating_sub(last_ns);
        Ok((is_so && since_ns > 2_000_000_000).then_some(()))
    })
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

/// What the master playlist says of the one stream's codecs, in a range or live.
fn codecs(client: &Client, range: &str) -> Result<String> {
    let master = client.body(&format!("/api/v1/cameras/{CAMERA}/hls/master.m3u8?{range}"))?;
    match m3u8_rs::parse_playlist_res(&master) {
        Ok(Playlist::MasterPlaylist(MasterPlaylist { variants, .. })) if variants.len() == 1 => {
            variants[0].codecs.clone().context("no codecs")
        }
        other => bail!("no master playlist of one stream: {other:?}"),
    }
}
