//! Holds on the writer's side: made, tended and lifted between rounds, on the writer's own thread, so that no block is granted
//! or taken meanwhile. What they mean, and the invariants: [`crate::hold`].
//!
//! | file | what |
//! |---|---|
//! | this one | making and lifting a hold |
//! | `slots` | what stands in the slots, in memory and on the disk, and what becomes of a slot that cannot be written |
//! | `tend` | after each round: what has expired ends, what waits begins, what is over is settled |
//! | `rows` | the blocks of a stream, and how much is held |

mod rows;
mod slots;
mod tend;

pub(super) use slots::{Holds, SLOTS_AT_ONCE};

use super::engine::Engine;
use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::format::table::Row;
use crate::hold::{HOLD_LABEL_BYTES_MAX, Hold, HoldRequest, LATE, Slot, is_over, reserve, seconds_between};
use crate::report::TimeRange;
use crate::retention::age::{Over, over};
use crate::types::{BlockIndex, HoldId, StreamId, StreamName, WallTime};
use rows::{newest_moment, open_end};
use std::time::Duration;

/// In how many places a hold is tried to be written before it is refused.
const PLACES_TRIED: usize = 4;
/// What a disk cannot be used for where it fails.
const TO_HOLD: &str = "hold footage on";

impl<D: Disk> Engine<D> {
    /// Why a hold is refused whatever is recorded, if it is: found out without touching the disk.
    pub(crate) fn refusal(&self, request: &HoldRequest) -> Option<Error> {
        let cheap = || {
            self.check_request(request)?;
            let stream = self.stream_of(&request.stream)?;
            if self.is_erased(stream) && !planted!(HeldErased) {
                return Err(Error::Erasing { stream: request.stream.clone() });
            }
            if self.holds.free_slots().next().is_none() {
                return Err(Error::HoldsFull { holds_max: self.core.geometry.holds_max });
            }
            let hold = self.ask(stream, request, false);
            let nothing = hold.spans.is_empty() && !hold.growing;
            if nothing { Err(self.not_recorded(stream)) } else { Ok(()) }
        };
        cheap().err()
    }

    /// Holds a range. When this returns, it survives any crash.
    pub(crate) fn add_hold(&mut self, request: &HoldRequest) -> Result<Hold> {
        if let Some(refusal) = self.refusal(request) {
            return Err(refusal);
        }
        let stream = self.stream_of(&request.stream)?;
        self.flush_out(stream, TO_HOLD)?;
        let hold = self.ask(stream, request, true);
        if hold.spans.is_empty() && !hold.growing {
            return Err(self.not_recorded(stream));
        }
        let hold = self.with_room(hold)?;
        self.holds.pending = Some(hold.clone());
        let stands = self.enforce().and_then(|()| self.place(&hold));
        self.holds.pending = None;
        self.core.ledger.protect(self.holds.guard());
        self.refresh_room();
        stands.map(|()| hold)
    }

    /// Puts a hold into a free slot, in both copies. Where a place refuses, another is tried; what may stand of it in the first
    /// one is written over after the next good round.
    fn place(&mut self, hold: &Hold) -> Result<()> {
        let mut refused = Err(self.disk_error(TO_HOLD));
        let mut units = Vec::new();
        for _ in 0..PLACES_TRIED {
            let unit = |slot: &usize| slot / self.slots_per_unit();
            let free = self.holds.free_slots().filter(|slot| !units.contains(&unit(slot)));
            let free = free.min_by_key(|slot| self.holds.is_unwritten(*slot));
            let Some(slot) = free else { break };
            units.push(unit(&slot));
            self.holds.put(slot, Slot::Held(hold.clone()), self.core.round);
            match self.write_slot(slot) {
                (2, _) => return Ok(()),
                (_, error) => {
                    refused = Err(error.unwrap_or_else(|| self.disk_error(TO_HOLD)));
                    self.holds.put(slot, Slot::Free, self.core.round);
                }
            }
        }
        refused
    }

    /// Lifts a hold, or the mark that one was lost. That it is gone stands in one copy at least: the later copy counts.
    pub(crate) fn lift_hold(&mut self, id: HoldId) -> Result<Hold> {
        if let Some(missing) = self.holds.forget_missing(id) {
            // Any slot of a later generation than the round log knew of says that nothing is missing.
            let slot = self.holds.slot(0);
            self.holds.put(0, slot, self.core.round);
            if let (0, error) = self.write_slot(0)
                && !planted!(MissingHoldLiftedUnwritten)
            {
                self.holds.remember_missing(missing.id);
                return Err(error.unwrap_or_else(|| self.disk_error("lift a hold of")));
            }
            self.core.ledger.protect(self.holds.guard());
            return Ok(missing);
        }
        let index = self.holds.slot_of_hold(id).ok_or(Error::NoSuchHold { id })?;
        let before = self.holds.slot(index);
        self.holds.put(index, Slot::Free, self.core.round);
        if let (0, error) = self.write_slot(index) {
            // It may be gone on the disk: written again, with a later generation, it is not.
            self.holds.put(index, before, self.core.round);
            return Err(error.unwrap_or_else(|| self.disk_error("lift a hold of")));
        }
        self.core.ledger.protect(self.holds.guard());
        self.refresh_room();
        before.hold().ok_or(Error::NoSuchHold { id })
    }

