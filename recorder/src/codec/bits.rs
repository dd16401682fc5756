//! Reading bit fields out of NAL units: emulation prevention off, then named fields.
//!
//! Must not live here: knowledge of any particular structure.

use h264_reader::rbsp::{BitRead, BitReader};

use super::CodecError;

/// Takes the emulation prevention bytes out of a NAL unit (H.264 7.4.1, H.265 7.4.2): 00 00 03 becomes 00 00.
///
/// More tolerant than a conformance checker: sequences that no encoder may write pass through unchanged, because a
/// recorder must get by with what cameras send.
pub(crate) struct Unescape<I> {
    bytes: I,
    zeros: u8,
}

impl<I: Iterator<Item = u8>> Unescape<I> {
    pub(crate) fn new(bytes: I) -> Self {
        Self { bytes, zeros: 0 }
    }
}

impl<I: Iterator<Item = u8>> Iterator for Unescape<I> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        let mut byte = self.bytes.next()?;
        if self.zeros >= 2 && byte == 3 {
            self.zeros = 0;
            byte = self.bytes.next()?;
        }
        self.zeros = if byte == 0 { self.zeros.saturating_add(1) } else { 0 };
        Some(byte)
    }
}

/// The raw byte sequence payload behind a NAL unit header of `header_len` bytes.
pub(crate) fn rbsp(nal: &[u8], header_len: usize) -> Vec<u8> {
    Unescape::new(nal.iter().copied().skip(header_len)).collect()
}

/// A NAL unit as it must stand in a record: no start code before it, nothing of the next unit and no zero bytes
/// behind it. Some session descriptions carry pieces of an Annex B stream (`aO48gAAAAAE=` ends in a start code).
pub(crate) fn trim_annex_b(nal: &[u8]) -> &[u8] {
    let nal = strip_start_code(nal);
    let end = memchr::memmem::find(nal, &[0, 0, 1]).unwrap_or(nal.len());
    let nal = nal.get(..end).unwrap_or(nal);
    let zeros = nal.iter().rev().take_while(|byte| **byte == 0).count();
    nal.get(..nal.len() - zeros).unwrap_or(nal)
}

/// `nal` without the start code (00 00 01 or 00 00 00 01) it may begin with.
pub(crate) fn strip_start_code(nal: &[u8]) -> &[u8] {
    nal.strip_prefix(&[0, 0, 0, 1]).or_else(|| nal.strip_prefix(&[0, 0, 1])).unwrap_or(nal)
}

/// Fields read one after the other; every error names the structure and the field.
pub(crate) struct Fields<'a> {
    set: &'static str,
    reader: BitReader<&'a [u8]>,
}

impl<'a> Fields<'a> {
    pub(crate) fn new(set: &'static str, bytes: &'a [u8]) -> Self {
        Self { set, reader: BitReader::new(bytes) }
    }

    /// `ue(v)`: an unsigned Exp-Golomb number (H.264 9.1, H.265 9.2), at most `max`.
    pub(crate) fn ue(&mut self, field: &'static str, max: u32) -> Result<u32, CodecError> {
        let value = self.reader.read_ue(field).map_err(|_| self.malformed(field))?;
        if value > max {
            return Err(CodecError::OutOfRange { set: self.set, field, value });
        }
        Ok(value)
    }

    /// `se(v)`: a signed Exp-Golomb number whose value nobody needs.
    pub(crate) fn skip_se(&mut self, field: &'static str) -> Result<(), CodecError> {
        self.reader.read_ue(field).map(drop).map_err(|_| self.malformed(field))
    }

    /// `u(1)`.
    pub(crate) fn flag(&mut self, field: &'static str) -> Result<bool, CodecError> {
        self.reader.read_bit(field).map_err(|_| self.malformed(field))
    }

    /// `u(n)`, n at most 32.
    pub(crate) fn bits(&mut self, count: u32, field: &'static str) -> Result<u32, CodecError> {
        if count == 0 {
            return Ok(0);
        }
        self.reader.read_var::<u32>(count, field).map_err(|_| self.malformed(field))
    }

    /// Passes over `count` bits.
    pub(crate) fn skip(&mut self, count: u32, field: &'static str) -> Result<(), CodecError> {
        self.reader.skip(count, field).map_err(|_| self.malformed(field))
    }

    /// The reader itself, for structures the `h264-reader` crate reads whole.
    pub(crate) fn reader(&mut self) -> &mut BitReader<&'a [u8]> {
        &mut self.reader
    }

    pub(crate) fn malformed(&self, field: &'static str) -> CodecError {
        CodecError::Malformed { set: self.set, field }
    }
}
