//! Opening where no round record stands: the table tells what the blocks cannot, and every block tells what it holds.
//!
//! Which of the two counts says [`super::verdict`]; what was held stays so.

use super::rebuild::rebuild;
use super::verdict::{Header, Source, Verdict, judge};
use super::{Chains, State, finding, table};
use crate::format::table::{HELD, Row};
use crate::report::Finding;
use crate::scan::Scanner;
use crate::types::{BlockIndex, Sequence};
use std::collections::BTreeSet;

/// Finds the rows.
pub(super) fn examine_all(scanner: &Scanner<'_>, findings: &mut Vec<Finding>) -> State {
    let mut state = State::default();
    let mut lost = table::load(scanner, &mut state, findings);
    if planted!(TableUnreadWithoutRecord) {
        state.rows = state.rows.iter().map(|_| Row::default()).collect();
        state.chains = Chains::default();
        lost = scanner.geometry.all_blocks().collect();
    }
    state.unlisted.clone_from(&lost);
    let is_doubtful = |block: &BlockIndex| {
        let header = || Header::of(&scanner.block_header(*block));
        let row = state.rows.get(block.0 as usize).filter(|_| !lost.contains(block));
        row.is_none_or(|row| judge(row, Source::TableAlone, header()) != Verdict::Keep)
    };
    let doubtful: BTreeSet<BlockIndex> = scanner.geometry.all_blocks().filter(is_doubtful).collect();
    let held = |block: &BlockIndex| {
        let row = state.rows.get(block.0 as usize).filter(|row| row.flags & HELD != 0)?;
        Some((*block, row.sequence))
    };
    let held: Vec<(BlockIndex, Sequence)> = doubtful.difference(&lost).filter_map(held).collect();
    rebuild(scanner, &mut state, &doubtful);
    for (block, sequence) in held {
        let row = state.rows.get(block.0 as usize).filter(|row| row.sequence == sequence && row.is_live());
        if let Some(row) = row.cloned() {
            state.set(block, Row { flags: row.flags | HELD, ..row });
        }
    }
    // A volume that was never written to has no record, and nothing of it is damaged.
    if state.rows.iter().any(Row::is_live) {
        let detail = "no record stands; every block was examined".to_owned();
        findings.push(finding("round log", scanner.geometry.logs_at()[0], detail));
    }
    state
}
