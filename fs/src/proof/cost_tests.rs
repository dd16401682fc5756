//! What the largest volume costs the writer's thread. Measured by hand, never judged:
//! `cargo test -p keha-fs --lib -- --ignored --nocapture cost`.

use super::Verdict;
use super::material::Shape;
use crate::clock::SimClock;
use crate::disk::ReadAt;
use crate::disk::sim::{SimDisk, SimImage};
use crate::format::directory::{Directory, DirectoryEntry};
use crate::format::geometry::Geometry;
use crate::format::round::{RoundHeader, RoundRecord};
use crate::format::table::{ROWS_PER_SECTOR, Row, TableSector, table_magic};
use crate::format::{FORMAT_VERSION, Framed, SECTOR_BYTES, Text};
use crate::hold::HoldRequest;
use crate::report::BlockState;
use crate::types::{
    ChunkNumber, Epoch, RoundNumber, Sequence, StreamId, StreamName, Uuid, VolumeId, WallTime,
};
use crate::writer::engine::{Engine, EngineOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

const BLOCKS: u64 = 1 << 18;
const STREAMS: u64 = 10;
const MINUTE_NS: i64 = 60_000_000_000;
const BEGIN: WallTime = WallTime(1_700_000_000_000_000_000);

/// A full volume of so many blocks, as its table alone says.
fn full() -> Verdict<(SimDisk, WallTime)> {
    let size_bytes = BLOCKS * (16 << 10) + (80 << 20);
    let shape = Shape { size_bytes, streams: STREAMS as u32, ..Shape::SMALL };
    let mut image = empty_volume_without_junk(&shape);
    let geometry = shape.geometry();
    let volume = VolumeId(Uuid::from_u64_pair(1, 0x6b65_6861));
    let mut directory = Directory { generation: 1, entries: Vec::new() };
    for index in 0..STREAMS {
        directory.entries.push(DirectoryEntry {
            stream: StreamId(Uuid::from_u128(u128::from(index) + 1)),
            name: Text::new(&format!("cam{index}")).unwrap_or_default(),
            generation: 1,
            ..DirectoryEntry::default()
        });
    }
    let mut bytes = vec![0; directory.bytes()];
    directory.seal(volume, &mut bytes);
    geometry.directories_at().into_iter().for_each(|at| image.write(at, &bytes));
    let row = |block: u64| Row {
        state: BlockState::Sealed,
        epoch: Epoch(1),
        stream: StreamId(Uuid::from_u128(u128::from(block % STREAMS) + 1)),
        sequence: Sequence(block + 1),
        rank: Sequence(block + 1),
        first_chunk: ChunkNumber(block / STREAMS * 4 + 1),
        chunks: 4,
        samples: 4,
        sync_samples: 1,
        payload_bytes: 12_000,
        used_bytes: 14_000,
        wall_min: BEGIN.plus_ns((block / STREAMS) as i64 * MINUTE_NS),
        wall_max: BEGIN.plus_ns((block / STREAMS + 1) as i64 * MINUTE_NS - 1),
        ..Row::default()
    };
    write_table(&mut image, &geometry, volume, row);
    let blocks = u64::from(geometry.blocks);
    let header = RoundHeader {
        version: FORMAT_VERSION,
        closed: true,
        epoch: Epoch(1),
        round: RoundNumber(1),
        volume,
        highest: Sequence(blocks),
        at: BEGIN,
        ..RoundHeader::default()
    };
    let record = RoundRecord { header, ..RoundRecord::default() };
    let mut bytes = vec![0; geometry.log_slot_bytes];
    record.seal(&mut bytes);
    geometry.logs_at().into_iter().for_each(|at| image.write(geometry.slot_at(at, 1), &bytes));
    Ok((SimDisk::from_image(image, 1), BEGIN.plus_ns((blocks / STREAMS) as i64 * MINUTE_NS)))
}

/// Writes these rows into the table.
pub(super) fn write_table(
    image: &mut SimImage,
    geometry: &Geometry,
    volume: VolumeId,
    row: impl Fn(u64) -> Row,
) {
    let blocks = u64::from(geometry.blocks);
    for sector in 0..blocks.div_ceil(ROWS_PER_SECTOR as u64) {
        let rows = std::array::from_fn(|place| {
            let block = sector * ROWS_PER_SECTOR as u64 + place as u64;
            if block < blocks { row(block) } else { Row::default() }
        });
        let mut bytes = [0; SECTOR_BYTES];
        TableSector::new(sector as u32, RoundNumber(1), rows).seal_as(table_magic(volume), &mut bytes);
        image.write(geometry.table_at() + sector * SECTOR_BYTES as u64, &bytes);
    }
}

/// An empty volume whose blocks are zeros.
pub(super) fn empty_volume_without_junk(shape: &Shape) -> SimImage {
    let geometry = shape.geometry();
    let superblock = crate::format::superblock::Superblock {
        volume: VolumeId(Uuid::from_u64_pair(1, 0x6b65_6861)),
        generation: 1,
        created: BEGIN,
        ..crate::writer::engine::superblock_of(&geometry)
    };
    let mut image = SimImage::zeroed(geometry.size_bytes as usize);
    for (at, bytes) in
        crate::create::empty_structures(&superblock, &geometry, &Default::default(), Default::default())
    {
        image.write(at, &bytes);
    }
    image
}

#[test]
#[ignore = "a measurement: see the module"]
fn cost_of_a_round_with_ten_growing_holds_on_the_largest_volume() {
    let outcome = || -> Verdict {
        let (disk, now) = full()?;
        let clock = Arc::new(SimClock::new(now));
        let reader: Arc<dyn ReadAt> = Arc::new(disk.control().reader());
        let options = EngineOptions {
            scrub: None,
            chunk_bytes: 4096,
            path: PathBuf::from("cost"),
            pause: |_| (),
            stream_id: |_, _| StreamId::default(),
            opener: Default::default(),
        };
        let began = Instant::now();
        let (mut engine, _) = Engine::open(disk, reader, Arc::clone(&clock) as _, options)
            .map_err(|error| format!("{}: {error}", Path::new("cost").display()))?;
        println!("opening: {:.1?}", began.elapsed());
        let round = |engine: &mut Engine<SimDisk>, what: &str| {
            let began = Instant::now();
            for _ in 0..20 {
                clock.advance(Duration::from_secs(1));
                engine.round();
            }
            println!("a round with {what}: {:.2?}", began.elapsed() / 20);
        };
        round(&mut engine, "no hold");
        for index in 0..STREAMS {
            let began = Instant::now();
            let request = HoldRequest {
                stream: StreamName::new(&format!("cam{index}")).map_err(|error| error.to_string())?,
                from: now.plus_ns(-10_000 * MINUTE_NS),
                to: now.plus_ns(1_000 * MINUTE_NS),
                label: "cost".to_owned(),
                expires: None,
            };
            let hold = engine.add_hold(&request).map_err(|error| error.to_string())?;
            println!("hold {index}, growing {}: {:.1?}", hold.growing, began.elapsed());
        }
        round(&mut engine, "ten growing holds");
        Ok(())
    };
    assert_eq!(outcome(), Ok(()));
}
