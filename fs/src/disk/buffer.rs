//! Memory that direct I/O accepts.
//!
//! [`AlignedBuffer`] behaves as a `Vec<u8>` whose memory begins on a page boundary and which is written to when
//! it is made, so that using it later causes no page faults. All of its capacity is always initialised.
//! Re-use is the business of `pool` and `slab`.

#![expect(unsafe_code, reason = "aligned memory comes from the allocator as a raw pointer")]

use std::alloc::{self, Layout};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::Arc;

use super::slab::Slab;

/// Where every buffer begins, and the unit of capacities: a multiple of this many bytes.
pub const BUFFER_ALIGNMENT_BYTES: usize = 4096;

/// Buffers this large are aligned to it and ask for huge pages.
const HUGE_PAGE_BYTES: usize = 2 << 20;

/// An owned buffer aligned to [`BUFFER_ALIGNMENT_BYTES`], zeroed when made.
pub struct AlignedBuffer {
    /// `capacity` initialised bytes from the global allocator or of `slab`, or dangling when `capacity` is 0.
    memory: NonNull<u8>,
    /// At most `capacity`.
    len: usize,
    capacity: usize,
    /// Whose memory it is, if not its own.
    slab: Option<Arc<Slab>>,
}

// SAFETY: the buffer owns its memory alone and hands out references only by the borrow rules of its own
// `&self` and `&mut self`, as a `Vec<u8>` does; bytes have no thread affinity.
unsafe impl Send for AlignedBuffer {}
// SAFETY: as above: through `&self` the bytes can only be read.
unsafe impl Sync for AlignedBuffer {}

impl AlignedBuffer {
    /// A buffer of `len` zero bytes.
    pub fn zeroed(len: usize) -> Self {
        let mut buffer = Self::with_capacity(len);
        buffer.len = len;
        buffer
    }

    /// An empty buffer with room for at least `capacity` bytes, its pages already touched.
    ///
    /// # Panics
    /// When `capacity` is near the whole address space; out of memory ends the process, as for a `Vec`.
    pub fn with_capacity(capacity: usize) -> Self {
        if capacity == 0 {
            let memory = NonNull::<Page>::dangling().cast();
            return Self { memory, len: 0, capacity: 0, slab: None };
        }
        let layout = layout(capacity);
        // SAFETY: `layout` never has size 0 here, because `capacity` is not 0.
        let pointer = unsafe { alloc::alloc(layout) };
        let Some(memory) = NonNull::new(pointer) else { alloc::handle_alloc_error(layout) };
        if layout.size() >= HUGE_PAGE_BYTES {
            prefer_huge_pages(memory, layout.size());
        }
        // SAFETY: the allocator gave us `layout.size()` writable bytes at `memory`.
        unsafe { memory.as_ptr().write_bytes(0, layout.size()) };
        Self { memory, len: 0, capacity: layout.size(), slab: None }
    }

    /// The `capacity` bytes of a slab from `at` on, both multiples of [`BUFFER_ALIGNMENT_BYTES`].
    ///
    /// # Safety
    /// They are within the slab, and nobody else has any of them for as long as the buffer is there.
    pub(super) unsafe fn part_of(slab: &Arc<Slab>, at: usize, capacity: usize) -> Self {
        let (memory, _) = slab.place();
        // SAFETY: the caller's part ends within the slab's memory, which stays as long as the slab, of which this is an owner.
        let memory = unsafe { memory.add(at) };
        Self { memory, len: 0, capacity, slab: Some(Arc::clone(slab)) }
    }

    /// The slab that it is a part of.
    pub(super) fn slab(&self) -> Option<&Arc<Slab>> {
        self.slab.as_ref()
    }

    /// Where it begins, whatever its length.
    pub(super) fn memory(&self) -> NonNull<u8> {
        self.memory
    }

    /// Bytes in use.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no byte is in use.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes that fit without new memory.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Forgets the content, keeps the memory.
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// Cuts to `len` bytes; does nothing when there are fewer.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Cuts or grows to `len` bytes; what is added is zero, whatever stood there before.
    pub fn resize_zeroed(&mut self, len: usize) {
        self.reserve(len);
        let old = self.len;
        self.len = len;
        if let Some(added) = self.get_mut(old..) {
            added.fill(0);
        }
    }

    /// Cuts or grows to `len` bytes; what is added is whatever stood there before: for who writes every byte anyway.
    pub fn resize_stale(&mut self, len: usize) {
        self.reserve(len);
        self.len = len;
    }

    /// Appends bytes.
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        let old = self.len;
        self.reserve(old + bytes.len());
        self.len = old + bytes.len();
        self[old..].copy_from_slice(bytes);
    }

    /// Makes room for `capacity` bytes in all; at least doubles, so that appending stays cheap.
    fn reserve(&mut self, capacity: usize) {
        if capacity <= self.capacity {
            return;
        }
        let mut larger = Self::with_capacity(capacity.max(self.capacity.saturating_mul(2)));
        larger.len = self.len;
        larger.copy_from_slice(self);
        *self = larger;
    }
}