    fn check_request(&self, request: &HoldRequest) -> Result<()> {
        let now = self.core.clock.wall();
        let wrong = if request.from >= request.to {
            "a hold needs a range that ends after it begins".to_owned()
        } else if request.label.len() > HOLD_LABEL_BYTES_MAX || request.label.contains('\0') {
            format!("a hold's label has at most {HOLD_LABEL_BYTES_MAX} bytes and no zero byte")
        } else if request.expires.is_some_and(|expires| expires <= now) {
            "a hold cannot expire before it is made".to_owned()
        } else {
            return Ok(());
        };
        Err(Error::Invalid(wrong))
    }

    /// The stream of this name.
    pub(in crate::writer) fn stream_of(&self, name: &StreamName) -> Result<StreamId> {
        let found = self.streams.iter().find(|stream| stream.name == *name);
        found.map(|stream| stream.id).ok_or_else(|| {
            let mut names: Vec<&str> = self.streams.iter().map(|stream| stream.name.as_str()).collect();
            names.sort_unstable();
            let available = if names.is_empty() { "none yet".to_owned() } else { names.join(", ") };
            Error::NoSuchStream { name: name.clone(), available }
        })
    }

    pub(in crate::writer) fn not_recorded(&self, stream: StreamId) -> Error {
        let rows = self.rows_of(stream);
        let rows = || rows.iter().map(|(_, row)| row).filter(|row| row.has_samples());
        let first = rows().map(|row| row.wall_min).min();
        Error::NotRecorded { available: first.zip(rows().map(|row| row.wall_max).max()) }
    }

    /// What a request comes to now. `flushed`: whether all that came in before stands on the disk, unless a stream starves.
    fn ask(&self, stream: StreamId, request: &HoldRequest, flushed: bool) -> Hold {
        let (now, running_s) = (self.core.clock.wall(), self.running_seconds());
        let range = TimeRange { from: Some(request.from), to: Some(request.to) };
        let until_expiry_s = request.expires.map_or(0, |expires| seconds_between(now, expires));
        let mut hold = Hold {
            id: HoldId::random(),
            stream,
            range,
            label: request.label.clone(),
            created: now,
            created_running_s: running_s,
            expires: request.expires,
            expires_running_s: running_s.saturating_add(until_expiry_s),
            ..Hold::default()
        };
        let rows = self.rows_of(stream);
        let (given, from) = self.not_past(stream, rows.clone(), request.from);
        hold.spans = self.resolve_in(&given, TimeRange { from: Some(from), ..range });
        // What lay waiting in memory while the disk failed is as late as that took.
        let nothing_waits = flushed && self.is_idle(stream) && self.holds.calm() >= LATE;
        let late_s = if nothing_waits { seconds_between(request.to, now) } else { 0 };
        hold.growing = !is_over(&hold, now, running_s, newest_moment(&rows), Duration::from_secs(late_s));
        if hold.growing {
            open_end(&mut hold, &rows);
        }
        hold
    }

    /// What of a stream is not past its maximum age, which a hold does not bring back: the rows, and from when on.
    fn not_past(
        &self,
        stream: StreamId,
        mut rows: Vec<(BlockIndex, Row)>,
        from: WallTime,
    ) -> (Vec<(BlockIndex, Row)>, WallTime) {
        let now = Some(self.core.clock.wall());
        let Some(limit) = self.limit_of(stream, now) else { return (rows, from) };
        let mut ruled = over(&rows.iter().map(|(_, row)| row).collect::<Vec<_>>(), &limit).into_iter();
        let mut before = WallTime::MIN;
        let mut early = WallTime::MAX;
        rows.retain(|(_, row)| {
            let over = ruled.next().unwrap_or_default();
            match over {
                Over::Before(moment) => before = moment,
                Over::Nothing if row.has_samples() => early = early.min(row.wall_min),
                Over::Nothing | Over::All => {}
            }
            !over.takes(row.wall_max)
        });
        // What is stamped earlier than it was recorded is not to be missed for a part of a block that is past.
        (rows, if early < before { from } else { from.max(before) })
    }

    /// The hold with what is set aside for it, if there is room for all of it.
    fn with_room(&self, hold: Hold) -> Result<Hold> {
        let before = self.hold_room();
        let rows = self.rows_of(hold.stream);
        let covered = self.covered_by(&hold);
        let more = self.newly_covered_by(&hold);
        let to_come = if hold.growing {
            let rows: Vec<&Row> = rows.iter().map(|(_, row)| row).collect();
            reserve(&rows, hold.range, self.core.clock.wall(), self.core.geometry.block_bytes)
        } else {
            0
        };
        let needed_blocks = more.saturating_add(to_come);
        let used = before.held_blocks.saturating_add(before.reserved_blocks);
        if needed_blocks > 0 && used.saturating_add(needed_blocks) > before.blocks_max {
            return Err(Error::NoRoomToHold {
                needed_blocks,
                held_blocks: before.held_blocks,
                reserved_blocks: before.reserved_blocks,
                blocks_max: before.blocks_max,
            });
        }
        Ok(Hold { reserved_blocks: covered.saturating_add(to_come), ..hold })
    }

    /// Makes the holds count. Grants of what they cover are withdrawn, and that is durable when this returns.
    fn enforce(&mut self) -> Result<()> {
        if self.core.ledger.protect(self.holds.guard()) {
            return self.round_within(TO_HOLD);
        }
        Ok(())
    }

    /// The rounds that were made within other calls since this was asked last.
    pub(crate) fn take_rounds_within(&mut self) -> Vec<crate::report::RoundReport> {
        std::mem::take(&mut self.rounds_within)
    }
}
