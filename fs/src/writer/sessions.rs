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
use crate::types::{Epoch, VolumeId};
use std::time::Duration;

/// How often what was noted of the clock is written at most.
const NOTE_INTERVAL: Duration = Duration::from_secs(60);

/// This writer's session.
pub(super) struct OpenSession {
    slot: SessionSlot,
    /// The slots in its page, as they stood when the volume was opened: whatever cannot be read later is not lost by that.
    page: Vec<SessionSlot>,
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
        let stood = slots_around(disk, geometry, volume, before)
            .into_iter()
            .flatten()
            .find(|(slot, _)| slot.epoch == before);
        let first = first_of_page(geometry, epoch);
        let around = (first..).zip(slots_around(disk, geometry, volume, epoch));
        let empty = |slot| SessionSlot { volume, slot, ..SessionSlot::default() };
        let page = around.map(|(slot, found)| found.map_or_else(|| empty(slot), |(found, _)| found));
        let page = page.collect();
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
        OpenSession { slot, page, watch, noted: clock.monotonic(), unwritten: false }
    }
}

impl<D: Disk> Engine<D> {
    /// Writes the session as it begins.
    pub(super) fn begin_session(&mut self) {
        self.write_session();
    }

    /// Brings copies that do not verify in line with the other; where neither does, nothing is known of a session.
    pub(super) fn repair_sessions(&mut self) -> Result<()> {
        let geometry = self.core.geometry.clone();
        let volume = self.core.volume;
        for first in (0..geometry.sessions_max).step_by(per_page(&geometry) as usize) {
            let copies = geometry.sessions_at().map(|at| {
                let at = at + u64::from(first) * SessionSlot::SIZE as u64;
                (at, crate::session::read_slots(&*self.core.reader, at, volume, first, per_page(&geometry)))
            });
            if copies.iter().all(|(_, slots)| slots.iter().all(Option::is_some)) {
                continue;
            }
            let places = copies.each_ref().map(|(at, _)| *at);
            let [front, back] = copies.map(|(_, slots)| slots);
            let page = merge(front, back);
            for at in places {
                let mut buffer = self.core.writes.buffer(page.len() * SessionSlot::SIZE);
                for ((slot, found), place) in
                    (first..).zip(&page).zip(buffer.chunks_exact_mut(SessionSlot::SIZE))
                {
                    let known = found.as_ref().map(|(found, _)| found.clone());
                    known.unwrap_or(SessionSlot { volume, slot, ..SessionSlot::default() }).seal(place);
                }
                write_flushed(&mut self.core.writes, at, buffer, "write the sessions of", &self.path)?;
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
        let session = &mut self.session;
        let first = first_of_page(&self.core.geometry, session.slot.epoch);
        if let Some(mine) = session.page.get_mut((session.slot.slot - first) as usize) {
            *mine = session.slot.clone();
        }
        session.unwritten = false;
        let copies = if planted!(SessionInOneCopyOnly) { 1 } else { 2 };
        for at in self.core.geometry.sessions_at().into_iter().take(copies) {
            let at = at + u64::from(first) * SessionSlot::SIZE as u64;
            let mut buffer = self.core.writes.buffer(self.session.page.len() * SessionSlot::SIZE);
            for (slot, place) in self.session.page.iter().zip(buffer.chunks_exact_mut(SessionSlot::SIZE)) {
                slot.seal(place);
            }
            if let Err(error) =
                write_flushed(&mut self.core.writes, at, buffer, "note who opened", &self.path)
            {
                tracing::warn!(%error, "the session could not be noted in one of its two places");
                self.session.unwritten = true;
            }
        }
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

/// What stands in the page of slots in which that of this epoch is: of each slot the later copy.
fn slots_around(
    disk: &dyn ReadAt,
    geometry: &Geometry,
    volume: VolumeId,
    epoch: Epoch,
) -> Vec<Option<(SessionSlot, u32)>> {
    let first = first_of_page(geometry, epoch);
    let [front, back] = geometry.sessions_at().map(|at| {
        let at = at + u64::from(first) * SessionSlot::SIZE as u64;
        crate::session::read_slots(disk, at, volume, first, per_page(geometry))
    });
    merge(front, back)
}
