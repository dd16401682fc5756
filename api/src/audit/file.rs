//! The files of the audit log: a line at a time, on a thread of its own, so that no request waits for the disk.
//!
//! What is on its way is bounded: of more, lines are left out, and the server's own log tells how many. A day's file is bounded, too:
//! the line that says so is its last.

use crate::error::{Error, Result};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use tracing_appender::rolling::{RollingFileAppender, Rotation};

/// How many days are kept.
const DAYS: usize = 400;
/// So many lines may wait for the disk.
const WAITING_MAX: usize = 4096;

/// Where lines go.
pub(super) struct AuditFile {
    lines: Option<SyncSender<Vec<u8>>>,
    lost: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl AuditFile {
    /// The files in a directory, of at most so many bytes each.
    ///
    /// # Errors
    /// Where they cannot be written.
    pub(super) fn open(directory: &Path, day_bytes_max: u64) -> Result<AuditFile> {
        let failed = |why: String| Error::Io {
            op: "write the audit log in",
            path: directory.to_owned(),
            source: std::io::Error::other(why),
        };
        let file = RollingFileAppender::builder()
            .rotation(Rotation::DAILY)
            .filename_prefix("audit")
            .filename_suffix("jsonl")
            .max_log_files(DAYS)
            .build(directory)
            .map_err(|error| failed(error.to_string()))?;
        let day = today();
        let path = directory.join(format!("audit.{day}.jsonl"));
        let bytes = std::fs::metadata(path).map_or(0, |metadata| metadata.len());
        let writer = Writer { file, day, bytes, day_bytes_max, full: false, failing: false };
        let (lines, waiting) = sync_channel(WAITING_MAX);
        let lost = Arc::new(AtomicU64::new(0));
        let told = Arc::clone(&lost);
        let thread = std::thread::Builder::new().name("keha-audit".to_owned());
        let thread = thread.spawn(move || writer.run(&waiting, &told)).map_err(|e| failed(e.to_string()))?;
        Ok(AuditFile { lines: Some(lines), lost, thread: Some(thread) })
    }

    /// Notes a line. Does not wait.
    pub(super) fn append(&self, line: Vec<u8>) {
        let sent = self.lines.as_ref().map(|lines| lines.try_send(line));
        if !matches!(sent, Some(Ok(()))) {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// What was noted is written before it is gone.
impl Drop for AuditFile {
    fn drop(&mut self) {
        drop(self.lines.take());
        let _ended = self.thread.take().map(JoinHandle::join);
    }
}

struct Writer {
    file: RollingFileAppender,
    day: String,
    bytes: u64,
    day_bytes_max: u64,
    /// Of this day nothing more is written.
    full: bool,
    failing: bool,
}

impl Writer {
    fn run(mut self, lines: &Receiver<Vec<u8>>, lost: &AtomicU64) {
        while let Ok(line) = lines.recv() {
            let lost = lost.swap(0, Ordering::Relaxed);
            if lost > 0 {
                tracing::error!(lost, "lines of the audit log were left out: the disk did not keep up");
            }
            self.line(&line);
        }
    }

    fn line(&mut self, line: &[u8]) {
        let today = today();
        if today != self.day {
            (self.day, self.bytes, self.full) = (today, 0, false);
        }
        if self.full {
            return;
        }
        if self.bytes.saturating_add(line.len() as u64) > self.day_bytes_max {
            self.full = true;
            tracing::error!("the audit log of this day is full: nothing more is noted until tomorrow");
            let last = format!("{{\"time\":\"{}\",\"full\":true}}\n", Timestamp::now());
            return self.write(last.as_bytes());
        }
        self.write(line);
    }

    fn write(&mut self, line: &[u8]) {
        self.bytes = self.bytes.saturating_add(line.len() as u64);
        let written = self.file.write_all(line);
        if let Err(error) = &written
            && !self.failing
        {
            tracing::error!(%error, "the audit log cannot be written");
        }
        self.failing = written.is_err();
    }
}

/// The day by which files are named.
fn today() -> String {
    Timestamp::now().to_zoned(TimeZone::UTC).date().to_string()
}

#[cfg(test)]
mod tests {
    use super::AuditFile;

    #[test]
    fn a_days_file_is_bounded_and_says_so_once_at_its_end() {
        let directory = tempfile::tempdir().expect("a directory");
        for _ in 0..2 {
            let file = AuditFile::open(directory.path(), 1000).expect("a log");
            (0..100).for_each(|_| file.append(b"{\"line\":\"of thirty-two bytes..\"}\n".to_vec()));
        }
        let files = std::fs::read_dir(directory.path()).expect("files");
        let texts: Vec<String> =
            files.map(|file| std::fs::read_to_string(file.expect("a file").path()).expect("text")).collect();
        let text = texts.first().expect("one day");
        assert!(text.len() < 1100, "{}", text.len());
        assert!(
            text.lines().nth(20).is_some() && text.lines().last().is_some_and(|line| line.contains("full"))
        );
    }
}
