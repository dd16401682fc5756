//! Where in the tail a mux begins, or goes on.

use super::join::place;
use super::tracks::Entry;
use keha_fs::{SamplePlace, StoredSample, TailItem};

/// Where to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// At this item; whether it follows what was given last.
    At {
        /// Its place among the items.
        index: usize,
        /// Nothing is missing before it.
        goes_on: bool,
    },
    /// At something that is on the disk, before these items.
    Before,
    /// Nothing here tells yet.
    Nowhere,
}

/// Where to begin in what the tail has. `last` is what was given last, if anything.
pub(super) fn start(
    last: Option<SamplePlace>,
    items: &[TailItem],
    mut entry: impl FnMut(&StoredSample) -> Option<Entry>,
) -> Start {
    let is_last = |item: &TailItem| matches!(item, TailItem::Sample(sample) if Some(place(sample)) == last);
    if let Some(index) = items.iter().rposition(is_last) {
        return Start::At { index: index + 1, goes_on: true };
    }
    let kinds = items.iter().map(|item| match item {
        TailItem::Sample(sample) => entry(sample),
        _ => None,
    });
    let kinds: Vec<Option<Entry>> = kinds.collect();
    match kinds.iter().rposition(|kind| *kind == Some(Entry::Begins)) {
        // What was given before is gone on with, from the disk, so that nothing is missing.
        Some(_) if last.is_some() => Start::Before,
        Some(index) => Start::At { index, goes_on: false },
        None if kinds.contains(&Some(Entry::Needs)) => Start::Before,
        None => Start::Nowhere,
    }
}

/// Where to begin in what the tail has, if what came before cannot be had: at the newest keyframe, or not before the next one.
pub(super) fn in_tail(items: &[TailItem], mut entry: impl FnMut(&StoredSample) -> Option<Entry>) -> Start {
    let begins =
        |item: &TailItem| matches!(item, TailItem::Sample(sample) if entry(sample) == Some(Entry::Begins));
    match items.iter().rposition(begins) {
        Some(index) => Start::At { index, goes_on: false },
        None => Start::Nowhere,
    }
}
