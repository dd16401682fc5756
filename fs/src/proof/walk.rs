//! The oracle's own walk through a stream: chunk by chunk, each linked to the one before wherever their numbers follow upon
//! each other, every sample held against the bytes that belong to its number.

use super::material::is_payload;
use super::oracle::Claim;
use super::{Verdict, demand};
use crate::disk::ReadAt;
use crate::format::chunk::{ChunkHeader, ChunkKind};
use crate::format::footer::ChunkPlace;
use crate::format::table::Row;
use crate::gap::Gap;
use crate::hold::Guard;
use crate::recover::{Recovered, examine};
use crate::report::BlockState;
use crate::sample::SampleFlags;
use crate::scan::{Scanner, Take};
use crate::types::{BlockIndex, ChunkNumber, RunId, StreamId, TrackNumber};
use bytes::{Bytes, BytesMut};
use std::collections::BTreeSet;

/// A piece of a stream as found by the oracle's own walk.
#[derive(Clone, Debug)]
pub(super) enum Found {
    Sample { ticks: i64, track: TrackNumber, seek: bool, run: RunId },
    Gap(Gap),
}

/// A place where chunks are missing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hole {
    /// The last chunk before it,
    pub(super) before: ChunkNumber,
    /// and the first behind it.
    pub(super) after: ChunkNumber,
    /// How many pieces came before it.
    pub(super) found: usize,
}

/// What stands in a stream.
#[derive(Default)]
pub(super) struct Walk {
    pub(super) chunks: Vec<ChunkNumber>,
    pub(super) found: Vec<Found>,
    pub(super) holes: Vec<Hole>,
    /// How many pieces came before each stretch that was overwritten in place.
    voids: Vec<usize>,
}

/// Number and checksum of the last chunk, and whether its block stays while the ring goes on behind it.
type Last = Option<(ChunkNumber, u32, bool)>;

/// Reads a stream chunk by chunk.
pub(super) fn walk(
    disk: &dyn ReadAt,
    state: &Recovered,
    stream: StreamId,
    claim: &Claim<'_>,
) -> Verdict<Walk> {
    let faulty = claim.faulty;
    let scanner = Scanner { disk, geometry: &state.geometry, volume: state.volume() };
    let mine = state.rows.iter().enumerate().filter(|(_, row)| row.is_linked() && row.stream == stream);
    let mut blocks: Vec<_> = mine.collect();
    blocks.sort_by_key(|(_, row)| row.sequence);
    let guard = Guard::of(state.holds.holds().iter().chain(&claim.model.once_held));
    let mut walk = Walk::default();
    let mut last: Last = None;
    let mut split: Option<(i64, bool, BytesMut)> = None;
    for (index, row) in blocks {
        let take = Recovered::take(BlockIndex(index as u32), row);
        if walk.chunks.last().is_some_and(|last| last.next() != row.first_chunk) {
            split = None;
        }
        if faulty && row.withheld > 0 && row.withheld == row.chunks {
            // It was erased, and could not be overwritten: whatever stands there.
            walk.chunks.extend((row.first_chunk.0..=row.last_chunk().0).map(ChunkNumber));
            walk.voids.push(walk.found.len());
            (split, last) = (None, Some((row.last_chunk(), row.last_checksum, true)));
            continue;
        }
        let stop = row.last_chunk().next();
        let examined = examine(&scanner, &take, row.used_bytes as usize, Some(stop));
        let withheld = faulty && row.withheld > 0;
        let harmless = examined.findings.iter().all(|finding| withheld || faulty && !finding.footage_lost);
        demand!(harmless, "findings in {take:?}: {:?}", examined.findings);
        let sum = &examined.progress.row;
        // What a refused write left in the disk's cache, where the row was counted, is not what a power cut leaves.
        let counted = (sum.samples, sum.payload_bytes, sum.sync_samples, sum.first_sync)
            == (row.samples, row.payload_bytes, row.sync_samples, row.first_sync)
            && (sum.wall_min, sum.wall_max) == (row.wall_min, row.wall_max);
        demand!(
            (sum.first_chunk, sum.chunks, sum.last_checksum, sum.used_bytes)
                == (row.first_chunk, row.chunks, row.last_checksum, row.used_bytes)
                && (counted || withheld),
            "the row {row:?} is not what the block holds: {sum:?}"
        );
        for place in &examined.progress.footer.chunks {
            if place.kind.is_void() {
                walk.add_void(&scanner, &take, place, &mut last)?;
                split = None;
                continue;
            }
            let loaded = scanner
                .load_at(&take, place.offset as usize, place.bytes as usize)
                .ok_or_else(|| format!("chunk at {} of {take:?} is not there", place.offset))?;
            let header = loaded.header();
            let given = !(withheld && row.withholds(header.number));
            demand!(!given || loaded.problems().is_empty(), "a chunk of {take:?}: {:?}", loaded.problems());
            if withheld {
                walk.pass_withheld(row, header, &mut last);
            }
            walk.link(&take, header, last)?;
            last = Some((header.number, loaded.located.checksum, false));
            walk.chunks.push(header.number);
            if row.withholds(header.number) && header.kind == ChunkKind::MEDIA {
                walk.voids.push(walk.found.len());
                split = None;
                continue;
            }
            let tables = loaded.tables.clone().unwrap_or_default();
            for (index, payload) in (0..).zip(loaded.payloads()) {
                let data = payload.data.clone().unwrap_or_default();
                if header.kind == ChunkKind::MEDIA {
                    let (ticks, _) = tables.time_of(index).ok_or("a sample without an anchor")?;
                    walk.add(ticks, payload.entry.track, payload.entry.flags, &data, header.run, &mut split)?;
                }
            }
            if header.kind == ChunkKind::EVENT {
                let first = loaded.payloads().into_iter().next().and_then(|payload| payload.data);
                let gap = first.and_then(|data| Gap::decode(&data)).ok_or("a gap that does not decode")?;
                walk.found.push(Found::Gap(gap));
            }
        }
        let withdrawn = row.state == BlockState::Bad && faulty;
        let spared = claim.model.any_spared || claim.model.spared.contains(&(take.block, take.sequence));
        // What was held may have been erased since it was lifted.
        let once = Row { state: BlockState::Sealed, ..row.clone() };
        if let Some((.., stays)) = &mut last {
            *stays = withdrawn || spared || guard.covers(&once);
        }
    }
    Ok(walk)
}

