//! Rows that are of an earlier time than their blocks: those of an earlier take.
//!
//! A row that knows only a part of its take is not told from one behind whose end a crash discarded chunks: what was discarded
//! must never come back, so that nothing behind a row's end counts but what the newest record names.

use super::rebuild::rebuild;
use super::verdict::{Header, Source, Verdict, judge};
use super::{Recovered, State, ends};
use crate::format::table::Row;
use crate::scan::Scanner;
use crate::types::BlockIndex;
use std::collections::BTreeSet;

/// Finds rows again from their blocks: those that are `lost`, and those of a later take than their row knows.
pub(super) fn rebuild_outdated(scanner: &Scanner<'_>, state: &mut State, lost: BTreeSet<BlockIndex>) {
    let is_outdated = |block: &BlockIndex| {
        let header = Header::of(&scanner.block_header(*block));
        let row = state.rows.get(block.0 as usize);
        row.is_some_and(|row| judge(row, Source::Known, header) == Verdict::Rebuild)
    };
    let outdated = scanner.geometry.all_blocks().filter(is_outdated);
    let blocks = outdated.chain(lost.iter().copied()).collect();
    rebuild(scanner, state, &blocks);
}

/// Finds these rows again from their blocks, gives others, and brings in line what follows from rows.
pub(crate) fn amend(
    scanner: &Scanner<'_>,
    recovered: &mut Recovered,
    from_blocks: &BTreeSet<BlockIndex>,
    given: Vec<(BlockIndex, Row)>,
) {
    let mut state = State {
        rows: std::mem::take(&mut recovered.rows),
        chains: std::mem::take(&mut recovered.chains),
        changed: std::mem::take(&mut recovered.changed),
        ..State::default()
    };
    for (block, row) in given {
        state.set(block, row);
    }
    rebuild(scanner, &mut state, from_blocks);
    (recovered.rows, recovered.chains, recovered.changed) = (state.rows, state.chains, state.changed);
    recovered.unfinished.append(&mut state.unfinished);
    recovered.ends = ends(&recovered.rows, &recovered.chains);
    let most = recovered.rows.most();
    recovered.highest = recovered.highest.max(most.sequence);
    recovered.epoch = recovered.epoch.max(most.epoch);
    // What is known from elsewhere is no look that another could go on from.
    recovered.renewable = None;
}
