//! Writing the block table, sector by sector. Which sectors, and what becomes of those that the disk refuses: [`super::ledger`].

use super::ledger::Ledger;
use super::writes::{Purpose, Writes, copy_error};
use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::format::geometry::Geometry;
use crate::format::table::{ROWS_PER_SECTOR, TableSector, table_magic};
use crate::format::{Framed, SECTOR_BYTES};
use crate::types::{BlockIndex, RoundNumber, VolumeId};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

/// Writes the sectors that hold these rows. They were found out from the blocks and can be again, should this be torn. What
/// the disk refuses waits for a later round.
pub(super) fn write_table<D: Disk>(
    geometry: &Geometry,
    volume: VolumeId,
    round: RoundNumber,
    ledger: &mut Ledger,
    blocks: &BTreeSet<BlockIndex>,
    writes: &mut Writes<D>,
    path: &Path,
) -> Result<()> {
    let mut sectors: BTreeSet<usize> =
        blocks.iter().map(|block| block.0 as usize / ROWS_PER_SECTOR).collect();
    submit_sectors(geometry, volume, round, ledger, &sectors, writes);
    writes.wait();
    if !writes.failed().is_empty() {
        writes.retry_failed(Purpose::Metadata);
    }
    for purpose in writes.failed() {
        if let Purpose::Table(unit) = purpose {
            writes.sectors_of_unit(unit).for_each(|sector| _ = sectors.remove(&sector));
        }
    }
    writes.forget_failed();
    writes.flush().map_err(|error| {
        let source = writes.last_error().map_or(error, copy_error);
        Error::io("repair the block table of", path, source)
    })?;
    writes.settle();
    ledger.in_table(&sectors);
    Ok(())
}

/// Starts writing these sectors of the table, with their neighbours in the disk's unit.
pub(super) fn submit_sectors<D: Disk>(
    geometry: &Geometry,
    volume: VolumeId,
    round: RoundNumber,
    ledger: &Ledger,
    sectors: &BTreeSet<usize>,
    writes: &mut Writes<D>,
) {
    let unit = writes.alignment_bytes();
    let per_unit = unit / SECTOR_BYTES;
    let units: BTreeSet<usize> = sectors.iter().map(|sector| sector / per_unit).collect();
    let magic = table_magic(volume);
    for index in units {
        let mut buffer = writes.buffer(unit);
        for (sector, place) in (index * per_unit..).zip(buffer.chunks_exact_mut(SECTOR_BYTES)) {
            TableSector::new(sector as u32, round, ledger.sector_rows(sector)).seal_as(magic, place);
        }
        let at = geometry.table_sector_at(index * per_unit);
        writes.submit(at, Arc::new(buffer), Purpose::Table(index));
    }
}
