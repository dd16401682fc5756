//! `keha hold list`: what is held, and how much may be. Reads only.

use super::document::HoldsDocument;
use crate::failure::Exit;
use crate::output::Output;
use crate::output::document;
use crate::volume_argument::ReportArguments;
use jiff::tz::TimeZone;
use keha_fs::Volume;

pub(super) fn run(args: &ReportArguments, output: Output) -> anyhow::Result<Exit> {
    let path = args.volume.path()?;
    let volume = Volume::open(&path)?;
    let document = HoldsDocument::new("keha.hold-list/1", &volume, &path, None);
    document::show(output, args.json, &document, || document.text(&TimeZone::system()))?;
    Ok(if volume.hold_room().lost > 0 { Exit::Damaged } else { Exit::Done })
}
