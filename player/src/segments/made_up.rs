//! Streams that are made up group by group, for tests of what is planned from outlines.

use super::LENGTH_MAX_NS;
use crate::timeline::TimelineSource;
use keha_fs::{
    BlockIndex, BlockOutline, BlockState, ChunkNumber, Configuration, ConfigurationHash, Gap, GapReason,
    OutlineChunk, OutlineKind, OutlineSync, Result, RunId, Sequence, StreamId, StreamRow, TrackConfiguration,
    TrackKind, TrackNumber, Uuid, WallTime,
};
use proptest::prelude::*;
use std::cell::Cell;
use std::sync::Arc;

pub(crate) const MS: i64 = 1_000_000;
pub(crate) const STREAM: StreamId = StreamId(Uuid::from_u128(1));
/// 2026-03-01T12:00:00.123Z.
const NOON_MS: i64 = 1_772_366_400_123;
const PICTURE_MS: i64 = 40;
const CHUNK_MS: i64 = 1000;
const CHUNKS_A_BLOCK: usize = 8;

/// What happens to a camera.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// Groups of pictures of this length, in milliseconds.
    Gops(usize, i64),
    /// A new run, so much later; or earlier, where a clock was set back.
    Run(i64),
    /// Another configuration.
    Configuration,
    /// The run goes on behind a gap record of this length.
    Gap(i64),
    /// So much was erased.
    Erased(i64),
    /// From here on chunks have so many bytes.
    Bytes(u32),
}

/// What may happen; clocks only go forward.
pub(crate) fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        6 => (1usize..12, 1i64..75).prop_map(|(count, pictures)| Event::Gops(count, pictures * PICTURE_MS)),
        2 => (1usize..3, 75i64..400).prop_map(|(count, pictures)| Event::Gops(count, pictures * PICTURE_MS)),
        1 => (0i64..90_000).prop_map(Event::Run),
        1 => Just(Event::Configuration),
        1 => (40i64..30_000).prop_map(Event::Gap),
        1 => (40i64..30_000).prop_map(Event::Erased),
    ];
    prop::collection::vec(event, 1..40)
}

/// A group as it was recorded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Made {
    pub(crate) from: WallTime,
    pub(crate) to: WallTime,
}

/// A stream up to some chunk of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct MadeUp {
    chunks: Vec<(OutlineChunk, Vec<WallTime>)>,
    pub(crate) gops: Vec<Made>,
    pub(crate) shown: usize,
    pub(crate) live: bool,
    /// How many outlines were asked for.
    pub(crate) asked: Cell<usize>,
    now_ms: i64,
    run: u128,
    configuration: u8,
    bytes: u32,
    /// What its pictures are: H.264, or what is said here.
    pub(crate) codec: Option<[u8; 4]>,
}

impl MadeUp {
    pub(crate) fn of(events: &[Event]) -> MadeUp {
        let mut made = MadeUp { now_ms: NOON_MS, run: 1, bytes: 100_000, ..MadeUp::default() };
        for event in events {
            made.happens(event);
        }
        made.shown = made.chunks.len();
        made
    }

    pub(crate) fn chunks(&self) -> usize {
        self.chunks.len()
    }

    /// How much of it can be played, in nanoseconds.
    pub(crate) fn playable_ns(&self) -> i64 {
        let lengths = self.gops.iter().map(|gop| gop.to.since_ns(gop.from));
        lengths.filter(|length| *length <= LENGTH_MAX_NS).sum()
    }

    fn happens(&mut self, event: &Event) {
        match event {
            Event::Gops(count, ms) => (0..*count).for_each(|_| self.gop(*ms)),
            Event::Run(later_ms) => {
                self.run += 1;
                self.now_ms += later_ms;
            }
            Event::Configuration => self.configuration += 1,
            Event::Bytes(bytes) => self.bytes = *bytes,
            Event::Gap(ms) => {
                let (from, to) = self.passes(*ms);
                let (reason, detail) = (GapReason::Overload, String::new());
                let gap = Gap { reason, from, to: Some(to), samples_lost: 0, bytes_lost: 0, detail };
                self.chunk(OutlineKind::Gap(gap), from, to, Vec::new());
            }
            Event::Erased(ms) => {
                let (from, to) = self.passes(*ms);
                self.chunk(OutlineKind::Erased, from, to, Vec::new());
            }
        }
    }

    fn passes(&mut self, ms: i64) -> (WallTime, WallTime) {
        let from = at(self.now_ms);
        self.now_ms += ms;
        (from, at(self.now_ms))
    }

