//! Progress of long work and live lines: drawn on a terminal, absent in a pipe. Whatever else is said meanwhile goes through
//! [`suspended`], so that it never lands in the middle of a bar.

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::sync::OnceLock;

static DISPLAY: OnceLock<MultiProgress> = OnceLock::new();

/// The display that all bars share; standard error, hidden if that is no terminal.
pub(crate) fn display() -> &'static MultiProgress {
    DISPLAY.get_or_init(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr()))
}

/// Runs `write` with the bars out of the way.
pub(crate) fn suspended<T>(write: impl FnOnce() -> T) -> T {
    match DISPLAY.get() {
        Some(display) => display.suspend(write),
        None => write(),
    }
}

/// What a bar counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Bytes,
    Blocks,
}

/// A bar that appears with its first step.
pub(crate) struct Bar {
    what: &'static str,
    unit: Unit,
    bar: Option<ProgressBar>,
    quiet: bool,
}

impl Bar {
    /// A bar for `what`, never shown if `quiet`.
    pub(crate) fn new(what: &'static str, unit: Unit, quiet: bool) -> Bar {
        Bar { what, unit, bar: None, quiet }
    }

    /// `done` of `all` are done.
    pub(crate) fn set(&mut self, done: u64, all: u64) {
        if self.quiet {
            return;
        }
        let bar = self.bar.get_or_insert_with(|| {
            let bar = display().add(ProgressBar::new(all));
            let template = match self.unit {
                Unit::Bytes => "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}",
                Unit::Blocks => "{msg} {wide_bar} {pos}/{len} blocks {eta}",
            };
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            bar.set_message(self.what);
            bar
        });
        bar.set_length(all);
        bar.set_position(done);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
