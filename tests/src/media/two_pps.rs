//! Turns a plain H.264 stream into one with two picture parameter sets in use, which no encoder at hand writes.
//!
//! The PPS is repeated under id 1, and the slices of every odd picture refer to that one: `pps_id` (H.264 7.3.3) is
//! ue(v), so 0 (`1`) becomes 1 (`010`) and all bits behind it move by two. That is allowed because the stream is CAVLC:
//! nothing behind the header is aligned. Each access unit also gets an SEI message of its own (user data unregistered,
//! D.1.7), as cameras send that sign their video.

use super::nal;
use crate::media::Codec;
use anyhow::{Context, Result, bail};

const SLICE: u8 = 1;
const IDR_SLICE: u8 = 5;
const PPS: u8 = 8;
const AUD: u8 = 9;

/// The access unit `number` of the edited stream.
pub(super) fn edit(nals: &[&[u8]], number: usize) -> Result<Vec<Vec<u8>>> {
    let mut out = Vec::new();
    let mut sei_placed = false;
    for unit in nals {
        match nal::kind(Codec::H264, unit) {
            PPS => {
                out.push(unit.to_vec());
                out.push(with_id_one(unit, 0)?);
            }
            SLICE | IDR_SLICE => {
                if !sei_placed {
                    out.push(sei(number));
                    sei_placed = true;
                }
                // first_mb_in_slice and slice_type stand before pps_id.
                out.push(if number % 2 == 1 { with_id_one(unit, 2)? } else { unit.to_vec() });
            }
            // The encoder's greeting stands before the first AUD, which must come first (7.4.1.2.3).
            AUD => out.insert(0, unit.to_vec()),
            _ => out.push(unit.to_vec()),
        }
    }
    Ok(out)
}

/// Rewrites the id that follows `skipped` ue(v) values from 0 to 1.
fn with_id_one(unit: &[u8], skipped: usize) -> Result<Vec<u8>> {
    let (header, payload) = unit.split_first().context("an empty NAL unit")?;
    let mut bits = bits_of(&unescape(payload));
    // The last 1 is the stop bit; what follows is padding.
    let stop = bits.iter().rposition(|bit| *bit).context("no stop bit")?;
    bits.truncate(stop + 1);
    let mut at = 0;
    for _ in 0..skipped {
        let zeros = bits[at..].iter().position(|bit| *bit).context("no exp-Golomb value")?;
        at += 2 * zeros + 1;
    }
    if bits.get(at) != Some(&true) {
        bail!("the parameter set id is not 0");
    }
    bits.splice(at..=at, [false, true, false]);
    let mut out = vec![*header];
    out.extend(escape(&bytes_of(&bits)));
    Ok(out)
}

fn sei(number: usize) -> Vec<u8> {
    let mut payload = b"keha-test-sei-01".to_vec();
    payload.extend_from_slice(format!("picture {number:06}").as_bytes());
    let mut out = vec![6, 5, payload.len() as u8];
    out.extend(payload);
    out.push(0x80);
    out
}

fn unescape(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut zeros = 0;
    for &byte in bytes {
        if zeros >= 2 && byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        out.push(byte);
    }
    out
}

fn escape(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + 16);
    let mut zeros = 0;
    for &byte in bytes {
        if zeros >= 2 && byte <= 3 {
            out.push(3);
            zeros = 0;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        out.push(byte);
    }
    out
}

fn bits_of(bytes: &[u8]) -> Vec<bool> {
    bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1 == 1)).collect()
}

fn bytes_of(bits: &[bool]) -> Vec<u8> {
    bits.chunks(8)
        .map(|eight| eight.iter().enumerate().fold(0, |byte, (i, bit)| byte | u8::from(*bit) << (7 - i)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_of_zero_becomes_one_and_the_rest_moves() {
        // PPS: id ue(0) = 1, then bits 1010 and the stop bit.
        assert_eq!(with_id_one(&[0x68, 0b1101_0100], 0).unwrap(), [0x68, 0b0101_0101]);
    }

    #[test]
    fn escaping_and_unescaping_are_inverse() {
        let raw = [0, 0, 0, 1, 0, 0, 3, 9, 0, 0, 2];
        assert_eq!(unescape(&escape(&raw)), raw);
    }
}
