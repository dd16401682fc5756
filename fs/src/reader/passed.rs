//! The ring goes on beside a reader: whether it has taken what is being read for something else, and what it holds by now.

use super::Volume;
use crate::disk::ReadAt;
use crate::error::{Error, Result};
use crate::recover::{Recovered, newest_record, recover, renewed};
use crate::scan::{Scanner, Take};
use crate::types::RoundNumber;
use std::path::Path;
use std::sync::{Arc, PoisonError};

impl Volume {
    /// Whether the ring has taken the block for something else.
    pub(super) fn is_passed(&self, take: &Take) -> bool {
        if planted!(PassedReaderSeesDamage) {
            return false;
        }
        let Some(record) = newest_record(&self.scanner()) else { return false };
        let granted = record.granted.iter().map(|granted| (granted.block, granted.sequence));
        let named = record.named.iter().map(|named| (named.block, named.sequence));
        let settled = record.rows.iter().map(|row| (row.block, row.row.sequence));
        let mut told = granted.chain(named).chain(settled);
        if told.any(|(block, sequence)| block == take.block && sequence > take.sequence) {
            return true;
        }
        // Another header alone does not tell: where the table says the take is there still, it is the table that is wrong.
        let Ok(Some(header)) = self.scanner().block_header(take.block) else { return false };
        header.sequence != take.sequence
            && self.state_at(record.header.round).is_some_and(|now| {
                let row = now.row(take.block);
                row.sequence != take.sequence || !row.is_live()
            })
    }

    /// What the volume holds by now: found out once a round, however many blocks are asked for.
    pub(super) fn state_at(&self, round: RoundNumber) -> Option<Arc<Recovered>> {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(state) = latest.as_ref().filter(|state| state.round >= round) {
            return Some(Arc::clone(state));
        }
        let before = latest.as_ref().unwrap_or(&self.state);
        let now = Arc::new(renewed_beside_writer(&*self.disk, &self.path, before).ok()?);
        *latest = Some(Arc::clone(&now));
        Some(now)
    }

    /// From where on (in bytes from the volume's beginning) what stands of a take may still be on its way to the disk: the newest
    /// record does not call it durable. While it is, a read may give it, and the next one not.
    pub(super) fn unsettled_from(&self, take: &Take) -> Option<u64> {
        let record = newest_record(&self.scanner())?;
        let granted = record.granted.iter().map(|granted| (granted.block, granted.sequence, 0));
        let named = record.named.iter().map(|named| (named.block, named.sequence, named.durable_end));
        let mut open = granted.chain(named).filter(|open| (open.0, open.1) == (take.block, take.sequence));
        open.next().map(|(.., durable_end)| self.block_at(take.block) + u64::from(durable_end))
    }

    pub(super) fn is_unsettled(&self, take: &Take, at: u64) -> bool {
        self.unsettled_from(take).is_some_and(|from| at >= from)
    }

    /// The error for a stream of which the ring takes this block while it is read. Older ones may be there still, for they are held:
    /// it is what was written behind this one that the reader wants.
    pub(super) fn overwritten(&self, passed: &Take) -> Error {
        let now = self.renewed().ok();
        let blocks = now.map(|volume| volume.stream_blocks(passed.stream)).unwrap_or_default();
        let behind = blocks.iter().filter(|(_, row)| row.has_samples() && row.sequence > passed.sequence);
        let first = behind.map(|(_, row)| row.wall_min).min();
        Error::Overwritten { available_from: first }
    }
}

/// Recovers; again if the writer went on too far in the meantime for table and record to belong together.
pub(super) fn recover_beside_writer(disk: &dyn ReadAt, path: &Path) -> Result<Recovered> {
    const TRIES: usize = 4;
    let mut state = recover(disk, path)?;
    for _ in 1..TRIES {
        let scanner = Scanner { disk, geometry: &state.geometry, volume: state.volume() };
        let now = newest_record(&scanner).map_or(state.round, |record| record.header.round);
        if now.0 <= state.round.0.saturating_add(1) {
            break;
        }
        state = recover(disk, path)?;
    }
    Ok(state)
}

/// [`recover_beside_writer`], from what was found before, if that can be.
pub(super) fn renewed_beside_writer(disk: &dyn ReadAt, path: &Path, before: &Recovered) -> Result<Recovered> {
    match renewed(disk, before) {
        Some(now) => Ok(now),
        None => recover_beside_writer(disk, path),
    }
}
