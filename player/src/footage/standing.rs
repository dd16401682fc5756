//! What decides how footage is prepared, as far as a volume's table tells it: whether a file would come out the same again.
//!
//! Content under a row changes only with the row, but for what is erased or past its age ([`crate::timeline::Index`]). So what was
//! prepared stands as long as the rows stand from which it was prepared: those that touch the range and a little behind it, and those
//! before it in which its pictures may begin.
//!
//! - A range that is open has no standing: its footage is another one from moment to moment. Nor has one of which something was erased
//!   or got past its age.
//! - The block that is being recorded grows. That changes nothing for a range that ended well before what the block reached already;
//!   where a clock was set back in the block, it may.
//! - A hold on footage changes nothing of it.

use crate::timeline::Index;
use keha_fs::{BlockIndex, BlockState, ChunkNumber, Sequence, StreamId, StreamRow, TimeRange, WallTime};

/// What is recorded so long behind a range's end has no sample of the range behind it: tracks are stored a little out of step, and what
/// stands close behind decides what belongs to the range.
const BEHIND_NS: i64 = 10_000_000_000;
/// How many blocks without a sync sample are looked back.
const BLOCKS_BACK_MAX: usize = 64;

/// What the table said of a range's footage. Equal ones of the same volume, streams and range: the same footage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    streams: Vec<Vec<Block>>,
}

/// A block.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Block {
    take: (BlockIndex, Sequence),
    first_chunk: ChunkNumber,
    from: WallTime,
    follows: bool,
    /// How far it goes; `None` if that is behind all that counts.
    reaches: Option<Reaches>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Reaches {
    to: WallTime,
    chunks: u32,
    samples: u32,
    sync_samples: u32,
    times_not_monotone: bool,
}

impl Standing {
    /// What an index says of a range of some streams; `None` if what is prepared of it now may not be what is prepared of it later.
    pub fn of(index: &Index, streams: &[StreamId], range: TimeRange) -> Option<Standing> {
        let (from, to) = range.from.zip(range.to)?;
        let end = to.plus_ns(BEHIND_NS);
        let blocks = streams.iter().map(|stream| blocks(index.rows_of(*stream), from, end));
        Some(Standing { streams: blocks.collect::<Option<_>>()? })
    }

    /// About how many bytes of memory it takes.
    pub fn memory_bytes(&self) -> u64 {
        let blocks = self.streams.iter().map(|blocks| blocks.capacity() * size_of::<Block>());
        (blocks.sum::<usize>() + self.streams.capacity() * size_of::<Vec<Block>>()) as u64
    }
}

fn blocks(rows: &[StreamRow], from: WallTime, end: WallTime) -> Option<Vec<Block>> {
    let mut blocks = Vec::new();
    let mut before = None;
    for (place, row) in rows.iter().enumerate() {
        if row.wall.is_some_and(|(min, max)| max >= from && min <= end) {
            // Where it does not follow one that counts, its pictures may begin in those before.
            if before != place.checked_sub(1) || place == 0 {
                for row in rows.get(begins(rows, place)?..place)? {
                    blocks.push(block(row, end)?);
                }
            }
            blocks.push(block(row, end)?);
            before = Some(place);
        }
    }
    Some(blocks)
}

/// The place of the last block before one that has a sync sample; its own if there is none to which it joins.
fn begins(rows: &[StreamRow], place: usize) -> Option<usize> {
    let mut begins = place;
    loop {
        let joins = rows.get(begins).is_some_and(|row| row.follows);
        let Some(before) = begins.checked_sub(1).filter(|_| joins) else { return Some(begins) };
        if place - before > BLOCKS_BACK_MAX {
            return None;
        }
        begins = before;
        if rows.get(before)?.sync_samples > 0 {
            return Some(begins);
        }
    }
}

