//! Clusters: samples collected in one re-used buffer, written at once with their size known (RFC 9559, section 5.1.3).
//!
//! A cluster's time is the least of its blocks', so relative times are never negative although B-frames come out of
//! order. Samples are copied out of the buffer they were read into at once: kept longer, those buffers could not be
//! re-used, and fresh memory costs more than copying.

use crate::mkv::cues::Cues;
use crate::mkv::sink::Sink;
use crate::mkv::{Block, TICK_NS, ebml};
use keha_fs::WallTime;
use std::io;

/// The longest span of one cluster in ticks: within 16 bits and what players expect.
const SPAN_TICKS_MAX: i64 = 30_000;
/// The most bytes in a cluster, but for one sample that is larger.
const BYTES_MAX: usize = 4 << 20;

const FLAG_KEY: u8 = 0x80;
const FLAG_DISCARDABLE: u8 = 0x01;
const TIMESTAMP: u32 = 0xE7;
const SIMPLE_BLOCK: u32 = 0xA3;
/// The cluster's time: id, size, 8 bytes.
const TIMESTAMP_BYTES: u64 = 10;

/// The cluster being collected.
#[derive(Default)]
pub(crate) struct Cluster {
    /// The blocks as they stand in the file, their times still open.
    body: Vec<u8>,
    places: Vec<Place>,
    first: WallTime,
    last: WallTime,
}

/// A block in the body.
struct Place {
    /// Where it begins.
    at: usize,
    /// Where its relative time stands.
    time_at: usize,
    wall: WallTime,
    cue: Option<u64>,
}

impl Cluster {
    /// Whether `block` has to begin another cluster. Every place to seek to does: readers go to a cluster's beginning, and
    /// take what stands before the keyframe there for a broken file.
    pub(crate) fn ends_before(&self, block: &Block) -> bool {
        if self.places.is_empty() {
            return false;
        }
        let span = self.last.max(block.wall).since_ns(self.first.min(block.wall)) / TICK_NS;
        block.cue || span > SPAN_TICKS_MAX || self.body.len() + block.data.len() > BYTES_MAX
    }

    /// Collects a block.
    pub(crate) fn push(&mut self, block: &Block) {
        (self.first, self.last) = if self.places.is_empty() {
            (block.wall, block.wall)
        } else {
            (self.first.min(block.wall), self.last.max(block.wall))
        };
        let at = self.body.len();
        ebml::put_id(&mut self.body, SIMPLE_BLOCK);
        ebml::put_size(&mut self.body, ebml::size_bytes(block.track) + 3 + block.data.len() as u64);
        ebml::put_size(&mut self.body, block.track);
        let time_at = self.body.len();
        let key = if block.key { FLAG_KEY } else { 0 };
        let discardable = if block.discardable { FLAG_DISCARDABLE } else { 0 };
        self.body.extend_from_slice(&[0, 0, key | discardable]);
        self.body.extend_from_slice(&block.data);
        self.places.push(Place { at, time_at, wall: block.wall, cue: block.cue.then_some(block.track) });
    }

    /// Whether nothing is collected.
    pub(crate) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Writes what is collected, notes its places to seek to, and is empty again. Gives how many blocks lay before
    /// `origin` and were moved to it: Matroska has no time before the file's beginning.
    pub(crate) fn write(
        &mut self,
        origin: WallTime,
        sink: &mut dyn Sink,
        cues: &mut Cues,
    ) -> io::Result<u64> {
        let ticks =
            |wall: WallTime| wall.since_ns(origin).saturating_add(TICK_NS / 2).div_euclid(TICK_NS).max(0);
        let start = ticks(self.first);
        let position = sink.position();
        let mut head = Vec::with_capacity(32);
        ebml::put_id(&mut head, ebml::CLUSTER);
        ebml::put_size(&mut head, TIMESTAMP_BYTES + self.body.len() as u64);
        ebml::put_u64(&mut head, TIMESTAMP, start.unsigned_abs());
        let mut moved = 0;
        for place in self.places.drain(..) {
            let at = ticks(place.wall);
            moved += u64::from(place.wall < origin);
            // Within 16 bits: `ends_before` bounds a cluster's span.
            let relative = i16::try_from(at - start).unwrap_or(i16::MAX).to_be_bytes();
            if let Some(time) = self.body.get_mut(place.time_at..place.time_at + relative.len()) {
                time.copy_from_slice(&relative);
            }
            if let Some(track) = place.cue {
                cues.push(at.unsigned_abs(), track, position, TIMESTAMP_BYTES + place.at as u64);
            }
        }
        sink.write(&head)?;
        sink.write(&self.body)?;
        self.body.clear();
        Ok(moved)
    }
}
