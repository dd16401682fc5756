//! What a timeline costs: a month of sixty cameras, 1.2 million blocks that are made up, ten thousand gaps. No disk.
//!
//! Goals: 20 ms for one camera's month, 250 ms for all sixty. The first question of each learns what stands beside the gaps; the
//! second knows it. Use a release build.
#![forbid(unsafe_code)]

use anyhow::Result;
use keha_fs::{
    BlockIndex, BlockOutline, BlockState, ChunkNumber, ConfigurationHash, OutlineChunk, OutlineKind,
    OutlineSync, RunId, Sequence, StreamId, StreamRow, TimeRange, TrackNumber, Uuid, WallTime,
};
use keha_player::timeline::{Index, TimelineSource, timeline};
use std::time::{Duration, Instant};

const CAMERAS: u32 = 60;
const BLOCKS: u32 = 20_000;
/// One gap of ten minutes behind so many blocks: ten thousand in all.
const BLOCKS_A_GAP: u32 = CAMERAS * BLOCKS / 10_000;
const BLOCK_S: i64 = 31 * 86_400 / BLOCKS as i64;
const GAP_S: i64 = 600;
const S: i64 = 1_000_000_000;

struct Month;

fn wall_of(block: u32) -> (WallTime, WallTime) {
    let from = i64::from(block) * BLOCK_S + i64::from(block / BLOCKS_A_GAP) * GAP_S;
    (WallTime(from * S), WallTime((from + BLOCK_S) * S - S / 25))
}

impl TimelineSource for Month {
    fn streams(&self) -> Vec<StreamId> {
        (0..CAMERAS).map(|camera| StreamId(Uuid::from_u128(camera.into()))).collect()
    }

    fn is_live(&self) -> bool {
        true
    }

    fn rows(&self, _: StreamId) -> Vec<StreamRow> {
        let row = |block| StreamRow {
            block: BlockIndex(block),
            sequence: Sequence(u64::from(block) + 1),
            state: BlockState::Sealed,
            first_chunk: ChunkNumber(u64::from(block) * BLOCK_S as u64 + 1),
            chunks: BLOCK_S as u32,
            samples: 25 * BLOCK_S as u32,
            sync_samples: BLOCK_S as u32,
            wall: Some(wall_of(block)),
            follows: true,
            ..StreamRow::default()
        };
        (0..BLOCKS).map(row).collect()
    }

    fn outline(&self, _: StreamId, row: &StreamRow) -> keha_fs::Result<BlockOutline> {
        let (begin, _) = wall_of(row.block.0);
        let run = RunId(Uuid::from_u128((row.block.0 / BLOCKS_A_GAP).into()));
        let chunk = |second: i64| {
            let from = begin.plus_ns(second * S);
            OutlineChunk {
                number: None,
                kind: OutlineKind::Media,
                run,
                from,
                to: from.plus_ns(S - S / 25),
                configuration: ConfigurationHash::default(),
                bytes: 0,
            }
        };
        let sync = |chunk: u32| OutlineSync {
            chunk,
            entry: 0,
            wall: begin.plus_ns(i64::from(chunk) * S),
            track: TrackNumber(1),
        };
        Ok(BlockOutline {
            first_chunk: Some(row.first_chunk),
            chunks: (0..BLOCK_S).map(chunk).collect(),
            syncs: (0..BLOCK_S as u32).map(sync).collect(),
            damaged: false,
        })
    }
}

fn main() -> Result<()> {
    let source = Month;
    let began = Instant::now();
    let mut index = Index::new(&source);
    println!("{} rows, indexed in {:?}", index.rows(), began.elapsed());
    let began = Instant::now();
    index.refresh(&source);
    println!("refreshed in {:?}", began.elapsed());
    for resolution_s in [3600, 300] {
        for turn in ["first", "again"] {
            let (mut most, mut all, mut ranges, mut read) = (Duration::ZERO, Duration::ZERO, 0, 0);
            for stream in source.streams() {
                let began = Instant::now();
                let resolution = Duration::from_secs(resolution_s);
                let answer = timeline(&index, &source, stream, TimeRange::default(), resolution)?;
                let took = began.elapsed();
                (most, all) = (most.max(took), all + took);
                ranges += answer.recorded.len();
                read += answer.outlines_read;
            }
            println!(
                "{resolution_s:>5} s, {turn}: one camera at most {most:?} (goal 20 ms), all {all:?} (goal 250 ms); {ranges} ranges, {read} outlines"
            );
        }
    }
    Ok(())
}
