//! Streams that are made up chunk by chunk.

use crate::timeline::{Index, TimelineSource};
use keha_fs::{
    BlockIndex, BlockOutline, BlockState, ChunkNumber, ConfigurationHash, Gap, GapReason, OutlineChunk,
    OutlineKind, OutlineSync, Result, RunId, Sequence, StreamId, StreamRow, TrackNumber, Uuid, WallTime,
};
use std::cell::RefCell;

pub(super) const S: i64 = 1_000_000_000;
pub(super) const STREAM: StreamId = StreamId(Uuid::from_u128(1));

/// A stream's blocks, and which outlines were asked for.
#[derive(Default)]
pub(super) struct MadeUp {
    pub(super) blocks: Vec<(StreamRow, BlockOutline)>,
    pub(super) live: bool,
    pub(super) asked: RefCell<Vec<u32>>,
}

/// A chunk of samples, in whole seconds, with a sync sample at its beginning.
pub(super) fn media(run: u128, from_s: i64, to_s: i64) -> OutlineChunk {
    chunk(OutlineKind::Media, run, from_s, to_s)
}

pub(super) fn chunk(kind: OutlineKind, run: u128, from_s: i64, to_s: i64) -> OutlineChunk {
    let configuration = ConfigurationHash::default();
    OutlineChunk {
        number: None,
        kind,
        run: RunId(Uuid::from_u128(run)),
        from: at(from_s),
        to: at(to_s),
        configuration,
        bytes: 0,
    }
}

pub(super) fn record(reason: GapReason, from_s: i64, to_s: Option<i64>) -> OutlineChunk {
    let gap = Gap {
        reason,
        from: at(from_s),
        to: to_s.map(at),
        samples_lost: 0,
        bytes_lost: 0,
        detail: String::new(),
    };
    chunk(OutlineKind::Gap(gap), 0, from_s, to_s.unwrap_or(from_s))
}

pub(super) fn at(s: i64) -> WallTime {
    WallTime(s * S)
}

impl MadeUp {
    /// Adds a block of these chunks. Samples of void chunks are gone, all others have a sync sample.
    pub(super) fn block(mut self, chunks: Vec<OutlineChunk>) -> MadeUp {
        let expected = self.blocks.last().map_or(1, |(row, _)| row.first_chunk.0 + u64::from(row.chunks));
        let number = self.blocks.len() as u32;
        let is_media = |chunk: &&OutlineChunk| chunk.kind == OutlineKind::Media;
        let medias = || chunks.iter().filter(is_media);
        let walls = medias().map(|chunk| chunk.from).min().zip(medias().map(|chunk| chunk.to).max());
        let is_void = |chunk: &OutlineChunk| matches!(chunk.kind, OutlineKind::Erased | OutlineKind::Expired);
        let row = StreamRow {
            block: BlockIndex(number),
            sequence: Sequence(u64::from(number) + 1),
            state: BlockState::Sealed,
            first_chunk: ChunkNumber(expected),
            chunks: chunks.len() as u32,
            samples: medias().count() as u32,
            sync_samples: medias().count() as u32,
            wall: walls,
            follows: true,
            part_void: chunks.iter().any(is_void),
            ..StreamRow::default()
        };
        let syncs = (0..).zip(&chunks).filter(|(_, chunk)| is_media(chunk)).map(|(index, chunk)| {
            OutlineSync { chunk: index, entry: 0, wall: chunk.from, track: TrackNumber(1) }
        });
        let syncs = syncs.collect();
        self.blocks
            .push((row, BlockOutline { first_chunk: Some(row.first_chunk), chunks, syncs, damaged: false }));
        self
    }

    /// What stood before the last block was overwritten.
    pub(super) fn behind_a_hole(mut self) -> MadeUp {
        if let Some((row, _)) = self.blocks.last_mut() {
            row.first_chunk.0 += 1000;
            row.follows = false;
        }
        self
    }

    /// Nothing is left of the last block.
    pub(super) fn void(mut self, state: BlockState) -> MadeUp {
        if let Some((row, _)) = self.blocks.last_mut() {
            row.state = state;
            row.samples = 0;
        }
        self
    }

    pub(super) fn index(&self) -> Index {
        Index::new(self)
    }

    pub(super) fn asked(&self) -> Vec<u32> {
        std::mem::take(&mut *self.asked.borrow_mut())
    }
}

impl TimelineSource for MadeUp {
    fn streams(&self) -> Vec<StreamId> {
        vec![STREAM]
    }

    fn is_live(&self) -> bool {
        self.live
    }

    fn rows(&self, _: StreamId) -> Vec<StreamRow> {
        self.blocks.iter().map(|(row, _)| *row).collect()
    }

    fn outline(&self, _: StreamId, row: &StreamRow) -> Result<BlockOutline> {
        self.asked.borrow_mut().push(row.block.0);
        let found = self.blocks.iter().find(|(mine, _)| mine == row);
        found.map(|(_, outline)| outline.clone()).ok_or(keha_fs::Error::Overwritten { available_from: None })
    }
}
