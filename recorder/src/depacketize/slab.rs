//! Where the bytes of samples are gathered: in memory of some samples' length, one behind the other.
//!
//! A packet is copied in as it comes, while it is still in the processor's cache, and may be forgotten at once. So a picture of
//! fourteen packets is one piece of memory with one count of references, not fourteen with one each, and memory is asked for some
//! twice a second, not for every packet: of a slab whose samples were all let go of, if there is one. What a second of footage
//! takes is let go of in the next, and pages that are there cost nothing more.
//!
//! Promises: what was taken is never touched again while it is kept; beside what was taken, memory is bounded by [`SLAB_BYTES_MAX`] or
//! half of the sample in progress, and by what samples took that were kept at the same time before: of that what was not needed
//! while [`TURNS`] slabs were filled is given up then. A slab is let go of with the last sample in it: samples of a track are let go
//! of in their order, so what is kept keeps at most one slab's worth of others.
//!
//! Must not live here: what the bytes mean.

use bytes::{Bytes, BytesMut};
use std::ops::Deref;

/// The least memory that is asked for.
const SLAB_BYTES_MIN: usize = 4 << 10;
/// The most, but for a sample that needs more.
const SLAB_BYTES_MAX: usize = 256 << 10;
/// As many samples as the largest of late find room in a slab.
const SAMPLES: usize = 4;
/// Slabs of so many times the size that is asked for are not used any more.
const TOO_LARGE: usize = 4;
/// What was not needed while so many slabs were filled is given up: half a minute of 4 Mbit/s.
const TURNS: u32 = 64;
/// No more slabs than this are waited for: more than three seconds of 25 Mbit/s.
const LENT_MAX: usize = 64;

/// The sample in progress, at the end of what was taken before. As a slice it is what was gathered of it.
#[derive(Debug, Default)]
pub(super) struct Slab {
    buffer: BytesMut,
    /// How large the slab is that it stands in; 0: memory of its own.
    slab_bytes: usize,
    /// How large samples are: grows with one, shrinks over some hundred.
    typical: usize,
    filled: Filled,
}

/// Slabs that were filled, all of one size, to be used again.
#[derive(Debug, Default)]
struct Filled {
    /// How large they are; 0 before the first one.
    bytes: usize,
    /// Samples of these may be kept.
    lent: Vec<BytesMut>,
    /// Those of these are not.
    idle: Vec<BytesMut>,
    /// How often one was asked for since what was not needed was given up last,
    turns: u32,
    /// and how many were idle still at least.
    spare: usize,
}

impl Filled {
    /// One of at least so many bytes with nothing in it, and how many it has.
    fn take(&mut self, bytes: usize) -> (BytesMut, usize) {
        if !(bytes..=TOO_LARGE * bytes).contains(&self.bytes) {
            *self = Filled { bytes, ..Filled::default() };
        }
        self.idle.extend(self.lent.extract_if(.., |slab| slab.try_reclaim(self.bytes)));
        let taken = self.idle.pop().unwrap_or_else(|| BytesMut::with_capacity(self.bytes));
        self.spare = if self.turns == 0 { self.idle.len() } else { self.spare.min(self.idle.len()) };
        self.turns += 1;
        if self.turns == TURNS {
            self.idle.truncate(self.idle.len() - self.spare);
            self.turns = 0;
        }
        (taken, self.bytes)
    }

    /// It had so many bytes, and is full; what was not taken of it stands elsewhere.
    fn put(&mut self, mut slab: BytesMut, bytes: usize) {
        if bytes > 0 && bytes == self.bytes && self.lent.len() < LENT_MAX {
            slab.clear();
            self.lent.push(slab);
        }
    }
}

