//! What an export would give, without writing anything: the range as understood, the runs, the tracks, the size.

use crate::error::Result;
use crate::export::archive::Archive;
use crate::export::describe::kind_text;
use crate::export::request::ExportRequest;
use crate::export::{chosen_run, nothing_recorded, streams_of};
use keha_fs::{BlockSummary, Item, RunId, Span, StreamName, StreamSummary, TimeRange, Volume, WallTime};
use std::collections::{BTreeMap, BTreeSet};

/// How many items of a stream are looked at to learn its tracks.
const ITEMS_MAX: usize = 64;

/// What an export would give.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportPlan {
    /// The range as asked for.
    pub range: TimeRange,
    /// The first moment there is in it.
    pub first: WallTime,
    /// The last moment there is in it.
    pub last: WallTime,
    /// Stream by stream; those without footage in the range have no spans.
    pub streams: Vec<PlannedStream>,
    /// Bytes it takes, estimated from the block table: within a few percent where the bitrate is steady.
    pub estimated_bytes: u64,
    /// How many files it takes at least: one, and one more for each time a clock was set back.
    pub files: usize,
}

/// One stream of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedStream {
    /// Its name.
    pub name: StreamName,
    /// Its tracks at the beginning of the range.
    pub tracks: Vec<PlannedTrack>,
    /// Its stretches of footage, in the order of recording.
    pub spans: Vec<PlannedSpan>,
    /// Moments between two stretches without footage, from and to.
    pub gaps: Vec<(WallTime, WallTime)>,
    /// Bytes it takes, estimated.
    pub estimated_bytes: u64,
}

/// A stretch of one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlannedSpan {
    /// The number by which the run can be chosen, from 1.
    pub run_number: usize,
    /// The run.
    pub run: RunId,
    /// Its first moment in the range.
    pub from: WallTime,
    /// Its last moment in the range.
    pub to: WallTime,
    /// Its wall times overlap those of an earlier stretch: a clock was set back, and it goes into a file of its own.
    pub overlaps: bool,
}

/// A track of a planned stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedTrack {
    /// `video`, `audio` or `metadata`.
    pub kind: &'static str,
    /// Its four-character code.
    pub codec: String,
    /// The picture's width in pixels.
    pub width: u16,
    /// The picture's height in pixels.
    pub height: u16,
    /// Audio channels.
    pub channels: u8,
    /// Audio samples a second.
    pub sample_rate: u32,
}

/// Says what [`export()`](crate::export()) would give for the same request, and fails as it would.
pub fn plan(volume: &Volume, request: &ExportRequest) -> Result<ExportPlan> {
    plan_from(volume, &volume.blocks(), request)
}

pub(super) fn plan_from(
    archive: &dyn Archive,
    blocks: &[BlockSummary],
    request: &ExportRequest,
) -> Result<ExportPlan> {
    let summaries = streams_of(archive, request)?;
    let chosen = chosen_run(archive, request, &summaries)?;
    let mut streams = Vec::with_capacity(summaries.len());
    for summary in &summaries {
        streams.push(planned_stream(archive, blocks, summary, request.range, chosen)?);
    }
    let spans = || streams.iter().flat_map(|stream| &stream.spans);
    let (Some(first), Some(last)) = (spans().map(|span| span.from).min(), spans().map(|span| span.to).max())
    else {
        return Err(nothing_recorded(summaries));
    };
    let further = |stream: &PlannedStream| stream.spans.iter().filter(|span| span.overlaps).count();
    Ok(ExportPlan {
        range: request.range,
        first,
        last,
        estimated_bytes: streams.iter().map(|stream| stream.estimated_bytes).sum(),
        files: 1 + streams.iter().map(further).max().unwrap_or(0),
        streams,
    })
}

fn planned_stream(
    archive: &dyn Archive,
    blocks: &[BlockSummary],
    stream: &StreamSummary,
    range: TimeRange,
    chosen: Option<RunId>,
) -> Result<PlannedStream> {
    let found = archive.spans(stream.id, range)?;
    let numbers: BTreeMap<RunId, usize> = runs_of(&found).into_iter().zip(1..).collect();
    let (mut spans, mut gaps): (Vec<PlannedSpan>, Vec<_>) = (Vec::new(), Vec::new());
    let mut reached: Option<WallTime> = None;
    for span in found.iter().filter(|span| chosen.is_none_or(|run| run == span.run)) {
        let from = range.from.map_or(span.from, |from| from.max(span.from));
        let to = range.to.map_or(span.to, |to| to.min(span.to));
        let continues = spans.last().is_some_and(|before| before.run == span.run);
        let overlaps = !continues && reached.is_some_and(|reached| from <= reached);
        gaps.extend(reached.filter(|&reached| !continues && from > reached).map(|reached| (reached, from)));
        reached = Some(if overlaps { to } else { reached.map_or(to, |reached| reached.max(to)) });
        let run_number = numbers.get(&span.run).copied().unwrap_or(0);
        spans.push(PlannedSpan { run_number, run: span.run, from, to, overlaps });
    }
    let estimated_bytes = spans.iter().map(|span| bytes_within(blocks, stream, span)).sum();
    let tracks = if spans.is_empty() { Vec::new() } else { tracks_of(archive, stream, range)? };
    Ok(PlannedStream { name: stream.name.clone(), tracks, spans, gaps, estimated_bytes })
}

/// The runs of some spans, each once, in the order of recording.
pub(super) fn runs_of(spans: &[Span]) -> Vec<RunId> {
    let mut seen = BTreeSet::new();
    spans.iter().map(|span| span.run).filter(|run| seen.insert(*run)).collect()
}

/// A span's share of its stream's blocks, by time.
fn bytes_within(blocks: &[BlockSummary], stream: &StreamSummary, span: &PlannedSpan) -> u64 {
    let of_stream = blocks.iter().filter(|block| block.stream == Some(stream.id));
    let shares = of_stream.filter_map(|block| {
        let (first, last) = block.wall_min.zip(block.wall_max)?;
        let whole = last.since_ns(first).max(1);
        let inside = span.to.min(last).since_ns(span.from.max(first));
        let inside = if inside < 0 { return None } else { inside.max(1) };
        let share = u128::from(block.payload_bytes) * u128::from(inside.unsigned_abs())
            / u128::from(whole.unsigned_abs());
        u64::try_from(share).ok()
    });
    shares.sum()
}

/// The tracks at the beginning of a range.
fn tracks_of(archive: &dyn Archive, stream: &StreamSummary, range: TimeRange) -> Result<Vec<PlannedTrack>> {
    let mut source = match archive.read(stream, range) {
        Ok(source) => source,
        // Gone since the spans were looked up: the export itself will say what is left.
        Err(keha_fs::Error::NotRecorded { .. } | keha_fs::Error::Overwritten { .. }) => return Ok(Vec::new()),
        Err(other) => return Err(other.into()),
    };
    for _ in 0..ITEMS_MAX {
        match source.next_item() {
            Ok(Some(Item::Configuration(_, configuration))) => {
                let tracks = configuration.tracks.iter().map(|track| PlannedTrack {
                    kind: kind_text(track.kind),
                    codec: String::from_utf8_lossy(&track.codec).into_owned(),
                    width: track.width,
                    height: track.height,
                    channels: track.channels,
                    sample_rate: track.sample_rate,
                });
                return Ok(tracks.collect());
            }
            Ok(Some(_)) => {}
            Ok(None) | Err(keha_fs::Error::Overwritten { .. }) => break,
            Err(other) => return Err(other.into()),
        }
    }
    Ok(Vec::new())
}
