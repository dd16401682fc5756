//! The content of a simulated disk, copied only where it is written to.
//!
//! Proofs clone a disk at every I/O event and apply a few sectors; with shared pages that costs a reference per
//! page instead of the bytes.

use std::io;
use std::sync::Arc;

use crate::disk::{ReadAt, beyond_end};

const PAGE_BYTES: usize = 4096;
type Page = [u8; PAGE_BYTES];

/// What a digest is summed up from.
const WORD_BYTES: usize = 8;

/// The sum of words, each mixed with its place: `bytes` stand `within` the page that begins at `page_at`.
fn sum(page_at: u64, bytes: &[u8], within: usize) -> u64 {
    let places = (page_at + within as u64..).step_by(WORD_BYTES);
    let words = bytes
        .chunks_exact(WORD_BYTES)
        .map(|word| word.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)));
    places.zip(words).fold(0, |sum: u64, (place, word)| {
        let mixed = (word ^ place.wrapping_mul(0x9E37_79B9_7F4A_7C15)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        sum.wrapping_add((mixed ^ mixed >> 32).wrapping_mul(0x94D0_49BB_1331_11EB))
    })
}

/// Bytes of a whole disk; cloning is cheap.
#[derive(Clone)]
pub struct SimImage {
    pages: Vec<Arc<Page>>,
    size_bytes: usize,
    digest: u64,
}

impl SimImage {
    /// `size_bytes` zeros.
    pub fn zeroed(size_bytes: usize) -> Self {
        let page = Arc::new([0; PAGE_BYTES]);
        Self { pages: vec![page; size_bytes.div_ceil(PAGE_BYTES)], size_bytes, digest: 0 }
    }

    /// Size in bytes.
    pub fn len_bytes(&self) -> usize {
        self.size_bytes
    }

    /// Writes; what reaches beyond the end is ignored.
    pub fn write(&mut self, offset: u64, bytes: &[u8]) {
        let end = self.size_bytes as u64;
        let kept = usize::try_from(end.saturating_sub(offset)).unwrap_or(usize::MAX).min(bytes.len());
        let mut at = offset as usize;
        let mut rest = bytes.get(..kept).unwrap_or_default();
        while !rest.is_empty() {
            let within = at % PAGE_BYTES;
            let (part, behind) = rest.split_at(rest.len().min(PAGE_BYTES - within));
            if let Some(page) = self.pages.get_mut(at / PAGE_BYTES) {
                let page = Arc::make_mut(page);
                let touched = within / WORD_BYTES * WORD_BYTES
                    ..(within + part.len()).next_multiple_of(WORD_BYTES).min(PAGE_BYTES);
                let place = (at - within) as u64;
                self.digest = self.digest.wrapping_sub(sum(place, &page[touched.clone()], touched.start));
                page[within..within + part.len()].copy_from_slice(part);
                self.digest = self.digest.wrapping_add(sum(place, &page[touched.clone()], touched.start));
            }
            at += part.len();
            rest = behind;
        }
    }

    /// A number that is the same for images that came to the same content from one ancestor, and hardly for others.
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// Flips bit `bit` (0 to 7) of the byte at `offset`.
    pub fn flip_bit(&mut self, offset: u64, bit: u8) {
        let mut byte = [0];
        if self.read_exact_at(&mut byte, offset).is_ok() {
            self.write(offset, &[byte[0] ^ (1 << (bit % 8))]);
        }
    }

    /// Cut to `size_bytes`, as a copy that was interrupted; never grows.
    pub fn truncate(&mut self, size_bytes: usize) {
        self.size_bytes = self.size_bytes.min(size_bytes);
        self.pages.truncate(self.size_bytes.div_ceil(PAGE_BYTES));
    }

    /// All bytes.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.pages.len() * PAGE_BYTES);
        self.pages.iter().for_each(|page| bytes.extend_from_slice(&page[..]));
        bytes.truncate(self.size_bytes);
        bytes
    }
}

impl ReadAt for SimImage {
    fn size_bytes(&self) -> u64 {
        self.size_bytes as u64
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset.checked_add(buffer.len() as u64);
        if end.is_none_or(|end| end > self.size_bytes as u64) {
            return Err(beyond_end(offset, buffer.len(), self.size_bytes as u64));
        }
        let mut at = offset as usize;
        let mut rest = buffer;
        while !rest.is_empty() {
            let within = at % PAGE_BYTES;
            let count = rest.len().min(PAGE_BYTES - within);
            let (part, behind) = rest.split_at_mut(count);
            match self.pages.get(at / PAGE_BYTES) {
                Some(page) => part.copy_from_slice(&page[within..within + count]),
                None => part.fill(0),
            }
            at += count;
            rest = behind;
        }
        Ok(())
    }
}

impl From<&[u8]> for SimImage {
    fn from(bytes: &[u8]) -> Self {
        let mut image = Self::zeroed(bytes.len());
        image.write(0, bytes);
        image
    }
}

impl From<Vec<u8>> for SimImage {
    fn from(bytes: Vec<u8>) -> Self {
        Self::from(&bytes[..])
    }
}

impl PartialEq for SimImage {
    fn eq(&self, other: &Self) -> bool {
        self.size_bytes == other.size_bytes
            && self.pages.iter().zip(&other.pages).all(|(one, two)| Arc::ptr_eq(one, two) || one == two)
    }
}

impl Eq for SimImage {}

impl std::fmt::Debug for SimImage {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "SimImage({} bytes)", self.size_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clone_keeps_its_bytes_when_the_original_is_written() {
        let mut image = SimImage::from(vec![1; 10_000]);
        let before = image.clone();
        image.write(4000, &[2; 200]);
        assert_eq!(before.to_vec(), vec![1; 10_000]);
        assert_ne!(image, before);
        let mut across = [0; 202];
        image.read_exact_at(&mut across, 3999).unwrap();
        assert_eq!((across[0], across[1], across[200], across[201]), (1, 2, 2, 1));
    }

    #[test]
    fn images_of_the_same_content_have_the_same_digest_however_they_came_to_it() {
        let base = SimImage::from(vec![1; 10_000]);
        let (mut one, mut two) = (base.clone(), base.clone());
        one.write(4090, &[7; 20]);
        assert_ne!(one.digest(), base.digest());
        two.write(4093, &[7; 17]);
        two.write(3, &[9]);
        two.write(4090, &[7; 3]);
        assert_ne!(one.digest(), two.digest());
        two.write(3, &[1]);
        assert_eq!((one.digest(), &one), (two.digest(), &two));
        // The same bytes elsewhere are other content.
        let (mut here, mut there) = (base.clone(), base);
        here.write(512, &[7; 8]);
        there.write(1024, &[7; 8]);
        assert_ne!(here.digest(), there.digest());
    }

    #[test]
    fn the_end_is_respected_by_reads_and_writes() {
        let mut image = SimImage::zeroed(5000);
        image.write(4990, &[3; 100]);
        image.write(u64::MAX, &[3; 100]);
        assert_eq!(&image.to_vec()[4989..], &[0, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3]);
        assert!(image.read_exact_at(&mut [0; 11], 4990).is_err());
        assert!(image.read_exact_at(&mut [0; 1], u64::MAX).is_err());
        image.truncate(4995);
        assert_eq!(image.to_vec().len(), 4995);
    }
}
