//! Rows that are lost, found again from their blocks.

use super::blocks::{examine, links_after_voiding, note_unfinished, older_blocks, state_of};
use super::{Recovered, State, free_row};
use crate::format::block::BlockHeader;
use crate::format::footer::{ChunkPlace, Footer};
use crate::format::table::Row;
use crate::report::BlockState;
use crate::scan::{Scanner, Take};
use crate::types::{BlockIndex, ChunkNumber, Sequence, StreamId};
use std::collections::BTreeSet;

/// Finds rows again from their blocks.
pub(super) fn rebuild(scanner: &Scanner<'_>, state: &mut State, blocks: &BTreeSet<BlockIndex>) {
    let mut streams = BTreeSet::new();
    for &block in blocks {
        state.changed.insert(block);
        let row = row_from_block(scanner, block);
        if row.is_linked() {
            streams.insert(row.stream);
        }
        let mut row = row;
        note_unfinished(state, block, &mut row);
        state.set(block, row);
    }
    for stream in streams {
        relink(scanner, state, stream, blocks);
    }
}

/// A block's row, found again from the block alone.
pub(crate) fn row_from_block(scanner: &Scanner<'_>, block: BlockIndex) -> Row {
    let header = scanner.block_header(block).ok().flatten();
    header.as_ref().map_or_else(|| free_row(None), |header| row_of(scanner, block, header))
}

fn row_of(scanner: &Scanner<'_>, block: BlockIndex, header: &BlockHeader) -> Row {
    let take = Take { block, sequence: header.sequence, stream: header.stream };
    if let Some((trailer, footer)) = scanner.footer(&take)
        && !is_outdated(scanner, &take, &footer)
    {
        return trailer.row;
    }
    let progress = examine(scanner, &take, 0, None).progress;
    let state = state_of(&progress, false);
    if progress.row.chunks == 0 { free_row(Some(header)) } else { Row { state, ..progress.row } }
}

/// Whether a footer is of chunks that a crash discarded before the block was written on: another chunk of the same take stands
/// where it names one.
fn is_outdated(scanner: &Scanner<'_>, take: &Take, footer: &Footer) -> bool {
    footer.chunks.iter().any(|place| {
        let found = scanner.chunk_at(take, place.offset as usize);
        found.is_some_and(|(located, _)| {
            let differs = located.checksum != place.checksum && !planted!(FooterTrusted);
            differs || located.header.kind.is_void()
        })
    })
}

/// How many blocks of a stream a crash may have discarded, so that they do not link to what is left.
const DISCARDED_MAX: usize = 3;

/// The row of a stream's newest block without the chunks at its end that never landed: a crash may have kept the footer and
/// lost them. What is damaged before others that stand was there.
fn without_lost_end(scanner: &Scanner<'_>, block: BlockIndex, row: &Row) -> Option<Row> {
    let take = Recovered::take(block, row);
    let (_, footer) = scanner.footer(&take)?;
    let stands = |place: &ChunkPlace| {
        let loaded = scanner.load_at(&take, place.offset as usize, place.bytes as usize);
        loaded.is_some_and(|loaded| loaded.problems().is_empty())
    };
    let standing = footer.chunks.iter().rposition(stands).map_or(0, |last| last + 1);
    if standing == footer.chunks.len() || planted!(FooterTrusted) {
        return None;
    }
    let end = footer.chunks.get(standing).map_or(0, |place| place.offset as usize);
    let stop = ChunkNumber(row.first_chunk.0.saturating_add(standing as u64));
    let cut = examine(scanner, &take, end, Some(stop)).progress.row;
    Some(if cut.chunks == 0 { free_row(None) } else { Row { state: BlockState::Parked, ..cut } })
}

/// Of a stream of which rows were `rebuilt`: voids what its later blocks have replaced, and an end that does not link. Rows that
/// the table or the record had are right as they are.
fn relink(scanner: &Scanner<'_>, state: &mut State, stream: StreamId, rebuilt: &BTreeSet<BlockIndex>) {
    let is_rebuilt = |block: &BlockIndex| rebuilt.contains(block) || planted!(KnownRowsJudged);
    let newest = older_blocks(state, stream, Sequence(u64::MAX)).into_iter().next();
    if let Some((block, row)) =
        newest.filter(|(block, row)| is_rebuilt(block) && row.state == BlockState::Sealed)
        && let Some(cut) = without_lost_end(scanner, block, &row)
        && !planted!(LostEndBelieved)
    {
        state.set(block, cut);
    }
    let blocks = older_blocks(state, stream, Sequence(u64::MAX));
    for (index, pair) in blocks.windows(2).enumerate() {
        let [(block, row), (older, before)] = pair else { continue };
        let replaces = row.first_chunk <= before.last_chunk() && (is_rebuilt(block) || is_rebuilt(older));
        // Behind a block that is full the ring may have gone on while that one was held, or was withdrawn.
        let full = !matches!(before.state, BlockState::Open | BlockState::Parked);
        let behind_hole = full && row.first_chunk > before.last_chunk().next() && !planted!(KnownRowsJudged);
        // A crash may have discarded what stands behind a block that was being written.
        let hole = row.first_chunk > before.last_chunk().next() && !planted!(KnownRowsJudged);
        let end = index < DISCARDED_MAX && blocks.iter().take(index + 1).all(|(block, _)| is_rebuilt(block));
        let unsure_end = end && !behind_hole && (hole || index == 0 && row.state == BlockState::Parked);
        if !replaces && !unsure_end {
            continue;
        }
        let Some(header) = scanner.block_header(*block).ok().flatten() else { continue };
        let take = Take { block: *block, sequence: row.sequence, stream };
        if !links_after_voiding(scanner, state, &take, &header, None) && unsure_end {
            for (block, _) in blocks.iter().take(index + 1) {
                state.set(*block, free_row(scanner.block_header(*block).ok().flatten().as_ref()));
            }
        }
    }
}
