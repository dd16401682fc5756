//! `keha hold add`: holds a range of one stream or several. All of them, or none.

use super::SEE;
use super::document::HoldsDocument;
use crate::commands::channel::Channel;
use crate::commands::volume::parse_stream;
use crate::failure::{self, Exit, Failure};
use crate::output::Output;
use crate::output::document;
use crate::units::range::RangeArguments;
use crate::units::{duration, range, time};
use crate::volume_argument::VolumeArgument;
use anyhow::Context;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use keha_fs::{HoldId, HoldRequest, StreamName, TimeRange, Volume, WallTime};

/// Arguments of `keha hold add`.
#[derive(Debug, clap::Args)]
#[command(after_help = format!("T is {}. A range may reach into the future. The hold stands when this command ends.", time::HELP))]
pub(crate) struct Args {
    #[command(flatten)]
    volume: VolumeArgument,
    /// A stream: the camera's name, or camera/sub; a hold is made for each
    #[arg(long = "stream", value_name = "NAME", required = true, value_parser = parse_stream)]
    streams: Vec<StreamName>,
    #[command(flatten)]
    range: RangeArguments,
    /// Who holds it, and why; at most 128 bytes
    #[arg(long, value_name = "TEXT", default_value = "", value_parser = parse_label)]
    label: String,
    /// End the hold at this moment, or after a duration such as 30d
    #[arg(long, value_name = "T|D", allow_hyphen_values = true)]
    expires: Option<String>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

fn parse_label(text: &str) -> Result<String, String> {
    let fits = text.len() <= keha_fs::HOLD_LABEL_BYTES_MAX && !text.contains(char::is_control);
    fits.then(|| text.to_owned())
        .ok_or_else(|| "a label has at most 128 bytes and no control characters".into())
}

pub(super) fn run(args: &Args, output: Output) -> anyhow::Result<Exit> {
    let (zone, now) = (TimeZone::system(), Timestamp::now());
    let (from, to) = args.range.bounded("a hold", now, &zone)?;
    let expires = args.expires.as_deref().map(|text| parse_expiry(text, now, &zone)).transpose();
    let expires = expires.map_err(Failure::usage)?;
    let path = args.volume.path()?;
    let mut volume = Volume::open(&path)?;
    // A wrong name is found out before anything is held.
    args.streams.iter().try_for_each(|name| volume.stream(name).map(drop))?;
    output.say(&format!("range: {}", range::show(TimeRange { from: Some(from), to: Some(to) }, &zone)));
    let channel = Channel::open(&volume, &path, "hold")?;
    let request = |stream: &StreamName| HoldRequest {
        stream: stream.clone(),
        from,
        to,
        label: args.label.clone(),
        expires,
    };
    let made = add_all(&channel, args.streams.iter().map(request));
    let closed = channel.close();
    let made = made?;
    let ids: Vec<String> = made.iter().map(ToString::to_string).collect();
    let standing = || format!("held, as {}", ids.join(" and "));
    closed.with_context(standing)?;
    volume.refresh().with_context(standing)?;
    let document = HoldsDocument::new("keha.hold-add/1", &volume, &path, Some(&made));
    document::show(output, args.json, &document, || document.text(&zone))?;
    Ok(Exit::Done)
}

/// Makes all of the holds; if one is refused, those made before are lifted again.
fn add_all(channel: &Channel, requests: impl Iterator<Item = HoldRequest>) -> anyhow::Result<Vec<HoldId>> {
    let mut made = Vec::new();
    for request in requests {
        match channel.add(&request) {
            Ok(id) => made.push(id),
            Err(error) => {
                let error = error.into_error(&format!("{}: nothing is held", request.stream), SEE);
                return Err(match made.into_iter().try_for_each(|id| channel.lift(id).map(drop)) {
                    Ok(()) => error,
                    Err(kept) => {
                        let kept = failure::line_of(&kept.into_error("it cannot be lifted", SEE));
                        error.context(format!("what was held for other streams stays: {kept}"))
                    }
                });
            }
        }
    }
    Ok(made)
}

fn parse_expiry(text: &str, now: Timestamp, zone: &TimeZone) -> Result<WallTime, String> {
    let moment = match duration::parse_positive(text) {
        Ok(after) => {
            time::wall(now).map(|now| now.plus(after)).ok_or_else(|| format!("--expires {text:?} is too far"))
        }
        Err(_) => {
            time::parse(text, now, zone).map_err(|why| format!("--expires {why}; or a duration, such as 30d"))
        }
    }?;
    match time::wall(now).is_some_and(|now| moment > now) {
        true => Ok(moment),
        false => Err(format!("--expires {}: that is over already", time::local(moment, zone))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expiry_is_a_moment_to_come_or_a_duration() {
        let now = "2026-06-15T12:00:00Z".parse().expect("a constant");
        let read = |text| parse_expiry(text, now, &TimeZone::UTC).map(time::rfc3339);
        assert_eq!(read("30d"), read("2026-07-15T12:00:00Z"));
        for wrong in ["-10m", "now", "2026-06-15T11:59:59Z", "soon", "0s"] {
            assert!(read(wrong).is_err_and(|why| why.starts_with("--expires")), "{wrong}");
        }
    }

    #[test]
    fn a_label_is_short_and_plain() {
        assert!(parse_label(&"x".repeat(128)).is_ok());
        assert!(parse_label(&"x".repeat(129)).is_err() && parse_label("a\nb").is_err());
    }
}
