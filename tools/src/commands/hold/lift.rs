//! `keha hold lift`: gives held footage back to the ring.

use super::SEE;
use super::document::HoldsDocument;
use crate::commands::channel::Channel;
use crate::failure::{Exit, Failure};
use crate::output::Output;
use crate::output::document;
use crate::volume_argument;
use anyhow::Context;
use jiff::tz::TimeZone;
use keha_fs::{HoldId, Uuid, Volume};

/// Arguments of `keha hold lift`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The volume, a path or partuuid:UUID (KEHA_VOLUME where it is left out), and the hold, as `keha hold list` shows it
    #[arg(value_name = "[VOLUME] ID", num_args = 1..=2, required = true)]
    words: Vec<String>,
    /// Print one JSON document: what was lifted
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, output: Output) -> anyhow::Result<Exit> {
    let (path, id) = volume_argument::path_and_word(&args.words, "hold")?;
    let id: Uuid = id.parse().map_err(|_| {
        Failure::usage(format!("{id:?} is no hold's ID: keha hold list {} shows them", path.display()))
    })?;
    let mut volume = Volume::open(&path)?;
    let document = HoldsDocument::new("keha.hold-lift/1", &volume, &path, Some(&[HoldId(id)]));
    let channel = Channel::open(&volume, &path, "hold")?;
    let lifted = channel.lift(HoldId(id));
    let closed = channel.close();
    lifted.map_err(|error| error.into_error("it is held as before", SEE))?;
    closed?;
    volume.refresh().context("lifted")?;
    let document = document.with_room(&volume);
    document::show(output, args.json, &document, || {
        format!("lifted:\n{}", document.text(&TimeZone::system()))
    })?;
    Ok(Exit::Done)
}
