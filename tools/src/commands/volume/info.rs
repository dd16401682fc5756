//! `keha volume info`: what a volume is, what it holds, how much of it is footage.

use super::findings::{self, FindingDocument};
use super::partition::PartitionDocument;
use super::scrub::{self, ScrubDocument};
use super::sessions::{self, SessionsDocument};
use super::{names, parse_stream, streams};
use crate::commands::hold::document::RoomDocument;
use crate::failure::Exit;
use crate::output::Output;
use crate::output::document::{self, Moment, VolumeDocument};
use crate::output::table::{Align, Table};
use crate::units::{duration, retention, size, time};
use crate::volume_argument::VolumeArgument;
use jiff::tz::TimeZone;
use keha_fs::{
    Anchor, BlockState, BlockSummary, HoldRoom, StreamName, StreamSummary, Volume, VolumeInfo, partition,
};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// Arguments of `keha volume info`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    volume: VolumeArgument,
    /// Only this stream
    #[arg(long, value_name = "NAME", value_parser = parse_stream)]
    stream: Option<StreamName>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args, output: Output) -> anyhow::Result<Exit> {
    let path = args.volume.path()?;
    let volume = Volume::open(&path)?;
    let streams = streams(&volume, args.stream.as_ref())?;
    let names = names(&volume);
    let mut document = Document::new(&path, volume.info(), &volume.blocks(), &streams, &volume.hold_room());
    // Of a node that is no partition, or whose disk cannot be read, there is nothing to be told.
    document.partition = partition::at(&path).ok().flatten().map(PartitionDocument::new);
    let (sessions, scrub) = (volume.sessions(), volume.scrub());
    let name = |id| names.get(&id).map_or_else(|| id.to_string(), ToString::to_string);
    document.scrub = ScrubDocument::new(&scrub, name);
    document.sessions = SessionsDocument::new(&sessions);
    for (stream, document) in streams.iter().zip(&mut document.streams) {
        document.clocks = volume.clocks(stream.id).iter().map(AnchorDocument::new).collect();
    }
    document.ages_by_clock = volume.ages_by_clock();
    document.findings =
        volume.findings().iter().map(|finding| FindingDocument::new(finding, &names)).collect();
    if args.json {
        document::print(&document)?;
    } else {
        let zone = TimeZone::system();
        let mut text = text(&path, volume.info(), &document, &streams, &zone);
        text.push_str(&sessions::text(&sessions, &zone));
        text.push_str(&scrub::text(&scrub, name, &zone));
        text.extend(volume.findings().iter().map(|finding| findings::line(finding, &names) + "\n"));
        output.print(&text)?;
    }
    let well = volume.findings().is_empty() && scrub.damaged.is_empty();
    Ok(if well { Exit::Done } else { Exit::Damaged })
}

/// Said where a stream has a maximum age and no synchronised clock was seen.
const UNVOUCHED: &str = "no synchronised clock stands behind this volume's time: what is past a maximum age is overwritten once the volume was \
     recorded into for that long, so late by the time that it was shut; give the recorder a time server\n";

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    volume: VolumeDocument,
    /// The partition that it is on.
    #[serde(skip_serializing_if = "Option::is_none")]
    partition: Option<PartitionDocument>,
    /// How many blocks are in each state.
    blocks: BTreeMap<&'static str, u32>,
    /// The bytes of all samples in the volume.
    payload_bytes: u64,
    /// The bytes of all blocks that are written.
    used_bytes: u64,
    /// The share of the whole volume that is samples.
    retained_fraction: f64,
    /// How much is held as evidence, and how much may be.
    holds: RoomDocument,
    streams: Vec<StreamDocument>,
    /// Whether a synchronised clock stands behind the volume's time: else maximum ages are enforced by the time recorded alone.
    ages_by_clock: bool,
    /// Who had the volume open for writing.
    sessions: SessionsDocument,
    /// How far the background verification is, and what it found.
    scrub: ScrubDocument,
    /// What opening found damaged; `check` looks at everything.
    findings: Vec<FindingDocument<'a>>,
}

