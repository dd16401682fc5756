//! Finds out that the disk has stopped answering: a writer makes a round every second, so that none for some seconds is news,
//! and the only news there will be while the writer itself waits.
//!
//! Pure: time comes in as arguments. Must not live here: what is said about it.

use std::time::{Duration, Instant};

/// So long without a round is no slow disk any more.
const ROUNDS_MISSED: Duration = Duration::from_secs(5);

/// Watches the rounds.
#[derive(Debug)]
pub(super) struct SilenceWatch {
    last_round: Instant,
    told: bool,
}

impl SilenceWatch {
    /// Begins to watch.
    pub(super) fn new(now: Instant) -> SilenceWatch {
        SilenceWatch { last_round: now, told: false }
    }

    /// A round ended. If the disk had been silent: for how long.
    pub(super) fn round(&mut self, now: Instant) -> Option<Duration> {
        let silent = now.saturating_duration_since(self.last_round);
        self.last_round = now;
        std::mem::take(&mut self.told).then_some(silent)
    }

    /// For how long there has been no round, once that is too long.
    pub(super) fn silent_for(&self, now: Instant) -> Option<Duration> {
        let silent = now.saturating_duration_since(self.last_round);
        (silent >= ROUNDS_MISSED).then_some(silent)
    }

    /// Whether this silence has yet to be told; it is now.
    pub(super) fn is_news(&mut self) -> bool {
        !std::mem::replace(&mut self.told, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_makes_no_rounds_is_told_once_and_again_when_it_is_back() {
        let zero = Instant::now();
        let at = |ms: u64| zero + Duration::from_millis(ms);
        let mut watch = SilenceWatch::new(zero);
        assert_eq!(watch.round(at(1_000)), None);
        assert_eq!(watch.silent_for(at(5_900)), None);
        assert_eq!(watch.round(at(5_950)), None, "slow, but nobody was told");
        assert_eq!(watch.silent_for(at(10_950)), Some(Duration::from_secs(5)));
        assert_eq!([watch.is_news(), watch.is_news()], [true, false]);
        assert_eq!(watch.round(at(67_950)), Some(Duration::from_secs(62)));
        assert_eq!((watch.silent_for(at(68_000)), watch.round(at(69_000))), (None, None));
    }
}
