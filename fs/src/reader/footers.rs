//! Footers in memory, for all readers of a volume: where in a block what is, found out by one read of the disk and then by none.
//!
//! Kept by block and sequence, so that what was found of one take is never said of another. Within a take a footer goes out of date when
//! chunks are overwritten in place; the rows of looks that were made since tell, and theirs is not asked for. Whoever goes by one that
//! is older reads chunks where it says, finds each to be what is there now, and has it forgotten if it is not what it says
//! ([`Footers::forget`]): just as a reader that read it from the disk a moment before.
//!
//! So what is kept tells where to read, and nothing else: what is told of a block by its footer alone ([`Volume::outline`],
//! [`Volume::spans`]) is read from the disk, or from what the system remembers of it, each time.
//!
//! Bounded by [`BYTES_MAX`]; those that were not asked for the longest go first.

use super::{Finding, Volume, withhold};
use crate::format::footer::{ChunkPlace, Footer, SyncPlace};
use crate::format::table::Row;
use crate::recover::{Recovered, contents, kept_footer, remembered_contents};
use crate::scan::Take;
use crate::types::{BlockIndex, Sequence};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How much memory the footers of a volume take, at most: a thousand blocks of a minute each, and more.
const BYTES_MAX: usize = 16 << 20;
/// One that takes more than such a part of it is not kept.
const PART_MAX: usize = 4;
/// What one costs beside its entries.
const OVERHEAD_BYTES: usize = 256;

type Key = (BlockIndex, Sequence);

/// The footers that are kept. Shared by all looks at a volume, and by all threads.
#[derive(Default)]
pub(super) struct Footers(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    footers: HashMap<Key, (Arc<Footer>, u64)>,
    /// When each was asked for last, in turns.
    by_turn: BTreeMap<u64, Key>,
    turn: u64,
    bytes: usize,
}

fn key(take: &Take) -> Key {
    let sequence = if planted!(FooterOfAnyTakeKept) { Sequence(0) } else { take.sequence };
    (take.block, sequence)
}

fn bytes_of(footer: &Footer) -> usize {
    footer.chunks.len() * size_of::<ChunkPlace>()
        + footer.syncs.len() * size_of::<SyncPlace>()
        + OVERHEAD_BYTES
}

impl Footers {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, take: &Take) -> Option<Arc<Footer>> {
        let mut kept = self.lock();
        let kept = &mut *kept;
        let key = key(take);
        let (footer, turn) = kept.footers.get_mut(&key)?;
        kept.turn += 1;
        kept.by_turn.remove(turn);
        kept.by_turn.insert(kept.turn, key);
        *turn = kept.turn;
        Some(Arc::clone(footer))
    }

    fn keep(&self, take: &Take, footer: &Footer) {
        let bytes = bytes_of(footer);
        if bytes > BYTES_MAX / PART_MAX {
            return;
        }
        let footer = Arc::new(footer.clone());
        let mut kept = self.lock();
        kept.remove(&key(take));
        kept.turn += 1;
        let turn = kept.turn;
        kept.by_turn.insert(turn, key(take));
        kept.footers.insert(key(take), (footer, turn));
        kept.bytes += bytes;
        while kept.bytes > BYTES_MAX {
            let Some(oldest) = kept.by_turn.first_key_value().map(|(_, key)| *key) else { break };
            kept.remove(&oldest);
        }
    }

    /// A block is not as its footer says.
    pub(super) fn forget(&self, take: &Take) {
        self.lock().remove(&key(take));
    }
}

impl Kept {
    fn remove(&mut self, key: &Key) {
        if let Some((footer, turn)) = self.footers.remove(key) {
            self.by_turn.remove(&turn);
            self.bytes = self.bytes.saturating_sub(bytes_of(&footer));
        }
    }
}

impl Volume {
    /// The chunks and sync samples of a block for who tells of them: from its footer, else from its chunk headers, with what was met there.
    pub(super) fn contents(&self, block: BlockIndex, row: &Row) -> (Footer, Vec<Finding>) {
        let (footer, findings) = remembered_contents(&self.scanner(), block, row);
        if findings.is_empty() && kept_footer(row, || Some(footer.clone())).is_some() {
            self.shared.footers.keep(&Recovered::take(block, row), &footer);
        }
        self.given(row, footer, findings)
    }

    /// The same for who reads the chunks of which it tells.
    pub(super) fn places(&self, block: BlockIndex, row: &Row) -> (Footer, Vec<Finding>) {
        let take = Recovered::take(block, row);
        let kept = || self.shared.footers.get(&take).map(|footer| (*footer).clone());
        let (footer, findings) = match kept_footer(row, kept) {
            Some(footer) => (footer, Vec::new()),
            None => self.read_places(&take, row),
        };
        self.given(row, footer, findings)
    }

    fn read_places(&self, take: &Take, row: &Row) -> (Footer, Vec<Finding>) {
        let scanner = self.scanner();
        match kept_footer(row, || scanner.footer_at_once(take, row).map(|(_, footer)| footer)) {
            Some(footer) => {
                self.shared.footers.keep(take, &footer);
                (footer, Vec::new())
            }
            None => contents(&scanner, take.block, row),
        }
    }

    fn given(&self, row: &Row, mut footer: Footer, mut findings: Vec<Finding>) -> (Footer, Vec<Finding>) {
        self.hide(row, &mut footer);
        // What is torn of chunks that nobody is given is no loss.
        findings.iter_mut().for_each(|finding| finding.footage_lost &= row.withheld == 0);
        (footer, findings)
    }

    /// Marks what of a block is not given.
    pub(super) fn hide(&self, row: &Row, footer: &mut Footer) {
        withhold(row, footer);
        if let Some(past) = self.past(row.stream) {
            past.hide_in(row, footer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::StreamId;

    fn take(block: u32, sequence: u64) -> Take {
        Take { block: BlockIndex(block), sequence: Sequence(sequence), stream: StreamId::default() }
    }

    fn footer(chunks: usize) -> Footer {
        Footer { chunks: vec![ChunkPlace::default(); chunks], syncs: Vec::new() }
    }

    #[test]
    fn what_is_kept_of_one_take_is_not_said_of_another() {
        let footers = Footers::default();
        footers.keep(&take(7, 1), &footer(3));
        assert!(footers.get(&take(7, 2)).is_none() && footers.get(&take(8, 1)).is_none());
        assert_eq!(footers.get(&take(7, 1)).map(|footer| footer.chunks.len()), Some(3));
        footers.forget(&take(7, 1));
        assert!(footers.get(&take(7, 1)).is_none());
        assert_eq!(footers.lock().bytes, 0);
    }

    #[test]
    fn memory_is_bounded_and_what_is_not_asked_for_goes_first() {
        let footers = Footers::default();
        for block in 0..500 {
            footers.keep(&take(block, 1), &footer(1000));
            assert!(footers.get(&take(0, 1)).is_some(), "{block}");
        }
        let kept = footers.lock();
        assert!(kept.bytes <= BYTES_MAX && kept.footers.len() == kept.by_turn.len());
        assert!(kept.footers.len() > 100 && !kept.footers.contains_key(&key(&take(1, 1))));
        drop(kept);
        footers.keep(&take(1, 1), &footer(BYTES_MAX / 64));
        assert!(footers.get(&take(1, 1)).is_none(), "one block does not take all of it");
    }
}
