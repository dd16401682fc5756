//! Sectors of the table that the disk refuses to write: their rows wait in the round record, which has room for some.

use super::Ledger;
use crate::format::table::ROWS_PER_SECTOR;
use crate::types::{BlockIndex, RoundNumber};
use std::collections::{BTreeMap, BTreeSet};

/// Sectors of the table that the disk refuses to write.
#[derive(Default)]
pub(super) struct Refused {
    /// In which round each is tried again.
    pub(super) sectors: BTreeMap<usize, RoundNumber>,
    /// How many rows of such sectors may wait in the record.
    rows_max: usize,
}

impl Refused {
    fn has(&self, block: BlockIndex) -> bool {
        self.sectors.contains_key(&(block.0 as usize / ROWS_PER_SECTOR))
    }
}

impl Ledger {
    /// The record has room for some rows that the table does not take. When half of it is used, blocks in places that are known
    /// to be refused keep what they hold; when all of it is, all but those whose rows wait there anyway.
    pub(super) fn passed_over(&self) -> impl Fn(&BlockIndex) -> bool {
        let waiting = self.rows_refused();
        let some = waiting > 0 && waiting >= self.refused.rows_max / 2;
        let all = waiting > 0 && waiting >= self.refused.rows_max;
        move |block| (all || some && self.refused.has(*block)) && !self.dirty.contains_key(block)
    }

    /// Whether a block keeps what it holds, because the table does not take its row.
    pub(in crate::writer) fn is_refused(&self, block: BlockIndex) -> bool {
        self.passed_over()(&block)
    }

    /// Whether rows wait for a sector which the disk refuses.
    pub(in crate::writer) fn refuses_rows(&self) -> bool {
        self.rows_refused() > 0
    }

    /// Rows that wait for a sector which the disk refuses.
    fn rows_refused(&self) -> usize {
        if self.refused.sectors.is_empty() {
            return 0;
        }
        self.dirty.keys().filter(|block| self.refused.has(**block)).count()
    }

    /// The disk refuses to write a sector of the table: it is left alone until round `again`, and of such rows at most
    /// `rows_max` shall wait in the record.
    pub(crate) fn refuse(&mut self, sector: usize, again: RoundNumber, rows_max: usize) {
        self.refused.sectors.insert(sector, again);
        self.refused.rows_max = rows_max;
    }

    /// Lets no more than `most` rows wait for the table, as far as the others can be found again from their blocks: `lost` are
    /// those for which the table has nothing.
    pub(crate) fn keep_for_record(&mut self, most: usize, lost: &BTreeSet<BlockIndex>) {
        for block in lost.iter().rev() {
            if self.dirty.len() > most {
                self.dirty.remove(block);
            }
        }
    }
}
