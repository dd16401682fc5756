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
//! | 1970, or -1 day | by running time: at most as long as asked, plus the time it was shut | by running time, or once the clock has caught up |
//! | +10 years, less than an hour | as asked | as asked |
//! | +10 years, synchronised, for hours | none: the plain ring | everything: the clock was believed after an hour |
//! | not synchronised | by running time | by running time |
//!
//! No block is young for ever, since its running age grows whatever the wall clock says; none is overwritten on the word of a
//! jump.
//!
//! Of a *maximum age* there are two sides: what is past it by the wall clock of who reads is given to nobody while that says so, and
//! what is past it by the trusted moment is overwritten. Both are decided by one function, [`over`]. It believes what a block says of
//! the time it was recorded at only where a synchronised clock vouched for it ([`vouched`]), so that what was recorded under a wrong
//! clock is no day early:
//!
//! | the block | is past its age |
//! |---|---|
//! | written longer ago than the age, by running time | whatever any clock says |
//! | vouched for, and not in the future | by its stamps, but never before what was recorded earlier |
//! | any other, behind which one is vouched for: clock not synchronised, copied, years ahead | with the first such block |
//! | any other, the last ones | by running time; for who reads a volume that knows of no synchronised clock: by its stamps |
//!
//! So nothing is overwritten early but by a synchronised clock that was ahead when asked, and late is bounded by running time. Where
//! no clock was ever synchronised, readers have nothing but the stamps, and what they hide they give again.

use crate::clock::{Clock, ClockSync};
use crate::format::table::{CLOCKED, Row};
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

/// A stream's maximum age, and what is known of the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limit {
    /// In seconds.
    pub(crate) maximum_age_s: u64,
    /// What a clock says: that of who reads, or before it is overwritten the trusted moment.
    pub(crate) now: Option<WallTime>,
    /// How long the volume has been open for writing, in seconds.
    pub(crate) running_s: u64,
    /// Whether stamps are believed that nothing contradicts: for who reads, and where the volume knows of no synchronised clock.
    /// What is hidden is given again; what is overwritten is not.
    pub(crate) by_stamps: bool,
}

/// What of a block is past its stream's maximum age.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Over {
    /// Nothing that anyone knows of.
    #[default]
    Nothing,
    /// What was recorded before this moment.
    Before(WallTime),
    /// All of it.
    All,
}

/// Whether a synchronised clock vouches for the moments of footage that is written now: it says about the same.
pub(crate) fn vouched(clock: &dyn Clock, from: WallTime, to: WallTime) -> bool {
    // Less than the day by which clocks are commonly wrong.
    const NEAR_NS: u64 = 12 * 3600 * 1_000_000_000;
    let now = clock.wall();
    let near = |moment: WallTime| moment.0.abs_diff(now.0) <= NEAR_NS;
    matches!(clock.sync(), ClockSync::Synchronised { .. }) && near(from) && near(to)
}

/// Whether the moments in a block prove when it was recorded: a synchronised clock vouched for all of them, and none is to come.
fn is_proven(row: &Row, limit: &Limit) -> bool {
    let vouched = row.flags & CLOCKED != 0 || planted!(StampsBelieved);
    let possible = limit.now.is_some_and(|now| row.wall_max <= now);
    has_footage(row) && vouched && possible
}

fn has_footage(row: &Row) -> bool {
    row.is_live() && row.payload_bytes > 0
}