    fn gop(&mut self, ms: i64) {
        let (from, to) = (self.now_ms, self.now_ms + ms);
        self.gops.push(Made { from: at(from), to: at(to) });
        self.now_ms = to;
        let last = to - PICTURE_MS;
        // Short groups share a chunk, long ones have several.
        let run = RunId(Uuid::from_u128(self.run));
        let configuration = ConfigurationHash([self.configuration; 16]);
        if let Some((chunk, syncs)) = self.chunks.last_mut().filter(|(chunk, _)| {
            (chunk.run, chunk.configuration) == (run, configuration)
                && chunk.kind == OutlineKind::Media
                && chunk.to == at(from - PICTURE_MS)
                && at(last).since_ns(chunk.from) < CHUNK_MS * MS
        }) {
            chunk.to = at(last);
            syncs.push(at(from));
            return;
        }
        let mut begin = from;
        while begin <= last {
            let end = last.min(begin + CHUNK_MS - PICTURE_MS);
            let syncs = if begin == from { vec![at(from)] } else { Vec::new() };
            self.chunk(OutlineKind::Media, at(begin), at(end), syncs);
            begin = end + PICTURE_MS;
        }
    }

    fn chunk(&mut self, kind: OutlineKind, from: WallTime, to: WallTime, syncs: Vec<WallTime>) {
        let run = RunId(Uuid::from_u128(self.run));
        let configuration = ConfigurationHash([self.configuration; 16]);
        let bytes = self.bytes;
        self.chunks.push((OutlineChunk { number: None, kind, run, from, to, configuration, bytes }, syncs));
    }

    fn blocks(&self) -> impl Iterator<Item = (usize, &[(OutlineChunk, Vec<WallTime>)])> {
        self.chunks[..self.shown].chunks(CHUNKS_A_BLOCK).enumerate()
    }

    fn row(number: usize, chunks: &[(OutlineChunk, Vec<WallTime>)]) -> StreamRow {
        let medias = || chunks.iter().filter(|(chunk, _)| chunk.kind == OutlineKind::Media);
        let syncs: usize = chunks.iter().map(|(_, syncs)| syncs.len()).sum();
        StreamRow {
            block: BlockIndex(number as u32),
            sequence: Sequence(number as u64 + 1),
            state: BlockState::Sealed,
            first_chunk: ChunkNumber((number * CHUNKS_A_BLOCK) as u64 + 1),
            chunks: chunks.len() as u32,
            samples: medias().count() as u32,
            sync_samples: syncs as u32,
            wall: medias().map(|(chunk, _)| chunk.from).min().zip(medias().map(|(chunk, _)| chunk.to).max()),
            follows: true,
            ..StreamRow::default()
        }
    }
}

pub(crate) fn at(ms: i64) -> WallTime {
    WallTime(ms * MS)
}

impl TimelineSource for MadeUp {
    fn streams(&self) -> Vec<StreamId> {
        vec![STREAM]
    }

    fn is_live(&self) -> bool {
        self.live
    }

    fn rows(&self, _: StreamId) -> Vec<StreamRow> {
        self.blocks().map(|(number, chunks)| MadeUp::row(number, chunks)).collect()
    }

    fn outline(&self, _: StreamId, row: &StreamRow) -> Result<BlockOutline> {
        self.asked.set(self.asked.get() + 1);
        let found = self.blocks().find(|(number, _)| *number as u32 == row.block.0);
        let (_, chunks) = found.ok_or(keha_fs::Error::Overwritten { available_from: None })?;
        let syncs = (0..).zip(chunks).flat_map(|(chunk, (_, syncs))| {
            let sync = move |(entry, wall): (usize, &WallTime)| OutlineSync {
                chunk,
                entry: entry as u32,
                wall: *wall,
                track: TrackNumber(1),
            };
            syncs.iter().enumerate().map(sync)
        });
        Ok(BlockOutline {
            first_chunk: Some(row.first_chunk),
            syncs: syncs.collect(),
            chunks: chunks.iter().map(|(chunk, _)| chunk.clone()).collect(),
            damaged: false,
        })
    }

    fn configuration(
        &self,
        _: StreamId,
        _: &StreamRow,
        _: ConfigurationHash,
    ) -> Result<Option<Arc<Configuration>>> {
        let track = TrackConfiguration {
            track: TrackNumber(1),
            kind: TrackKind::Video,
            codec: self.codec.unwrap_or(*b"avc1"),
            timescale: 90_000,
            width: 0,
            height: 0,
            channels: 0,
            sample_rate: 0,
            private: Vec::new(),
        };
        Ok(Some(Arc::new(Configuration { tracks: vec![track], session: Vec::new() })))
    }
}
