//! The checksum of everything on the volume: CRC-32C (Castagnoli, RFC 3720 appendix B.4).
//!
//! What must not live here: what is covered by it.

use crc_fast::{CrcAlgorithm, Digest, checksum};

/// The CRC-32C of some bytes.
pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    // It has 32 bits.
    checksum(CrcAlgorithm::Crc32Iscsi, bytes) as u32
}

/// The CRC-32C of bytes that come piece by piece.
pub(crate) struct Crc32c(Digest);

impl Crc32c {
    /// That of no byte.
    pub(crate) fn new() -> Crc32c {
        Crc32c(Digest::new(CrcAlgorithm::Crc32Iscsi))
    }

    /// Further bytes.
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// That of all that came.
    pub(crate) fn value(&self) -> u32 {
        // It has 32 bits.
        self.0.finalize() as u32
    }
}

#[cfg(test)]
mod tests {
    use super::{Crc32c, crc32c};
    use proptest::prelude::*;

    #[test]
    fn it_is_the_one_of_rfc_3720() {
        // Appendix B.4, each as it stands there, read as little-endian.
        let ascending: Vec<u8> = (0..32).collect();
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc32c(&ascending), 0x46dd_794e);
    }

    proptest! {
        #[test]
        fn another_implementation_says_the_same(bytes in proptest::collection::vec(any::<u8>(), 0..5000), skip in 0..64_usize) {
            let bytes = bytes.get(skip..).unwrap_or_default();
            prop_assert_eq!(crc32c(bytes), crc32c::crc32c(bytes));
        }

        #[test]
        fn it_is_the_same_piece_by_piece(pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..700), 0..6)) {
            let mut crc = Crc32c::new();
            pieces.iter().for_each(|piece| crc.add(piece));
            prop_assert_eq!(crc.value(), crc32c(&pieces.concat()));
        }
    }
}
