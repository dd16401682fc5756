//! How long the ring keeps what it has: when the oldest block of each stream is overwritten, if recording goes on as it did in
//! the last day that the volume was open for writing. Pure arithmetic over the block table; a forecast, no promise: what ages
//! and holds to come will spare is not known.

use crate::format::table::Row;
use crate::recover::{Page, Rows};
use crate::report::BlockState;
use crate::types::{Sequence, StreamId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// How much of the newest footage says how fast blocks are taken, in seconds of the volume's running time: no clock that was
/// set wrong can stretch it.
const WINDOW_S: u64 = 24 * 3600;

/// For each stream with footage: how long until its oldest block that may be overwritten is, counted from the newest footage
/// of the volume; `quota_blocks` says which has a quota. `None` where nothing is being recorded, or it will never be (all of it
/// is held).
pub(crate) fn until_overwritten(
    rows: &Rows,
    is_held: impl Fn(&Row) -> bool,
    quota_blocks: impl Fn(StreamId) -> Option<u32>,
    block_bytes: usize,
) -> BTreeMap<StreamId, Option<Duration>> {
    let pace = Pace::of(rows);
    // Of pages with held rows the order is another than that which they keep.
    let turns = |page: &Arc<Page>| match page.rows().iter().any(&is_held) {
        true => Err(Turns::of(page.rows(), &is_held)),
        false => Ok(Arc::clone(page)),
    };
    let pages: Vec<Result<Arc<Page>, Turns>> = rows.pages().map(|(_, page)| turns(page)).collect();
    let pages: Vec<&Turns> =
        pages.iter().map(|page| page.as_ref().map_or_else(|turns| turns, |page| page.turns())).collect();
    let free: u64 = pages.iter().map(|page| page.free).sum();
    let mut own: BTreeMap<StreamId, u32> = BTreeMap::new();
    let mut first: BTreeMap<StreamId, (Sequence, usize, u64)> = BTreeMap::new();
    for (at, page) in pages.iter().enumerate() {
        for (stream, turn) in &page.streams {
            let mine = own.entry(*stream).or_default();
            *mine = mine.saturating_add(turn.blocks);
            if let Some((rank, before)) = turn.first
                && first.get(stream).is_none_or(|(lowest, ..)| rank < *lowest)
            {
                first.insert(*stream, (rank, at, before));
            }
        }
    }
    let after = |blocks: f64, bytes: f64| {
        let seconds = blocks * block_bytes as f64 / (bytes / pace.seconds);
        Duration::try_from_secs_f64(seconds).ok().filter(|_| seconds > 0.0)
    };
    let until = |stream: StreamId| {
        let (rank, page, before) = *first.get(&stream)?;
        // Of blocks of the same rank those that come first on the disk go first.
        let (earlier, later) = pages.split_at_checked(page)?;
        let earlier: usize =
            earlier.iter().map(|page| page.ranks.partition_point(|other| *other <= rank)).sum();
        let later = later.iter().skip(1).map(|page| page.ranks.partition_point(|other| *other < rank));
        let place = (earlier + later.sum::<usize>()) as f64 + before as f64 + 1.0;
        let in_turn = after(free as f64 + place, pace.bytes.values().sum());
        // Over its quota a stream loses its own oldest block for each that it takes.
        let of_its_own = quota_blocks(stream).and_then(|quota| {
            let over = quota.saturating_add(1).saturating_sub(own.get(&stream).copied().unwrap_or(0));
            let blocks = over.saturating_add(1);
            after(f64::from(blocks), pace.bytes.get(&stream).copied()?)
        });
        in_turn.into_iter().chain(of_its_own).min()
    };
    pace.streams.iter().map(|stream| (*stream, until(*stream))).collect()
}

/// In which order the blocks of some rows are overwritten.
#[derive(Clone, Debug, Default)]
pub(crate) struct Turns {
    /// How many are free.
    free: u64,
    /// The ranks of those that may be overwritten, in their order.
    ranks: Vec<Sequence>,
    streams: BTreeMap<StreamId, Turn>,
}

/// That of a stream's.
#[derive(Clone, Copy, Debug, Default)]
struct Turn {
    /// How many may be overwritten.
    blocks: u32,
    /// The rank of the first one with samples, and how many of these rows go before it.
    first: Option<(Sequence, u64)>,
}

impl Turns {
    /// That of these rows, but for what is held.
    pub(crate) fn of(rows: &[Row], is_held: impl Fn(&Row) -> bool) -> Turns {
        let mut turns = Turns::default();
        let mut order: Vec<&Row> = Vec::new();
        for row in rows {
            match row.state {
                BlockState::Bad => {}
                _ if row.is_live() && is_held(row) => {}
                _ if row.is_live() => order.push(row),
                _ => turns.free += 1,
            }
        }
        order.sort_by_key(|row| row.rank);
        for (before, row) in (0..).zip(&order) {
            let turn = turns.streams.entry(row.stream).or_default();
            turn.blocks += 1;
            if row.has_samples() && turn.first.is_none() {
                turn.first = Some((row.rank, before));
            }
        }
        turns.ranks = order.iter().map(|row| row.rank).collect();
        turns
    }
}

/// What each stream wrote lately.
struct Pace {
    bytes: BTreeMap<StreamId, f64>,
    /// In how much running time; nothing is known of less than a second.
    seconds: f64,
    /// All that have samples.
    streams: BTreeSet<StreamId>,
}

impl Pace {
    fn of(rows: &Rows) -> Pace {
        let mut streams = BTreeSet::new();
        let mut newest = 0;
        for total in rows.pages().flat_map(|(_, page)| &page.totals().0) {
            if total.1.wall.is_some() {
                streams.insert(*total.0);
            }
            newest = newest.max(total.1.running_s);
        }
        let begin = newest.saturating_sub(WINDOW_S);
        let lately = |page: &Arc<Page>| page.totals().0.values().any(|total| total.running_s >= begin);
        let pages = rows.pages().filter(|(_, page)| lately(page));
        let written = pages.flat_map(|(_, page)| page.rows()).filter(|row| row.has_samples());
        let mut bytes: BTreeMap<StreamId, f64> = BTreeMap::new();
        let mut oldest = newest;
        for row in written.filter(|row| row.running_s >= begin) {
            // A row tells when its block was last written: what it holds came evenly in the time before.
            let length_s = u64::try_from(row.wall_max.since_ns(row.wall_min)).unwrap_or(0) / 1_000_000_000;
            let first = row.running_s.saturating_sub(length_s.min(WINDOW_S));
            let within = (row.running_s - first.max(begin)) as f64 / (row.running_s - first).max(1) as f64;
            let share = if first >= begin { 1.0 } else { within };
            *bytes.entry(row.stream).or_default() += f64::from(row.used_bytes) * share;
            oldest = oldest.min(first.max(begin));
        }
        Pace { bytes, seconds: (newest - oldest) as f64, streams }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Uuid, WallTime};

    const S: i64 = 1_000_000_000;

    fn stream(name: u128) -> StreamId {
        StreamId(Uuid::from_u128(name))
    }

    /// A sealed block of ten seconds.
    fn block(name: u128, rank: u64, begin_s: u64) -> Row {
        Row {
            state: BlockState::Sealed,
            stream: stream(name),
            sequence: Sequence(rank),
            rank: Sequence(rank),
            chunks: 1,
            samples: 1,
            used_bytes: 1000,
            wall_min: WallTime(begin_s as i64 * S),
            wall_max: WallTime((begin_s as i64 + 10) * S),
            running_s: begin_s + 10,
            ..Row::default()
        }
    }

    fn seconds_with(
        rows: &[Row],
        is_held: impl Fn(&Row) -> bool,
        quota: impl Fn(StreamId) -> Option<u32>,
    ) -> Vec<Option<u64>> {
        let until = until_overwritten(&Rows::from(rows.to_vec()), is_held, quota, 1000);
        until.values().map(|until| until.map(|until| until.as_secs())).collect()
    }

    fn seconds(rows: &[Row], is_held: impl Fn(&Row) -> bool) -> Vec<Option<u64>> {
        seconds_with(rows, is_held, |_| None)
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
    fn a_quota_ends_what_the_ring_would_keep_for_longer() {
        let mut rows = vec![block(1, 1, 0), block(2, 2, 0), block(1, 3, 10), block(2, 4, 10)];
        rows.extend((0..1000).map(|_| Row::default()));
        let quota = |of| (of == stream(1)).then_some(3);
        // It may have two more, then its oldest goes for the third: a block of its own every ten seconds.
        assert_eq!(seconds_with(&rows, |_| false, quota), [Some(30), Some(1002 * 5)]);
        let quota = |of| (of == stream(1)).then_some(1);
        assert_eq!(seconds_with(&rows, |_| false, quota)[0], Some(10));
    }

    #[test]
    fn only_the_last_day_tells_how_fast() {
        let day = 24 * 3600;
        // A burst long ago does not count; in the last day it was one block an hour.
        let mut rows: Vec<Row> = (0..10).map(|rank| block(1, 1 + rank, 10 * rank)).collect();
        rows.extend((0..24).map(|hour| block(1, 20 + hour, 10 * day + 3600 * hour)));
        let until = seconds(&rows, |_| false)[0].expect("it is recorded");
        assert!((3300..3600).contains(&until), "{until}");
    }

    #[test]
    fn a_clock_that_ran_ahead_changes_nothing() {
        let mut rows = vec![block(1, 1, 0), block(2, 2, 0), block(1, 3, 10), block(2, 4, 10)];
        for row in &mut rows[2..] {
            (row.wall_min, row.wall_max) = (row.wall_min.plus_ns(1 << 58), row.wall_max.plus_ns(1 << 58));
        }
        assert_eq!(seconds(&rows, |_| false), [Some(5), Some(10)]);
    }

    #[test]
    fn without_footage_there_is_nothing_to_say() {
        assert_eq!(seconds(&[], |_| false), []);
        assert_eq!(seconds(&[Row::default()], |_| false), []);
        let still = Row { wall_max: WallTime(0), running_s: 0, ..block(1, 1, 0) };
        assert_eq!(seconds(&[still], |_| false), [None]);
        let mad =
            Row { wall_min: WallTime::MIN, wall_max: WallTime::MAX, running_s: u64::MAX, ..block(1, 1, 0) };
        assert!(seconds(&[mad], |_| false)[0].is_some());
    }
}