impl Slab {
    /// Adds to the sample in progress.
    pub(super) fn extend(&mut self, bytes: &[u8]) {
        if self.buffer.capacity() - self.buffer.len() < bytes.len() {
            self.renew(bytes.len());
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// Replaces what stands at `at` of the sample in progress, as far as it reaches.
    pub(super) fn replace(&mut self, at: usize, bytes: &[u8]) {
        if let Some(place) = self.buffer.get_mut(at..).and_then(|rest| rest.get_mut(..bytes.len())) {
            place.copy_from_slice(bytes);
        }
    }

    /// Forgets the sample in progress from `length` on.
    pub(super) fn truncate(&mut self, length: usize) {
        self.buffer.truncate(length);
    }

    /// Forgets the sample in progress.
    pub(super) fn clear(&mut self) {
        self.buffer.clear();
        self.give_up_if_large();
    }

    /// Takes the sample in progress.
    pub(super) fn take(&mut self) -> Bytes {
        self.typical = self.buffer.len().max(self.typical - self.typical / 256);
        let taken = self.buffer.split().freeze();
        self.give_up_if_large();
        taken
    }

    /// What an uncommonly large sample left over is not kept.
    fn give_up_if_large(&mut self) {
        if self.buffer.capacity() > SLAB_BYTES_MAX {
            (self.buffer, self.slab_bytes) = Default::default();
        }
    }

    #[cold]
    fn renew(&mut self, more: usize) {
        let needed = self.buffer.len() + more;
        let several = SAMPLES.saturating_mul(needed.max(self.typical));
        let capacity = several.clamp(SLAB_BYTES_MIN, SLAB_BYTES_MAX).next_power_of_two();
        let (mut fresh, slab_bytes) = match needed + needed / 2 {
            large if large > capacity => (BytesMut::with_capacity(large), 0),
            _ => self.filled.take(capacity),
        };
        fresh.extend_from_slice(&self.buffer);
        let full = std::mem::replace(&mut self.buffer, fresh);
        let full_bytes = std::mem::replace(&mut self.slab_bytes, slab_bytes);
        self.filled.put(full, full_bytes);
    }
}

impl Deref for Slab {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.buffer
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn samples_of_a_camera_share_memory() {
        let mut slab = Slab::default();
        let (mut slabs, mut end) = (0, std::ptr::null());
        for picture in 0..250 {
            let bytes = if picture % 25 == 0 { 80_000 } else { 17_500 };
            for packet in vec![7; bytes].chunks(1400) {
                slab.extend(packet);
            }
            let taken = slab.take();
            assert_eq!(taken.len(), bytes);
            slabs += usize::from(taken.as_ptr() != end);
            end = taken.as_ptr_range().end;
        }
        // Five megabytes, about 256 KiB at a time.
        assert!(slabs <= 35, "{slabs} slabs");
    }

    /// A camera whose last `kept` pictures are kept, whenever it has sent a second's; how many slabs there are after each picture.
    fn play(slab: &mut Slab, seconds: usize, kept: usize) -> BTreeSet<usize> {
        let (mut pictures, mut slabs) = (Vec::new(), BTreeSet::new());
        for picture in 0..25 * seconds {
            for packet in vec![7; if picture % 25 == 0 { 80_000 } else { 17_500 }].chunks(1400) {
                slab.extend(packet);
            }
            pictures.push(slab.take());
            if picture % 25 == 24 {
                pictures.drain(..pictures.len().saturating_sub(kept));
            }
            slabs.insert(1 + slab.filled.lent.len() + slab.filled.idle.len());
        }
        slabs
    }

    #[test]
    fn memory_is_used_again_when_its_samples_were_let_go_of_and_given_up_when_it_is_not_needed() {
        let mut slab = Slab::default();
        let most = play(&mut slab, 40, 12).into_iter().max().unwrap();
        assert!((3..=6).contains(&most), "{most} slabs for a second and a half");
        assert_eq!(
            play(&mut slab, 100, 12),
            BTreeSet::from([most]),
            "the same ones, for as long as it takes"
        );
        // A disk that stands still, and then goes on.
        let stood = play(&mut slab, 7, 25 * 7).into_iter().max().unwrap();
        assert!(stood > 12, "{stood} slabs");
        assert_eq!(play(&mut slab, 2, 12), BTreeSet::from([stood]), "they are there still");
        play(&mut slab, 100, 12);
        assert_eq!(play(&mut slab, 2, 12), BTreeSet::from([most]), "what it took is given up");
    }

    #[test]
    fn samples_that_are_kept_for_long_keep_their_own_memory_alone_and_bounded() {
        let mut slab = Slab::default();
        play(&mut slab, 1, 0);
        slab.extend(&[1; 20_000]);
        let kept = slab.take();
        let slabs = play(&mut slab, 100, 12);
        assert!(slabs.last() <= Some(&7), "{slabs:?} slabs");
        assert_eq!(kept, vec![1; 20_000]);
        let slabs = play(&mut slab, 100, usize::MAX);
        assert_eq!(slabs.last(), Some(&(LENT_MAX + 1)), "no more are waited for");
    }

    #[test]
    fn small_samples_keep_little_memory_and_a_large_one_no_more_than_half_of_its_own() {
        let mut slab = Slab::default();
        for _ in 0..100 {
            slab.extend(&[1; 200]);
            slab.take();
            assert!(slab.buffer.capacity() <= SLAB_BYTES_MIN);
        }
        for length in [1 << 20, 32 << 20] {
            for packet in vec![3; length].chunks(1400) {
                slab.extend(packet);
                assert!(slab.buffer.capacity() <= SLAB_BYTES_MAX.max(slab.len() * 3 / 2), "{}", slab.len());
            }
            slab.clear();
            assert_eq!(slab.buffer.capacity(), 0);
        }
    }

    proptest! {
        #[test]
        fn what_was_taken_is_what_was_gathered_whatever_comes_behind_it(
            steps in prop::collection::vec((0..9, 0_usize..300_000), 1..200)
        ) {
            let mut slab = Slab::default();
            let (mut now, mut before): (Vec<u8>, Vec<(Bytes, Vec<u8>)>) = Default::default();
            for (number, (step, amount)) in (0_u8..).zip(steps) {
                match step {
                    0 | 1 => before.push((slab.take(), std::mem::take(&mut now))),
                    // Some are let go of in their order, and some are not.
                    2 => drop(before.drain(..before.len() / 2)),
                    3 if !before.is_empty() => drop(before.swap_remove(amount % before.len())),
                    4 => {
                        slab.truncate(amount);
                        now.truncate(amount);
                    }
                    5 => {
                        slab.replace(amount, &[number; 4]);
                        if let Some(place) = now.get_mut(amount..).and_then(|rest| rest.get_mut(..4)) {
                            place.fill(number);
                        }
                    }
                    _ => {
                        slab.extend(&vec![number; amount / 20]);
                        now.extend(vec![number; amount / 20]);
                    }
                }
                prop_assert_eq!(&*slab, now.as_slice());
                for (taken, expected) in &before {
                    prop_assert_eq!(taken, expected);
                }
            }
        }
    }
}
