//! Finding Annex B start codes where there should be none.
//!
//! A NAL unit cannot contain 00 00 01 (H.264 7.4.1, H.265 7.4.2: emulation prevention). Some cameras send a piece of
//! an Annex B stream, often parameter sets and the whole IDR picture, as if it were one NAL unit. Recorded so, no
//! player would find the picture; so such a unit is cut at its start codes, and what is between them kept byte for
//! byte.

use memchr::memmem;

const START_CODE: [u8; 3] = [0, 0, 1];

/// Whether a start code stands anywhere in a NAL unit.
pub(super) fn is_in(nal: &[u8]) -> bool {
    memmem::find(nal, &START_CODE).is_some()
}

/// The NAL units between the start codes of `stream`, without the zero bytes that Annex B allows before a start code
/// (`trailing_zero_8bits`, `zero_byte`). Empty ones are left out. What follows the last start code is kept to its end.
pub(super) fn split(stream: &[u8]) -> Vec<&[u8]> {
    let mut units = Vec::new();
    let mut start = 0;
    let cuts = memmem::find_iter(stream, &START_CODE).map(Some).chain([None]);
    for cut in cuts {
        let end = cut.unwrap_or(stream.len()).max(start);
        let unit = stream.get(start..end).unwrap_or_default();
        let zeros = if cut.is_some() { unit.iter().rev().take_while(|byte| **byte == 0).count() } else { 0 };
        let unit = unit.get(..unit.len() - zeros).unwrap_or(unit);
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
    fn splitting_drops_start_codes_and_zeros_before_them_only() {
        let stream = [0x67, 1, 0, 0, 0, 1, 0x68, 2, 0, 0, 1, 0, 0, 1, 0x65, 0, 3, 0];
        assert!(is_in(&stream));
        let units = split(&stream);
        assert_eq!(units, [&[0x67, 1][..], &[0x68, 2], &[0x65, 0, 3, 0]]);
        assert!(!units.into_iter().any(is_in));
    }
}