#[derive(Serialize)]
struct StreamDocument {
    name: String,
    id: String,
    created: Moment,
    first: Option<Moment>,
    last: Option<Moment>,
    blocks: u32,
    samples: u64,
    payload_bytes: u64,
    used_bytes: u64,
    /// Mean over the time from first to last, gaps included.
    bits_per_second: Option<u64>,
    /// Seconds from the volume's newest footage until the oldest of this stream is overwritten, if all goes on as in the last
    /// day of footage.
    overwritten_in_s: Option<u64>,
    /// What is older than this is given to nobody, and overwritten.
    maximum_age_s: Option<u64>,
    /// What its tracks' clocks were last known to be.
    clocks: Vec<AnchorDocument>,
}

/// A clock anchor: how wall time follows from a track's media clock.
#[derive(Serialize)]
struct AnchorDocument {
    track: u8,
    /// `arrival`, `sender report` or `camera`.
    source: &'static str,
    wall: Moment,
    uncertainty_us: u32,
    /// The camera's clock minus the recorder's, as the camera last reported it.
    camera_offset_ns: i64,
}

impl AnchorDocument {
    fn new(anchor: &Anchor) -> AnchorDocument {
        AnchorDocument {
            track: anchor.track.0,
            source: anchor.source.as_str(),
            wall: Moment(anchor.wall),
            uncertainty_us: anchor.uncertainty_us,
            camera_offset_ns: anchor.camera_offset_ns,
        }
    }
}

impl<'a> Document<'a> {
    fn new(
        path: &Path,
        info: &VolumeInfo,
        blocks: &[BlockSummary],
        streams: &[StreamSummary],
        room: &HoldRoom,
    ) -> Document<'a> {
        let mut states: BTreeMap<&'static str, u32> =
            BlockState::ALL.iter().map(|state| (state.as_str(), 0)).collect();
        for block in blocks {
            *states.entry(block.state.as_str()).or_default() += 1;
        }
        let payload_bytes = blocks.iter().map(|block| u64::from(block.payload_bytes)).sum();
        Document {
            schema: "keha.volume-info/1",
            volume: VolumeDocument::new(path, info),
            partition: None,
            blocks: states,
            payload_bytes,
            used_bytes: blocks.iter().map(|block| u64::from(block.used_bytes)).sum(),
            retained_fraction: document::fraction(payload_bytes, info.size_bytes),
            holds: RoomDocument::new(room),
            streams: streams.iter().map(StreamDocument::new).collect(),
            ages_by_clock: false,
            sessions: SessionsDocument::default(),
            scrub: ScrubDocument::default(),
            findings: Vec::new(),
        }
    }
}

impl StreamDocument {
    fn new(stream: &StreamSummary) -> StreamDocument {
        StreamDocument {
            name: stream.name.to_string(),
            id: stream.id.to_string(),
            created: Moment(stream.created),
            first: stream.first.map(Moment),
            last: stream.last.map(Moment),
            blocks: stream.blocks,
            samples: stream.samples,
            payload_bytes: stream.payload_bytes,
            used_bytes: stream.used_bytes,
            bits_per_second: bits_per_second(stream),
            overwritten_in_s: stream.overwritten_in.map(|until| until.as_secs()),
            maximum_age_s: Some(stream.retention.maximum_age_s).filter(|age| *age > 0),
            clocks: Vec::new(),
        }
    }
}

fn span(stream: &StreamSummary) -> Option<Duration> {
    let nanoseconds = stream.last?.since_ns(stream.first?);
    u64::try_from(nanoseconds).ok().filter(|nanoseconds| *nanoseconds > 0).map(Duration::from_nanos)
}

