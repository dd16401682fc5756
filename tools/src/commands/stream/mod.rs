//! `keha stream ...`: what a volume's streams are, and how long their footage stays. Changed by the process that records, asked
//! over its control socket, or by this one where nobody records; listed by anyone.

mod document;
mod list;
mod returning;
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
    /// Record a camera on its own volume again that went on on another one because that had failed
    Return(returning::Args),
}

pub(crate) fn run(command: &Command, output: Output) -> anyhow::Result<Exit> {
    match command {
        Command::List(args) => list::run(args, output),
        Command::Set(args) => set::run(args, output),
        Command::Return(args) => returning::run(args, output),
    }
}
