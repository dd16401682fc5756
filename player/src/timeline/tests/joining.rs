//! What joining ranges promises, for any ranges.

use crate::timeline::{Recorded, coalesce};
use keha_fs::WallTime;
use proptest::prelude::*;

fn ranges() -> impl Strategy<Value = Vec<Recorded>> {
    let range = (0i64..1000, 0i64..60);
    let range =
        range.prop_map(|(from, length)| Recorded { from: WallTime(from), to: WallTime(from + length) });
    prop::collection::vec(range, 0..40)
}

fn covers(ranges: &[Recorded], moment: i64) -> bool {
    ranges.iter().any(|range| range.from.0 <= moment && moment <= range.to.0)
}

proptest! {
    #[test]
    fn joining_twice_changes_nothing(ranges in ranges(), resolution in 0i64..100) {
        let once = coalesce(ranges, resolution);
        prop_assert_eq!(coalesce(once.clone(), resolution), once);
    }

    #[test]
    fn the_order_of_ranges_does_not_matter(ranges in ranges(), resolution in 0i64..100, seed in 0usize..40) {
        let mut other = ranges.clone();
        other.reverse();
        let turn = seed % other.len().max(1);
        other.rotate_left(turn);
        prop_assert_eq!(coalesce(other, resolution), coalesce(ranges, resolution));
    }

    #[test]
    fn a_coarser_resolution_covers_more_with_fewer_ranges(ranges in ranges(), fine in 0i64..50, more in 0i64..50) {
        let (few, many) = (coalesce(ranges.clone(), fine + more), coalesce(ranges, fine));
        prop_assert!(few.len() <= many.len());
        for range in &many {
            prop_assert!(few.iter().any(|wide| wide.from <= range.from && range.to <= wide.to));
        }
        prop_assert_eq!(coalesce(many, fine + more), few, "in one step or in two");
    }

    #[test]
    fn what_is_joined_covers_the_ranges_and_no_hole_wider_than_the_resolution(
        ranges in ranges(), resolution in 0i64..100,
    ) {
        let joined = coalesce(ranges.clone(), resolution);
        for pair in joined.windows(2) {
            prop_assert!(pair[1].from.0 - pair[0].to.0 > resolution);
        }
        let mut hole = 0;
        for moment in 0..1100 {
            let (given, answered) = (covers(&ranges, moment), covers(&joined, moment));
            prop_assert!(answered || !given);
            hole = if answered && !given { hole + 1 } else { 0 };
            prop_assert!(hole < resolution.max(1), "{moment}");
        }
    }
}
