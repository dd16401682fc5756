//! The files of the audit log: a line at a time, on a thread of its own, so that no request waits for the disk.
//!
//! What is on its way is bounded: of more, lines are left out, and the server's own log tells how many. A day's file is bounded, too. What
//! was done and what was refused have one half of each bound: neither takes the other's. The line that says that a half is full is the
//! last of its kind on that day, also where the server is started again.

use crate::error::{Error, Result};
use crate::state::put_aside;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use tracing_appender::rolling::{RollingFileAppender, Rotation};

/// How many days are kept.
const DAYS: usize = 400;
/// So many lines of a kind may wait for the disk.
const WAITING_MAX: usize = 2048;

/// What a line tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Something was done, or given.
    Done,
    /// It was refused, or failed.
    Refused,
}

impl Kind {
    /// By the status (RFC 9110, section 15) with which it was answered.
    pub(super) fn of(status: u16) -> Kind {
        if status < 400 { Kind::Done } else { Kind::Refused }
    }

    /// That of a line of a file, and whether it says that there is no more of it. What no line is counts as one that was refused.
    fn of_line(line: &[u8]) -> (Kind, bool) {
        let full =
            [Kind::Done, Kind::Refused].into_iter().find(|kind| line.ends_with(kind.full().as_bytes()));
        if let Some(full) = full {
            return (full, true);
        }
        let status = b"\"status\":";
        let at = line.windows(status.len()).rposition(|window| window == status);
        let digit = at.and_then(|at| line.get(at + status.len()));
        (if matches!(digit, Some(b'1'..=b'3')) { Kind::Done } else { Kind::Refused }, false)
    }

    /// How the last line of a day ends. In what clients write quotes are escaped: no other line ends so.
    fn full(self) -> String {
        format!("\"full\":true,\"of\":\"{}\"}}", self.name())
    }

    fn name(self) -> &'static str {
        match self {
            Kind::Done => "done",
            Kind::Refused => "refused",
        }
    }
}

/// What there is of each kind.
#[derive(Clone, Copy, Debug, Default)]
struct Each<T> {
    done: T,
    refused: T,
}

impl<T> Each<T> {
    fn of(&self, kind: Kind) -> &T {
        match kind {
            Kind::Done => &self.done,
            Kind::Refused => &self.refused,
        }
    }

    fn of_mut(&mut self, kind: Kind) -> &mut T {
        match kind {
            Kind::Done => &mut self.done,
            Kind::Refused => &mut self.refused,
        }
    }
}

/// Where lines go.
pub(super) struct AuditFile {
    lines: Option<SyncSender<(Kind, Vec<u8>)>>,
    counts: Arc<Counts>,
    thread: Option<JoinHandle<()>>,
}

/// What waits for the disk, and what did not find room there.
#[derive(Default)]
struct Counts {
    waiting: Each<AtomicUsize>,
    lost: AtomicU64,
}

impl AuditFile {
    /// The files in a directory, of at most so many bytes each. Today's, where it cannot be opened, is put aside.
    ///
    /// # Errors
    /// Where they cannot be written.
    pub(super) fn open(directory: &Path, day_bytes_max: u64) -> Result<AuditFile> {
        let failed = |why: String| Error::Io {
            op: "write the audit log in",
            path: directory.to_owned(),
            source: io::Error::other(why),
        };
        let appender = || {
            RollingFileAppender::builder()
                .rotation(Rotation::DAILY)
                .filename_prefix("audit")
                .filename_suffix("jsonl")
                .max_log_files(DAYS)
                .build(directory)
        };
        let day = today();
        let path = directory.join(format!("audit.{day}.jsonl"));
        let file = match appender() {
            Err(error) if path.symlink_metadata().is_ok() => {
                put_aside(&path, &error)?;
                appender()
            }
            opened => opened,
        };
        let file = file.map_err(|error| failed(error.to_string()))?;
        let known = written(&path);
        let (bytes, full) = known.unwrap_or_else(|error| {
            tracing::warn!(%error, "what is in today's audit log is not counted");
            <(Each<u64>, Each<bool>)>::default()
        });
        let kind_bytes_max = day_bytes_max / 2;
        let writer = Writer { file, day, bytes, kind_bytes_max, full, failing: false };
        let (lines, waiting) = sync_channel(2 * WAITING_MAX);
        let counts = Arc::new(Counts::default());
        let shared = Arc::clone(&counts);
        let thread = std::thread::Builder::new().name("keha-audit".to_owned());
        let thread =
            thread.spawn(move || writer.run(&waiting, &shared)).map_err(|e| failed(e.to_string()))?;
        Ok(AuditFile { lines: Some(lines), counts, thread: Some(thread) })
    }

