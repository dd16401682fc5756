//! The session of this writer: begun when the volume is opened, noted when its clock is set, ended when it is closed. What
//! sessions are: [`crate::session`].

use super::copies::write_flushed;
use super::engine::Engine;
use crate::disk::{Disk, ReadAt};
use crate::error::Result;
use crate::format::session::{SESSION_OPEN, SessionSlot};
use crate::format::{Framed, geometry::Geometry};
use crate::recover::Recovered;
use crate::session::{ClockWatch, Opener, Reading, begun, closed, merge};
use crate::types::{BlockIndex, Epoch, VolumeId};
use std::time::Duration;

/// How often what was noted of the clock is written at most.
const NOTE_INTERVAL: Duration = Duration::from_secs(60);

/// This writer's session.
pub(super) struct OpenSession {
    slot: SessionSlot,
    /// The slots in its page, as they stood when the volume was opened: whatever cannot be read later is not lost by that.
    page: Vec<SessionSlot>,
    /// The page of the session before, if that is another and its copies differ: a crash came between the two writes of its end.
    behind: Option<(u32, Vec<SessionSlot>)>,
    watch: ClockWatch,
    /// When steps of the clock were last written, on the monotonic clock; none while all are written.
    noted: Duration,
    /// Whether what is known does not stand in both copies.
    unwritten: bool,
}

impl OpenSession {
    /// The session that begins now, as the next of those found.
    pub(super) fn begin(
        opener: &Opener,
        epoch: Epoch,
        found: &Recovered,
        disk: &dyn ReadAt,
        clock: &dyn crate::clock::Clock,
    ) -> OpenSession {
        let (geometry, volume, before) = (&found.geometry, found.volume(), found.epoch);
        let (around_before, differ) = slots_around(disk, geometry, volume, before);
        let stood = around_before.iter().flatten().find(|(slot, _)| slot.epoch == before).cloned();
        let (first, first_before) = (first_of_page(geometry, epoch), first_of_page(geometry, before));
        let left = differ && first_before != first && !planted!(SessionLeftBehind);
        let behind = left.then(|| (first_before, whole_page(volume, first_before, around_before)));
        let page = whole_page(volume, first, slots_around(disk, geometry, volume, epoch).0);
        let slot = SessionSlot {
            volume,
            slot: place(geometry, epoch),
            began_running: found.running_seconds,
            first_round: crate::types::RoundNumber(found.round.0 + 1),
            before_crashed: stood.as_ref().is_some_and(|(slot, _)| slot.state == SESSION_OPEN),
            before_last: found.last_round_at,
            before_checksum: stood.map_or(0, |(_, checksum)| checksum),
            ..begun(opener, epoch, clock.wall(), clock.sync())
        };
        let watch = ClockWatch::default();
        OpenSession { slot, page, behind, watch, noted: clock.monotonic(), unwritten: false }
    }
}

impl<D: Disk> Engine<D> {
    /// Writes the session as it begins.
    pub(super) fn begin_session(&mut self) {
        self.write_session();
    }

    /// Brings copies that do not verify, or are older, in line with the other; where neither verifies, nothing is known of a
    /// session.
    pub(super) fn repair_sessions(&mut self) -> Result<()> {
        let geometry = self.core.geometry.clone();
        let volume = self.core.volume;
        for first in (0..geometry.sessions_max).step_by(per_page(&geometry) as usize) {
            let copies = geometry.sessions_at().map(|at| {
                let at = at + u64::from(first) * SessionSlot::SIZE as u64;
                (at, crate::session::read_slots(&*self.core.reader, at, volume, first, per_page(&geometry)))
            });
            let places = copies.each_ref().map(|(at, _)| *at);
            let [front, back] = copies.map(|(_, slots)| slots);
            if front == back && front.iter().all(Option::is_some) {
                continue;
            }
            let page = whole_page(volume, first, merge(front, back));
            for at in places {
                self.write_page(at, &page, "write the sessions of")?;
            }
        }
        Ok(())
    }

    /// Notes whether the wall clock was set. After a round, while the disk is well.
    pub(super) fn tend_session(&mut self) {
        let clock = &self.core.clock;
        let reading = Reading { before: clock.monotonic(), wall: clock.wall(), after: clock.monotonic() };
        let session = &mut self.session;
        let set = session.watch.look(reading);
        if set {
            tracing::warn!(steps = session.watch.steps, "the wall clock was set");
            session.unwritten = true;
        }
        let first_step = set && session.watch.steps == 1;
        let due = first_step || reading.after.saturating_sub(session.noted) >= NOTE_INTERVAL;
        if session.unwritten && due {
            session.noted = reading.after;
            session.slot = session.slot.with_steps(&session.watch);
            self.write_session();
        }
    }

