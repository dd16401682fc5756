//! NAL units: cutting them out of byte streams (H.264 and H.265 Annex B) and length-prefixed samples (ISO 14496-15),
//! naming them, hashing them.

use super::Codec;
use anyhow::{Result, bail};

/// First 16 bytes of BLAKE3 over one NAL unit, without start code or length.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NalHash([u8; 16]);

impl NalHash {
    /// The hash of these bytes.
    pub fn of(nal: &[u8]) -> Self {
        let mut short = [0; 16];
        short.copy_from_slice(&blake3::hash(nal).as_bytes()[..16]);
        Self(short)
    }
}

impl std::fmt::Debug for NalHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for byte in &self.0[..6] {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

/// The NAL units of an Annex B byte stream, start codes and trailing zero bytes removed.
pub fn split_annex_b(stream: &[u8]) -> Vec<&[u8]> {
    let mut starts = Vec::new();
    let mut at = 0;
    while at + 3 <= stream.len() {
        if stream[at..at + 3] == [0, 0, 1] {
            starts.push(at + 3);
            at += 3;
        } else {
            at += 1;
        }
    }
    let mut nals = Vec::with_capacity(starts.len());
    for (i, &start) in starts.iter().enumerate() {
        let mut end = starts.get(i + 1).map_or(stream.len(), |next| next - 3);
        while end > start && stream[end - 1] == 0 {
            end -= 1;
        }
        nals.push(&stream[start..end]);
    }
    nals
}

/// The NAL units of a sample with 4-byte lengths.
pub fn split_lengths(sample: &[u8]) -> Result<Vec<&[u8]>> {
    let mut nals = Vec::new();
    let mut rest = sample;
    while let Some((length, tail)) = rest.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        if length > tail.len() {
            bail!("a NAL length of {length} in a sample with {} bytes left", tail.len());
        }
        nals.push(&tail[..length]);
        rest = &tail[length..];
    }
    if !rest.is_empty() {
        bail!("{} stray bytes at the end of a sample", rest.len());
    }
    Ok(nals)
}

/// Annex B bytes of these NAL units, each with a 4-byte start code.
pub fn join_annex_b<N: AsRef<[u8]>>(nals: &[N]) -> Vec<u8> {
    let mut stream = Vec::new();
    for nal in nals {
        stream.extend_from_slice(&[0, 0, 0, 1]);
        stream.extend_from_slice(nal.as_ref());
    }
    stream
}

/// `nal_unit_type` (H.264 table 7-1, H.265 table 7-1).
pub fn kind(codec: Codec, nal: &[u8]) -> u8 {
    let first = nal.first().copied().unwrap_or(0);
    if codec == Codec::H265 { first >> 1 & 0x3f } else { first & 0x1f }
}

/// Whether the unit holds coded picture data.
pub fn is_slice(codec: Codec, nal: &[u8]) -> bool {
    let kind = kind(codec, nal);
    if codec == Codec::H265 { kind < 32 } else { (1..=5).contains(&kind) }
}

/// Whether the unit belongs to a picture that decoding can start at: IDR, for H.265 every IRAP (IDR, CRA, BLA).
pub fn is_sync(codec: Codec, nal: &[u8]) -> bool {
    let kind = kind(codec, nal);
    if codec == Codec::H265 { (16..=23).contains(&kind) } else { kind == 5 }
}
