//! When to try a camera again: pure policy, no sockets and no clock.
//!
//! Two wishes meet here: footage within 2 s after a camera is back, and no hammering while it is away. What hammers a
//! camera is a *full attempt* (log-in, DESCRIBE, SETUP: cameras lock accounts and leak sessions), so only those back off:
//! at once, then after 0.5, 1, 2, 4, 8, 16 and 30 s, each shortened by up to a quarter at random.
//!
//! While a full attempt waits, a *probe* watches for the camera's return, at most every 1.5 s. What it does depends on how
//! the attempt failed ([`Failure`]):
//!
//! | the camera | probe |
//! |---|---|
//! | is absent: refused, unreachable | connects and sends one `OPTIONS` request; any answer will do |
//! | is mute: accepts, but does not answer, as a frozen one | the same, and the connection is held open until it answers |
//! | does not serve: DESCRIBE fails (no such stream yet, a proxy whose camera is away, nonsense) | DESCRIBE; after ten minutes only every 10 s |
//! | declines: wrong password, no room for a session, plays but sends nothing | none |
//!
//! A probe that succeeds after one that did not, or late, means that the camera is back: the full attempt is made at once.
//!
//! Every connection, probes too, takes a turn at the [`limiter`]: at most 8 begin in any second over all cameras. Probes take
//! those only that no attempt waits for. With more than a dozen cameras away at once their probes share what is left and a
//! return is seen later than 2 s.

pub(crate) mod limiter;

use std::time::Duration;

const DELAYS_MS: [u64; 8] = [0, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000];
/// A session that recorded this long was a good one: the next attempt is made at once.
const GOOD_SESSION: Duration = Duration::from_secs(10);
/// The time from the beginning of a failed probe to the next, before jitter.
const PROBE_EVERY: Duration = Duration::from_millis(1_500);
/// An answer that took longer than this comes from a camera that had been away.
const PROMPT_ANSWER: Duration = Duration::from_secs(1);

/// How long DESCRIBE is asked for as often as that: a mistyped path must not trouble a camera for ever.
const DESCRIBES_BRISK: u32 = 400;
const DESCRIBE_LATER_EVERY: Duration = Duration::from_secs(10);

/// In what way an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// No connection.
    Absent,
    /// A connection, but no answer.
    Mute,
    /// DESCRIBE failed, though not for the log-in.
    NotServed,
    /// Anything else.
    Declined,
}

/// How an attempt to record ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Samples came for this long.
    Recorded(Duration),
    /// Nothing came.
    Failed(Failure),
}

/// How to look out for a camera.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LookOut {
    /// Connect and send `OPTIONS`.
    Options,
    /// Ask for the description.
    Describe,
}

/// What to do until the next attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wait {
    /// At most so long.
    pub(crate) at_most: Duration,
    /// How to probe meanwhile, if at all.
    pub(crate) probe: Option<LookOut>,
}

/// The policy for one camera.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reconnect {
    failures: usize,
    /// Whether the camera was found away since it was last heard of.
    away: bool,
    /// DESCRIBE probes that failed in a row.
    describes: u32,
}

/// What a probe found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Probe {
    /// It failed.
    Failed,
    /// It succeeded, this long after the connection was made.
    Succeeded(Duration),
}

/// What to do after a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AfterProbe {
    /// The camera is back: attempt now.
    Attempt,
    /// Probe again this long after the last one began.
    ProbeAfter(Duration),
    /// The camera has been there all the time: wait for the backoff.
    OnlyWait,
}

impl Reconnect {
    /// Decides after an attempt. `jitter` is a random number from 0 to 1.
    pub(crate) fn ended(&mut self, ended: Ended, jitter: f64) -> Wait {
        let step = match ended {
            Ended::Recorded(lasted) => {
                *self = Reconnect { failures: 1, ..Reconnect::default() };
                usize::from(lasted < GOOD_SESSION)
            }
            Ended::Failed(_) => {
                self.failures += 1;
                self.failures - 1
            }
        };
        let longest = DELAYS_MS.last().copied().unwrap_or_default();
        let delay = Duration::from_millis(DELAYS_MS.get(step).copied().unwrap_or(longest));
        let probe = match ended {
            Ended::Failed(Failure::Absent | Failure::Mute) => Some(LookOut::Options),
            Ended::Failed(Failure::NotServed) => Some(LookOut::Describe),
            Ended::Failed(Failure::Declined) | Ended::Recorded(_) => None,
        };
        // A mute camera may answer OPTIONS all the time: only a late answer shows that it had been away.
        self.away |= matches!(ended, Ended::Failed(Failure::Absent | Failure::NotServed));
        Wait { at_most: shortened(delay, jitter), probe }
    }

