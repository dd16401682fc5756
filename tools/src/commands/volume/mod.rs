//! `keha volume ...`: create volumes and look into them. Looking writes nothing and needs no lock: it works beside a
//! recorder, and on an image that is damaged or cut short. Only `check --repair` and `grow` write to what is there, and only
//! where nobody else does.

mod blocks;
mod check;
mod copy;
pub(super) mod create;
mod dump;
#[cfg(test)]
mod example;
mod findings;
mod grow;
mod info;
mod map;
mod partition;
mod repair;
pub(crate) mod scrub;
mod sessions;

use crate::failure::Exit;
use crate::output::Output;
use keha_fs::{StreamId, StreamName, StreamSummary, Volume};
use std::collections::HashMap;

/// The commands on volumes.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Create a volume: its whole size is set aside at once
    Create(create::Args),
    /// Show what a volume is and what it holds
    Info(info::Args),
    /// Draw the ring: which block holds whose footage
    Blocks(blocks::Args),
    /// Show what stands in a block, chunk by chunk
    Dump(dump::Args),
    /// Verify every live byte; with --repair, put right what describes the volume
    Check(check::Args),
    /// Take in what the volume's file or partition has become larger by, or make its file larger
    Grow(grow::Args),
    /// Copy footage whole into another volume
    Copy(copy::Args),
}

pub(crate) fn run(command: Command, output: Output) -> anyhow::Result<Exit> {
    match command {
        Command::Create(args) => create::run(&args, output),
        Command::Info(args) => info::run(&args, output),
        Command::Blocks(args) => blocks::run(&args, output),
        Command::Dump(args) => dump::run(&args, output),
        Command::Check(args) => check::run(&args, output),
        Command::Grow(args) => grow::run(&args, output),
        Command::Copy(args) => copy::run(&args, output),
    }
}

/// The streams that are asked for: all, or the one named.
fn streams(volume: &Volume, wanted: Option<&StreamName>) -> anyhow::Result<Vec<StreamSummary>> {
    Ok(match wanted {
        Some(name) => vec![volume.stream(name)?],
        None => volume.streams(),
    })
}

/// The names of a volume's streams by their identity.
fn names(volume: &Volume) -> HashMap<StreamId, StreamName> {
    volume.streams().into_iter().map(|stream| (stream.id, stream.name)).collect()
}

/// Says on standard error what opening a volume found damaged or missing; whether there was anything.
pub(crate) fn say_findings(volume: &Volume) -> bool {
    let names = names(volume);
    for finding in volume.findings() {
        crate::output::say_always(&format!("keha: {}", findings::line(finding, &names)));
    }
    !volume.findings().is_empty()
}

/// Whether the end of a volume is missing: nobody can say what else stood there.
pub(crate) fn is_cut_short(volume: &Volume) -> bool {
    volume.findings().iter().any(|finding| finding.what == "volume")
}

/// Reads a stream's name for the parser of the command line.
pub(crate) fn parse_stream(text: &str) -> Result<StreamName, String> {
    StreamName::new(text).map_err(|error| error.to_string())
}
