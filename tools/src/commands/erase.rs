//! `keha erase`: overwrites a range of one stream, for good. What will go is said first; nothing goes without `--yes` or a `yes`
//! typed on a terminal.

use super::channel::Channel;
use super::volume::parse_stream;
use crate::failure::{Exit, Failure};
use crate::output::document::{self, Moment, VolumeDocument};
use crate::output::{Output, say_always};
use crate::units::range::RangeArguments;
use crate::units::{range, size, time};
use crate::volume_argument::VolumeArgument;
use anyhow::Context;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use keha_fs::{ErasePlan, EraseRequest, Erased, StreamName, TimeRange, Volume};
use serde::Serialize;
use std::io::{IsTerminal, stdin};

/// Arguments of `keha erase`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = format!(
        "T is {}. Footage goes in chunks of about a second, so a little before and behind the range goes with it. \
         When this ends with status 0, all of it is overwritten; if it fails on the way, erase again. What is held is not \
         erased: lift the hold first.",
        time::HELP
    )
)]
pub(crate) struct Args {
    #[command(flatten)]
    volume: VolumeArgument,
    /// The stream: the camera's name, or camera/sub
    #[arg(long, value_name = "NAME", value_parser = parse_stream)]
    stream: StreamName,
    #[command(flatten)]
    range: RangeArguments,
    /// Only say what would go
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// Do it without asking
    #[arg(long)]
    yes: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args, output: Output) -> anyhow::Result<Exit> {
    let (zone, now) = (TimeZone::system(), Timestamp::now());
    let (from, to) = args.range.bounded("erasing", now, &zone)?;
    let asked = TimeRange { from: Some(from), to: Some(to) };
    let path = args.volume.path()?;
    let mut volume = Volume::open(&path)?;
    let stream = volume.stream(&args.stream)?;
    let plan = volume.plan_erase(stream.id, asked);
    if plan.erased.blocks == 0 && plan.left == 0 {
        // Says what there is.
        volume.read(stream.id, asked).map(drop)?;
        return Err(keha_fs::Error::NotRecorded { available: stream.first.zip(stream.last) }.into());
    }
    say_always(&describe(&args.stream, asked, &plan, &zone));
    if let Some(id) = plan.held_by.first() {
        let more = plan.held_by.len() - 1;
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        return Err(Failure::failed(format!(
            "held by {id}{more}: nothing is erased; lift the hold first (keha hold list)"
        )));
    }
    if args.dry_run {
        let volume = VolumeDocument::new(&path, volume.info());
        let document = Document::new("keha.erase-plan/1", volume, args, &plan.erased);
        show(args, &Document { left_blocks: Some(plan.left), ..document }, output)?;
        return Ok(Exit::Done);
    }
    if !args.yes && !confirmed()? {
        return Err(Failure::failed("nothing is erased"));
    }
    let channel = Channel::open(&volume, &path, "erase")?;
    let erased = channel.erase(&EraseRequest { stream: args.stream.clone(), from, to });
    let closed = channel.close();
    let refused = "nothing is erased";
    let erased = erased.map_err(|error| error.into_error(refused, "keha export --dry-run"))?;
    closed?;
    volume.refresh()?;
    let volume = VolumeDocument::new(&path, volume.info());
    show(args, &Document::new("keha.erase/1", volume, args, &erased), output)?;
    Ok(Exit::Done)
}

/// What will go.
fn describe(stream: &StreamName, asked: TimeRange, plan: &ErasePlan, zone: &TimeZone) -> String {
    let erased = &plan.erased;
    let moment = |at: Option<keha_fs::WallTime>| at.map_or("-".into(), |at| time::local(at, zone));
    let mut lines = vec![format!("range: {}", range::show(asked, zone))];
    if erased.blocks > 0 {
        lines.push(format!(
            "erases for good from {stream}: {} samples, {}, from {} to {}, in {} blocks",
            erased.samples,
            size::show(erased.payload_bytes),
            moment(erased.from),
            moment(erased.to),
            erased.blocks
        ));
    }
    if plan.left > 0 {
        let blocks = plan.left;
        lines.push(format!(
            "overwrites what stands in {blocks} blocks that were given up, or not erased to their end"
        ));
    }
    lines.join("\n")
}

/// Has a person at a terminal say so.
fn confirmed() -> anyhow::Result<bool> {
    if !stdin().is_terminal() {
        return Err(Failure::usage("this cannot be undone: say so with --yes"));
    }
    say_always("this cannot be undone; type yes to erase:");
    let mut line = String::new();
    stdin().read_line(&mut line).context("cannot read the answer")?;
    Ok(line.trim() == "yes")
}

#[derive(Serialize)]
struct Document {
    schema: &'static str,
    volume: VolumeDocument,
    stream: String,
    blocks: u32,
    samples: u64,
    payload_bytes: u64,
    from: Option<Moment>,
    to: Option<Moment>,
    /// Of a plan: blocks in which something of the range is to be overwritten that was erased before, or given up.
    #[serde(skip_serializing_if = "Option::is_none")]
    left_blocks: Option<u32>,
}

impl Document {
    fn new(schema: &'static str, volume: VolumeDocument, args: &Args, erased: &Erased) -> Document {
        Document {
            schema,
            volume,
            stream: args.stream.to_string(),
            blocks: erased.blocks,
            samples: erased.samples,
            payload_bytes: erased.payload_bytes,
            from: erased.from.map(Moment),
            to: erased.to.map(Moment),
            left_blocks: None,
        }
    }
}

fn show(args: &Args, document: &Document, output: Output) -> anyhow::Result<()> {
    if args.json {
        return Ok(document::print(document)?);
    }
    if !args.dry_run {
        output.print(&format!("erased {} samples of {}\n", document.samples, args.stream))?;
    }
    Ok(())
}
