//! When a hold's range is over, and when it expires: never on the word of the wall clock alone.

use super::Hold;
use crate::types::WallTime;
use std::time::Duration;

/// How long footage of a range may be late where nothing newer comes: a camera's clock may be behind.
pub(crate) const LATE: Duration = Duration::from_secs(60);

/// Seconds from one moment to another, rounded up; none if it lies before.
pub(crate) fn seconds_between(from: WallTime, to: WallTime) -> u64 {
    u64::try_from(to.since_ns(from)).unwrap_or(0).div_ceil(1_000_000_000)
}

/// Whether nothing more of a hold's range is to come: wall clock and running time are past it, and the stream has newer
/// footage, or has had a minute for it. `newest` is the latest moment of the stream's newest footage. `waited` is how long the
/// range has been past while nothing of the stream waited in memory and the disk was well: footage that a failing disk kept
/// waiting is not late.
pub(crate) fn is_over(
    hold: &Hold,
    now: WallTime,
    running_s: u64,
    newest: Option<WallTime>,
    waited: Duration,
) -> bool {
    let Some(to) = hold.range.to else { return false };
    let ran_s = running_s.saturating_sub(hold.created_running_s);
    let passed = now >= to && ran_s >= seconds_between(hold.created, to);
    passed && (newest.is_some_and(|newest| newest >= to) || waited >= LATE)
}

/// Whether a hold has expired.
pub(crate) fn has_expired(hold: &Hold, now: WallTime, running_s: u64) -> bool {
    hold.expires.is_some_and(|expires| now >= expires) && running_s >= hold.expires_running_s
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::TimeRange;

    const S: i64 = 1_000_000_000;

    fn at(seconds: i64) -> WallTime {
        WallTime(seconds * S)
    }

    fn hold(to: i64) -> Hold {
        Hold {
            range: TimeRange { from: Some(at(0)), to: Some(at(to)) },
            created: at(100),
            created_running_s: 1000,
            expires: Some(at(200)),
            expires_running_s: 1100,
            ..Hold::default()
        }
    }

    const NOT_YET: Duration = Duration::from_millis(59_999);

    #[test]
    fn a_past_range_is_over_once_newer_footage_is_there_or_the_stream_had_a_minute_for_it() {
        assert!(is_over(&hold(90), at(100), 1000, Some(at(90)), Duration::ZERO));
        assert!(!is_over(&hold(90), at(100), 1000, Some(at(89)), NOT_YET));
        assert!(!is_over(&hold(90), at(9000), 9000, None, NOT_YET));
        assert!(is_over(&hold(90), at(100), 1000, None, LATE));
    }

    #[test]
    fn a_range_to_come_is_over_when_both_clocks_and_the_footage_have_passed_it() {
        assert!(is_over(&hold(160), at(160), 1060, Some(at(160)), Duration::ZERO));
        assert!(!is_over(&hold(160), at(159), 1060, Some(at(160)), LATE));
        // A clock that jumps ten years ends nothing.
        assert!(!is_over(&hold(160), at(300_000_000), 1059, Some(at(300_000_000)), LATE));
    }

    #[test]
    fn a_hold_expires_only_when_both_clocks_say_so() {
        for (now, running, expired) in
            [(199, 1100, false), (200, 1099, false), (200, 1100, true), (-5, 9999, false), (9999, 5, false)]
        {
            assert_eq!(has_expired(&hold(0), at(now), running), expired, "{now} {running}");
        }
        assert!(!has_expired(&Hold { expires: None, ..hold(0) }, WallTime::MAX, u64::MAX));
    }

    #[test]
    fn seconds_are_rounded_up() {
        assert_eq!(seconds_between(at(5), WallTime(6 * S + 1)), 2);
        assert_eq!(seconds_between(at(5), at(4)), 0);
        assert_eq!(seconds_between(WallTime::MIN, WallTime::MAX), 9_223_372_037);
    }
}
