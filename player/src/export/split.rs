//! Which file each sample goes into, and when a file begins and ends.
//!
//! A sample goes into its stream's current file. Where that cannot be (another configuration, a clock set back) the next
//! file begins, and every other stream moves there at its own next place where decoding can begin: no sample is written
//! twice and none is cut off from what it needs.

use crate::error::{Error, Result};
use crate::export::describe::{Asked, manifest, stream_record, tags};
use crate::export::feed::{Feed, Piece};
use crate::export::part::Part;
use crate::export::report::{ExportReport, FileReport};
use crate::export::request::Output;
use crate::export::stage::{Staged, manifest_path, part_path, refuse_existing};
use crate::mkv::{FileSink, Muxer, PipeSink, Sink};
use keha_fs::{Configuration, StreamId, StreamName, VolumeInfo};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use uuid::Uuid;

/// One stream of the export.
pub(crate) struct Lane<'a> {
    pub feed: Feed<'a>,
    /// Its next sample.
    pub head: Option<Piece>,
    /// The file its samples go into.
    part: Option<usize>,
}

impl<'a> Lane<'a> {
    pub(crate) fn new(mut feed: Feed<'a>) -> Result<Lane<'a>> {
        let head = feed.next()?;
        Ok(Lane { feed, head, part: None })
    }

    fn stream(&self) -> (StreamId, StreamName) {
        (self.feed.stream.id, self.feed.stream.name.clone())
    }
}

/// The files of an export.
pub(crate) struct Splitter<'a> {
    target: Target<'a>,
    info: VolumeInfo,
    asked: Asked,
    /// By part; `None` once finished.
    parts: Vec<Option<Part<'a>>>,
    done: Vec<Done>,
}

enum Target<'a> {
    File { path: PathBuf, force: bool, staged: Vec<Staged> },
    Pipe(Option<&'a mut dyn Write>),
}

struct Done {
    part: usize,
    report: FileReport,
}

/// Where a sample went.
pub(crate) enum Placed {
    /// Into a file.
    Written,
    /// Nowhere: it needs another file and a pipe takes only one.
    NeedsAnotherFile(String),
}

