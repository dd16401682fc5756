//! A forged volume of which every block is of a stream of its own: what is done for each stream must not go through all blocks.

use super::cost_tests::{empty_volume_without_junk, write_table};
use super::driver::shared;
use super::material::Shape;
use super::{Verdict, demand};
use crate::format::FORMAT_VERSION;
use crate::format::block::{BlockHeader, seal_header_page};
use crate::format::geometry::{Geometry, LOG_SLOTS, STREAMS_MAX};
use crate::format::table::Row;
use crate::reader::Volume;
use crate::recover::CHAIN_VISITS;
use crate::report::{BlockState, TimeRange};
use crate::types::{ChunkNumber, Epoch, Sequence, StreamId, Uuid, VolumeId};
use std::path::Path;

const BLOCKS: u64 = 1 << 13;

fn row(block: u64) -> Row {
    Row {
        state: BlockState::Parked,
        epoch: Epoch(1),
        stream: StreamId(Uuid::from_u128(u128::from(block) + 1)),
        sequence: Sequence(block + 1),
        rank: Sequence(block + 1),
        first_chunk: ChunkNumber(1),
        chunks: 4,
        samples: 4,
        used_bytes: 14_000,
        ..Row::default()
    }
}

#[test]
fn what_is_done_for_each_of_very_many_streams_goes_through_its_own_blocks_only() {
    let outcome = || -> Verdict {
        let mut sizes = (8..80).map(|more| BLOCKS * (16 << 10) + (more << 20));
        let fits = |size: &u64| Geometry::derive(*size, 512, 16 << 10, Shape::SMALL.streams).is_some();
        let size_bytes = sizes.find(fits).ok_or("no size fits")?;
        let shape = Shape { size_bytes, ..Shape::SMALL };
        let (geometry, mut image) = (shape.geometry(), empty_volume_without_junk(&shape));
        let volume = VolumeId(Uuid::from_u64_pair(1, 0x6b65_6861));
        write_table(&mut image, &geometry, volume, row);
        for block in geometry.all_blocks() {
            let row = row(block.0.into());
            let header = BlockHeader {
                version: FORMAT_VERSION,
                block,
                volume,
                sequence: row.sequence,
                stream: row.stream,
                epoch: row.epoch,
                first_chunk: row.first_chunk,
                ..BlockHeader::default()
            };
            let mut page = vec![0; geometry.page_bytes];
            seal_header_page(&header, &mut page);
            image.write(geometry.block_at(block), &page);
        }
        // Without a round record every block is looked at.
        let log = vec![0; geometry.log_slot_bytes * LOG_SLOTS as usize];
        geometry.logs_at().iter().for_each(|at| image.write(*at, &log));
        let before = CHAIN_VISITS.get();
        let volume =
            Volume::from_disk(shared(&image), Path::new("proof")).map_err(|error| error.to_string())?;
        let streams = volume.streams();
        demand!(streams.len() == STREAMS_MAX as usize, "{} streams are listed", streams.len());
        for stream in &streams {
            let _nothing_can_be_read = volume.read(stream.id, TimeRange::default());
        }
        let visits = CHAIN_VISITS.get() - before;
        let blocks = u64::from(geometry.blocks);
        demand!(blocks > BLOCKS / 2 && visits >= blocks, "{visits} visits of {blocks} blocks");
        demand!(visits < 4 * blocks, "{visits} visits of {blocks} blocks");
        Ok(())
    };
    assert_eq!(outcome(), Ok(()));
}
