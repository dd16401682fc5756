//! `keha volume dump`: what stands in a block, chunk by chunk.

use super::say_findings;
use crate::failure::{Exit, Failure};
use crate::output::Output;
use crate::output::document;
use crate::volume_argument::VolumeArgument;
use keha_fs::{BlockDump, BlockIndex, Volume};
use serde::Serialize;

/// Arguments of `keha volume dump`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    volume: VolumeArgument,
    /// The block's number, from 0
    #[arg(long, value_name = "N")]
    block: u32,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Document {
    schema: &'static str,
    block: u32,
    lines: Vec<String>,
    damaged: bool,
}

pub(crate) fn run(args: &Args, output: Output) -> anyhow::Result<Exit> {
    let volume = Volume::open(&args.volume.path()?)?;
    let blocks = volume.info().blocks;
    if args.block >= blocks {
        return Err(Failure::usage(format!(
            "--block {}: the volume has blocks 0 to {}",
            args.block,
            blocks.saturating_sub(1)
        )));
    }
    let BlockDump { lines, damaged } = volume.dump(BlockIndex(args.block))?;
    if args.json {
        document::print(&Document { schema: "keha.volume-dump/1", block: args.block, lines, damaged })?;
    } else {
        output.print(&(lines.join("\n") + "\n"))?;
    }
    Ok(if say_findings(&volume) || damaged { Exit::Damaged } else { Exit::Done })
}
