//! One stream in several volumes: what each says of a range, put together. Pure.
//!
//! What is recorded is what any of them has. What none of them has is a gap, for the best of the reasons that they give ([`super::Reason`]).
//!
//! - A gap record without an end says that nothing came for its volume. Where footage stands in another volume, from there on the record
//!   tells nothing: the camera was recorded there.
//! - What two volumes have of one time is an overlap, as where a clock was set back. At a resolution it is told where it is longer than
//!   that: what is joined, or stands for a block, covers moments that it does not have.
//! - What stands in a volume that does not answer is known by its table as it was when it answered last. It is a gap of its own reason, but
//!   where another volume has the same.

use super::coalesce::{Recorded, coalesce, overlaps};
use super::index::Stream;
use super::reason::Claim;
use super::window::samples_of;
use keha_fs::WallTime;

/// What one volume says.
pub(super) struct Look<'a> {
    pub(super) stream: &'a Stream,
    /// What is recorded, as far as was looked.
    pub(super) reached: Vec<Recorded>,
    /// What of it lies in the range.
    pub(super) covered: Vec<Recorded>,
    pub(super) claims: Vec<Claim>,
    /// Those of records without an end behind which the volume has nothing, by their places in the claims.
    pub(super) open: Vec<usize>,
    pub(super) live: bool,
    pub(super) read: usize,
}

impl Look<'_> {
    /// The first moment from one on of which there is footage: by the table alone where it was not looked closer.
    fn goes_on(&self, from: WallTime) -> Option<WallTime> {
        let near = self.reached.iter().filter(|recorded| recorded.to > from);
        let near = near.map(|recorded| recorded.from.max(from)).min();
        let rows = self.stream.rows.iter().filter_map(samples_of);
        // Of a block that reaches over the moment it is not known how much stands behind it.
        let far = rows.filter(|(_, max)| *max > from);
        let far = far.map(|(min, max)| if min > from { min } else { max }).min();
        near.into_iter().chain(far).min()
    }
}

/// Ends the records that are open where another volume has what follows.
pub(super) fn end_open(looks: &mut [Look<'_>]) {
    for index in 0..looks.len() {
        let Some(look) = looks.get(index) else { continue };
        let ends = |open: &usize| {
            let from = look.claims.get(*open)?.from;
            let others = looks.iter().enumerate().filter(|(other, _)| *other != index);
            others.filter_map(|(_, other)| other.goes_on(from)).min()
        };
        let ends: Vec<Option<WallTime>> = look.open.iter().map(ends).collect();
        let Some(look) = looks.get_mut(index) else { continue };
        let open = std::mem::take(&mut look.open);
        for (open, end) in open.into_iter().zip(ends) {
            match (look.claims.get_mut(open), end) {
                (Some(claim), Some(end)) => claim.to = end,
                _ => look.open.push(open),
            }
        }
    }
}

/// What is recorded more than once.
pub(super) fn overlaps_of(looks: &[Look<'_>], resolution_ns: i64) -> Vec<Recorded> {
    if let [look] = looks {
        return overlaps(look.covered.clone());
    }
    let own = looks.iter().flat_map(|look| overlaps(look.covered.clone()));
    let each: Vec<Recorded> = looks.iter().flat_map(|look| coalesce(look.covered.clone(), 0)).collect();
    let longer = |twice: &Recorded| twice.to.since_ns(twice.from) > resolution_ns;
    let between = overlaps(each).into_iter().filter(longer);
    coalesce(own.chain(between).collect(), 0)
}
