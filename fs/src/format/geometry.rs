//! Where everything stands in a volume, derived from its sizes alone.
//!
//! ```text
//! | superblock | directory | holds | sessions | scrub | round log | block table | blocks ... | copy | blocks ... | copy | blocks ...
//!                                                             | directory | holds | sessions | scrub | round log | superblock |
//! ```
//!
//! Each region begins on the region unit, a power of two between the page size and 1 MiB that depends only on the volume's
//! size, so that a copy of the superblock can be found when all other metadata is lost.
//!
//! A volume that has grown goes on behind that with [`super::extents`]. Where a block, a row or a superblock copy of any volume
//! stands is asked here and nowhere else.

use super::extents::{EXTENTS, Extent, Sizes};
use super::hold::HoldSlot;
use super::round::{GrantedBlock, NamedBlock, RoundHeader, RoundRow};
use super::scrub::ScrubSlot;
use super::session::SessionSlot;
use super::superblock::Superblock;
use super::table::ROWS_PER_SECTOR;
use super::{Field, Framed, SECTOR_BYTES, round_up};
use crate::types::BlockIndex;

/// The most blocks a volume has.
pub(crate) const BLOCKS_MAX: u32 = 1 << 18;
/// The most streams a volume has.
pub(crate) const STREAMS_MAX: u32 = 1024;
/// Bytes of one stream in the directory.
pub(crate) const DIRECTORY_ENTRY_BYTES: usize = 512;
/// Holds for which the smallest and the largest volumes have room.
const HOLDS_MAX: (u32, u32) = (16, 256);
/// Sessions for which the smallest and the largest volumes have room.
const SESSIONS_MAX: (u32, u32) = (4, 2048);
/// Slots of the round log.
pub(crate) const LOG_SLOTS: u32 = 16;
const REGION_BYTES_MAX: u64 = 1 << 20;

/// The places of a volume, all in bytes from its beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Geometry {
    /// Its whole size.
    pub(crate) size_bytes: u64,
    /// The size that it was created with.
    pub(crate) first_size_bytes: u64,
    /// The unit of writing.
    pub(crate) page_bytes: usize,
    /// The size of a block.
    pub(crate) block_bytes: usize,
    /// How many blocks there are.
    pub(crate) blocks: u32,
    /// With how many it was created.
    pub(crate) first_blocks: u32,
    /// How many streams there may be.
    pub(crate) streams_max: u32,
    /// The unit on which regions begin.
    pub(crate) region_bytes: u64,
    /// The size of a round log slot.
    pub(crate) log_slot_bytes: usize,
    /// The size of a directory copy.
    pub(crate) directory_bytes: usize,
    /// How many holds there may be.
    pub(crate) holds_max: u32,
    /// The size of a holds copy.
    pub(crate) holds_bytes: usize,
    /// How many sessions there may be.
    pub(crate) sessions_max: u32,
    /// The size of a copy of the sessions.
    pub(crate) sessions_bytes: usize,
    /// The size of a copy of the scrub's place.
    pub(crate) scrub_bytes: usize,
    /// The size of the block table that it was created with.
    pub(crate) table_bytes: usize,
    /// Front directory, holds, sessions, scrub, round log, table.
    pub(crate) front_at: [u64; 6],
    /// Back directory, holds, sessions, scrub, round log.
    pub(crate) back_at: [u64; 5],
    /// Superblock copies: four, and one an extent.
    pub(crate) copies_at: Vec<u64>,
    /// The three stretches of the blocks that it was created with.
    pub(crate) stretches_at: [u64; 3],
    /// What it has grown by.
    pub(crate) extents: Vec<Extent>,
}

/// The region unit of a volume of this size.
pub(crate) fn region_bytes(size_bytes: u64, page_bytes: usize) -> u64 {
    let unit = (size_bytes / 4096).max(1);
    let unit = 1 << unit.ilog2();
    unit.clamp(page_bytes as u64, REGION_BYTES_MAX)
}

/// How many holds a volume of this size has room for: one a MiB, within bounds.
fn holds_max(size_bytes: u64) -> u32 {
    let mebibytes = u32::try_from(size_bytes >> 20).unwrap_or(u32::MAX);
    mebibytes.clamp(HOLDS_MAX.0, HOLDS_MAX.1) & !7
}

