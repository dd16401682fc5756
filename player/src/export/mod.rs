//! Export: footage out of a volume into Matroska files that stand as evidence.
//!
//! Promises: only original samples, byte for byte, in the order of recording; pictures from the sync sample at or before
//! the range's beginning to before its end (a picture behind the end goes in only if one inside the range is decoded
//! after it); all streams on one clock, time zero being the file's DateUTC; whatever is missing is named with its reason.
//! Memory does not depend on the length, but for an index entry a keyframe. Works beside a live recorder.
//! What must not live here: the command line, and Matroska's bytes (`crate::mkv`).

pub(crate) mod archive;
mod describe;
pub(crate) mod feed;
mod feed_log;
mod manifest;
pub(crate) mod parameter_sets;
pub(crate) mod part;
mod plan;
mod ranges;
mod report;
mod request;
mod split;
mod stage;
#[cfg(test)]
mod tests;

pub use manifest::{
    Clock, ConfigurationUse, DamageMet, FileFacts, GapRecord, Manifest, Overwriting, Requested, RunRecord,
    SCHEMA, SampleRange, StreamRecord, TrackRecord, VolumeFacts,
};
pub use plan::{ExportPlan, PlannedSpan, PlannedStream, PlannedTrack, plan};
pub use report::{ExportReport, FileReport};
pub use request::{ExportRequest, Output, Progress};

use crate::error::{Error, Result};
use archive::{Archive, Streams};
use describe::Asked;
use feed::{Feed, Wanted};
use keha_fs::{ReadPurpose, RunId, StreamSummary, Volume};
use split::{Lane, Placed, Splitter};
use std::collections::BTreeSet;
use std::ops::ControlFlow;

/// How many bytes pass between two calls of the progress function.
const PROGRESS_BYTES: u64 = 4 << 20;

/// Exports a range. `progress` is told how far it has come and may break it off, which removes what was written.
///
/// Errors: [`Error::NotRecorded`] if no stream has anything in the range, [`Error::Overwritten`] if the ring passed the
/// export (where no beginning was asked for, it goes on behind instead and says so in the report), [`Error::Exists`],
/// [`Error::Io`], [`Error::Invalid`] for a request that does not work out. After any error nothing is left behind.
pub fn export<'a>(
    volume: &'a Volume,
    request: &ExportRequest,
    output: Output<'a>,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<ExportReport> {
    let volume = volume.clone().reading_for(ReadPurpose::Bulk);
    // For as long as this look is there.
    let output = match output {
        Output::File { path, force } => Output::File { path, force },
        Output::Pipe(pipe) => Output::Pipe(pipe),
    };
    export_from(&volume, request, output, progress)
}

fn export_from<'a>(
    archive: &'a dyn Archive,
    request: &ExportRequest,
    output: Output<'a>,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<ExportReport> {
    let streams = streams_of(archive, request)?;
    if let Output::File { path, force } = &output {
        stage::refuse_existing(path, *force)?;
        stage::refuse_existing(&stage::manifest_path(path), *force)?;
    }
    let run = chosen_run(archive, request, &streams)?;
    let wanted = Wanted { range: request.range, run };
    let asked = Asked { streams: request.streams.clone(), range: request.range, run };
    let mut lanes = Vec::with_capacity(streams.len());
    for stream in &streams {
        lanes.push(Lane::new(Feed::new(archive, stream.clone(), wanted)?)?);
    }
    let mut report = ExportReport::default();
    let empty = lanes.iter().filter(|lane| lane.head.is_none()).map(|lane| lane.feed.stream.name.clone());
    report.streams_without_footage = empty.collect();
    if report.streams_without_footage.len() == lanes.len() {
        return Err(nothing_recorded(streams));
    }
    let mut splitter = Splitter::new(output, archive.info().clone(), asked);
    let (mut told, mut last) = (0, None);
    while let Some((index, piece)) = next_piece(&mut lanes)? {
        let (at, bytes) = (piece.sample.wall, piece.sample.data.len() as u64);
        if let Placed::NeedsAnotherFile(why) = splitter.write(&mut lanes, index, piece)? {
            report.cut = Some((at, why));
            break;
        }
        last = Some(at);
        report.samples += 1;
        report.payload_bytes += bytes;
        if report.payload_bytes >= told + PROGRESS_BYTES {
            told = report.payload_bytes;
            let now = Progress { samples: report.samples, bytes: report.payload_bytes, at };
            if progress(now).is_break() {
                return Err(Error::Cancelled);
            }
        }
    }
    if let Some(at) = last
        && progress(Progress { samples: report.samples, bytes: report.payload_bytes, at }).is_break()
    {
        return Err(Error::Cancelled);
    }
    report.damaged = lanes.iter().map(|lane| lane.feed.log.damaged).sum();
    report.overwritten = lanes.iter().map(|lane| lane.feed.log.overwritten.len() as u64).sum();
    splitter.finish(&lanes, &mut report)?;
    Ok(report)
}

/// The earliest sample at the head of a lane, and the lane. Within a lane the order of recording is kept, whatever the
/// times: pictures are decoded in it.
fn next_piece(lanes: &mut [Lane<'_>]) -> Result<Option<(usize, feed::Piece)>> {
    let heads =
        lanes.iter().enumerate().filter_map(|(index, lane)| Some((lane.head.as_ref()?.sample.wall, index)));
    let Some((_, index)) = heads.min() else { return Ok(None) };
    let Some(lane) = lanes.get_mut(index) else { return Ok(None) };
    let next = lane.feed.next()?;
    Ok(std::mem::replace(&mut lane.head, next).map(|piece| (index, piece)))
}

/// The streams asked for, checked.
pub(crate) fn streams_of(archive: &dyn Streams, request: &ExportRequest) -> Result<Vec<StreamSummary>> {
    if request.streams.is_empty() {
        return Err(Error::Invalid("no stream to export was named".into()));
    }
    if let (Some(from), Some(to)) = (request.range.from, request.range.to)
        && from >= to
    {
        let text =
            format!("the range ends ({}) before it begins ({})", crate::rfc3339(to), crate::rfc3339(from));
        return Err(Error::Invalid(text));
    }
    let mut names = BTreeSet::new();
    if let Some(twice) = request.streams.iter().find(|name| !names.insert(*name)) {
        return Err(Error::Invalid(format!("{twice} is named twice")));
    }
    let streams = request.streams.iter().map(|name| archive.stream(name));
    Ok(streams.collect::<keha_fs::Result<_>>()?)
}

/// The run that was chosen by its number.
fn chosen_run(
    archive: &dyn Archive,
    request: &ExportRequest,
    streams: &[StreamSummary],
) -> Result<Option<RunId>> {
    let Some(number) = request.run else { return Ok(None) };
    let [stream] = streams else {
        return Err(Error::Invalid(
            "a run can be chosen for one stream only; export the streams one by one".into(),
        ));
    };
    let runs = plan::runs_of(&archive.spans(stream.id, request.range)?);
    if runs.is_empty() {
        return Err(nothing_recorded(streams.to_vec()));
    }
    let chosen = number.checked_sub(1).and_then(|index| runs.get(index));
    chosen.map(|run| Some(*run)).ok_or_else(|| {
        Error::Invalid(format!(
            "{}: no run {number} in that range; it has runs 1 to {}",
            stream.name,
            runs.len()
        ))
    })
}

pub(crate) fn nothing_recorded(streams: Vec<StreamSummary>) -> Error {
    let available = streams.into_iter().map(|stream| (stream.name, stream.first.zip(stream.last)));
    Error::NotRecorded { available: available.collect() }
}
