//! Events in files of JSON lines: `events.jsonl`, and `events.1.jsonl` with those before it.
//!
//! A file that has reached its bound takes the place of the one before it. So there are always as many events on disk as one file has,
//! at most as many as two, and no file is ever rewritten.

use super::event::Event;
use super::log::KEPT_MAX;
use crate::error::{Error, Result};
use crate::state::put_aside;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The most bytes of a file; and the most events.
const FILE_BYTES_MAX: u64 = 16 << 20;
const FILE_EVENTS_MAX: usize = KEPT_MAX;
/// A longer line is none of ours.
const LINE_BYTES_MAX: usize = 64 << 10;

/// The file that is written.
pub(super) struct EventFile {
    current: PathBuf,
    before: PathBuf,
    file: Option<File>,
    bytes: u64,
    events: usize,
    /// What is wrong was said.
    told: bool,
}

impl EventFile {
    /// Opens it, and reads what it and the one before it hold. Neither need exist. One that cannot be read or written is put aside.
    pub(super) fn open(directory: &Path) -> Result<(EventFile, Vec<Event>)> {
        let (current, before) = (directory.join("events.jsonl"), directory.join("events.1.jsonl"));
        let failed = |op: &'static str, path: &Path| {
            let path = path.to_owned();
            move |source| Error::Io { op, path, source }
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(failed("make the directory of", &current))?;
        let mut events = read_or_put_aside(&before)?;
        let newer = read_or_put_aside(&current)?;
        let mut file = EventFile { current, before, file: None, bytes: 0, events: newer.len(), told: false };
        events.extend(newer);
        if let Err(error) = file.reopen() {
            put_aside(&file.current, &error)?;
            file.events = 0;
            file.reopen().map_err(failed("open", &file.current.clone()))?;
        }
        Ok((file, events))
    }

    /// Whether there may have been more events than the two files hold.
    pub(super) fn is_cut(&self) -> bool {
        self.before.exists()
    }

    /// Opens the current file behind whole lines: what a crash left of one is ended.
    fn reopen(&mut self) -> io::Result<()> {
        let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(&self.current)?;
        self.bytes = file.metadata()?.len();
        if self.bytes > 0 && last_byte(&self.current)? != Some(b'\n') {
            file.write_all(b"\n")?;
            self.bytes += 1;
        }
        self.file = Some(file);
        Ok(())
    }

    /// Writes an event. A failure is told once, in the server's log, and does not stop anything.
    pub(super) fn append(&mut self, event: &Event) {
        match self.try_append(event) {
            Ok(()) => self.told = false,
            Err(error) => {
                // The line may be half there: the next one must not be put behind it.
                self.file = None;
                if !std::mem::replace(&mut self.told, true) {
                    let path = self.current.display();
                    tracing::error!(%path, %error, "events cannot be written: check the disk of the state directory");
                }
            }
        }
    }

    fn try_append(&mut self, event: &Event) -> io::Result<()> {
        let mut line = serde_json::to_vec(event)?;
        line.push(b'\n');
        if self.file.is_none() {
            self.reopen()?;
        }
        if self.events >= FILE_EVENTS_MAX || self.bytes + line.len() as u64 > FILE_BYTES_MAX {
            self.file = None;
            std::fs::rename(&self.current, &self.before)?;
            self.events = 0;
            self.reopen()?;
        }
        if let Some(file) = &mut self.file {
            file.write_all(&line)?;
        }
        self.bytes += line.len() as u64;
        self.events += 1;
        Ok(())
    }
}

fn read_or_put_aside(path: &Path) -> Result<Vec<Event>> {
    read(path).or_else(|error| {
        put_aside(path, &error)?;
        Ok(Vec::new())
    })
}

/// The events of a file, with nothing of what is none.
fn read(path: &Path) -> io::Result<Vec<Event>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let (mut input, mut line, mut events) =
        (BufReader::new(file.take(2 * FILE_BYTES_MAX)), Vec::new(), Vec::new());
    while input.read_until(b'\n', &mut line)? > 0 {
        if line.len() <= LINE_BYTES_MAX
            && let Ok(event) = serde_json::from_slice(&line)
        {
            events.push(event);
        }
        line.clear();
    }
    Ok(events)
}

fn last_byte(path: &Path) -> io::Result<Option<u8>> {
    use std::os::unix::fs::FileExt;
    let file = File::open(path)?;
    let Some(last) = file.metadata()?.len().checked_sub(1) else { return Ok(None) };
    let mut byte = [0];
    file.read_exact_at(&mut byte, last)?;
    Ok(byte.first().copied())
}
