//! What an erasure comes to: which chunks go, what stands in their place, and which hold forbids it.
//!
//! A chunk goes if any of its samples may lie in the range; nothing smaller can be overwritten without touching what stays. Chunks
//! that go and follow each other are covered by one *void* chunk: it has the place of the first and the length of all, takes the
//! number of the first and counts the others, and names the checksum to which the chunk behind them links. So the chain stays
//! whole, and says itself what was taken out of it. A block of which no sample is left is one void chunk to its end.

use super::age::Over;
use crate::format::chunk::{ChunkHeader, ChunkKind};
use crate::format::footer::{ChunkPlace, Footer};
use crate::format::table::Row;
use crate::hold::{Guard, Hold};
use crate::report::TimeRange;
use crate::scan::Located;
use crate::types::{BlockIndex, ChunkNumber, HoldId, Sequence, WallTime};
use std::ops::RangeInclusive;

/// What of a block goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Goes {
    /// Nothing.
    Nothing,
    /// All of it.
    All,
    /// These stretches of chunks, by their place among the block's chunks.
    Some(Vec<RangeInclusive<usize>>),
}

/// What of a block goes when this range is erased.
pub(crate) fn goes(footer: &Footer, range: TimeRange) -> Goes {
    goes_where(footer, |_, place| range.overlaps(place.wall_min, place.wall_max))
}

/// What of a block goes because its stream's maximum age is over: never what is held, or what a lost hold may have kept.
pub(crate) fn expired(row: &Row, footer: &Footer, over: Over, guard: &Guard) -> Goes {
    if guard.may_have_covered(row) && !planted!(HeldExpired) {
        return Goes::Nothing;
    }
    let held = guard.covers(row) && !planted!(HeldExpired);
    // Where damage hides chunks, the places do not tell numbers.
    let numbered = is_numbered(row, footer);
    if held && !numbered {
        return Goes::Nothing;
    }
    let number = |index: usize| ChunkNumber(row.first_chunk.0.saturating_add(index as u64));
    let goes = goes_where(footer, |index, place| {
        over.takes(place.wall_max) && !(held && guard.covers_chunk(row.stream, number(index)))
    });
    match goes {
        // What is held needs the block's configuration, whatever kind of chunk it is.
        Goes::All if held => Goes::Nothing,
        other => other,
    }
}

fn goes_where(footer: &Footer, goes: impl Fn(usize, &ChunkPlace) -> bool) -> Goes {
    let mut stretches: Vec<RangeInclusive<usize>> = Vec::new();
    let mut stays = false;
    for (index, place) in footer.chunks.iter().enumerate() {
        let touched = place.kind == ChunkKind::MEDIA && goes(index, place);
        stays |= place.kind == ChunkKind::MEDIA && !touched;
        match stretches.last_mut() {
            Some(last) if touched && *last.end() + 1 == index => *last = *last.start()..=index,
            _ if touched => stretches.push(index..=index),
            _ => {}
        }
    }
    match stretches {
        none if none.is_empty() => Goes::Nothing,
        _ if !stays => Goes::All,
        some => Goes::Some(some),
    }
}

/// Whether all footage of a block lies in a range: then all of it goes, whatever stands where in it.
pub(crate) fn is_within(row: &Row, range: TimeRange) -> bool {
    crate::hold::has_footage(row)
        && range.from.is_none_or(|from| row.wall_min >= from)
        && range.to.is_none_or(|to| row.wall_max < to)
}

/// Whether each chunk of a block is known by its place: what damage hides may be what goes, or what stays.
pub(crate) fn is_numbered(row: &Row, footer: &Footer) -> bool {
    footer.chunks.len() == row.chunks as usize || planted!(ErasedByHalf)
}

/// Whether something of a range was to be overwritten in a block before, and may not be: of what is void or withheld in it. Where
/// damage hides chunks, it lies anywhere between the moments of the blocks before and behind.
pub(crate) fn was_begun(
    row: &Row,
    footer: &Footer,
    range: TimeRange,
    (before, behind): (WallTime, WallTime),
) -> bool {
    if !is_numbered(row, footer) {
        return before > behind || range.overlaps(before, behind);
    }
    let number = |index: usize| ChunkNumber(row.first_chunk.0.saturating_add(index as u64));
    footer.chunks.iter().enumerate().any(|(index, place)| {
        (place.kind.is_void() || row.withholds(number(index)))
            && range.overlaps(place.wall_min, place.wall_max)
    })
}

