//! A small volume's tables, for the tests of how they are shown.

use crate::output::document;
use keha_fs::clock::ClockSync;
use keha_fs::{
    BlockIndex, BlockState, BlockSummary, ChunkNumber, Epoch, Opener, RoundNumber, Sequence, Session,
    SessionEnd, SessionLog, StreamId, StreamName, StreamSummary, Uuid, VolumeInfo, WallTime,
};
use std::time::Duration;

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
        retention: Default::default(),
        first: has_footage.then_some(BEGIN),
        last: has_footage.then_some(BEGIN.plus_ns(30 * SECOND)),
        blocks,
        samples: u64::from(blocks) * 250,
        payload_bytes: u64::from(blocks) * 900_000,
        used_bytes: u64::from(blocks) * 950_272,
        overwritten_in: has_footage.then_some(Duration::from_secs(12 * 86_400)),
    }
}

/// A volume that was created, recorded on until a crash, and held.
pub(super) fn sessions() -> SessionLog {
    let kept = ClockSync::Synchronised { error_max: Duration::from_millis(3) };
    let session = |epoch: u32, purpose: &str, end| Session {
        epoch: Epoch(epoch),
        opener: Opener {
            purpose: purpose.to_owned(),
            software: "keha 0.1.0".to_owned(),
            host: "attic".to_owned(),
            machine: Uuid::from_u128(0x5678),
            user: "keha (uid 990)".to_owned(),
        },
        began: BEGIN.plus_ns(i64::from(epoch) * 60 * SECOND),
        began_clock: if epoch == 1 { ClockSync::FreeRunning } else { kept },
        began_running_s: u64::from(epoch) * 50,
        first_round: RoundNumber(u64::from(epoch) * 50 + 1),
        end,
        clock_steps: u32::from(epoch == 1),
        largest_step_ns: if epoch == 1 { -1_500_000_000 } else { 0 },
        follows: (epoch % 3 == 1).then_some(epoch != 4),
    };
    let closed = |s: i64| SessionEnd::Closed {
        at: BEGIN.plus_ns(s * SECOND),
        clock: kept,
        running_s: s as u64,
        last_round: RoundNumber(s as u64),
    };
    SessionLog {
        sessions: vec![
            session(0, "create", closed(0)),
            session(1, "record", SessionEnd::Crashed { last_round_at: Some(BEGIN.plus_ns(100 * SECOND)) }),
            session(3, "hold add", closed(181)),
            session(4, "record", SessionEnd::Open),
        ],
        missing: vec![Epoch(2)],
        room: 16,
    }
}
