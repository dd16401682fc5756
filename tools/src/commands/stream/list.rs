//! `keha stream list`: the streams of a volume, and how long their footage stays. Reads only.

use super::document::StreamsDocument;
use crate::failure::Exit;
use crate::output::{Output, document};
use crate::volume_argument::ReportArguments;
use jiff::tz::TimeZone;
use keha_fs::Volume;

pub(super) fn run(args: &ReportArguments, output: Output) -> anyhow::Result<Exit> {
    let path = args.volume.path()?;
    let volume = Volume::open(&path)?;
    let document = StreamsDocument::new("keha.stream-list/1", &path, volume.info(), &volume.streams());
    document::show(output, args.json, &document, || document.text(&TimeZone::system()))?;
    Ok(Exit::Done)
}