/// The last moment of a stream's footage before one of its blocks, and the first behind it; its blocks are in the order of recording.
pub(crate) fn moments_around(rows: &[(BlockIndex, Row)], index: usize) -> (WallTime, WallTime) {
    moments_of(rows.get(..index), rows.get(index + 1..))
}

/// The same of what lies between the blocks before `index` and the others.
pub(crate) fn moments_between(rows: &[(BlockIndex, Row)], index: usize) -> (WallTime, WallTime) {
    moments_of(rows.get(..index), rows.get(index..))
}

fn moments_of(
    before: Option<&[(BlockIndex, Row)]>,
    behind: Option<&[(BlockIndex, Row)]>,
) -> (WallTime, WallTime) {
    let has_footage = |(_, row): &&(BlockIndex, Row)| crate::hold::has_footage(row);
    let before = before.unwrap_or_default().iter().rev().find(has_footage);
    let behind = behind.unwrap_or_default().iter().find(has_footage);
    (
        before.map_or(WallTime::MIN, |(_, row)| row.wall_max),
        behind.map_or(WallTime::MAX, |(_, row)| row.wall_min),
    )
}

/// Whether void chunks stand over all footage that was withheld of a block, whose chunks are these now.
pub(crate) fn is_voided(old: &Row, footer: &Footer) -> bool {
    let number = |index: usize| ChunkNumber(old.first_chunk.0.saturating_add(index as u64));
    let mut places = footer.chunks.iter().enumerate();
    planted!(WithheldTakenForVoid)
        || is_numbered(old, footer)
            && places.all(|(index, place)| place.kind != ChunkKind::MEDIA || !old.withholds(number(index)))
}

/// The chunks that go of a block, and what lies between them, counted from its first one.
pub(crate) fn hull(row: &Row, footer: &Footer, goes: &Goes) -> Option<(u32, u32)> {
    let numbers = numbers(row, footer, goes);
    let place = |number: ChunkNumber| (number.0.saturating_sub(row.first_chunk.0)) as u32;
    let first = numbers.iter().map(|one| place(*one.start())).min();
    first.zip(numbers.iter().map(|one| place(*one.end())).max())
}

/// The numbers of the chunks that go of a block. Where damage hides chunks, the places do not tell numbers: all of it counts.
pub(crate) fn numbers(row: &Row, footer: &Footer, goes: &Goes) -> Vec<RangeInclusive<ChunkNumber>> {
    let all = row.first_chunk..=row.last_chunk();
    let number = |index: usize| ChunkNumber(row.first_chunk.0.saturating_add(index as u64));
    match goes {
        Goes::Nothing => Vec::new(),
        Goes::Some(stretches) if footer.chunks.len() == row.chunks as usize => {
            stretches.iter().map(|one| number(*one.start())..=number(*one.end())).collect()
        }
        Goes::All | Goes::Some(_) => vec![all],
    }
}

/// The hold that keeps one of these chunks of its stream, if any does.
pub(crate) fn keeper<'a>(
    holds: &'a [Hold],
    row: &Row,
    numbers: &[RangeInclusive<ChunkNumber>],
) -> Option<&'a Hold> {
    if planted!(HeldErased) {
        return None;
    }
    holds.iter().filter(|hold| hold.stream == row.stream).find(|hold| {
        hold.spans.iter().any(|span| {
            let last = span.last_chunk.unwrap_or(ChunkNumber(u64::MAX));
            numbers.iter().any(|one| span.first_chunk <= *one.end() && last >= *one.start())
        })
    })
}

