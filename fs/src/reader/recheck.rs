//! A block in which something was found, looked at once more: what a live writer changed meanwhile, and what is being overwritten
//! in place, is no damage.
//!
//! | found | the newest record | means |
//! |---|---|---|
//! | anything behind what is durable | names or grants the block | it is on its way to the disk |
//! | a void chunk that is not zeros | names the block | it is being overwritten, or was when the recorder was cut off: nobody reads what it covers, and the recorder, or the next one, finishes it |
//! | a void chunk that is not zeros | does not | its row says that it is finished: damage |
//! | anything else | any | verified again, by what is known of the block by now; what is found then is damage |
//!
//! Whether the ring has taken the block for something else is not looked at here: see [`super::passed`].

use super::Volume;
use super::verify::{BlockCheck, NOT_WIPED};
use crate::format::table::{HELD, NO_FOOTER, PART_VOID, Row};
use crate::recover::{examine, newest_record};

/// How often a block is verified again that is being overwritten meanwhile.
const TRIES: usize = 3;

/// Drops from what was found in a block what is no damage, and verifies it again where a live writer may have been in it. Whether
/// it is being overwritten in place and not zeros yet.
pub(super) fn check_again(volume: &Volume, block: &mut BlockCheck, row: &Row) -> bool {
    let (scanner, take) = (volume.scanner(), block.take);
    let mut overwriting = volume.state.unfinished.contains(&take.block);
    let mut known = row.clone();
    drop_unsettled(volume, block);
    for turn in 0..TRIES {
        let clean = block.findings.iter().all(|finding| overwriting && finding.what == NOT_WIPED);
        if clean || !volume.state.after_crash {
            break;
        }
        let (now, named) = known_now(volume, block, row);
        if turn > 0 && is_same(&now, &known) && named == overwriting {
            break;
        }
        (known, overwriting) = (now, named);
        *block = BlockCheck::new(&scanner, take, &known);
        block.run(&scanner);
        drop_unsettled(volume, block);
    }
    let found = block.findings.len();
    overwriting |= planted!(HalfWipedForgiven);
    overwriting &= !planted!(HalfWipedIsDamage);
    block.findings.retain(|finding| !overwriting || finding.what != NOT_WIPED);
    block.findings.len() < found
}

/// What is on its way to the disk is there by now, or still on its way.
fn drop_unsettled(volume: &Volume, block: &mut BlockCheck) {
    let from = volume.unsettled_from(&block.take).unwrap_or(u64::MAX);
    block.findings.retain(|finding| finding.at < from);
}

/// The row of a block by now, and whether it is being overwritten in place. Where it is not, and was not meanwhile, its row is as it
/// was.
fn known_now(volume: &Volume, block: &BlockCheck, row: &Row) -> (Row, bool) {
    let (scanner, take) = (volume.scanner(), &block.take);
    let record = newest_record(&scanner).filter(|_| !planted!(CheckedByOldRows));
    let Some(record) = record else {
        return (row.clone(), volume.state.unfinished.contains(&take.block));
    };
    let mut named = record.named.iter().map(|named| (named.block, named.sequence));
    if named.any(|named| named == (take.block, take.sequence)) {
        // Nothing is written behind what was overwritten: a block with a void chunk is named for that alone.
        let stop = Some(row.last_chunk().next());
        let now = examine(&scanner, take, row.used_bytes as usize, stop).progress.row;
        return match now.flags & PART_VOID != 0 {
            true => (Row { flags: now.flags | NO_FOOTER, state: row.state, ..now }, true),
            false => (row.clone(), false),
        };
    }
    let now = volume
        .state_at(record.header.round)
        .map(|state| (state.row(take.block), state.unfinished.contains(&take.block)));
    let same_take = |now: &Row| (now.sequence, now.stream) == (take.sequence, take.stream) && now.is_linked();
    now.filter(|(now, _)| same_take(now)).unwrap_or((row.clone(), false))
}

fn is_same(one: &Row, other: &Row) -> bool {
    let plain = |row: &Row| Row { flags: row.flags & !HELD, ..row.clone() };
    plain(one) == plain(other)
}
