//! The slots of the holds: what stands in them, in memory and on the disk. What is put into one counts at once; where the disk
//! refuses a copy, that is tried again after later rounds. One copy that stands is enough for a crash: the later one counts.

use crate::disk::Disk;
use crate::error::Error;
use crate::format::Framed;
use crate::format::hold::HoldSlot;
use crate::hold::{Guard, Hold, HoldRoom, Slot, slot_of};
use crate::recover::FoundHolds;
use crate::types::{HoldId, RoundNumber, Sequence};
use crate::writer::copies::{REFUSED_PAUSE_ROUNDS, write_flushed};
use crate::writer::engine::Engine;
use std::collections::BTreeMap;
use std::time::Duration;

/// By how much the round log's generation is ahead of any slot's while something is missing of which no slot tells.
const BEYOND: u64 = 1000;
/// How many slots are written between two rounds: recording does not wait for more.
pub(in crate::writer) const SLOTS_AT_ONCE: usize = 2;

/// What is remembered of a hold that grows.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Watch {
    /// Blocks up to this take were looked at; none of them changes any more.
    pub(super) seen: Sequence,
    /// Since when its range looks over, on the clock of [`Holds::good`].
    pub(super) over_since: Option<Duration>,
}

/// The holds of a volume that is written.
pub(in crate::writer) struct Holds {
    /// What stands in each slot, and of which generation.
    slots: Vec<(Slot, u64)>,
    /// The newest generation that was flushed.
    generation: u64,
    /// The newest that was begun to be written.
    attempted: u64,
    /// A hold that is about to be made.
    pub(super) pending: Option<Hold>,
    /// A hold was lost, and no slot was free to say so: until then the round log does.
    missing: Option<HoldId>,
    /// Slots that do not stand in both copies as they should, and in which round they are written (again).
    unwritten: BTreeMap<usize, RoundNumber>,
    pub(super) watches: BTreeMap<HoldId, Watch>,
    /// How much is held.
    pub(in crate::writer) room: HoldRoom,
    /// What that was found out from.
    pub(super) room_of: Option<super::rows::Basis>,
    /// Time spent in rounds that followed upon each other without a failure,
    good: Duration,
    /// the same since the last failure, if there was one,
    calm: Option<Duration>,
    /// and when the last such round was, on the monotonic clock.
    last_good: Option<Duration>,
}

impl Holds {
    /// The holds as found.
    pub(in crate::writer) fn new(found: &FoundHolds) -> Holds {
        let mut holds = Holds {
            slots: found.slots.clone(),
            generation: found.generation,
            attempted: found.generation,
            pending: None,
            missing: found.outdated.then(HoldId::random),
            unwritten: found.to_repair.iter().map(|index| (*index, RoundNumber(0))).collect(),
            watches: BTreeMap::new(),
            room: HoldRoom::default(),
            room_of: None,
            good: Duration::ZERO,
            calm: None,
            last_good: None,
        };
        // A hold for which the first place was refused may stand there too; the later one stands in both copies.
        let mut places: BTreeMap<HoldId, Vec<(u64, usize)>> = BTreeMap::new();
        for (index, (slot, generation)) in holds.slots.iter().enumerate() {
            if let Some(hold) = slot.hold() {
                places.entry(hold.id).or_default().push((*generation, index));
            }
        }
        for mut places in places.into_values() {
            places.sort_unstable();
            let _newest = places.pop();
            for (_, index) in places {
                holds.put(index, Slot::Free, RoundNumber(0));
            }
        }
        holds
    }

    /// All that count.
    pub(in crate::writer) fn all(&self) -> Vec<Hold> {
        let missing = self.missing.map(|id| Hold { id, lost: true, ..Hold::default() });
        let slots = self.slots.iter().filter_map(|(slot, _)| slot.hold());
        slots.chain(self.pending.clone()).chain(missing).collect()
    }

    /// What they cover.
    pub(in crate::writer) fn guard(&self) -> Guard {
        Guard::of(&self.all())
    }

    pub(super) fn in_force(&self) -> Vec<(usize, Hold)> {
        let held = self.slots.iter().enumerate().filter_map(|(index, (slot, _))| match slot {
            Slot::Held(hold) => Some((index, hold.clone())),
            Slot::Free | Slot::Lost(_) => None,
        });
        held.collect()
    }

    pub(super) fn free_slots(&self) -> impl Iterator<Item = usize> {
        let slots = self.slots.iter().enumerate();
        slots.filter(|(_, (slot, _))| *slot == Slot::Free).map(|(index, _)| index)
    }

    pub(super) fn slot_of_hold(&self, id: HoldId) -> Option<usize> {
        self.slots.iter().position(|(slot, _)| slot.hold().is_some_and(|hold| hold.id == id))
    }

    pub(super) fn slot(&self, index: usize) -> Slot {
        self.slots.get(index).map_or(Slot::Free, |(slot, _)| slot.clone())
    }

    /// Whether a slot does not stand in both copies as it should.
    pub(super) fn is_unwritten(&self, index: usize) -> bool {
        self.unwritten.contains_key(&index)
    }

