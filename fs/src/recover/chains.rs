//! Which blocks each stream has, in the order of their takes: found once, asked by everyone who follows a stream. Going through
//! all rows for each stream would take for ever on a volume of very many streams.

use crate::format::table::Row;
use crate::pieces::{Keyed, Pieces};
use crate::types::{BlockIndex, Sequence, StreamId};
use std::collections::BTreeMap;

#[cfg(test)]
thread_local! {
    /// How many entries were gone over in this thread.
    pub(crate) static VISITS: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// The blocks of all streams that are links of their chains.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Chains(BTreeMap<StreamId, Pieces<Link>>);

/// A block in the chain of its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Link(Sequence, BlockIndex);

impl Keyed for Link {
    type Key = (Sequence, BlockIndex);

    fn key(&self) -> Self::Key {
        (self.0, self.1)
    }
}

impl Chains {
    /// Those that these rows make.
    pub(crate) fn of<'a>(rows: impl IntoIterator<Item = &'a Row>) -> Chains {
        let blocks = (0..).map(BlockIndex).zip(rows);
        let mut links: BTreeMap<StreamId, Vec<Link>> = BTreeMap::new();
        for (block, row) in blocks.filter(|(_, row)| row.is_linked()) {
            links.entry(row.stream).or_default().push(Link(row.sequence, block));
        }
        let sorted = |mut links: Vec<Link>| {
            links.sort_unstable_by_key(Keyed::key);
            Pieces::of(links)
        };
        Chains(links.into_iter().map(|(stream, links)| (stream, sorted(links))).collect())
    }

    /// The row of a block is another now.
    pub(super) fn replace(&mut self, block: BlockIndex, before: &Row, after: &Row) {
        let link = |row: &Row| row.is_linked().then_some((row.stream, Link(row.sequence, block)));
        let (before, after) = (link(before), link(after));
        if before == after {
            return;
        }
        if let Some((stream, link)) = before
            && let Some(chain) = self.0.get_mut(&stream)
        {
            chain.remove(link.key());
            if chain.is_empty() {
                self.0.remove(&stream);
            }
        }
        if let Some((stream, link)) = after {
            self.0.entry(stream).or_default().insert(link);
        }
    }

    /// The streams that have any.
    pub(crate) fn streams(&self) -> impl Iterator<Item = StreamId> {
        self.0.keys().copied()
    }

    /// The blocks of a stream, the first taken first.
    pub(crate) fn blocks(&self, stream: StreamId) -> impl DoubleEndedIterator<Item = BlockIndex> {
        self.before(stream, Sequence(u64::MAX))
    }

    /// Those that were taken before `sequence`.
    pub(super) fn before(
        &self,
        stream: StreamId,
        sequence: Sequence,
    ) -> impl DoubleEndedIterator<Item = BlockIndex> {
        let chain = self.0.get(&stream).into_iter();
        chain.flat_map(move |chain| chain.before((sequence, BlockIndex(0)))).map(|link| {
            #[cfg(test)]
            VISITS.set(VISITS.get() + 1);
            link.1
        })
    }

    /// The block of a stream that was taken last; of several that say so the first.
    pub(super) fn newest(&self, stream: StreamId) -> Option<BlockIndex> {
        let mut newest = self.0.get(&stream)?.iter().rev();
        let Link(sequence, block) = *newest.next()?;
        let same = newest.take_while(|link| link.0 == sequence).last();
        Some(same.map_or(block, |link| link.1))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::report::BlockState;
    use crate::types::Uuid;

    /// The row of a block of one chunk.
    pub(in crate::recover) fn row(stream: u128, sequence: u64) -> Row {
        let stream = StreamId(Uuid::from_u128(stream));
        Row { state: BlockState::Sealed, stream, sequence: Sequence(sequence), chunks: 1, ..Row::default() }
    }

    #[test]
    fn a_stream_has_its_blocks_in_the_order_of_their_takes_and_no_others() {
        let mut rows = [row(1, 7), row(2, 5), row(1, 3), Row::default(), row(1, 9)];
        let mut chains = Chains::of(&rows);
        let of = |chains: &Chains, stream| {
            let blocks = chains.blocks(StreamId(Uuid::from_u128(stream)));
            blocks.map(|block| block.0).collect::<Vec<_>>()
        };
        assert_eq!((of(&chains, 1), of(&chains, 2), of(&chains, 3)), (vec![2, 0, 4], vec![1], vec![]));
        let before = chains.before(StreamId(Uuid::from_u128(1)), Sequence(7));
        assert_eq!(before.map(|block| block.0).collect::<Vec<_>>(), [2]);
        for (block, after) in [(0, row(2, 8)), (4, Row::default()), (3, row(1, 1))] {
            chains.replace(BlockIndex(block), &rows[block as usize], &after);
            rows[block as usize] = after;
        }
        assert_eq!((of(&chains, 1), of(&chains, 2)), (vec![3, 2], vec![1, 0]));
        assert_eq!(chains, Chains::of(&rows));
    }
}
