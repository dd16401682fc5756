//! What players that are not ours make of a playlist: ffmpeg, GStreamer, hls.js in Chromium.
//!
//! What they must find is counted in Matroska of the same range. Must not live here: which footage it is.

use crate::browser::Browser;
use crate::judges;
use crate::probe::{Mkv, run_silent};
use crate::process::Running;
use crate::serving::Serving;
use crate::wait;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// The longest that a player may take to play some seconds on a loaded machine.
pub const LIMIT: Duration = Duration::from_secs(90);
/// Samples in a frame of AAC.
const AAC_SAMPLES: usize = 1024;
/// Samples a second of each channel: of the clips, and of the built-in camera.
const AAC_RATE: usize = 48_000;
const G711_RATE: usize = 8_000;

/// What hls.js tells of, and gets over by itself, where it plays what goes on.
const GOT_OVER: [&str; 2] = ["bufferSeekOverHole", "bufferAppendNoProgress"];

/// For the page: what is known of why nothing is played.
const STATE: &str = "({ wrong, time: video.currentTime, ready: video.readyState, paused: video.paused, \
    buffered: [...Array(video.buffered.length).keys()].map((i) => [video.buffered.start(i), video.buffered.end(i)]) })";

/// What a range holds.
#[derive(Clone, Debug, Default)]
pub struct Truth {
    /// Pictures by size, such as `640x360`.
    pub pictures: BTreeMap<String, usize>,
    /// Samples of sound of each channel.
    pub sound: usize,
    /// So many of them may be missing: what a decoder of AAC keeps to itself where it begins.
    pub sound_missing_max: usize,
    /// So many more may be heard: silence where a stretch begins or ends without sound, up to a quarter of a second each time.
    pub silence_max: usize,
    /// Its channels.
    pub channels: usize,
}

impl Truth {
    /// What is in these files together, in `stretches` stretches.
    pub fn of(files: &[Mkv], stretches: usize) -> Result<Truth> {
        let mut truth = Truth::default();
        for mkv in files {
            let video = mkv.video()?;
            let (width, height) = video.pixels.context("a size")?;
            *truth.pictures.entry(format!("{width}x{height}")).or_default() += video.frames.len();
            let sound = |codec: &str| mkv.tracks.iter().find(|track| track.codec_id == codec);
            if let Some(g711) = sound("A_MS/ACM") {
                truth.channels = 1;
                truth.silence_max = stretches * G711_RATE / 2;
                truth.sound += g711.payload().len();
            } else {
                let aac = sound("A_AAC").context("no sound")?;
                truth.channels = 2;
                truth.silence_max = stretches * AAC_RATE / 2;
                truth.sound += aac.frames.len() * AAC_SAMPLES;
                truth.sound_missing_max = 4 * stretches * AAC_SAMPLES;
            }
        }
        Ok(truth)
    }

    /// All pictures.
    pub fn all_pictures(&self) -> usize {
        self.pictures.values().sum()
    }

    fn is_sound(&self, samples: usize) -> bool {
        samples <= self.sound + self.silence_max && samples + self.sound_missing_max >= self.sound
    }
}

/// ffmpeg decodes every picture and every sample of sound, and complains about nothing.
pub fn by_ffmpeg(url: &str, truth: &Truth) -> Result<()> {
    let mut ffprobe = Command::new("ffprobe");
    ffprobe.args([
        "-v",
        "error",
        "-show_frames",
        "-show_entries",
        "frame=media_type,width,height,nb_samples",
    ]);
    ffprobe.args(["-of", "compact=p=0:nk=1", url]);
    let (mut pictures, mut sound) = (BTreeMap::<String, usize>::new(), 0);
    for line in run_silent(&mut ffprobe)?.lines() {
        // Side data of a picture stands behind its size, or on lines of its own.
        match line.split('|').collect::<Vec<_>>()[..] {
            ["video", width, height, ..] => *pictures.entry(format!("{width}x{height}")).or_default() += 1,
            ["audio", samples] => sound += samples.parse::<usize>()?,
            _ => {}
        }
    }
    if pictures != truth.pictures || !truth.is_sound(sound) {
        bail!("ffmpeg decodes {pictures:?} and {sound} samples of sound of {truth:?}");
    }
    Ok(())
}

/// ffmpeg plays what goes on until it has decoded so many pictures of a size, without a complaint; answers how many of each.
pub fn by_ffmpeg_until(url: &str, size: &str, count: usize) -> Result<BTreeMap<String, usize>> {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-hide_banner", "-nostdin", "-nostats", "-loglevel", "level+info", "-i", url]);
    ffmpeg.args(["-vf", "showinfo", "-f", "null", "-"]);
    let mut running = Running::start(&mut ffmpeg)?;
    let played = wait::until(&format!("{count} pictures of {size} by ffmpeg"), LIMIT, || {
        let mut pictures = BTreeMap::<String, usize>::new();
        for line in running.stderr() {
            if line.contains("[error]") || line.contains("[fatal]") {
                bail!("ffmpeg: {line}");
            }
            let shown = line.split_once(" s:").filter(|_| line.contains("showinfo"));
            if let Some(size) = shown.and_then(|(_, rest)| rest.split(' ').next()) {
                *pictures.entry(size.to_owned()).or_default() += 1;
            }
        }
        if let Some(status) = running.ended()? {
            bail!("ffmpeg ended with {status} behind {pictures:?}");
        }
        Ok((pictures.get(size) >= Some(&count)).then_some(pictures))
    });
    running.kill()?;
    played
}

