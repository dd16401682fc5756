//! The clock that all tracks of a file share: ticks since a moment on the wall clock.

use keha_fs::WallTime;

/// An axis of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Axis {
    /// Where it is zero.
    pub zero: WallTime,
}

impl Axis {
    /// A moment in ticks of a timescale, rounded.
    pub(super) fn ticks(self, wall: WallTime, timescale: u32) -> i64 {
        let nanoseconds = i128::from(wall.0) - i128::from(self.zero.0);
        let ticks = nanoseconds * i128::from(timescale) + 500_000_000;
        i64::try_from(ticks.div_euclid(1_000_000_000)).unwrap_or(i64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_that_became_nanoseconds_become_the_same_ticks() {
        let axis = Axis { zero: WallTime(1_772_366_400_123_456_789) };
        for ticks in [0i64, 1, 3600, 3003, 90_000, 324_000_001, -7] {
            let wall = axis.zero.plus_ns((i128::from(ticks) * 1_000_000_000 / 90_000) as i64);
            assert_eq!(axis.ticks(wall, 90_000), ticks);
        }
        assert_eq!(axis.ticks(axis.zero.plus_ns(-2_000_000_000), 8000), -16_000);
    }
}
