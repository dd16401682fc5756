//! `keha volume blocks`: the ring drawn as a map; block by block for one stream or as a document.

use super::{map, names, parse_stream, say_findings};
use crate::failure::Exit;
use crate::output::document::{self, Moment, VolumeDocument};
use crate::output::table::{Align, Table};
use crate::output::{Output, style};
use crate::units::{size, time};
use crate::volume_argument::VolumeArgument;
use jiff::tz::TimeZone;
use keha_fs::{BlockIndex, BlockSummary, StreamId, StreamName, Volume};
use serde::Serialize;
use std::collections::HashMap;

/// Arguments of `keha volume blocks`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    volume: VolumeArgument,
    /// A table of this stream's blocks, in the order of recording
    #[arg(long, value_name = "NAME", value_parser = parse_stream)]
    stream: Option<StreamName>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args, output: Output) -> anyhow::Result<Exit> {
    let path = args.volume.path()?;
    let volume = Volume::open(&path)?;
    let names = names(&volume);
    let mut blocks = volume.blocks();
    if let Some(name) = &args.stream {
        let wanted = volume.stream(name)?.id;
        blocks.retain(|block| block.stream == Some(wanted));
    }
    if args.json {
        let info = VolumeDocument::new(&path, volume.info());
        document::print(&Document::new(info, &blocks, &names, |block| volume.block_at(block)))?;
    } else if args.stream.is_some() {
        blocks.sort_by_key(|block| block.sequence);
        output.print(&table(&blocks, &TimeZone::system()))?;
    } else {
        output.print(&map::draw(&blocks, &names, crate::output::width(), style::stdout_takes_colour()))?;
    }
    Ok(if say_findings(&volume) { Exit::Damaged } else { Exit::Done })
}

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    volume: VolumeDocument,
    blocks: Vec<BlockDocument<'a>>,
}

#[derive(Serialize)]
struct BlockDocument<'a> {
    block: u32,
    /// Where it begins on the volume, in bytes.
    at: u64,
    state: &'static str,
    sequence: u64,
    stream: Option<&'a str>,
    stream_id: Option<String>,
    first_chunk: u64,
    chunks: u32,
    wall_min: Option<Moment>,
    wall_max: Option<Moment>,
    samples: u32,
    sync_samples: u32,
    payload_bytes: u32,
    used_bytes: u32,
    times_not_monotone: bool,
    held: bool,
}

impl<'a> Document<'a> {
    fn new(
        volume: VolumeDocument,
        blocks: &[BlockSummary],
        names: &'a HashMap<StreamId, StreamName>,
        at: impl Fn(BlockIndex) -> u64,
    ) -> Document<'a> {
        let blocks = blocks.iter().map(|block| BlockDocument {
            block: block.block.0,
            at: at(block.block),
            state: block.state.as_str(),
            sequence: block.sequence.0,
            stream: block.stream.and_then(|id| names.get(&id)).map(StreamName::as_str),
            stream_id: block.stream.map(|id| id.to_string()),
            first_chunk: block.first_chunk.0,
            chunks: block.chunks,
            wall_min: block.wall_min.map(Moment),
            wall_max: block.wall_max.map(Moment),
            samples: block.samples,
            sync_samples: block.sync_samples,
            payload_bytes: block.payload_bytes,
            used_bytes: block.used_bytes,
            times_not_monotone: block.times_not_monotone,
            held: block.held,
        });
        Document { schema: "keha.volume-blocks/1", volume, blocks: blocks.collect() }
    }
}

fn table(blocks: &[BlockSummary], zone: &TimeZone) -> String {
    let mut table = Table::new(&[
        ("block", Align::Right),
        ("state", Align::Left),
        ("sequence", Align::Right),
        ("first chunk", Align::Right),
        ("chunks", Align::Right),
        ("from", Align::Left),
        ("to", Align::Left),
        ("samples", Align::Right),
        ("sync", Align::Right),
        ("footage", Align::Right),
    ]);
    for block in blocks {
        let moment = |at: Option<_>| at.map_or("-".to_owned(), |at| time::local(at, zone));
        let held = if block.held { " (held)" } else { "" };
        let mark = if block.times_not_monotone { " (times overlap)" } else { "" }.to_owned() + held;
        table.row(vec![
            block.block.to_string(),
            block.state.as_str().to_owned(),
            block.sequence.to_string(),
            block.first_chunk.to_string(),
            block.chunks.to_string(),
            moment(block.wall_min),
            moment(block.wall_max),
            block.samples.to_string(),
            block.sync_samples.to_string(),
            size::show(u64::from(block.payload_bytes)) + &mark,
        ]);
    }
    table.render()
}

#[cfg(test)]
mod tests {
    use super::super::example;
    use super::*;
    use std::path::Path;

    #[test]
    fn the_document_is_as_published() {
        let (info, blocks, streams) = example::volume();
        let names = streams.into_iter().map(|stream| (stream.id, stream.name)).collect();
        let volume = VolumeDocument::new(Path::new("a.ring"), &info);
        let at = |block: BlockIndex| (2 + u64::from(block.0)) << 20;
        insta::assert_json_snapshot!(Document::new(volume, &blocks[..4], &names, at));
    }

    #[test]
    fn the_table_is_as_published() {
        insta::assert_snapshot!(table(&example::volume().1[..4], &TimeZone::UTC));
    }
}
