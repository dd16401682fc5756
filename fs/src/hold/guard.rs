//! Which blocks holds cover: a pure function of holds and rows.

use super::Hold;
use crate::format::table::{HELD, Row};
use crate::types::{ChunkNumber, StreamId};
use std::collections::{BTreeSet, HashMap};

/// What all holds together cover.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Guard {
    /// First and last chunk of what is held, by stream.
    spans: HashMap<StreamId, Vec<(ChunkNumber, ChunkNumber)>>,
    /// Whether a hold was lost.
    doubt: bool,
}

impl Guard {
    /// What these holds cover.
    pub(crate) fn of<'a>(holds: impl IntoIterator<Item = &'a Hold>) -> Guard {
        let mut guard = Guard::default();
        for hold in holds {
            guard.doubt |= hold.lost;
            let spans = guard.spans.entry(hold.stream).or_default();
            spans.extend(
                hold.spans
                    .iter()
                    .map(|span| (span.first_chunk, span.last_chunk.unwrap_or(ChunkNumber(u64::MAX)))),
            );
        }
        guard.spans.retain(|_, spans| !spans.is_empty());
        guard
    }

    /// For which streams another guard covers something else; `None` if it may be for any, because a hold was lost or no
    /// longer is.
    pub(crate) fn changed(&self, other: &Guard) -> Option<BTreeSet<StreamId>> {
        if self.doubt || other.doubt {
            return None;
        }
        let both = self.spans.keys().chain(other.spans.keys());
        Some(both.filter(|stream| self.spans.get(stream) != other.spans.get(stream)).copied().collect())
    }

    /// Whether a block with this row is held.
    pub(crate) fn covers(&self, row: &Row) -> bool {
        row.is_live()
            && self.spans.get(&row.stream).is_some_and(|spans| {
                spans.iter().any(|(first, last)| row.first_chunk <= *last && row.last_chunk() >= *first)
            })
    }

    /// Whether a chunk of a stream is held.
    pub(crate) fn covers_chunk(&self, stream: StreamId, chunk: ChunkNumber) -> bool {
        let spans = self.spans.get(&stream).into_iter().flatten();
        spans.into_iter().any(|(first, last)| (*first..=*last).contains(&chunk))
    }

    /// Whether a block with this row may have been held by a hold that was lost.
    pub(crate) fn may_have_covered(&self, row: &Row) -> bool {
        self.doubt
            && !planted!(LostHoldNotSpared)
            && row.is_live()
            && row.flags & HELD != 0
            && !self.covers(row)
    }

    /// The row with the mark that it shall have. What a lost hold covered stays marked.
    pub(crate) fn marked(&self, row: Row) -> Row {
        let flags = match self.covers(&row) {
            true => row.flags | HELD,
            false if self.may_have_covered(&row) => row.flags,
            false => row.flags & !HELD,
        };
        Row { flags, ..row }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hold::HeldSpan;
    use crate::report::BlockState;
    use crate::types::{RunId, Uuid};
    use proptest::prelude::*;

    fn stream(number: u128) -> StreamId {
        StreamId(Uuid::from_u128(number))
    }

    fn row(of: u128, first: u64, chunks: u32) -> Row {
        Row {
            state: BlockState::Sealed,
            stream: stream(of),
            first_chunk: ChunkNumber(first),
            chunks,
            ..Row::default()
        }
    }

    fn hold(of: u128, first: u64, last: Option<u64>) -> Hold {
        let last_chunk = last.map(ChunkNumber);
        let span = HeldSpan {
            first_chunk: ChunkNumber(first),
            last_chunk,
            first_run: RunId::default(),
            last_run: None,
        };
        Hold { stream: stream(of), spans: vec![span], growing: last.is_none(), ..Hold::default() }
    }

    #[test]
    fn a_block_is_held_from_the_first_chunk_to_the_last_and_no_other_streams_is() {
        let guard = Guard::of(&[hold(1, 10, Some(20))]);
        for (first, chunks, held) in [
            (1, 9, false),
            (1, 10, true),
            (10, 1, true),
            (15, 2, true),
            (20, 5, true),
            (21, 5, false),
            (5, 90, true),
        ] {
            assert_eq!(guard.covers(&row(1, first, chunks)), held, "{first}, {chunks} chunks");
            assert!(!guard.covers(&row(2, first, chunks)));
        }
    }

    #[test]
    fn a_hold_that_grows_covers_all_that_comes() {
        let guard = Guard::of(&[hold(1, 10, None)]);
        assert!(guard.covers(&row(1, u64::MAX - 1, 1)) && guard.covers(&row(1, 10, 1)));
        assert!(!guard.covers(&row(1, 9, 1)));
    }

    #[test]
    fn a_hold_that_waits_covers_nothing() {
        assert_eq!(Guard::of(&[Hold { growing: true, ..Hold::default() }]), Guard::default());
    }

    #[test]
    fn a_block_without_footage_is_never_held() {
        let guard = Guard::of(&[hold(1, 0, None)]);
        for state in [BlockState::Free, BlockState::Expired, BlockState::Erased] {
            assert!(!guard.covers(&Row { state, ..row(1, 5, 1) }));
        }
        assert!(!guard.covers(&row(1, 5, 0)));
        assert!(guard.covers(&Row { state: BlockState::Bad, ..row(1, 5, 1) }));
    }

    #[test]
    fn what_was_marked_is_spared_while_a_hold_is_lost_and_only_then() {
        let marked = Row { flags: HELD, ..row(1, 5, 1) };
        let lost = Hold { lost: true, ..Hold::default() };
        assert!(Guard::of([&lost]).may_have_covered(&marked));
        assert!(!Guard::of([&lost]).may_have_covered(&row(1, 5, 1)));
        assert!(!Guard::of(&[lost, hold(1, 1, None)]).may_have_covered(&marked));
        assert!(!Guard::of(&[]).may_have_covered(&marked));
        assert_eq!(Guard::of(&[]).marked(marked).flags, 0);
    }

    proptest! {
        #[test]
        fn several_holds_cover_what_each_covers(holds in proptest::collection::vec((1..3_u128, 0..50_u64, 0..50_u64), 0..5), of in 1..3_u128, first in 0..100_u64, chunks in 0..20_u32) {
            let holds: Vec<Hold> = holds.into_iter().map(|(of, first, more)| hold(of, first, Some(first + more))).collect();
            let row = row(of, first, chunks);
            let each = holds.iter().any(|hold| Guard::of([hold]).covers(&row));
            prop_assert_eq!(Guard::of(&holds).covers(&row), each);
        }
    }
}
