//! What the scrub tells about itself: plain data for callers to show or act on.

use crate::format::geometry::Geometry;
use crate::format::scrub::{DAMAGED_MAX, DamageRecord, PassRecord, ScrubSlot};
use crate::format::table::Row;
use crate::types::{BlockIndex, Sequence, StreamId, WallTime};
use std::time::Duration;

/// How far the background verification of a volume is, and what it found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScrubReport {
    /// In which time all is verified once, if a writer does so now.
    pub every: Option<Duration>,
    /// The pass under way, if one ever began.
    pub pass: Option<ScrubPass>,
    /// The last pass that ended.
    pub last: Option<ScrubPass>,
    /// The pass under way has gone over so many blocks,
    pub blocks_done: u32,
    /// of so many.
    pub blocks: u32,
    /// The blocks found damaged last, the newest first, as long as the damaged take is there.
    pub damaged: Vec<ScrubDamage>,
}

/// A walk over all blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScrubPass {
    /// Which one, from 1.
    pub number: u32,
    /// When it began.
    pub began: WallTime,
    /// When it ended, if it has.
    pub ended: Option<WallTime>,
    /// How many blocks held something and were verified.
    pub blocks: u32,
    /// How much was verified, in bytes.
    pub bytes: u64,
    /// How many of the blocks were damaged.
    pub damaged: u32,
    /// How many places in them.
    pub places: u32,
    /// How many of these places cost footage; for the others a second copy stands in.
    pub footage_lost: u32,
}

/// A damaged block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScrubDamage {
    /// The block.
    pub block: BlockIndex,
    /// Its take.
    pub sequence: Sequence,
    /// Whose it is.
    pub stream: StreamId,
    /// Where the first damaged place begins on the volume, in bytes.
    pub at: u64,
    /// How many places are damaged.
    pub places: u32,
    /// How many of these cost footage.
    pub footage_lost: u32,
    /// The earliest moment that is concerned.
    pub from: WallTime,
    /// The latest.
    pub to: WallTime,
    /// When it was found first.
    pub found: WallTime,
}

impl ScrubReport {
    /// What a slot tells, in a volume of this geometry; `row_of` gives the rows by now.
    pub(crate) fn new<'a>(
        slot: &ScrubSlot,
        geometry: &Geometry,
        row_of: impl Fn(BlockIndex) -> Option<&'a Row>,
    ) -> ScrubReport {
        let listed = slot.damaged_blocks.iter().take((slot.damaged as usize).min(DAMAGED_MAX));
        let there = listed.filter_map(|damage| {
            let row = row_of(damage.block)?;
            (row.sequence == damage.sequence && row.is_live())
                .then(|| damage_of(damage, row.stream, geometry))
        });
        ScrubReport {
            every: None,
            pass: pass_of(&slot.pass),
            last: pass_of(&slot.last),
            blocks_done: slot.next.0.min(geometry.blocks),
            blocks: geometry.blocks,
            damaged: there.collect(),
        }
    }
}

fn pass_of(pass: &PassRecord) -> Option<ScrubPass> {
    (pass.number > 0).then_some(ScrubPass {
        number: pass.number,
        began: pass.began,
        ended: (pass.ended != WallTime::default()).then_some(pass.ended),
        blocks: pass.blocks,
        bytes: pass.bytes,
        damaged: pass.damaged,
        places: pass.places,
        footage_lost: pass.footage_lost,
    })
}

fn damage_of(damage: &DamageRecord, stream: StreamId, geometry: &Geometry) -> ScrubDamage {
    ScrubDamage {
        block: damage.block,
        sequence: damage.sequence,
        stream,
        at: geometry.block_at(damage.block) + u64::from(damage.offset),
        places: damage.places,
        footage_lost: damage.footage_lost,
        from: damage.from,
        to: damage.to,
        found: damage.found,
    }
}
