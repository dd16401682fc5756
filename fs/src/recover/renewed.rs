//! A look at a volume that goes on from the one before, beside a live writer: what cannot have changed since is not read again.
//!
//! | of the volume | read again |
//! |---|---|
//! | superblock | its first copy, to see that it is the same volume: the others are written by nobody while one writes |
//! | stream directory, holds | all of it: they change without a round |
//! | round log | the record of the look before, all of it, to see that it stands still; the records since, one after the other |
//! | block table | the pages with rows that stand in one of these records: what is written for one of them brings its neighbours along, of which no record may tell; and those with rows that were found to be others than the table's, which another writer may write before its first record. No page is written otherwise |
//! | a block that is named | from where its walk ended, if it is only recorded into: see [`super::walk`] |
//!
//! The rows are as the table has them first, and from there on found as at any opening, by the same code. Where anything is in
//! doubt there is no such look, and the volume is opened anew: another writer came, more rounds were made than the log keeps,
//! something of the table did not stand or does not now, a copy of the superblock is bad, the volume is cut short.
//!
//! What rots below what was verified in a look before is not found here: whoever reads it finds it, and so does the scrub.

use super::walk::Remembered;
use super::{
    Found, Recovered, State, blocks, holds, is_unfinished, log, overlay, read_directories, superblock_stands,
    table,
};
use crate::disk::ReadAt;
use crate::format::footer::Footer;
use crate::format::round::RoundRecord;
use crate::format::table::Row;
use crate::scan::{Scanner, Take};
use crate::types::BlockIndex;
use std::collections::{BTreeMap, BTreeSet};

/// What a look leaves to the next one.
pub(super) struct Renewable {
    /// The newest record that it knew.
    pub(super) record: RoundRecord,
    /// What the table said of the blocks of which it said something else.
    pub(super) table: BTreeMap<BlockIndex, Row>,
    /// Where the walks of open blocks ended.
    pub(super) walks: BTreeMap<BlockIndex, Remembered>,
}

impl Recovered {
    /// The newest record that this look knew; `None` where none counted.
    pub(crate) fn known_record(&self) -> Option<&RoundRecord> {
        self.renewable.as_ref().map(|renewable| &renewable.record)
    }

    /// The chunks and sync samples of an open block as this look found them, if its row is this one, the block is still of this take,
    /// and the look is so young that its record is the newest.
    pub(crate) fn walked(&self, scanner: &Scanner<'_>, take: &Take, row: &Row) -> Option<&Footer> {
        let from = self.renewable.as_ref()?;
        let footer = from.walks.get(&take.block)?.footer(take, row)?;
        let header = scanner.block_header(take.block).ok().flatten()?;
        let same = (header.sequence, header.stream) == (take.sequence, take.stream);
        // An erasure takes a round: none was made since.
        let newest = || log::since(scanner, &from.record).is_some_and(|newer| newer.is_empty());
        (same && newest()).then_some(footer)
    }
}

/// How often a look is renewed at once while the writer goes on.
const TRIES: usize = 4;

/// What the volume holds by now; `None` where it is to be opened anew.
pub(crate) fn renewed(disk: &dyn ReadAt, before: &Recovered) -> Option<Recovered> {
    let mut now = renewed_once(disk, before)?;
    for _ in 1..TRIES {
        let scanner = Scanner { disk, geometry: &now.geometry, volume: now.volume() };
        // Table and record belong together if no more than one round was made in the meantime.
        if log::since(&scanner, &now.renewable.as_ref()?.record)?.len() <= 1 {
            break;
        }
        now = renewed_once(disk, &now)?;
    }
    Some(now)
}

fn renewed_once(disk: &dyn ReadAt, before: &Recovered) -> Option<Recovered> {
    let from = before.renewable.as_ref()?;
    let (geometry, superblock) = (&before.geometry, &before.superblock);
    let same = before.superblocks_good.iter().all(|good| *good)
        && disk.size_bytes() >= geometry.size_bytes
        && superblock_stands(disk, *geometry.copies_at.first()?, superblock);
    if !same {
        return None;
    }
    let scanner = Scanner { disk, geometry, volume: before.volume() };
    let mut findings = Vec::new();
    let (merged, directories) = read_directories(&scanner, &mut findings);
    let newer = log::since(&scanner, &from.record)?;
    let record = newer.last().unwrap_or(&from.record);
    let holds = holds::find(&scanner, record.header.holds_generation, &mut findings);
    let (mut state, read) = as_by_table(&scanner, before, &newer)?;
    let most = state.rows.most().sequence;
    if most > record.header.highest {
        return None;
    }
    let unfinished = unfinished_rows(&state, from, &read);
    if !unfinished.is_subset(&overlay(&scanner, &mut state, record)) {
        return None;
    }
    blocks::examine_named(&scanner, &mut state, record);
    let record = Some(record.clone());
    let superblock = (superblock.clone(), before.superblocks_good.clone());
    let found = Found { superblock, merged, directories, record, holds, state, findings };
    Some(found.put_together(disk, geometry.clone()))
}

/// The blocks of which only a record says what became of them: of the rows that were read, and of those that were such before. None of
/// the others was one in the look before, or is another now.
fn unfinished_rows(state: &State, from: &Renewable, read: &BTreeSet<BlockIndex>) -> BTreeSet<BlockIndex> {
    let before = from.record.named.iter().map(|named| named.block);
    let before = before.chain(from.record.granted.iter().map(|granted| granted.block));
    let all = read.iter().copied().chain(before).chain(from.table.keys().copied());
    all.filter(|block| state.rows.get(block.0 as usize).is_some_and(is_unfinished)).collect()
}

/// The rows as the table on disk has them, and those that were read of it.
fn as_by_table(
    scanner: &Scanner<'_>,
    before: &Recovered,
    newer: &[RoundRecord],
) -> Option<(State, BTreeSet<BlockIndex>)> {
    let from = before.renewable.as_ref()?;
    let mut state = State {
        rows: before.rows.clone(),
        chains: before.chains.clone(),
        remembered: from.walks.clone(),
        is_plain: true,
        ..State::default()
    };
    for (block, row) in &from.table {
        state.put(*block, row.clone());
    }
    // A row is in a record before it is in the table, but for what a writer found while it opened: it may write that at once.
    let records = std::iter::once(&from.record).chain(newer);
    let logged = records.flat_map(|record| &record.rows).map(|row| row.block);
    let found = from.table.keys().filter(|_| !planted!(FoundRowsNotReadAgain)).copied();
    let written: BTreeSet<BlockIndex> =
        logged.chain(found).filter(|_| !planted!(WrittenRowsNotReadAgain)).collect();
    let mut read = BTreeSet::new();
    for (block, row) in table::pages_of(scanner, &written)? {
        state.put(block, row);
        read.insert(block);
    }
    Some((state, read))
}
