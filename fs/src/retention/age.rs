//! Ages, and what may be believed of clocks.
//!
//! Two clocks are at hand. The volume's *running time* only grows, and stands still while nobody writes: by it, what was written
//! is never older than it really is. The *wall clock* knows of the time in between, and may be anything: 1970 with an empty
//! battery, ten years ahead by a typing error, a day behind until the network is there.
//!
//! So the wall clock is believed only in what it has said for an hour of running time without falling back, and only while the
//! kernel says that it is synchronised: the [`ClockWatch`] keeps a *mark*, a reading that has not been undercut since. A mark of
//! one hour becomes the *trusted* moment: no later moment is acted on. What follows from it:
//!
//! | the clock | minimum age | overwriting past the maximum age |
//! |---|---|---|
//! | right | as asked; after the volume was shut, an hour later than asked | an hour or two later than asked |
//! | 1970, or -1 day | by running time: at most as long as asked, plus the time it was shut | waits until the clock has caught up |
//! | +10 years, less than an hour | as asked | as asked |
//! | +10 years, synchronised, for hours | none: the plain ring | everything: the clock was believed after an hour |
//! | not synchronised | by running time | waits |
//!
//! No block is young for ever, since its running age grows whatever the wall clock says; none is overwritten on the word of a
//! jump.

use crate::types::WallTime;

/// For how long the clock must have said something before it is acted on, in seconds of running time.
const HOUR_S: u64 = 3600;

/// What is believed of the wall clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ClockWatch {
    /// A reading of the synchronised clock that it has not fallen behind since, and the running time then, in seconds.
    pub(crate) mark: Option<(WallTime, u64)>,
    /// The latest moment that is believed to be past.
    pub(crate) trusted: Option<WallTime>,
}

impl ClockWatch {
    /// What is believed after another look at the clock. `running_s` is the volume's running time in seconds.
    pub(crate) fn look(self, now: WallTime, running_s: u64, synchronised: bool) -> ClockWatch {
        let here = Some((now, running_s));
        match self.mark {
            _ if !synchronised => ClockWatch::default(),
            Some((mark, since)) if now >= mark && running_s >= since => {
                if running_s - since < HOUR_S {
                    return self;
                }
                ClockWatch { mark: here, trusted: Some(mark) }
            }
            _ => ClockWatch { mark: here, trusted: self.trusted.filter(|trusted| *trusted <= now) },
        }
    }
}

/// When a block was last written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    /// The latest moment in it.
    pub(crate) wall: WallTime,
    /// The volume's running time then, in seconds.
    pub(crate) running_s: u64,
}

/// Whether a block is younger than its stream's minimum age (seconds, 0 = none).
pub(crate) fn is_young(
    minimum_age_s: u64,
    written: Written,
    running_s: u64,
    trusted: Option<WallTime>,
) -> bool {
    let by_running_time = running_s.saturating_sub(written.running_s) < minimum_age_s;
    let ends = written.wall.plus(std::time::Duration::from_secs(minimum_age_s));
    by_running_time && trusted.is_none_or(|trusted| trusted < ends) && !planted!(MinimumAgeIgnored)
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1_000_000_000;

    fn at(seconds: i64) -> WallTime {
        WallTime(seconds * S)
    }

    /// What is believed after looks of (wall seconds, running seconds, synchronised).
    fn believed(looks: &[(i64, u64, bool)]) -> Option<i64> {
        let watch = looks.iter().fold(ClockWatch::default(), |watch, (wall, running_s, synchronised)| {
            watch.look(at(*wall), *running_s, *synchronised)
        });
        watch.trusted.map(|trusted| trusted.0 / S)
    }

    #[test]
    fn a_clock_is_believed_in_what_it_has_said_for_an_hour() {
        assert_eq!(believed(&[(1000, 0, true), (4599, 3599, true)]), None);
        assert_eq!(believed(&[(1000, 0, true), (4600, 3600, true)]), Some(1000));
        assert_eq!(believed(&[(1000, 0, true), (4600, 3600, true), (8199, 7199, true)]), Some(1000));
        assert_eq!(believed(&[(1000, 0, true), (4600, 3600, true), (8200, 7200, true)]), Some(4600));
    }

    #[test]
    fn a_clock_that_is_not_synchronised_is_not_believed_for_an_hour_more() {
        assert_eq!(believed(&[(1000, 0, false), (9000, 8000, false)]), None);
        assert_eq!(believed(&[(1000, 0, true), (4600, 3600, true), (4700, 3700, false)]), None);
        assert_eq!(believed(&[(1000, 0, true), (2000, 1000, false), (4700, 3700, true)]), None);
        assert_eq!(believed(&[(1000, 0, false), (2000, 1000, true), (5600, 4600, true)]), Some(2000));
    }

    #[test]
    fn a_jump_is_acted_on_only_after_an_hour_and_a_fall_takes_back_what_was_believed() {
        let ten_years = 315_360_000;
        // Ahead, and back within the hour.
        let jump = [(1000, 0, true), (ten_years, 1800, true), (3000, 2000, true), (4601, 3601, true)];
        assert_eq!(believed(&jump), Some(1000));
        // Ahead for good.
        let stays = [(1000, 0, true), (ten_years, 3600, true), (ten_years + 3600, 7200, true)];
        assert_eq!((believed(&stays[..2]), believed(&stays)), (Some(1000), Some(ten_years)));
        // A day back.
        let back = [(200_000, 0, true), (203_600, 3600, true), (117_200, 3601, true), (120_900, 7300, true)];
        assert_eq!(
            (believed(&back[..2]), believed(&back[..3]), believed(&back)),
            (Some(200_000), None, Some(117_200))
        );
        // A fall to a moment that was already believed to be past changes nothing that was.
        let little = [(1000, 0, true), (9000, 3600, true), (8999, 3601, true)];
        assert_eq!(believed(&little), Some(1000));
    }

    #[test]
    fn a_block_is_young_while_both_clocks_say_so() {
        let written = Written { wall: at(1000), running_s: 500 };
        for (running_s, trusted, young) in [
            (500, None, true),
            (599, None, true),
            (600, None, false),
            (400, None, true),
            // The volume was shut for long.
            (510, Some(1100), false),
            (510, Some(1099), true),
            // 1970 makes nothing younger than its running time says.
            (600, Some(0), false),
            (510, Some(0), true),
        ] {
            let trusted = trusted.map(at);
            assert_eq!(is_young(100, written, running_s, trusted), young, "{running_s} {trusted:?}");
        }
        assert!(!is_young(0, written, 500, None));
    }
}
