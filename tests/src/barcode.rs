//! Reads the wall time that the clock camera of `tests/scripts/rtsp_server.py` draws into each of its pictures.
//!
//! The top half of the picture is 64 cells of equal width, white is 1, from left to right: `10` as a mark, 48 bits of
//! Unix time in milliseconds (most significant first), 8 bits sum of its six bytes, six bits 0.

use crate::probe;
use anyhow::{Context, Result, bail};
use std::path::Path;
use std::process::{Command, Stdio};

const CELLS: usize = 64;

/// The wall times drawn into the pictures of a recording, Unix milliseconds, in presentation order.
pub fn read_times_ms(mkv: &Path) -> Result<Vec<u64>> {
    let size = probe::ffprobe(mkv)?;
    let stream = size["streams"].as_array().and_then(|s| s.first()).context("no stream")?;
    let (width, height) = (pixels(stream, "width")?, pixels(stream, "height")?);
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-i"])
        .arg(mkv)
        .args(["-map", "0:v:0", "-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "gray", "-"])
        .stdin(Stdio::null())
        .output()?;
    if !output.status.success() {
        bail!("decoding {}: {}", mkv.display(), String::from_utf8_lossy(&output.stderr));
    }
    output.stdout.chunks_exact(width * height).map(|picture| decode(picture, width, height)).collect()
}

fn pixels(stream: &serde_json::Value, name: &str) -> Result<usize> {
    Ok(usize::try_from(stream[name].as_u64().with_context(|| format!("no {name}"))?)?)
}

fn decode(picture: &[u8], width: usize, height: usize) -> Result<u64> {
    let row = &picture[height / 4 * width..][..width];
    let cell = width / CELLS;
    let bits = (0..CELLS).fold(0_u64, |bits, i| bits << 1 | u64::from(row[i * cell + cell / 2] > 125));
    let (mark, wall_ms, sum) = (bits >> 62, bits >> 14 & ((1 << 48) - 1), bits >> 6 & 0xff);
    let expected = wall_ms.to_be_bytes().iter().fold(0_u64, |sum, byte| sum + u64::from(*byte)) & 0xff;
    if mark != 0b10 || sum != expected {
        bail!("no bar code in the picture: {bits:064b}");
    }
    Ok(wall_ms)
}
