//! What opening the largest volume costs after a crash: a table of 2^18 rows, all of them written, and 64 blocks that are recorded into.
//! Measured by hand (`make bench`), never judged; goal one second:
//! `cargo test --release -p keha-fs --lib -- --ignored --nocapture opening_after_a_crash`.
//!
//! The rows are made up but for those of the open blocks; the file is sparse: what is sealed is not read. It lies in TMPDIR, or in
//! `KEHA_BENCH_DIR`, and takes half a gigabyte. What the system remembers of it is dropped before each opening.

use super::{Verdict, demand};
use crate::clock::{Clock, SimClock};
use crate::configuration::{Configuration, TrackConfiguration, TrackKind};
use crate::disk::{FileDisk, FileOptions, FileReader};
use crate::format::directory::{Directory, DirectoryEntry};
use crate::format::geometry::Geometry;
use crate::format::round::{RoundHeader, RoundRecord};
use crate::format::table::{ROWS_PER_SECTOR, Row, TableSector, table_magic};
use crate::format::{FORMAT_VERSION, Framed, SECTOR_BYTES, Text};
use crate::reader::Volume;
use crate::report::{BlockState, BlockSummary};
use crate::sample::{Anchor, ClockSource, Sample, SampleFlags};
use crate::types::{
    ChunkNumber, Epoch, RoundNumber, RunId, Sequence, StreamId, StreamName, TrackNumber, Uuid, VolumeId,
    WallTime,
};
use crate::writer::engine::{Engine, EngineOptions, superblock_of};
use crate::writer::{Input, StoredConfiguration};
use bytes::Bytes;
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const BLOCKS: u64 = 1 << 18;
const BLOCK_BYTES: usize = 16 << 20;
const STREAMS: u64 = 64;
/// How much stands in each open block: half a minute of 4 Mbit/s would fill it.
const SECONDS: i64 = 16;
const SECOND_BYTES: usize = 500_000;
const TURNS: usize = 15;
const BEGIN: WallTime = WallTime(1_700_000_000_000_000_000);
const SECOND_NS: i64 = 1_000_000_000;
const VIDEO: TrackNumber = TrackNumber(1);

fn name(index: u64) -> Verdict<StreamName> {
    StreamName::new(&format!("cam{index:02}")).map_err(|error| error.to_string())
}

/// A full volume, as its table alone says, that was closed.
fn full(path: &Path) -> std::io::Result<()> {
    let size_bytes = BLOCKS * BLOCK_BYTES as u64 + (256 << 20);
    let geometry = Geometry::derive(size_bytes, 4096, BLOCK_BYTES, STREAMS as u32);
    let geometry = geometry.ok_or(std::io::ErrorKind::InvalidInput)?;
    let volume = VolumeId(Uuid::from_u128(7));
    let superblock = crate::format::superblock::Superblock {
        volume,
        generation: 1,
        created: BEGIN,
        ..superblock_of(&geometry)
    };
    let file = File::create_new(path)?;
    file.set_len(geometry.size_bytes)?;
    for (at, bytes) in
        crate::create::empty_structures(&superblock, &geometry, &Default::default(), Default::default())
    {
        file.write_all_at(&bytes, at)?;
    }
    let entry = |index: u64| DirectoryEntry {
        stream: StreamId(Uuid::from_u128(u128::from(index) + 1)),
        name: Text::new(&format!("cam{index:02}")).unwrap_or_default(),
        generation: 1,
        ..DirectoryEntry::default()
    };
    let directory = Directory { generation: 1, entries: (0..STREAMS).map(entry).collect() };
    let mut bytes = vec![0; directory.bytes()];
    directory.seal(volume, &mut bytes);
    geometry.directories_at().into_iter().try_for_each(|at| file.write_all_at(&bytes, at))?;
    let blocks = u64::from(geometry.blocks);
    let row = |block: u64| Row {
        state: BlockState::Sealed,
        epoch: Epoch(1),
        stream: StreamId(Uuid::from_u128(u128::from(block % STREAMS) + 1)),
        sequence: Sequence(block + 1),
        rank: Sequence(block + 1),
        first_chunk: ChunkNumber(block / STREAMS * 33 + 1),
        chunks: 33,
        samples: 800,
        sync_samples: 32,
        payload_bytes: 16_000_000,
        used_bytes: 16_500_000,
        wall_min: BEGIN.plus_ns((block / STREAMS) as i64 * 32 * SECOND_NS),
        wall_max: BEGIN.plus_ns((block / STREAMS + 1) as i64 * 32 * SECOND_NS - 1),
        ..Row::default()
    };
    let mut table = Vec::with_capacity(geometry.table_bytes);
    for sector in 0..blocks.div_ceil(ROWS_PER_SECTOR as u64) {
        let rows = std::array::from_fn(|place| {
            let block = sector * ROWS_PER_SECTOR as u64 + place as u64;
            if block < blocks { row(block) } else { Row::default() }
        });
        let mut bytes = [0; SECTOR_BYTES];
        TableSector::new(sector as u32, RoundNumber(1), rows).seal_as(table_magic(volume), &mut bytes);
        table.extend_from_slice(&bytes);
    }
    file.write_all_at(&table, geometry.table_at())?;
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
    let mut bytes = vec![0; geometry.log_slot_bytes];
    RoundRecord { header, ..RoundRecord::default() }.seal(&mut bytes);
    geometry.logs_at().into_iter().try_for_each(|at| file.write_all_at(&bytes, geometry.slot_at(at, 1)))?;
    file.sync_all()
}

