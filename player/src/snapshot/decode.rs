//! Who decodes a picture, and how many at once.

use super::picture::{Codec, Picture};
use super::{Rgb, child, own};
use crate::error::{Error, Result};
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// How many pictures are decoded at once.
const AT_ONCE_MAX: usize = 2;
const PROGRAM: &str = "ffmpeg";

/// The decoders that are there. Shared by all threads.
#[derive(Debug)]
pub struct Decoders {
    program: Option<PathBuf>,
    own: bool,
    timeout: Duration,
    running: Mutex<usize>,
    ended: Condvar,
}

impl Decoders {
    /// The program `ffmpeg` of the `PATH`, and for H.264, where there is none, openh264 in this process.
    pub fn installed() -> Decoders {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let found =
            std::env::split_paths(&path).map(|folder| folder.join(PROGRAM)).find(|file| file.is_file());
        Decoders::with_program(found)
    }

    /// The same with a program that takes ffmpeg's arguments; `None`: without any.
    pub fn with_program(program: Option<PathBuf>) -> Decoders {
        let timeout = Duration::from_secs(5);
        Decoders { program, own: true, timeout, running: Mutex::new(0), ended: Condvar::new() }
    }

    /// The same, and never a decoder in this process.
    #[must_use]
    pub fn without_own(self) -> Decoders {
        Decoders { own: false, ..self }
    }

    /// The same with another time after which a picture is given up; 5 s without.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Decoders {
        Decoders { timeout, ..self }
    }

    /// The program that decodes, if there is one.
    pub fn program(&self) -> Option<&Path> {
        self.program.as_deref()
    }

    pub(super) fn decode(&self, picture: &Picture, size: (u16, u16)) -> Result<Rgb> {
        let _turn = self.turn()?;
        match (&self.program, picture.codec) {
            (Some(program), _) => child::decode(program, picture, size, self.timeout),
            (None, Codec::H264) if self.own => own::decode(picture, size),
            (None, Codec::H264) => Err(missing("H.264")),
            (None, Codec::H265) => Err(missing("H.265")),
        }
    }

    /// Waits until another picture may be decoded.
    fn turn(&self) -> Result<Turn<'_>> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let busy = |running: &mut usize| *running >= AT_ONCE_MAX;
        let waited = self.ended.wait_timeout_while(running, self.timeout, busy);
        let (mut running, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() {
            return Err(Error::Snapshot("too many are being made; try again later".to_owned()));
        }
        *running += 1;
        Ok(Turn(self))
    }
}

fn missing(codec: &'static str) -> Error {
    Error::NoDecoder { codec, program: PROGRAM.to_owned() }
}

/// The right to decode a picture, while it lives.
struct Turn<'a>(&'a Decoders);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *self.0.running.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        self.0.ended.notify_one();
    }
}
