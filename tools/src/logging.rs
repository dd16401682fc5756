//! The log: to standard error, as text or one JSON document a line, every line masked.

use crate::output::{progress, style};
use crate::secret;
use std::io::{self, Write};
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

/// Begins logging. `KEHA_LOG` overrides the options, in the syntax of tracing's directives (`keha_recorder=debug,warn`).
pub(crate) fn start(verbose: u8, quiet: bool, format: LogFormat) {
    let level = match (quiet, verbose) {
        (true, _) => "error",
        (false, 0) => "warn",
        (false, 1) => "warn,keha=info,keha_fs=info,keha_recorder=info,keha_player=info",
        (false, 2) => "info,keha=debug,keha_fs=debug,keha_recorder=debug,keha_player=debug",
        (false, _) => "debug,keha=trace,keha_fs=trace,keha_recorder=trace,keha_player=trace",
    };
    let filter = EnvFilter::try_from_env("KEHA_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(Masked);
    // A second subscriber in one process happens in tests only, and the first one serves them as well.
    let _ = match format {
        LogFormat::Text => builder.with_ansi(style::stderr_takes_colour()).try_init().is_ok(),
        LogFormat::Json => builder.json().flatten_event(true).try_init().is_ok(),
    };
}

/// Standard error behind the mask.
struct Masked;

impl<'a> MakeWriter<'a> for Masked {
    type Writer = MaskedLine;

    fn make_writer(&'a self) -> MaskedLine {
        MaskedLine(Vec::new())
    }
}

/// One line of the log; it is written when it is whole, so that no secret slips through between two pieces.
struct MaskedLine(Vec<u8>);

impl Write for MaskedLine {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for MaskedLine {
    fn drop(&mut self) {
        let text = String::from_utf8_lossy(&self.0);
        let masked = secret::mask(&text);
        progress::suspended(|| {
            // A log that nobody reads is no reason to stop.
            let _ = io::stderr().lock().write_all(masked.as_bytes());
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_log_is_held_until_it_is_whole() {
        let mut line = MaskedLine(Vec::new());
        line.write_all(b"rtsp://u:pa").expect("memory");
        line.write_all(b"ss@h").expect("memory");
        assert_eq!(secret::mask(&String::from_utf8_lossy(&line.0)), "rtsp://u:***@h");
    }
}
