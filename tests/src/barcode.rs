//! Reads bar codes out of decoded pictures: those of the filmed clock of `tests/scripts/rtsp_server.py`, and those of
//! Keha's built-in camera.
//!
//! The filmed clock: the top half of the picture is 64 cells of equal width, white is 1, from left to right: `10` as a
//! mark, 48 bits of Unix time in milliseconds (most significant first), 8 bits sum of its six bytes, six bits 0.
//!
//! The built-in camera: the lowest 16 rows are 104 cells of `width / 104` pixels: 8 bits start pattern `10110010`, 32
//! bits number of the picture, 48 bits Unix milliseconds, 16 bits Fletcher checksum (modulo 255, first sum from 1) of
//! those ten bytes. Written anew here from that description, so that drawing and reading cannot share an error.

use crate::probe;
use anyhow::{Context, Result, bail};
use std::path::Path;
use std::process::{Command, Stdio};

const CLOCK_CELLS: usize = 64;
const BUILT_IN_CELLS: usize = 104;
const BUILT_IN_ROWS: usize = 16;
const BUILT_IN_START: u8 = 0b1011_0010;

/// What a picture of the built-in camera says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BuiltIn {
    /// Counts the camera's pictures.
    pub counter: u64,
    /// When it was taken, Unix milliseconds.
    pub wall_ms: u64,
}

/// The wall times that a filmed clock shows, Unix milliseconds, in presentation order.
pub fn read_times_ms(mkv: &Path) -> Result<Vec<u64>> {
    pictures(mkv, clock)
}

/// What the built-in camera's pictures say, in presentation order.
pub fn read_built_in(mkv: &Path) -> Result<Vec<BuiltIn>> {
    pictures(mkv, built_in)
}

/// Luma planes, one by one.
fn pictures<T>(mkv: &Path, read: fn(&[u8], usize, usize) -> Result<T>) -> Result<Vec<T>> {
    let found = probe::ffprobe(mkv)?;
    let stream = found["streams"].as_array().and_then(|streams| streams.first()).context("no stream")?;
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
    output.stdout.chunks_exact(width * height).map(|picture| read(picture, width, height)).collect()
}

fn pixels(stream: &serde_json::Value, name: &str) -> Result<usize> {
    Ok(usize::try_from(stream[name].as_u64().with_context(|| format!("no {name}"))?)?)
}

/// The cells of a row as bits, by the pixel in the middle of each.
fn cells(picture: &[u8], width: usize, row: usize, count: usize) -> Vec<bool> {
    let row = &picture[row * width..][..width];
    let cell = width / count;
    (0..count).map(|i| row[i * cell + cell / 2] > 125).collect()
}

fn number(bits: &[bool]) -> u64 {
    bits.iter().fold(0, |number, bit| number << 1 | u64::from(*bit))
}

fn clock(picture: &[u8], width: usize, height: usize) -> Result<u64> {
    let bits = cells(picture, width, height / 4, CLOCK_CELLS);
    let (mark, wall_ms, sum) = (number(&bits[..2]), number(&bits[2..50]), number(&bits[50..58]));
    let expected = wall_ms.to_be_bytes().iter().fold(0_u64, |sum, byte| sum + u64::from(*byte)) & 0xff;
    if mark != 0b10 || sum != expected {
        bail!("no bar code in the picture: {:064b}", number(&bits));
    }
    Ok(wall_ms)
}

fn built_in(picture: &[u8], width: usize, height: usize) -> Result<BuiltIn> {
    let row = picture.get((height - BUILT_IN_ROWS / 2) * width..).and_then(|rest| rest.get(..width));
    read_built_in_row(row.context("a picture without the rows of a bar code")?)
}

/// What a picture of the built-in camera says, by the luma of one row through the middle of its bar code.
pub fn read_built_in_row(row: &[u8]) -> Result<BuiltIn> {
    let bits = cells(row, row.len(), 0, BUILT_IN_CELLS);
    let bytes: Vec<u8> = bits.chunks(8).map(|byte| number(byte) as u8).collect();
    let (mut low, mut high) = (1_u64, 0_u64);
    for byte in &bytes[1..11] {
        low = (low + u64::from(*byte)) % 255;
        high = (high + low) % 255;
    }
    if bytes[0] != BUILT_IN_START || number(&bits[88..]) != high << 8 | low {
        bail!("no bar code in the picture: {bytes:02x?}");
    }
    Ok(BuiltIn { counter: number(&bits[8..40]), wall_ms: number(&bits[40..88]) })
}
