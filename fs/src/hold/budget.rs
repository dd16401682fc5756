//! How much may be held: all but `3 x streams + 2` blocks, so that recording always goes on.

use super::lifetime::seconds_between;
use super::{Hold, HoldRoom};
use crate::format::table::Row;
use crate::report::{BlockState, TimeRange};
use crate::types::WallTime;

/// Of how many of a stream's newest blocks its bit rate is taken.
const RATE_BLOCKS: usize = 16;

/// What a volume has, and what each hold covers of it.
pub(crate) struct Use<'a> {
    /// Blocks of the volume.
    pub(crate) blocks: u32,
    /// Those withdrawn after write errors.
    pub(crate) bad: u32,
    /// Streams of the volume.
    pub(crate) streams: usize,
    /// Places for holds.
    pub(crate) holds_max: u32,
    /// Blocks that any hold covers, withdrawn ones left out.
    pub(crate) held: u32,
    /// Each hold with the number of blocks that it covers.
    pub(crate) holds: Vec<(&'a Hold, u32)>,
}

/// How much is held, and how much may be.
pub(crate) fn room(of: &Use<'_>) -> HoldRoom {
    let streams = u32::try_from(of.streams).unwrap_or(u32::MAX);
    let needed = streams.saturating_mul(3).saturating_add(2).saturating_add(of.bad);
    let count = |what: fn(&Hold) -> bool| of.holds.iter().filter(|(hold, _)| what(hold)).count() as u32;
    let to_come = of.holds.iter().map(|(hold, covered)| still_to_come(hold, *covered));
    HoldRoom {
        blocks_max: of.blocks.saturating_sub(needed),
        held_blocks: of.held,
        reserved_blocks: to_come.fold(0, u32::saturating_add),
        holds: count(|hold| !hold.lost),
        holds_max: of.holds_max,
        lost: count(|hold| hold.lost),
        cut_short: count(|hold| hold.cut_short),
    }
}

fn still_to_come(hold: &Hold, covered: u32) -> u32 {
    if hold.growing { hold.reserved_blocks.saturating_sub(covered) } else { 0 }
}

/// How many blocks the rest of a range will take, at the bit rate of the stream's newest blocks. `rows` are its live ones in
/// the order of recording.
pub(crate) fn reserve(rows: &[&Row], range: TimeRange, now: WallTime, block_bytes: usize) -> u32 {
    let begin = range.from.unwrap_or(now).max(now);
    let rest_s = seconds_between(begin, range.to.unwrap_or(begin));
    if rest_s == 0 {
        return 1;
    }
    let newest = || {
        rows.iter().rev().take(RATE_BLOCKS).filter(|row| row.has_samples() && row.state != BlockState::Bad)
    };
    let bytes: u64 = newest().map(|row| u64::from(row.used_bytes)).sum();
    // Block by block: what lies between two runs is no recording time.
    let span_ns: u128 =
        newest().map(|row| u128::try_from(row.wall_max.since_ns(row.wall_min)).unwrap_or(0)).sum();
    let rest_bytes = u128::from(rest_s) * 1_000_000_000 * u128::from(bytes) / span_ns.max(1_000_000_000);
    u32::try_from(rest_bytes.div_ceil(block_bytes as u128)).unwrap_or(u32::MAX).saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1_000_000_000;

    fn of<'a>(holds: Vec<(&'a Hold, u32)>, held: u32) -> Use<'a> {
        Use { blocks: 100, bad: 3, streams: 4, holds_max: 16, held, holds }
    }

    #[test]
    fn all_but_three_blocks_a_stream_and_two_may_be_held() {
        let room = room(&of(Vec::new(), 0));
        assert_eq!((room.blocks_max, room.held_blocks, room.reserved_blocks), (100 - 3 - 14, 0, 0));
        assert!(!room.is_tight());
    }

    #[test]
    fn what_is_still_to_be_recorded_is_counted_until_it_is() {
        let growing = Hold { growing: true, reserved_blocks: 30, ..Hold::default() };
        let whole = Hold { reserved_blocks: 30, ..Hold::default() };
        assert_eq!(room(&of(vec![(&growing, 10), (&whole, 5)], 15)).reserved_blocks, 20);
        assert_eq!(room(&of(vec![(&growing, 31)], 31)).reserved_blocks, 0);
    }

    #[test]
    fn a_volume_says_early_that_little_is_left() {
        assert!(!room(&of(Vec::new(), 62)).is_tight());
        assert!(room(&of(Vec::new(), 63)).is_tight());
        let hold = Hold::default();
        assert!(room(&of(vec![(&hold, 0); 13], 1)).is_tight());
    }

    #[test]
    fn room_is_set_aside_by_the_bit_rate_of_the_newest_blocks() {
        let row = Row {
            state: BlockState::Sealed,
            chunks: 1,
            samples: 1,
            used_bytes: 1000,
            wall_min: WallTime(0),
            wall_max: WallTime(10 * S),
            ..Row::default()
        };
        let range = |from, to| TimeRange { from: Some(WallTime(from * S)), to: Some(WallTime(to * S)) };
        // 100 bytes a second.
        assert_eq!(reserve(&[&row, &row], range(0, 200), WallTime(100 * S), 1000), 11);
        assert_eq!(reserve(&[&row, &row], range(150, 200), WallTime(100 * S), 1000), 6);
        assert_eq!(reserve(&[&row, &row], range(0, 50), WallTime(100 * S), 1000), 1);
        assert_eq!(reserve(&[], range(0, 200), WallTime(100 * S), 1000), 1);
        let far = TimeRange { from: None, to: Some(WallTime::MAX) };
        assert!(reserve(&[&row], far, WallTime(0), 1000) > 1_000_000);
    }
}
