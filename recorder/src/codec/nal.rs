//! What the first bytes of a NAL unit say: its role, whether a picture or an access unit begins with it, whether
//! decoding can begin there, and which picture parameter set it names.
//!
//! Sources: ITU-T H.264 7.3.1, 7.3.3, 7.4.1.2.3 (order of NAL units) and table 7-1; ITU-T H.265 7.3.1.2, 7.3.6.1,
//! 7.4.2.4.4 and table 7-1.
//!
//! Must not live here: parsing of parameter sets, RTP.

use super::bits::{Fields, Unescape};

/// How many bytes from the start of a NAL unit [`inspect`] can make use of.
pub(crate) const HEAD_LEN: usize = 24;

/// A video coding standard made of NAL units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VideoCodec {
    /// ITU-T H.264, ISO/IEC 14496-10.
    H264,
    /// ITU-T H.265, ISO/IEC 23008-2.
    H265,
}

impl VideoCodec {
    /// Length of the NAL unit header in bytes.
    #[must_use]
    pub const fn header_len(self) -> usize {
        match self {
            Self::H264 => 1,
            Self::H265 => 2,
        }
    }

    /// Name for messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::H264 => "H.264",
            Self::H265 => "H.265",
        }
    }
}

/// What a NAL unit is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Coded picture data (VCL).
    Slice,
    /// Sequence, picture or video parameter set of the base layer.
    ParameterSet,
    /// Supplemental enhancement information.
    Sei,
    /// Anything else: delimiters, filler, ends, extensions.
    Other,
}

/// What [`inspect`] finds out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NalInfo {
    pub(crate) role: Role,
    /// A slice that is the first of its picture.
    pub(crate) starts_picture: bool,
    /// When it comes after the slices of a picture it belongs to the next access unit.
    pub(crate) begins_access_unit: bool,
    /// A slice at which decoding can begin: IDR in H.264, any IRAP picture (IDR, CRA, BLA) in H.265.
    pub(crate) random_access: bool,
    /// A slice that no other picture (of its temporal sub-layer) refers to.
    pub(crate) unreferenced: bool,
    /// H.265 TemporalId; 0 in H.264.
    pub(crate) temporal_id: u8,
    /// Id of the picture parameter set which a slice names, if it stands within the bytes given.
    pub(crate) picture_parameter_set: Option<u8>,
}

/// Reads `head`, the first bytes of a NAL unit from its header on ([`HEAD_LEN`] of them are enough).
pub(crate) fn inspect(codec: VideoCodec, head: &[u8]) -> NalInfo {
    match codec {
        VideoCodec::H264 => inspect_h264(head),
        VideoCodec::H265 => inspect_h265(head),
    }
}

fn inspect_h264(head: &[u8]) -> NalInfo {
    let header = head.first().copied().unwrap_or(0);
    let nal_type = header & 0x1f;
    let role = match nal_type {
        1..=5 => Role::Slice,
        7 | 8 => Role::ParameterSet,
        6 => Role::Sei,
        _ => Role::Other,
    };
    // first_mb_in_slice is ue(v), so 0 is a single one bit. Data partitions B and C (3, 4) begin with other fields.
    let has_slice_header = matches!(nal_type, 1 | 2 | 5);
    let starts_picture = has_slice_header && head.get(1).is_some_and(|byte| byte & 0x80 != 0);
    NalInfo {
        role,
        starts_picture,
        begins_access_unit: starts_picture || matches!(nal_type, 6..=9 | 14..=18),
        random_access: nal_type == 5,
        unreferenced: role == Role::Slice && header & 0x60 == 0,
        temporal_id: 0,
        picture_parameter_set: has_slice_header.then(|| slice_pps_h264(head)).flatten(),
    }
}

