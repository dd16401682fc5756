//! What is written: pictures of a camera, of bytes that no disk compresses.

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// A camera of 4 Mbit/s: a keyframe and 24 pictures a second.
pub(super) const KEYFRAME_BYTES: usize = 80_000;
pub(super) const PICTURE_BYTES: usize = 17_500;
pub(super) const PICTURES: i64 = 25;

/// Bytes of a second of a camera.
pub const SECOND_BYTES: u64 = (KEYFRAME_BYTES + 24 * PICTURE_BYTES) as u64;

/// Random bytes, to be written over and over from other places on.
#[derive(Debug)]
pub struct Source(Bytes);

impl Source {
    /// The same each time.
    #[must_use]
    pub fn new() -> Source {
        let mut bytes = vec![0; 16 << 20];
        StdRng::seed_from_u64(1).fill_bytes(&mut bytes);
        Source(bytes.into())
    }

    /// So many bytes, others for each `place`; `length` is less than 16 MiB.
    pub(super) fn take(&self, place: u64, length: usize) -> Bytes {
        let from = (place as usize).wrapping_mul(4099) % (self.0.len() - length);
        self.0.slice(from..from + length)
    }
}

impl Default for Source {
    fn default() -> Source {
        Source::new()
    }
}
