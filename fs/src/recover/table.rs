//! Loading the block table.

use super::{State, finding};
use crate::format::table::{ROWS_PER_SECTOR, TableSector, table_magic};
use crate::format::{Framed, SECTOR_BYTES, is_zero};
use crate::report::Finding;
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
    state.rows = vec![Default::default(); blocks];
    let mut lost = BTreeSet::new();
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
                    for (place, row) in state.rows[mine].iter_mut().zip(sector.into_rows()) {
                        *place = row;
                    }
                }
                None => {
                    let at = geometry.table_at() + (index * SECTOR_BYTES) as u64;
                    let why = if is_zero(sector) { "is blank" } else { "does not verify" };
                    findings.push(finding(
                        "block table",
                        at,
                        format!("a sector {why}; rebuilt from the blocks"),
                    ));
                    lost.extend(mine.map(|block| BlockIndex(block as u32)));
                }
            }
        }
    }
    lost
}

/// Reads sectors of the table, one by one where the stretch cannot be read.
fn read_stretch(scanner: &Scanner<'_>, first: usize, count: usize) -> Vec<u8> {
    let at = scanner.geometry.table_at() + (first * SECTOR_BYTES) as u64;
    let mut bytes = vec![0; count * SECTOR_BYTES];
    if scanner.disk.read_exact_at(&mut bytes, at).is_err() {
        for (index, sector) in bytes.chunks_exact_mut(SECTOR_BYTES).enumerate() {
            if scanner.disk.read_exact_at(sector, at + (index * SECTOR_BYTES) as u64).is_err() {
                sector.fill(0);
            }
        }
    }
    bytes
}