impl Drop for AlignedBuffer {
    fn drop(&mut self) {
        if self.capacity > 0 && self.slab.is_none() {
            // SAFETY: `memory` came from `alloc` with this very layout (`layout` is a function of the capacity
            // and idempotent), is freed only here, and no reference outlives `self`.
            unsafe { alloc::dealloc(self.memory.as_ptr(), layout(self.capacity)) };
        }
    }
}

impl AsRef<[u8]> for AlignedBuffer {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Deref for AlignedBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the first `len <= capacity` bytes are initialised and ours; a dangling pointer goes with 0.
        unsafe { std::slice::from_raw_parts(self.memory.as_ptr(), self.len) }
    }
}

impl DerefMut for AlignedBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`; `&mut self` makes it the only reference.
        unsafe { std::slice::from_raw_parts_mut(self.memory.as_ptr(), self.len) }
    }
}

impl Clone for AlignedBuffer {
    fn clone(&self) -> Self {
        Self::from(&**self)
    }
}

impl Default for AlignedBuffer {
    fn default() -> Self {
        Self::with_capacity(0)
    }
}

impl From<&[u8]> for AlignedBuffer {
    fn from(bytes: &[u8]) -> Self {
        let mut buffer = Self::with_capacity(bytes.len());
        buffer.extend_from_slice(bytes);
        buffer
    }
}

impl std::fmt::Debug for AlignedBuffer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "AlignedBuffer({} of {} bytes)", self.len, self.capacity)
    }
}

/// Gives a dangling pointer its alignment.
#[repr(align(4096))]
struct Page;

/// The layout of a buffer of at least `capacity > 0` bytes; applied to its own size it gives the same again.
fn layout(capacity: usize) -> Layout {
    let layout = capacity.checked_next_multiple_of(BUFFER_ALIGNMENT_BYTES).and_then(|size| {
        // By the rounded size: it is all that is known when the memory is given back.
        let alignment = if size >= HUGE_PAGE_BYTES { HUGE_PAGE_BYTES } else { BUFFER_ALIGNMENT_BYTES };
        Layout::from_size_align(size, alignment).ok()
    });
    layout.unwrap_or_else(|| panic!("a buffer of {capacity} bytes does not fit into the address space"))
}

/// Asks for huge pages, which save most of the translation misses; a refusal changes nothing but speed.
fn prefer_huge_pages(memory: NonNull<u8>, len: usize) {
    use nix::libc::{MADV_HUGEPAGE, madvise};
    // SAFETY: the range is ours, page-aligned and freshly allocated; MADV_HUGEPAGE does not change its content.
    let _refusal_costs_speed_only = unsafe { madvise(memory.as_ptr().cast(), len, MADV_HUGEPAGE) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_aligned_and_zero_whatever_their_size() {
        for len in [0, 1, 511, 4096, 4097, 1 << 20, (2 << 20) - 1, 2 << 20, (5 << 20) + 3] {
            let buffer = AlignedBuffer::zeroed(len);
            assert_eq!(buffer.len(), len);
            assert!(buffer.capacity() >= len && buffer.capacity().is_multiple_of(BUFFER_ALIGNMENT_BYTES));
            assert_eq!(buffer.as_ptr().addr() % BUFFER_ALIGNMENT_BYTES, 0);
            assert!(buffer.iter().all(|&byte| byte == 0));
        }
    }

    #[test]
    fn memory_is_given_back_with_the_layout_it_was_taken_with() {
        for capacity in [1, 4096, 4097, (2 << 20) - 4096, (2 << 20) - 1, 2 << 20, (2 << 20) + 1] {
            assert_eq!(layout(layout(capacity).size()), layout(capacity));
        }
    }

    #[test]
    fn growing_within_the_same_memory_shows_zeros_and_not_what_stood_there() {
        let mut buffer = AlignedBuffer::zeroed(100);
        buffer.fill(7);
        buffer.resize_zeroed(10);
        buffer.resize_zeroed(50);
        assert_eq!(&buffer[..10], &[7; 10]);
        assert_eq!(&buffer[10..], &[0; 40]);
    }

    #[test]
    fn growing_beyond_the_memory_keeps_the_content() {
        let mut buffer = AlignedBuffer::default();
        let bytes: Vec<u8> = (0..10_000_u32).map(|n| (n % 251) as u8).collect();
        for part in bytes.chunks(37) {
            buffer.extend_from_slice(part);
        }
        assert_eq!(&*buffer, &bytes[..]);
        buffer.resize_zeroed(3 << 20);
        assert_eq!(&buffer[..10_000], &bytes[..]);
        assert!(buffer[10_000..].iter().all(|&byte| byte == 0));
        assert_eq!(&*buffer.clone(), &*buffer);
    }

    #[test]
    fn clearing_keeps_the_memory_for_the_next_use() {
        let mut buffer = AlignedBuffer::zeroed(8192);
        let memory = buffer.as_ptr();
        buffer.clear();
        assert!(buffer.is_empty());
        buffer.extend_from_slice(&[1; 8192]);
        assert_eq!(buffer.as_ptr(), memory);
    }
}
