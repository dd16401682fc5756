//! `keha hold list`: what is held, and how much may be. Reads only.

use super::document::HoldsDocument;
use crate::failure::Exit;
use crate::output::Output;
use crate::output::document;
use crate::volume_argument::VolumeArgument;
use jiff::tz::TimeZone;
use keha_fs::Volume;

/// Arguments of `keha hold list`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    volume: VolumeArgument,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, output: Output) -> anyhow::Result<Exit> {
    let path = args.volume.path()?;
    let volume = Volume::open(&path)?;
    let document = HoldsDocument::new("keha.hold-list/1", &volume, &path, None);
    if args.json {
        document::print(&document)?
    } else {
        output.print(&document.text(&TimeZone::system()))?
    }
    Ok(if volume.hold_room().lost > 0 { Exit::Damaged } else { Exit::Done })
}
