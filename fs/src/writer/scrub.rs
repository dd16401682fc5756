//! The scrub on the writer's side: which rows there are to verify, what of a finding stands, and its place in the volume. What
//! the scrub is: [`crate::scrub`].

use super::copies::{REFUSED_PAUSE_ROUNDS, write_flushed};
use super::core::Core;
use super::engine::Engine;
use super::stream::Stream;
use super::writes::Purpose;
use crate::disk::Disk;
use crate::error::Result;
use crate::format::Framed;
use crate::format::scrub::ScrubSlot;
use crate::format::table::Row;
use crate::report::BlockState;
use crate::scrub::{Now, Order, Outcome, ScrubReport, Turn, Walk};
use crate::types::{BlockIndex, RoundNumber};
use std::sync::Arc;
use std::time::Duration;

/// How often its place is written while nothing was found.
const NOTE_INTERVAL: Duration = Duration::from_secs(60);
/// How long it stands back when the recorder needs the disk.
const STAND_BACK: Duration = Duration::from_secs(1);

/// The walk, and how much of it stands on the disk.
pub(super) struct Scrubbing {
    walk: Walk,
    /// What stands on the disk, or is on its way there.
    noted: ScrubSlot,
    noted_at: Duration,
    /// Written in the round under way.
    submitted: bool,
    /// How often it was refused since it was written last, and until which round it is left alone.
    refused: (u32, RoundNumber),
}

impl Scrubbing {
    /// The walk goes on from where it stands in the volume.
    pub(super) fn new(found: ScrubSlot, every: Option<Duration>, now: Duration) -> Scrubbing {
        let walk = Walk::new(found.clone(), every);
        Scrubbing { walk, noted: found, noted_at: now, submitted: false, refused: (0, RoundNumber(0)) }
    }

    /// The disk refused to write it where it was due; the other place is next.
    pub(super) fn refused(&mut self, round: RoundNumber) {
        let (times, _) = self.refused;
        let pause = if times == 0 { 0 } else { REFUSED_PAUSE_ROUNDS };
        self.refused = (times.saturating_add(1), RoundNumber(round.0 + pause));
        self.submitted = false;
        // What was to stand there does not.
        self.noted = ScrubSlot { revision: self.noted.revision, ..ScrubSlot::default() };
        tracing::warn!("the scrub's place cannot be written; tried again later");
    }

    /// A round was flushed.
    pub(super) fn flushed(&mut self) {
        if std::mem::take(&mut self.submitted) {
            self.refused = (0, RoundNumber(0));
        }
    }
}

/// What of a block there is to verify by now: all of it, or what is durable of one that its stream is writing.
fn turn_of<D: Disk>(core: &Core<D>, streams: &[Stream], block: BlockIndex) -> Turn {
    let row = core.ledger.row(block);
    if row.state != BlockState::Open {
        return if row.is_live() { Turn::Verify(row.clone()) } else { Turn::Nothing };
    }
    let Some(named) = core.named.get(&block) else { return Turn::NotNow };
    let Some((open, grown)) = streams.get(named.stream).and_then(Stream::open_row) else {
        return Turn::NotNow;
    };
    match (open == block, row.is_live(), named.durable_end) {
        // Its stream has left it, and its new row is on its way; or it is being overwritten in place.
        (false, ..) => Turn::NotNow,
        // Of one that was resumed, what stood in it before.
        (true, true, _) => Turn::Verify(row.clone()),
        (true, false, 0) => Turn::Nothing,
        (true, false, durable_end) => {
            let (wall_min, wall_max) = (grown.wall_min, grown.wall_max);
            Turn::Verify(Row { used_bytes: durable_end as u32, wall_min, wall_max, ..row.clone() })
        }
    }
}

