//! One Matroska file from its first block to its last: header, clusters, cues, tags, final header.
//!
//! Nothing is written before the first second is there: tracks are recorded a little out of step, and only then is it
//! known which sample is the earliest and so where time zero lies.

use crate::error::{Error, Result};
use crate::mkv::cluster::Cluster;
use crate::mkv::cues::Cues;
use crate::mkv::header::{Header, Sealed, reserved_bytes};
use crate::mkv::sink::Sink;
use crate::mkv::{Block, TICK_NS, Tags, Track};
use keha_fs::WallTime;
use std::io;
use std::path::PathBuf;
use uuid::Uuid;

/// How much is looked at to find time zero.
const FIRST_NS: i64 = 1_000_000_000;
const FIRST_BYTES: usize = 8 << 20;

/// A file being written.
pub(crate) struct Muxer<'a> {
    sink: Box<dyn Sink + 'a>,
    path: PathBuf,
    segment_uuid: Uuid,
    title: String,
    tracks: Vec<Track>,
    /// The first second's blocks, until time zero is known.
    first: Vec<Block>,
    first_bytes: usize,
    cluster: Cluster,
    cues: Cues,
    begun: Option<Begun>,
    blocks_moved: u64,
    ends: Option<WallTime>,
}

#[derive(Clone, Copy)]
struct Begun {
    origin: WallTime,
    /// The length of the header in the file.
    header_bytes: usize,
}

/// What a finished file is.
#[derive(Clone, Debug)]
pub(crate) struct Finished {
    /// Its size.
    pub bytes: u64,
    /// Its BLAKE3.
    pub hash: blake3::Hash,
    /// The wall time of its time zero.
    pub origin: WallTime,
    /// Its SegmentUUID.
    pub segment_uuid: Uuid,
    /// Blocks that lay before time zero and were moved to it.
    pub blocks_moved: u64,
}

