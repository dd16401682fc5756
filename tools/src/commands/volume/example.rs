//! A small volume's tables, for the tests of how they are shown.

use crate::output::document;
use keha_fs::{
    BlockIndex, BlockState, BlockSummary, ChunkNumber, Sequence, StreamId, StreamName, StreamSummary, Uuid,
    VolumeInfo, WallTime,
};

const SECOND: i64 = 1_000_000_000;
const BEGIN: WallTime = WallTime(1_793_489_400 * SECOND);

pub(super) fn volume() -> (VolumeInfo, Vec<BlockSummary>, Vec<StreamSummary>) {
    let info = document::example();
    let front = StreamId(Uuid::from_u128(0xf));
    let yard = StreamId(Uuid::from_u128(0xa));
    let blocks = vec![
        block(0, BlockState::Sealed, 1, Some(front)),
        block(1, BlockState::Parked, 2, Some(yard)),
        block(2, BlockState::Open, 3, Some(front)),
        block(3, BlockState::Granted, 0, None),
        block(4, BlockState::Bad, 4, Some(yard)),
        block(5, BlockState::Free, 0, None),
    ];
    (info, blocks, vec![stream("front", front, 2, true), stream("yard/sub", yard, 0, false)])
}

fn block(index: u32, state: BlockState, sequence: u64, stream: Option<StreamId>) -> BlockSummary {
    let used = stream.is_some();
    let at = BEGIN.plus_ns(i64::from(index) * 10 * SECOND);
    BlockSummary {
        block: BlockIndex(index),
        state,
        sequence: Sequence(sequence),
        stream,
        first_chunk: ChunkNumber(sequence * 10),
        chunks: u32::from(used) * 10,
        wall_min: used.then_some(at),
        wall_max: used.then_some(at.plus_ns(10 * SECOND)),
        samples: u32::from(used) * 250,
        sync_samples: u32::from(used) * 10,
        payload_bytes: u32::from(used) * 900_000,
        used_bytes: u32::from(used) * 950_272,
        times_not_monotone: false,
        held: index == 0,
    }
}

fn stream(name: &str, id: StreamId, blocks: u32, has_footage: bool) -> StreamSummary {
    StreamSummary {
        id,
        name: StreamName::new(name).expect("a constant"),
        created: BEGIN,
        first: has_footage.then_some(BEGIN),
        last: has_footage.then_some(BEGIN.plus_ns(30 * SECOND)),
        blocks,
        samples: u64::from(blocks) * 250,
        payload_bytes: u64::from(blocks) * 900_000,
        used_bytes: u64::from(blocks) * 950_272,
    }
}
