//! From the disk into the tail, without a seam and without a double.
//!
//! The tail keeps every sample at least until it is durable, so what the tail no longer has is on the disk. The disk is read
//! from where something is needed up to the first sample that the tail has: the same place, and the same bytes, for a camera may give
//! two pictures one time. Pure logic: the disk is a closure here.

use super::tracks::Entry;
use keha_fs::{Item, SamplePlace, StoredSample, TailItem};
use std::collections::HashMap;

/// What was found on the disk.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Joined {
    /// What comes before the first sample of the tail: from behind the last sample that was given, or else from the last place where
    /// decoding can begin.
    pub(super) items: Vec<TailItem>,
    /// Nothing is missing between the last sample that was given and the first of the tail.
    pub(super) goes_on: bool,
}

/// A sample's place in its stream.
pub(super) fn place(sample: &StoredSample) -> SamplePlace {
    (sample.run, sample.track, sample.ticks)
}

/// Reads `disk` up to the first of the samples in `tail`. `last` is what was given last, if anything; `learn` is told of
/// configurations, `entry` says what a sample is. More than `bytes_max` are not held: then nothing is had of the disk, and what
/// follows begins with the next keyframe.
pub(super) fn join<E>(
    last: Option<SamplePlace>,
    mut disk: impl FnMut() -> Result<Option<Item>, E>,
    tail: &[TailItem],
    mut entry: impl FnMut(&StoredSample) -> Option<Entry>,
    mut learn: impl FnMut(&Item),
    bytes_max: usize,
) -> Result<Joined, E> {
    let mut ahead: HashMap<SamplePlace, Vec<&StoredSample>> = HashMap::new();
    for item in tail {
        if let TailItem::Sample(sample) = item {
            ahead.entry(place(sample)).or_default().push(sample);
        }
    }
    let is_ahead = |sample: &StoredSample| {
        ahead.get(&place(sample)).is_some_and(|same| same.iter().any(|other| other.data == sample.data))
    };
    let (mut joined, mut bytes, mut begun) = (Joined::default(), 0_usize, false);
    while let Some(item) = disk()? {
        learn(&item);
        let sample = match item {
            Item::Gap(gap) if begun => {
                joined.items.push(TailItem::Gap(gap));
                continue;
            }
            Item::Sample(sample) => sample,
            _ => continue,
        };
        if is_ahead(&sample) {
            break;
        }
        if last == Some(place(&sample)) {
            (joined.goes_on, begun, bytes) = (true, true, 0);
            joined.items.clear();
            continue;
        }
        if !joined.goes_on && entry(&sample) == Some(Entry::Begins) {
            (begun, bytes) = (true, 0);
            joined.items.clear();
        }
        bytes = bytes.saturating_add(sample.data.len());
        if bytes > bytes_max {
            (joined.goes_on, begun) = (false, false);
            joined.items.clear();
        }
        if begun {
            joined.items.push(TailItem::Sample(sample));
        }
    }
    Ok(joined)
}

#[cfg(test)]
#[path = "join_tests.rs"]
mod tests;