impl<'a> Muxer<'a> {
    /// `path` only names the file in errors.
    pub(crate) fn new(
        sink: Box<dyn Sink + 'a>,
        path: PathBuf,
        title: String,
        segment_uuid: Uuid,
    ) -> Muxer<'a> {
        Muxer {
            sink,
            path,
            segment_uuid,
            title,
            tracks: Vec::new(),
            first: Vec::new(),
            first_bytes: 0,
            cluster: Cluster::default(),
            cues: Cues::default(),
            begun: None,
            blocks_moved: 0,
            ends: None,
        }
    }

    /// Says when the last sample will end, where that is known beforehand: also a pipe's header has the duration then.
    pub(crate) fn will_end(&mut self, at: WallTime) {
        self.ends = Some(at);
    }

    /// Time zero, once it is known.
    pub(crate) fn origin(&self) -> Option<WallTime> {
        self.begun.map(|begun| begun.origin)
    }

    /// Goes on behind a cluster of a pipe whose time zero is known: its header was written before.
    pub(crate) fn resume(&mut self, origin: WallTime) {
        self.begun = Some(Begun { origin, header_bytes: 0 });
    }

    /// Replaces the tracks, if they still fit: before the first cluster any do, later those that the kept room takes.
    /// In a pipe nothing can be changed any more, which matters only where tracks differ in more than parameter sets.
    pub(crate) fn set_tracks(&mut self, tracks: Vec<Track>) -> Result<bool> {
        if let Some(begun) = self.begun {
            // Twelve bytes are a default duration, which comes in last.
            let sealed =
                Sealed { file_bytes: u64::MAX >> 8, cues_at: Some(u64::MAX >> 8), tags_at: u64::MAX >> 8 };
            let header = self.header(begun.origin, &tracks, Some(0.0), Some(sealed));
            if !self.sink.can_patch() || header.encode()?.len() + 12 * tracks.len() + 2 > begun.header_bytes {
                return Ok(false);
            }
        }
        self.tracks = tracks;
        Ok(true)
    }

    /// Whether tracks can no longer be changed.
    pub(crate) fn is_fixed(&self) -> bool {
        self.begun.is_some() && !self.sink.can_patch()
    }

    /// Whether a moment lies before the file's time zero, and cannot stand in it any more.
    pub(crate) fn begins_behind(&self, wall: WallTime) -> bool {
        self.begun.is_some_and(|begun| wall < begun.origin)
    }

    /// Takes a sample.
    pub(crate) fn push(&mut self, block: Block) -> Result<()> {
        if let Some(begun) = self.begun {
            return self.collect(begun, &block);
        }
        let earliest = self.first.iter().map(|block| block.wall).min().unwrap_or(block.wall);
        let spans = block.wall.since_ns(earliest);
        self.first_bytes += block.data.len();
        self.first.push(block);
        if spans >= FIRST_NS || self.first_bytes >= FIRST_BYTES {
            self.begin()?;
        }
        Ok(())
    }

    fn collect(&mut self, begun: Begun, block: &Block) -> Result<()> {
        if self.cluster.ends_before(block) {
            self.write_cluster(begun)?;
        }
        self.cluster.push(block);
        Ok(())
    }

    fn write_cluster(&mut self, begun: Begun) -> Result<()> {
        let written = self.cluster.write(begun.origin, self.sink.as_mut(), &mut self.cues);
        self.blocks_moved += written.map_err(|source| self.failed("write", source))?;
        Ok(())
    }

    fn begin(&mut self) -> Result<Begun> {
        let origin = self.first.iter().map(|block| block.wall).min().unwrap_or_default();
        let lasts = self.ends.map(|end| ticks_between(origin, end));
        let header = self.header(origin, &self.tracks, lasts, None);
        let plain = header.encode()?;
        let encoded =
            if self.sink.can_patch() { header.encode_padded(reserved_bytes(plain.len()))? } else { plain };
        self.sink.begin(&encoded).map_err(|source| self.failed("write", source))?;
        let begun = Begun { origin, header_bytes: encoded.len() };
        self.begun = Some(begun);
        std::mem::take(&mut self.first).into_iter().try_for_each(|block| self.collect(begun, &block))?;
        Ok(begun)
    }

    /// Ends the file. `last` is the end of its last sample; `tags` is asked for when time zero is known.
    pub(crate) fn finish(mut self, last: WallTime, tags: impl FnOnce(WallTime) -> Tags) -> Result<Finished> {
        let begun = match self.begun {
            Some(begun) => begun,
            None => self.begin()?,
        };
        if !self.cluster.is_empty() {
            self.write_cluster(begun)?;
        }
        let mut sealed = Sealed::default();
        if self.sink.can_patch() && !self.cues.is_empty() {
            sealed.cues_at = Some(self.sink.position());
            let data_at = self.header(begun.origin, &[], None, None).data_at()?;
            self.cues.write(data_at, self.sink.as_mut()).map_err(|source| self.failed("write", source))?;
        }
        sealed.tags_at = self.sink.position();
        self.sink.write(&tags(begun.origin).encode()?).map_err(|source| self.failed("write", source))?;
        sealed.file_bytes = self.sink.position();
        let duration = ticks_between(begun.origin, last);
        let header = self.header(begun.origin, &self.tracks, Some(duration), Some(sealed));
        let header =
            if self.sink.can_patch() { header.encode_padded(begun.header_bytes)? } else { Vec::new() };
        let hash = self.sink.finish(&header).map_err(|source| self.failed("finish", source))?;
        Ok(Finished {
            bytes: sealed.file_bytes,
            hash,
            origin: begun.origin,
            segment_uuid: self.segment_uuid,
            blocks_moved: self.blocks_moved,
        })
    }

    fn header<'b>(
        &'b self,
        origin: WallTime,
        tracks: &'b [Track],
        duration: Option<f64>,
        sealed: Option<Sealed>,
    ) -> Header<'b> {
        Header {
            segment_uuid: self.segment_uuid.into_bytes(),
            title: &self.title,
            origin,
            duration,
            tracks,
            sealed,
        }
    }

    fn failed(&self, operation: &'static str, source: io::Error) -> Error {
        Error::Io { operation, path: self.path.clone(), source }
    }
}

fn ticks_between(from: WallTime, to: WallTime) -> f64 {
    to.since_ns(from).max(0) as f64 / TICK_NS as f64
}
