//! How much waits in memory: while the disk is slow, fails, or lets nothing through, no more of a stream than it may have, and of
//! all together no more than the budget, whoever comes and goes; counted from what the writer really keeps; and all that was taken in
//! comes to the disk and makes room again.

use super::driver::{Cuts, Driver};
use super::material::Shape;
use super::{Verdict, demand, for_seeds};
use crate::disk::sim::{Errno, Kinds, Repeat};
use crate::sample::QUEUED_OVERHEAD_BYTES;
use crate::writer::room::{Budget, Room};

/// How much may wait of both streams, in bytes. Small, so that few samples fill it.
const BUDGET: Budget = Budget { bytes: 32 << 10, stream_bytes_min: 4 << 10 };
/// How much of one.
const LIMIT_BYTES: usize = BUDGET.bytes / 2;
/// What the writer really keeps may be so much more: chunks have headers, tables and padding.
const IN_CHUNKS: usize = 2;

/// A recorder that counts in what it takes, as the way in from other threads does.
struct Recorder {
    driver: Driver,
    room: Room,
    /// The first camera is away: the other has the whole budget, but for what still waits of the first.
    alone: bool,
    taken: u64,
    refused: u64,
}

impl Recorder {
    fn offer(&mut self) -> Verdict {
        for which in [0, 0, 1] {
            let length = 300 + self.driver.rng.below(1700);
            let (which, recorded) = if self.alone { (1, 1) } else { (which, 2) };
            match self.room.take(which, length + QUEUED_OVERHEAD_BYTES, BUDGET, recorded) {
                Ok(()) => {
                    self.driver.push(which, length)?;
                    self.taken += 1;
                }
                Err(_) => self.refused += 1,
            }
            self.is_bounded()?;
        }
        Ok(())
    }

    /// Much comes in before the next round, and is sent out as it comes.
    fn busy_round(&mut self) -> Verdict {
        for _ in 0..40 {
            self.offer()?;
            self.driver.work()?;
            self.is_bounded()?;
        }
        self.round()
    }

    fn round(&mut self) -> Verdict {
        self.driver.round()?;
        let freed: Vec<_> = self.driver.engine()?.take_freed_bytes().collect();
        freed.into_iter().for_each(|(index, bytes)| self.room.give_back(index, bytes));
        self.is_bounded()
    }

    fn is_bounded(&mut self) -> Verdict {
        let memory = self.driver.engine()?.memory_bytes();
        let limit = if self.alone { BUDGET.bytes } else { LIMIT_BYTES };
        for (index, bytes) in memory.iter().enumerate() {
            demand!(
                *bytes <= IN_CHUNKS * limit,
                "of stream {index}, which may have {limit} bytes waiting, {bytes} are in memory"
            );
        }
        let counted: usize = (0..memory.len()).map(|index| self.room.waiting(index)).sum();
        let most = BUDGET.bytes + BUDGET.stream_bytes_min;
        demand!(counted <= most, "{counted} bytes wait in all, {} may", BUDGET.bytes);
        let all: usize = memory.iter().sum();
        demand!(all <= IN_CHUNKS * most, "{all} bytes are in memory, where {} may wait", BUDGET.bytes);
        Ok(())
    }

    /// All that was taken in is on the disk, and there is room for as much again.
    fn has_room_again(&mut self) -> Verdict {
        self.driver.settle()?;
        self.round()?;
        for index in 0..2 {
            let waiting = self.room.waiting(index);
            demand!(waiting == 0, "{waiting} bytes of stream {index} are said to wait for ever");
        }
        let (taken, refused) = (self.taken, self.refused);
        self.offer()?;
        demand!((self.taken, self.refused) == (taken + 3, refused), "nothing waits, and samples are refused");
        Ok(())
    }
}

#[test]
fn no_more_of_a_stream_waits_in_memory_than_may_however_the_disk_behaves() {
    for_seeds("what waits in memory", 9900, 4, bounded);
}

pub(super) fn bounded(seed: u64) -> Verdict<u64> {
    let mut driver = Driver::new(Shape::SMALL, seed, Cuts::NONE)?;
    let mut room = Room::default();
    for (index, name) in ["cam0", "cam1"].into_iter().enumerate() {
        driver.admit(name)?;
        room.admit(index);
    }
    let mut recorder = Recorder { driver, room, alone: false, taken: 0, refused: 0 };
    for _ in 0..6 {
        recorder.busy_round()?;
    }
    demand!(recorder.refused > 0, "the disk was never too slow");
    recorder.has_room_again()?;
    recorder.driver.faulty = true;
    for kinds in [Kinds::WRITES, Kinds::FLUSHES, Kinds::ALL] {
        recorder.driver.disk.fail_nth(0, Errno::EIO, Repeat::Forever, kinds);
        for _ in 0..20 {
            recorder.busy_round()?;
        }
        // The first camera goes, and what it sent waits on.
        recorder.alone = true;
        for _ in 0..5 {
            recorder.busy_round()?;
        }
        recorder.driver.disk.clear_faults();
        recorder.driver.settle()?;
        recorder.round()?;
        recorder.alone = false;
        recorder.has_room_again()?;
    }
    recorder.driver.power_cut()?;
    recorder.driver.lap()?;
    Ok(recorder.driver.judged + recorder.taken + recorder.refused)
}
