//! Rows that are lost, found again from their blocks.
//!
//! | the block's header | the row |
//! |---|---|
//! | stands | what footer or chunks say; never less than what the row of the same take knew before |
//! | neither copy verifies | empty: nobody knows whose it is |
//! | cannot be read | withdrawn; what the chunks say of themselves is read |

use super::blocks::{links_after_voiding, note_unfinished, state_of};
use super::walk::{examine, examine_known};
use super::{Recovered, State, free_row};
use crate::format::footer::{ChunkPlace, Footer};
use crate::format::table::{CLOCKED, PART_VOID, Row};
use crate::progress::Progress;
use crate::report::BlockState;
use crate::scan::{Scanner, Take};
use crate::types::{BlockIndex, ChunkNumber, StreamId};
use std::collections::BTreeSet;

/// Finds rows again from their blocks.
pub(super) fn rebuild(scanner: &Scanner<'_>, state: &mut State, blocks: &BTreeSet<BlockIndex>) {
    let (mut streams, mut unknown) = (BTreeSet::new(), BTreeSet::new());
    for &block in blocks {
        state.changed.insert(block);
        let before = state.rows.get(block.0 as usize).cloned().unwrap_or_default();
        let mut row = row_held_against(scanner, block, &before);
        let same = |row: &Row| (row.sequence, row.stream, row.first_chunk, row.last_chunk());
        // What a row knew of the same take is right as it is.
        if !is_known(&before) || same(&before) != same(&row) {
            unknown.insert(block);
        }
        if row.is_linked() {
            streams.insert(row.stream);
        }
        if row.state != BlockState::Bad {
            note_unfinished(state, block, &mut row);
        }
        state.set(block, row);
    }
    for stream in streams {
        relink(scanner, state, stream, &unknown);
    }
}

/// A block's row, found again from the block alone.
pub(crate) fn row_from_block(scanner: &Scanner<'_>, block: BlockIndex) -> Row {
    row_held_against(scanner, block, &Row::default())
}

/// [`row_from_block`] where this was known of it: what a row of the same take knows is durable.
fn row_held_against(scanner: &Scanner<'_>, block: BlockIndex, before: &Row) -> Row {
    let header = match scanner.block_header(block) {
        Ok(Some(header)) => header,
        Err(_) if !planted!(UnreadableTakenForEmpty) => return withdrawn(scanner, block),
        _ => return free_row(None),
    };
    let take = Take { block, sequence: header.sequence, stream: header.stream };
    let same = Recovered::take(block, before) == take && is_known(before) && !planted!(DurableEndForgotten);
    let known = Some(before).filter(|_| same);
    let sealed = sealed_row(scanner, &take);
    if let Some(mut row) =
        sealed.filter(|row| known.is_none_or(|known| row.last_chunk() >= known.last_chunk()))
    {
        // A trailer is older than what was withheld later.
        (row.withheld_from, row.withheld) = (0, 0);
        known.into_iter().for_each(|known| row.withhold_as(known));
        return row;
    }
    let progress = match known {
        Some(known) => examine_known(scanner, &take, known).progress,
        None => examine(scanner, &take, 0, None).progress,
    };
    match known {
        Some(known) => with_known(known, progress),
        None if progress.row.chunks == 0 => free_row(Some(&header)),
        None => Row { state: state_of(&progress, false), ..progress.row },
    }
}

/// Whether a row tells how much of its take is durable.
fn is_known(row: &Row) -> bool {
    row.is_live() && matches!(row.state, BlockState::Parked | BlockState::Sealed)
}

/// What a sealed block says of itself.
fn sealed_row(scanner: &Scanner<'_>, take: &Take) -> Option<Row> {
    let (trailer, footer) = scanner.footer(take)?;
    (!is_outdated(scanner, take, &footer)).then_some(trailer.row)
}

/// A block whose header the disk does not give, and of which nothing else is known: nobody writes there any more. Its chunks say
/// themselves whose they are.
fn withdrawn(scanner: &Scanner<'_>, block: BlockIndex) -> Row {
    let row = scanner.first_take(block).map(|take| {
        let page_bytes = scanner.geometry.page_bytes;
        sealed_row(scanner, &take).unwrap_or_else(|| examine(scanner, &take, page_bytes, None).progress.row)
    });
    Row { state: BlockState::Bad, ..row.filter(|row| row.chunks > 0).unwrap_or_default() }
}

