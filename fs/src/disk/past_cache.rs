//! Copying into memory that the processor will not read again: past its caches.
//!
//! What a chunk is made of goes to the device, and stays in memory only until a flush has succeeded. An ordinary copy reads every line
//! of memory before it is overwritten, and drives out of the caches what somebody needs; that was most of what storing cost.
//!
//! What must not live here: what is copied.

/// Below this the ends of a copy, which are made in the ordinary way, and the wait for its stores cost more than is won.
#[cfg(target_arch = "x86_64")]
const PAST_CACHE_BYTES_MIN: usize = 1024;

/// Copies as [`slice::copy_from_slice`] does, past the caches where the processor has a way.
///
/// # Panics
/// When the lengths differ.
pub(crate) fn copy_past_cache(from: &[u8], to: &mut [u8]) {
    assert_eq!(from.len(), to.len(), "what is copied is as long as its place");
    #[cfg(target_arch = "x86_64")]
    if to.len() >= PAST_CACHE_BYTES_MIN {
        return x86_64::copy(from, to);
    }
    to.copy_from_slice(from);
}

#[cfg(target_arch = "x86_64")]
mod x86_64 {
    #![expect(unsafe_code, reason = "stores past the caches are instructions of the processor")]

    use std::arch::x86_64::{__m128i, _mm_loadu_si128, _mm_sfence, _mm_stream_si128};

    /// A cache line: what is stored of it at once need not be read before.
    const LINE_BYTES: usize = 64;
    const WORDS: usize = LINE_BYTES / size_of::<__m128i>();

    /// Copies between slices of equal length.
    pub(super) fn copy(from: &[u8], to: &mut [u8]) {
        let head = to.as_ptr().align_offset(LINE_BYTES).min(to.len());
        let (to_head, to) = to.split_at_mut(head);
        let (from_head, from) = from.split_at(head);
        let (to_lines, to_tail) = to.as_chunks_mut::<LINE_BYTES>();
        let (from_lines, from_tail) = from.as_chunks::<LINE_BYTES>();
        to_head.copy_from_slice(from_head);
        to_tail.copy_from_slice(from_tail);
        for (to, from) in to_lines.iter_mut().zip(from_lines) {
            let (to, from) = (to.as_mut_ptr().cast::<__m128i>(), from.as_ptr().cast::<__m128i>());
            for word in 0..WORDS {
                // SAFETY: both have the words of one line, and `to` begins on one's boundary. Nobody else has access to it before
                // the fence below.
                unsafe { _mm_stream_si128(to.add(word), _mm_loadu_si128(from.add(word))) };
            }
        }
        // SAFETY: every processor of this architecture has it. Behind it these stores are in the order of all others.
        unsafe { _mm_sfence() };
    }
}

#[cfg(test)]
mod tests {
    use super::copy_past_cache;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_byte_is_copied_and_no_other_changed(
            from in proptest::collection::vec(any::<u8>(), 0..5000), skipped in 0..130_usize, before in 0..130_usize,
        ) {
            let from = from.get(skipped..).unwrap_or_default();
            let mut to = vec![0xa5; before + from.len() + 100];
            copy_past_cache(from, &mut to[before..before + from.len()]);
            prop_assert_eq!(&to[before..before + from.len()], from);
            prop_assert!(to[..before].iter().chain(&to[before + from.len()..]).all(|byte| *byte == 0xa5));
        }
    }
}
