//! Reading what was prepared: a stream's samples, each verified to be the one that was listed.

use crate::error::{Error, Result};
use crate::footage::prepared::{FiledStream, Source, Volumes};
use crate::footage::stretches::At;
use bytes::Bytes;
use keha_fs::{ChunkNumber, ChunkReader, Error as VolumeError, Item, SampleRow, TrackNumber, WallTime};
use std::collections::{BTreeMap, VecDeque};

/// How many chunks are passed over rather than begun anew behind them: some hold no samples.
const PASSED_OVER_MAX: u64 = 4;

/// A sample of the file.
#[derive(Clone, Debug)]
pub(super) struct Member {
    /// Its track in the file, and which of its samples, from 0.
    pub track: usize,
    pub sample: u32,
    /// Of its stream.
    piece: u16,
    pub row: SampleRow,
    pub data: Bytes,
}

/// Reads one stream's samples.
pub(super) struct LaneReader<'a> {
    volumes: &'a dyn Volumes,
    source: &'a Source,
    stream: &'a FiledStream,
    /// Its tracks: their numbers in the stream and in the file.
    tracks: Vec<(TrackNumber, usize)>,
    /// Of each of its pieces, in their order, the first and the last chunk that are needed.
    pieces: BTreeMap<u16, (ChunkNumber, ChunkNumber)>,
    /// `None` until something is asked for.
    reader: Option<ChunkReader<'a>>,
    /// The chunk of the sample that was read last.
    at: At,
    reached: Option<WallTime>,
    /// By track in the file, the sample behind the one read last.
    next: BTreeMap<usize, u32>,
    /// Samples before those that come next are passed over: it was not begun at the first.
    passes_over: bool,
    /// What was read before it was asked for.
    waiting: BTreeMap<usize, VecDeque<Member>>,
}

