//! What must hold between two looks at the writer's own blocks: who is overwritten next, that parked blocks are written on, and
//! that quotas and minimum ages choose between streams and nothing else.
//!
//! When a block was last written is followed here from outside, by what stands in it; ranks are not believed.

use super::{Verdict, demand};
use crate::report::BlockState;
use crate::types::{BlockIndex, Sequence, StreamId};
use crate::writer::inspect::{LiveBlock, View};
use std::collections::{BTreeMap, BTreeSet};

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
    /// The same as the volume's running time, in seconds.
    running_s: (u64, u64),
}

impl Written {
    fn holds(&self, live: &LiveBlock) -> bool {
        (self.take, self.used_bytes, self.state) == (live.sequence, live.used_bytes, live.state)
    }
}

/// When each block was last written, and by whom; and parked blocks that were left for others, of which nothing may be left by now.
#[derive(Clone, Debug, Default)]
pub(super) struct Order(
    BTreeMap<BlockIndex, Written>,
    BTreeMap<BlockIndex, StreamId>,
    BTreeSet<(BlockIndex, Sequence)>,
);

impl Order {
    /// A crash came: how much of each block is left, and so when that was written, is not known.
    pub(super) fn crashed(&mut self) {
        for written in self.0.values_mut() {
            (written.at_least, written.running_s.0) = (Sequence(0), 0);
        }
    }

