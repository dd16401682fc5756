//! The slabs that the ring knows beforehand: a write from one of them spares the kernel looking up its pages.
//!
//! A slab is registered when the first write from it comes. Where that is refused (an old kernel, RLIMIT_MEMLOCK) its writes
//! name their memory as any other: all works, and costs a little more. Registered memory is pinned, so a slab that nobody has any more
//! is taken out; until its last request has landed the kernel keeps its pages for itself.
//!
//! What must not live here: which operation is under way.

use std::sync::Arc;

use super::ring::Ring;
use crate::disk::slab::{Slab, SlabMark};

/// So many at most: 4 GiB of the largest.
const PLACES: u16 = 1024;
/// Smaller slabs are of volumes of which little is written.
const SLAB_BYTES_MIN: usize = 1 << 20;

#[derive(Debug)]
pub(super) struct Registered {
    places: Vec<Option<SlabMark>>,
    /// The kernel takes no more, unless one goes.
    is_full: bool,
}

impl Registered {
    /// A ring has them if its kernel does.
    pub(super) fn new(ring: &Ring) -> Self {
        Self { places: Vec::new(), is_full: !ring.make_places(PLACES) }
    }

    /// Which of the ring's a slab is, if it could be registered.
    pub(super) fn place_of(&mut self, ring: &Ring, slab: &Arc<Slab>) -> Option<u16> {
        let is_it = |place: &Option<SlabMark>| place.as_ref().is_some_and(|mark| mark.is_of(slab));
        if let Some(place) = self.places.iter().position(is_it) {
            return u16::try_from(place).ok();
        }
        if self.is_full || slab.place().1 < SLAB_BYTES_MIN {
            return None;
        }
        let free = self.places.iter().position(Option::is_none).unwrap_or(self.places.len());
        let place = u16::try_from(free).ok().filter(|place| *place < PLACES)?;
        if let Err(error) = ring.register_memory(place, slab) {
            tracing::debug!(%error, slabs = self.places.len(), "no more memory can be registered; the rest is written without");
            self.is_full = true;
            return None;
        }
        if free == self.places.len() {
            self.places.push(None);
        }
        self.places[free] = Some(slab.mark());
        Some(place)
    }

    /// Takes out the slabs that nobody has any more.
    pub(super) fn forget_gone(&mut self, ring: &Ring) {
        for (place, slab) in (0..).zip(&mut self.places) {
            if slab.as_ref().is_some_and(SlabMark::is_gone) {
                ring.forget_memory(place);
                *slab = None;
                self.is_full = false;
            }
        }
    }
}

#[cfg(test)]
impl Registered {
    pub(super) fn count(&self) -> usize {
        self.places.iter().flatten().count()
    }
}
