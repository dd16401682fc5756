//! When to try a camera again: pure policy, no sockets and no clock.
//!
//! Two wishes meet here: footage within 2 s after a camera is back, and no hammering while it is away. What hammers a
//! camera is a *full attempt* (log-in, DESCRIBE, SETUP: cameras lock accounts and leak sessions), so only those back off:
//! at once, then after 0.5, 1, 2, 4, 8, 16 and 30 s, each shortened by up to a quarter at random.
//!
//! While a full attempt waits, and if the camera seemed **absent** (refused, unreachable, mute), a *probe* watches for its
//! return: a TCP connection with one `OPTIONS` request, at most every 1.5 s while connecting fails, and held open while the
//! camera accepts but does not answer, as a frozen one does. A probe that is answered after one that was not means that
//! the camera is back: the full attempt is made at once. A camera that answered, but with a refusal of ours (wrong password,
//! no such stream), is **present** and is not probed.
//!
//! Every connection, probes too, takes a turn at the [`limiter`]: at most 8 begin in any second over all cameras. With more
//! than a dozen cameras away at once their probes share those turns and a return is seen later than 2 s.

pub(crate) mod limiter;

use keha_fs::GapReason;
use std::time::Duration;

const DELAYS_MS: [u64; 8] = [0, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000];
/// A session that recorded this long was a good one: the next attempt is made at once.
const GOOD_SESSION: Duration = Duration::from_secs(10);
/// The time from one failed probe to the next, before jitter.
const PROBE_EVERY: Duration = Duration::from_millis(1_500);
/// An answer that took longer than this comes from a camera that had been away.
const PROMPT_ANSWER: Duration = Duration::from_secs(1);

/// How an attempt to record ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Samples came for this long.
    Recorded(Duration),
    /// Nothing came, for this reason.
    Failed(GapReason),
}

/// What to do until the next attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wait {
    /// At most so long.
    pub(crate) at_most: Duration,
    /// Whether to probe meanwhile.
    pub(crate) probe: bool,
}

/// The policy for one camera.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reconnect {
    failures: usize,
    /// Whether the camera was found absent since it was last heard of.
    absent: bool,
}

/// What a probe found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Probe {
    /// Connecting failed, or the connection broke before an answer.
    Absent,
    /// The camera answered after this time.
    Answered(Duration),
}

/// What to do after a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AfterProbe {
    /// The camera is back: attempt now.
    Attempt,
    /// Probe again after this pause.
    ProbeAfter(Duration),
    /// The camera has been there all the time: wait for the backoff.
    OnlyWait,
}

impl Reconnect {
    /// Decides after an attempt. `jitter` is a random number from 0 to 1.
    pub(crate) fn ended(&mut self, ended: Ended, jitter: f64) -> Wait {
        let step = match ended {
            Ended::Recorded(lasted) => {
                self.failures = 1;
                self.absent = false;
                usize::from(lasted < GOOD_SESSION)
            }
            Ended::Failed(_) => {
                self.failures += 1;
                self.failures - 1
            }
        };
        let longest = DELAYS_MS.last().copied().unwrap_or_default();
        let delay = Duration::from_millis(DELAYS_MS.get(step).copied().unwrap_or(longest));
        let probe = matches!(ended, Ended::Failed(reason) if seems_absent(reason));
        self.absent |= matches!(ended, Ended::Failed(GapReason::Refused | GapReason::Unreachable));
        Wait { at_most: shortened(delay, jitter), probe }
    }

    /// Decides after a probe. `jitter` is a random number from 0 to 1.
    pub(crate) fn probed(&mut self, probe: Probe, jitter: f64) -> AfterProbe {
        match probe {
            Probe::Absent => {
                self.absent = true;
                AfterProbe::ProbeAfter(shortened(PROBE_EVERY, jitter))
            }
            Probe::Answered(after) if self.absent || after > PROMPT_ANSWER => {
                self.absent = false;
                // It is back: should its streams need a moment more, the first retries are quick.
                self.failures = 1;
                AfterProbe::Attempt
            }
            Probe::Answered(_) => AfterProbe::OnlyWait,
        }
    }
}

/// Whether a camera that failed in this way may simply not be there.
fn seems_absent(reason: GapReason) -> bool {
    matches!(
        reason,
        GapReason::Refused | GapReason::Unreachable | GapReason::Silent | GapReason::ConnectionLost
    )
}

fn shortened(delay: Duration, jitter: f64) -> Duration {
    delay.mul_f64(1.0 - 0.25 * jitter.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(policy: &mut Reconnect, reason: GapReason) -> Duration {
        policy.ended(Ended::Failed(reason), 0.0).at_most
    }

    #[test]
    fn a_camera_that_stays_away_is_attempted_ever_more_rarely_but_every_30_s() {
        let mut policy = Reconnect::default();
        let waits: Vec<u64> =
            (0..10).map(|_| failed(&mut policy, GapReason::Unauthorised).as_millis() as u64).collect();
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
    fn a_refusing_host_is_probed_and_attempted_as_soon_as_it_answers() {
        let mut policy = Reconnect::default();
        for _ in 0..8 {
            assert!(policy.ended(Ended::Failed(GapReason::Refused), 0.3).probe);
        }
        let AfterProbe::ProbeAfter(pause) = policy.probed(Probe::Absent, 0.0) else { panic!("probe again") };
        assert!(pause < Duration::from_secs(2));
        assert_eq!(policy.probed(Probe::Answered(Duration::from_millis(3)), 0.0), AfterProbe::Attempt);
        assert_eq!(
            failed(&mut policy, GapReason::NotFound),
            Duration::from_millis(500),
            "its streams may need a moment"
        );
    }

    #[test]
    fn a_frozen_camera_is_attempted_when_its_late_answer_comes() {
        let mut policy = Reconnect::default();
        assert!(policy.ended(Ended::Failed(GapReason::Silent), 0.0).probe);
        assert_eq!(policy.probed(Probe::Answered(Duration::from_secs(20)), 0.0), AfterProbe::Attempt);
    }

    #[test]
    fn a_camera_that_answers_but_sends_nothing_waits_for_the_backoff() {
        let mut policy = Reconnect::default();
        policy.ended(Ended::Failed(GapReason::Silent), 0.0);
        assert_eq!(policy.probed(Probe::Answered(Duration::from_millis(2)), 0.0), AfterProbe::OnlyWait);
    }

    #[test]
    fn a_wrong_password_is_never_probed() {
        let mut policy = Reconnect::default();
        assert!(!policy.ended(Ended::Failed(GapReason::Unauthorised), 0.0).probe);
        assert!(!policy.ended(Ended::Failed(GapReason::NotFound), 0.0).probe);
    }

    #[test]
    fn jitter_only_shortens() {
        for jitter in [0.0, 0.2, 1.0, 7.0] {
            let wait = Reconnect { failures: 7, absent: false }
                .ended(Ended::Failed(GapReason::Refused), jitter)
                .at_most;
            assert!((Duration::from_millis(22_500)..=Duration::from_secs(30)).contains(&wait), "{wait:?}");
        }
    }
}
