//! `keha stream ...`: what a volume's streams are, and how long their footage stays. Changed by the process that records, asked
//! over its control socket, or by this one where nobody records; listed by anyone.

mod document;
mod list;
mod set;

use crate::failure::Exit;
use crate::output::Output;

/// The commands on streams.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Show the streams, and how long their footage stays
    List(crate::volume_argument::ReportArguments),
    /// Say how long the footage of a stream stays: quota, minimum and maximum age
    Set(set::Args),
}

pub(crate) fn run(command: &Command, output: Output) -> anyhow::Result<Exit> {
    match command {
        Command::List(args) => list::run(args, output),
        Command::Set(args) => set::run(args, output),
    }
}
