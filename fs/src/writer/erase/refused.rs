//! What cannot be overwritten, because the disk refuses that or nobody can tell what is to go: it is withheld, withdrawn or left alone,
//! and whoever asked is told.

use super::{Job, Target, What, cover};
use crate::disk::Disk;
use crate::error::Error;
use crate::format::table::Row;
use crate::hold::may_touch;
use crate::retention::erase::{Goes, goes, hull, is_numbered, is_within};
use crate::writer::engine::Engine;

impl<D: Disk> Engine<D> {
    /// A block that was withdrawn before cannot be overwritten: nobody is given what was asked for, and whoever asked is told.
    pub(super) fn withhold(&mut self, target: &Target, mut row: Row) {
        let What::Asked(range) = target.what else { return };
        let footer = self.contents(target.block, &row);
        let all = is_within(&row, range) || !is_numbered(&row, &footer);
        let goes = if all { Goes::All } else { goes(&footer, range) };
        if let Some((from, to)) = hull(&row, &footer, &goes).filter(|_| may_touch(&row, range)) {
            row.withhold(from, to);
            self.core.ledger.settle(target.block, row);
        }
        self.erasing.failed = Some(Error::NotOverwritten { block: target.block });
    }

    /// A block could not be overwritten: it is withdrawn, if not too many were, and whoever asked is told.
    pub(super) fn give_up(&mut self, job: &mut Job) -> bool {
        let block = job.take.block;
        tracing::error!(%block, "a block cannot be overwritten");
        // It is judged by what can be read of it at once.
        job.tries = cover::TRIES;
        match job.target.what {
            What::Asked(_) => self.erasing.failed = Some(Error::NotOverwritten { block }),
            What::Expired(_) | What::Begun => self.erasing.put_off(&job.target, self.core.running_seconds()),
        }
        self.finish_block(job)
    }

    /// Whether one block more is withdrawn because it cannot be overwritten: a bad cable must not eat the archive.
    pub(super) fn may_withdraw(&mut self) -> bool {
        let (most, running_s) = ((self.core.geometry.blocks / 100).max(2), self.core.running_seconds());
        let few = self.erasing.faults.spent(running_s) < most && self.core.ledger.bad_blocks() < 2 * most;
        let may = few || planted!(ErasingFaultsUnlimited);
        if may {
            self.erasing.faults.count(running_s);
        }
        may
    }

    /// Nothing was written to a block, and nothing is.
    pub(super) fn leave_alone(&mut self, job: &Job) -> bool {
        let block = job.take.block;
        tracing::warn!(%block, "what of a block is to be overwritten cannot be told: it cannot be read, or is damaged");
        self.core.block_ended(block, job.before.clone());
        self.not_told(&job.target);
        false
    }

    /// What of a block is to go cannot be told now: whoever asked is told.
    pub(super) fn not_told(&mut self, target: &Target) {
        match target.what {
            What::Asked(_) => self.erasing.failed = Some(Error::NotErased { block: target.block }),
            What::Expired(_) | What::Begun => self.erasing.put_off(target, self.core.running_seconds()),
        }
        self.block_done(target);
    }
}