impl<D: Disk> Engine<D> {
    /// What the scrub is to do now.
    pub(crate) fn scrub_next(&mut self) -> Order {
        if !self.is_well() || self.is_starved() {
            return Order::Rest(STAND_BACK);
        }
        let now = Now { wall: self.core.clock.wall(), running_s: self.running_seconds() };
        let volume = (self.core.geometry.blocks, self.core.geometry.block_bytes);
        let (core, streams) = (&self.core, &self.streams);
        self.scrub.walk.next(volume, now, |block| turn_of(core, streams, block))
    }

    /// Takes in what came of a block. While the disk fails nothing is judged.
    pub(crate) fn scrub_done(&mut self, outcome: &Outcome) {
        if !self.is_well() {
            return;
        }
        let turn = turn_of(&self.core, &self.streams, outcome.task.take.block);
        let news = self.scrub.walk.done(outcome, &turn, self.core.clock.wall());
        if let Some(found) = outcome.found.filter(|_| news) {
            let take = &outcome.task.take;
            let name = self.streams.iter().find(|stream| stream.id == take.stream).map(|stream| &stream.name);
            let stream = name.map(ToString::to_string).unwrap_or_default();
            let at = self.core.geometry.block_at(take.block) + u64::from(found.first_offset);
            tracing::warn!(
                %stream,
                block = %take.block,
                at,
                places = found.places,
                footage_lost = found.footage_lost,
                "the scrub found damage; keha volume check names each place"
            );
        }
    }

    /// How far it is, and what it found.
    pub(super) fn scrub_report(&self) -> ScrubReport {
        let Walk { slot, every, .. } = &self.scrub.walk;
        let ledger = &self.core.ledger;
        let report = ScrubReport::new(slot, &self.core.geometry, |block| {
            // A forged slot may name any block.
            (block.0 < self.core.geometry.blocks || planted!(ForgedScrubBelieved)).then(|| ledger.row(block))
        });
        ScrubReport { every: *every, ..report }
    }

    /// Writes its place with the round: at once when something was found or a pass ended, else now and then, and in the `last`.
    pub(super) fn submit_scrub(&mut self, last: bool) {
        let (now, round) = (self.core.clock.monotonic(), self.core.round);
        let Scrubbing { walk, noted, noted_at, refused, .. } = &self.scrub;
        let changed =
            ScrubSlot { revision: 0, ..walk.slot.clone() } != ScrubSlot { revision: 0, ..noted.clone() };
        let news = (walk.slot.pass.number, walk.slot.pass.damaged) != (noted.pass.number, noted.pass.damaged);
        let due = news || last || now.saturating_sub(*noted_at) >= NOTE_INTERVAL;
        if !changed || !due || round < refused.1 && !last || planted!(ScrubForgetsPlace) {
            return;
        }
        let slot = &mut self.scrub.walk.slot;
        slot.revision = slot.revision.saturating_add(1);
        let mut page = self.core.writes.buffer(self.core.geometry.scrub_bytes);
        let stands = if planted!(ScrubPlaceApart) {
            ScrubSlot { next: BlockIndex(0), ..slot.clone() }
        } else {
            slot.clone()
        };
        stands.seal(&mut page);
        let at = self.core.geometry.scrub_at()[(slot.revision % 2) as usize];
        (self.scrub.noted, self.scrub.noted_at) = (slot.clone(), now);
        self.scrub.submitted = true;
        self.core.writes.submit(at, Arc::new(page), Purpose::Scrub);
    }

    /// Writes both copies, if one does not verify.
    pub(super) fn repair_scrub(&mut self) -> Result<()> {
        let geometry = self.core.geometry.clone();
        let (disk, volume) = (&*self.core.reader, self.core.volume);
        if crate::scrub::copies(disk, &geometry, volume).iter().all(|(_, copy)| copy.is_some()) {
            return Ok(());
        }
        for at in geometry.scrub_at() {
            let mut page = self.core.writes.buffer(geometry.scrub_bytes);
            self.scrub.noted.seal(&mut page);
            write_flushed(&mut self.core.writes, at, page, "write the scrub's place in", &self.path)?;
        }
        Ok(())
    }
}
