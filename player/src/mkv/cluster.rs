//! Clusters: samples collected by reference, written at once with their size known (RFC 9559, section 5.1.3).
//!
//! A cluster's time is the least of its blocks', so relative times are never negative although B-frames come out of
//! order. Samples are copied once, into the sink's buffer.

use crate::mkv::cues::Cues;
use crate::mkv::sink::Sink;
use crate::mkv::{Block, TICK_NS, ebml};
use keha_fs::WallTime;
use std::io;

/// The longest span of one cluster in ticks: within 16 bits and what players expect.
const SPAN_TICKS_MAX: i64 = 30_000;
/// The most bytes in a cluster, but for one sample that is larger.
const BYTES_MAX: u64 = 4 << 20;

const FLAG_KEY: u8 = 0x80;
const FLAG_DISCARDABLE: u8 = 0x01;
const TIMESTAMP: u32 = 0xE7;
const SIMPLE_BLOCK: u32 = 0xA3;

/// The cluster being collected.
#[derive(Default)]
pub(crate) struct Cluster {
    blocks: Vec<Block>,
    data_bytes: u64,
    first: WallTime,
    last: WallTime,
    scratch: Vec<u8>,
}

impl Cluster {
    /// Whether `block` has to begin another cluster. Every place to seek to does: readers go to a cluster's beginning, and
    /// take what stands before the keyframe there for a broken file.
    pub(crate) fn ends_before(&self, block: &Block) -> bool {
        if self.blocks.is_empty() {
            return false;
        }
        let span = self.last.max(block.wall).since_ns(self.first.min(block.wall)) / TICK_NS;
        block.cue || span > SPAN_TICKS_MAX || self.data_bytes + block.data.len() as u64 > BYTES_MAX
    }

    /// Collects a block.
    pub(crate) fn push(&mut self, block: Block) {
        (self.first, self.last) = if self.blocks.is_empty() {
            (block.wall, block.wall)
        } else {
            (self.first.min(block.wall), self.last.max(block.wall))
        };
        self.data_bytes += block.data.len() as u64;
        self.blocks.push(block);
    }

    /// Whether nothing is collected.
    pub(crate) fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// Writes what is collected, notes its places to seek to, and is empty again. Gives how many blocks lay before
    /// `origin` and were moved to it: Matroska has no time before the file's beginning.
    pub(crate) fn write(
        &mut self,
        origin: WallTime,
        sink: &mut dyn Sink,
        cues: &mut Cues,
    ) -> io::Result<u64> {
        let ticks = |wall: WallTime| (wall.since_ns(origin) + TICK_NS / 2).div_euclid(TICK_NS).max(0);
        let moved = self.blocks.iter().filter(|block| block.wall < origin).count() as u64;
        let start = ticks(self.first);
        let position = sink.position();
        let timestamp_bytes = 2 + 8;
        let block_bytes = |block: &Block| ebml::size_bytes(block.track) + 3 + block.data.len() as u64;
        let element_bytes = |block: &Block| {
            let inside = block_bytes(block);
            1 + ebml::size_bytes(inside) + inside
        };
        self.scratch.clear();
        ebml::put_id(&mut self.scratch, ebml::CLUSTER);
        ebml::put_size(
            &mut self.scratch,
            timestamp_bytes + self.blocks.iter().map(element_bytes).sum::<u64>(),
        );
        let data_at = position + self.scratch.len() as u64;
        ebml::put_u64(&mut self.scratch, TIMESTAMP, start.unsigned_abs());
        for block in self.blocks.drain(..) {
            let at = ticks(block.wall);
            if block.cue {
                let relative = sink.position() + self.scratch.len() as u64 - data_at;
                cues.push(at.unsigned_abs(), block.track, position, relative);
            }
            ebml::put_id(&mut self.scratch, SIMPLE_BLOCK);
            ebml::put_size(&mut self.scratch, block_bytes(&block));
            ebml::put_size(&mut self.scratch, block.track);
            // Within 16 bits: `ends_before` bounds a cluster's span.
            let relative = i16::try_from(at - start).unwrap_or(i16::MAX);
            self.scratch.extend(relative.to_be_bytes());
            let key = if block.key { FLAG_KEY } else { 0 };
            self.scratch.push(key | if block.discardable { FLAG_DISCARDABLE } else { 0 });
            sink.write(&self.scratch)?;
            sink.write(&block.data)?;
            self.scratch.clear();
        }
        self.data_bytes = 0;
        Ok(moved)
    }
}
