//! Where the bytes of samples are gathered: in memory of some samples' length, one behind the other.
//!
//! A packet is copied in as it comes, while it is still in the processor's cache, and may be forgotten at once. So a picture of
//! fourteen packets is one piece of memory with one count of references, not fourteen with one each, and memory is asked for some
//! twice a second, not for every packet.
//!
//! Promises: what was taken is never touched again; beside what was taken, memory is bounded by [`SLAB_BYTES_MAX`] or half of the
//! sample in progress. A slab is freed with the last sample in it: samples of a track are let go in their order, so what is kept
//! keeps at most one slab's worth of others.
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

/// The sample in progress, at the end of what was taken before. As a slice it is what was gathered of it.
#[derive(Debug, Default)]
pub(super) struct Slab {
    buffer: BytesMut,
    /// How large samples are: grows with one, shrinks over some.
    typical: usize,
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
        self.typical = self.buffer.len().max(self.typical - self.typical / 16);
        let taken = self.buffer.split().freeze();
        self.give_up_if_large();
        taken
    }

    /// What an uncommonly large sample left over is not kept.
    fn give_up_if_large(&mut self) {
        if self.buffer.capacity() > SLAB_BYTES_MAX {
            self.buffer = BytesMut::new();
        }
    }

    #[cold]
    fn renew(&mut self, more: usize) {
        let needed = self.buffer.len() + more;
        let several = SAMPLES.saturating_mul(needed.max(self.typical));
        let capacity = several.clamp(SLAB_BYTES_MIN, SLAB_BYTES_MAX).next_power_of_two();
        let mut fresh = BytesMut::with_capacity(capacity.max(needed + needed / 2));
        fresh.extend_from_slice(&self.buffer);
        self.buffer = fresh;
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
            steps in prop::collection::vec((0..5, 0_usize..300_000), 1..60)
        ) {
            let mut slab = Slab::default();
            let (mut now, mut before): (Vec<u8>, Vec<(Bytes, Vec<u8>)>) = Default::default();
            for (number, (step, amount)) in (0_u8..).zip(steps) {
                match step {
                    0 => before.push((slab.take(), std::mem::take(&mut now))),
                    1 => {
                        slab.truncate(amount);
                        now.truncate(amount);
                    }
                    2 => {
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
            }
            for (taken, expected) in before {
                prop_assert_eq!(&taken, &expected);
            }
        }
    }
}