fn bits_per_second(stream: &StreamSummary) -> Option<u64> {
    span(stream).map(|span| (stream.payload_bytes as f64 * 8.0 / span.as_secs_f64()) as u64)
}

fn text(
    path: &Path,
    info: &VolumeInfo,
    document: &Document<'_>,
    streams: &[StreamSummary],
    zone: &TimeZone,
) -> String {
    let label = if info.label.is_empty() { String::new() } else { format!(" {:?}", info.label) };
    let states: Vec<String> = document
        .blocks
        .iter()
        .filter(|(_, count)| **count > 0)
        .map(|(state, count)| format!("{count} {state}"))
        .collect();
    let mut text = format!(
        "{}{label}: volume {}, format {}, created {}\n{} in {} blocks of {}: {}\n{} of footage, {:.1} % of the volume; room for {} streams\n",
        path.display(),
        info.id,
        info.format_version,
        time::local(info.created, zone),
        size::show(info.size_bytes),
        info.blocks,
        size::show(u64::from(info.block_bytes)),
        states.join(", "),
        size::show(document.payload_bytes),
        document.retained_fraction * 100.0,
        info.streams_max,
    );
    text.extend(document.partition.as_ref().map(PartitionDocument::line));
    text.extend(document.holds.line());
    if streams.is_empty() {
        text.push_str("no streams yet\n");
        return text;
    }
    let mut table = Table::new(&[
        ("stream", Align::Left),
        ("first", Align::Left),
        ("last", Align::Left),
        ("span", Align::Right),
        ("blocks", Align::Right),
        ("samples", Align::Right),
        ("footage", Align::Right),
        ("Mbit/s", Align::Right),
        ("overwritten in", Align::Right),
        ("maximum age", Align::Right),
    ]);
    for stream in streams {
        let moment = |at: Option<_>| at.map_or("-".to_owned(), |at| time::local(at, zone));
        table.row(vec![
            stream.name.to_string(),
            moment(stream.first),
            moment(stream.last),
            span(stream).map_or("-".to_owned(), duration::show),
            stream.blocks.to_string(),
            stream.samples.to_string(),
            size::show(stream.payload_bytes),
            bits_per_second(stream).map_or("-".to_owned(), |bits| format!("{:.2}", bits as f64 / 1e6)),
            stream.overwritten_in.map_or("-".to_owned(), duration::show),
            retention::show_age(stream.retention.maximum_age_s),
        ]);
    }
    text.push('\n');
    text.push_str(&table.render());
    if !document.ages_by_clock && streams.iter().any(|stream| stream.retention.maximum_age_s > 0) {
        text.push_str(UNVOUCHED);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::example;
    use super::*;

    #[test]
    fn the_document_is_as_published() {
        let (info, blocks, streams) = example::volume();
        insta::assert_json_snapshot!(Document::new(
            Path::new("a.ring"),
            &info,
            &blocks,
            &streams,
            &HoldRoom::default()
        ));
    }

    #[test]
    fn an_age_that_no_clock_enforces_is_told() {
        let (info, blocks, mut streams) = example::volume();
        let path = Path::new("a.ring");
        for (age_s, ages_by_clock, told) in [(0, false, false), (60, false, true), (60, true, false)] {
            streams[0].retention.maximum_age_s = age_s;
            let document = Document::new(path, &info, &blocks, &streams, &HoldRoom::default());
            let document = Document { ages_by_clock, ..document };
            let text = text(path, &info, &document, &streams, &TimeZone::UTC);
            assert_eq!(text.contains(UNVOUCHED), told, "{age_s} s, {ages_by_clock}");
        }
    }

    #[test]
    fn the_text_is_as_published() {
        let (info, blocks, streams) = example::volume();
        let path = Path::new("a.ring");
        let document = Document::new(path, &info, &blocks, &streams, &HoldRoom::default());
        insta::assert_snapshot!(text(path, &info, &document, &streams, &TimeZone::UTC));
    }
}