fn inspect_h265(head: &[u8]) -> NalInfo {
    let (first, second) = (head.first().copied().unwrap_or(0), head.get(1).copied().unwrap_or(0));
    let nal_type = first >> 1 & 0x3f;
    let base_layer = first & 1 == 0 && second >> 3 == 0;
    let role = match nal_type {
        0..=31 => Role::Slice,
        32..=34 if base_layer => Role::ParameterSet,
        39 | 40 => Role::Sei,
        _ => Role::Other,
    };
    let starts_picture =
        role == Role::Slice && base_layer && head.get(2).is_some_and(|byte| byte & 0x80 != 0);
    NalInfo {
        role,
        starts_picture,
        begins_access_unit: starts_picture
            || (base_layer && matches!(nal_type, 32..=35 | 39 | 41..=44 | 48..=55)),
        random_access: matches!(nal_type, 16..=23),
        unreferenced: nal_type < 16 && nal_type % 2 == 0,
        temporal_id: (second & 7).saturating_sub(1),
        picture_parameter_set: (role == Role::Slice && base_layer)
            .then(|| slice_pps_h265(head, nal_type))
            .flatten(),
    }
}

/// What stands in `head` behind a header of so many bytes, emulation prevention off, and how much that is: without asking for memory,
/// for this is done with every picture.
fn unescaped(head: &[u8], header_len: usize) -> ([u8; HEAD_LEN], usize) {
    let (mut bytes, mut count) = ([0; HEAD_LEN], 0);
    for (place, byte) in bytes.iter_mut().zip(Unescape::new(head.iter().copied().skip(header_len))) {
        *place = byte;
        count += 1;
    }
    (bytes, count)
}

/// `slice_header()` up to `pic_parameter_set_id` (H.264 7.3.3).
fn slice_pps_h264(head: &[u8]) -> Option<u8> {
    let (bytes, count) = unescaped(head, 1);
    let mut fields = Fields::new("slice header", bytes.get(..count)?);
    fields.ue("first_mb_in_slice", u32::MAX).ok()?;
    fields.ue("slice_type", 9).ok()?;
    fields.ue("pic_parameter_set_id", 255).ok().and_then(|id| u8::try_from(id).ok())
}

/// `slice_segment_header()` up to `slice_pic_parameter_set_id` (H.265 7.3.6.1).
fn slice_pps_h265(head: &[u8], nal_type: u8) -> Option<u8> {
    let (bytes, count) = unescaped(head, 2);
    let mut fields = Fields::new("slice segment header", bytes.get(..count)?);
    fields.flag("first_slice_segment_in_pic_flag").ok()?;
    if matches!(nal_type, 16..=23) {
        fields.flag("no_output_of_prior_pics_flag").ok()?;
    }
    fields.ue("slice_pic_parameter_set_id", 63).ok().and_then(|id| u8::try_from(id).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idr_slice_of_h264_is_random_access_and_names_its_pps() {
        // first_mb 0 (1), slice_type 7 (0001000), pps 1 (010).
        let info = inspect(VideoCodec::H264, &[0x65, 0b1000_1000, 0b0100_0000]);
        assert_eq!(info.role, Role::Slice);
        assert!(info.starts_picture && info.begins_access_unit && info.random_access && !info.unreferenced);
        assert_eq!(info.picture_parameter_set, Some(1));
        assert!(inspect(VideoCodec::H264, &[0x01, 0x9a]).unreferenced);
    }

    #[test]
    fn every_irap_type_of_h265_is_random_access() {
        for nal_type in 0u8..64 {
            let info = inspect(VideoCodec::H265, &[nal_type << 1, 1, 0xff]);
            assert_eq!(info.random_access, (16..=23).contains(&nal_type), "type {nal_type}");
        }
    }

    #[test]
    fn a_header_alone_is_no_start_of_a_picture() {
        assert!(!inspect(VideoCodec::H264, &[0x65]).starts_picture);
        assert!(!inspect(VideoCodec::H265, &[0x26, 1]).starts_picture);
        assert_eq!(inspect(VideoCodec::H264, &[]).role, Role::Other);
    }
}
