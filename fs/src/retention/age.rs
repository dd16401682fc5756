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
//!
//! Of a *maximum age* there are two sides. What is past it by the wall clock, as it stands, is given to nobody while that says so:
//! [`is_past`]. It is overwritten when the trusted moment says so too: [`is_over`]. Footage stamped before its volume was made was
//! recorded under a wrong clock, or copied; how old it is only the running time tells, so it goes by that.

use crate::format::table::Row;
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
        if planted!(ClockBelievedAtOnce) && synchronised {
            return ClockWatch { mark: here, trusted: Some(now) };
        }
        match self.mark {
            _ if !synchronised && !planted!(ExpiredWithoutSync) => ClockWatch::default(),
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

/// What is known of the time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ages {
    /// How long the volume has been open for writing, in seconds.
    pub(crate) running_s: u64,
    /// The latest moment that is believed to be past.
    pub(crate) trusted: Option<WallTime>,
}

/// The moment before which footage is past its stream's maximum age (seconds, 0 = none), when a clock says `now`.
pub(crate) fn past_before(maximum_age_s: u64, now: WallTime) -> Option<WallTime> {
    let age_ns = i64::try_from(maximum_age_s).unwrap_or(i64::MAX).saturating_mul(1_000_000_000);
    (maximum_age_s > 0).then(|| now.plus_ns(-age_ns))
}

/// Whether footage of a moment is past its stream's maximum age (seconds, 0 = none), when a clock says `now`.
pub(crate) fn is_past(maximum_age_s: u64, moment: WallTime, now: WallTime) -> bool {
    past_before(maximum_age_s, now).is_some_and(|before| moment < before)
}

/// A stream's maximum age, and what is known of the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limit {
    /// In seconds.
    pub(crate) maximum_age_s: u64,
    /// What the clocks say.
    pub(crate) ages: Ages,
    /// When the volume was made.
    pub(crate) made: WallTime,
}

/// Whether footage of which `written` is the latest moment may be overwritten in place.
pub(crate) fn is_over(written: Written, limit: &Limit) -> bool {
    let Some(trusted) = limit.ages.trusted else { return false };
    let ran_s = limit.ages.running_s.saturating_sub(written.running_s);
    let plausible = written.wall >= limit.made || ran_s > limit.maximum_age_s;
    is_past(limit.maximum_age_s, written.wall, trusted) && plausible
}

/// For how long after its time a part of a block may stand, in seconds, so that it need not be overwritten chunk by chunk.
const SLACK_S: u64 = 3600;

/// Whether a block is worth overwriting: all of it is over, or a part has been for an hour.
pub(crate) fn is_due(row: &Row, limit: &Limit) -> bool {
    let written = |wall| Written { wall, running_s: row.running_s };
    let slack = Limit { maximum_age_s: limit.maximum_age_s.saturating_add(SLACK_S), ..*limit };
    let has_footage = row.is_live() && row.payload_bytes > 0;
    has_footage && (is_over(written(row.wall_max), limit) || is_over(written(row.wall_min), &slack))
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

    #[test]
    fn footage_is_past_its_maximum_age_while_the_clock_says_so_and_not_before() {
        for (maximum_age_s, moment, now, past) in [
            (0, 0, i64::MAX / S, false),
            (100, 1000, 1100, false),
            (100, 1000, 1101, true),
            (100, 1000, 1000, false),
            // A clock that fell back takes it back.
            (100, 1000, 0, false),
            (100, 1000, 315_360_000, true),
        ] {
            assert_eq!(is_past(maximum_age_s, at(moment), at(now)), past, "{maximum_age_s} {moment} {now}");
        }
        assert!(!is_past(u64::MAX, WallTime(0), WallTime::MAX));
        assert!(is_past(1, WallTime::MIN, at(0)) && !is_past(1, WallTime::MAX, at(0)));
    }

    #[test]
    fn footage_is_overwritten_on_the_word_of_a_trusted_clock_alone() {
        for (wall, written_s, running_s, trusted, over) in [
            (1000, 0, 900, None, false),
            (1000, 0, 900, Some(1100), false),
            (1000, 0, 0, Some(1101), true),
            (1000, 0, 900, Some(0), false),
            // Recorded under a clock of 1970, in a volume made at 500: as old as it ran.
            (10, 0, 100, Some(1101), false),
            (10, 0, 101, Some(1101), true),
            (10, 300, 350, Some(1101), false),
            (500, 300, 300, Some(1101), true),
        ] {
            let ages = Ages { running_s, trusted: trusted.map(at) };
            let limit = Limit { maximum_age_s: 100, ages, made: at(500) };
            let written = Written { wall: at(wall), running_s: written_s };
            assert_eq!(is_over(written, &limit), over, "{wall} {written_s} {running_s} {trusted:?}");
        }
    }

    #[test]
    fn a_block_is_due_when_all_of_it_is_over_or_a_part_has_been_for_an_hour() {
        let row = |state, from, to| Row {
            state,
            chunks: 3,
            payload_bytes: 9,
            wall_min: at(from),
            wall_max: at(to),
            ..Row::default()
        };
        let ages = Ages { running_s: 0, trusted: Some(at(10_000)) };
        let limit = Limit { maximum_age_s: 100, ages, made: at(0) };
        use crate::report::BlockState::{Erased, Sealed};
        for (state, from, to, due) in [
            (Sealed, 9000, 9899, true),
            (Sealed, 9000, 9900, false),
            (Sealed, 6299, 9999, true),
            (Sealed, 6300, 9999, false),
            (Erased, 0, 1, false),
        ] {
            assert_eq!(is_due(&row(state, from, to), &limit), due, "{state:?} {from} {to}");
        }
    }
}
