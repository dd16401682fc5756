//! What must hold between two looks at the writer's own blocks: who is overwritten next, and that parked blocks are written on.
//!
//! When a block was last written is followed here from outside, by what stands in it; ranks are not believed.

use super::{Verdict, demand};
use crate::report::BlockState;
use crate::types::{BlockIndex, Sequence};
use crate::writer::inspect::{LiveBlock, View};
use std::collections::BTreeMap;

/// What stood in a block, and between which grants it was last written.
#[derive(Clone, Debug)]
struct Written {
    take: Sequence,
    used_bytes: u32,
    state: BlockState,
    /// The highest sequence granted was at least this when it was last written,
    at_least: Sequence,
    /// and at most this.
    at_most: Sequence,
}

impl Written {
    fn holds(&self, live: &LiveBlock) -> bool {
        (self.take, self.used_bytes, self.state) == (live.sequence, live.used_bytes, live.state)
    }
}

/// When each block was last written.
#[derive(Clone, Debug, Default)]
pub(super) struct Order(BTreeMap<BlockIndex, Written>);

impl Order {
    /// A crash came: how much of each block is left, and so when that was written, is not known.
    pub(super) fn crashed(&mut self) {
        self.0.values_mut().for_each(|written| written.at_least = Sequence(0));
    }

    /// A volume was opened; what was not known to stand in a block may have been written long ago.
    pub(super) fn opened(&mut self, view: &View) {
        self.note(view, Sequence(0));
    }

    /// Judges what the writer did between two looks. In `closing` all that was set aside is given back.
    pub(super) fn follow(&mut self, before: &View, after: &View, faulty: bool, closing: bool) -> Verdict {
        demand!(
            after.granted.len() <= after.active + 2,
            "{} blocks are set aside for {} streams",
            after.granted.len(),
            after.active
        );
        for block in after.granted.difference(&before.granted) {
            let bad = |live: &&LiveBlock| live.block == *block && live.state == BlockState::Bad;
            demand!(
                !before.live.iter().any(|live| bad(&live)),
                "block {block} was withdrawn, and is set aside"
            );
            if !faulty {
                by_rank(*block, before, after)?;
                self.by_last_write(*block, after)?;
            }
        }
        if !faulty && !closing {
            parked_are_resumed(before, after)?;
        }
        self.note(after, before.highest);
        Ok(())
    }

    /// Takes note of what changed since the last look.
    fn note(&mut self, view: &View, at_least: Sequence) {
        for live in &view.live {
            if self.0.get(&live.block).is_none_or(|written| !written.holds(live)) {
                let written = Written {
                    take: live.sequence,
                    used_bytes: live.used_bytes,
                    state: live.state,
                    at_least,
                    at_most: Sequence(view.highest.0 + view.granted.len() as u64),
                };
                self.0.insert(live.block, written);
            }
        }
    }

    /// No block that stayed where it was while `victim` was set aside may have been written before it.
    fn by_last_write(&self, victim: BlockIndex, after: &View) -> Verdict {
        let Some(mine) = self.0.get(&victim) else { return Ok(()) };
        let older = after.live.iter().find(|live| {
            let waits = matches!(live.state, BlockState::Parked | BlockState::Sealed)
                && !after.held.contains(&live.block);
            let same = self.0.get(&live.block).filter(|other| other.holds(live));
            waits && same.is_some_and(|other| other.at_most < mine.at_least)
        });
        demand!(
            older.is_none(),
            "block {victim}, last written when {} was granted, is set aside before {older:?}",
            mine.at_least
        );
        Ok(())
    }
}

/// Of the blocks that may be taken, those of lowest rank are.
fn by_rank(block: BlockIndex, before: &View, after: &View) -> Verdict {
    let rank = before.ranks.get(&block);
    let stayed = |other: &BlockIndex| {
        !after.granted.contains(other) && before.takes.get(other) == after.takes.get(other)
    };
    let passed = before
        .ranks
        .iter()
        .filter(|(other, rank)| stayed(other) && after.ranks.get(other) == Some(rank))
        .find(|(_, other_rank)| Some(*other_rank) < rank);
    demand!(
        passed.is_none() || rank.is_none(),
        "block {block} of rank {rank:?} is set aside before {passed:?}"
    );
    Ok(())
}

/// A stream whose newest block is parked, and not set aside, takes no other before that one is full.
fn parked_are_resumed(before: &View, after: &View) -> Verdict {
    for parked in before.live.iter().filter(|live| live.state == BlockState::Parked) {
        let newest = |view: &View| view.live.iter().rfind(|live| live.stream == parked.stream).cloned();
        let was_newest = newest(before).is_some_and(|live| live.block == parked.block);
        let left_behind = |now: &LiveBlock| {
            now.sequence == parked.sequence
                && now.used_bytes == parked.used_bytes
                && now.state == BlockState::Parked
        };
        let is = after.live.iter().find(|live| live.block == parked.block).is_some_and(left_behind);
        let next = newest(after).filter(|live| live.sequence > parked.sequence);
        demand!(
            !(was_newest && is) || next.is_none() || before.granted.contains(&parked.block),
            "{parked:?} is left, and {next:?} taken instead"
        );
    }
    Ok(())
}