    /// Decides after a probe. `jitter` is a random number from 0 to 1.
    pub(crate) fn probed(&mut self, look_out: LookOut, probe: Probe, jitter: f64) -> AfterProbe {
        match probe {
            Probe::Failed => {
                self.away = true;
                self.describes += u32::from(look_out == LookOut::Describe);
                let pause = if self.describes > DESCRIBES_BRISK { DESCRIBE_LATER_EVERY } else { PROBE_EVERY };
                AfterProbe::ProbeAfter(shortened(pause, jitter))
            }
            Probe::Succeeded(after) if self.away || after > PROMPT_ANSWER => {
                // It is back: should its streams need a moment more, the first retries are quick.
                *self = Reconnect { failures: 1, ..Reconnect::default() };
                AfterProbe::Attempt
            }
            Probe::Succeeded(_) => AfterProbe::OnlyWait,
        }
    }
}

fn shortened(delay: Duration, jitter: f64) -> Duration {
    delay.mul_f64(1.0 - 0.25 * jitter.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(policy: &mut Reconnect, failure: Failure) -> Duration {
        policy.ended(Ended::Failed(failure), 0.0).at_most
    }

    const PROMPT: Probe = Probe::Succeeded(Duration::from_millis(3));

    #[test]
    fn a_camera_that_stays_away_is_attempted_ever_more_rarely_but_every_30_s() {
        let mut policy = Reconnect::default();
        let waits: Vec<_> = (0..10).map(|_| failed(&mut policy, Failure::Declined).as_millis()).collect();
        assert_eq!(waits, [0, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]);
    }

    #[test]
    fn a_lost_connection_is_renewed_at_once_after_a_good_session_and_soon_after_a_short_one() {
        let mut policy = Reconnect::default();
        let good = policy.ended(Ended::Recorded(Duration::from_secs(60)), 0.5);
        assert_eq!(good.at_most, Duration::ZERO);
        for _ in 0..150 {
            let flapping = policy.ended(Ended::Recorded(Duration::from_secs(2)), 0.0);
            assert_eq!(flapping.at_most, Duration::from_millis(500), "flapping does not back off");
        }
    }

    #[test]
    fn a_camera_that_is_away_is_probed_and_attempted_as_soon_as_a_probe_succeeds() {
        for (failure, look_out) in
            [(Failure::Absent, LookOut::Options), (Failure::NotServed, LookOut::Describe)]
        {
            let mut policy = Reconnect::default();
            for _ in 0..8 {
                assert_eq!(policy.ended(Ended::Failed(failure), 0.3).probe, Some(look_out));
            }
            let AfterProbe::ProbeAfter(pause) = policy.probed(look_out, Probe::Failed, 0.0) else {
                panic!("probe again")
            };
            assert!(pause < Duration::from_secs(2));
            assert_eq!(policy.probed(look_out, PROMPT, 0.0), AfterProbe::Attempt);
            assert_eq!(
                failed(&mut policy, failure),
                Duration::from_millis(500),
                "its streams may need a moment"
            );
        }
    }

    #[test]
    fn a_frozen_camera_is_attempted_when_its_late_answer_comes() {
        let mut policy = Reconnect::default();
        assert_eq!(policy.ended(Ended::Failed(Failure::Mute), 0.0).probe, Some(LookOut::Options));
        let late = Probe::Succeeded(Duration::from_secs(20));
        assert_eq!(policy.probed(LookOut::Options, late, 0.0), AfterProbe::Attempt);
    }

    #[test]
    fn a_camera_that_answers_only_options_waits_for_the_backoff() {
        let mut policy = Reconnect::default();
        failed(&mut policy, Failure::Mute);
        assert_eq!(policy.probed(LookOut::Options, PROMPT, 0.0), AfterProbe::OnlyWait);
    }

    #[test]
    fn a_camera_that_declines_is_never_probed_and_never_hammered() {
        let mut policy = Reconnect::default();
        // It was away, came back, and now has no room for a session.
        failed(&mut policy, Failure::Absent);
        policy.probed(LookOut::Options, PROMPT, 0.0);
        let waits: Vec<_> = (0..5).map(|_| policy.ended(Ended::Failed(Failure::Declined), 0.0)).collect();
        assert!(waits.iter().all(|wait| wait.probe.is_none()));
        assert_eq!(waits.last().map(|wait| wait.at_most), Some(Duration::from_secs(8)));
    }

    #[test]
    fn a_path_that_is_never_served_is_asked_for_less_often_after_ten_minutes() {
        let mut policy = Reconnect::default();
        failed(&mut policy, Failure::NotServed);
        let pauses: Vec<_> = (0..500).map(|_| policy.probed(LookOut::Describe, Probe::Failed, 0.0)).collect();
        assert_eq!(pauses.first(), Some(&AfterProbe::ProbeAfter(PROBE_EVERY)));
        assert_eq!(pauses.last(), Some(&AfterProbe::ProbeAfter(DESCRIBE_LATER_EVERY)));
    }

    #[test]
    fn jitter_only_shortens() {
        for jitter in [0.0, 0.2, 1.0, 7.0] {
            let mut policy = Reconnect { failures: 7, ..Reconnect::default() };
            let wait = policy.ended(Ended::Failed(Failure::Absent), jitter).at_most;
            assert!((Duration::from_millis(22_500)..=Duration::from_secs(30)).contains(&wait), "{wait:?}");
        }
    }
}
