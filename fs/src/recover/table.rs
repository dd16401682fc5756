//! Loading the block table.

use super::stretches::{Stretch, note};
use super::{Chains, Rows, State, finding};
use crate::format::table::{ROWS_PER_SECTOR, Row, TableSector, table_magic};
use crate::format::{Framed, SECTOR_BYTES, is_zero};
use crate::report::Finding;
use crate::salvage::read_what_can_be;
use crate::scan::Scanner;
use crate::types::BlockIndex;
use std::collections::BTreeSet;

/// How much of the table is read at once, in bytes.
const STRETCH_BYTES: usize = 1 << 20;

/// Loads all rows into `state`; returns the blocks whose rows are lost.
pub(super) fn load(
    scanner: &Scanner<'_>,
    state: &mut State,
    findings: &mut Vec<Finding>,
) -> BTreeSet<BlockIndex> {
    let geometry = scanner.geometry;
    let blocks = geometry.blocks as usize;
    let mut rows: Vec<Row> = vec![Row::default(); blocks];
    let mut lost = BTreeSet::new();
    let mut bad: Vec<Stretch<bool>> = Vec::new();
    let sectors = blocks.div_ceil(ROWS_PER_SECTOR);
    let magic = table_magic(scanner.volume);
    for first in (0..sectors).step_by(STRETCH_BYTES / SECTOR_BYTES) {
        let count = (STRETCH_BYTES / SECTOR_BYTES).min(sectors - first);
        let bytes = read_stretch(scanner, first, count);
        for (index, sector) in (first..).zip(bytes.chunks_exact(SECTOR_BYTES)) {
            let whole = TableSector::unseal_as(magic, sector).map(|(sector, _)| sector);
            let mine = index * ROWS_PER_SECTOR..((index + 1) * ROWS_PER_SECTOR).min(blocks);
            match whole.filter(|sector| sector.index as usize == index || planted!(TablePlaceUnchecked)) {
                Some(sector) => {
                    let before = lost.len();
                    for (block, row) in mine.zip(sector.into_rows()) {
                        match row.is_sane(geometry.block_bytes) {
                            true => rows[block] = row,
                            false => drop(lost.insert(BlockIndex(block as u32))),
                        }
                    }
                    if lost.len() > before {
                        note(&mut bad, index as u32, false);
                    }
                }
                None => {
                    note(&mut bad, index as u32, is_zero(sector));
                    lost.extend(mine.map(|block| BlockIndex(block as u32)));
                }
            }
        }
    }
    state.chains = Chains::of(&rows);
    state.rows = Rows::from(rows);
    findings.extend(bad.iter().map(|bad| finding_of(bad, geometry.table_sector_at(bad.first as usize))));
    lost
}

/// What the pages of the table say that have the rows of these blocks; `None` where a sector of them does not stand. All of a page: a
/// writer writes as much at once as its disk wants, up to a page, and so brings along the neighbours of the row that it writes.
pub(super) fn pages_of(
    scanner: &Scanner<'_>,
    blocks: &BTreeSet<BlockIndex>,
) -> Option<Vec<(BlockIndex, Row)>> {
    let (magic, geometry) = (table_magic(scanner.volume), scanner.geometry);
    let sectors = (geometry.blocks as usize).div_ceil(ROWS_PER_SECTOR);
    let page_sectors = geometry.page_bytes / SECTOR_BYTES;
    let pages: BTreeSet<usize> =
        blocks.iter().map(|block| block.0 as usize / ROWS_PER_SECTOR / page_sectors).collect();
    let mut rows = Vec::with_capacity(pages.len() * page_sectors * ROWS_PER_SECTOR);
    for page in pages {
        let first = page * page_sectors;
        let bytes = read_stretch(scanner, first, page_sectors.min(sectors.saturating_sub(first)));
        for (index, bytes) in (first..).zip(bytes.chunks_exact(SECTOR_BYTES)) {
            let (sector, _) = TableSector::unseal_as(magic, bytes)?;
            let mine = (sector.index as usize == index).then_some(sector)?.into_rows();
            let places = (index * ROWS_PER_SECTOR) as u32..geometry.blocks;
            let neighbour = |block: &BlockIndex| planted!(PageNeighboursNotRead) && !blocks.contains(block);
            rows.extend(places.map(BlockIndex).zip(mine).filter(|(block, _)| !neighbour(block)));
        }
    }
    rows.iter().all(|(_, row)| row.is_sane(geometry.block_bytes)).then_some(rows)
}

/// What is to be said of sectors side by side that do not stand, the first of them `at`; whether they are blank.
fn finding_of(bad: &Stretch<bool>, at: u64) -> Finding {
    let what = match (bad.count, bad.what) {
        (1, true) => "a sector is blank".to_owned(),
        (1, false) => "a sector does not verify".to_owned(),
        (count, true) => format!("{count} sectors are blank"),
        (count, false) => format!("{count} sectors do not verify"),
    };
    finding("block table", at, format!("{what}; rebuilt from the blocks"))
}

/// Reads sectors of the table, one by one where the stretch cannot be read.
fn read_stretch(scanner: &Scanner<'_>, first: usize, count: usize) -> Vec<u8> {
    let geometry = scanner.geometry;
    let mut bytes = vec![0; count * SECTOR_BYTES];
    let mut done = 0;
    while let Some(rest) = bytes.get_mut(done * SECTOR_BYTES..).filter(|rest| !rest.is_empty()) {
        let run = geometry.table_run(first + done, count - done);
        let part = rest.get_mut(..run * SECTOR_BYTES).unwrap_or_default();
        let at = geometry.table_sector_at(first + done);
        let _what_fails_is_zeros = read_what_can_be(scanner.disk, part, at, SECTOR_BYTES);
        done += run;
    }
    bytes
}
