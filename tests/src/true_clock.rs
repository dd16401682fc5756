//! The machine's own clock, which nobody may set while a trial judges by it: it is another's, as on a virtual machine that is moved or
//! woken up. A recorder notes such a step as it must, and what the trial expects then is wrong.
//!
//! Must not live here: a clock that a trial sets itself ([`crate::fake_clock`]).

use anyhow::{Result, bail};
use nix::time::{ClockId, clock_gettime};
use std::io::Write;

/// From here on a trial is taken for disturbed, nanoseconds: a little less than what a volume's log of sessions notes as a step.
const STEP_NS: i64 = 100_000_000;
const TRIALS_MAX: usize = 3;

/// How far the wall clock is ahead of the steady one, nanoseconds.
fn ahead_ns() -> Result<i64> {
    let ns = |id| clock_gettime(id).map(|at| at.tv_sec() * 1_000_000_000 + at.tv_nsec());
    Ok(ns(ClockId::CLOCK_REALTIME)? - ns(ClockId::CLOCK_MONOTONIC)?)
}

/// Tries until the machine's clock was left alone meanwhile, or all was well in spite of it.
///
/// # Errors
/// Those of a trial during which nobody set the clock; and where it is set again and again.
pub fn undisturbed(trial: impl FnMut() -> Result<()>) -> Result<()> {
    undisturbed_by(ahead_ns, trial)
}

fn undisturbed_by(
    mut ahead_ns: impl FnMut() -> Result<i64>,
    mut trial: impl FnMut() -> Result<()>,
) -> Result<()> {
    for _ in 0..TRIALS_MAX {
        let before_ns = ahead_ns()?;
        let tried = trial();
        let set_by_ns = ahead_ns()? - before_ns;
        match tried {
            Err(why) if set_by_ns.abs() >= STEP_NS => {
                // Past the test harness, which shows nothing of what passes.
                writeln!(
                    std::io::stderr(),
                    "\ntried again: the machine's clock was set by {set_by_ns} ns: {why:#}"
                )
                .ok();
            }
            tried => return tried,
        }
    }
    bail!("the machine's clock is set again and again")
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::anyhow;

    /// How often it was tried with a clock that is set at these looks, where each trial fails but the one of this number; and what
    /// came of it.
    fn tried(ahead_ns: &[i64], good: usize) -> (usize, Result<()>) {
        let (mut looks, mut trials) = (ahead_ns.iter(), 0);
        let look = || looks.next().copied().ok_or_else(|| anyhow!("looked too often"));
        let outcome = undisturbed_by(look, || {
            trials += 1;
            if trials == good { Ok(()) } else { Err(anyhow!("trial {trials}")) }
        });
        (trials, outcome)
    }

    #[test]
    fn only_a_trial_during_which_the_clock_was_set_is_tried_again() {
        assert!(matches!(tried(&[5, 5], 0), (1, Err(why)) if why.to_string() == "trial 1"));
        assert!(matches!(tried(&[5, 5 - STEP_NS, 7, 7], 2), (2, Ok(()))));
        assert!(matches!(tried(&[5, 5 + STEP_NS, 7, 8], 0), (2, Err(why)) if why.to_string() == "trial 2"));
        assert!(matches!(tried(&[0, 3 * STEP_NS], 1), (1, Ok(()))));
        let steps: Vec<i64> = (0..6).map(|look| look * STEP_NS).collect();
        assert!(
            matches!(tried(&steps, 0), (TRIALS_MAX, Err(why)) if why.to_string().contains("again and again"))
        );
    }

    #[test]
    fn a_clock_that_is_left_alone_keeps_its_distance() {
        let before_ns = ahead_ns().unwrap();
        assert!((ahead_ns().unwrap() - before_ns).abs() < STEP_NS);
    }
}