/// What of each block of a stream is past its maximum age; the blocks in the order of recording. The one place where that is
/// decided, for readers and for what is overwritten.
pub(crate) fn over(rows: &[&Row], limit: &Limit) -> Vec<Over> {
    let before = limit.now.and_then(|now| past_before(limit.maximum_age_s, now));
    let ran = |row: &Row| {
        let ran_s = limit.running_s.saturating_sub(row.running_s);
        limit.maximum_age_s > 0 && ran_s > limit.maximum_age_s && !planted!(RunningAgeIgnored)
    };
    // True time only grows: what was recorded later is no older.
    let mut floor = WallTime::MIN;
    let mut all: Vec<Over> = Vec::with_capacity(rows.len());
    let mut stamps: Vec<Over> = Vec::with_capacity(rows.len());
    for row in rows {
        let proven = is_proven(row, limit);
        all.push(match before {
            _ if !has_footage(row) => Over::Nothing,
            _ if ran(row) => Over::All,
            Some(before) if proven && (floor < before || planted!(StampsBelieved)) => Over::Before(before),
            _ => Over::Nothing,
        });
        stamps.push(match (before, limit.now) {
            (Some(before), Some(now)) if limit.by_stamps && floor < before && row.wall_max <= now => {
                Over::Before(before)
            }
            _ => Over::Nothing,
        });
        if proven {
            floor = floor.max(row.wall_max);
        }
    }
    // What nothing proves is older than what was recorded behind it.
    let (mut behind, mut contradicted) = (false, false);
    for ((row, over), stamps) in rows.iter().zip(&mut all).zip(stamps).rev() {
        let proven = is_proven(row, limit);
        match *over {
            Over::Before(before) => behind |= row.wall_min < before,
            Over::Nothing if proven || !has_footage(row) => {}
            Over::Nothing if behind => *over = Over::All,
            Over::Nothing if !contradicted => *over = stamps,
            Over::Nothing | Over::All => {}
        }
        contradicted |= proven;
    }
    all
}

impl Over {
    /// Whether footage of a moment is.
    pub(crate) fn takes(self, moment: WallTime) -> bool {
        match self {
            Over::Nothing => false,
            Over::Before(before) => moment < before,
            Over::All => true,
        }
    }
}

/// For how long after its time a part of a block may stand, in nanoseconds, so that it need not be overwritten chunk by chunk.
const SLACK_NS: i64 = 3600 * 1_000_000_000;