/// How many sessions a volume of this size has room for: two a MiB, within bounds.
fn sessions_max(size_bytes: u64) -> u32 {
    let half_mebibytes = u32::try_from(size_bytes >> 19).unwrap_or(u32::MAX);
    half_mebibytes.clamp(SESSIONS_MAX.0, SESSIONS_MAX.1) & !3
}

/// How many of a round's block and row entries a record has room for: named, granted, rows.
pub(crate) fn record_capacity(streams_max: u32) -> (usize, usize, usize) {
    let streams = streams_max as usize;
    (3 * streams + 8, streams + 4, 6 * streams + 32)
}

impl Geometry {
    /// Lays out a volume; `None` if not even three blocks fit.
    pub(crate) fn derive(
        size_bytes: u64,
        page_bytes: usize,
        block_bytes: usize,
        streams_max: u32,
    ) -> Option<Geometry> {
        let region = region_bytes(size_bytes, page_bytes);
        let up = |bytes: u64| bytes.div_ceil(region) * region;
        let size_bytes = size_bytes / region * region;
        let block = block_bytes as u64;
        let (named, granted, rows) = record_capacity(streams_max);
        let slot = RoundHeader::SIZE
            + named * NamedBlock::BYTES
            + granted * GrantedBlock::BYTES
            + rows * RoundRow::BYTES;
        let log_slot_bytes = round_up(slot, page_bytes);
        let directory_bytes = round_up((streams_max as usize + 1) * DIRECTORY_ENTRY_BYTES, page_bytes);
        let holds_max = holds_max(size_bytes);
        let holds_bytes = round_up(holds_max as usize * HoldSlot::SIZE, page_bytes);
        let sessions_max = sessions_max(size_bytes);
        let sessions_bytes = round_up(sessions_max as usize * SessionSlot::SIZE, page_bytes);
        let scrub_bytes = round_up(ScrubSlot::SIZE, page_bytes);
        let log_bytes = log_slot_bytes as u64 * u64::from(LOG_SLOTS);
        let upper_bound = u32::try_from(size_bytes / block).unwrap_or(BLOCKS_MAX).min(BLOCKS_MAX);
        let table_bytes =
            round_up((upper_bound as usize).div_ceil(ROWS_PER_SECTOR) * SECTOR_BYTES, page_bytes);

        let directory = region;
        let holds = directory + up(directory_bytes as u64);
        let sessions = holds + up(holds_bytes as u64);
        let scrub = sessions + up(sessions_bytes as u64);
        let log = scrub + up(scrub_bytes as u64);
        let table = log + up(log_bytes);
        let data = table + up(table_bytes as u64);
        let last_copy = size_bytes.checked_sub(region)?;
        let back_log = last_copy.checked_sub(up(log_bytes))?;
        let back_scrub = back_log.checked_sub(up(scrub_bytes as u64))?;
        let back_sessions = back_scrub.checked_sub(up(sessions_bytes as u64))?;
        let back_holds = back_sessions.checked_sub(up(holds_bytes as u64))?;
        let back_directory = back_holds.checked_sub(up(directory_bytes as u64))?;

        let room = back_directory.checked_sub(data + 2 * region)?;
        let blocks = u32::try_from(room / block).unwrap_or(BLOCKS_MAX).min(upper_bound);
        if blocks < 3 {
            return None;
        }
        let third = u64::from(blocks / 3);
        let copy_1 = up(data + third * block);
        let second = copy_1 + region;
        let copy_2 = up(second + third * block);
        let stretches_at = [data, second, copy_2 + region];
        let end = stretches_at[2] + u64::from(blocks - 2 * (blocks / 3)) * block;
        if end > back_directory {
            return None;
        }
        Some(Geometry {
            size_bytes,
            first_size_bytes: size_bytes,
            page_bytes,
            block_bytes,
            blocks,
            first_blocks: blocks,
            streams_max,
            region_bytes: region,
            log_slot_bytes,
            directory_bytes,
            holds_max,
            holds_bytes,
            sessions_max,
            sessions_bytes,
            scrub_bytes,
            table_bytes,
            front_at: [directory, holds, sessions, scrub, log, table],
            back_at: [back_directory, back_holds, back_sessions, back_scrub, back_log],
            copies_at: vec![0, copy_1, copy_2, last_copy],
            stretches_at,
            extents: Vec::new(),
        })
    }

