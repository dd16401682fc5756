//! At most eight connections begin in any second, over all cameras, but for those of cameras that come over from a volume that failed:
//! they were connected a moment ago, and lose footage while they wait.
//!
//! Pure: an attempt to record asks when it may begin and is given a turn, in the order of asking. A probe only ever takes a
//! turn that nobody waits for, so that cameras that are away do not hold up one that is back. Turns are never given back.

use std::time::Duration;

/// How many connections may begin in any second.
pub(crate) const ATTEMPTS_PER_SECOND: usize = 8;
const WINDOW: Duration = Duration::from_secs(1);

/// Hands out turns.
#[derive(Clone, Debug, Default)]
pub(crate) struct Limiter {
    /// The last turns given, oldest at `next`, on the caller's steady clock.
    turns: [Option<Duration>; ATTEMPTS_PER_SECOND],
    next: usize,
}

impl Limiter {
    /// The moment from which the caller may begin; `now` or later.
    pub(crate) fn turn(&mut self, now: Duration) -> Duration {
        let oldest = self.turns.get_mut(self.next);
        let turn = oldest.as_ref().and_then(|turn| **turn).map_or(now, |turn| now.max(turn + WINDOW));
        if let Some(oldest) = oldest {
            *oldest = Some(turn);
        }
        self.next = (self.next + 1) % ATTEMPTS_PER_SECOND;
        turn
    }

    /// Takes a turn now, if there is one now.
    pub(crate) fn spare(&mut self, now: Duration) -> bool {
        let oldest = self.turns.get(self.next).copied().flatten();
        let free = oldest.is_none_or(|turn| turn + WINDOW <= now);
        if free {
            self.turn(now);
        }
        free
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sixteen_cameras_begin_within_a_second() {
        let mut limiter = Limiter::default();
        let turns: Vec<_> = (0..16).map(|_| limiter.turn(Duration::from_secs(5)).as_millis()).collect();
        assert_eq!(turns[..8], [5_000; 8]);
        assert_eq!(turns[8..], [6_000; 8]);
    }

    #[test]
    fn a_hundred_probing_cameras_hold_an_attempt_up_for_no_more_than_a_second() {
        let mut limiter = Limiter::default();
        let now = Duration::from_secs(5);
        assert_eq!((0..100).filter(|_| limiter.spare(now)).count(), ATTEMPTS_PER_SECOND);
        assert_eq!(limiter.turn(now), now + WINDOW);
        assert!(limiter.spare(now + WINDOW), "seven are left beside the attempt's");
    }

    proptest! {
        #[test]
        fn no_second_ever_has_more_than_eight(
            asked in proptest::collection::vec((0_u64..400, any::<bool>()), 1..200),
        ) {
            let mut limiter = Limiter::default();
            let mut now = Duration::ZERO;
            let mut turns = Vec::new();
            for (pause_ms, spare) in asked {
                now += Duration::from_millis(pause_ms);
                if spare {
                    turns.extend(limiter.spare(now).then_some(now));
                } else {
                    let turn = limiter.turn(now);
                    prop_assert!(turn >= now);
                    turns.push(turn);
                }
            }
            for window in turns.windows(ATTEMPTS_PER_SECOND + 1) {
                prop_assert!(window[ATTEMPTS_PER_SECOND] - window[0] >= WINDOW);
            }
        }
    }
}
