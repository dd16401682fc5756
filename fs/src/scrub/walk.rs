//! The scrub's decisions: which block is verified next and when, and what comes of it. Pure: rows, verdicts and times come in
//! as arguments.
//!
//! | a block, when it was verified | means |
//! |---|---|
//! | nothing was found | it is well; it leaves the list of damaged blocks; the walk goes on |
//! | something was found, its row is the same | it is damaged: counted once, listed, told if it was not on the list |
//! | something was found, its row is another | it was taken, resumed, ended or erased meanwhile: looked at again, three times at most |

use super::{Found, Outcome};
use crate::format::scrub::{DAMAGED_MAX, DamageRecord, PassRecord, ScrubSlot};
use crate::format::table::{HELD, Row};
use crate::report::BlockState;
use crate::scan::Take;
use crate::types::{BlockIndex, WallTime};
use std::time::Duration;

/// How often a block is verified again because it changed meanwhile.
const AGAIN_MAX: u32 = 3;
/// A block that is not settled is asked for again after this,
const WAIT: Duration = Duration::from_secs(1);
/// and so often; then it is left to the next pass.
const WAITS_MAX: u32 = 300;
/// However long a pass may last, a block is not read slower than this, in bytes a second.
const PACE_MIN: u64 = 1 << 20;

/// A block to verify.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    /// Its take.
    pub(crate) take: Take,
    /// Its row. Of a block that is being written: how much of it is durable, and no counts.
    pub(crate) row: Row,
    /// How fast it may be read, in bytes a second.
    pub(crate) pace: u64,
}

/// What there is to verify of a block.
#[derive(Clone, Debug)]
pub(crate) enum Turn {
    /// All that this row tells of.
    Verify(Row),
    /// Nothing.
    Nothing,
    /// That is not settled: it is being written, and not by its stream behind what stands there.
    NotNow,
}

/// What is to be done.
#[derive(Clone, Debug)]
pub(crate) enum Order {
    /// Verify this.
    Verify(Box<Task>),
    /// Nothing for so long.
    Rest(Duration),
}

/// When it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    /// By the wall clock.
    pub(crate) wall: WallTime,
    /// How long the volume has been open for writing, in seconds.
    pub(crate) running_s: u64,
}

/// The walk over the blocks.
pub(crate) struct Walk {
    /// As it shall stand on the disk.
    pub(crate) slot: ScrubSlot,
    /// In which time all is verified once; `None`: the walk stands still.
    pub(crate) every: Option<Duration>,
    /// How often the block in turn was verified again, and waited for.
    again: u32,
    waits: u32,
}

impl Walk {
    /// The walk goes on from where it stands in the volume.
    pub(crate) fn new(slot: ScrubSlot, every: Option<Duration>) -> Walk {
        Walk { slot, every, again: 0, waits: 0 }
    }

    /// What is to be done now, in a volume of so many blocks of so many bytes; `turn_of` tells what there is to verify of a block.
    pub(crate) fn next(
        &mut self,
        (blocks, block_bytes): (u32, usize),
        now: Now,
        turn_of: impl Fn(BlockIndex) -> Turn,
    ) -> Order {
        const LONG: Duration = Duration::from_secs(3600);
        let Some(every) = self.every else { return Order::Rest(LONG) };
        if self.slot.pass.number == 0 {
            self.begin_pass(now);
        }
        // At most once over all blocks: a pass in which nothing was live ends and the next one waits.
        for _ in 0..=blocks {
            let early = self.early(every, blocks, now);
            if !early.is_zero() {
                return Order::Rest(early);
            }
            if self.slot.next.0 >= blocks {
                self.end_pass(now);
                continue;
            }
            match turn_of(self.slot.next) {
                Turn::Verify(row) => {
                    let take = Take { block: self.slot.next, sequence: row.sequence, stream: row.stream };
                    let bytes = block_bytes as u64 * u64::from(blocks);
                    let pace = (2 * bytes).checked_div(every.as_secs()).unwrap_or(u64::MAX).max(PACE_MIN);
                    return Order::Verify(Box::new(Task { take, row, pace }));
                }
                Turn::NotNow if self.waits < WAITS_MAX => {
                    self.waits += 1;
                    return Order::Rest(WAIT);
                }
                Turn::Nothing | Turn::NotNow => self.step(),
            }
        }
        Order::Rest(WAIT)
    }

