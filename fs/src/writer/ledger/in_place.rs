//! Blocks that are about to be overwritten in place: until that is done neither they nor what is newer of their streams is taken.

use super::{Grant, Ledger};
use crate::types::{BlockIndex, StreamId};
use std::collections::{BTreeSet, VecDeque};

impl Ledger {
    /// Keeps blocks from being taken. What was set aside of them is given back, and what is newer of the same streams, so that
    /// these have no hole; whether anything was: then a record without it must be flushed before anyone writes there.
    pub(crate) fn reserve(&mut self, blocks: &BTreeSet<BlockIndex>) -> bool {
        for block in blocks {
            self.leave(*block);
            self.reserved.insert(*block);
            self.enter(*block);
        }
        let grants = std::mem::take(&mut self.grants);
        let mine = grants.iter().filter(|grant| blocks.contains(&grant.block));
        let streams: BTreeSet<StreamId> = mine.map(|grant| grant.before.stream).collect();
        let (withdrawn, kept): (VecDeque<Grant>, _) =
            grants.into_iter().partition(|grant| streams.contains(&grant.before.stream));
        self.grants = kept;
        for grant in &withdrawn {
            self.settle(grant.block, grant.before.clone());
        }
        !withdrawn.is_empty()
    }

    /// A block may be taken again.
    pub(crate) fn unreserve(&mut self, block: BlockIndex) {
        if self.reserved.contains(&block) {
            self.leave(block);
            self.reserved.remove(&block);
            self.enter(block);
        }
    }
}
