//! Memory for what a round writes: cut from slabs, one piece behind the other, and free again all at once.
//!
//! Whatever a round writes is kept until its flush has succeeded and then let go of together. So pieces need no sizes of
//! their own and no list of what is free: a slab is cut anew once nobody has a piece of it. Slabs are large, lie in huge pages
//! where the system has them, and stay: steady recording neither allocates nor faults pages in, and io_uring can know them
//! beforehand.
//!
//! Promises: a piece shares no byte with another one that is alive; a slab lives as long as any piece of it; what one of the
//! last [`REMEMBERED_ROUNDS`] rounds had at once is kept, so that small rounds between large ones cost no page faults; what is
//! kept beyond that is let go of little by little, all of it within some minutes.
//!
//! What must not live here: what is written, and when.

#![expect(unsafe_code, reason = "which parts of a slab are whose is known here alone")]

use std::ptr::NonNull;
use std::sync::atomic::{Ordering, fence};
use std::sync::{Arc, Weak};

use super::buffer::{AlignedBuffer, BUFFER_ALIGNMENT_BYTES};

/// The first slab; each further one is as large as all before it, up to [`SLAB_BYTES_MAX`]: a volume of which little is
/// written has little memory.
const SLAB_BYTES_MIN: usize = 64 << 10;
/// A few chunks of the largest size, and two huge pages.
const SLAB_BYTES_MAX: usize = 4 << 20;
/// As many rounds at least, and at most twice as many, keep what the largest of them had: a minute or two at a round a second.
const REMEMBERED_ROUNDS: u32 = 64;
/// Each round lets go of this part of what is kept beyond that: nobody waits for much memory to be given back at once.
const FORGOTTEN_PART: usize = 64;

/// Memory that pieces are cut from. It is touched through them alone.
#[derive(Debug)]
pub(super) struct Slab(AlignedBuffer);

/// Knows a slab again and whether anybody still has it; gives nobody a way to it.
#[derive(Debug)]
pub(super) struct SlabMark(Weak<Slab>);

impl SlabMark {
    pub(super) fn is_of(&self, slab: &Arc<Slab>) -> bool {
        std::ptr::eq(self.0.as_ptr(), Arc::as_ptr(slab))
    }

    pub(super) fn is_gone(&self) -> bool {
        self.0.strong_count() == 0
    }
}

impl Slab {
    pub(super) fn mark(self: &Arc<Self>) -> SlabMark {
        SlabMark(Arc::downgrade(self))
    }

    /// Where it begins, and its length in bytes.
    pub(super) fn place(&self) -> (NonNull<u8>, usize) {
        (self.0.memory(), self.0.capacity())
    }
}

/// The slabs of a writer.
#[derive(Debug, Default)]
pub(crate) struct Slabs {
    /// The last one is being cut.
    slabs: Vec<Arc<Slab>>,
    /// How much of it is cut, in bytes.
    cut: usize,
    /// As much is kept, in bytes.
    kept: usize,
    needed: Needed,
}

/// The most that one of the last rounds had at once, in bytes.
#[derive(Debug, Default)]
struct Needed {
    /// Since so many rounds.
    rounds: u32,
    most: usize,
    /// In the [`REMEMBERED_ROUNDS`] before these.
    most_before: usize,
}

impl Needed {
    /// A round had so much. How much to keep for those to come.
    fn after(&mut self, used: usize) -> usize {
        if self.rounds == REMEMBERED_ROUNDS {
            *self = Self { most_before: self.most, ..Self::default() };
        }
        self.rounds += 1;
        self.most = self.most.max(used);
        self.most.max(self.most_before)
    }
}

impl Slabs {
    /// A piece of `len` zero bytes.
    pub(crate) fn take(&mut self, len: usize) -> AlignedBuffer {
        let mut piece = self.take_stale(len);
        piece.fill(0);
        piece
    }

    /// A piece of `len` bytes that hold whatever they held: for who writes every one of them.
    pub(crate) fn take_stale(&mut self, len: usize) -> AlignedBuffer {
        let bytes = len.next_multiple_of(BUFFER_ALIGNMENT_BYTES);
        let mut piece = if bytes == 0 || bytes > SLAB_BYTES_MAX {
            AlignedBuffer::with_capacity(len)
        } else {
            self.cut(bytes)
        };
        piece.resize_stale(len);
        piece
    }

    fn cut(&mut self, bytes: usize) -> AlignedBuffer {
        if self.slabs.last().is_some_and(is_free) {
            self.cut = 0;
        }
        let room = self.slabs.last().map_or(0, |slab| slab.0.capacity() - self.cut);
        if room < bytes {
            self.turn_to_free(bytes);
        }
        let slab = self.slabs.last().expect("one is being cut");
        let at = self.cut;
        self.cut += bytes;
        // SAFETY: there is room for it. Whoever has a part of this slab got it here, since the slab was free: what they have
        // ends where this begins.
        unsafe { AlignedBuffer::part_of(slab, at, bytes) }
    }

