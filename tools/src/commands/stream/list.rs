//! `keha stream list`: the streams of a volume, and how long their footage stays. Reads only.

use super::document::StreamsDocument;
use crate::failure::Exit;
use crate::output::{Output, document};
use crate::volume_argument::VolumeArgument;
use jiff::tz::TimeZone;
use keha_fs::Volume;

/// Arguments of `keha stream list`.
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
    let document = StreamsDocument::new("keha.stream-list/1", &path, volume.info(), &volume.streams());
    if args.json {
        document::print(&document)?
    } else {
        output.print(&document.text(&TimeZone::system()))?
    }
    Ok(Exit::Done)
}