    /// Says that it is known that a hold was lost of which no slot tells.
    pub(super) fn forget_missing(&mut self, id: HoldId) -> Option<Hold> {
        let is_it = self.missing.is_some_and(|missing| missing == id || crate::hold::MISSING == id);
        is_it.then(|| {
            self.missing = None;
            // What is written next is ahead of whatever the round log said.
            self.attempted += BEYOND;
            Hold { id, lost: true, ..Hold::default() }
        })
    }

    /// Takes that back: it could not be written.
    pub(super) fn remember_missing(&mut self, id: HoldId) {
        self.missing = Some(id);
    }

    /// Whether each slot stands in both copies as it should. That a hold is missing of which no slot can tell, all being in use, is
    /// told by the round log.
    pub(in crate::writer) fn all_stand(&self) -> bool {
        self.unwritten.is_empty()
    }

    /// Puts something into a slot: it counts at once, and is to be written.
    pub(super) fn put(&mut self, index: usize, slot: Slot, round: RoundNumber) {
        self.attempted += 1;
        if let Some(place) = self.slots.get_mut(index) {
            *place = (slot, self.attempted);
            self.unwritten.insert(index, round);
        }
    }

    /// The newest generation for the round log; a later one than any change until the next round may have, while something is
    /// missing of which no slot tells.
    pub(in crate::writer) fn generation_to_log(&self) -> u64 {
        let beyond = if self.missing.is_some() && !planted!(MissingHoldForgotten) { BEYOND } else { 0 };
        self.generation + beyond
    }

    /// Takes note of a round.
    pub(in crate::writer) fn note_round(&mut self, now: Duration, well: bool) {
        // However long a round took to come, what came in meanwhile may still be on its way.
        const ROUND_MAX: Duration = Duration::from_secs(5);
        if !well {
            (self.calm, self.last_good) = (Some(Duration::ZERO), None);
            return;
        }
        let last = self.last_good.replace(now).unwrap_or(now);
        let passed = now.saturating_sub(last).min(ROUND_MAX);
        self.good += passed;
        self.calm = self.calm.map(|calm| calm + passed);
    }

    /// How long rounds have followed upon each other without a failure; without end if there was none.
    pub(super) fn calm(&self) -> Duration {
        self.calm.unwrap_or(Duration::MAX)
    }

    /// A clock that stands still while the disk fails.
    pub(super) fn good(&self) -> Duration {
        self.good
    }
}

impl<D: Disk> Engine<D> {
    pub(super) fn slots_per_unit(&self) -> usize {
        self.core.writes.alignment_bytes().max(HoldSlot::SIZE) / HoldSlot::SIZE
    }

    /// Writes what is due, at most so many slots: copies that were found damaged, what a failure left, and the mark that a hold
    /// was lost.
    pub(in crate::writer) fn write_due_slots(&mut self, slots_max: usize) {
        let now = self.core.round;
        let untried = self.holds.free_slots().find(|slot| !self.holds.is_unwritten(*slot));
        if let Some((id, free)) = self.holds.missing.zip(untried) {
            self.holds.put(free, Slot::Lost(id), now);
            if self.write_slot(free).0 > 0 {
                self.holds.missing = None;
            } else {
                self.holds.put(free, Slot::Free, RoundNumber(now.0 + REFUSED_PAUSE_ROUNDS));
            }
        }
        let due = self.holds.unwritten.iter().filter(|(_, round)| **round <= now).map(|(index, _)| *index);
        for index in due.take(slots_max).collect::<Vec<_>>() {
            let _copies = self.write_slot(index);
        }
    }

    /// Writes a slot to both copies, one after the other, each flushed, with its neighbours in the disk's unit: they are as they
    /// were, and identical bytes cannot tear. In how many copies it then stands, and why not in both.
    pub(super) fn write_slot(&mut self, index: usize) -> (usize, Option<Error>) {
        let per_unit = self.slots_per_unit();
        let first = index / per_unit * per_unit;
        let (mut copies, mut failed) = (0, None);
        for region_at in self.core.geometry.holds_at() {
            if planted!(HoldNotWritten) {
                copies += 1;
                continue;
            }
            let mut buffer = self.core.writes.buffer(per_unit * HoldSlot::SIZE);
            let slots = self.holds.slots.iter().enumerate().skip(first);
            for ((index, (slot, generation)), place) in slots.zip(buffer.chunks_exact_mut(HoldSlot::SIZE)) {
                slot_of(slot, self.core.volume, index, *generation).seal(place);
            }
            let at = region_at + (first * HoldSlot::SIZE) as u64;
            match write_flushed(&mut self.core.writes, at, buffer, "write the holds of", &self.path) {
                Ok(()) => copies += 1,
                Err(error) => failed = Some(error),
            }
            if planted!(HoldGivenUpWithFirstCopy) && failed.is_some() {
                break;
            }
        }
        let written = self.holds.slots.get(index).map_or(0, |(_, generation)| *generation);
        if copies > 0 {
            self.holds.generation = self.holds.generation.max(written);
        }
        match &failed {
            None => _ = self.holds.unwritten.remove(&index),
            Some(error) => {
                tracing::warn!(%error, copies, "the holds cannot be written in both places; tried again later");
                let again = RoundNumber(self.core.round.0 + REFUSED_PAUSE_ROUNDS);
                self.holds.unwritten.insert(index, again);
            }
        }
        (copies, failed)
    }
}
