//! What must be there, block by block: all that the writers knew to be live, set aside for nothing and taken for nothing else
//! is in every image, up to the watermark. So a hole is believed only where the ring went on, and an end only where it was
//! overwritten, whatever is held before or behind.

use super::oracle::{Claim, Model};
use super::walk::{Hole, Walk};
use super::{Verdict, demand};
use crate::format::geometry::Geometry;
use crate::recover::Recovered;
use crate::report::BlockState;
use crate::types::{BlockIndex, ChunkNumber, StreamId};
use crate::writer::inspect::{LiveBlock, View};
use std::ops::Range;

impl Claim<'_> {
    /// The blocks of a stream that a writer knew to be live and that none set aside or took for something else since.
    fn kept(&self, stream: StreamId) -> impl Iterator<Item = &LiveBlock> {
        let known = self.views.iter().enumerate();
        known.flat_map(move |(index, view)| {
            let mine = view.live.iter().filter(move |live| live.stream == stream);
            mine.filter(move |live| {
                !self.views.iter().enumerate().any(|(at, view)| is_lost(view, live, at >= index))
            })
        })
    }

    /// Holds a stream's chunks against these blocks. `durable` is its watermark.
    pub(super) fn present(&self, stream: StreamId, walk: &Walk, durable: ChunkNumber) -> Verdict {
        for live in self.kept(stream) {
            let must = live.first_chunk.0..=live.last_chunk.0.min(durable.0);
            let missing = must.map(ChunkNumber).find(|chunk| walk.chunks.binary_search(chunk).is_err());
            demand!(missing.is_none(), "chunk {missing:?} of {live:?} is missing; durable is {durable}");
            // What was sent and not flushed may be missing at the end, never before something that is there.
            let reaches_in = |hole: &&Hole| live.first_chunk < hole.after && live.last_chunk > hole.before;
            let hole = walk.holes.iter().find(reaches_in);
            demand!(hole.is_none(), "of {live:?} chunks are missing in {hole:?}");
        }
        Ok(())
    }

    /// Whether nothing of a stream's newest footage need be there: where the watermark stood, the ring went on since.
    pub(super) fn end_is_overwritten(&self, stream: StreamId, durable: ChunkNumber) -> bool {
        let has_it = |live: &&LiveBlock| (live.first_chunk..=live.last_chunk).contains(&durable);
        let known = self.views.iter().any(|view| !view.takes.is_empty());
        known && !self.kept(stream).any(|live| has_it(&live))
    }
}

/// Whether a view has a block set aside, or (`later`) taken for something else.
fn is_lost(view: &View, live: &LiveBlock, later: bool) -> bool {
    let Some(take) = view.takes.get(&live.block) else { return false };
    if *take == live.sequence { view.granted.contains(&live.block) } else { later }
}

/// What is durable in a live block is not written again.
pub(super) fn untouched(
    written: &[Range<u64>],
    before: &View,
    after: &View,
    geometry: &Geometry,
    model: &Model,
) -> Verdict {
    let watermark = |live: &LiveBlock| {
        let mut streams = model.streams.values().filter(|stream| stream.id == live.stream);
        streams.next().map(|stream| stream.durable_chunk).unwrap_or_default()
    };
    // But what is overwritten in place.
    let in_place = |block: &BlockIndex| before.reserved.contains(block) || after.reserved.contains(block);
    let settled = before.live.iter().filter(|live| live.last_chunk <= watermark(live));
    for live in settled.filter(|live| !in_place(&live.block)) {
        if after.takes.get(&live.block) != Some(&live.sequence) {
            continue;
        }
        let begin = geometry.block_at(live.block);
        let mine = begin..begin + u64::from(live.used_bytes);
        let hit = written.iter().find(|written| written.start < mine.end && mine.start < written.end);
        demand!(hit.is_none(), "{hit:?} is written in {mine:?} of {live:?}, all of which is durable");
    }
    Ok(())
}

/// Opening writes nothing where footage stands, but to finish what was being overwritten.
pub(super) fn unwritten(written: &[Range<u64>], found: &View, opened: &View, geometry: &Geometry) -> Verdict {
    let kept = found.live.iter().filter(|live| !opened.reserved.contains(&live.block));
    for live in kept {
        let begin = geometry.block_at(live.block);
        let mine = begin..begin + u64::from(live.used_bytes);
        let hit = written.iter().find(|written| written.start < mine.end && mine.start < written.end);
        demand!(hit.is_none(), "opening writes {hit:?} in {mine:?} of {live:?}");
    }
    Ok(())
}

/// What an image holds, as a view: all of it must be there after opening, however that is cut short. It excuses nothing.
pub(super) fn found(state: &Recovered) -> View {
    let rows = state.rows.iter().enumerate().filter(|(_, row)| row.is_live());
    let live = rows.map(|(index, row)| LiveBlock::of(BlockIndex(index as u32), row)).collect();
    View { live, epoch: state.epoch, highest: state.highest, ..View::default() }
}

/// Opening changes nothing of what was there, but that it sets blocks aside.
pub(super) fn unchanged(before: &View, after: &View) -> Verdict {
    let settled = |live: &LiveBlock| LiveBlock {
        state: if live.state == BlockState::Open { BlockState::Parked } else { live.state },
        ..live.clone()
    };
    // What a crash left half overwritten is finished.
    let finishing = |live: &&LiveBlock| after.reserved.contains(&live.block);
    let kept = before.live.iter().filter(|live| !after.granted.contains(&live.block));
    for live in kept.filter(|live| !finishing(live)) {
        let now = after.live.iter().find(|now| now.block == live.block);
        demand!(now.map(settled).as_ref() == Some(live), "found was {live:?}, after opening {now:?}");
    }
    for now in &after.live {
        let was = before.live.iter().any(|live| live.block == now.block);
        demand!(was, "{now:?} was not found, and is there after opening");
    }
    Ok(())
}
