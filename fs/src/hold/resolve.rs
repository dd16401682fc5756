//! What a range comes to: chunks of a stream, from the sync sample at or before it to its end.
//!
//! Blocks are given with their rows in the order of recording; what stands in one of them (a footer) is asked for only where it
//! matters: where the range begins and where it ends.

use super::HeldSpan;
use crate::format::chunk::ChunkKind;
use crate::format::footer::Footer;
use crate::format::hold::SPANS_MAX;
use crate::format::table::Row;
use crate::report::TimeRange;
use crate::types::{BlockIndex, ChunkNumber, RunId, WallTime};

/// How many blocks before the range are looked into for a sync sample.
const REACH_BLOCKS: usize = 64;

/// Says what stands in a block.
pub(crate) type Contents<'a> = dyn FnMut(BlockIndex, &Row) -> Footer + 'a;

/// The stretches of chunks that a range comes to, at most [`SPANS_MAX`]; the nearest ones are joined where there are more.
pub(crate) fn resolve(
    blocks: &[(BlockIndex, Row)],
    range: TimeRange,
    contents: &mut Contents<'_>,
) -> Vec<HeldSpan> {
    let mut found: Vec<HeldSpan> = Vec::new();
    let mut index = 0;
    while let Some(first) = next_touched(blocks, index, range, contents) {
        // On and on while blocks follow upon each other and touch the range.
        let mut last = first;
        while let Some((_, row)) = blocks.get(last + 1).filter(|(_, row)| may_touch(row, range))
            && blocks.get(last).is_some_and(|(_, before)| follows(before, row))
        {
            last += 1;
        }
        index = last + 1;
        let Some((first_chunk, first_run)) = begin_of(blocks, first, range, contents) else { continue };
        let end = (first..=last).rev().find_map(|at| last_in(blocks, at, range, contents));
        let Some((last_chunk, last_run)) = end else { continue };
        let span =
            HeldSpan { first_chunk, last_chunk: Some(last_chunk), first_run, last_run: Some(last_run) };
        found.push(span);
    }
    let mut spans = Vec::new();
    extend(&mut spans, found.into_iter());
    spans
}

/// Adds stretches that were found later.
pub(crate) fn extend(spans: &mut Vec<HeldSpan>, found: impl Iterator<Item = HeldSpan>) {
    for span in found {
        match spans.last_mut().filter(|before| before.last_chunk >= Some(span.first_chunk)) {
            Some(before) => (before.last_chunk, before.last_run) = (span.last_chunk, span.last_run),
            None => spans.push(span),
        }
    }
    join_nearest(spans);
}

/// The last chunk at or behind `first` that touches a range, with its run.
pub(crate) fn end_of(
    blocks: &[(BlockIndex, Row)],
    first: ChunkNumber,
    range: TimeRange,
    contents: &mut Contents<'_>,
) -> Option<(ChunkNumber, RunId)> {
    (0..blocks.len())
        .rev()
        .filter(|at| blocks.get(*at).is_some_and(|(_, row)| row.last_chunk() >= first))
        .find_map(|at| last_in(blocks, at, range, contents))
        .filter(|(last, _)| *last >= first)
}

/// Whether a block has footage, be it the middle of one large sample.
pub(crate) fn has_footage(row: &Row) -> bool {
    row.is_live() && row.payload_bytes > 0
}

/// Whether a block has footage of which some may lie in a range.
pub(crate) fn may_touch(row: &Row, range: TimeRange) -> bool {
    has_footage(row) && range.overlaps(row.wall_min, row.wall_max)
}

/// Whether the second block goes on where the first one ends.
fn follows(before: &Row, row: &Row) -> bool {
    before.last_chunk().next() == row.first_chunk
}

fn next_touched(
    blocks: &[(BlockIndex, Row)],
    from: usize,
    range: TimeRange,
    contents: &mut Contents<'_>,
) -> Option<usize> {
    (from..blocks.len()).find(|at| {
        let Some((block, row)) = blocks.get(*at).filter(|(_, row)| may_touch(row, range)) else {
            return false;
        };
        let footer = contents(*block, row);
        // Where damage hides chunks, one of them may be meant.
        hides(row, &footer) || touched(&footer, range).next().is_some()
    })
}

