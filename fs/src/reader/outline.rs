//! What one block of a stream holds, chunk by chunk: runs, moments, sync samples and gap records, from its footer and its event
//! chunks. No footage is read.
//!
//! What is withheld or past its maximum age is void here, as it is for the cursor; what a live writer has not made durable yet, and
//! does not verify, is left out.

use super::Volume;
use super::rows::StreamRow;
use crate::error::Result;
use crate::format::chunk::ChunkKind;
use crate::format::footer::{ChunkPlace, Footer, SyncPlace};
use crate::format::table::Row;
use crate::gap::Gap;
use crate::recover::Recovered;
use crate::scan::Take;
use crate::types::{ChunkNumber, ConfigurationHash, RunId, StreamId, TrackNumber, WallTime};

/// What a block holds, without its footage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlockOutline {
    /// The number of its first chunk; the others count on from it. `None` where damage hides some.
    pub first_chunk: Option<ChunkNumber>,
    /// Its chunks in the order of recording.
    pub chunks: Vec<OutlineChunk>,
    /// The places where reading may begin, in the order of recording.
    pub syncs: Vec<OutlineSync>,
    /// Damage hides some of it.
    pub damaged: bool,
}

/// A chunk of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutlineChunk {
    /// Its number; `None` where damage hides it.
    pub number: Option<ChunkNumber>,
    /// What it holds.
    pub kind: OutlineKind,
    /// The run its samples belong to.
    pub run: RunId,
    /// Its earliest moment; where nothing is left, that of what was.
    pub from: WallTime,
    /// Its latest moment (inclusive).
    pub to: WallTime,
    /// The configuration its samples need: see [`Volume::configuration_in_block`].
    pub configuration: ConfigurationHash,
    /// Its length on the disk in bytes, with its tables.
    pub bytes: u32,
}

/// What a chunk holds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OutlineKind {
    /// Samples.
    Media,
    /// Nothing more: erased on request.
    Erased,
    /// Nothing more: past its stream's maximum age.
    Expired,
    /// A gap record.
    Gap(Gap),
    /// A configuration, or what this version does not know or cannot read.
    Other,
}

/// A place where reading may begin: a video sync sample; in a stream without video, the first sample of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutlineSync {
    /// Which chunk of the block, from 0.
    pub chunk: u32,
    /// Which entry of that chunk, from 0.
    pub entry: u32,
    /// Its wall time.
    pub wall: WallTime,
    /// Its track.
    pub track: TrackNumber,
}

impl Volume {
    /// What the block of a row holds. Of a block of which nothing is left, nothing.
    ///
    /// # Errors
    /// [`crate::Error::Overwritten`] if the ring has taken it for something else.
    pub fn outline(&self, stream: StreamId, row: &StreamRow) -> Result<BlockOutline> {
        let take = Take { block: row.block, sequence: row.sequence, stream };
        let now = self.state.row(row.block);
        if Recovered::take(row.block, &now) != take || !now.is_linked() {
            return Err(self.overwritten(&take));
        }
        let given = self.past(stream).map_or(now.clone(), |past| past.row(now.clone()));
        if !given.is_live() {
            return Ok(BlockOutline::default());
        }
        let (footer, damaged) = self.settled_outline(&take, &now)?;
        let numbered = footer.chunks.len() == now.chunks as usize;
        let number = |index: u64, place: &ChunkPlace| match numbered {
            true => Some(ChunkNumber(now.first_chunk.0.saturating_add(index))),
            false => self.scanner().located(&take, place).map(|located| located.header.number),
        };
        let chunk = |(index, place): (u64, &ChunkPlace)| OutlineChunk {
            number: number(index, place),
            kind: self.outline_kind(&take, place),
            run: place.run,
            from: place.wall_min,
            to: place.wall_max,
            configuration: place.configuration,
            bytes: place.bytes,
        };
        let sync = |sync: &SyncPlace| OutlineSync {
            chunk: sync.chunk,
            entry: sync.entry,
            wall: sync.wall,
            track: sync.track,
        };
        Ok(BlockOutline {
            first_chunk: numbered.then_some(now.first_chunk),
            chunks: (0..).zip(&footer.chunks).map(chunk).collect(),
            syncs: footer.syncs.iter().map(sync).collect(),
            damaged,
        })
    }

    /// The chunks of a block as far as they are settled, and whether damage hides others.
    fn settled_outline(&self, take: &Take, row: &Row) -> Result<(Footer, bool)> {
        if let Some(mut footer) = self.state.walked(&self.scanner(), take, row).cloned() {
            self.hide(row, &mut footer);
            return Ok((footer, false));
        }
        let (mut footer, findings) = self.contents(take.block, row);
        let lost = findings.iter().filter(|finding| finding.footage_lost).map(|finding| finding.at).min();
        let Some(first_lost) = lost else { return Ok((footer, false)) };
        if self.is_passed(take) {
            return Err(self.overwritten(take));
        }
        if !self.is_unsettled(take, first_lost) {
            // It was on its way when it was read, and is there by now, or it is damaged.
            let (footer, findings) = self.contents(take.block, row);
            return Ok((footer, findings.iter().any(|finding| finding.footage_lost)));
        }
        let begins = self.block_at(take.block);
        footer.chunks.retain(|place| begins + u64::from(place.offset) < first_lost);
        let chunks = footer.chunks.len();
        footer.syncs.retain(|sync| (sync.chunk as usize) < chunks);
        Ok((footer, false))
    }

    fn outline_kind(&self, take: &Take, place: &ChunkPlace) -> OutlineKind {
        match place.kind {
            ChunkKind::MEDIA => OutlineKind::Media,
            ChunkKind::ERASED => OutlineKind::Erased,
            ChunkKind::EXPIRED => OutlineKind::Expired,
            ChunkKind::EVENT => self.gap_in(take, place).map_or(OutlineKind::Other, OutlineKind::Gap),
            _ => OutlineKind::Other,
        }
    }

    /// The gap record in an event chunk, if this version can read it.
    fn gap_in(&self, take: &Take, place: &ChunkPlace) -> Option<Gap> {
        let loaded = self.scanner().load_at(take, place.offset as usize, place.bytes as usize)?;
        loaded.payloads().into_iter().filter_map(|payload| payload.data).find_map(|data| Gap::decode(&data))
    }
}