    /// Writes the session as it ends.
    pub(super) fn end_session(&mut self) {
        let (clock, running_s) = (&self.core.clock, self.running_seconds());
        let slot = self.session.slot.with_steps(&self.session.watch);
        self.session.slot = closed(&slot, clock.wall(), clock.sync(), running_s, self.core.round);
        self.write_session();
    }

    /// Writes the slot to both copies, one after the other, each flushed, with its neighbours as they stood at opening. What
    /// cannot be written is told, and tried again after later rounds: a volume that cannot note who opened it still records.
    fn write_session(&mut self) {
        if planted!(SessionNotWritten) {
            return;
        }
        self.session.unwritten = false;
        if let Some((first, page)) = self.session.behind.take()
            && !self.write_copies(first, &page)
        {
            self.session.behind = Some((first, page));
            self.session.unwritten = true;
        }
        let session = &mut self.session;
        let first = first_of_page(&self.core.geometry, session.slot.epoch);
        if let Some(mine) = session.page.get_mut((session.slot.slot - first) as usize) {
            *mine = session.slot.clone();
        }
        let page = session.page.clone();
        if !self.write_copies(first, &page) {
            self.session.unwritten = true;
        }
    }

    /// Writes a page of slots to both copies; whether both stand.
    fn write_copies(&mut self, first: u32, page: &[SessionSlot]) -> bool {
        let copies = if planted!(SessionInOneCopyOnly) { 1 } else { 2 };
        let mut stand = true;
        for at in self.core.geometry.sessions_at().into_iter().take(copies) {
            let at = at + u64::from(first) * SessionSlot::SIZE as u64;
            let astray = self.core.geometry.block_at(BlockIndex(0)) + self.core.geometry.page_bytes as u64;
            let at = if planted!(SessionOverFootage) { astray } else { at };
            if let Err(error) = self.write_page(at, page, "note who opened") {
                tracing::warn!(%error, "the session could not be noted in one of its two places");
                stand = false;
            }
        }
        stand
    }

    fn write_page(&mut self, at: u64, page: &[SessionSlot], operation: &str) -> Result<()> {
        let mut buffer = self.core.writes.buffer(page.len() * SessionSlot::SIZE);
        for (slot, place) in page.iter().zip(buffer.chunks_exact_mut(SessionSlot::SIZE)) {
            slot.seal(place);
        }
        write_flushed(&mut self.core.writes, at, buffer, operation, &self.path)
    }
}

/// The slot of an epoch.
fn place(geometry: &Geometry, epoch: Epoch) -> u32 {
    epoch.0 % geometry.sessions_max
}

/// The first slot in the page of an epoch's slot.
fn first_of_page(geometry: &Geometry, epoch: Epoch) -> u32 {
    let slot = place(geometry, epoch);
    slot - slot % per_page(geometry)
}

fn per_page(geometry: &Geometry) -> u32 {
    (geometry.page_bytes / SessionSlot::SIZE) as u32
}

/// A page of slots as it is written: what is known of none is empty.
fn whole_page(volume: VolumeId, first: u32, found: Vec<Option<(SessionSlot, u32)>>) -> Vec<SessionSlot> {
    let empty = |slot| SessionSlot { volume, slot, ..SessionSlot::default() };
    let slots = (first..).zip(found);
    slots.map(|(slot, found)| found.map_or_else(|| empty(slot), |(found, _)| found)).collect()
}

/// What stands in the page of slots in which that of this epoch is: of each slot the later copy, and whether the copies differ.
fn slots_around(
    disk: &dyn ReadAt,
    geometry: &Geometry,
    volume: VolumeId,
    epoch: Epoch,
) -> (Vec<Option<(SessionSlot, u32)>>, bool) {
    let first = first_of_page(geometry, epoch);
    let [front, back] = geometry.sessions_at().map(|at| {
        let at = at + u64::from(first) * SessionSlot::SIZE as u64;
        crate::session::read_slots(disk, at, volume, first, per_page(geometry))
    });
    let differ = front != back;
    (merge(front, back), differ)
}