impl<'a> LaneReader<'a> {
    /// `None` if the file has nothing of the stream.
    pub(super) fn new(volumes: &'a dyn Volumes, source: &'a Source, lane: usize) -> Option<LaneReader<'a>> {
        let mine = || source.tracks.iter().enumerate().filter(move |(_, track)| track.lane == lane);
        let mut pieces: BTreeMap<u16, (ChunkNumber, ChunkNumber)> = BTreeMap::new();
        for (piece, first, last) in mine().flat_map(|(_, track)| track.stretches.chunks()) {
            let known = pieces.entry(piece).or_insert((first, last));
            *known = (known.0.min(first), known.1.max(last));
        }
        let (first, (begins, _)) = pieces.first_key_value().map(|(piece, chunks)| (*piece, *chunks))?;
        let stream = source.streams.get(lane)?;
        let tracks = mine().map(|(index, track)| (track.configuration.track, index)).collect();
        Some(LaneReader {
            volumes,
            source,
            stream,
            tracks,
            pieces,
            reader: None,
            at: (first, begins),
            reached: None,
            next: BTreeMap::new(),
            passes_over: false,
            waiting: BTreeMap::new(),
        })
    }

    /// Goes on with the samples that begin in this chunk.
    fn seek(&mut self, at: At) -> Result<()> {
        self.reader = Some(self.open(at)?);
        self.at = at;
        self.next.clear();
        Ok(())
    }

    /// Reads a piece, from one of its chunks on.
    fn open(&self, (piece, chunk): At) -> Result<ChunkReader<'a>> {
        let stood = self.stream.pieces.get(usize::from(piece)).ok_or_else(|| self.changed())?;
        let volume = self.volumes.volume(stood.volume).ok_or_else(|| self.changed())?;
        let last = self.pieces.get(&piece).map_or(chunk, |(_, last)| *last);
        Ok(volume.read_chunks(stood.id, chunk..=last).reading_ahead())
    }

    /// Goes on with the next piece. Whether there is one.
    fn next_piece(&mut self) -> Result<bool> {
        let next = self.at.0.checked_add(1).and_then(|next| self.pieces.range(next..).next());
        let Some((piece, (first, _))) = next.map(|(piece, chunks)| (*piece, *chunks)) else {
            return Ok(false);
        };
        // What was missing at the end of this one is told by who counts its samples.
        self.reader = Some(self.open((piece, first))?);
        self.at = (piece, first);
        Ok(true)
    }

    /// Begins with these samples, by track in the file, and not with the first. For [`LaneReader::next`] alone.
    fn begin_at(&mut self, samples: &[u32]) -> Result<()> {
        let mine: Vec<(usize, u32)> = self
            .tracks
            .iter()
            .map(|(_, track)| (*track, samples.get(*track).copied().unwrap_or(0)))
            .collect();
        let begins = mine.iter().filter_map(|(track, sample)| {
            Some(self.source.tracks.get(*track)?.stretches.of(*sample)?.begins())
        });
        // Where all tracks are at their ends, nothing of the last chunk is given.
        let last = || self.pieces.last_key_value().map(|(piece, (_, last))| (*piece, *last));
        let begins = begins.min().or_else(last).unwrap_or(self.at);
        self.seek(begins)?;
        self.next.extend(mine);
        self.passes_over = true;
        Ok(())
    }

    /// The next sample of the file that is recorded; `None` behind the last one.
    fn read(&mut self) -> Result<Option<Member>> {
        loop {
            let Some(reader) = &mut self.reader else { return Ok(None) };
            let next = match reader.next_sample() {
                Ok(next) => next,
                Err(error) => return Err(self.failed(error)),
            };
            let Some((row, data)) = next else {
                if self.next_piece()? {
                    continue;
                }
                return Ok(None);
            };
            let piece = self.at.0;
            self.at = (piece, row.chunk);
            let Some((_, track)) = self.tracks.iter().find(|(number, _)| *number == row.track) else {
                continue;
            };
            let stretches = &self.source.tracks.get(*track).ok_or_else(|| self.changed())?.stretches;
            let Some((sample, stretch)) = stretches.find(piece, &row) else { continue };
            if stretch.checksum != row.chunk_checksum {
                return Err(self.changed());
            }
            self.reached = Some(row.wall);
            return Ok(Some(Member { track: *track, sample, piece, row, data }));
        }
    }

    /// The next sample in the order of recording; none of the file's is left out. Not to be mixed with [`LaneReader::take`].
    pub(super) fn next(&mut self) -> Result<Option<Member>> {
        if self.reader.is_none() {
            self.seek(self.at)?;
        }
        let found = loop {
            let found = self.read()?;
            let is_before =
                |member: &Member| self.next.get(&member.track).is_some_and(|next| member.sample < *next);
            // The tracks do not begin in the same chunk.
            if !(self.passes_over && found.as_ref().is_some_and(is_before)) {
                break found;
            }
        };
        match &found {
            Some(member) => {
                let next = self.next.entry(member.track).or_default();
                if *next != member.sample {
                    return Err(self.changed());
                }
                *next += 1;
            }
            None => {
                let all = self.tracks.iter().all(|(_, track)| {
                    let samples = self.source.tracks.get(*track).map_or(0, |track| track.stretches.samples());
                    self.next.get(track).copied().unwrap_or(0) == samples
                });
                if !all {
                    return Err(self.changed());
                }
            }
        }
        Ok(found)
    }

    /// A certain sample. Of each track they are asked for in order, with or without holes.
    pub(super) fn take(&mut self, track: usize, sample: u32) -> Result<Member> {
        let waiting = self.waiting.entry(track).or_default();
        while let Some(first) = waiting.pop_front() {
            if first.sample == sample {
                return Ok(first);
            }
            if first.sample > sample {
                waiting.push_front(first);
                break;
            }
        }
        let stretch = self.source.tracks.get(track).and_then(|track| track.stretches.of(sample));
        let (begins, ends) = stretch.map(|it| (it.begins(), it.at())).ok_or_else(|| self.changed())?;
        let was_read = self.next.get(&track).is_some_and(|next| *next > sample);
        let begun = self.reader.is_some();
        let (piece, chunk) = self.at;
        let is_far = begins.0 > piece || begins.1.0 > chunk.0.saturating_add(PASSED_OVER_MAX);
        if !begun || was_read || self.at > ends || is_far {
            self.seek(begins)?;
        }
        loop {
            let Some(member) = self.read()? else { return Err(self.changed()) };
            self.next.insert(member.track, member.sample.saturating_add(1));
            if (member.track, member.sample) == (track, sample) {
                return Ok(member);
            }
            if (member.piece, member.row.chunk) > ends || member.track == track && member.sample > sample {
                return Err(self.changed());
            }
            let waiting = self.waiting.entry(member.track).or_default();
            // After a step back some are met again.
            if member.track != track && waiting.back().is_none_or(|last| last.sample < member.sample) {
                waiting.push_back(member);
            }
        }
    }

    /// The error for footage that is not what it was when the file was prepared.
    pub(super) fn changed(&self) -> Error {
        let why = match self.reader.as_ref().and_then(ChunkReader::missing) {
            Some(Item::Damage(finding)) => format!("its {} at byte {} is damaged", finding.what, finding.at),
            Some(Item::Erased(span)) if span.expired => "it is past its maximum age".to_owned(),
            Some(Item::Erased(_)) => "it was erased".to_owned(),
            _ => "it is not there any more, or was recorded anew".to_owned(),
        };
        Error::Changed { stream: self.stream.name.clone(), reached: self.reached, why }
    }

    fn failed(&self, error: VolumeError) -> Error {
        match error {
            VolumeError::Overwritten { available_from } => {
                Error::Overwritten { stream: self.stream.name.clone(), reached: self.reached, available_from }
            }
            other => other.into(),
        }
    }
}