impl Walk {
    /// What is torn of chunks that are withheld counts as there: nobody is given it.
    fn pass_withheld(&mut self, row: &Row, next: &ChunkHeader, last: &mut Last) {
        let first = last.map_or(row.first_chunk, |(before, ..)| before.next()).max(row.first_chunk);
        let torn = first.0..next.number.0;
        if !torn.is_empty() && torn.clone().all(|number| row.withholds(ChunkNumber(number))) {
            self.chunks.extend(torn.map(ChunkNumber));
            self.voids.push(self.found.len());
            *last = Some((ChunkNumber(next.number.0 - 1), next.previous, false));
        }
    }

    /// Whether a chunk may follow the one before.
    fn link(&mut self, take: &Take, header: &ChunkHeader, last: Last) -> Verdict {
        let Some((before, checksum, stays)) = last else { return Ok(()) };
        let after = header.number;
        let links = after == before.next() && header.previous == checksum;
        let hole = stays && after > before.next();
        demand!(links || hole, "chunk {after} in {take:?} does not link to chunk {before}");
        self.holes.extend(hole.then_some(Hole { before, after, found: self.found.len() }));
        Ok(())
    }

    /// A stretch that was overwritten is a link like any other.
    fn add_void(
        &mut self,
        scanner: &Scanner<'_>,
        take: &Take,
        place: &ChunkPlace,
        last: &mut Last,
    ) -> Verdict {
        if place.bytes == 0 {
            return Ok(());
        }
        let found = scanner.chunk_at(take, place.offset as usize);
        let (located, _) =
            found.ok_or_else(|| format!("void at {} of {take:?} is not there", place.offset))?;
        let header = &located.header;
        self.link(take, header, *last)?;
        demand!(header.samples == 0 && header.entries == 0, "void {} has samples", header.number);
        *last = Some((header.last_number(), located.checksum, false));
        self.chunks.extend((header.number.0..=header.last_number().0).map(ChunkNumber));
        self.voids.push(self.found.len());
        Ok(())
    }

    /// All that was found, by number.
    pub(super) fn keys(&self) -> BTreeSet<u64> {
        let key = |found: &Found| match found {
            Found::Sample { ticks, .. } => *ticks as u64,
            Found::Gap(gap) => gap.from.0 as u64,
        };
        self.found.iter().map(key).collect()
    }

    /// Whether a stretch was overwritten in place before a piece: nothing that follows can be decoded from what came before.
    pub(super) fn is_void(&self, found: usize) -> bool {
        self.voids.contains(&found)
    }

    /// Whether chunks are missing before a piece: nothing that follows can be decoded from what came before.
    pub(super) fn is_hole(&self, found: usize) -> bool {
        self.holes.iter().any(|hole| hole.found == found)
    }

    /// Whether a hole is followed by nothing but the rest of a sample whose beginning is missing.
    pub(super) fn ends_within_a_sample(&self) -> bool {
        self.is_hole(self.found.len())
    }

    fn add(
        &mut self,
        ticks: i64,
        track: TrackNumber,
        flags: SampleFlags,
        data: &Bytes,
        run: RunId,
        split: &mut Option<(i64, bool, BytesMut)>,
    ) -> Verdict {
        let is = |mark| flags.contains(mark);
        let seek = is(SampleFlags::SEEK_POINT);
        let fragment = is(SampleFlags::MORE_FRAGMENT) || is(SampleFlags::LAST_FRAGMENT);
        if is(SampleFlags::FIRST_FRAGMENT) {
            *split = Some((ticks, seek, BytesMut::from(&data[..])));
            return Ok(());
        }
        if !fragment {
            demand!(is_payload(ticks as u64, data), "sample {ticks} has other bytes");
            self.found.push(Found::Sample { ticks, track, seek, run });
            return Ok(());
        }
        let Some((began, seek, mut whole)) = split.take().filter(|(began, ..)| *began == ticks) else {
            return Ok(());
        };
        whole.extend_from_slice(data);
        demand!(is_payload(ticks as u64, &whole), "sample {ticks} has other bytes");
        if is(SampleFlags::LAST_FRAGMENT) {
            self.found.push(Found::Sample { ticks, track, seek, run });
        } else {
            *split = Some((began, seek, whole));
        }
        Ok(())
    }
}
