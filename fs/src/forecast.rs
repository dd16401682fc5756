//! How long the ring keeps what it has: when the oldest block of each stream is overwritten, if recording goes on as it did in
//! the last day of footage. Pure arithmetic over the block table; a forecast, no promise.

use crate::format::table::Row;
use crate::report::BlockState;
use crate::types::{StreamId, WallTime};
use std::collections::BTreeMap;
use std::time::Duration;

/// How much of the newest footage says how fast blocks are taken.
const WINDOW_NS: i64 = 24 * 3_600_000_000_000;

/// For each stream with footage: how long until its oldest block that may be overwritten is, counted from the newest footage
/// of the volume. `None` where nothing is being recorded, or it will never be (all of it is held).
pub(crate) fn until_overwritten(
    rows: &[Row],
    is_held: impl Fn(&Row) -> bool,
    block_bytes: usize,
) -> BTreeMap<StreamId, Option<Duration>> {
    let blocks_a_second = blocks_a_second(rows, block_bytes);
    let mut free = 0_u32;
    let mut order: Vec<&Row> = Vec::new();
    for row in rows {
        match row.state {
            BlockState::Bad => {}
            _ if row.is_live() && is_held(row) => {}
            _ if row.is_live() => order.push(row),
            _ => free += 1,
        }
    }
    order.sort_by_key(|row| row.rank);
    let mut until: BTreeMap<StreamId, Option<Duration>> =
        rows.iter().filter(|row| row.has_samples()).map(|row| (row.stream, None)).collect();
    for (place, row) in (1..).zip(order).filter(|(_, row)| row.has_samples()) {
        if let Some(until @ None) = until.get_mut(&row.stream) {
            let blocks = f64::from(free) + f64::from(place);
            *until = blocks_a_second.and_then(|rate| Duration::try_from_secs_f64(blocks / rate).ok());
        }
    }
    until
}

/// How many blocks all streams together fill a second, if any; gaps in recording count as they came.
fn blocks_a_second(rows: &[Row], block_bytes: usize) -> Option<f64> {
    let newest = rows.iter().filter(|row| row.has_samples()).map(|row| row.wall_max).max()?;
    let begin = newest.plus_ns(-WINDOW_NS);
    let recent = || rows.iter().filter(|row| row.has_samples() && row.wall_max > begin);
    let oldest = recent().map(|row| row.wall_min.max(begin)).min()?;
    let bytes: f64 = recent().map(|row| f64::from(row.used_bytes) * share_since(row, begin)).sum();
    let seconds = newest.since_ns(oldest) as f64 / 1e9;
    let rate = bytes / block_bytes as f64 / seconds;
    (rate.is_finite() && rate > 0.0).then_some(rate)
}

/// Which share of a block's footage lies behind a moment, if it came evenly.
fn share_since(row: &Row, begin: WallTime) -> f64 {
    let whole = row.wall_max.since_ns(row.wall_min).max(1) as f64;
    let behind = row.wall_max.since_ns(row.wall_min.max(begin)).max(1) as f64;
    (behind / whole).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Sequence, Uuid};

    const S: i64 = 1_000_000_000;

    fn stream(name: u128) -> StreamId {
        StreamId(Uuid::from_u128(name))
    }

    /// A sealed block of ten seconds.
    fn block(name: u128, rank: u64, begin_s: i64) -> Row {
        Row {
            state: BlockState::Sealed,
            stream: stream(name),
            sequence: Sequence(rank),
            rank: Sequence(rank),
            chunks: 1,
            samples: 1,
            used_bytes: 1000,
            wall_min: WallTime(begin_s * S),
            wall_max: WallTime((begin_s + 10) * S),
            ..Row::default()
        }
    }

    fn seconds(rows: &[Row], is_held: impl Fn(&Row) -> bool) -> Vec<Option<u64>> {
        let until = until_overwritten(rows, is_held, 1000);
        until.values().map(|until| until.map(|until| until.as_secs())).collect()
    }

    #[test]
    fn free_blocks_go_first_then_each_in_its_turn() {
        // Two streams, one block each in ten seconds: a block every five.
        let mut rows = vec![block(1, 1, 0), block(2, 2, 0), block(1, 3, 10), block(2, 4, 10)];
        assert_eq!(seconds(&rows, |_| false), [Some(5), Some(10)]);
        rows.push(Row::default());
        assert_eq!(seconds(&rows, |_| false), [Some(10), Some(15)]);
    }

    #[test]
    fn held_and_withdrawn_blocks_are_not_taken() {
        let mut rows = vec![block(1, 1, 0), block(2, 2, 0), block(1, 3, 10), block(2, 4, 10)];
        assert_eq!(seconds(&rows, |row| row.rank.0 == 1), [Some(10), Some(5)]);
        assert_eq!(seconds(&rows, |row| row.stream == stream(1)), [None, Some(5)]);
        rows[1].state = BlockState::Bad;
        assert_eq!(seconds(&rows, |_| false), [Some(5), Some(15)]);
    }

    #[test]
    fn only_the_last_day_tells_how_fast() {
        let day = 24 * 3600;
        // A burst long ago does not count; in the last day it was one block an hour.
        let mut rows: Vec<Row> = (0..10).map(|rank| block(1, 1 + rank, 10 * rank as i64)).collect();
        rows.extend((0..24).map(|hour| block(1, 20 + hour, 10 * day + 3600 * hour as i64)));
        let until = seconds(&rows, |_| false)[0].expect("it is recorded");
        assert!((3300..3600).contains(&until), "{until}");
    }

    #[test]
    fn without_footage_there_is_nothing_to_say() {
        assert_eq!(seconds(&[], |_| false), []);
        assert_eq!(seconds(&[Row::default()], |_| false), []);
        let still = Row { wall_max: WallTime(0), ..block(1, 1, 0) };
        assert_eq!(seconds(&[still], |_| false), [None]);
        let mad = Row { wall_min: WallTime::MIN, wall_max: WallTime::MAX, ..block(1, 1, 0) };
        assert!(seconds(&[mad], |_| false)[0].is_some());
    }
}
