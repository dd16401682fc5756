//! How far the scrub is and what it found: one sector, once at each end of the volume, each in a page of its own.
//!
//! The two are written in turn, each time with the next revision: whatever becomes of a write, one of them stands, and the
//! higher revision counts. Progress and findings stand in the same sector, so that a finding counts exactly when its block
//! counts as verified.

use super::{Field, Framed, Zero, is_zero, record};
use crate::types::{BlockIndex, Sequence, VolumeId, WallTime};

/// How many damaged blocks it remembers.
pub(crate) const DAMAGED_MAX: usize = 7;

record! {
    /// How far the scrub is.
    pub(crate) struct ScrubSlot {
        /// The volume.
        volume: VolumeId,
        /// Grows each time it is written.
        revision: u64,
        /// The block from which the pass goes on; all before it are done.
        next: BlockIndex,
        /// How many of the damaged blocks count, the newest first.
        damaged: u32,
        /// The pass under way, number 0 = none.
        pass: PassRecord,
        /// The last pass that ended, number 0 = none.
        last: PassRecord,
        /// Damaged blocks that were found last.
        damaged_blocks: [DamageRecord; DAMAGED_MAX],
    }
}

impl Framed for ScrubSlot {
    const MAGIC: [u8; 8] = *b"KEHA-SCR";
    const SIZE: usize = super::SECTOR_BYTES;
}

impl ScrubSlot {
    /// What stands in these bytes, if it is of this volume.
    pub(crate) fn read(bytes: &[u8], volume: VolumeId) -> Option<ScrubSlot> {
        let (found, _) = ScrubSlot::unseal(bytes)?;
        let sane = found.damaged as usize <= DAMAGED_MAX && bytes.get(Self::SIZE..).is_some_and(is_zero);
        (found.volume == volume && sane).then_some(found)
    }
}

record! {
    /// A walk over all blocks.
    pub(crate) struct PassRecord {
        /// Which one, from 1.
        number: u32,
        /// How many blocks were verified in it.
        blocks: u32,
        /// How many of them were damaged.
        damaged: u32,
        /// How many places in them.
        places: u32,
        /// How many of these cost footage.
        footage_lost: u32,
        /// Reserved.
        zero: Zero<4>,
        /// How much was verified, in bytes.
        bytes: u64,
        /// When it began.
        began: WallTime,
        /// How long the volume had been open for writing then, in seconds.
        began_running_s: u64,
        /// When it ended, 0 = it has not.
        ended: WallTime,
    }
}

record! {
    /// A damaged block.
    pub(crate) struct DamageRecord {
        /// The block.
        block: BlockIndex,
        /// Where the first damaged place begins, in bytes from the block's beginning.
        offset: u32,
        /// The take.
        sequence: Sequence,
        /// How many places are damaged.
        places: u32,
        /// How many of these cost footage.
        footage_lost: u32,
        /// The earliest moment that is concerned.
        from: WallTime,
        /// The latest.
        to: WallTime,
        /// When it was found first.
        found: WallTime,
    }
}

impl<const N: usize> Field for [DamageRecord; N] {
    const BYTES: usize = N * DamageRecord::BYTES;

    fn put(&self, out: &mut [u8]) {
        for (place, value) in out.chunks_exact_mut(DamageRecord::BYTES).zip(self) {
            value.put(place);
        }
    }

    fn get(bytes: &[u8]) -> Option<Self> {
        let mut values = [const { None }; N];
        for (value, place) in values.iter_mut().zip(bytes.chunks_exact(DamageRecord::BYTES)) {
            *value = DamageRecord::get(place);
        }
        let values: Option<Vec<DamageRecord>> = values.into_iter().collect();
        values?.try_into().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_is_read_as_it_was_written_and_only_in_its_volume() {
        let volume = VolumeId::random();
        let mut slot =
            ScrubSlot { volume, revision: 3, next: BlockIndex(9), damaged: 7, ..ScrubSlot::default() };
        for (index, damage) in (1..).zip(&mut slot.damaged_blocks) {
            *damage =
                DamageRecord { block: BlockIndex(index), sequence: Sequence(7), ..DamageRecord::default() };
        }
        slot.pass = PassRecord { number: 2, places: u32::MAX, ..PassRecord::default() };
        let mut page = [0; 4096];
        slot.seal(&mut page);
        assert_eq!(ScrubSlot::read(&page, volume), Some(slot.clone()));
        assert_eq!(ScrubSlot::read(&page, VolumeId::random()), None);
        page[4095] = 1;
        assert_eq!(ScrubSlot::read(&page, volume), None, "the rest of its page is zero");
        ScrubSlot { damaged: 8, ..slot }.seal(&mut page[..512]);
        assert_eq!(ScrubSlot::read(&page[..512], volume), None);
    }
}
