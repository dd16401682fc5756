//! Who decodes a picture, and how many at once.

use super::picture::{Codec, Picture};
use super::{Rgb, child, own};
use crate::error::{Error, Result};
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// How many pictures are decoded at once.
const AT_ONCE_MAX: usize = 2;
/// And how many wait for that at most: each keeps a thread.
const WAITING_MAX: usize = 8;
const PROGRAM: &str = "ffmpeg";

#[derive(Debug, Default)]
struct Turns {
    running: usize,
    waiting: usize,
}

/// The decoders that are there. Shared by all threads.
#[derive(Debug)]
pub struct Decoders {
    program: Option<PathBuf>,
    own: bool,
    timeout: Duration,
    turns: Mutex<Turns>,
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
        Decoders { program, own: true, timeout, turns: Mutex::default(), ended: Condvar::new() }
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
        let busy = || Error::Busy("too many snapshots are being made".to_owned());
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        if turns.running >= AT_ONCE_MAX && turns.waiting >= WAITING_MAX {
            return Err(busy());
        }
        turns.waiting += 1;
        let taken = |turns: &mut Turns| turns.running >= AT_ONCE_MAX;
        let waited = self.ended.wait_timeout_while(turns, self.timeout, taken);
        let (mut turns, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        turns.waiting -= 1;
        if waited.timed_out() {
            return Err(busy());
        }
        turns.running += 1;
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
        self.0.turns.lock().unwrap_or_else(PoisonError::into_inner).running -= 1;
        self.0.ended.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bounded_number_waits_for_a_turn_and_the_others_are_told_at_once() {
        // Nobody who waits gives up while this runs.
        let decoders = Decoders::with_program(None).with_timeout(Duration::from_secs(600));
        let turns: Vec<_> = (0..AT_ONCE_MAX).map(|_| decoders.turn().expect("a turn")).collect();
        std::thread::scope(|scope| {
            let waiting: Vec<_> =
                (0..WAITING_MAX).map(|_| scope.spawn(|| decoders.turn().map(drop))).collect();
            while decoders.turns.lock().expect("free").waiting < WAITING_MAX {
                std::thread::yield_now();
            }
            assert!(matches!(decoders.turn(), Err(Error::Busy(_))));
            drop(turns);
            assert!(waiting.into_iter().all(|one| one.join().expect("ended").is_ok()));
        });
        let impatient = decoders.with_timeout(Duration::ZERO);
        let _turns: Vec<_> = (0..AT_ONCE_MAX).map(|_| impatient.turn().expect("a turn")).collect();
        assert!(matches!(impatient.turn(), Err(Error::Busy(_))));
    }
}