    /// The same volume grown to this size, or a little less; `None` if not one block more fits, or it cannot grow any more.
    pub(crate) fn grown(&self, size_bytes: u64) -> Option<Geometry> {
        let extent = Extent::behind(self, size_bytes)?;
        let mut grown = self.clone();
        grown.size_bytes = extent.size_bytes;
        grown.blocks += extent.blocks;
        grown.copies_at.push(extent.copy_at);
        grown.extents.push(extent);
        Some(grown)
    }

    /// The sizes that it had each time that it grew.
    pub(crate) fn grown_sizes(&self) -> Sizes {
        Sizes::new(self.extents.iter().map(|extent| extent.size_bytes).collect()).unwrap_or_default()
    }

    /// The features that everybody must know who uses a volume of this layout.
    pub(crate) fn incompat(&self) -> u64 {
        if self.extents.is_empty() { 0 } else { EXTENTS }
    }

    /// The geometry that a superblock describes; `None` if it contradicts itself.
    pub(crate) fn of(superblock: &Superblock) -> Option<Geometry> {
        let sane = (9..=16).contains(&superblock.page_shift)
            && (14..=28).contains(&superblock.block_shift)
            && superblock.block_shift > superblock.page_shift
            && (1..=STREAMS_MAX).contains(&superblock.streams_max);
        if !sane {
            return None;
        }
        let page_bytes = 1 << superblock.page_shift;
        let block_bytes = 1 << superblock.block_shift;
        let geometry =
            Geometry::derive(superblock.size_bytes, page_bytes, block_bytes, superblock.streams_max)?;
        let agrees = geometry.blocks == superblock.blocks
            && geometry.front_at == superblock.front_at
            && geometry.back_at == superblock.back_at
            && geometry.copies_at == superblock.copies_at
            && (superblock.incompat & EXTENTS != 0) != superblock.grown.is_empty()
            && geometry.stretches_at == superblock.stretches_at
            && geometry.log_slot_bytes == superblock.log_slot_bytes as usize
            && geometry.holds_max == superblock.holds_max
            && geometry.sessions_max == superblock.sessions_max
            && superblock.log_slots == LOG_SLOTS
            && geometry.region_bytes == u64::from(superblock.region_bytes)
            && geometry.directory_bytes == superblock.directory_bytes as usize
            && geometry.holds_bytes == superblock.holds_bytes as usize
            && geometry.sessions_bytes == superblock.sessions_bytes as usize
            && geometry.scrub_bytes == superblock.scrub_bytes as usize
            && geometry.table_bytes as u64 == superblock.table_bytes
            && (superblock.zone_bytes, superblock.key_slot_bytes) == (0, 0);
        let mut grown = agrees.then_some(geometry)?;
        for size_bytes in superblock.grown.iter() {
            grown = grown.grown(size_bytes).filter(|grown| grown.size_bytes == size_bytes)?;
        }
        Some(grown)
    }

    /// Where a block begins.
    pub(crate) fn block_at(&self, block: BlockIndex) -> u64 {
        if let Some(extent) = self.extents.iter().rev().find(|extent| extent.first_block <= block.0) {
            return extent.blocks_at + u64::from(block.0 - extent.first_block) * self.block_bytes as u64;
        }
        let third = self.first_blocks / 3;
        let stretch = (block.0 / third.max(1)).min(2);
        let within = block.0 - stretch * third;
        self.stretches_at[stretch as usize] + u64::from(within) * self.block_bytes as u64
    }

    /// Where the slot of a round stands in the log that begins at `log_at`.
    pub(crate) fn slot_at(&self, log_at: u64, round: u64) -> u64 {
        log_at + round % u64::from(LOG_SLOTS) * self.log_slot_bytes as u64
    }

    /// Where both copies of the round log begin.
    pub(crate) fn logs_at(&self) -> [u64; 2] {
        [self.front_at[4], self.back_at[4]]
    }

    /// Where the block table that it was created with begins.
    pub(crate) fn table_at(&self) -> u64 {
        self.front_at[5]
    }

