//! Reading what can be read: a bad sector costs no more than itself.

use crate::disk::ReadAt;
use std::io;

/// Reads from `at` on, in pieces of `piece_bytes` where it cannot be read at once. What cannot be read is zeros, which verify as
/// nothing.
///
/// # Errors
/// What the disk said of the last piece that it did not give; all others are read.
pub(crate) fn read_what_can_be(
    disk: &dyn ReadAt,
    buffer: &mut [u8],
    at: u64,
    piece_bytes: usize,
) -> io::Result<()> {
    let Err(mut error) = disk.read_exact_at(buffer, at) else { return Ok(()) };
    if buffer.len() <= piece_bytes {
        buffer.fill(0);
        return Err(error);
    }
    let mut lost = false;
    for (at, piece) in (at..).step_by(piece_bytes).zip(buffer.chunks_mut(piece_bytes)) {
        if let Err(of_piece) = disk.read_exact_at(piece, at) {
            piece.fill(0);
            (error, lost) = (of_piece, true);
        }
    }
    if lost { Err(error) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::sim::{Errno, Kinds, SimDisk, SimImage};

    #[test]
    fn all_but_the_bad_sectors_is_read_and_these_are_zeros() {
        let control = SimDisk::from_image(SimImage::from(vec![7; 4096]), 1).control();
        control.fail_range(1024..1100, Errno::EIO, Kinds::READS);
        let mut bytes = vec![1; 2048];
        assert!(read_what_can_be(&control.reader(), &mut bytes, 512, 512).is_err());
        let expected: Vec<u8> =
            (512..2560).map(|at| if (1024..1536).contains(&at) { 0 } else { 7 }).collect();
        assert_eq!(bytes, expected);
        assert!(read_what_can_be(&control.reader(), &mut bytes, 1536, 512).is_ok());
        assert_eq!(bytes, vec![7; 2048]);
    }

    #[test]
    fn a_piece_alone_that_cannot_be_read_is_zeros() {
        let control = SimDisk::from_image(SimImage::from(vec![7; 4096]), 1).control();
        control.fail_range(0..512, Errno::EIO, Kinds::READS);
        let mut bytes = vec![1; 512];
        assert!(read_what_can_be(&control.reader(), &mut bytes, 0, 512).is_err());
        assert_eq!(bytes, vec![0; 512]);
    }
}