/// GStreamer decodes every picture and every sample of sound.
pub fn by_gstreamer(url: &str, truth: &Truth) -> Result<()> {
    let played = gstreamer(&[url, &LIMIT.as_secs().to_string()])?;
    let pictures: BTreeMap<String, usize> = serde_json::from_value(played["pictures"].clone())?;
    let bytes = played["sound_bytes"].as_u64().context("no sound")? as usize;
    // Samples of two bytes, or of four where a decoder says so.
    let is_sound = [2, 4].iter().any(|size| truth.is_sound(bytes / truth.channels / size));
    if pictures != truth.pictures || !is_sound {
        bail!("GStreamer decodes {played} of {truth:?}");
    }
    Ok(())
}

/// GStreamer plays what goes on until it has decoded so many pictures of a size; answers what it said.
pub fn by_gstreamer_until(url: &str, size: &str, count: usize) -> Result<Value> {
    gstreamer(&[url, &LIMIT.as_secs().to_string(), size, &count.to_string()])
}

fn gstreamer(arguments: &[&str]) -> Result<Value> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/play_hls.py");
    let output = Command::new("/usr/bin/python3").arg(script).args(arguments).output()?;
    if !output.status.success() {
        bail!("GStreamer: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// hls.js in a page of a server that has nothing else.
pub struct HlsJs {
    browser: Browser,
}

impl HlsJs {
    /// Begins to play this.
    pub fn open(serving: &Serving, url: &str) -> Result<HlsJs> {
        let script = std::fs::read_to_string(judges::hls_js()?)?;
        let mut browser = Browser::start()?;
        browser.open(&format!("{}/healthz", serving.base()))?;
        browser.evaluate(&format!("{script}; true"))?;
        browser.evaluate(&format!(
            "window.video = document.body.appendChild(document.createElement('video'));
            window.wrong = [];
            window.shown = {{}};
            const look = () => {{
                const size = `${{video.videoWidth}}x${{video.videoHeight}}`;
                shown[size] = (shown[size] || 0) + 1;
                video.requestVideoFrameCallback(look);
            }};
            video.requestVideoFrameCallback(look);
            window.hls = new Hls({{ enableWorker: false }});
            hls.on(Hls.Events.ERROR, (_, error) => {{
                if (error.fatal || error.details !== 'bufferStalledError') wrong.push(`${{error.fatal ? 'fatal ' : ''}}${{error.type}}: ${{error.details}}: ${{error.error}}`);
            }});
            hls.loadSource('{url}');
            hls.attachMedia(video);
            hls.on(Hls.Events.MANIFEST_PARSED, () => {{ video.play(); }});
            true"
        ))?;
        Ok(HlsJs { browser })
    }

    /// Waits until an expression of the page is true, in which `video` is what plays.
    pub fn until(&mut self, what: &str, expression: &str) -> Result<()> {
        let waited = self.browser.until(what, LIMIT, expression);
        waited.with_context(|| format!("hls.js: {:?}", self.browser.evaluate(STATE)))
    }

    /// Waits until it has played so many seconds more.
    pub fn goes_on(&mut self, seconds: u32) -> Result<()> {
        self.browser.evaluate("window.before = video.currentTime")?;
        self.until("the pictures to go on", &format!("video.currentTime > window.before + {seconds}"))
    }

    /// Waits for the end, by when nearly all must have been decoded, and each size shown.
    pub fn plays_whole(mut self, truth: &Truth) -> Result<Value> {
        self.until("hls.js to play to the end", "video.ended")?;
        let played = self.browser.evaluate(
            "({ pictures: video.getVideoPlaybackQuality().totalVideoFrames, sound: video.webkitAudioDecodedByteCount, shown })",
        )?;
        // What comes too late to be shown on a loaded machine is decoded and counted all the same; what a seek skips is not.
        let pictures = played["pictures"].as_u64().context("no count")?;
        let sizes = truth.pictures.keys().all(|size| played["shown"][size].as_u64().is_some_and(|n| n > 0));
        if pictures * 10 < truth.all_pictures() as u64 * 9 || played["sound"].as_u64() < Some(1) || !sizes {
            bail!("hls.js plays {played} of {truth:?}");
        }
        self.nothing_went_wrong()?;
        Ok(played)
    }

    /// hls.js plays on, and the page did not complain; answers what it got over by itself. Of what goes on it loads a segment again that it
    /// had put elsewhere before it knew where the first one belongs, and where that breaks off there is a hole to seek over.
    pub fn went_on(mut self) -> Result<Value> {
        let wrong = self.browser.evaluate("wrong")?;
        let complaints = self.browser.complaints()?;
        let passes = |wrong: &str| {
            !wrong.starts_with("fatal ") && GOT_OVER.iter().any(|details| wrong.contains(details))
        };
        let is_wrong = |wrong: &Value| !wrong.as_str().is_some_and(passes);
        if wrong.as_array().is_none_or(|all| all.iter().any(is_wrong)) || !complaints.is_empty() {
            bail!("hls.js says {wrong}, the page {complaints:?}");
        }
        Ok(wrong)
    }

    /// Neither hls.js nor the page complained.
    fn nothing_went_wrong(mut self) -> Result<()> {
        let wrong = self.browser.evaluate("wrong")?;
        let complaints = self.browser.complaints()?;
        if wrong.as_array().is_none_or(|wrong| !wrong.is_empty()) || !complaints.is_empty() {
            bail!("hls.js says {wrong}, the page {complaints:?}");
        }
        Ok(())
    }
}

/// Whether Chromium can decode what these `CODECS` say.
pub fn chromium_plays(serving: &Serving, codecs: &str) -> Result<bool> {
    let mut browser = Browser::start()?;
    browser.open(&format!("{}/healthz", serving.base()))?;
    let asked = format!("MediaSource.isTypeSupported('video/mp4; codecs=\"{codecs}\"')");
    Ok(browser.evaluate(&asked)? == Value::Bool(true))
}
