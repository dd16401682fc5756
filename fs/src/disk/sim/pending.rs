//! Writes that stand on no medium for certain: in flight, completed but not flushed, or doubtful.
//!
//! A write is *doubtful* after it failed, or after a flush failed that should have covered it: no later flush
//! makes it durable. Only writing its sectors again and flushing that settles what they hold. Each sector of each write is kept or lost by itself at a power cut.

use std::ops::Range;
use std::sync::Arc;

use super::image::SimImage;
use super::rng::SimRng;

/// What a power cut leaves old or new as a whole.
pub const SECTOR_BYTES: usize = 512;

/// How far a write came.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(super) enum Phase {
    InFlight,
    /// Completed at this event.
    Completed(u64),
    Doubtful,
}

#[derive(Clone, Debug)]
pub(super) struct PendingWrite {
    pub(super) token: u64,
    pub(super) offset: u64,
    pub(super) bytes: Arc<[u8]>,
    pub(super) phase: Phase,
    /// Per sector: whether it may still change the medium.
    live: Vec<bool>,
}

impl PendingWrite {
    pub(super) fn new(token: u64, offset: u64, bytes: &[u8]) -> Self {
        let live = vec![true; bytes.len().div_ceil(SECTOR_BYTES)];
        Self { token, offset, bytes: Arc::from(bytes), phase: Phase::InFlight, live }
    }

    pub(super) fn range(&self) -> Range<u64> {
        self.offset..self.offset + self.bytes.len() as u64
    }

    pub(super) fn live_sectors(&self) -> usize {
        self.live.iter().filter(|&&live| live).count()
    }

    /// The sectors that count, as (disk offset, bytes).
    pub(super) fn sectors(&self) -> impl Iterator<Item = (u64, &[u8])> {
        let offsets = (self.offset..).step_by(SECTOR_BYTES);
        let sectors = offsets.zip(self.bytes.chunks(SECTOR_BYTES)).zip(&self.live);
        sectors.filter(|(_, live)| **live).map(|(sector, _)| sector)
    }

    /// Forgets the sectors for which `keep` says no.
    pub(super) fn retain_sectors(&mut self, mut keep: impl FnMut(u64) -> bool) {
        let offsets = (self.offset..).step_by(SECTOR_BYTES);
        for (live, offset) in self.live.iter_mut().zip(offsets) {
            *live = *live && keep(offset);
        }
    }

    /// Writes the sectors that count.
    pub(super) fn apply(&self, image: &mut SimImage) {
        if self.live.iter().all(|&live| live) {
            image.write(self.offset, &self.bytes);
            return;
        }
        for (offset, bytes) in self.sectors() {
            image.write(offset, bytes);
        }
    }
}

/// All such writes, in the order of submission.
#[derive(Clone, Default, Debug)]
pub(super) struct Pending(pub(super) Vec<PendingWrite>);

impl Pending {
    pub(super) fn sector_count(&self) -> usize {
        self.0.iter().map(PendingWrite::live_sectors).sum()
    }

    /// The in-flight write of this token, moved behind completed ones that it overlaps: what lands last stays.
    pub(super) fn land(&mut self, token: u64) -> Option<&mut PendingWrite> {
        let from = self.0.iter().position(|write| write.token == token)?;
        let range = self.0.get(from)?.range();
        let behind = self.0.iter().rposition(|other| {
            other.phase != Phase::InFlight
                && other.range().start < range.end
                && range.start < other.range().end
        });
        let to = behind.map_or(from, |behind| behind.max(from));
        self.0.get_mut(from..=to)?.rotate_left(1);
        self.0.get_mut(to)
    }

    /// Makes durable what completed before `event`, and settles the doubtful sectors beneath it.
    pub(super) fn flush(&mut self, event: u64, durable: &mut SimImage) {
        let covered = |write: &PendingWrite| matches!(write.phase, Phase::Completed(at) if at < event);
        for index in 0..self.0.len() {
            let (older, rest) = self.0.split_at_mut(index);
            let Some(write) = rest.first().filter(|write| covered(write)) else { continue };
            write.apply(durable);
            let range = write.range();
            for other in older.iter_mut().filter(|other| other.phase == Phase::Doubtful) {
                other.retain_sectors(|offset| !range.contains(&offset));
            }
        }
        self.0.retain(|write| !covered(write));
        self.tidy();
    }

    /// A flush failed: no flush to come will cover what completed so far.
    pub(super) fn doubt_completed(&mut self) {
        for write in &mut self.0 {
            if matches!(write.phase, Phase::Completed(_)) {
                write.phase = Phase::Doubtful;
            }
        }
    }

    /// Decides each doubtful sector: it landed, over whatever came before it, or it did not.
    pub(super) fn settle_doubtful(&mut self, rng: &mut SimRng, durable: &mut SimImage) {
        for index in 0..self.0.len() {
            let (older, rest) = self.0.split_at_mut(index);
            let Some(write) = rest.first_mut().filter(|write| write.phase == Phase::Doubtful) else {
                continue;
            };
            write.retain_sectors(|_| rng.coin());
            write.apply(durable);
            let landed: Vec<u64> = write.sectors().map(|(offset, _)| offset).collect();
            for other in older.iter_mut().filter(|other| other.phase != Phase::InFlight) {
                other.retain_sectors(|offset| !landed.contains(&offset));
            }
        }
        self.0.retain(|write| write.phase != Phase::Doubtful);
        self.tidy();
    }

    /// Drops writes of which nothing is left.
    pub(super) fn tidy(&mut self) {
        self.0.retain(|write| write.live_sectors() > 0);
    }
}
