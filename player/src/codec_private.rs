//! What decoder configurations hold: the parameter sets of avcC (ISO/IEC 14496-15, 5.3.3.1) and hvcC (8.3.3.1).
//!
//! Both containers need it: Matroska to tell whether footage can share a track, MP4 to tell what may stay in a sample.
//! No length in a record is trusted. What must not live here: containers.

use std::collections::BTreeSet;

/// What must not change within one track, and the parameter sets.
pub(crate) type Sets<'a> = (Vec<u8>, BTreeSet<&'a [u8]>);

/// What must not change in an avcC, and its parameter sets; `None` if it is none.
pub(crate) fn avc_sets(record: &[u8]) -> Option<Sets<'_>> {
    let mut input = Input(record);
    let fixed = input.take(5)?.to_vec();
    let mut sets = BTreeSet::new();
    for _ in 0..input.u8()? & 0x1f {
        sets.insert(input.sized()?);
    }
    for _ in 0..input.u8()? {
        sets.insert(input.sized()?);
    }
    // High profiles: chroma format, bit depths and SPS extensions follow; the SPS themselves say the same.
    Some((fixed, sets))
}

/// What must not change in an hvcC, and its parameter sets; `None` if it is none.
pub(crate) fn hevc_sets(record: &[u8]) -> Option<Sets<'_>> {
    let mut input = Input(record);
    let profile = input.take(13)?;
    let _segmentation_and_parallelism = input.take(3)?;
    let formats = input.take(3)?;
    let _average_frame_rate = input.take(2)?;
    let length_size = input.u8()? & 0x03;
    let mut fixed = [profile, formats].concat();
    fixed.push(length_size);
    let mut sets = BTreeSet::new();
    for _ in 0..input.u8()? {
        let _nal_unit_type = input.u8()?;
        for _ in 0..input.u16()? {
            sets.insert(input.sized()?);
        }
    }
    Some((fixed, sets))
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(length)?;
        self.0 = tail;
        Some(head)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    fn sized(&mut self) -> Option<&'a [u8]> {
        let length = self.u16()?;
        self.take(usize::from(length))
    }
}
