//! Whether the wall clock was set: what it gained on the monotonic clock between two looks.

use crate::types::WallTime;
use std::time::Duration;

/// A clock that is slewed gains less than this on the other between two looks, in nanoseconds. NTP's own limit for a step
/// (RFC 5905, 11.3).
const STEP_NS: i128 = 128_000_000;
/// A look that took longer than this tells nothing.
const LOOK_MAX: Duration = Duration::from_millis(20);

/// A look at both clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    /// The monotonic clock, just before.
    pub(crate) before: Duration,
    /// The wall clock.
    pub(crate) wall: WallTime,
    /// The monotonic clock, just after.
    pub(crate) after: Duration,
}

/// Counts how often the wall clock was set.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ClockWatch {
    last: Option<(Duration, WallTime)>,
    /// How often.
    pub(crate) steps: u32,
    /// The largest step, in nanoseconds.
    pub(crate) largest_ns: i64,
}

impl ClockWatch {
    /// Takes a look; true if the clock was set since the last.
    pub(crate) fn look(&mut self, reading: Reading) -> bool {
        if reading.after.saturating_sub(reading.before) > LOOK_MAX {
            return false;
        }
        let now = (reading.before, reading.wall);
        let Some((monotonic, wall)) = self.last.replace(now) else { return false };
        let passed = now.0.as_nanos() as i128 - monotonic.as_nanos() as i128;
        let gained = i128::from(now.1.0) - i128::from(wall.0) - passed;
        if gained.abs() < STEP_NS {
            return false;
        }
        let gained = i64::try_from(gained).unwrap_or(if gained > 0 { i64::MAX } else { i64::MIN });
        self.steps = self.steps.saturating_add(1);
        if gained.unsigned_abs() > self.largest_ns.unsigned_abs() {
            self.largest_ns = gained;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(monotonic_ms: u64, wall_ms: i64) -> Reading {
        let before = Duration::from_millis(monotonic_ms);
        Reading { before, wall: WallTime(wall_ms * 1_000_000), after: before }
    }

    #[test]
    fn only_what_is_more_than_slewing_counts() {
        let mut watch = ClockWatch::default();
        for (monotonic, wall, stepped) in [
            (0, 1_000_000, false),
            (1_000, 1_001_000, false),
            (2_000, 1_002_127, false),
            (3_000, 1_003_000, false),
            (4_000, 1_005_000, true),
            (5_000, -500_000, true),
            (6_000, -499_000, false),
        ] {
            assert_eq!(watch.look(reading(monotonic, wall)), stepped, "{monotonic} {wall}");
        }
        assert_eq!((watch.steps, watch.largest_ns), (2, -1_506_000_000_000));
    }

    #[test]
    fn a_look_that_was_held_up_tells_nothing() {
        let mut watch = ClockWatch::default();
        watch.look(reading(0, 0));
        let late = Reading { after: Duration::from_millis(521), ..reading(500, 700) };
        assert!(!watch.look(late));
        assert!(!watch.look(reading(1_000, 1_000)));
    }

    #[test]
    fn the_ends_of_time_do_not_overflow() {
        let mut watch = ClockWatch::default();
        watch.look(Reading { before: Duration::ZERO, wall: WallTime::MIN, after: Duration::ZERO });
        assert!(watch.look(Reading { before: Duration::MAX, wall: WallTime::MAX, after: Duration::MAX }));
        watch.look(Reading { before: Duration::MAX, wall: WallTime::MIN, after: Duration::MAX });
        assert_eq!((watch.steps, watch.largest_ns), (2, i64::MIN));
    }
}