    /// A volume was opened; what was not known to stand in a block may have been written long ago.
    pub(super) fn opened(&mut self, view: &View) {
        self.note(view, Sequence(0), 0, &BTreeSet::new());
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
                costs_nothing(*block, before, after)?;
                self.by_rank(*block, before, after)?;
                self.by_last_write(*block, before, after)?;
            }
        }
        if !faulty && !closing {
            parked_are_resumed(before, after, &self.2)?;
        }
        let later = |one: &LiveBlock| {
            after.live.iter().any(|live| live.stream == one.stream && live.sequence > one.sequence)
        };
        self.2.extend(after.live.iter().filter(|live| later(live)).map(|live| (live.block, live.sequence)));
        self.note(after, before.highest, before.running_s, &before.reserved);
        Ok(())
    }

    /// An erasure began, and all was flushed `before`: from then on it costs nobody else's footage.
    pub(super) fn erasure_began(&self, before: View, after: &View, faulty: bool) -> Verdict {
        let before = View { erasing: true, ..before };
        let mut new = after.granted.difference(&before.granted).filter(|_| !faulty);
        new.try_for_each(|block| costs_nothing(*block, &before, after))
    }

    /// Takes note of what changed since the last look.
    fn note(&mut self, view: &View, at_least: Sequence, running_s: u64, erased: &BTreeSet<BlockIndex>) {
        for live in &view.live {
            self.1.insert(live.block, live.stream);
            if self.0.get(&live.block).is_none_or(|written| !written.holds(live)) {
                // To seal or park a block is not to write to it.
                let as_far = |written: &&Written| {
                    (written.take, written.used_bytes) == (live.sequence, live.used_bytes)
                };
                let before = self
                    .0
                    .get(&live.block)
                    .filter(as_far)
                    .map(|written| (written.at_least, written.running_s.0));
                // To overwrite it in place is not to write to it, either.
                let long_ago = erased.contains(&live.block).then_some((Sequence(0), 0));
                let (at_least, running_s) = long_ago.or(before).unwrap_or((at_least, running_s));
                let written = Written {
                    take: live.sequence,
                    used_bytes: live.used_bytes,
                    state: live.state,
                    at_least,
                    at_most: Sequence(view.highest.0 + view.granted.len() as u64),
                    running_s: (running_s, view.running_s),
                };
                self.0.insert(live.block, written);
            }
        }
    }

    /// No block that stayed where it was while `victim` was set aside may have been written before it.
    fn by_last_write(&self, victim: BlockIndex, before: &View, after: &View) -> Verdict {
        let Some(mine) = self.0.get(&victim) else { return Ok(()) };
        // Limits choose between streams, never between the blocks of one.
        let stream = self.1.get(&victim);
        let any = after.limits.is_empty() && !is_void(victim, before);
        let same_stream = |live: &&LiveBlock| any || stream == Some(&live.stream);
        let older = after.live.iter().filter(same_stream).find(|live| {
            let waits = matches!(live.state, BlockState::Parked | BlockState::Sealed)
                && !after.held.contains(&live.block)
                && !before.reserved.contains(&live.block)
                && !after.reserved.contains(&live.block);
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

    /// Of the blocks that may be taken, those of lowest rank are, but for what limits say of streams.
    fn by_rank(&self, block: BlockIndex, before: &View, after: &View) -> Verdict {
        let Some(rank) = before.ranks.get(&block) else { return Ok(()) };
        // What was written on was open in between, and no block for the taking.
        let live = |view: &View, other: &BlockIndex| {
            view.live.iter().find(|live| live.block == *other).map(|live| (live.state, live.used_bytes))
        };
        let stayed = |other: &BlockIndex| {
            !after.granted.contains(other)
                && live(before, other) == live(after, other)
                && before.takes.get(other) == after.takes.get(other)
                && before.ranks.get(other) == after.ranks.get(other)
        };
        let offered = |other: &BlockIndex| stayed(other) && !after.reserved.contains(other);
        let waiting = || before.ranks.iter().filter(|(other, _)| offered(other));
        let stream = before.owners.get(&block);
        let may_be_over = stream.is_some_and(|stream| quota(stream, before, after).1);
        // What has no footage any more goes before what has.
        let void = is_void(block, before);
        let of_mine = |other: &BlockIndex| before.owners.get(other) == stream;
        let passed = waiting().find(|(other, lower)| {
            let excused = !of_mine(other) && (may_be_over || void || self.may_be_young(**other, before));
            *lower < rank && !excused
        });
        demand!(passed.is_none(), "block {block} of rank {rank:?} is set aside before {passed:?}");
        let over = waiting()
            .find(|(other, _)| before.owners.get(other).is_some_and(|stream| quota(stream, before, after).0));
        demand!(
            may_be_over || over.is_none(),
            "block {block} is set aside, but the stream of {over:?} has more than its quota"
        );
        let old = waiting().find(|(other, _)| !self.may_be_young(**other, before));
        let young = self.is_young(block, before, after);
        demand!(
            may_be_over || void || !young || old.is_none(),
            "block {block} is set aside before its minimum age, and {old:?} is not"
        );
        Ok(())
    }

    /// For how long a block is to be passed over, in seconds.
    fn minimum_age_s(block: BlockIndex, view: &View) -> u64 {
        let limits = view.owners.get(&block).and_then(|stream| view.limits.get(stream));
        limits.map_or(0, |limits| limits.minimum_age_s)
    }

    /// Whether a block may have been younger than its stream's minimum age.
    fn may_be_young(&self, block: BlockIndex, before: &View) -> bool {
        let written = self.0.get(&block).map_or(u64::MAX, |written| written.running_s.1);
        before.running_s.saturating_sub(written) < Order::minimum_age_s(block, before)
    }

    /// Whether it certainly was.
    fn is_young(&self, block: BlockIndex, before: &View, after: &View) -> bool {
        let written = self.0.get(&block).map_or(0, |written| written.running_s.0);
        let minimum_age_s = Order::minimum_age_s(block, before);
        after.trusted.is_none() && after.running_s.saturating_sub(written) < minimum_age_s
    }
}

/// While an erasure is waited for, no block with footage is set aside unless a stream waits for one.
fn costs_nothing(block: BlockIndex, before: &View, after: &View) -> Verdict {
    let calm = before.starved + after.starved == 0 && before.takes == after.takes;
    let had_footage = before.live.iter().any(|live| live.block == block) && !is_void(block, before);
    demand!(
        !(before.erasing && after.erasing && calm && had_footage),
        "block {block} is set aside, though what is being erased is about to make room"
    );
    Ok(())
}

/// Whether nothing of a block's footage was left, or was about to be.
fn is_void(block: BlockIndex, before: &View) -> bool {
    before.void.contains(&block) || before.reserved.contains(&block)
}

/// Whether a stream had more than its quota all the time between two looks, and whether it may have had at any time.
fn quota(stream: &StreamId, before: &View, after: &View) -> (bool, bool) {
    let limit = before.limits.get(stream).or(after.limits.get(stream)).and_then(|limits| limits.quota_blocks);
    let Some(limit) = limit else { return (false, false) };
    let count = |view: &View| view.owners.values().filter(|owner| *owner == stream).count() as u32;
    let given = before.owners.iter().filter(|(block, owner)| {
        *owner == stream
            && (after.granted.contains(block) || after.takes.get(block) != before.takes.get(block))
    });
    let taken = after
        .owners
        .iter()
        .filter(|(block, owner)| *owner == stream && before.takes.get(block) != after.takes.get(block));
    let (given, taken) = (given.count() as u32, taken.count() as u32);
    let unchanged = before.limits == after.limits && before.held == after.held;
    (unchanged && count(before).saturating_sub(given) > limit, count(before) + taken > limit)
}

/// A stream whose newest block is parked, and not set aside, or left before, takes no other before that one is full.
fn parked_are_resumed(before: &View, after: &View, left: &BTreeSet<(BlockIndex, Sequence)>) -> Verdict {
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
            !(was_newest && is)
                || left.contains(&(parked.block, parked.sequence))
                || next.is_none()
                || before.granted.contains(&parked.block)
                || before.reserved.contains(&parked.block)
                || after.reserved.contains(&parked.block),
            "{parked:?} is left, and {next:?} taken instead"
        );
    }
    Ok(())
}