/// The void chunk in place of the chunks from `first` to `last`, of `bytes` bytes; `walls` are the moments of their samples,
/// `rank` is that of the block, which stays in its place in the ring.
pub(crate) fn cover(
    kind: ChunkKind,
    first: &Located,
    last: &Located,
    bytes: u32,
    walls: Option<(WallTime, WallTime)>,
    rank: Sequence,
) -> ChunkHeader {
    let (wall_min, wall_max) = walls.unwrap_or((first.header.wall_min, last.header.wall_max));
    let covers = last.header.last_number().0.saturating_sub(first.header.number.0);
    ChunkHeader {
        kind,
        bytes,
        anchors: 0,
        entries: 0,
        sync_samples: 0,
        samples: 0,
        payload_bytes: 0,
        table_checksum: 0,
        configuration: Default::default(),
        epoch: last.header.epoch,
        rank: rank.max(last.header.rank),
        running_s: last.header.running_s,
        wall_min,
        wall_max,
        covers: u32::try_from(covers).unwrap_or(u32::MAX),
        replaced: if planted!(ErasedChainBroken) { 0 } else { last.checksum },
        ..first.header.clone()
    }
}

/// What an erasure took away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Erased {
    /// Blocks in which something was overwritten.
    pub blocks: u32,
    /// Samples that went.
    pub samples: u64,
    /// Their bytes.
    pub payload_bytes: u64,
    /// The earliest moment that went, which may lie a little before the range: chunks go whole,
    pub from: Option<WallTime>,
    /// and the latest.
    pub to: Option<WallTime>,
}

/// What would be erased, and what forbids it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ErasePlan {
    /// What would go; samples and bytes are those of the chunks that would.
    pub erased: Erased,
    /// Blocks in which something of the range may still stand that nobody is given: an erasure is under way there, a crash or the disk
    /// ended one, or the block was given up to the ring. It goes, too; only what was withdrawn cannot.
    pub left: u32,
    /// Holds that keep some of it: nothing is erased while there is one.
    pub held_by: Vec<HoldId>,
}

impl Erased {
    /// Adds what goes of a block.
    pub(crate) fn add(&mut self, footer: &Footer, goes: &Goes) {
        let gone = |index: usize| match goes {
            Goes::Nothing => false,
            Goes::All => true,
            Goes::Some(stretches) => stretches.iter().any(|one| one.contains(&index)),
        };
        let media = footer.chunks.iter().enumerate().filter(|(_, place)| place.kind == ChunkKind::MEDIA);
        for (_, place) in media.filter(|(index, _)| gone(*index)) {
            self.from = Some(self.from.map_or(place.wall_min, |from| from.min(place.wall_min)));
            self.to = Some(self.to.map_or(place.wall_max, |to| to.max(place.wall_max)));
        }
        self.blocks += u32::from(*goes != Goes::Nothing);
    }

