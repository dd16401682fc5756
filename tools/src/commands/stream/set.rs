//! `keha stream set`: says how long the footage of a stream stays.

use super::document::StreamsDocument;
use crate::commands::channel::Channel;
use crate::commands::volume::parse_stream;
use crate::failure::{Exit, Failure};
use crate::output::{Output, document};
use crate::units::retention::{Wanted, parse_age, parse_quota};
use crate::volume_argument;
use jiff::tz::TimeZone;
use keha_fs::{RetentionRequest, Volume};

/// Arguments of `keha stream set`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "What is not given stays as it is. The settings survive any crash when this command ends; a recorder that was \
                  started with other ones in its --cameras file sets those again when it starts."
)]
pub(crate) struct Args {
    /// The volume, a path or partuuid:UUID (KEHA_VOLUME where it is left out), and the stream: the camera's name, or camera/sub
    #[arg(value_name = "[VOLUME] NAME", num_args = 1..=2, required = true)]
    words: Vec<String>,
    /// Blocks of the volume that it may take, such as 100GiB, or none; what is held does not count
    #[arg(long, value_name = "SIZE", value_parser = parse_quota)]
    quota: Option<u64>,
    /// Overwrite what is younger than this last, such as 7d, or none
    #[arg(long, value_name = "D", value_parser = parse_age)]
    min_age: Option<u64>,
    /// Give nobody what is older than this, and overwrite it, such as 30d, or none
    #[arg(long, value_name = "D", value_parser = parse_age)]
    max_age: Option<u64>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, output: Output) -> anyhow::Result<Exit> {
    let (path, name) = volume_argument::path_and_word(&args.words, "stream")?;
    let wanted = Wanted { quota_bytes: args.quota, minimum_age_s: args.min_age, maximum_age_s: args.max_age };
    if !wanted.is_any() {
        return Err(Failure::usage("nothing to set: give --quota, --min-age or --max-age"));
    }
    let stream = parse_stream(name).map_err(Failure::usage)?;
    let mut volume = Volume::open(&path)?;
    let retention = wanted.over(volume.stream(&stream)?.retention);
    if let Some(why) = retention.invalid(volume.info().block_bytes) {
        return Err(Failure::usage(why));
    }
    let channel = Channel::open(&volume, &path, "stream set")?;
    let set = channel.set_retention(&RetentionRequest { stream: stream.clone(), retention });
    let closed = channel.close();
    set.map_err(|error| error.into_error("it is as it was", "keha stream list"))?;
    closed?;
    volume.refresh()?;
    let now = [volume.stream(&stream)?];
    let document = StreamsDocument::new("keha.stream-set/1", &path, volume.info(), &now);
    document::show(output, args.json, &document, || document.text(&TimeZone::system()))?;
    Ok(Exit::Done)
}
