//! Power cuts: what may stand on the medium when the simulated disk loses its power at this instant.
//!
//! Every sector of every write that is not certain is kept or lost by itself; a [`CrashPlan`] chooses which.
//! Sectors are counted from 0 in the order their writes were submitted. Where two of them are for the same place
//! and both are kept, the later one stands.

use super::image::SimImage;
use super::pending::Pending;
use super::rng::SimRng;

/// Which pending sectors reach the medium at a power cut.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug)]
pub enum CrashPlan {
    /// None of them.
    None,
    /// All of them.
    All,
    /// Each by the toss of a coin with this seed.
    Subset(u64),
    /// The first so many.
    Prefix(usize),
    /// The last so many.
    Suffix(usize),
    /// Only this one.
    Single(usize),
    /// All but this one.
    AllBut(usize),
    /// Only these two.
    Pair(usize, usize),
    /// Each write as a whole by the toss of a coin with this seed.
    Writes(u64),
    /// All but those of one write: the so-manieth, counted round and round.
    AllButWrite(usize),
    /// Those whose bit is set; for at most 64 sectors, so that all subsets can be counted through.
    Mask(u64),
}

impl CrashPlan {
    /// Plans worth trying for so many pending sectors, at most about `plans_max`, always the same for a seed.
    ///
    /// Every subset where they are few enough; otherwise none, all, then evenly prefixes, suffixes, singles, all
    /// but one, pairs and random subsets, of sectors and of whole writes.
    pub fn enumerate(pending_sectors: usize, plans_max: usize, seed: u64) -> Vec<CrashPlan> {
        let subsets = u32::try_from(pending_sectors).ok().and_then(|count| 1_usize.checked_shl(count));
        if let Some(subsets) = subsets.filter(|&subsets| subsets <= plans_max) {
            return (0..subsets as u64).map(CrashPlan::Mask).collect();
        }
        let mut rng = SimRng::new(seed);
        let mut plans = vec![CrashPlan::None, CrashPlan::All];
        let share = plans_max.saturating_sub(plans.len()).div_ceil(8).min(pending_sectors);
        for turn in 0..share {
            // Evenly over all places, but not always the same ones.
            let stretch = turn * pending_sectors / share..(turn + 1) * pending_sectors / share;
            let at = stretch.start + rng.below(stretch.len());
            plans.extend([
                CrashPlan::Prefix(at + 1),
                CrashPlan::Suffix(at + 1),
                CrashPlan::Single(at),
                CrashPlan::AllBut(at),
                CrashPlan::Pair(at, rng.below(pending_sectors)),
                CrashPlan::Subset(rng.next_u64()),
                CrashPlan::Writes(rng.next_u64()),
                CrashPlan::AllButWrite(turn),
            ]);
        }
        plans
    }

    /// Tells for sector after sector whether it is kept.
    fn chooser(self, count: usize) -> impl FnMut(usize) -> bool {
        let mut rng = match self {
            CrashPlan::Subset(seed) => SimRng::new(seed),
            _ => SimRng::new(0),
        };
        move |sector| match self {
            CrashPlan::None => false,
            CrashPlan::All => true,
            CrashPlan::Subset(_) => rng.coin(),
            CrashPlan::Prefix(kept) => sector < kept,
            CrashPlan::Suffix(kept) => sector >= count.saturating_sub(kept),
            CrashPlan::Single(only) => sector == only,
            CrashPlan::AllBut(lost) => sector != lost,
            CrashPlan::Pair(one, two) => sector == one || sector == two,
            CrashPlan::Mask(bits) => sector < 64 && bits >> sector & 1 == 1,
            CrashPlan::Writes(_) | CrashPlan::AllButWrite(_) => false,
        }
    }

    /// Whether the `place`-th of `count` writes is kept whole, where the plan decides by writes.
    fn keeps_write(self, place: usize, count: usize) -> Option<bool> {
        match self {
            CrashPlan::Writes(seed) => Some(SimRng::new(seed ^ place as u64).coin()),
            CrashPlan::AllButWrite(lost) => Some(lost % count != place),
            _ => None,
        }
    }
}

/// The disk at one instant, detached from it: every image that a power cut could leave there.
#[derive(Clone, Debug)]
pub struct CrashPoint {
    pub(super) event: u64,
    pub(super) durable: SimImage,
    pub(super) pending: Pending,
}

impl CrashPoint {
    /// I/O events up to this instant.
    pub fn event(&self) -> u64 {
        self.event
    }

    /// Sectors that may or may not be on the medium.
    pub fn pending_sectors(&self) -> usize {
        self.pending.sector_count()
    }

    /// What the medium holds after the cut.
    pub fn image(&self, plan: CrashPlan) -> SimImage {
        let mut image = self.durable.clone();
        let mut keeps = plan.chooser(self.pending_sectors());
        let writes = &self.pending.0;
        let mut index = 0;
        for (place, write) in writes.iter().enumerate() {
            let whole = plan.keeps_write(place, writes.len());
            for (offset, bytes) in write.sectors() {
                if whole.unwrap_or_else(|| keeps(index)) {
                    image.write(offset, bytes);
                }
                index += 1;
            }
        }
        image
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(plan: CrashPlan, count: usize) -> Vec<usize> {
        let mut keeps = plan.chooser(count);
        (0..count).filter(|&sector| keeps(sector)).collect()
    }

    #[test]
    fn each_plan_keeps_the_sectors_it_names() {
        assert_eq!(kept(CrashPlan::None, 4), []);
        assert_eq!(kept(CrashPlan::All, 4), [0, 1, 2, 3]);
        assert_eq!(kept(CrashPlan::Prefix(2), 4), [0, 1]);
        assert_eq!(kept(CrashPlan::Suffix(3), 4), [1, 2, 3]);
        assert_eq!(kept(CrashPlan::Single(2), 4), [2]);
        assert_eq!(kept(CrashPlan::AllBut(2), 4), [0, 1, 3]);
        assert_eq!(kept(CrashPlan::Pair(3, 1), 4), [1, 3]);
        assert_eq!(kept(CrashPlan::Mask(0b1010), 4), [1, 3]);
        assert_eq!(kept(CrashPlan::Subset(5), 64), kept(CrashPlan::Subset(5), 64));
        assert_ne!(kept(CrashPlan::Subset(5), 64), kept(CrashPlan::Subset(6), 64));
    }

    #[test]
    fn few_sectors_are_tried_in_every_subset_and_many_within_the_bound() {
        let all = CrashPlan::enumerate(5, 32, 1);
        assert_eq!(all.len(), 32);
        assert_eq!(CrashPlan::enumerate(0, 10, 1), [CrashPlan::Mask(0)]);
        for (sectors, plans_max) in [(6, 32), (1000, 200), (100_000, 60), (64, 500), (3, 0)] {
            let plans = CrashPlan::enumerate(sectors, plans_max, 1);
            assert!(plans.contains(&CrashPlan::None) && plans.contains(&CrashPlan::All));
            assert!(plans.len() <= plans_max + 8, "{} plans of {plans_max}", plans.len());
            assert_eq!(plans, CrashPlan::enumerate(sectors, plans_max, 1));
        }
    }
}
