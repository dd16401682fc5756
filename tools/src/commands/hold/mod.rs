//! `keha hold ...`: evidence holds. Made and lifted by the process that records, asked over its control socket, or by this one
//! where nobody records; listed by anyone.

mod add;
pub(crate) mod document;
mod lift;
mod list;

use crate::failure::Exit;
use crate::output::Output;

/// What shows which holds stand.
const SEE: &str = "keha hold list";

/// The commands on holds.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Hold a range of footage: it is not overwritten until the hold is lifted or expires
    Add(add::Args),
    /// Show what is held, and how much may be
    List(crate::volume_argument::ReportArguments),
    /// Lift holds: their footage is overwritten in its turn
    Lift(lift::Args),
}

pub(crate) fn run(command: &Command, output: Output) -> anyhow::Result<Exit> {
    match command {
        Command::Add(args) => add::run(args, output),
        Command::List(args) => list::run(args, output),
        Command::Lift(args) => lift::run(args, output),
    }
}
