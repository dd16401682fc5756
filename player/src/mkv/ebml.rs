//! EBML elements (RFC 8794): through `webm-iterable` for whatever is small and nested, by hand where samples pass.
//!
//! That crate collects an element with all its children in memory and copies each payload twice; see
//! docs/decisions/0001-matroska-writing.md.

use crate::error::{Error, Result};
use webm_iterable::WebmWriter;
use webm_iterable::WriteOptions;
use webm_iterable::matroska_spec::{Master, MatroskaSpec};

/// The id and the size of a Segment of unknown size, as the encoder writes them.
const SEGMENT_START_BYTES: usize = 12;

pub(crate) const SEGMENT: u32 = 0x1853_8067;
pub(crate) const INFO: u32 = 0x1549_A966;
pub(crate) const TRACKS: u32 = 0x1654_AE6B;
pub(crate) const CLUSTER: u32 = 0x1F43_B675;
pub(crate) const CUES: u32 = 0x1C53_BB6B;
pub(crate) const TAGS: u32 = 0x1254_C367;
const VOID: u32 = 0xEC;

/// Encodes a top-level element.
pub(crate) fn top_level(element: &MatroskaSpec) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    let mut writer = WebmWriter::new(&mut out);
    writer.write(element).map_err(|error| Error::Container(error.to_string()))?;
    Ok(out)
}

/// Encodes a child of the Segment.
pub(crate) fn in_segment(element: &MatroskaSpec) -> Result<Vec<u8>> {
    let failed = |error: webm_iterable::errors::TagWriterError| Error::Container(error.to_string());
    let mut out = Vec::new();
    let mut writer = WebmWriter::new(&mut out);
    // The encoder checks that an element stands where it may, so the Segment is opened and cut off again.
    writer
        .write_advanced(&MatroskaSpec::Segment(Master::Start), WriteOptions::is_unknown_sized_element())
        .and_then(|()| writer.write(element))
        .map_err(failed)?;
    drop(writer);
    if out.len() < SEGMENT_START_BYTES {
        return Err(Error::Container("a segment's child came out empty".into()));
    }
    out.drain(..SEGMENT_START_BYTES);
    Ok(out)
}

/// Appends an element's id.
pub(crate) fn put_id(out: &mut Vec<u8>, id: u32) {
    let bytes = id.to_be_bytes();
    out.extend(bytes.into_iter().skip_while(|byte| *byte == 0));
}

/// Appends a size, or a track number, in as few bytes as it needs.
pub(crate) fn put_size(out: &mut Vec<u8>, size: u64) {
    // A length of n bytes holds 7n bits, all ones being kept for "unknown".
    let length = (1..8u32).find(|&n| size < (1 << (7 * n)) - 1).unwrap_or(8);
    put_size_of(out, size, length);
}

/// Appends a size in `length` bytes, 1 to 8.
pub(crate) fn put_size_of(out: &mut Vec<u8>, size: u64, length: u32) {
    let marked = size | 1 << (7 * length);
    out.extend_from_slice(&marked.to_be_bytes()[8 - length as usize..]);
}

/// How many bytes [`put_size`] takes.
pub(crate) fn size_bytes(size: u64) -> u64 {
    (1..8).find(|&n| size < (1 << (7 * n)) - 1).unwrap_or(8)
}

/// Appends the start of an element whose size is not known.
pub(crate) fn put_unknown_size(out: &mut Vec<u8>, id: u32) {
    put_id(out, id);
    out.extend_from_slice(&[0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
}

/// Appends an unsigned integer of 8 bytes.
pub(crate) fn put_u64(out: &mut Vec<u8>, id: u32, value: u64) {
    put_id(out, id);
    put_size(out, 8);
    out.extend_from_slice(&value.to_be_bytes());
}

/// Appends a Void element of exactly `bytes`, at least 2.
pub(crate) fn put_void(out: &mut Vec<u8>, bytes: usize) {
    put_id(out, VOID);
    if bytes < 100 {
        put_size_of(out, bytes.saturating_sub(2) as u64, 1);
        out.resize(out.len() + bytes.saturating_sub(2), 0);
    } else {
        put_size_of(out, (bytes - 9) as u64, 8);
        out.resize(out.len() + bytes - 9, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_take_the_fewest_bytes_and_never_look_unknown() {
        for (size, expected) in [
            (0u64, vec![0x80]),
            (126, vec![0xfe]),
            (127, vec![0x40, 0x7f]),
            (16_382, vec![0x7f, 0xfe]),
            (16_383, vec![0x20, 0x3f, 0xff]),
        ] {
            let mut out = Vec::new();
            put_size(&mut out, size);
            assert_eq!(out, expected, "{size}");
            assert_eq!(size_bytes(size), expected.len() as u64);
        }
    }

    #[test]
    fn a_void_has_the_length_asked_for() {
        for bytes in [2, 3, 99, 100, 5000] {
            let mut out = Vec::new();
            put_void(&mut out, bytes);
            assert_eq!(out.len(), bytes);
        }
    }

    #[test]
    fn a_child_of_the_segment_comes_without_it() {
        let info =
            in_segment(&MatroskaSpec::Info(Master::Full(vec![MatroskaSpec::TimestampScale(1)]))).unwrap();
        assert_eq!(&info[..4], &INFO.to_be_bytes());
    }
}
