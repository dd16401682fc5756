//! Blocks that are about to be overwritten in place: until that is done they are not taken; the ring goes on with what was written
//! next.

use super::{Grant, Ledger};
use crate::types::BlockIndex;
use std::collections::{BTreeSet, VecDeque};

impl Ledger {
    /// Keeps blocks from being taken. What was set aside of them is given back; whether anything was: then a record without it must
    /// be flushed before anyone writes there.
    pub(crate) fn reserve(&mut self, blocks: &BTreeSet<BlockIndex>) -> bool {
        for block in blocks {
            self.leave(*block);
            self.reserved.insert(*block);
            self.enter(*block);
        }
        let grants = std::mem::take(&mut self.grants);
        let (withdrawn, kept): (VecDeque<Grant>, _) =
            grants.into_iter().partition(|grant| blocks.contains(&grant.block));
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
