//! What a volume has grown by: extents behind the one that it was created with, which stays as it is.
//!
//! ```text
//! | the volume as it was created (with whatever it grew by before) | block table | blocks ... | superblock |
//! ```
//!
//! The superblock has one number an extent: the size of the whole volume with it. An extent begins where the one before it ends,
//! so that none can overlap another or stand out of order, and everything else follows from the sizes. Blocks are numbered on
//! across extents. The table goes on where it ends: the rest of the page with the last row of what was there before has the rows
//! of the first new blocks, and the extent's own table the rows of the others.
//!
//! What must not live here: reading, writing, and when a volume grows.

use super::geometry::{BLOCKS_MAX, Geometry, region_bytes};
use super::table::ROWS_PER_SECTOR;
use super::{Field, SECTOR_BYTES, is_zero};

/// How often a volume can grow.
pub(crate) const EXTENTS_MAX: usize = 12;
/// The feature of a volume that has grown: a program that does not know it would look for its blocks in the wrong places.
pub(crate) const EXTENTS: u64 = 1;
/// No disk is larger.
const SIZE_MAX: u64 = i64::MAX as u64;

/// The sizes of the whole volume after each time that it grew; none is 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sizes(Vec<u64>);

impl Sizes {
    /// These; `None` for more than there is room for.
    pub(crate) fn new(sizes: Vec<u64>) -> Option<Sizes> {
        (sizes.len() <= EXTENTS_MAX && !sizes.contains(&0)).then_some(Sizes(sizes))
    }

    /// In the order in which it grew.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u64> {
        self.0.iter().copied()
    }

    /// Whether it never grew.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Field for Sizes {
    const BYTES: usize = 8 * EXTENTS_MAX;

    fn put(&self, out: &mut [u8]) {
        out.fill(0);
        for (place, size) in out.chunks_exact_mut(8).zip(&self.0) {
            size.put(place);
        }
    }

    fn get(bytes: &[u8]) -> Option<Self> {
        let sizes: Vec<u64> = bytes.chunks_exact(8).map(u64::get).collect::<Option<_>>()?;
        let count = sizes.iter().position(|size| *size == 0).unwrap_or(sizes.len());
        is_zero(bytes.get(8 * count..)?).then(|| Sizes(sizes.into_iter().take(count).collect()))
    }
}

/// An extent: all places in bytes from the volume's beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    /// The size of the volume with it: where it ends.
    pub(crate) size_bytes: u64,
    /// Its first block.
    pub(crate) first_block: u32,
    /// How many it has.
    pub(crate) blocks: u32,
    /// Where they begin.
    pub(crate) blocks_at: u64,
    /// Which sector of the whole table is the first in its own.
    pub(crate) first_sector: usize,
    /// Where its table begins.
    pub(crate) table_at: u64,
    /// The size of its table; 0 where the page before it has all rows.
    pub(crate) table_bytes: usize,
    /// Its superblock copy.
    pub(crate) copy_at: u64,
}