    /// Goes on with a slab of which nobody has a piece, with room for so many bytes.
    fn turn_to_free(&mut self, bytes: usize) {
        let free = self.slabs.iter().position(|slab| slab.0.capacity() >= bytes && is_free(slab));
        let slab = match free {
            Some(place) => self.slabs.remove(place),
            None => {
                let larger = self.bytes().clamp(SLAB_BYTES_MIN, SLAB_BYTES_MAX).max(bytes);
                Arc::new(Slab(AlignedBuffer::with_capacity(larger.next_power_of_two())))
            }
        };
        self.slabs.push(slab);
        self.cut = 0;
    }

    /// A round is over: what was kept for long without need goes. Called while its pieces are still there.
    pub(crate) fn trim(&mut self) {
        let used: usize = self.slabs.iter().filter(|slab| !is_free(slab)).map(|slab| slab.0.capacity()).sum();
        self.kept = (self.kept - self.kept / FORGOTTEN_PART).max(self.needed.after(used));
        let mut bytes = self.bytes();
        // The one that is being cut stays: where its cutting goes on is known.
        let last = self.slabs.len().saturating_sub(1);
        let mut place = 0..;
        let kept = self.kept;
        self.slabs.retain(|slab| {
            let goes = bytes > kept && place.next() < Some(last) && is_free(slab);
            bytes -= if goes { slab.0.capacity() } else { 0 };
            !goes
        });
    }

    fn bytes(&self) -> usize {
        self.slabs.iter().map(|slab| slab.0.capacity()).sum()
    }
}

/// Whether nobody has a piece of it: then none can come to be but here, for nothing else leads to a slab than its pieces.
fn is_free(slab: &Arc<Slab>) -> bool {
    let is_free = Arc::strong_count(slab) == 1;
    // What others did with their pieces came before they let go of them.
    fence(Ordering::Acquire);
    is_free
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    #[test]
    fn pieces_that_are_alive_share_no_byte_whatever_is_taken_and_let_go() {
        let mut chance = StdRng::seed_from_u64(3);
        let mut slabs = Slabs::default();
        let mut alive: Vec<(u8, AlignedBuffer)> = Vec::new();
        for turn in 0..4000_u32 {
            let len = if chance.random_ratio(1, 200) { 5 << 20 } else { chance.random_range(0..300_000) };
            let mark = (turn % 251) as u8 + 1;
            let mut piece = if turn % 2 == 0 { slabs.take(len) } else { slabs.take_stale(len) };
            assert!(piece.len() == len && (len == 0 || piece.as_ptr().addr().is_multiple_of(4096)));
            assert!(turn % 2 == 1 || piece.iter().all(|byte| *byte == 0));
            piece.fill(mark);
            alive.push((mark, piece));
            if chance.random_ratio(1, 40) {
                slabs.trim();
                let keep = chance.random_range(0..=alive.len().min(20));
                for (mark, piece) in alive.drain(keep..) {
                    assert!(piece.iter().all(|byte| *byte == mark));
                }
            }
        }
    }

    /// A round takes so many pieces of half a megabyte, writes them and lets go of them. Returns the bytes of all slabs.
    fn kept_after_a_round(slabs: &mut Slabs, pieces: usize) -> usize {
        let taken: Vec<_> = (0..pieces).map(|_| slabs.take_stale(500_000)).collect();
        slabs.trim();
        drop(taken);
        slabs.bytes()
    }

    #[test]
    fn the_rounds_that_follow_use_the_memory_of_the_first_and_what_is_not_used_goes() {
        let mut slabs = Slabs::default();
        let mut round = |pieces| kept_after_a_round(&mut slabs, pieces);
        let settled = (0..20).map(|_| round(60)).last().expect("rounds");
        assert!(settled < 60 * 500_000 * 5 / 4, "{settled}");
        assert!((0..100).all(|_| round(60) == settled));
        assert!((0..300).map(|_| round(2)).last().is_some_and(|bytes| bytes <= 3 * SLAB_BYTES_MAX));
    }

    #[test]
    fn small_rounds_between_large_ones_cost_no_memory_anew() {
        let mut slabs = Slabs::default();
        let mut round = |pieces| kept_after_a_round(&mut slabs, pieces);
        let settled = (0..20).map(|_| round(60)).last().expect("rounds");
        let small = [10, 0, 1, 2];
        let rounds = (0..100).flat_map(|_| small.into_iter().chain([60]));
        assert!(rounds.map(&mut round).all(|bytes| bytes == settled), "rounds by turns");
        assert!((0..REMEMBERED_ROUNDS).all(|_| round(0) == settled), "a rest");
        assert!((0..20).all(|_| round(60) == settled), "after the rest");
    }

    #[test]
    fn a_piece_outlives_its_slabs_and_grows_into_memory_of_its_own() {
        let mut slabs = Slabs::default();
        let mut piece = slabs.take(5000);
        let neighbour = slabs.take(5000);
        drop(slabs);
        piece.fill(7);
        piece.extend_from_slice(&[8; 10_000]);
        assert!(piece[..5000].iter().all(|byte| *byte == 7) && piece[5000..].iter().all(|byte| *byte == 8));
        assert!(neighbour.iter().all(|byte| *byte == 0));
    }
}
