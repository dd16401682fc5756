//! The log: to standard error, as text or one JSON document a line, every line masked.
//!
//! Whoever logs never waits: a thread of its own writes the lines. A terminal that was stopped, or a pipe that nobody empties,
//! costs lines once a bounded number of them waits, not footage.

use crate::output::{progress, style};
use crate::secret;
use std::io::{self, Write};
pub(crate) use tracing_appender::non_blocking::WorkerGuard as LogGuard;
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// How the log looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON document a line.
    Json,
}

/// Lines that may wait for whoever reads them; further ones are left out.
const LINES: usize = 4096;

/// Begins logging; what waits is written when the guard is dropped. `KEHA_LOG` overrides the options, in the syntax of tracing's directives (`keha_recorder=debug,warn`).
pub(crate) fn start(verbose: u8, quiet: bool, format: LogFormat) -> LogGuard {
    let level = match (quiet, verbose) {
        (true, _) => "error",
        (false, 0) => "warn",
        (false, 1) => "warn,keha=info,keha_fs=info,keha_recorder=info,keha_player=info,keha_api=info",
        (false, 2) => "info,keha=debug,keha_fs=debug,keha_recorder=debug,keha_player=debug,keha_api=debug",
        (false, _) => "debug,keha=trace,keha_fs=trace,keha_recorder=trace,keha_player=trace,keha_api=trace",
    };
    let filter = EnvFilter::try_from_env("KEHA_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    let (lines, guard) = NonBlockingBuilder::default()
        .buffered_lines_limit(LINES)
        .lossy(true)
        .thread_name("log")
        .finish(StandardError);
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(Masked(lines));
    // A second subscriber in one process happens in tests only, and the first one serves them as well.
    let _ = match format {
        LogFormat::Text => builder.with_ansi(style::stderr_takes_colour()).try_init().is_ok(),
        LogFormat::Json => builder.json().flatten_event(true).try_init().is_ok(),
    };
    guard
}

/// Standard error, with the live lines out of the way.
struct StandardError;

impl Write for StandardError {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        progress::suspended(|| io::stderr().lock().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The way to the log behind the mask.
struct Masked(NonBlocking);

impl<'a> MakeWriter<'a> for Masked {
    type Writer = MaskedLine;

    fn make_writer(&'a self) -> MaskedLine {
        MaskedLine { text: Vec::new(), lines: self.0.clone() }
    }
}

/// One line of the log; it is written when it is whole, so that no secret slips through between two pieces.
struct MaskedLine {
    text: Vec<u8>,
    lines: NonBlocking,
}

impl Write for MaskedLine {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for MaskedLine {
    fn drop(&mut self) {
        let text = String::from_utf8_lossy(&self.text);
        // A log that nobody reads is no reason to stop.
        let _ = self.lines.write_all(secret::mask(&text).as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, Sender, channel};

    /// Writes nothing before it is told to.
    struct Stuck {
        go_on: Receiver<()>,
        written: Sender<Vec<u8>>,
    }

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.go_on.recv();
            let _ = self.written.send(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_goes_out_whole_and_masked_and_whoever_logs_never_waits() {
        let (go, go_on) = channel();
        let (sender, written) = channel();
        let (lines, guard) = NonBlockingBuilder::default()
            .buffered_lines_limit(4)
            .lossy(true)
            .finish(Stuck { go_on, written: sender });
        let masked = Masked(lines);
        for _ in 0..100 {
            let mut line = masked.make_writer();
            line.write_all(b"rtsp://u:pa").expect("memory");
            line.write_all(b"ss@h\n").expect("memory");
        }
        drop(go);
        let first = written.recv().expect("a line");
        assert_eq!(String::from_utf8_lossy(&first), "rtsp://u:***@h\n");
        drop(guard);
    }
}
