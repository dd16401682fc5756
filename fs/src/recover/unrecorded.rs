//! Opening where no round record stands: the table tells what the blocks cannot, and every block tells what it holds.
//!
//! | the table's row | the block's header | the row then |
//! |---|---|---|
//! | of any take | of a later take | found again from the block |
//! | withdrawn, free, erased, expired | of the same take, an earlier one, or none | stays: what was given up does not come back (of chunks overwritten in place the block says so itself, and is asked) |
//! | parked or sealed, with footage | of an earlier take, or none | stays: what is missing is damage |
//! | any other | | found again from the block; held if it was |

use super::rebuild::rebuild;
use super::{State, finding, table};
use crate::format::table::{HELD, PART_VOID, Row};
use crate::report::BlockState;
use crate::report::Finding;
use crate::scan::Scanner;
use crate::types::{BlockIndex, Sequence};
use std::collections::BTreeSet;

/// Finds the rows.
pub(super) fn examine_all(scanner: &Scanner<'_>, findings: &mut Vec<Finding>) -> State {
    let mut state = State::default();
    let mut lost = table::load(scanner, &mut state, findings);
    if planted!(TableUnreadWithoutRecord) {
        state.rows.fill(Row::default());
        lost = scanner.geometry.all_blocks().collect();
    }
    state.unlisted.clone_from(&lost);
    let stays = |block: &BlockIndex| {
        let header = scanner.block_header(*block).ok().flatten().map(|header| header.sequence);
        let row = state.rows.get(block.0 as usize).filter(|_| !lost.contains(block));
        row.is_some_and(|row| stays(row, header))
    };
    let doubtful: BTreeSet<BlockIndex> =
        scanner.geometry.all_blocks().filter(|block| !stays(block)).collect();
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

/// Whether a row of the table says more than its block, whose header is of the take `header`.
fn stays(row: &Row, header: Option<Sequence>) -> bool {
    match (row.state, header) {
        (_, Some(header)) if header > row.sequence => false,
        // What a crash left of an erasure is found again and finished.
        (BlockState::Erased | BlockState::Expired, Some(_)) if row.flags & PART_VOID != 0 => false,
        (BlockState::Bad | BlockState::Free | BlockState::Erased | BlockState::Expired, _) => true,
        (BlockState::Parked | BlockState::Sealed, header) => row.is_live() && header != Some(row.sequence),
        (BlockState::Open | BlockState::Granted, _) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_judged_as_the_table_above_says() {
        use BlockState::*;
        for state in [Free, Granted, Open, Parked, Sealed, Bad, Expired, Erased] {
            let row = Row { state, chunks: 3, sequence: Sequence(5), ..Row::default() };
            let nothing = matches!(state, Bad | Free | Erased | Expired);
            let full = matches!(state, Parked | Sealed);
            assert!(!stays(&row, Some(Sequence(6))), "{state:?}");
            assert_eq!(stays(&row, Some(Sequence(5))), nothing, "{state:?}");
            assert_eq!(stays(&row, Some(Sequence(4))), nothing || full, "{state:?}");
            assert_eq!(stays(&row, None), nothing || full, "{state:?}");
        }
    }
}