impl Extent {
    /// Lays out what a volume grows by; `None` if not one block fits, or no more may be.
    pub(crate) fn behind(before: &Geometry, size_bytes: u64) -> Option<Extent> {
        if size_bytes > SIZE_MAX || before.extents.len() >= EXTENTS_MAX {
            return None;
        }
        let region = region_bytes(size_bytes, before.page_bytes);
        let size_bytes = size_bytes / region * region;
        let up = |bytes: u64| bytes.checked_next_multiple_of(region);
        let table_at = up(before.size_bytes)?;
        let copy_at = size_bytes.checked_sub(region)?;
        let room = copy_at.checked_sub(table_at)?;
        let block = before.block_bytes as u64;
        let upper_bound =
            u32::try_from(room / block).unwrap_or(BLOCKS_MAX).min(BLOCKS_MAX.checked_sub(before.blocks)?);

        let page_sectors = before.page_bytes / SECTOR_BYTES;
        let page_rows = page_sectors * ROWS_PER_SECTOR;
        let first_page = (before.blocks as usize).div_ceil(page_rows);
        let pages = ((before.blocks + upper_bound) as usize).div_ceil(page_rows).checked_sub(first_page)?;
        let table_bytes = if planted!(ExtentOverTable) { 0 } else { pages * before.page_bytes };
        let blocks_at = up(table_at + table_bytes as u64)?;
        let room = copy_at.checked_sub(blocks_at)?;
        let blocks = u32::try_from(room / block).unwrap_or(BLOCKS_MAX).min(upper_bound);
        (blocks > 0).then_some(Extent {
            size_bytes,
            first_block: before.blocks,
            blocks,
            blocks_at,
            first_sector: first_page * page_sectors,
            table_at,
            table_bytes: pages * before.page_bytes,
            copy_at,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Framed;
    use crate::format::geometry::LOG_SLOTS;
    use crate::format::superblock::Superblock;
    use crate::types::BlockIndex;
    use crate::writer::engine::superblock_of;
    use proptest::prelude::*;

    /// All that stands somewhere: where, and how long.
    fn regions(geometry: &Geometry) -> Vec<(u64, u64)> {
        let log = geometry.log_slot_bytes as u64 * u64::from(LOG_SLOTS);
        let mut regions = vec![(geometry.table_at(), geometry.table_bytes as u64)];
        for (at, bytes) in [
            (geometry.directories_at(), geometry.directory_bytes as u64),
            (geometry.holds_at(), geometry.holds_bytes as u64),
            (geometry.sessions_at(), geometry.sessions_bytes as u64),
            (geometry.scrub_at(), geometry.scrub_bytes as u64),
            (geometry.logs_at(), log),
        ] {
            regions.extend(at.map(|at| (at, bytes)));
        }
        regions.extend(geometry.copies_at.iter().map(|at| (*at, Superblock::SIZE as u64)));
        let own_tables = geometry.extents.iter().filter(|extent| extent.table_bytes > 0);
        regions.extend(own_tables.map(|extent| (extent.table_at, extent.table_bytes as u64)));
        regions.extend(
            geometry.all_blocks().map(|block| (geometry.block_at(block), geometry.block_bytes as u64)),
        );
        regions.sort_unstable();
        regions
    }

    proptest! {
        #[test]
        fn a_volume_that_grew_has_each_thing_in_a_place_of_its_own_and_what_was_there_where_it_was(
            size in (1u64 << 19)..(1u64 << 22), page in 9u32..=16, block in 14u32..=18, streams in 1u32..=8,
            factors in proptest::collection::vec(1.001..3.0_f64, 1..=5),
        ) {
            prop_assume!(block > page);
            let Some(first) = Geometry::derive(size, 1 << page, 1 << block, streams) else { return Ok(()) };
            let mut geometry = first.clone();
            for factor in factors {
                let wanted = (geometry.size_bytes as f64 * factor) as u64;
                let Some(grown) = geometry.grown(wanted) else { continue };
                prop_assert!(grown.blocks > geometry.blocks && grown.size_bytes <= wanted);
                for block in geometry.all_blocks() {
                    prop_assert_eq!(grown.block_at(block), geometry.block_at(block));
                }
                let sectors = (geometry.blocks as usize).div_ceil(ROWS_PER_SECTOR);
                for sector in 0..sectors {
                    prop_assert_eq!(grown.table_sector_at(sector), geometry.table_sector_at(sector));
                }
                prop_assert!(grown.copies_at.starts_with(&geometry.copies_at));
                geometry = grown;
            }
            let regions = regions(&geometry);
            for pair in regions.windows(2) {
                prop_assert!(pair[0].0 + pair[0].1 <= pair[1].0, "{:?} of {:?}", pair, geometry);
            }
            let last = regions[regions.len() - 1];
            prop_assert!(last.0 + last.1 <= geometry.size_bytes);
            prop_assert!(regions.iter().all(|region| region.0 % (1 << page) == 0));
            // Every row has a place in a table, and no two of them the same.
            let sectors = (geometry.blocks as usize).div_ceil(ROWS_PER_SECTOR);
            let mut places: Vec<u64> = (0..sectors).map(|sector| geometry.table_sector_at(sector)).collect();
            let tables: Vec<(u64, u64)> = std::iter::once((geometry.table_at(), geometry.table_bytes as u64))
                .chain(geometry.extents.iter().map(|extent| (extent.table_at, extent.table_bytes as u64)))
                .collect();
            let in_a_table = |at: &u64| tables.iter().any(|(begin, bytes)| (*begin..begin + bytes).contains(at));
            prop_assert!(places.iter().all(in_a_table));
            for sector in 0..sectors {
                let run = geometry.table_run(sector, sectors - sector);
                prop_assert!(run >= 1);
                prop_assert_eq!(places[sector + run - 1] - places[sector], ((run - 1) * SECTOR_BYTES) as u64);
            }
            // What is written at once stands side by side.
            let page_sectors = (1_usize << page) / SECTOR_BYTES;
            for first in (0..sectors).step_by(page_sectors) {
                prop_assert!(geometry.table_run(first, page_sectors) == page_sectors);
            }
            places.sort_unstable();
            places.dedup();
            prop_assert_eq!(places.len(), sectors);
            // It is found again from its superblock, and where a search looks for the last copy.
            let superblock = superblock_of(&geometry);
            prop_assert_eq!(Geometry::of(&superblock), Some(geometry.clone()));
            if page == 9 {
                let region = region_bytes(geometry.size_bytes, 512);
                prop_assert_eq!(geometry.copies_at.last(), Some(&(geometry.size_bytes - region)));
            }
        }

        #[test]
        fn no_list_of_sizes_makes_a_volume_that_is_not_one(
            sizes in proptest::collection::vec(
                prop_oneof![any::<u64>(), 0_u64..1 << 30, Just(u64::MAX), Just(1 << 63), Just(448 << 10)], 0..=EXTENTS_MAX,
            ),
            flip in any::<bool>(),
        ) {
            let first = Geometry::derive(448 << 10, 512, 16 << 10, 2).expect("it is a volume");
            let mut bytes = vec![0; Sizes::BYTES];
            for (place, size) in bytes.chunks_exact_mut(8).zip(&sizes) {
                size.put(place);
            }
            let Some(grown) = Sizes::get(&bytes) else {
                prop_assert!(sizes.contains(&0));
                return Ok(());
            };
            let mut superblock = Superblock { grown, ..superblock_of(&first) };
            superblock.incompat = if flip { EXTENTS } else { 0 };
            if let Some(geometry) = Geometry::of(&superblock) {
                prop_assert_eq!(flip, !geometry.extents.is_empty());
                prop_assert!(geometry.blocks <= BLOCKS_MAX && geometry.size_bytes <= SIZE_MAX);
                prop_assert!(geometry.extents.iter().map(|extent| extent.size_bytes).eq(sizes.iter().copied().filter(|size| *size > 0)));
                prop_assert!(geometry.copies_at.is_sorted());
                let last = geometry.block_at(BlockIndex(geometry.blocks - 1));
                prop_assert!(last + geometry.block_bytes as u64 <= geometry.size_bytes);
            }
        }
    }

    #[test]
    fn a_volume_grows_only_so_often_and_to_so_many_blocks() {
        let first = Geometry::derive(448 << 10, 512, 16 << 10, 2).expect("it is a volume");
        let mut geometry = first.clone();
        for _ in 0..EXTENTS_MAX {
            geometry = geometry.grown(geometry.size_bytes + (64 << 10)).expect("there is room");
        }
        assert_eq!(geometry.grown(geometry.size_bytes * 2), None);
        let most = first.grown(1 << 40).expect("a part of it is used");
        assert_eq!((most.blocks, most.grown(1 << 41)), (BLOCKS_MAX, None));
        assert_eq!(first.grown(u64::MAX), None);
        assert_eq!(first.grown(first.size_bytes), None);
        assert_eq!(first.grown(first.size_bytes + (15 << 10)), None);
    }

    #[test]
    fn sizes_out_of_order_off_the_unit_or_too_close_are_no_volume() {
        let first = Geometry::derive(448 << 10, 512, 16 << 10, 2).expect("it is a volume");
        let of = |sizes: &[u64]| {
            let grown = Sizes::new(sizes.to_vec()).expect("few");
            Geometry::of(&Superblock { grown, incompat: EXTENTS, ..superblock_of(&first) })
        };
        let (one, two) = (600 << 10, 800 << 10);
        assert!(of(&[one, two]).is_some());
        for wrong in
            [&[two, one][..], &[one, one], &[one + 1], &[1], &[448 << 10], &[(448 << 10) + 512], &[1 << 63]]
        {
            assert_eq!(of(wrong), None, "{wrong:?}");
        }
        // The feature without an extent, and an extent without the feature.
        assert_eq!(of(&[]), None);
        let grown = Sizes::new(vec![one]).expect("one");
        assert_eq!(Geometry::of(&Superblock { grown, ..superblock_of(&first) }), None);
        assert_eq!(Sizes::new(vec![one; EXTENTS_MAX + 1]), None);
    }
}