/// All of a file's samples, the earliest of the streams' next ones first.
pub(super) struct Merged<'a> {
    lanes: Vec<(LaneReader<'a>, Option<Member>)>,
}

impl<'a> Merged<'a> {
    pub(super) fn new(volumes: &'a dyn Volumes, source: &'a Source) -> Result<Merged<'a>> {
        let readers = (0..source.streams.len()).filter_map(|lane| LaneReader::new(volumes, source, lane));
        let lanes = readers.map(|mut lane| {
            let head = lane.next()?;
            Ok((lane, head))
        });
        Ok(Merged { lanes: lanes.collect::<Result<_>>()? })
    }

    /// Goes on where these samples come next, by track. Those from `needed` on that come before are given at once, of each track in their
    /// order.
    pub(super) fn resumed(
        volumes: &'a dyn Volumes,
        source: &'a Source,
        needed: &[u32],
        next: &[u32],
    ) -> Result<(Merged<'a>, Vec<Member>)> {
        let (mut lanes, mut before) = (Vec::new(), Vec::new());
        for lane in 0..source.streams.len() {
            let Some(mut lane) = LaneReader::new(volumes, source, lane) else { continue };
            lane.begin_at(needed)?;
            let head = loop {
                match lane.next()? {
                    // What was taken of a stream is what was recorded first.
                    Some(member) if next.get(member.track).is_some_and(|next| member.sample < *next) => {
                        before.push(member);
                    }
                    head => break head,
                }
            };
            lanes.push((lane, head));
        }
        Ok((Merged { lanes }, before))
    }

    /// The next sample.
    pub(super) fn next(&mut self) -> Result<Option<Member>> {
        let heads = self.lanes.iter().enumerate();
        let heads = heads.filter_map(|(index, (_, head))| Some((head.as_ref()?.row.wall, index)));
        let Some((_, index)) = heads.min() else { return Ok(None) };
        let Some((lane, head)) = self.lanes.get_mut(index) else { return Ok(None) };
        let next = lane.next()?;
        Ok(std::mem::replace(head, next))
    }
}