impl<'a> Splitter<'a> {
    pub(crate) fn new(output: Output<'a>, info: VolumeInfo, asked: Asked) -> Splitter<'a> {
        let target = match output {
            Output::File { path, force } => Target::File { path, force, staged: Vec::new() },
            Output::Pipe(out) => Target::Pipe(Some(out)),
        };
        Splitter { target, info, asked, parts: Vec::new(), done: Vec::new() }
    }

    /// Writes a lane's sample.
    pub(crate) fn write(&mut self, lanes: &mut [Lane<'a>], index: usize, piece: Piece) -> Result<Placed> {
        let part = match self.place(lanes, index, &piece)? {
            Ok(part) => part,
            Err(why) => return Ok(Placed::NeedsAnotherFile(why)),
        };
        if let Some(Some(open)) = self.parts.get_mut(part) {
            open.push(index, piece)?;
        }
        let Some(lane) = lanes.get_mut(index) else { return Ok(Placed::Written) };
        if lane.part.replace(part).is_some_and(|before| before != part) {
            self.finish_unused(lanes)?;
        }
        Ok(Placed::Written)
    }

    fn place(&mut self, lanes: &[Lane<'a>], index: usize, piece: &Piece) -> Result<Result<usize, String>> {
        let Some(lane) = lanes.get(index) else { return Ok(Err("no such lane".into())) };
        let (id, name) = lane.stream();
        let newest = self.parts.len().checked_sub(1);
        let mut why = None;
        // A stream that another one's split left behind in an older file moves where it can be decoded from.
        let stays = lane.part.filter(|part| Some(*part) == newest || !moves_at(lane, piece));
        for part in [stays, newest].into_iter().flatten() {
            if let Some(Some(open)) = self.parts.get_mut(part) {
                match open.admit(index, id, &name, piece)? {
                    Ok(()) => return Ok(Ok(part)),
                    Err(reason) => why = Some(reason),
                }
            }
        }
        if newest.is_some() && matches!(self.target, Target::Pipe(_)) {
            return Ok(Err(why.unwrap_or_default()));
        }
        self.begin(lanes, index, piece, why)?;
        Ok(Ok(self.parts.len().saturating_sub(1)))
    }

    fn begin(&mut self, lanes: &[Lane<'a>], index: usize, piece: &Piece, why: Option<String>) -> Result<()> {
        let number = self.parts.len() + 1;
        let (sink, path): (Box<dyn Sink + 'a>, PathBuf) = match &mut self.target {
            Target::File { path, force, staged } => {
                let path = part_path(path, number);
                refuse_existing(&manifest_path(&path), *force)?;
                let (stage, file) = Staged::create(&path, *force)?;
                let direct = stage.open_direct();
                staged.push(stage);
                (Box::new(FileSink::new(file, direct)), path)
            }
            Target::Pipe(out) => {
                let out = out.take().ok_or_else(|| Error::Invalid("a pipe takes one file".into()))?;
                (Box::new(PipeSink::new(out)), PathBuf::from("-"))
            }
        };
        let names: Vec<_> = lanes.iter().map(|lane| lane.feed.stream.name.to_string()).collect();
        let mut part = Part::new(Muxer::new(sink, path, names.join(", "), Uuid::new_v4()), why);
        for (other, lane) in lanes.iter().enumerate() {
            let configuration: Option<&Arc<Configuration>> = if other == index {
                Some(&piece.configuration)
            } else {
                lane.head.as_ref().map(|head| &head.configuration)
            };
            let (id, name) = lane.stream();
            if let Some(configuration) = configuration
                && !part.add(other, id, &name, configuration)?
            {
                return Err(Error::Container(format!("header: no room for the tracks of {name}")));
            }
        }
        self.parts.push(Some(part));
        Ok(())
    }

    /// Ends the files, but for the newest, that no lane writes to any more.
    pub(crate) fn finish_unused(&mut self, lanes: &[Lane<'a>]) -> Result<()> {
        for part in 0..self.parts.len().saturating_sub(1) {
            if lanes.iter().all(|lane| lane.part != Some(part) || lane.head.is_none()) {
                self.finish_part(part, lanes)?;
            }
        }
        Ok(())
    }

    fn finish_part(&mut self, index: usize, lanes: &[Lane<'a>]) -> Result<()> {
        let Some(mut part) = self.parts.get_mut(index).and_then(Option::take) else { return Ok(()) };
        part.settle()?;
        let end = part.end();
        let mut streams = Vec::new();
        for (lane, stream) in std::mem::take(&mut part.streams) {
            if let Some(lane) = lanes.get(lane) {
                streams.push((stream.id(), stream_record(stream, &lane.feed.log, &self.asked)));
            }
        }
        let number = index + 1;
        let finished =
            part.muxer.finish(end, |origin| tags(&self.info, &self.asked, number, origin, &streams))?;
        let path = match &self.target {
            Target::File { path, .. } => Some(part_path(path, number)),
            Target::Pipe(_) => None,
        };
        let name = path
            .as_deref()
            .and_then(Path::file_name)
            .map_or_else(|| "-".to_owned(), |name| name.to_string_lossy().into_owned());
        let streams = streams.into_iter().map(|(_, record)| record).collect();
        let manifest =
            manifest(name, number, part.begins_because, &finished, &self.info, &self.asked, streams);
        let manifest_path = path.as_deref().map(manifest_path);
        self.done.push(Done { part: number, report: FileReport { path, manifest_path, manifest } });
        Ok(())
    }

    /// Ends all files, writes the manifests, and gives everything its name.
    pub(crate) fn finish(mut self, lanes: &[Lane<'a>], report: &mut ExportReport) -> Result<()> {
        for part in 0..self.parts.len() {
            self.finish_part(part, lanes)?;
        }
        self.done.sort_by_key(|done| done.part);
        report.files = self.done.into_iter().map(|done| done.report).collect();
        let Target::File { force, mut staged, .. } = self.target else { return Ok(()) };
        for file in &report.files {
            let Some(path) = &file.manifest_path else { continue };
            let (stage, mut out) = Staged::create(path, force)?;
            let failed = |source| Error::Io { operation: "write", path: stage.target().to_owned(), source };
            let text = serde_json::to_string_pretty(&file.manifest).map_err(|error| failed(error.into()))?;
            out.write_all(text.as_bytes())
                .and_then(|()| out.write_all(b"\n"))
                .and_then(|()| out.sync_all())
                .map_err(failed)?;
            staged.push(stage);
        }
        staged.into_iter().try_for_each(Staged::publish)
    }
}

/// Whether a stream can go over to another file with this sample.
fn moves_at(lane: &Lane<'_>, piece: &Piece) -> bool {
    let video = piece.configuration.tracks.iter().any(|track| track.kind == keha_fs::TrackKind::Video);
    lane.part.is_none() || !video || piece.begins_pictures()
}
