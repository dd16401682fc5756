//! The recorder's own wall clock, followed while it behaves.
//!
//! Small corrections (a time daemon slewing, a step below half a second) are followed at once: the tracks' own slewing
//! smooths them. A larger step is not followed until the caller says so, for wall time within a run only grows.

use super::{Moment, NS_PER_MS};

/// A change between the wall clock and the steady clock that is larger than this is a step.
const STEP_NS_MIN: i64 = 500 * NS_PER_MS;

/// Follows the wall clock against the steady clock.
#[derive(Clone, Debug)]
pub(crate) struct HostClock {
    followed_ns: i64,
}

impl HostClock {
    pub(crate) fn new(now: Moment) -> HostClock {
        HostClock { followed_ns: difference(now) }
    }

    /// The wall time of a moment as it is followed, in nanoseconds since 1970.
    pub(crate) fn wall_ns(&mut self, moment: Moment) -> i64 {
        if self.step_ns(moment) == 0 {
            self.followed_ns = difference(moment);
        }
        moment.mono_ns.saturating_add(self.followed_ns)
    }

    /// How far the wall clock has stepped away from what is followed; 0 if it has not.
    pub(crate) fn step_ns(&self, moment: Moment) -> i64 {
        let step = difference(moment).saturating_sub(self.followed_ns);
        if step.saturating_abs() > STEP_NS_MIN { step } else { 0 }
    }

    /// Follows the wall clock to where it has stepped.
    pub(crate) fn accept(&mut self, moment: Moment) {
        self.followed_ns = difference(moment);
    }
}

fn difference(moment: Moment) -> i64 {
    moment.wall.0.saturating_sub(moment.mono_ns)
}

#[cfg(test)]
mod tests {
    use super::super::NS_PER_S;
    use super::*;
    use keha_fs::WallTime;

    #[test]
    fn a_slewed_clock_is_followed_and_a_stepped_one_is_not_until_accepted() {
        let at = |seconds: i64, off_ms: i64| Moment {
            mono_ns: seconds * NS_PER_S,
            wall: WallTime((1_000 + seconds) * NS_PER_S + off_ms * NS_PER_MS),
        };
        let mut clock = HostClock::new(at(0, 0));
        assert_eq!(clock.wall_ns(at(1, 300)), at(1, 300).wall.0);
        let stepped = at(2, -86_400_000);
        assert_eq!(clock.wall_ns(stepped), at(2, 300).wall.0);
        assert_eq!(clock.step_ns(stepped), -86_400_300 * NS_PER_MS);
        clock.accept(stepped);
        assert_eq!((clock.step_ns(stepped), clock.wall_ns(stepped)), (0, stepped.wall.0));
    }
}
