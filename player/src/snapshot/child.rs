//! Decoding in a process of its own: bytes in, one picture out, nothing else. No shell, no environment, no files.

use super::picture::{Codec, Picture};
use super::{PIXELS_MAX, Rgb};
use crate::error::{Error, Result};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

/// The most bytes that the program may take at once: a picture of the largest size, and again as much.
const ALLOCATED_MAX: u64 = 256 << 20;
/// How much of what the program says about a failure is told.
const SAID_MAX: u64 = 300;

/// Decodes a picture and makes it of this size.
pub(super) fn decode(
    program: &Path,
    picture: &Picture,
    (width, height): (u16, u16),
    timeout: Duration,
) -> Result<Rgb> {
    let expected = usize::from(width) * usize::from(height) * 3;
    let mut running = Running(start(program, picture.codec, (width, height))?);
    let child = &mut running.0;
    let (input, output, said) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (send, receive) = channel();
    thread::scope(|scope| {
        // Both ends at once: a pipe holds less than a picture.
        scope.spawn(move || input.map(|mut input| input.write_all(&picture.bytes)));
        let said = scope.spawn(move || text(said));
        scope.spawn(move || {
            let mut data = Vec::with_capacity(expected);
            let read = output.map(|output| output.take(expected as u64 + 1).read_to_end(&mut data));
            // Nobody waits any more where it took too long.
            drop(send.send(read.and_then(|read| read.ok()).map(|_| data)));
        });
        let answer = receive.recv_timeout(timeout);
        // Ends the threads too: their pipes break.
        drop(running);
        match answer {
            Ok(Some(data)) if data.len() == expected => Ok(Rgb { data, width, height }),
            Ok(_) => {
                let said = said.join().unwrap_or_default();
                Err(Error::Snapshot(format!("the picture does not decode: {}", said.trim())))
            }
            Err(_) => {
                let text =
                    format!("decoding took over {} s and was stopped; try again later", timeout.as_secs());
                Err(Error::Snapshot(text))
            }
        }
    })
}

fn start(program: &Path, codec: Codec, (width, height): (u16, u16)) -> Result<Child> {
    let format = match codec {
        Codec::H264 => "h264",
        Codec::H265 => "hevc",
    };
    let filter = format!("scale={width}:{height}:flags=area,format=rgb24");
    let mut command = Command::new(program);
    command.args(["-v", "error", "-hide_banner", "-nostdin", "-max_alloc", &ALLOCATED_MAX.to_string()]);
    command.args(["-protocol_whitelist", "pipe", "-threads", "1", "-max_pixels", &PIXELS_MAX.to_string()]);
    command.args([
        "-f",
        format,
        "-i",
        "pipe:0",
        "-frames:v",
        "1",
        "-vf",
        &filter,
        "-f",
        "rawvideo",
        "pipe:1",
    ]);
    command.env_clear().current_dir("/").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().map_err(|source| Error::Io { operation: "run", path: program.to_owned(), source })
}

fn text(said: Option<std::process::ChildStderr>) -> String {
    let mut text = Vec::new();
    if let Some(mut said) = said {
        let read = said.by_ref().take(SAID_MAX).read_to_end(&mut text);
        // What comes after is passed over, so that the program does not wait for it to be read.
        drop(read.and_then(|_| std::io::copy(&mut said, &mut std::io::sink())));
    }
    String::from_utf8_lossy(&text).replace(|letter: char| letter.is_control(), " ")
}

/// A program that ends when nobody waits for it any more.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself; either way it must be waited for.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
