//! The `keha` command: parses, dispatches, and turns what comes back into an exit status and at most one line of error.
//!
//! It composes the other crates and holds no logic of theirs.
#![forbid(unsafe_code)]

mod cli;
mod commands;
mod config;
mod control;
mod failure;
mod logging;
mod opener;
mod output;
mod process;
mod recording;
mod room;
mod secret;
mod serve;
mod units;
mod volume_argument;

use clap::Parser;
use failure::Exit;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::Write;
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::process::ExitCode;

/// Recording keeps a second of packets and lets them go, every second. This allocator keeps their pages for the next one;
/// giving them back and faulting them in again was a quarter of what recording cost (docs/decisions/0005-allocator.md).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    panic::set_hook(Box::new(tell_of_panic));
    // A panic unwinds through whatever cleans up behind itself, and has an exit status that is in the manual.
    panic::catch_unwind(AssertUnwindSafe(run)).unwrap_or(ExitCode::from(Exit::Failed as u8))
}

fn run() -> ExitCode {
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(answer) => return ExitCode::from(answer_of_parser(&answer) as u8),
    };
    let (output, _log) = cli.global.apply();
    let exit = commands::run(cli.command, output).unwrap_or_else(|error| {
        let exit = failure::exit_of(&error);
        // That whoever read the output has seen enough is no error.
        if exit != Exit::Done {
            output::say_always(&format!("keha: {}", failure::line_of(&error)));
        }
        exit
    });
    ExitCode::from(exit as u8)
}

/// One line without secrets on standard error; behind it a backtrace, where one was asked for. Past the display of progress,
/// which may be what failed.
fn tell_of_panic(panic: &PanicHookInfo<'_>) {
    let backtrace = Backtrace::capture();
    let mut text =
        format!("keha: a fault in the program: {}\n", failure::one_line(&secret::mask(&panic.to_string())));
    if backtrace.status() == BacktraceStatus::Captured {
        text.push_str(&format!("{backtrace}"));
    }
    // Nobody listens: there is nobody to tell.
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// Help and version go to standard output, complaints to standard error.
fn answer_of_parser(answer: &clap::Error) -> Exit {
    if answer.use_stderr() {
        output::say_always(&format!("keha: {}", cli::complaint(answer)));
        return Exit::Usage;
    }
    match answer.print() {
        Ok(()) => Exit::Done,
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Exit::Done,
        Err(_) => Exit::Failed,
    }
}