fn opened(path: &Path, clock: &Arc<SimClock>) -> Verdict<Engine<FileDisk>> {
    let told = |error: crate::Error| error.to_string();
    let disk = FileDisk::open(path, &FileOptions::default()).map_err(told)?;
    let reader = Arc::new(FileReader::open(path).map_err(told)?);
    let options = EngineOptions {
        chunk_bytes: SECOND_BYTES,
        path: path.to_owned(),
        opener: Default::default(),
        scrub: None,
        pause: std::thread::sleep,
        stream_id: |_, _| StreamId::random(),
    };
    Engine::open(disk, reader, Arc::clone(clock) as Arc<dyn Clock>, options)
        .map(|opened| opened.0)
        .map_err(told)
}

/// Records into a block of each stream, and goes away.
fn crashed(path: &Path) -> Verdict<Arc<SimClock>> {
    let begin = BEGIN.plus_ns((BLOCKS / STREAMS) as i64 * 32 * SECOND_NS);
    let clock = Arc::new(SimClock::new(begin));
    let mut engine = opened(path, &clock)?;
    let track = TrackConfiguration {
        track: VIDEO,
        kind: TrackKind::Video,
        codec: *b"avc1",
        timescale: 1000,
        width: 0,
        height: 0,
        channels: 0,
        sample_rate: 0,
        private: b"avcC".to_vec(),
    };
    let (bytes, hash) = Configuration { tracks: vec![track], session: Vec::new() }.stored();
    let stored = Arc::new(StoredConfiguration { bytes, hash, video: vec![VIDEO] });
    let anchor = Anchor {
        track: VIDEO,
        timescale: 1000,
        ticks: 0,
        wall: begin,
        source: ClockSource::Arrival,
        uncertainty_us: 0,
        arrival: begin,
        camera_offset_ns: 0,
    };
    for index in 0..STREAMS {
        let index = engine.admit(&name(index)?).map_err(|error| error.to_string())?;
        engine.accept(index, Input::Configure(Arc::clone(&stored)));
        engine.accept(index, Input::Run(RunId::random()));
        engine.accept(index, Input::Anchor(anchor));
    }
    for second in 0..SECONDS {
        for stream in 0..STREAMS as usize {
            for picture in 0..25 {
                let flags = if picture == 0 { SampleFlags::SYNC } else { SampleFlags::default() };
                let data = vec![Bytes::from(vec![stream as u8; SECOND_BYTES / 25])];
                let ticks = second * 1000 + picture * 40;
                engine.accept(stream, Input::Sample(Sample { track: VIDEO, ticks, flags, data }));
            }
        }
        clock.advance(Duration::from_secs(1));
        while engine.round().streams.is_empty() || engine.is_starved() {}
    }
    Ok(clock)
}

fn forget(path: &Path) -> Verdict {
    let file = File::open(path).map_err(|error| error.to_string())?;
    file.sync_all().map_err(|error| error.to_string())?;
    posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED).map_err(|error| error.to_string())
}

#[test]
#[ignore = "a measurement: see the module"]
fn opening_after_a_crash() {
    let outcome = || -> Verdict {
        let directory = std::env::var_os("KEHA_BENCH_DIR").map_or_else(std::env::temp_dir, Into::into);
        let directory = tempfile::tempdir_in(directory).map_err(|error| error.to_string())?;
        let path = directory.path().join("full.ring");
        full(&path).map_err(|error| error.to_string())?;
        let clock = crashed(&path)?;
        let mut took = Vec::new();
        let mut chunks = 0;
        for _ in 0..TURNS {
            forget(&path)?;
            let began = Instant::now();
            let volume = Volume::open(&path).map_err(|error| error.to_string())?;
            took.push(began.elapsed());
            // What the crash left: recorded into since the rows were made up.
            let left = |block: &&BlockSummary| block.sequence.0 > BLOCKS && block.chunks > 0;
            let blocks = volume.blocks();
            let left: Vec<_> = blocks.iter().filter(left).collect();
            demand!(volume.is_unclosed() && left.len() == STREAMS as usize, "{} blocks are left", left.len());
            chunks = left.iter().map(|block| block.chunks).max().unwrap_or(0);
        }
        took.sort();
        println!(
            "opening {BLOCKS} blocks of 16 MiB after a crash, {STREAMS} of them open with {chunks} chunks each, cold (goal 1 s):"
        );
        println!(
            "  to read: median {:.0?}, {:.0?} to {:.0?} of {TURNS}",
            took[TURNS / 2],
            took[0],
            took[TURNS - 1]
        );
        forget(&path)?;
        let began = Instant::now();
        let engine = opened(&path, &clock)?;
        println!("  to write, with what has to be put right: {:.0?}", began.elapsed());
        drop(engine);
        Ok(())
    };
    assert_eq!(outcome(), Ok(()));
}
