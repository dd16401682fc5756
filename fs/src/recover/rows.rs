//! The rows of all blocks, in pages that many looks at a volume share: a copy costs a count for each page, a change copies the page
//! it falls into, and what is asked of all rows is added up page by page, once for each.
//!
//! What must not live here: streams and their order ([`super::Chains`]).

use super::totals::Totals;
use crate::forecast::Turns;
use crate::format::table::Row;
use crate::types::{BlockIndex, Epoch, Sequence};
use std::ops::Index;
use std::sync::{Arc, OnceLock};

/// How many rows a page has.
const PAGE_ROWS: usize = 256;

/// All rows, in the order of blocks.
#[derive(Clone, Default)]
pub(crate) struct Rows {
    pages: Vec<Arc<Page>>,
}

/// Some of them, side by side.
#[derive(Clone, Debug, Default)]
pub(crate) struct Page {
    rows: Vec<Row>,
    most: OnceLock<Most>,
    totals: OnceLock<Totals>,
    turns: OnceLock<Turns>,
}

/// The highest of what rows say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Most {
    /// Of sequences and ranks.
    pub(crate) sequence: Sequence,
    /// Of epochs.
    pub(crate) epoch: Epoch,
    /// Of running times, in seconds, but for those that no volume ever reaches.
    pub(crate) running_s: u64,
}

impl Most {
    fn with(self, other: Most) -> Most {
        Most {
            sequence: self.sequence.max(other.sequence),
            epoch: self.epoch.max(other.epoch),
            running_s: self.running_s.max(other.running_s),
        }
    }

    fn of(row: &Row) -> Most {
        let running_s = if row.running_s <= u64::MAX / 2 { row.running_s } else { 0 };
        Most { sequence: row.sequence.max(row.rank), epoch: row.epoch, running_s }
    }
}

impl Page {
    /// Its rows.
    pub(crate) fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// What each stream has in them.
    pub(crate) fn totals(&self) -> &Totals {
        self.totals.get_or_init(|| Totals::of(&self.rows))
    }

    /// In which order they are overwritten if none of them is held.
    pub(crate) fn turns(&self) -> &Turns {
        self.turns.get_or_init(|| Turns::of(&self.rows, |_| false))
    }
}

impl Rows {
    /// The row of a block, by its number.
    pub(crate) fn get(&self, block: usize) -> Option<&Row> {
        self.pages.get(block / PAGE_ROWS)?.rows.get(block % PAGE_ROWS)
    }

    /// All rows.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &Row> {
        self.pages.iter().flat_map(|page| page.rows.iter())
    }

    /// Another row for a block, if there is such a block.
    pub(crate) fn set(&mut self, block: usize, row: Row) {
        let page = self.pages.get_mut(block / PAGE_ROWS).map(Arc::make_mut);
        if let Some(page) = page
            && let Some(place) = page.rows.get_mut(block % PAGE_ROWS)
        {
            *place = row;
            (page.most, page.totals, page.turns) = Default::default();
        }
    }

    /// The highest of what they say.
    pub(crate) fn most(&self) -> Most {
        let of = |page: &Arc<Page>| {
            let all = || page.rows.iter().map(Most::of).fold(Most::default(), Most::with);
            *page.most.get_or_init(all)
        };
        self.pages.iter().map(of).fold(Most::default(), Most::with)
    }

    /// The pages, each with its first block.
    pub(crate) fn pages(&self) -> impl Iterator<Item = (BlockIndex, &Arc<Page>)> {
        let first = (0_u32..).step_by(PAGE_ROWS).map(BlockIndex);
        first.zip(&self.pages)
    }
}

impl From<Vec<Row>> for Rows {
    fn from(rows: Vec<Row>) -> Rows {
        rows.into_iter().collect()
    }
}

impl FromIterator<Row> for Rows {
    fn from_iter<I: IntoIterator<Item = Row>>(rows: I) -> Rows {
        let mut rows = rows.into_iter();
        let page = || {
            let rows: Vec<Row> = rows.by_ref().take(PAGE_ROWS).collect();
            (!rows.is_empty()).then(|| Arc::new(Page { rows, ..Page::default() }))
        };
        Rows { pages: std::iter::from_fn(page).collect() }
    }
}

impl<'a> IntoIterator for &'a Rows {
    type Item = &'a Row;
    type IntoIter = Box<dyn Iterator<Item = &'a Row> + 'a>;

    fn into_iter(self) -> Self::IntoIter {
        Box::new(self.iter())
    }
}

/// For blocks that are known to be there.
impl Index<usize> for Rows {
    type Output = Row;

    fn index(&self, block: usize) -> &Row {
        &self.pages[block / PAGE_ROWS].rows[block % PAGE_ROWS]
    }
}

impl PartialEq for Rows {
    fn eq(&self, other: &Rows) -> bool {
        let same = |(one, other): (&Arc<Page>, &Arc<Page>)| Arc::ptr_eq(one, other) || one.rows == other.rows;
        self.pages.len() == other.pages.len() && self.pages.iter().zip(&other.pages).all(same)
    }
}

impl Eq for Rows {}

impl std::fmt::Debug for Rows {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(sequence: u64) -> Row {
        Row { sequence: Sequence(sequence), running_s: sequence, ..Row::default() }
    }

    #[test]
    fn a_change_is_seen_by_nobody_who_has_the_rows_as_they_were() {
        let before: Rows = (0..1000).map(row).collect();
        let mut after = before.clone();
        assert_eq!(after.most().sequence, Sequence(999));
        after.set(999, row(5));
        after.set(300, row(u64::MAX));
        after.set(1000, row(1));
        assert_eq!((before[999].sequence, before.most().sequence), (Sequence(999), Sequence(999)));
        assert_eq!(after.most(), Most { sequence: Sequence(u64::MAX), epoch: Epoch(0), running_s: 998 });
        let differing = after.iter().zip(&before).filter(|(one, other)| one != other);
        assert_eq!((differing.count(), after.iter().count()), (2, 1000));
        assert!(after != before && after.get(1000).is_none());
        after.set(300, row(300));
        after.set(999, row(999));
        assert_eq!(after, before);
    }
}