fn block(row: &StreamRow, end: WallTime) -> Option<Block> {
    if row.part_void || matches!(row.state, BlockState::Erased | BlockState::Expired) {
        return None;
    }
    let (from, to) = row.wall.unwrap_or((WallTime::MIN, WallTime::MIN));
    let reaches = (to <= end || row.times_not_monotone).then_some(Reaches {
        to,
        chunks: row.chunks,
        samples: row.samples,
        sync_samples: row.sync_samples,
        times_not_monotone: row.times_not_monotone,
    });
    Some(Block {
        take: (row.block, row.sequence),
        first_chunk: row.first_chunk,
        from,
        follows: row.follows,
        reaches,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timeline::TimelineSource;
    use keha_fs::{BlockOutline, Uuid};
    use proptest::prelude::*;

    const STREAM: StreamId = StreamId(Uuid::from_u128(1));
    const S: i64 = 1_000_000_000;

    struct Table(Vec<StreamRow>);

    impl TimelineSource for Table {
        fn streams(&self) -> Vec<StreamId> {
            vec![STREAM]
        }

        fn is_live(&self) -> bool {
            true
        }

        fn rows(&self, _: StreamId) -> Vec<StreamRow> {
            self.0.clone()
        }

        fn outline(&self, _: StreamId, _: &StreamRow) -> keha_fs::Result<BlockOutline> {
            panic!("nothing is read")
        }
    }

    /// Blocks of a hundred seconds each, of which the last is being recorded.
    fn rows(blocks: i64) -> Vec<StreamRow> {
        let row = |number: i64| StreamRow {
            block: BlockIndex(number as u32),
            sequence: Sequence(number as u64),
            state: BlockState::Sealed,
            first_chunk: ChunkNumber(number as u64 * 100),
            chunks: 100,
            samples: 2500,
            sync_samples: 50,
            wall: Some((WallTime(number * 100 * S), WallTime((number * 100 + 99) * S))),
            follows: true,
            ..StreamRow::default()
        };
        (0..blocks).map(row).collect()
    }

    fn standing(rows: &[StreamRow], from: i64, to: i64) -> Option<Standing> {
        let range = TimeRange { from: Some(WallTime(from * S)), to: Some(WallTime(to * S)) };
        Standing::of(&Index::new(&Table(rows.to_vec())), &[STREAM], range)
    }

    #[test]
    fn what_is_recorded_behind_a_range_changes_nothing_of_it() {
        let then = rows(5);
        let mut now = rows(7);
        now[4].samples = 1;
        now[0].held = true;
        for (from, to) in [(150, 250), (0, 389), (210, 220)] {
            let (then, now) = (standing(&then, from, to), standing(&now, from, to));
            assert!(then.is_some() && then == now, "{from} {to}");
        }
    }

    #[test]
    fn the_block_that_grows_counts_as_far_as_it_may_have_of_the_range() {
        let grown = |to: i64| {
            let mut rows = rows(5);
            (rows[4].wall, rows[4].samples) = (Some((WallTime(400 * S), WallTime(to * S))), to as u32);
            rows
        };
        let then = standing(&grown(450), 400, 430);
        assert!(then.is_some() && then == standing(&grown(460), 400, 430), "it was far behind the range");
        assert_ne!(standing(&grown(435), 400, 430), standing(&grown(460), 400, 430), "sound may be late");
        let mut set_back = grown(460);
        set_back[4].times_not_monotone = true;
        assert_ne!(standing(&set_back, 400, 430), then);
    }

    #[test]
    fn what_was_erased_got_past_its_age_or_was_overwritten_stands_no_more() {
        let then = standing(&rows(5), 210, 290);
        let changed = |change: &dyn Fn(&mut Vec<StreamRow>)| {
            let mut rows = rows(5);
            change(&mut rows);
            standing(&rows, 210, 290)
        };
        assert!(then.is_some());
        assert_eq!(changed(&|rows| rows[2].part_void = true), None);
        assert_eq!(changed(&|rows| rows[2].state = BlockState::Erased), None);
        assert_eq!(
            changed(&|rows| rows[1].state = BlockState::Expired),
            None,
            "its pictures may begin there"
        );
        assert_eq!(changed(&|rows| rows[3].part_void = true), None, "it may tell where they end");
        assert_ne!(changed(&|rows| drop(rows.drain(..=2))), then);
        assert_ne!(changed(&|rows| rows.retain(|row| row.block != BlockIndex(1))), then);
        assert_ne!(changed(&|rows| rows[2].sequence = Sequence(77)), then);
        // Another run with an earlier clock.
        assert_ne!(changed(&|rows| rows[4].wall = rows[2].wall), then);
        assert_eq!(changed(&|rows| rows[0].part_void = true), then, "what is not touched");
    }

    #[test]
    fn an_open_range_has_no_standing() {
        let index = Index::new(&Table(rows(3)));
        for (from, to) in [(None, None), (Some(WallTime(0)), None), (None, Some(WallTime(9)))] {
            assert_eq!(Standing::of(&index, &[STREAM], TimeRange { from, to }), None);
        }
    }

    #[test]
    fn it_is_looked_back_to_where_pictures_may_begin() {
        let mut rows = rows(5);
        (rows[1].sync_samples, rows[2].sync_samples) = (0, 0);
        let then = standing(&rows, 310, 320);
        rows[0].part_void = true;
        assert!(then.is_some() && standing(&rows, 310, 320).is_none());
        rows[2].follows = false;
        assert!(standing(&rows, 310, 320).is_some(), "nothing before that joins");
    }

    proptest! {
        #[test]
        fn any_range_of_whole_footage_stands_until_one_of_its_blocks_changes(
            from in 0..900_i64, length in 1..400_i64, changed in 0..10_usize,
        ) {
            let (then, mut now) = (rows(10), rows(10));
            now[changed].sequence = Sequence(1000);
            let first = (from / 100 - 1).max(0);
            let last = ((from + length + 10) / 100).min(9);
            let touched = (first..=last).contains(&(changed as i64));
            prop_assert_eq!(standing(&then, from, from + length) != standing(&now, from, from + length), touched);
        }
    }
}
