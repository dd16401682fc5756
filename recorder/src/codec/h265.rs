//! H.265 parameter sets and the hvcC record.
//!
//! A sequence parameter set is read up to the bit depths: all that the record and a recording need. The record's
//! hints from deeper in the set (`min_spatial_segmentation_idc`, frame rate, parallelism) are written as "not
//! known", which ISO/IEC 14496-15 allows for each.
//!
//! Sources: ITU-T H.265 7.3.2.1 to 7.3.2.3, 7.3.3 (profile, tier and level); ISO/IEC 14496-15 8.3.3.1
//! (HEVCDecoderConfigurationRecord).

use super::CodecError;
use super::bits::{Fields, rbsp};
use super::h264::{fitting, low_byte, push_nal};

const VPS: &str = "H.265 video parameter set";
const SPS: &str = "H.265 sequence parameter set";
const PPS: &str = "H.265 picture parameter set";

/// What a recording needs of a sequence parameter set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SequenceParameterSet {
    /// `sps_seq_parameter_set_id`, 0 to 15.
    pub id: u8,
    /// `sps_video_parameter_set_id`, 0 to 15.
    pub video_parameter_set: u8,
    /// The general part of `profile_tier_level()`: profile space, tier and profile (1 byte), compatibility flags
    /// (4), constraint flags (6), level (1), as they stand in the set.
    pub profile_tier_level: [u8; 12],
    /// `sps_max_sub_layers_minus1` + 1.
    pub temporal_layers: u8,
    /// `sps_temporal_id_nesting_flag`.
    pub temporal_id_nested: bool,
    /// `chroma_format_idc`: 0 monochrome, 1 4:2:0, 2 4:2:2, 3 4:4:4.
    pub chroma_format: u8,
    /// `bit_depth_luma_minus8`.
    pub bit_depth_luma_minus8: u8,
    /// `bit_depth_chroma_minus8`.
    pub bit_depth_chroma_minus8: u8,
    /// Width in luma samples inside the conformance window.
    pub width: u16,
    /// Height in luma samples inside the conformance window.
    pub height: u16,
}

/// Reads a sequence parameter set, given from its NAL unit header on.
///
/// # Errors
///
/// [`CodecError::Malformed`] or [`CodecError::OutOfRange`] for a set that gives no usable picture size.
pub fn parse_sps(nal: &[u8]) -> Result<SequenceParameterSet, CodecError> {
    let bytes = rbsp(nal, 2);
    let mut fields = Fields::new(SPS, &bytes);
    let video_parameter_set = low_byte(fields.bits(4, "sps_video_parameter_set_id")?);
    let sub_layers_minus1 = fields.bits(3, "sps_max_sub_layers_minus1")?;
    if sub_layers_minus1 > 6 {
        let field = "sps_max_sub_layers_minus1";
        return Err(CodecError::OutOfRange { set: SPS, field, value: sub_layers_minus1 });
    }
    let temporal_id_nested = fields.flag("sps_temporal_id_nesting_flag")?;
    let mut profile_tier_level = [0; 12];
    for byte in &mut profile_tier_level {
        *byte = low_byte(fields.bits(8, "profile_tier_level")?);
    }
    skip_sub_layers(&mut fields, sub_layers_minus1)?;
    let id = low_byte(fields.ue("sps_seq_parameter_set_id", 15)?);
    let chroma_format = fields.ue("chroma_format_idc", 3)?;
    let separate_planes = chroma_format == 3 && fields.flag("separate_colour_plane_flag")?;
    let width = fields.ue("pic_width_in_luma_samples", 65_535)?;
    let height = fields.ue("pic_height_in_luma_samples", 65_535)?;
    // Table 6-1: SubWidthC and SubHeightC.
    let (unit_x, unit_y) = match chroma_format {
        1 => (2, 2),
        2 if !separate_planes => (2, 1),
        _ => (1, 1),
    };
    let (mut crop_x, mut crop_y) = (0, 0);
    if fields.flag("conformance_window_flag")? {
        crop_x = fields.ue("conf_win_left_offset", 65_535)? + fields.ue("conf_win_right_offset", 65_535)?;
        crop_y = fields.ue("conf_win_top_offset", 65_535)? + fields.ue("conf_win_bottom_offset", 65_535)?;
    }
    Ok(SequenceParameterSet {
        id,
        video_parameter_set,
        profile_tier_level,
        temporal_layers: low_byte(sub_layers_minus1) + 1,
        temporal_id_nested,
        chroma_format: low_byte(chroma_format),
        bit_depth_luma_minus8: low_byte(fields.ue("bit_depth_luma_minus8", 7)?),
        bit_depth_chroma_minus8: low_byte(fields.ue("bit_depth_chroma_minus8", 7)?),
        width: cropped(width, crop_x * unit_x, "pic_width_in_luma_samples")?,
        height: cropped(height, crop_y * unit_y, "pic_height_in_luma_samples")?,
    })
}