/// Whether a block is worth overwriting: all of it is over, or a part has been for an hour.
pub(crate) fn is_due(row: &Row, over: Over) -> bool {
    has_footage(row) && (over.takes(row.wall_max) || over.takes(row.wall_min.plus_ns(SLACK_NS)))
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

    /// A block: from, to (wall seconds), written at (running seconds), vouched for.
    fn block((from, to, running_s, clocked): (i64, i64, u64, bool)) -> Row {
        Row {
            state: crate::report::BlockState::Sealed,
            chunks: 3,
            payload_bytes: 9,
            wall_min: at(from),
            wall_max: at(to),
            running_s,
            flags: if clocked { CLOCKED } else { 0 },
            ..Row::default()
        }
    }

    /// What of blocks is over at an age of 100 s: `-` nothing, `p` what is before, `a` all.
    fn ruled(now: Option<i64>, running_s: u64, blocks: &[(i64, i64, u64, bool)]) -> String {
        ruled_for(false, now, running_s, blocks)
    }

    /// The same, for who reads.
    fn ruled_for(
        by_stamps: bool,
        now: Option<i64>,
        running_s: u64,
        blocks: &[(i64, i64, u64, bool)],
    ) -> String {
        let rows: Vec<Row> = blocks.iter().copied().map(block).collect();
        let limit = Limit { maximum_age_s: 100, now: now.map(at), running_s, by_stamps };
        let letter = |one: &Over| match one {
            Over::Nothing => '-',
            Over::Before(before) if Some(*before) == now.map(|now| at(now - 100)) => 'p',
            Over::Before(_) => '?',
            Over::All => 'a',
        };
        over(&rows.iter().collect::<Vec<_>>(), &limit).iter().map(letter).collect()
    }

    #[test]
    fn moments_prove_an_age_only_where_a_synchronised_clock_vouched_for_them() {
        let block = |clocked| [(1000, 1010, 5, clocked)];
        assert_eq!(ruled(Some(5000), 6, &block(true)), "p");
        assert_eq!(ruled(Some(5000), 6, &block(false)), "-");
        assert_eq!(ruled(None, 6, &block(true)), "-");
        // By running time whatever any clock says.
        for now in [None, Some(0), Some(1005), Some(5000)] {
            assert_eq!(ruled(now, 106, &block(false)), "a", "{now:?}");
            assert_eq!(ruled(now, 106, &block(true)), "a", "{now:?}");
        }
        assert_eq!(ruled(Some(1005), 105, &block(false)), "-");
        // To come.
        assert_eq!(ruled(Some(5000), 6, &[(1000, 5001, 5, true)]), "-");
    }

    #[test]
    fn what_is_stamped_early_is_no_older_than_what_came_before_it_and_no_younger_than_what_came_behind() {
        // A night under a clock that was 40 days behind, then the clock is set.
        let night = [(900, 950, 1, true), (910, 960, 2, false), (5000, 5010, 3, true)];
        assert_eq!(ruled(Some(5020), 4, &night), "p-p");
        // It ends with the first block behind it that is proven.
        assert_eq!(ruled(Some(5105), 5, &night), "pap");
        // A synchronised clock that fell back: no older than what came before.
        assert_eq!(ruled(Some(5050), 4, &[(4990, 5000, 1, true), (800, 900, 2, true)]), "p-");
        // One that was years ahead spoils nothing behind it, and ends with that.
        let ahead = [(90_000, 90_010, 1, true), (4000, 4010, 2, true)];
        assert_eq!(ruled(Some(4050), 3, &ahead), "-p");
        assert_eq!(ruled(Some(4200), 3, &ahead), "ap");
    }

    #[test]
    fn who_reads_goes_by_stamps_that_nothing_contradicts() {
        let never = [(900, 950, 1, false), (1000, 1010, 2, false)];
        assert_eq!(ruled_for(true, Some(1105), 3, &never), "pp");
        assert_eq!(ruled_for(false, Some(1105), 3, &never), "--");
        // To come, or after what is not past its age.
        assert_eq!(ruled_for(true, Some(1005), 3, &never), "p-");
        let night = [(4990, 5000, 1, true), (910, 960, 2, false)];
        assert_eq!(ruled_for(true, Some(5050), 3, &night), "p-");
        // A synchronised clock behind it says when it was, at the latest.
        let set = [(900, 950, 1, true), (910, 960, 2, false), (5000, 5010, 3, true)];
        assert_eq!(ruled_for(true, Some(5020), 4, &set), "p-p");
        assert_eq!(ruled_for(true, Some(5105), 4, &set), "pap");
    }

    #[test]
    fn no_age_is_no_end() {
        let limit =
            Limit { maximum_age_s: 0, now: Some(WallTime::MAX), running_s: u64::MAX, by_stamps: true };
        assert_eq!(over(&[&block((0, 1, 0, true))], &limit), [Over::Nothing]);
        assert_eq!(past_before(0, WallTime::MAX), None);
        assert_eq!(past_before(u64::MAX, WallTime(0)), Some(WallTime(-i64::MAX)));
    }

    #[test]
    fn a_clock_vouches_while_it_is_synchronised_for_what_is_near_to_it() {
        use crate::clock::SimClock;
        use std::time::Duration;
        let clock = SimClock::new(at(1_000_000));
        assert!(!vouched(&clock, at(1_000_000), at(1_000_001)));
        clock.set_sync(ClockSync::Synchronised { error_max: Duration::ZERO });
        assert!(vouched(&clock, at(1_000_000), at(1_000_001)));
        assert!(!vouched(&clock, at(1_000_000 - 86_400), at(1_000_000)));
        assert!(!vouched(&clock, at(1_000_000), at(1_000_000 + 86_400)));
        assert!(!vouched(&clock, WallTime::MIN, WallTime::MAX));
    }

    #[test]
    fn a_block_is_due_when_all_of_it_is_over_or_a_part_has_been_for_an_hour() {
        let before = Over::Before(at(9900));
        for (from, to, over, due) in [
            (9000, 9899, before, true),
            (9000, 9900, before, false),
            (6299, 9999, before, true),
            (6300, 9999, before, false),
            (9999, 9999, Over::All, true),
            (0, 1, Over::Nothing, false),
        ] {
            assert_eq!(is_due(&block((from, to, 0, true)), over), due, "{from} {to}");
        }
        let erased = Row { state: crate::report::BlockState::Erased, ..block((0, 1, 0, true)) };
        assert!(!is_due(&erased, Over::All));
    }
}
