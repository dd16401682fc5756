//! Re-use of [`AlignedBuffer`]s that readers fill, so that steady reading neither allocates nor faults pages in.
//!
//! Idle buffers wait in classes of doubling size. The pool bounds what lies idle, not what is out: how much may
//! be in use is decided by those who take. When the bound is reached, buffers of the class that nobody asked for
//! the longest go first, so that a change of bitrates does not leave the pool full of useless sizes.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::buffer::{AlignedBuffer, BUFFER_ALIGNMENT_BYTES};

/// Classes 4 KiB, 8 KiB ... 128 MiB; larger buffers are not kept.
const CLASSES: usize = 16;

/// Size-classed store of idle buffers, shared between threads.
#[derive(Debug)]
pub(super) struct BufferPool {
    idle_bytes_max: usize,
    idle: Mutex<Idle>,
}

#[derive(Debug, Default)]
struct Idle {
    classes: [Class; CLASSES],
    bytes: usize,
    takes: u64,
}

#[derive(Debug, Default)]
struct Class {
    buffers: Vec<AlignedBuffer>,
    last_take: u64,
}

impl BufferPool {
    /// A pool that keeps at most `idle_bytes_max` bytes of memory idle.
    pub(super) fn new(idle_bytes_max: usize) -> Self {
        Self { idle_bytes_max, idle: Mutex::default() }
    }

    /// A buffer of `len` bytes that hold whatever they held: for who writes every one of them.
    pub(super) fn take_stale(&self, len: usize) -> AlignedBuffer {
        let mut buffer = self.take_empty(len);
        buffer.resize_stale(len);
        buffer
    }

    /// An empty buffer with room for `capacity` bytes.
    fn take_empty(&self, capacity: usize) -> AlignedBuffer {
        let Some(class) = class_for(capacity) else { return AlignedBuffer::with_capacity(capacity) };
        let mut idle = self.lock();
        idle.takes += 1;
        let now = idle.takes;
        if let Some(slot) = idle.classes.get_mut(class) {
            slot.last_take = now;
            if let Some(mut buffer) = slot.buffers.pop() {
                idle.bytes = idle.bytes.saturating_sub(buffer.capacity());
                buffer.clear();
                return buffer;
            }
        }
        drop(idle);
        AlignedBuffer::with_capacity(class_bytes(class))
    }

    /// Takes a buffer back. It is freed where the pool is full or the buffer of no use to it.
    pub(super) fn give(&self, buffer: AlignedBuffer) {
        let capacity = buffer.capacity();
        let Some(class) = class_of(capacity) else { return };
        if capacity > self.idle_bytes_max {
            return;
        }
        let mut evicted = Vec::new();
        let mut idle = self.lock();
        while idle.bytes + capacity > self.idle_bytes_max {
            let Some(buffer) = idle.evict() else { break };
            evicted.push(buffer);
        }
        if let Some(slot) = idle.classes.get_mut(class) {
            slot.buffers.push(buffer);
            idle.bytes += capacity;
        }
        // Memory goes back to the system after the lock, not under it.
        drop(idle);
        drop(evicted);
    }

    /// Memory that lies idle, in bytes.
    #[cfg(test)]
    fn idle_bytes(&self) -> usize {
        self.lock().bytes
    }

    fn lock(&self) -> MutexGuard<'_, Idle> {
        // Nothing can panic between two steps that belong together, so a poisoned state is still a good one.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A buffer that goes back to its pool when it is dropped.
#[derive(Debug)]
pub(super) struct Pooled {
    buffer: AlignedBuffer,
    pool: Arc<BufferPool>,
}

impl BufferPool {
    /// [`BufferPool::take_stale`], given back by dropping it.
    pub(super) fn take_pooled(pool: &Arc<Self>, len: usize) -> Pooled {
        Pooled { buffer: pool.take_stale(len), pool: Arc::clone(pool) }
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        self.pool.give(std::mem::take(&mut self.buffer));
    }
}

impl AsRef<[u8]> for Pooled {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Deref for Pooled {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.buffer
    }
}

impl DerefMut for Pooled {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.buffer
    }
}

impl Idle {
    /// Removes one buffer of the class that was asked for the longest ago.
    fn evict(&mut self) -> Option<AlignedBuffer> {
        let filled = self.classes.iter_mut().filter(|class| !class.buffers.is_empty());
        let buffer = filled.min_by_key(|class| class.last_take)?.buffers.pop()?;
        self.bytes = self.bytes.saturating_sub(buffer.capacity());
        Some(buffer)
    }
}

const fn class_bytes(class: usize) -> usize {
    BUFFER_ALIGNMENT_BYTES << class
}

/// The smallest class whose buffers hold `capacity` bytes.
fn class_for(capacity: usize) -> Option<usize> {
    (0..CLASSES).find(|&class| class_bytes(class) >= capacity)
}

/// The largest class that a buffer of this capacity can serve.
fn class_of(capacity: usize) -> Option<usize> {
    let class = (0..CLASSES).rev().find(|&class| class_bytes(class) <= capacity)?;
    // A buffer of twice a class' size would hide its memory from those who need large ones.
    (capacity < class_bytes(class) * 2).then_some(class)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_back_is_taken_again() {
        let pool = BufferPool::new(1 << 20);
        let mut buffer = pool.take_stale(5000);
        let memory = buffer.as_ptr();
        buffer.fill(9);
        pool.give(buffer);
        assert_eq!(pool.idle_bytes(), 8192);
        let again = pool.take_stale(6000);
        assert_eq!(again.as_ptr(), memory);
        assert_eq!(again.len(), 6000);
        assert_eq!(pool.idle_bytes(), 0);
    }

    #[test]
    fn idle_memory_stays_within_its_bound_and_forgotten_sizes_go_first() {
        let pool = BufferPool::new(64 << 10);
        let small: Vec<_> = (0..16).map(|_| pool.take_stale(4096)).collect();
        small.into_iter().for_each(|buffer| pool.give(buffer));
        assert_eq!(pool.idle_bytes(), 64 << 10);
        let large = pool.take_stale(32 << 10);
        let memory = large.as_ptr();
        pool.give(large);
        assert_eq!(pool.idle_bytes(), 64 << 10);
        assert_eq!(pool.take_stale(32 << 10).as_ptr(), memory);
    }

    #[test]
    fn a_buffer_larger_than_the_bound_or_than_any_class_is_not_kept() {
        let pool = BufferPool::new(16 << 10);
        pool.give(AlignedBuffer::zeroed(32 << 10));
        pool.give(AlignedBuffer::default());
        assert_eq!(pool.idle_bytes(), 0);
        assert_eq!(class_for(class_bytes(CLASSES - 1) + 1), None);
        assert_eq!(class_of(class_bytes(CLASSES)), None);
    }
}
