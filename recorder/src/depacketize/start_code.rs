//! Finding Annex B start codes where there should be none.
//!
//! A NAL unit cannot contain 00 00 01 (H.264 7.4.1, H.265 7.4.2: emulation prevention). Some cameras send a piece of
//! an Annex B stream, often parameter sets and the whole IDR picture, as if it were one NAL unit. Recorded so, no
//! player would find the picture; so such a unit is cut at its start codes, and what is between them kept byte for
//! byte.

use bytes::Bytes;
use memchr::memmem;

const START_CODE: [u8; 3] = [0, 0, 1];

/// Whether a start code stands anywhere in the pieces, or across the seams between them.
pub(super) fn contains(pieces: &[Bytes]) -> bool {
    let finder = memmem::Finder::new(&START_CODE);
    // The last two bytes before a piece; at first none, which no start code begins with.
    let mut before = [0xff; 2];
    for piece in pieces {
        let [a, b] = before;
        let seam = match piece.as_ref() {
            [] => continue,
            [c] => [a, b, *c, 0xff],
            [c, d, ..] => [a, b, *c, *d],
        };
        if finder.find(&seam).is_some() || finder.find(piece).is_some() {
            return true;
        }
        before = match piece.as_ref() {
            [.., c, d] => [*c, *d],
            [c] => [b, *c],
            [] => before,
        };
    }
    false
}

/// The NAL units between the start codes of `stream`, without the zero bytes that Annex B allows before a start code
/// (`trailing_zero_8bits`, `zero_byte`). Empty ones are left out. What follows the last start code is kept to its end.
pub(super) fn split(stream: &Bytes) -> Vec<Bytes> {
    let mut units = Vec::new();
    let mut start = 0;
    let cuts = memmem::find_iter(stream, &START_CODE).map(Some).chain([None]);
    for cut in cuts {
        let unit = stream.slice(start..cut.unwrap_or(stream.len()).max(start));
        let zeros = if cut.is_some() { unit.iter().rev().take_while(|byte| **byte == 0).count() } else { 0 };
        let unit = unit.slice(..unit.len() - zeros);
        if !unit.is_empty() {
            units.push(unit);
        }
        start = cut.map_or(stream.len(), |cut| cut + START_CODE.len());
    }
    units
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_codes_are_found_across_any_seam() {
        let stream = [9, 8, 0, 0, 1, 7];
        for first in 0..=stream.len() {
            for second in first..=stream.len() {
                let pieces: Vec<Bytes> = [&stream[..first], &stream[first..second], &stream[second..]]
                    .into_iter()
                    .map(Bytes::copy_from_slice)
                    .collect();
                assert!(contains(&pieces), "cut at {first} and {second}");
            }
        }
        let bytes: Vec<Bytes> = stream.iter().map(|byte| Bytes::copy_from_slice(&[*byte])).collect();
        assert!(contains(&bytes));
        assert!(!contains(&[Bytes::from_static(&[0, 0]), Bytes::from_static(&[3, 0, 1, 0, 0])]));
    }

    #[test]
    fn splitting_drops_start_codes_and_zeros_before_them_only() {
        let stream = Bytes::from_static(&[0x67, 1, 0, 0, 0, 1, 0x68, 2, 0, 0, 1, 0, 0, 1, 0x65, 0, 3, 0]);
        let units = split(&stream);
        assert_eq!(units, [&[0x67, 1][..], &[0x68, 2], &[0x65, 0, 3, 0]]);
    }
}