    /// For how long the next block is not due yet.
    fn early(&mut self, every: Duration, blocks: u32, now: Now) -> Duration {
        let share = f64::from(self.slot.next.0) / f64::from(blocks.max(1));
        let due = every.mul_f64(share.min(1.0));
        let pass = &mut self.slot.pass;
        // The volume's own time may be lost with its round log.
        pass.began_running_s = pass.began_running_s.min(now.running_s);
        due.saturating_sub(Duration::from_secs(now.running_s - pass.began_running_s))
    }

    fn step(&mut self) {
        let step = 1 + u32::from(planted!(ScrubSkipsBlocks));
        self.slot.next = BlockIndex(self.slot.next.0.saturating_add(step));
        (self.again, self.waits) = (0, 0);
    }

    fn begin_pass(&mut self, now: Now) {
        let number = self.slot.pass.number.saturating_add(1);
        let (began, began_running_s) = (now.wall, now.running_s);
        self.slot.pass = PassRecord { number, began, began_running_s, ..PassRecord::default() };
        self.slot.next = BlockIndex(0);
        (self.again, self.waits) = (0, 0);
    }

    fn end_pass(&mut self, now: Now) {
        self.slot.last = PassRecord { ended: now.wall, ..self.slot.pass.clone() };
        self.begin_pass(now);
    }

    /// Takes in what came of a block; `turn` is what there is to verify of it by now. Whether it is news that the block is damaged.
    pub(crate) fn done(&mut self, outcome: &Outcome, turn: &Turn, now: WallTime) -> bool {
        let task = &outcome.task;
        if task.take.block != self.slot.next || self.slot.pass.number == 0 {
            return false;
        }
        let found = outcome.found.as_ref();
        let stands = matches!(turn, Turn::Verify(row) if is_same(&task.row, row));
        if found.is_some() && !stands && !planted!(ScrubCallsPassedDamaged) {
            self.again += 1;
            if matches!(turn, Turn::Nothing) || self.again > AGAIN_MAX {
                self.step();
            }
            return false;
        }
        self.step();
        let pass = &mut self.slot.pass;
        pass.blocks = pass.blocks.saturating_add(1);
        pass.bytes = pass.bytes.saturating_add(outcome.bytes);
        let known = self.forget(task.take.block);
        let Some(found) = found else { return false };
        let pass = &mut self.slot.pass;
        pass.damaged = pass.damaged.saturating_add(1);
        pass.places = pass.places.saturating_add(found.places);
        pass.footage_lost = pass.footage_lost.saturating_add(found.footage_lost);
        let known = known.filter(|known| known.sequence == task.take.sequence);
        self.list(&task.take, found, known.as_ref().map_or(now, |known| known.found));
        known.is_none_or(|known| known.places < found.places)
    }

    /// Takes a block off the list.
    fn forget(&mut self, block: BlockIndex) -> Option<DamageRecord> {
        let listed = &mut self.slot.damaged_blocks[..(self.slot.damaged as usize).min(DAMAGED_MAX)];
        let at = listed.iter().position(|damage| damage.block == block)?;
        listed[at..].rotate_left(1);
        self.slot.damaged -= 1;
        listed.last_mut().map(std::mem::take)
    }

    /// Puts a block at the head of the list.
    fn list(&mut self, take: &Take, found: &Found, since: WallTime) {
        self.slot.damaged_blocks.rotate_right(1);
        self.slot.damaged_blocks[0] = DamageRecord {
            block: take.block,
            offset: found.first_offset,
            sequence: take.sequence,
            places: found.places,
            footage_lost: found.footage_lost,
            from: found.moments.0,
            to: found.moments.1,
            found: since,
        };
        self.slot.damaged = (self.slot.damaged + 1).min(DAMAGED_MAX as u32);
    }
}

/// Whether what was verified is there still, as it was.
fn is_same(before: &Row, now: &Row) -> bool {
    let growing = |row: &Row| row.state == BlockState::Open && row.chunks == 0;
    if growing(before) && growing(now) {
        return (before.sequence, before.stream) == (now.sequence, now.stream);
    }
    let plain = |row: &Row| Row { flags: row.flags & !HELD, ..row.clone() };
    plain(before) == plain(now)
}
