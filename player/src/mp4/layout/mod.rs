//! A progressive MP4 file laid out before a sample is read: its length, its head, and what stands at each of its bytes.
//!
//! Invariants:
//! - The file is the head (`ftyp`, `moov`, the header of `mdat`), then windows of about a second; in a window, for each
//!   track in turn, its samples as one chunk. Nothing lies between them and nothing behind.
//! - The same samples pushed in the same order give the same file.
//! - A layout takes 4 bytes a sample, 24 a chunk, and a `moov` of about the same size.
//!
//! Nothing here reads samples: whoever serves a range asks for its pieces, reads those samples, and takes from
//! [`crate::mp4::Track::file_payload`] what stands in the file.

mod builder;
mod head;
mod table;

pub use builder::{LayoutBuilder, LayoutSample};

use crate::mp4::track::Track;
use bytes::Bytes;
use std::ops::Range;

/// A file laid out. Made by [`LayoutBuilder`].
#[derive(Clone, Debug)]
pub struct Layout {
    head: Bytes,
    tracks: Vec<LaidTrack>,
    /// In the order of the file.
    chunks: Vec<Chunk>,
    bytes: u64,
}

#[derive(Clone, Debug)]
struct LaidTrack {
    track: Track,
    sizes: Vec<u32>,
}

/// Samples of one track that stand together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Chunk {
    /// From the beginning of the media data.
    at: u64,
    track: u32,
    /// The first of its samples, in its track.
    first: u32,
    count: u32,
}

/// A piece of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// These bytes.
    Head(Bytes),
    /// Bytes of a sample's [`crate::mp4::Track::file_payload`].
    Sample {
        /// Its track, as an index into the tracks that the builder was given.
        track: usize,
        /// Which sample of the track, in the order of pushing, from 0.
        sample: u32,
        /// Which of its bytes.
        bytes: Range<u32>,
    },
}

impl Piece {
    /// How many bytes it has.
    pub fn bytes(&self) -> u64 {
        match self {
            Piece::Head(data) => data.len() as u64,
            Piece::Sample { bytes, .. } => u64::from(bytes.end - bytes.start),
        }
    }
}

impl Layout {
    /// The length of the file in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many bytes of memory it takes.
    pub fn memory_bytes(&self) -> u64 {
        let sizes = self.tracks.iter().map(|laid| laid.sizes.capacity() * size_of::<u32>()).sum::<usize>();
        let tables =
            self.chunks.capacity() * size_of::<Chunk>() + self.tracks.capacity() * size_of::<LaidTrack>();
        (self.head.len() + sizes + tables) as u64
    }

    /// The beginning of the file, to where the samples begin.
    pub fn head(&self) -> &Bytes {
        &self.head
    }

    /// The tracks, in the order that the builder was given.
    pub fn tracks(&self) -> impl Iterator<Item = &Track> {
        self.tracks.iter().map(|laid| &laid.track)
    }

    /// How many bytes a sample has in the file, counted in its track from 0.
    pub fn sample_bytes(&self, track: usize, sample: u32) -> Option<u32> {
        self.tracks.get(track)?.sizes.get(sample as usize).copied()
    }

    /// What stands in a range of the file, in order and without gaps; what lies behind the end is left out.
    pub fn pieces(&self, range: Range<u64>) -> impl Iterator<Item = Piece> + '_ {
        let end = range.end.min(self.bytes);
        let head_bytes = self.head.len() as u64;
        let head_end = end.min(head_bytes);
        let head = (range.start < head_end).then(|| {
            // Both lie within the head, which is in memory.
            Piece::Head(self.head.slice(range.start as usize..head_end as usize))
        });
        let media = range.start.saturating_sub(head_bytes)..end.saturating_sub(head_bytes);
        let first = self.chunks.partition_point(|chunk| chunk.at <= media.start).saturating_sub(1);
        let chunks = self.chunks.get(first..).unwrap_or_default().iter();
        let within = chunks.take_while({
            let end = media.end;
            move |chunk| chunk.at < end
        });
        head.into_iter().chain(within.flat_map(move |chunk| self.pieces_of(chunk, media.clone())))
    }

    /// The parts of a chunk's samples that lie in a range of the media data.
    fn pieces_of(&self, chunk: &Chunk, media: Range<u64>) -> impl Iterator<Item = Piece> + '_ {
        let Chunk { at, track, first, count } = *chunk;
        let (track, start) = (track as usize, first as usize);
        let sizes = self.tracks.get(track).and_then(|laid| laid.sizes.get(start..start + count as usize));
        let placed = sizes.unwrap_or_default().iter().zip(first..).scan(at, |at, (size, sample)| {
            let begins = *at;
            *at += u64::from(*size);
            Some((begins, *size, sample))
        });
        placed.filter_map(move |(begins, size, sample)| {
            let from = media.start.max(begins);
            let to = media.end.min(begins + u64::from(size));
            // Both differences are within the sample's size, which has 32 bits.
            (from < to).then(|| Piece::Sample {
                track,
                sample,
                bytes: (from - begins) as u32..(to - begins) as u32,
            })
        })
    }
}