/// The part of `profile_tier_level()` for the lower temporal sub-layers.
fn skip_sub_layers(fields: &mut Fields<'_>, sub_layers_minus1: u32) -> Result<(), CodecError> {
    let mut skip_bits = 0;
    for _ in 0..sub_layers_minus1 {
        skip_bits += if fields.flag("sub_layer_profile_present_flag")? { 88 } else { 0 };
        skip_bits += if fields.flag("sub_layer_level_present_flag")? { 8 } else { 0 };
    }
    if sub_layers_minus1 > 0 {
        skip_bits += (8 - sub_layers_minus1) * 2;
    }
    fields.skip(skip_bits, "sub_layer_profile_tier_level")
}

fn cropped(size: u32, crop: u32, field: &'static str) -> Result<u16, CodecError> {
    size.checked_sub(crop)
        .filter(|rest| *rest > 0)
        .and_then(|rest| u16::try_from(rest).ok())
        .ok_or(CodecError::OutOfRange { set: SPS, field, value: size })
}

/// Reads the id of a video parameter set, given from its NAL unit header on.
///
/// # Errors
///
/// [`CodecError::Malformed`] where there is none.
pub fn parse_vps_id(nal: &[u8]) -> Result<u8, CodecError> {
    let bytes = rbsp(nal, 2);
    Ok(low_byte(Fields::new(VPS, &bytes).bits(4, "vps_video_parameter_set_id")?))
}

/// Reads the ids of a picture parameter set, given from its NAL unit header on: its own, and that of the sequence
/// parameter set it refers to.
///
/// # Errors
///
/// [`CodecError::Malformed`] or [`CodecError::OutOfRange`] where an id cannot be read.
pub fn parse_pps_ids(nal: &[u8]) -> Result<(u8, u8), CodecError> {
    let bytes = rbsp(nal, 2);
    let mut fields = Fields::new(PPS, &bytes);
    let id = low_byte(fields.ue("pps_pic_parameter_set_id", 63)?);
    Ok((id, low_byte(fields.ue("pps_seq_parameter_set_id", 15)?)))
}

/// Builds an HEVCDecoderConfigurationRecord with four-byte NAL unit lengths.
///
/// `active` is the sequence parameter set in use; the lists hold whole NAL units in the order in which they shall
/// stand. `array_completeness` is 0 throughout: the samples keep the sets that came with them.
#[must_use]
pub fn hvcc(active: &SequenceParameterSet, vps: &[&[u8]], sps: &[&[u8]], pps: &[&[u8]]) -> Vec<u8> {
    let mut record = vec![1];
    record.extend_from_slice(&active.profile_tier_level);
    // min_spatial_segmentation_idc, parallelismType: not known.
    record.extend_from_slice(&[0xf0, 0, 0xfc]);
    record.push(0xfc | active.chroma_format);
    record.push(0xf8 | active.bit_depth_luma_minus8);
    record.push(0xf8 | active.bit_depth_chroma_minus8);
    // avgFrameRate, constantFrameRate: not known. lengthSizeMinusOne: 3.
    record.extend_from_slice(&[0, 0]);
    record.push(active.temporal_layers << 3 | u8::from(active.temporal_id_nested) << 2 | 3);
    let arrays = [(32u8, fitting(vps, 16)), (33, fitting(sps, 16)), (34, fitting(pps, 64))];
    record.push(3);
    for (nal_type, sets) in arrays {
        record.push(nal_type);
        record.extend_from_slice(&u16::try_from(sets.len()).unwrap_or(0).to_be_bytes());
        for nal in sets {
            push_nal(&mut record, nal);
        }
    }
    record
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From a Dahua camera's session description.
    const SPS_NAL: &[u8] = &[
        0x42, 0x01, 0x01, 0x01, 0x60, 0x00, 0x00, 0x03, 0x00, 0xb0, 0x00, 0x00, 0x03, 0x00, 0x00, 0x03, 0x00,
        0x5a, 0xa0, 0x05, 0x82, 0x01, 0xe1, 0x63, 0x69, 0x24, 0x4b, 0x2f, 0xcd, 0xc1, 0x41, 0x81, 0x41, 0x00,
        0x00, 0x03, 0x00, 0x01, 0x00, 0x00, 0x03, 0x00, 0x0c, 0xa1,
    ];

    #[test]
    fn a_camera_set_gives_size_profile_and_depth() {
        let sps = parse_sps(SPS_NAL).expect("valid");
        assert_eq!((sps.id, sps.width, sps.height), (0, 704, 480));
        assert_eq!(sps.profile_tier_level, [1, 0x60, 0, 0, 0, 0xb0, 0, 0, 0, 0, 0, 0x5a]);
        assert_eq!((sps.chroma_format, sps.bit_depth_luma_minus8, sps.bit_depth_chroma_minus8), (1, 0, 0));
        assert_eq!((sps.temporal_layers, sps.temporal_id_nested), (1, true));
    }

    #[test]
    fn a_set_cut_short_is_an_error_and_no_panic() {
        for len in 0..20 {
            assert!(parse_sps(SPS_NAL.get(..len).expect("shorter")).is_err(), "{len} bytes");
        }
    }
}
