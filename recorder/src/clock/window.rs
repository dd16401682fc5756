//! The least delay of the last minute.
//!
//! Delay here is arrival minus media time, so it carries an unknown constant; only its minimum matters. Old values are
//! forgotten bucket by bucket, so that a drifting camera clock is followed: at 100 ppm a minute is 6 ms.

use super::NS_PER_S;
use std::time::Duration;

const BUCKETS: usize = 8;
const BUCKET_NS: i64 = 8 * NS_PER_S;
/// What was observed so long ago at most counts.
pub(crate) const SURELY_KEPT: Duration = Duration::from_nanos((BUCKETS as u64 - 1) * BUCKET_NS as u64);

/// A minimum over a sliding window.
#[derive(Clone, Debug)]
pub(crate) struct MinimumDelay {
    buckets: [i64; BUCKETS],
    current: usize,
    current_began_ns: i64,
    /// A smoothed excess over the minimum.
    jitter_ns: i64,
    observed: u64,
}

impl MinimumDelay {
    pub(crate) fn new(now_ns: i64, delay_ns: i64) -> MinimumDelay {
        let mut buckets = [i64::MAX; BUCKETS];
        buckets[0] = delay_ns;
        MinimumDelay { buckets, current: 0, current_began_ns: now_ns, jitter_ns: 0, observed: 1 }
    }

    /// Takes the delay of one sample. How much more than the least is usual is learned from those that were noted promptly.
    pub(crate) fn observe(&mut self, now_ns: i64, delay_ns: i64, prompt: bool) {
        let elapsed = now_ns.saturating_sub(self.current_began_ns).max(0) / BUCKET_NS;
        for _ in 0..elapsed.min(BUCKETS as i64) {
            self.current = (self.current + 1) % BUCKETS;
            self.buckets[self.current] = i64::MAX;
        }
        self.current_began_ns = self.current_began_ns.saturating_add(elapsed.saturating_mul(BUCKET_NS));
        self.buckets[self.current] = self.buckets[self.current].min(delay_ns);
        if prompt {
            let excess = delay_ns.saturating_sub(self.minimum_ns());
            self.jitter_ns = self.jitter_ns.saturating_add(excess.saturating_sub(self.jitter_ns) / 16);
            self.observed += 1;
        }
    }

    /// The least delay in the window.
    pub(crate) fn minimum_ns(&self) -> i64 {
        self.buckets.iter().copied().min().unwrap_or(i64::MAX)
    }

    /// How much more than the least delay is usual.
    pub(crate) fn jitter_ns(&self) -> i64 {
        self.jitter_ns
    }

    /// How many samples were seen that were noted promptly.
    pub(crate) fn observed(&self) -> u64 {
        self.observed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_minimum_is_kept_for_a_minute_and_then_forgotten() {
        let mut window = MinimumDelay::new(0, 5);
        for second in 1..50 {
            window.observe(second * NS_PER_S, 100, true);
            assert_eq!(window.minimum_ns(), 5, "after {second} s");
        }
        for second in 50..80 {
            window.observe(second * NS_PER_S, 100, true);
        }
        assert_eq!(window.minimum_ns(), 100);
    }

    #[test]
    fn what_was_noted_late_tells_nothing_of_the_network() {
        let mut window = MinimumDelay::new(0, 0);
        for sample in 1..1_000 {
            let (at, late) = (sample * NS_PER_S / 25, sample % 5);
            window.observe(at, late, true);
            window.observe(at, 100 * NS_PER_S, false);
        }
        assert!((0..=4).contains(&window.jitter_ns()), "{}", window.jitter_ns());
        assert_eq!(window.observed(), 1_000);
        window.observe(41 * NS_PER_S, -7, false);
        assert_eq!(window.minimum_ns(), -7, "what comes early was not late");
    }

    #[test]
    fn a_long_silence_forgets_everything_but_the_newest() {
        let mut window = MinimumDelay::new(0, 5);
        window.observe(10_000 * NS_PER_S, 70, true);
        assert_eq!(window.minimum_ns(), 70);
    }
}
