//! Why there is no footage, and who says so: claims. Pure.

use keha_fs::{Gap, WallTime};
use std::sync::Arc;

/// Why there is no footage at some time.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// It stands in a volume that does not answer.
    Away,
    /// The stream has a record of it.
    Recorded(Arc<Gap>),
    /// It was erased on request.
    Erased,
    /// It was past its stream's maximum age.
    Expired,
    /// The ring went over it.
    Overwritten,
    /// Damage hides what stood there.
    Damaged,
    /// Nothing tells.
    Unknown,
}

impl Reason {
    /// The reason as people read it, in lower case.
    pub fn as_str(&self) -> &'static str {
        match self {
            Reason::Away => "volume not there",
            Reason::Recorded(gap) => gap.reason.as_str(),
            Reason::Erased => "erased",
            Reason::Expired => "expired",
            Reason::Overwritten => "overwritten",
            Reason::Damaged => "damaged",
            Reason::Unknown => "unknown",
        }
    }

    /// The lower is believed first; of gap records the one that begins latest, which is about the least.
    pub(crate) fn rank(&self) -> (u8, i64) {
        match self {
            Reason::Away => (0, i64::MIN),
            Reason::Recorded(gap) => (0, gap.from.0.saturating_neg()),
            Reason::Erased => (1, 0),
            Reason::Expired => (2, 0),
            Reason::Overwritten => (3, 0),
            Reason::Damaged => (4, 0),
            Reason::Unknown => (5, 0),
        }
    }
}

/// Someone says why there is nothing from `from` to `to`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) from: WallTime,
    pub(super) to: WallTime,
    pub(super) reason: Reason,
}

/// Claims to be looked up by moment.
pub(super) struct Claims {
    sorted: Vec<Claim>,
    /// The latest end of the claims up to each.
    reach: Vec<WallTime>,
}

impl Claims {
    /// The claims of each volume's records, in the order in which they were made.
    pub(super) fn new(of_each: impl IntoIterator<Item = Vec<Claim>>) -> Claims {
        let mut sorted: Vec<Claim> = of_each.into_iter().flat_map(only_latest_records).collect();
        sorted.sort_by_key(|claim| (claim.from, claim.to));
        let mut reached = WallTime::MIN;
        let reach = sorted.iter().map(|claim| {
            reached = reached.max(claim.to);
            reached
        });
        let reach = reach.collect();
        Claims { sorted, reach }
    }

    /// A gap cut into pieces, each with its reason. What nothing tells of and is shorter than `sliver_ns` goes to its neighbour:
    /// records begin a little behind the last sample.
    pub(super) fn explain(&self, from: WallTime, to: WallTime, sliver_ns: i64) -> Vec<Claim> {
        let first = self.reach.partition_point(|reach| *reach <= from);
        let end = self.sorted.partition_point(|claim| claim.from < to);
        let mine: Vec<&Claim> =
            self.sorted.get(first..end).unwrap_or_default().iter().filter(|claim| claim.to > from).collect();
        let mut cuts: Vec<WallTime> = mine.iter().flat_map(|claim| [claim.from, claim.to]).collect();
        cuts.retain(|cut| *cut > from && *cut < to);
        cuts.extend([from, to]);
        cuts.sort_unstable();
        cuts.dedup();
        let mut pieces: Vec<Claim> = Vec::new();
        for pair in cuts.windows(2) {
            let [from, to] = *pair else { continue };
            let covering = mine.iter().filter(|claim| claim.from <= from && claim.to >= to);
            let best = covering.map(|claim| &claim.reason).min_by_key(|reason| reason.rank());
            push(&mut pieces, Claim { from, to, reason: best.cloned().unwrap_or(Reason::Unknown) });
        }
        without_slivers(pieces, sliver_ns)
    }
}

/// A stream's later gap record with the same beginning replaces the earlier one.
fn only_latest_records(claims: Vec<Claim>) -> Vec<Claim> {
    let mut records = std::collections::BTreeMap::new();
    let mut others = Vec::with_capacity(claims.len());
    for claim in claims {
        match &claim.reason {
            Reason::Recorded(gap) => drop(records.insert(gap.from, claim)),
            _ => others.push(claim),
        }
    }
    others.extend(records.into_values());
    others
}

fn push(pieces: &mut Vec<Claim>, piece: Claim) {
    match pieces.last_mut().filter(|last| last.reason == piece.reason) {
        Some(last) => last.to = piece.to,
        None => pieces.push(piece),
    }
}

fn without_slivers(mut pieces: Vec<Claim>, sliver_ns: i64) -> Vec<Claim> {
    for index in 0..pieces.len() {
        let is_sliver =
            |piece: &Claim| piece.reason == Reason::Unknown && piece.to.since_ns(piece.from) <= sliver_ns;
        if !pieces.get(index).is_some_and(is_sliver) {
            continue;
        }
        let before = index.checked_sub(1).and_then(|before| pieces.get(before));
        let neighbour = before.or_else(|| pieces.get(index + 1)).map(|piece| piece.reason.clone());
        if let (Some(reason), Some(piece)) = (neighbour, pieces.get_mut(index)) {
            piece.reason = reason;
        }
    }
    pieces.into_iter().fold(Vec::new(), |mut merged, piece| {
        push(&mut merged, piece);
        merged
    })
}