    /// Notes a line. Does not wait.
    pub(super) fn append(&self, kind: Kind, line: Vec<u8>) {
        let waiting = self.counts.waiting.of(kind);
        let has_room = waiting.fetch_add(1, Ordering::Relaxed) < WAITING_MAX;
        let sent = self.lines.as_ref().filter(|_| has_room).map(|lines| lines.try_send((kind, line)));
        if !matches!(sent, Some(Ok(()))) {
            waiting.fetch_sub(1, Ordering::Relaxed);
            self.counts.lost.fetch_add(1, Ordering::Relaxed);
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

/// How many bytes of each kind a file has, and whether it says that there are no more; it need not exist.
fn written(path: &Path) -> io::Result<(Each<u64>, Each<bool>)> {
    let (mut bytes, mut full) = (Each::default(), Each::default());
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((bytes, full)),
        opened => opened?,
    };
    for line in BufReader::new(file).split(b'\n') {
        let line = line?;
        let (kind, is_last) = Kind::of_line(&line);
        *bytes.of_mut(kind) += line.len() as u64 + 1;
        *full.of_mut(kind) |= is_last;
    }
    Ok((bytes, full))
}

struct Writer {
    file: RollingFileAppender,
    day: String,
    bytes: Each<u64>,
    kind_bytes_max: u64,
    /// Of this day nothing more of a kind is written.
    full: Each<bool>,
    failing: bool,
}

impl Writer {
    fn run(mut self, lines: &Receiver<(Kind, Vec<u8>)>, counts: &Counts) {
        while let Ok((kind, line)) = lines.recv() {
            counts.waiting.of(kind).fetch_sub(1, Ordering::Relaxed);
            let lost = counts.lost.swap(0, Ordering::Relaxed);
            if lost > 0 {
                tracing::error!(lost, "lines of the audit log were left out: the disk did not keep up");
            }
            self.line(kind, &line);
        }
    }

    fn line(&mut self, kind: Kind, line: &[u8]) {
        let today = today();
        if today != self.day {
            (self.day, self.bytes, self.full) = (today, Each::default(), Each::default());
        }
        if *self.full.of(kind) {
            return;
        }
        if self.bytes.of(kind).saturating_add(line.len() as u64) > self.kind_bytes_max {
            *self.full.of_mut(kind) = true;
            let of = kind.name();
            tracing::error!(
                of,
                "the audit log of this day is full: nothing more of this kind is noted until tomorrow"
            );
            let last = format!("{{\"time\":\"{}\",{}\n", Timestamp::now(), kind.full());
            return self.write(kind, last.as_bytes());
        }
        self.write(kind, line);
    }

    fn write(&mut self, kind: Kind, line: &[u8]) {
        let bytes = self.bytes.of_mut(kind);
        *bytes = bytes.saturating_add(line.len() as u64);
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
    use super::{AuditFile, Kind};
    use std::path::Path;

    /// What is in the file of the day.
    fn text(directory: &Path) -> String {
        let mut files = std::fs::read_dir(directory).expect("files");
        let file = files.next().expect("one day").expect("a file");
        std::fs::read_to_string(file.path()).expect("text")
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_put_aside() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join(format!("audit.{}.jsonl", super::today()));
        std::fs::create_dir(&path).expect("made");
        let file = AuditFile::open(directory.path(), 2000).expect("a log");
        file.append(Kind::Done, b"{\"status\":201}\n".to_vec());
        drop(file);
        assert!(std::fs::read_to_string(&path).expect("a file").contains("201"));
        assert!(path.with_extension("jsonl.damaged-1").is_dir());
    }

    /// Who is refused without end took all of the day's bytes, and nothing that was done was noted any more; and the other way round.
    #[test]
    fn a_days_file_is_bounded_says_so_once_and_neither_kind_pushes_out_the_other() {
        let directory = tempfile::tempdir().expect("a directory");
        for _ in 0..2 {
            let file = AuditFile::open(directory.path(), 2000).expect("a log");
            (0..100).for_each(|_| {
                file.append(Kind::Refused, b"{\"line\":\"refused\",\"status\":403}\n".to_vec())
            });
            (0..5).for_each(|_| file.append(Kind::Done, b"{\"line\":\"done\",\"status\":201}\n".to_vec()));
        }
        let text = text(directory.path());
        assert!(text.len() < 1600, "{}", text.len());
        let of = |says: &str| text.lines().filter(|line| line.contains(says)).count();
        assert!(of("\"refused\",\"status") >= 20 && of("\"done\",\"status") == 10, "{text}");
        assert!(of("\"full\":true,\"of\":\"refused\"") == 1 && of("\"of\":\"done\"") == 0, "{text}");
    }

    /// A server that was started again wrote shorter lines behind the one that is to be the last, and that one again.
    #[test]
    fn a_kind_that_is_full_stays_so_when_the_server_is_started_again_and_takes_nothing_of_the_other() {
        for (kind, status, other) in [(Kind::Done, 201, Kind::Refused), (Kind::Refused, 403, Kind::Done)] {
            let directory = tempfile::tempdir().expect("a directory");
            let line = |path: &str| format!("{{\"path\":\"{path}\",\"status\":{status}}}\n").into_bytes();
            // The second does not fit; the third would, also behind the line that says so.
            for path in ["x".repeat(875), "y".repeat(105), String::new(), "z".repeat(105)] {
                AuditFile::open(directory.path(), 2000).expect("a log").append(kind, line(&path));
            }
            let told = text(directory.path());
            assert_eq!(told.lines().count(), 2, "{told}");
            assert!(told.trim_end().ends_with(&kind.full()), "{told}");
            let known = super::written(&directory.path().join(format!("audit.{}.jsonl", super::today())));
            let (bytes, full) = known.expect("readable");
            assert!(*full.of(kind) && !*full.of(other) && *bytes.of(other) == 0, "{bytes:?} {full:?}");
            assert_eq!(*bytes.of(kind), told.len() as u64);
        }
    }
}
