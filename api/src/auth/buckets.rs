//! How often something may be done by one: a leaky bucket for each who does it (an address, a name), bounded in number.
//!
//! Each time fills a bucket by one; one leaks out in a while. Who has a full bucket waits until there is room again: for passwords, of
//! which wrong ones fill it, right or wrong.

use std::collections::HashMap;
use std::time::Duration;

/// How long to wait before the next attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait(pub Duration);

/// The buckets.
pub struct Buckets {
    burst: u32,
    leak: Duration,
    keys_max: usize,
    buckets: HashMap<String, Bucket>,
}

/// When a bucket will be empty, as time since the server was started.
#[derive(Clone, Copy)]
struct Bucket {
    empty_at: Duration,
}

impl Buckets {
    /// `burst` times at once, then once in each `leak`; of `keys_max` at most something is remembered: of more, those are forgotten who did
    /// least.
    pub fn new(burst: u32, leak: Duration, keys_max: usize) -> Buckets {
        Buckets { burst: burst.max(1), leak, keys_max: keys_max.max(1), buckets: HashMap::new() }
    }

    /// Whether this one may try now. `now` is time since the server was started; it never goes back.
    ///
    /// # Errors
    /// How long he has to wait.
    pub fn ask(&self, key: &str, now: Duration) -> Result<(), Wait> {
        let Some(bucket) = self.buckets.get(key) else { return Ok(()) };
        // There is room for one more when it will be empty within the time in which the others leak out.
        let room_at = bucket.empty_at.saturating_sub(self.leak.saturating_mul(self.burst - 1));
        if now >= room_at { Ok(()) } else { Err(Wait(room_at - now)) }
    }

    /// He does it once more, if he may: asked and noted in one, so that many at once are no more than one after the other.
    ///
    /// # Errors
    /// How long he has to wait; nothing is noted then.
    pub fn take(&mut self, key: &str, now: Duration) -> Result<(), Wait> {
        self.ask(key, now)?;
        self.fill(key, now);
        Ok(())
    }

    /// What was taken last is given back: it does not count.
    pub fn give_back(&mut self, key: &str) {
        if let Some(bucket) = self.buckets.get_mut(key) {
            bucket.empty_at = bucket.empty_at.saturating_sub(self.leak);
        }
    }

    /// He did it once more. A full bucket gets no fuller: it is empty again when a burst has leaked out.
    pub fn fill(&mut self, key: &str, now: Duration) {
        if !self.buckets.contains_key(key) && self.buckets.len() >= self.keys_max {
            self.make_room(now);
        }
        let bucket = self.buckets.entry(key.to_owned()).or_insert(Bucket { empty_at: now });
        let full = now.saturating_add(self.leak.saturating_mul(self.burst));
        bucket.empty_at = bucket.empty_at.max(now).saturating_add(self.leak).min(full);
    }

    /// What he did is forgotten.
    pub fn empty(&mut self, key: &str) {
        self.buckets.remove(key);
    }

    fn make_room(&mut self, now: Duration) {
        self.buckets.retain(|_, bucket| bucket.empty_at > now);
        if self.buckets.len() < self.keys_max {
            return;
        }
        let least = self.buckets.iter().min_by_key(|(_, bucket)| bucket.empty_at).map(|(key, _)| key.clone());
        least.and_then(|key| self.buckets.remove(&key));
    }
}

#[cfg(test)]
mod tests {
    use super::{Buckets, Wait};
    use std::time::Duration;

    const LEAK: Duration = Duration::from_secs(10);

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(1000 + seconds)
    }

    #[test]
    fn after_a_burst_of_failures_one_attempt_is_allowed_in_each_while() {
        let mut attempts = Buckets::new(3, LEAK, 10);
        for _ in 0..3 {
            assert_eq!(attempts.ask("a", at(0)), Ok(()));
            attempts.fill("a", at(0));
        }
        assert_eq!(attempts.ask("a", at(0)), Err(Wait(LEAK)));
        assert_eq!(attempts.ask("b", at(0)), Ok(()), "another one is not kept waiting");
        assert_eq!(attempts.ask("a", at(9)), Err(Wait(Duration::from_secs(1))));
        assert_eq!(attempts.ask("a", at(10)), Ok(()));
        attempts.fill("a", at(10));
        assert_eq!(attempts.ask("a", at(10)), Err(Wait(LEAK)));
        assert_eq!(attempts.ask("a", at(40)), Ok(()));
    }

    #[test]
    fn however_often_he_did_it_a_burst_later_all_is_forgotten() {
        let mut attempts = Buckets::new(3, LEAK, 10);
        (0..20_000).for_each(|_| attempts.fill("a", at(0)));
        assert_eq!(attempts.ask("a", at(0)), Err(Wait(LEAK)));
        for _ in 0..3 {
            assert_eq!(attempts.take("a", at(30)), Ok(()));
        }
        assert_eq!(attempts.take("a", at(30)), Err(Wait(LEAK)));
        assert_eq!(attempts.take("a", at(30)), Err(Wait(LEAK)), "being refused fills nothing");
    }

    #[test]
    fn what_is_given_back_may_be_taken_again() {
        let mut attempts = Buckets::new(2, LEAK, 10);
        for _ in 0..5 {
            assert_eq!(attempts.take("a", at(0)), Ok(()));
            attempts.give_back("a");
        }
        attempts.give_back("nobody");
        assert_eq!(attempts.take("a", at(0)), Ok(()));
        assert_eq!(attempts.take("a", at(0)), Ok(()));
        assert_eq!(attempts.take("a", at(0)), Err(Wait(LEAK)));
    }

    #[test]
    fn who_was_right_begins_anew() {
        let mut attempts = Buckets::new(2, LEAK, 10);
        attempts.fill("a", at(0));
        attempts.fill("a", at(0));
        attempts.empty("a");
        assert_eq!(attempts.ask("a", at(0)), Ok(()));
    }

    #[test]
    fn however_many_try_memory_is_bounded_and_who_fails_most_is_remembered() {
        let mut attempts = Buckets::new(3, LEAK, 100);
        for _ in 0..20 {
            attempts.fill("the worst", at(0));
        }
        for which in 0..10_000 {
            attempts.fill(&format!("{which}"), at(0));
        }
        assert!(attempts.buckets.len() <= 100);
        assert!(attempts.ask("the worst", at(0)).is_err());
    }
}
