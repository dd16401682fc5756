//! The checksum of everything on the volume: CRC-32C (Castagnoli, RFC 3720 appendix B.4).
//!
//! What must not live here: what is covered by it.

use crc_fast::{CrcAlgorithm, checksum};

/// The CRC-32C of some bytes.
pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    // It has 32 bits.
    checksum(CrcAlgorithm::Crc32Iscsi, bytes) as u32
}

#[cfg(test)]
mod tests {
    use super::crc32c;
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
    }
}
