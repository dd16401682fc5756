//! What streams have, added up row by row and page by page.

use crate::format::table::Row;
use crate::types::{StreamId, WallTime};
use std::collections::BTreeMap;

/// What each stream has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals(pub(crate) BTreeMap<StreamId, Total>);

/// What a stream has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Total {
    /// Its blocks with footage.
    pub(crate) blocks: u32,
    /// Its samples, their bytes, and how much of its blocks is written, in bytes.
    pub(crate) samples: u64,
    pub(crate) payload_bytes: u64,
    pub(crate) used_bytes: u64,
    /// Its earliest and its latest moment.
    pub(crate) wall: Option<(WallTime, WallTime)>,
    /// When a block with samples was last written, in seconds of running time.
    pub(crate) running_s: u64,
}

impl Totals {
    /// Those of some rows.
    pub(crate) fn of<'a>(rows: impl IntoIterator<Item = &'a Row>) -> Totals {
        let mut totals = Totals::default();
        rows.into_iter().for_each(|row| totals.add(row));
        totals
    }

    /// One more row.
    pub(crate) fn add(&mut self, row: &Row) {
        if !row.is_live() {
            return;
        }
        let samples = row.has_samples();
        self.0.entry(row.stream).or_default().join(&Total {
            blocks: 1,
            samples: u64::from(row.samples),
            payload_bytes: u64::from(row.payload_bytes),
            used_bytes: u64::from(row.used_bytes),
            wall: samples.then_some((row.wall_min, row.wall_max)),
            running_s: if samples { row.running_s } else { 0 },
        });
    }

    /// Those of more rows.
    pub(crate) fn join(&mut self, other: &Totals) {
        for (stream, total) in &other.0 {
            self.0.entry(*stream).or_default().join(total);
        }
    }
}

impl Total {
    fn join(&mut self, other: &Total) {
        self.blocks = self.blocks.saturating_add(other.blocks);
        self.samples = self.samples.saturating_add(other.samples);
        self.payload_bytes = self.payload_bytes.saturating_add(other.payload_bytes);
        self.used_bytes = self.used_bytes.saturating_add(other.used_bytes);
        self.wall = match (self.wall, other.wall) {
            (Some((min, max)), Some((first, last))) => Some((min.min(first), max.max(last))),
            (mine, theirs) => mine.or(theirs),
        };
        self.running_s = self.running_s.max(other.running_s);
    }
}
