//! How results look: on a terminal, in a pipe, as documents. Results go to standard output, everything about how it went to
//! standard error. A closed pipe is an ordinary error here, never a panic.

pub(crate) mod document;
pub(crate) mod progress;
pub(crate) mod style;
pub(crate) mod table;

use std::io::{self, Write};

/// Nobody reads standard output any more: whoever did has seen enough.
#[derive(Debug)]
pub(crate) struct Unread;

impl std::fmt::Display for Unread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("nobody reads the output")
    }
}

impl std::error::Error for Unread {}

/// Marks an error of writing to standard output as [`Unread`] if it is that.
pub(crate) fn of_stdout(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::BrokenPipe { io::Error::new(error.kind(), Unread) } else { error }
}

/// What the global options decided about output.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    /// Say only what was asked for, and errors.
    pub(crate) quiet: bool,
}

impl Output {
    /// Writes a result to standard output.
    ///
    /// # Errors
    /// Those of writing; [`Unread`] if nobody reads it any more.
    pub(crate) fn print(self, text: &str) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(of_stdout)
    }

    /// Says something about how it goes on standard error, unless asked to be quiet. That nobody listens is no error.
    pub(crate) fn say(self, text: &str) {
        if !self.quiet {
            say_always(text);
        }
    }
}

/// Says something on standard error, in any case.
pub(crate) fn say_always(text: &str) {
    let line = format!("{text}\n");
    progress::suspended(|| {
        // Nobody listens: there is nobody to tell.
        let _ = io::stderr().lock().write_all(line.as_bytes());
    });
}

/// The width to wrap at: the terminal's, or 100 where there is none.
pub(crate) fn width() -> usize {
    let columns = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
    let terminal = || terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
    columns.or_else(terminal).unwrap_or(100).clamp(40, 400)
}