/// What a row knew of a take, and what was found of it: the block may have been written on, or overwritten in place, since the row
/// was written; and what is damaged now was not then.
fn with_known(known: &Row, found: Progress) -> Row {
    let row = &found.row;
    let void = row.flags & PART_VOID != 0;
    if row.chunks == 0 || !void && row.last_chunk() <= known.last_chunk() {
        return known.clone();
    }
    let first_chunk = row.first_chunk.min(known.first_chunk);
    let last = if row.last_chunk() < known.last_chunk() { known } else { row };
    let chunks = last.last_chunk().0.saturating_sub(first_chunk.0).saturating_add(1);
    // Of what was overwritten the row need not know any more.
    let both = !void && known.samples > 0;
    let times = match (both, row.samples) {
        (false, _) => (row.wall_min, row.wall_max),
        (true, 0) => (known.wall_min, known.wall_max),
        (true, _) => (row.wall_min.min(known.wall_min), row.wall_max.max(known.wall_max)),
    };
    let least = if both { known.clone() } else { Row::default() };
    let mut with = Row {
        state: state_of(&found, false),
        flags: (row.flags | known.flags) & !CLOCKED | row.flags & known.flags & CLOCKED,
        epoch: row.epoch.max(known.epoch),
        rank: row.rank.max(known.rank),
        first_chunk,
        chunks: u32::try_from(chunks).unwrap_or(u32::MAX),
        last_checksum: last.last_checksum,
        wall_min: times.0,
        wall_max: times.1,
        first_sync: if least.sync_samples > 0 { known.first_sync } else { row.first_sync },
        samples: row.samples.max(least.samples),
        sync_samples: row.sync_samples.max(least.sync_samples),
        payload_bytes: row.payload_bytes.max(least.payload_bytes),
        used_bytes: last.used_bytes,
        running_s: row.running_s.max(known.running_s),
        withheld_from: 0,
        withheld: 0,
        ..known.clone()
    };
    with.withhold_as(known);
    with
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
    let free = || Row { sequence: row.sequence, ..free_row(None) };
    Some(if cut.chunks == 0 { free() } else { Row { state: BlockState::Parked, ..cut } })
}

/// The blocks of a stream, the latest first.
fn newest_first(state: &State, stream: StreamId) -> impl Iterator<Item = (BlockIndex, Row)> {
    let row = |block: BlockIndex| Some((block, state.rows.get(block.0 as usize)?.clone()));
    state.chains.blocks(stream).rev().filter_map(row)
}

/// Of a stream of which rows were `rebuilt`: voids what its later blocks have replaced, and an end that does not link. Rows that
/// the table or the record had are right as they are.
fn relink(scanner: &Scanner<'_>, state: &mut State, stream: StreamId, rebuilt: &BTreeSet<BlockIndex>) {
    let is_rebuilt = |block: &BlockIndex| rebuilt.contains(block) || planted!(KnownRowsJudged);
    let newest = newest_first(state, stream).next();
    if let Some((block, row)) =
        newest.filter(|(block, row)| is_rebuilt(block) && row.state == BlockState::Sealed)
        && let Some(cut) = without_lost_end(scanner, block, &row)
        && !planted!(LostEndBelieved)
    {
        state.set(block, cut);
    }
    let blocks: Vec<_> = newest_first(state, stream).collect();
    for (index, pair) in blocks.windows(2).enumerate() {
        let [(block, row), (older, before)] = pair else { continue };
        let replaces = row.first_chunk <= before.last_chunk() && (is_rebuilt(block) || is_rebuilt(older));
        // Behind a block that is full the ring may have gone on while that one was held, or was withdrawn; of one in which the image
        // ends nobody knows what it held.
        let full = !matches!(before.state, BlockState::Open | BlockState::Parked);
        let geometry = scanner.geometry;
        let end_of_older = geometry.block_at(*older) + geometry.block_bytes as u64;
        let cut = end_of_older > scanner.disk.size_bytes();
        let behind_hole =
            (full || cut) && row.first_chunk > before.last_chunk().next() && !planted!(KnownRowsJudged);
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
