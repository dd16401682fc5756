//! How often one may be noted: who is refused again and again, asks for the same file again and again, or changes something again and
//! again by a script, must not fill the disk, nor push out what others did. What is left out is counted, and the count stands in the next
//! line of the same one.

use crate::auth::Buckets;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lines of one: so many at once, then one in this time.
pub(super) const LINES: (u32, Duration) = (60, Duration::from_secs(2));
/// The same of changes that were made, which are the point of the log: no person makes so many. A day of one is some 60 MB.
pub(super) const CHANGES: (u32, Duration) = (2000, Duration::from_millis(500));
/// Of how many that is known.
const KNOWN_MAX: usize = 10_000;

/// Who was noted how often.
pub(super) struct Bounds {
    started: Instant,
    inner: Mutex<Inner>,
}

struct Inner {
    buckets: Buckets,
    left_out: HashMap<String, u64>,
}

impl Bounds {
    /// Bounds of so many lines at once, then one in a time.
    pub(super) fn new((burst, leak): (u32, Duration)) -> Bounds {
        let buckets = Buckets::new(burst, leak, KNOWN_MAX);
        Bounds { started: Instant::now(), inner: Mutex::new(Inner { buckets, left_out: HashMap::new() }) }
    }

    /// Whether this one is noted; if so, how many of his lines were left out before.
    pub(super) fn admit(&self, who: &str) -> Option<u64> {
        self.admit_at(who, self.started.elapsed())
    }

    fn admit_at(&self, who: &str, now: Duration) -> Option<u64> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.buckets.ask(who, now).is_ok() {
            inner.buckets.fill(who, now);
            return Some(inner.left_out.remove(who).unwrap_or(0));
        }
        if inner.left_out.len() < KNOWN_MAX || inner.left_out.contains_key(who) {
            *inner.left_out.entry(who.to_owned()).or_default() += 1;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::{Bounds, LINES};
    use std::time::Duration;

    #[test]
    fn what_is_left_out_is_told_later_and_others_are_noted() {
        let bounds = Bounds::new(LINES);
        let noted = (0..1000).filter(|_| bounds.admit_at("anna", Duration::ZERO).is_some()).count();
        assert_eq!(noted, LINES.0 as usize);
        assert_eq!(bounds.admit_at("bert", Duration::ZERO), Some(0));
        assert_eq!(bounds.admit_at("anna", LINES.1), Some(1000 - noted as u64));
        assert_eq!(bounds.admit_at("anna", 3 * LINES.1), Some(0));
    }
}
