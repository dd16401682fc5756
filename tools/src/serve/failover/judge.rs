//! Whether a volume that is open has failed, from its rounds and from time passing.
//!
//! ```text
//! good --a round that fails--> doubtful --another one--> failed --a round that succeeds--> good
//! good --no round for 3 s--> doubtful --none for 15 s--> failed
//! ```
//!
//! Two bad rounds in a row are what the volume itself calls failing: a single one is tried again with the same bytes and often succeeds.
//! Without any round the disk does not answer. That is waited for as long as memory usually bridges it: what waits is not lost, neither
//! by waiting nor by moving, but a stream that moved comes back by order alone. Disks that spin up take about ten seconds, and stalls of
//! five are promised to cost nothing; the kernel resets a device that does not answer after thirty, when buffers are full.
//!
//! Pure: time comes in as arguments.

use std::time::{Duration, Instant};

/// So many rounds in a row that failed are a volume that failed.
const BAD_ROUNDS: u32 = 2;
/// So long without a round, nothing new is asked of it.
const SLOW: Duration = Duration::from_secs(3);
/// So long without a round it has failed.
const STALLED: Duration = Duration::from_secs(15);

/// What is thought of a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::serve) enum Verdict {
    /// It is written.
    Good,
    /// It may come to itself.
    Doubtful,
    /// It is not written any more, and why.
    Failed(String),
}

/// Judges one volume while it is open.
#[derive(Clone, Debug)]
pub(in crate::serve) struct Judge {
    bad_rounds: u32,
    error: String,
    last_round: Instant,
    /// When it was looked at last.
    looked: Instant,
    /// It takes nothing any more.
    stopped: bool,
}

impl Judge {
    /// It was opened.
    pub(in crate::serve) fn new(now: Instant) -> Judge {
        Judge { bad_rounds: 0, error: String::new(), last_round: now, looked: now, stopped: false }
    }

    /// A round ended, with an error if the disk failed.
    pub(in crate::serve) fn round(&mut self, now: Instant, error: Option<&str>) {
        self.last_round = now;
        match error {
            None => self.bad_rounds = 0,
            Some(error) => {
                self.bad_rounds = self.bad_rounds.saturating_add(1);
                error.clone_into(&mut self.error);
            }
        }
    }

    /// It is looked at, each second. Whoever was not there himself (the process stood still, the machine slept) has not seen that it was
    /// silent.
    pub(in crate::serve) fn look(&mut self, now: Instant) {
        let away = now.saturating_duration_since(self.looked);
        self.looked = now;
        if away >= SLOW {
            self.last_round = (self.last_round + away).min(now);
        }
    }

    /// Its writer is gone: it takes nothing any more.
    pub(in crate::serve) fn stopped(&mut self) {
        self.stopped = true;
    }

    /// What is thought of it now.
    pub(in crate::serve) fn verdict(&self, now: Instant) -> Verdict {
        let silent = now.saturating_duration_since(self.last_round);
        if self.stopped {
            Verdict::Failed("it takes nothing any more".to_owned())
        } else if self.bad_rounds >= BAD_ROUNDS {
            Verdict::Failed(format!("its disk fails: {}", self.error))
        } else if silent >= STALLED {
            Verdict::Failed(format!("its disk did not answer for {} s", STALLED.as_secs()))
        } else if self.bad_rounds > 0 || silent >= SLOW {
            Verdict::Doubtful
        } else {
            Verdict::Good
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All sequences of what can happen in a second, up to eight of them: the verdict is what the rules say of the sequence.
    #[test]
    fn two_bad_rounds_in_a_row_or_fifteen_seconds_without_one_are_a_failure_and_nothing_else_is() {
        #[derive(Clone, Copy, PartialEq, Debug)]
        enum Step {
            Good,
            Bad,
            Nothing(u64),
        }
        let steps = [Step::Good, Step::Bad, Step::Nothing(2), Step::Nothing(5), Step::Nothing(10)];
        for number in 0..steps.len().pow(6) {
            let zero = Instant::now();
            let (mut judge, mut at, mut rest, mut done) = (Judge::new(zero), 0, number, Vec::new());
            for _ in 0..6 {
                let step = steps[rest % steps.len()];
                rest /= steps.len();
                done.push(step);
                let now = |at: u64| zero + Duration::from_secs(at);
                match step {
                    Step::Good => {
                        at += 1;
                        judge.look(now(at));
                        judge.round(now(at), None);
                    }
                    Step::Bad => {
                        at += 1;
                        judge.look(now(at));
                        judge.round(now(at), Some("no"));
                    }
                    Step::Nothing(seconds) => {
                        for second in at..at + seconds {
                            judge.look(now(second + 1));
                        }
                        at += seconds;
                    }
                }
                let rounds = done.iter().rev().filter(|step| !matches!(step, Step::Nothing(_)));
                let bad = rounds.take_while(|step| **step == Step::Bad).count();
                let silent: u64 = done
                    .iter()
                    .rev()
                    .map_while(|step| if let Step::Nothing(seconds) = step { Some(seconds) } else { None })
                    .sum();
                let verdict = judge.verdict(now(at));
                let failed = bad >= 2 || silent >= 15;
                let doubtful = !failed && (bad == 1 || silent >= 3);
                assert_eq!(matches!(verdict, Verdict::Failed(_)), failed, "{done:?}");
                assert_eq!(verdict == Verdict::Doubtful, doubtful, "{done:?}");
            }
        }
    }

    #[test]
    fn a_server_that_stood_still_does_not_take_its_volumes_for_silent() {
        let zero = Instant::now();
        let at = |seconds: u64| zero + Duration::from_secs(seconds);
        let mut judge = Judge::new(zero);
        judge.round(at(1), None);
        judge.look(at(2));
        judge.look(at(60));
        assert_eq!(judge.verdict(at(60)), Verdict::Good);
        (61..=72).for_each(|second| judge.look(at(second)));
        assert_eq!(judge.verdict(at(72)), Verdict::Doubtful);
        (73..=75).for_each(|second| judge.look(at(second)));
        assert!(matches!(judge.verdict(at(75)), Verdict::Failed(_)));
    }

    #[test]
    fn one_that_takes_nothing_has_failed_whatever_its_rounds_said() {
        let zero = Instant::now();
        let mut judge = Judge::new(zero);
        judge.round(zero, None);
        judge.stopped();
        assert!(matches!(judge.verdict(zero), Verdict::Failed(why) if why.contains("takes nothing")));
    }
}