    /// Where a sector of the block table stands.
    pub(crate) fn table_sector_at(&self, sector: usize) -> u64 {
        let extent = self.extents.iter().rev().find(|extent| extent.first_sector <= sector);
        let (table_at, first) =
            extent.map_or((self.table_at(), 0), |extent| (extent.table_at, extent.first_sector));
        table_at + ((sector - first) * SECTOR_BYTES) as u64
    }

    /// How many sectors of the block table, from this one on, stand side by side: at least one, `most` at most.
    pub(crate) fn table_run(&self, sector: usize, most: usize) -> usize {
        let next = self.extents.iter().map(|extent| extent.first_sector).find(|first| *first > sector);
        next.map_or(most, |next| most.min(next - sector)).max(1)
    }

    /// All parts of the block table: their first sector, where they begin and their size in bytes.
    pub(crate) fn tables(&self) -> impl Iterator<Item = (usize, u64, usize)> + '_ {
        let first = std::iter::once((0, self.table_at(), self.table_bytes));
        first.chain(
            self.extents.iter().map(|extent| (extent.first_sector, extent.table_at, extent.table_bytes)),
        )
    }

    /// Where both directories begin.
    pub(crate) fn directories_at(&self) -> [u64; 2] {
        [self.front_at[0], self.back_at[0]]
    }

    /// Where both copies of the holds begin.
    pub(crate) fn holds_at(&self) -> [u64; 2] {
        [self.front_at[1], self.back_at[1]]
    }

    /// Where both copies of the sessions begin.
    pub(crate) fn sessions_at(&self) -> [u64; 2] {
        [self.front_at[2], self.back_at[2]]
    }

    /// Where both copies of the scrub's place begin.
    pub(crate) fn scrub_at(&self) -> [u64; 2] {
        [self.front_at[3], self.back_at[3]]
    }

    /// The most bytes a chunk may have, given how much is asked for.
    pub(crate) fn chunk_bytes_max(&self, wanted: usize) -> usize {
        let quarter = self.block_bytes / 4;
        round_up(wanted.clamp(self.page_bytes, quarter), self.page_bytes).min(quarter)
    }

    /// Every block.
    pub(crate) fn all_blocks(&self) -> impl Iterator<Item = BlockIndex> + use<> {
        (0..self.blocks).map(BlockIndex)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_two_regions_touch_and_all_lie_inside(size in (1u64 << 19)..(1u64 << 42), page in 9u32..=16, block in 14u32..=28, streams in 1u32..=64) {
            prop_assume!(block > page);
            let Some(geometry) = Geometry::derive(size, 1 << page, 1 << block, streams) else { return Ok(()) };
            let log = geometry.log_slot_bytes as u64 * u64::from(LOG_SLOTS);
            let (directory, holds) = (geometry.directory_bytes as u64, geometry.holds_bytes as u64);
            let mut regions = vec![(geometry.table_at(), geometry.table_bytes as u64)];
            for (at, bytes) in [
                (geometry.directories_at(), directory),
                (geometry.holds_at(), holds),
                (geometry.sessions_at(), geometry.sessions_bytes as u64),
                (geometry.scrub_at(), geometry.scrub_bytes as u64),
                (geometry.logs_at(), log),
            ] {
                regions.extend(at.map(|at| (at, bytes)));
            }
            regions.extend(geometry.copies_at.iter().map(|at| (*at, Superblock::SIZE as u64)));
            let edges = [0, geometry.blocks / 3, geometry.blocks / 3 * 2, geometry.blocks];
            for pair in edges.windows(2) {
                let first = geometry.block_at(BlockIndex(pair[0]));
                let last = geometry.block_at(BlockIndex(pair[1] - 1));
                prop_assert_eq!(last - first, u64::from(pair[1] - 1 - pair[0]) << block);
                regions.push((first, u64::from(pair[1] - pair[0]) << block));
            }
            regions.sort_unstable();
            for pair in regions.windows(2) {
                prop_assert!(pair[0].0 + pair[0].1 <= pair[1].0, "{:?}", pair);
            }
            let last = regions[regions.len() - 1];
            prop_assert!(last.0 + last.1 <= size);
            prop_assert!(geometry.blocks as usize <= geometry.table_bytes / SECTOR_BYTES * ROWS_PER_SECTOR);
            prop_assert!(regions.iter().all(|region| region.0 % (1 << page) == 0));
        }
    }
}
