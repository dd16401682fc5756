//! What cannot be overwritten, because the disk refuses that or nobody can tell what is to go: it is withheld, withdrawn or left alone,
//! and whoever asked is told.

use super::{Job, Target, What, cover};
use crate::disk::Disk;
use crate::error::Error;
use crate::format::SECTOR_BYTES;
use crate::format::chunk::ChunkKind;
use crate::format::footer::Footer;
use crate::format::table::Row;
use crate::hold::may_touch;
use crate::retention::erase::{Goes, goes, hull, is_numbered, is_within};
use crate::types::{BlockIndex, ChunkNumber};
use crate::writer::engine::Engine;

impl<D: Disk> Engine<D> {
    /// A block that was withdrawn before cannot be overwritten: nobody is given what was asked for, and whoever asked is told.
    pub(super) fn withhold(&mut self, target: &Target, mut row: Row) {
        if !matches!(target.what, What::Asked(_)) {
            return;
        }
        if let Some((from, to)) = self.asked_of(target, &row) {
            self.withhold_alone(target.block, &mut row, from, to);
            self.core.ledger.settle(target.block, row);
        }
        self.erasing.failed = Some(Error::NotOverwritten { block: target.block });
    }

    /// The chunks that were asked for of a block, and what lies between them, counted from its first one.
    fn asked_of(&self, target: &Target, row: &Row) -> Option<(u32, u32)> {
        let What::Asked(range) = target.what else { return None };
        let footer = self.contents(target.block, row);
        let all = is_within(row, range) || !is_numbered(row, &footer);
        let goes = if all { Goes::All } else { goes(&footer, range) };
        hull(row, &footer, &goes).filter(|_| may_touch(row, range))
    }

    /// Whether nothing of a block may be overwritten, because other footage lies between what was asked for and what is withheld: if the
    /// disk refused, that would be hidden, too.
    pub(super) fn parted(&self, target: &Target) -> bool {
        let row = self.core.ledger.row(target.block);
        let asked = (row.withheld > 0 && !target.dead).then(|| self.asked_of(target, row)).flatten();
        asked.is_some_and(|(from, to)| self.withholding(target.block, row, from, to).is_none())
    }

    /// Withholds chunks of a block, but none more where that would hide others: what is held, and what nobody asked for, is given,
    /// whatever the disk refuses, and whoever asked is told that this was not erased.
    pub(super) fn withhold_alone(&self, block: BlockIndex, row: &mut Row, from: u32, to: u32) {
        if let Some(withheld) = self.withholding(block, row, from, to) {
            *row = withheld;
        }
    }

    /// A row that withholds these chunks, too; `None` if footage that was not asked for lies between them and those that it withholds,
    /// or anything that is held among them.
    fn withholding(&self, block: BlockIndex, row: &Row, from: u32, to: u32) -> Option<Row> {
        let mut withheld = row.clone();
        withheld.withhold(from, to);
        let number = |place: u32| ChunkNumber(row.first_chunk.0.saturating_add(place.into()));
        // Whatever a row says, no block has more chunks.
        let chunks_max = (self.core.geometry.block_bytes / SECTOR_BYTES) as u32;
        let more = (0..row.chunks.min(chunks_max))
            .filter(|place| withheld.withholds(number(*place)) && !row.withholds(number(*place)));
        let more: Vec<u32> = more.collect();
        let guard = self.core.ledger.guard();
        let is_held = more.iter().any(|place| guard.covers_chunk(row.stream, number(*place)));
        let between = more.iter().any(|place| !(from..=to).contains(place));
        let footer = if between { self.contents(block, row) } else { Footer::default() };
        let is_footage = |place: &u32| {
            let kind = footer.chunks.get(*place as usize).map(|place| place.kind);
            !is_numbered(row, &footer) || kind == Some(ChunkKind::MEDIA)
        };
        let hides = more.iter().filter(|place| !(from..=to).contains(*place)).any(is_footage);
        (!is_held && !hides || planted!(BetweenWithheld)).then_some(withheld)
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

    /// The record has no room for the row of a block more. Where the table refuses rows nobody knows when it will: whoever waits for
    /// the next block is told. `false` if there is none, or if it may be begun some rounds from now.
    pub(super) fn tell_of_no_room(&mut self) -> bool {
        let waits = self.erasing.jobs.iter().any(|job| !job.is_stuck());
        if waits || !self.core.ledger.refuses_rows() || planted!(ErasingFillsRecord) {
            return false;
        }
        let mut queue = self.erasing.queue.iter();
        let Some(next) = queue.position(|target| target.what != What::Begun) else { return false };
        let target = self.erasing.queue.remove(next);
        target.iter().for_each(|target| self.not_told(target));
        true
    }
}
