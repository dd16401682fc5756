//! How much waits in memory: while the disk is slow, fails, or lets nothing through, no more of a stream than it may have,
//! counted from what the writer really keeps; and all that was taken in comes to the disk and makes room again.

use super::driver::{Cuts, Driver};
use super::material::Shape;
use super::{Verdict, demand, for_seeds};
use crate::disk::sim::{Errno, Kinds, Repeat};
use crate::sample::QUEUED_OVERHEAD_BYTES;
use crate::writer::room::Room;

/// How much of a stream may wait, in bytes. Small, so that few samples fill it.
const LIMIT_BYTES: usize = 16 << 10;
/// What the writer really keeps may be so much more: chunks have headers, tables and padding.
const IN_CHUNKS: usize = 2;

/// A recorder that counts in what it takes, as the way in from other threads does.
struct Recorder {
    driver: Driver,
    room: Room,
    taken: u64,
    refused: u64,
}

impl Recorder {
    fn offer(&mut self) -> Verdict {
        for which in [0, 0, 1] {
            let length = 300 + self.driver.rng.below(1700);
            match self.room.take(which, length + QUEUED_OVERHEAD_BYTES, LIMIT_BYTES) {
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
        for (index, bytes) in self.driver.engine()?.memory_bytes().into_iter().enumerate() {
            demand!(
                bytes <= IN_CHUNKS * LIMIT_BYTES,
                "of stream {index}, which may have {LIMIT_BYTES} bytes waiting, {bytes} are in memory"
            );
        }
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
    let mut recorder = Recorder { driver, room, taken: 0, refused: 0 };
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
        recorder.driver.disk.clear_faults();
        recorder.has_room_again()?;
    }
    recorder.driver.power_cut()?;
    recorder.driver.lap()?;
    Ok(recorder.driver.judged + recorder.taken + recorder.refused)
}
