//! How bytes are changed: as damage, as nonsense, and as an attacker would.

use crate::disk::sim::SimRng;

/// Numbers at which code goes wrong.
const NUMBERS: [u64; 16] = [
    0,
    1,
    2,
    3,
    0x7F,
    0xFF,
    0x1FF,
    0xFFFF,
    0x0010_0000,
    0x7FFF_FFFF,
    0x8000_0000,
    0xFFFF_FFFF,
    0x0000_0001_0000_0000,
    0x7FFF_FFFF_FFFF_FFFF,
    0x8000_0000_0000_0000,
    0xFFFF_FFFF_FFFF_FFFF,
];

/// Changes some bytes in place.
pub(super) fn change(bytes: &mut [u8], rng: &mut SimRng) {
    for _ in 0..1 + rng.below(4) {
        let at = rng.below(bytes.len());
        match rng.below(6) {
            0 => flip(bytes, at, rng),
            1 => number(bytes, at, 1 << rng.below(4), NUMBERS[rng.below(NUMBERS.len())]),
            2 => number(bytes, at / 4 * 4, 4, NUMBERS[rng.below(NUMBERS.len())]),
            3 => add(bytes, at / 4 * 4, rng),
            4 => fill(bytes, at, rng),
            _ => copy(bytes, at, rng),
        }
    }
}

fn flip(bytes: &mut [u8], at: usize, rng: &mut SimRng) {
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1 << rng.below(8);
    }
}

fn number(bytes: &mut [u8], at: usize, width: usize, value: u64) {
    if let Some(place) = bytes.get_mut(at..at + width) {
        place.copy_from_slice(&value.to_le_bytes()[..width]);
    }
}

/// A number is a little more or less.
fn add(bytes: &mut [u8], at: usize, rng: &mut SimRng) {
    let Some(place) = bytes.get_mut(at..at + 4) else { return };
    let value = place.iter().rev().fold(0_u32, |value, byte| value << 8 | u32::from(*byte));
    let delta = rng.below(9) as u32;
    place.copy_from_slice(&value.wrapping_add(delta).wrapping_sub(4).to_le_bytes());
}

fn fill(bytes: &mut [u8], at: usize, rng: &mut SimRng) {
    let (value, length) = (rng.next_u64() as u8, 1 + rng.below(64));
    bytes.iter_mut().skip(at).take(length).for_each(|byte| *byte = value);
}

fn copy(bytes: &mut [u8], to: usize, rng: &mut SimRng) {
    let from = rng.below(bytes.len());
    let length = (1 + rng.below(128)).min(bytes.len() - from.max(to));
    bytes.copy_within(from..from + length, to);
}

/// Makes the checksum of a frame right again.
pub(super) fn seal(frame: &mut [u8]) {
    let Some(body) = frame.len().checked_sub(4) else { return };
    if let Some(covered) = frame.get(8..body) {
        let checksum = crc32c::crc32c(covered);
        frame[body..].copy_from_slice(&checksum.to_le_bytes());
    }
}