/// Whether damage hides chunks of a block, so that the places of the others do not tell their numbers.
fn hides(row: &Row, footer: &Footer) -> bool {
    footer.chunks.len() != row.chunks as usize
}

/// The chunks of a block with samples in the range: place and run.
fn touched(footer: &Footer, range: TimeRange) -> impl DoubleEndedIterator<Item = (usize, RunId)> + '_ {
    let media = footer.chunks.iter().enumerate().filter(|(_, place)| place.kind == ChunkKind::MEDIA);
    media
        .filter(move |(_, place)| range.overlaps(place.wall_min, place.wall_max))
        .map(|(index, place)| (index, place.run))
}

fn number(row: &Row, index: usize) -> ChunkNumber {
    ChunkNumber(row.first_chunk.0.saturating_add(index as u64))
}

fn any_run(footer: &Footer) -> RunId {
    footer.chunks.last().map(|place| place.run).unwrap_or_default()
}

fn last_in(
    blocks: &[(BlockIndex, Row)],
    at: usize,
    range: TimeRange,
    contents: &mut Contents<'_>,
) -> Option<(ChunkNumber, RunId)> {
    let (block, row) = blocks.get(at).filter(|(_, row)| may_touch(row, range))?;
    let footer = contents(*block, row);
    if hides(row, &footer) {
        return Some((row.last_chunk(), any_run(&footer)));
    }
    touched(&footer, range).next_back().map(|(index, run)| (number(row, index), run))
}

/// Where decoding must begin for the first of a block's chunks in the range.
fn begin_of(
    blocks: &[(BlockIndex, Row)],
    at: usize,
    range: TimeRange,
    contents: &mut Contents<'_>,
) -> Option<(ChunkNumber, RunId)> {
    let (block, row) = blocks.get(at)?;
    let footer = contents(*block, row);
    if hides(row, &footer) {
        return Some((row.first_chunk, any_run(&footer)));
    }
    let (first, run) = touched(&footer, range).next()?;
    let begin = number(row, first);
    let from = range.from.unwrap_or(WallTime::MIN);
    if planted!(HoldWithoutSync) {
        return Some((begin, run));
    }
    if let Some(chunk) = sync_before(&footer, run, from, first) {
        return Some((number(row, chunk), run));
    }
    let media_first = footer.chunks.iter().position(|place| place.kind == ChunkKind::MEDIA);
    if media_first != Some(first)
        && footer.chunks.iter().take(first).any(|place| place.kind == ChunkKind::MEDIA && place.run != run)
    {
        return Some((begin, run));
    }
    let earlier = earlier_sync(blocks, at, run, from, contents);
    Some((earlier.unwrap_or(begin), run))
}

/// The last chunk up to `at_most` that has a sync sample of a run at or before `from`.
fn sync_before(footer: &Footer, run: RunId, from: WallTime, at_most: usize) -> Option<usize> {
    let syncs = footer.syncs.iter().rev().map(|sync| (sync.chunk as usize, sync.wall));
    syncs
        .filter(|(chunk, wall)| *chunk <= at_most && *wall <= from)
        .map(|(chunk, _)| chunk)
        .find(|chunk| footer.chunks.get(*chunk).is_some_and(|place| place.run == run))
}

