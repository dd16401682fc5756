//! `keha bench`: what Keha costs on this machine and this disk, as ratios to the least that any program would have to do there, in turns.

mod export;
mod figure;
mod scratch;
mod storage;

use crate::failure::Exit;
use crate::output::Output;

/// What is measured.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Storing: a scratch ring written as fast as it goes, beside a program that only copies, sums up and writes
    Storage(storage::Args),
    /// Exporting: a stream of a volume as Matroska, beside a plain copy of what comes of it
    Export(export::Args),
}

pub(crate) fn run(command: &Command, output: Output) -> anyhow::Result<Exit> {
    match command {
        Command::Storage(args) => storage::run(args, output),
        Command::Export(args) => export::run(args, output),
    }
}