    /// Adds a block that goes whole.
    pub(crate) fn add_all(&mut self, row: &Row) {
        self.from = Some(self.from.map_or(row.wall_min, |from| from.min(row.wall_min)));
        self.to = Some(self.to.map_or(row.wall_max, |to| to.max(row.wall_max)));
        self.blocks += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::footer::ChunkPlace;
    use crate::hold::HeldSpan;
    use crate::types::{RunId, StreamId};

    const C: ChunkKind = ChunkKind::CONFIGURATION;
    const M: ChunkKind = ChunkKind::MEDIA;
    const E: ChunkKind = ChunkKind::EVENT;

    fn footer(places: &[(ChunkKind, i64, i64)]) -> Footer {
        let place = |(kind, min, max): &(ChunkKind, i64, i64)| ChunkPlace {
            kind: *kind,
            wall_min: WallTime(*min),
            wall_max: WallTime(*max),
            ..ChunkPlace::default()
        };
        Footer { chunks: places.iter().map(place).collect(), syncs: Vec::new() }
    }

    fn range(from: i64, to: i64) -> TimeRange {
        TimeRange { from: Some(WallTime(from)), to: Some(WallTime(to)) }
    }

    #[test]
    fn chunks_that_touch_the_range_go_and_a_block_of_which_no_sample_is_left_goes_whole() {
        let block =
            footer(&[(C, 0, 0), (M, 0, 9), (M, 10, 19), (E, 15, 15), (M, 20, 29), (M, 30, 39), (C, 0, 0)]);
        for (from, to, expected) in [
            (40, 50, Goes::Nothing),
            (-5, 0, Goes::Nothing),
            (0, 1, Goes::Some(vec![1..=1])),
            (9, 10, Goes::Some(vec![1..=1])),
            (9, 11, Goes::Some(vec![1..=2])),
            (12, 22, Goes::Some(vec![2..=2, 4..=4])),
            (5, 39, Goes::All),
            (5, 30, Goes::Some(vec![1..=2, 4..=4])),
        ] {
            assert_eq!(goes(&block, range(from, to)), expected, "{from} to {to}");
        }
        assert_eq!(goes(&footer(&[(C, 0, 0), (E, 5, 5)]), range(0, 9)), Goes::Nothing);
        // What was erased before neither goes nor stays.
        let again = footer(&[(C, 0, 0), (ChunkKind::ERASED, 0, 9), (M, 10, 19)]);
        assert_eq!(goes(&again, range(10, 12)), Goes::All);
        assert_eq!(goes(&again, range(0, 5)), Goes::Nothing);
    }

    #[test]
    fn a_hold_keeps_its_chunks_and_no_others() {
        let block = footer(&[(C, 0, 0), (M, 0, 9), (M, 10, 19), (M, 20, 29)]);
        let row =
            Row { first_chunk: ChunkNumber(100), chunks: 4, stream: StreamId::default(), ..Row::default() };
        let hold = |first: u64, last: Option<u64>| Hold {
            spans: vec![HeldSpan {
                first_chunk: ChunkNumber(first),
                last_chunk: last.map(ChunkNumber),
                first_run: RunId::default(),
                last_run: None,
            }],
            ..Hold::default()
        };
        for (hold, from, to, kept) in [
            (hold(102, Some(102)), 0, 5, false),
            (hold(102, Some(102)), 5, 15, true),
            (hold(102, Some(102)), 20, 25, false),
            (hold(102, None), 20, 25, true),
            (hold(1, Some(100)), 0, 9, false),
            // All of the block goes, its configuration too.
            (hold(1, Some(100)), 0, 29, true),
            (hold(104, Some(110)), 0, 99, false),
        ] {
            let goes = goes(&block, range(from, to));
            let found = keeper(std::slice::from_ref(&hold), &row, &numbers(&row, &block, &goes)).is_some();
            assert_eq!(found, kept, "{:?} {from} to {to}", hold.spans);
        }
        let other = Hold { stream: StreamId::random(), ..hold(1, None) };
        assert_eq!(keeper(&[other], &row, &numbers(&row, &block, &Goes::All)), None);
    }

    #[test]
    fn where_damage_hides_chunks_a_hold_of_any_of_them_keeps_the_block() {
        let block = footer(&[(M, 0, 9), (M, 20, 29)]);
        let row = Row { first_chunk: ChunkNumber(5), chunks: 3, ..Row::default() };
        let goes = goes(&block, range(0, 5));
        assert_eq!(numbers(&row, &block, &goes), [ChunkNumber(5)..=ChunkNumber(7)]);
    }

    #[test]
    fn a_void_chunk_stands_for_all_it_covers_and_links_on() {
        let located = |number: u64, checksum: u32| Located {
            header: ChunkHeader {
                number: ChunkNumber(number),
                previous: checksum + 1,
                kind: M,
                samples: 9,
                entries: 9,
                rank: crate::types::Sequence(number),
                ..ChunkHeader::default()
            },
            checksum,
            head_lost: false,
        };
        let (first, last) = (located(7, 70), located(9, 90));
        let void =
            cover(ChunkKind::ERASED, &first, &last, 4096, Some((WallTime(1), WallTime(2))), Sequence(11));
        assert_eq!((void.number, void.last_number(), void.previous), (ChunkNumber(7), ChunkNumber(9), 71));
        assert_eq!((void.link(12345), void.samples, void.entries, void.rank.0), (90, 0, 0, 11));
        // It can be covered again.
        let void = Located { checksum: void.link(5), header: void, head_lost: false };
        let all = cover(ChunkKind::EXPIRED, &located(6, 60), &void, 8192, None, Sequence(0));
        assert_eq!((all.last_number(), all.link(1), all.covers), (ChunkNumber(9), 90, 3));
    }
}
