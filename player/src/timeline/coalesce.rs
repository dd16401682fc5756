//! Ranges joined and cut. Pure: the same ranges in any order give the same answer, doing it twice changes nothing, and a coarser
//! resolution covers all that a finer one does, with no more ranges.

use keha_fs::{TimeRange, WallTime};

/// A time that is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Recorded {
    /// Its first sample, or the beginning of the range asked for.
    pub from: WallTime,
    /// Its last sample, or the end of the range asked for.
    pub to: WallTime,
}

/// Joins what overlaps or is no further apart than `resolution_ns`; returns it in the order of time. Ranges that end before they
/// begin are left out.
pub fn coalesce(mut ranges: Vec<Recorded>, resolution_ns: i64) -> Vec<Recorded> {
    ranges.retain(|range| range.from <= range.to);
    ranges.sort_unstable();
    let mut joined: Vec<Recorded> = Vec::new();
    for range in ranges {
        match joined.last_mut().filter(|last| range.from.since_ns(last.to) <= resolution_ns.max(0)) {
            Some(last) => last.to = last.to.max(range.to),
            None => joined.push(range),
        }
    }
    joined
}

/// What of some ranges lies in the range asked for.
pub(super) fn clip(ranges: &mut Vec<Recorded>, range: TimeRange) {
    let to = range.to.unwrap_or(WallTime::MAX);
    let from = range.from.unwrap_or(WallTime::MIN);
    ranges.retain(|recorded| recorded.to >= from && (recorded.from < to || range.to.is_none()));
    for recorded in ranges {
        recorded.from = recorded.from.max(from);
        recorded.to = recorded.to.min(to);
    }
}

/// The times that more than one of some ranges covers.
pub(super) fn overlaps(mut ranges: Vec<Recorded>) -> Vec<Recorded> {
    ranges.sort_unstable();
    let mut reached: Option<WallTime> = None;
    let mut twice = Vec::new();
    for range in ranges {
        if let Some(reached) = reached.filter(|reached| range.from < *reached) {
            twice.push(Recorded { from: range.from, to: range.to.min(reached) });
        }
        reached = reached.max(Some(range.to));
    }
    coalesce(twice, 0)
}
