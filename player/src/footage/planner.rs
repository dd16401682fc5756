//! Which part each sample goes into. The rules are those by which an export begins another file: a sample goes into its stream's
//! current part; where that cannot be, the next one begins, and every other stream goes over at its own next place where decoding can
//! begin.

use crate::error::{Error, Result};
use crate::export::archive::Places;
use crate::export::feed::Piece;
use crate::footage::part::Part;
use crate::footage::prepared::{FiledStream, Prepared, Stood};
use crate::footage::request::{FootageRequest, Format};
use keha_fs::{SampleRow, StreamId, StreamName, StreamSummary, TrackKind, WallTime};

/// The most parts that are told apart.
const PARTS_MAX: usize = 1000;

/// A part of some footage: what one file can hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FootagePart {
    /// Its earliest moment.
    pub from: WallTime,
    /// The end of its last sample.
    pub to: WallTime,
    /// Its samples.
    pub samples: u64,
    /// Their bytes as recorded.
    pub bytes: u64,
    /// Why the part before it does not go on; `None` for the first.
    pub why: Option<String>,
}

/// Puts samples into parts.
pub(super) struct Planner {
    format: Format,
    chosen: Option<usize>,
    parts: Vec<Part>,
    lanes: Vec<Lane>,
}

struct Lane {
    id: StreamId,
    name: StreamName,
    part: Option<usize>,
}

impl Planner {
    pub(super) fn new(request: &FootageRequest, streams: &[StreamSummary]) -> Result<Planner> {
        if request.part == Some(0) {
            return Err(Error::Invalid("parts are counted from 1".into()));
        }
        let lanes =
            streams.iter().map(|stream| Lane { id: stream.id, name: stream.name.clone(), part: None });
        Ok(Planner {
            format: request.format,
            chosen: request.part,
            parts: Vec::new(),
            lanes: lanes.collect(),
        })
    }

    /// Takes the next sample of a stream.
    pub(super) fn push(&mut self, lane: usize, piece: &Piece<SampleRow>) -> Result<()> {
        let part = self.place(lane, piece)?;
        if let Some(part) = self.parts.get_mut(part) {
            part.push(lane, piece)?;
        }
        if let Some(lane) = self.lanes.get_mut(lane) {
            lane.part = Some(part);
        }
        Ok(())
    }

    fn place(&mut self, lane: usize, piece: &Piece<SampleRow>) -> Result<usize> {
        let Some(known) = self.lanes.get(lane) else { return Err(Error::Invalid("no such stream".into())) };
        let video = piece.configuration.tracks.iter().any(|track| track.kind == TrackKind::Video);
        let moves = known.part.is_none() || !video || piece.begins_pictures();
        let newest = self.parts.len().checked_sub(1);
        let stays = known.part.filter(|part| Some(*part) == newest || !moves);
        let mut why = None;
        for index in [stays, newest].into_iter().flatten() {
            let Some(part) = self.parts.get_mut(index) else { continue };
            match part.admit(lane, piece, moves)? {
                Ok(()) => return Ok(index),
                Err(reason) => why = Some(format!("{}: {reason}", known.name)),
            }
        }
        self.begin(piece.sample.wall, why)
    }

    fn begin(&mut self, first: WallTime, why: Option<String>) -> Result<usize> {
        let index = self.parts.len();
        if index == PARTS_MAX {
            return Err(Error::Invalid(format!(
                "the footage falls into more than {PARTS_MAX} parts; ask for a shorter range"
            )));
        }
        if self.chosen.is_none() {
            // There is nothing to choose from until there are two, and then the first is not it.
            self.parts.iter_mut().for_each(Part::forget);
        }
        let kept = self.chosen.unwrap_or(1) == index + 1;
        self.parts.push(Part::new(first, why, self.format, kept));
        Ok(index)
    }

    /// All samples are there, and stand in these places.
    pub(super) fn finish(mut self, places: &Places) -> Result<Prepared> {
        let empty = |part: &Part| part.samples == 0;
        if let Some(part) = self.parts.iter().find(|part| empty(part)) {
            return Err(Error::Mp4 {
                at: "the footage".into(),
                reason: part.left_out.first().cloned().unwrap_or_else(|| "it has no samples".into()),
            });
        }
        let summaries: Vec<FootagePart> = self.parts.iter_mut().map(summary).collect();
        let number = match self.chosen {
            None if summaries.len() > 1 => return Err(Error::SeveralParts { parts: summaries }),
            chosen => chosen.unwrap_or(1),
        };
        if number > summaries.len() {
            let parts = summaries.len();
            return Err(Error::Invalid(format!("no part {number}: the footage has parts 1 to {parts}")));
        }
        let part = self.parts.swap_remove(number - 1);
        let streams = self.lanes.into_iter().enumerate().map(|(lane, Lane { id, name, .. })| {
            let piece = |place: usize| {
                let other = places.ids.iter().find(|(of, at, _)| (of, *at) == (&name, place));
                Some(Stood { volume: *places.volumes.get(place)?, id: other.map_or(id, |(.., id)| *id) })
            };
            let pieces: Option<Vec<Stood>> = part.pieces(lane).into_iter().map(piece).collect();
            let unknown = || Error::Invalid(format!("{name}: it stands in a volume that nobody knows"));
            let pieces = pieces.ok_or_else(unknown)?;
            // Whoever knows the name besides does not count: what is filed is the same where they are not asked.
            let id = pieces.first().map_or(id, |stood| stood.id);
            Ok(FiledStream { id, pieces, name })
        });
        let streams = streams.collect::<Result<_>>()?;
        Prepared::new(self.format, streams, part, number, summaries)
    }
}

fn summary(part: &mut Part) -> FootagePart {
    let ends = part.tracks.iter_mut().map(|track| {
        track.meter.interrupt();
        track.latest.plus_ns(track.meter.shortest_ns(track.configuration.timescale))
    });
    let to = ends.max().unwrap_or(part.latest);
    FootagePart { from: part.from, to, samples: part.samples, bytes: part.bytes, why: part.why.clone() }
}