/// That sync sample in the blocks before, as far as they hold the same run without a break.
fn earlier_sync(
    blocks: &[(BlockIndex, Row)],
    at: usize,
    run: RunId,
    from: WallTime,
    contents: &mut Contents<'_>,
) -> Option<ChunkNumber> {
    let mut behind = blocks.get(at).map(|(_, row)| row)?;
    for (block, row) in blocks.get(..at)?.iter().rev().take(REACH_BLOCKS) {
        if !follows(row, behind) {
            return None;
        }
        behind = row;
        if row.sync_samples == 0 {
            continue;
        }
        let footer = contents(*block, row);
        let ends_in = footer.chunks.iter().rev().find(|place| place.kind == ChunkKind::MEDIA);
        if ends_in.is_some_and(|place| place.run != run) {
            return None;
        }
        if hides(row, &footer) {
            return Some(row.first_chunk);
        }
        if let Some(chunk) = sync_before(&footer, run, from, usize::MAX) {
            return Some(number(row, chunk));
        }
    }
    None
}

/// Joins stretches until there are few enough: what lies between the nearest two is held, too.
fn join_nearest(spans: &mut Vec<HeldSpan>) {
    while spans.len() > SPANS_MAX {
        let between = |pair: &[HeldSpan]| match pair {
            [before, after] => after.first_chunk.0.saturating_sub(before.last_chunk.unwrap_or_default().0),
            _ => u64::MAX,
        };
        let nearest = spans.windows(2).map(between).enumerate().min_by_key(|(_, chunks)| *chunks);
        let Some((index, _)) = nearest else { return };
        let after = spans.remove(index + 1);
        if let Some(before) = spans.get_mut(index) {
            (before.last_chunk, before.last_run) = (after.last_chunk, after.last_run);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::footer::{ChunkPlace, SyncPlace};
    use crate::report::BlockState;
    use crate::types::Uuid;

    /// A chunk: its run, its first and last moment, and whether a sync sample stands at its first.
    type Chunk = (u128, i64, i64, bool);

    /// Blocks of such chunks, one after the other from chunk 1 on; each begins with a configuration.
    struct Tape(Vec<(Row, Footer)>);

    impl Tape {
        fn new(blocks: &[&[Chunk]]) -> Tape {
            let mut number = 1;
            let block = |chunks: &&[Chunk]| {
                let mut footer = Footer::default();
                footer.chunks.push(ChunkPlace { kind: ChunkKind::CONFIGURATION, ..ChunkPlace::default() });
                for (run, from, to, sync) in *chunks {
                    if *sync {
                        footer.syncs.push(SyncPlace {
                            chunk: footer.chunks.len() as u32,
                            wall: WallTime(*from),
                            ..SyncPlace::default()
                        });
                    }
                    footer.chunks.push(ChunkPlace {
                        kind: ChunkKind::MEDIA,
                        run: RunId(Uuid::from_u128(*run)),
                        wall_min: WallTime(*from),
                        wall_max: WallTime(*to),
                        ..ChunkPlace::default()
                    });
                }
                let row = Row {
                    state: BlockState::Sealed,
                    first_chunk: ChunkNumber(number),
                    chunks: footer.chunks.len() as u32,
                    payload_bytes: chunks.len() as u32,
                    sync_samples: footer.syncs.len() as u32,
                    wall_min: WallTime(chunks.iter().map(|chunk| chunk.1).min().unwrap_or_default()),
                    wall_max: WallTime(chunks.iter().map(|chunk| chunk.2).max().unwrap_or_default()),
                    ..Row::default()
                };
                number += u64::from(row.chunks);
                (row, footer)
            };
            Tape(blocks.iter().map(block).collect())
        }

        fn rows(&self) -> Vec<(BlockIndex, Row)> {
            (0..).map(BlockIndex).zip(self.0.iter().map(|(row, _)| row.clone())).collect()
        }

        fn resolve(&self, from: i64, to: i64) -> Vec<(u64, u64)> {
            let range = TimeRange { from: Some(WallTime(from)), to: Some(WallTime(to)) };
            let spans = resolve(&self.rows(), range, &mut |block, _| self.0[block.0 as usize].1.clone());
            spans.iter().map(|span| (span.first_chunk.0, span.last_chunk.unwrap_or_default().0)).collect()
        }
    }

    #[test]
    fn a_range_begins_at_the_sync_sample_at_or_before_it() {
        // Chunks 2 to 5 in one block.
        let tape = Tape::new(&[&[(1, 0, 9, true), (1, 10, 19, true), (1, 20, 29, false), (1, 30, 39, true)]]);
        assert_eq!(tape.resolve(25, 28), [(3, 4)]);
        assert_eq!(tape.resolve(30, 31), [(5, 5)]);
        assert_eq!(tape.resolve(15, 35), [(3, 5)]);
        assert_eq!(tape.resolve(0, 40), [(2, 5)]);
        assert_eq!(tape.resolve(40, 50), []);
    }

    #[test]
    fn a_long_gop_is_held_from_its_beginning_however_many_blocks_before() {
        let tape = Tape::new(&[
            &[(1, 0, 9, true), (1, 10, 19, true)],
            &[(1, 20, 29, false)],
            &[(1, 30, 39, false), (1, 40, 49, true)],
        ]);
        assert_eq!(tape.resolve(35, 38), [(3, 7)]);
        assert_eq!(tape.resolve(40, 41), [(8, 8)]);
    }

    #[test]
    fn nothing_before_a_run_or_before_a_break_is_held() {
        let runs = Tape::new(&[&[(1, 0, 9, true)], &[(2, 20, 29, false), (2, 30, 39, true)]]);
        assert_eq!(runs.resolve(22, 25), [(4, 4)]);
        let mut broken = Tape::new(&[&[(1, 0, 9, true)], &[(1, 20, 29, false)]]);
        broken.0[1].0.first_chunk = ChunkNumber(90);
        assert_eq!(broken.resolve(22, 25), [(91, 91)]);
    }

    #[test]
    fn a_clock_that_was_set_back_gives_two_stretches_and_many_are_joined() {
        let twice = Tape::new(&[
            &[(1, 0, 9, true), (1, 10, 19, true)],
            &[(1, 50, 59, true)],
            &[(2, 0, 9, true), (2, 10, 19, true)],
        ]);
        assert_eq!(twice.resolve(12, 15), [(3, 3), (8, 8)]);
        let far: &[Chunk] = &[(9, 900, 909, true)];
        let near: &[Chunk] = &[(8, 10, 19, true)];
        let blocks = [near, far, near, far, far, near, far, far, near, far, far, near];
        assert_eq!(Tape::new(&blocks).resolve(12, 15), [(2, 6), (12, 12), (18, 18), (24, 24)]);
    }

    #[test]
    fn neighbours_are_one_stretch() {
        let tape = Tape::new(&[&[(1, 0, 9, true)], &[(1, 10, 19, false)], &[(1, 20, 29, true)]]);
        assert_eq!(tape.resolve(5, 25), [(2, 6)]);
    }

    #[test]
    fn a_block_in_which_damage_hides_chunks_is_held_whole() {
        let mut tape = Tape::new(&[&[(1, 0, 9, true), (1, 10, 19, true), (1, 20, 29, true)]]);
        tape.0[0].1.chunks.remove(1);
        assert_eq!(tape.resolve(12, 13), [(1, 4)]);
    }

    #[test]
    fn sound_alone_begins_where_the_range_does() {
        let tape = Tape::new(&[&[(1, 0, 9, false)], &[(1, 10, 19, false)]]);
        assert_eq!(tape.resolve(15, 18), [(4, 4)]);
    }

    #[test]
    fn the_end_of_a_range_that_grew_is_its_last_chunk() {
        let tape = Tape::new(&[&[(1, 0, 9, true)], &[(1, 10, 19, false)], &[(1, 20, 29, true)]]);
        let end = |first, to| {
            let range = TimeRange { from: Some(WallTime(0)), to: Some(WallTime(to)) };
            let found = end_of(&tape.rows(), ChunkNumber(first), range, &mut |block, _| {
                tape.0[block.0 as usize].1.clone()
            });
            found.map(|(last, _)| last.0)
        };
        assert_eq!((end(2, 15), end(2, 99), end(5, 15), end(2, 0)), (Some(4), Some(6), None, None));
    }
}
