//! Which stream gives the next block to the ring. Each stream stands here with its lowest block; which one of a stream it is, is
//! never in question.
//!
//! | what there is | taken is |
//! |---|---|
//! | a stream over its quota | its lowest; of several such streams the lowest of all |
//! | else blocks without footage | the first of them |
//! | else blocks of which nothing is left, erased or expired | the lowest |
//! | else blocks that are old enough | the lowest |
//! | else blocks younger than their stream's minimum age | the lowest, with an alarm |
//! | else blocks that a lost hold may have kept | the lowest, with an alarm |

use crate::types::{BlockIndex, Sequence};

/// The lowest block of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// The block.
    pub(crate) block: BlockIndex,
    /// When it was last written, and its take: the order of overwriting.
    pub(crate) rank: (Sequence, Sequence),
    /// Whether a lost hold may have kept it.
    pub(crate) doubtful: bool,
    /// Whether nothing is left of what stood in it.
    pub(crate) void: bool,
    /// Whether it is younger than its stream's minimum age.
    pub(crate) young: bool,
    /// Whether its stream has more than its quota.
    pub(crate) over_quota: bool,
}

/// The block to take. `empty` is one without footage.
pub(crate) fn choose(
    empty: Option<BlockIndex>,
    candidates: impl Iterator<Item = Candidate>,
) -> Option<Candidate> {
    let empty = empty.map(|block| Candidate {
        block,
        rank: Default::default(),
        doubtful: false,
        void: true,
        young: false,
        over_quota: false,
    });
    let order = |one: &Candidate| {
        let over_quota = one.over_quota && !one.doubtful;
        let passed_over = (one.young && !one.void) && !over_quota;
        (one.doubtful, !over_quota, passed_over, !one.void && !over_quota, one.rank, one.block)
    };
    empty.into_iter().chain(candidates).min_by_key(order)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of streams written in this order, with marks: `q` over its quota, `y` young, `d` doubtful, `v` void.
    fn taken(empty: bool, streams: &[&str]) -> Option<u32> {
        let candidates = (0..).zip(streams).map(|(index, marks)| Candidate {
            block: BlockIndex(index),
            rank: (Sequence(u64::from(index) + 1), Sequence(1)),
            doubtful: marks.contains('d'),
            void: marks.contains('v'),
            young: marks.contains('y'),
            over_quota: marks.contains('q'),
        });
        choose(empty.then_some(BlockIndex(99)), candidates).map(|chosen| chosen.block.0)
    }

    #[test]
    fn the_choice_is_as_the_table_says() {
        for (empty, streams, block) in [
            (false, &[][..], None),
            (true, &[], Some(99)),
            (false, &["", ""], Some(0)),
            (true, &["", ""], Some(99)),
            (true, &["v", ""], Some(99)),
            (false, &["", "v", "v"], Some(1)),
            (false, &["", "vy"], Some(1)),
            (false, &["v", "q", "qv"], Some(1)),
            (false, &["", "q", "q"], Some(1)),
            (true, &["", "q"], Some(1)),
            (false, &["y", ""], Some(1)),
            (false, &["y", "y"], Some(0)),
            (true, &["y"], Some(99)),
            // A quota is a limit, a minimum age a wish.
            (false, &["", "qy"], Some(1)),
            (false, &["qy", "q"], Some(0)),
            (false, &["d", "y"], Some(1)),
            (false, &["dq", "y"], Some(1)),
            (true, &["dq"], Some(99)),
            (false, &["d", "d"], Some(0)),
            (false, &["dy", "d"], Some(1)),
        ] {
            assert_eq!(taken(empty, streams), block, "{empty} {streams:?}");
        }
    }
}
