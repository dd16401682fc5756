//! H.264 parameter sets and the avcC record.
//!
//! A sequence parameter set is read up to the cropping rectangle and no further for what a recording needs: cameras
//! write broken VUI and leave garbage behind the set, and neither may cost the track. The frame rate in the VUI
//! is a hint and comes from the `h264-reader` crate's strict parser, so it is there only in a sound set.
//!
//! Sources: ITU-T H.264 7.3.2.1.1 (SPS), 7.3.2.2 (PPS), table 6-1 (crop units); ISO/IEC 14496-15 5.3.3.1
//! (AVCDecoderConfigurationRecord).

use h264_reader::nal::sps::{ChromaInfo, ProfileIdc, SeqParameterSet};
use h264_reader::rbsp::BitReader;

use super::CodecError;
use super::bits::{Fields, rbsp};

const SPS: &str = "H.264 sequence parameter set";
const PPS: &str = "H.264 picture parameter set";

/// What a recording needs of a sequence parameter set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SequenceParameterSet {
    /// `seq_parameter_set_id`, 0 to 31.
    pub id: u8,
    /// `profile_idc`, the constraint flags and `level_idc`, as the three bytes stand in the set.
    pub profile_compatibility_level: [u8; 3],
    /// `chroma_format_idc`: 0 monochrome, 1 4:2:0, 2 4:2:2, 3 4:4:4.
    pub chroma_format: u8,
    /// `bit_depth_luma_minus8`.
    pub bit_depth_luma_minus8: u8,
    /// `bit_depth_chroma_minus8`.
    pub bit_depth_chroma_minus8: u8,
    /// Width in luma samples after cropping.
    pub width: u16,
    /// Height in luma samples after cropping.
    pub height: u16,
    /// Frames in a second times 1000, as the VUI claims; nothing if there is no VUI timing or the VUI is broken.
    pub frame_rate_milli: Option<u32>,
}

/// Reads a sequence parameter set, given from its NAL unit header on.
///
/// # Errors
///
/// [`CodecError::Malformed`] or [`CodecError::OutOfRange`] for a set that gives no usable picture size.
pub fn parse_sps(nal: &[u8]) -> Result<SequenceParameterSet, CodecError> {
    let bytes = rbsp(nal, 1);
    let mut fields = Fields::new(SPS, &bytes);
    let [profile, compatibility, level] = [
        low_byte(fields.bits(8, "profile_idc")?),
        low_byte(fields.bits(8, "constraint_set_flags")?),
        low_byte(fields.bits(8, "level_idc")?),
    ];
    let id = low_byte(fields.ue("seq_parameter_set_id", 31)?);
    let chroma = ChromaInfo::read(fields.reader(), ProfileIdc::from(profile))
        .map_err(|_| fields.malformed("chroma_format_idc"))?;
    fields.ue("log2_max_frame_num_minus4", 12)?;
    skip_picture_order_count(&mut fields)?;
    fields.ue("max_num_ref_frames", u32::MAX)?;
    fields.flag("gaps_in_frame_num_value_allowed_flag")?;
    let width = (fields.ue("pic_width_in_mbs_minus1", 4095)? + 1) * 16;
    let map_units = fields.ue("pic_height_in_map_units_minus1", 4095)? + 1;
    let frames_only = fields.flag("frame_mbs_only_flag")?;
    if !frames_only {
        fields.flag("mb_adaptive_frame_field_flag")?;
    }
    fields.flag("direct_8x8_inference_flag")?;
    let height = map_units * 16 * if frames_only { 1 } else { 2 };
    let chroma_format = chroma.chroma_format.to_u32();
    if chroma_format > 3 {
        return Err(CodecError::OutOfRange { set: SPS, field: "chroma_format_idc", value: chroma_format });
    }
    let chroma_format = low_byte(chroma_format);
    // Table 6-1; without chroma planes of their own (monochrome, separate planes) the unit is one sample.
    let (unit_x, unit_y) = match chroma.chroma_array_type() {
        1 => (2, 2),
        2 => (2, 1),
        _ => (1, 1),
    };
    let unit_y = unit_y * if frames_only { 1 } else { 2 };
    let (mut crop_x, mut crop_y) = (0, 0);
    if fields.flag("frame_cropping_flag")? {
        crop_x =
            fields.ue("frame_crop_left_offset", 65_535)? + fields.ue("frame_crop_right_offset", 65_535)?;
        crop_y =
            fields.ue("frame_crop_top_offset", 65_535)? + fields.ue("frame_crop_bottom_offset", 65_535)?;
    }
    Ok(SequenceParameterSet {
        id,
        profile_compatibility_level: [profile, compatibility, level],
        chroma_format,
        bit_depth_luma_minus8: chroma.bit_depth_luma_minus8,
        bit_depth_chroma_minus8: chroma.bit_depth_chroma_minus8,
        width: cropped(width, crop_x * unit_x, "pic_width_in_mbs_minus1")?,
        height: cropped(height, crop_y * unit_y, "pic_height_in_map_units_minus1")?,
        frame_rate_milli: frame_rate_milli(&bytes),
    })
}

fn skip_picture_order_count(fields: &mut Fields<'_>) -> Result<(), CodecError> {
    match fields.ue("pic_order_cnt_type", 2)? {
        0 => fields.ue("log2_max_pic_order_cnt_lsb_minus4", 12).map(drop),
        1 => {
            fields.flag("delta_pic_order_always_zero_flag")?;
            fields.skip_se("offset_for_non_ref_pic")?;
            fields.skip_se("offset_for_top_to_bottom_field")?;
            for _ in 0..fields.ue("num_ref_frames_in_pic_order_cnt_cycle", 255)? {
                fields.skip_se("offset_for_ref_frame")?;
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

fn cropped(size: u32, crop: u32, field: &'static str) -> Result<u16, CodecError> {
    size.checked_sub(crop)
        .filter(|rest| *rest > 0)
        .and_then(|rest| u16::try_from(rest).ok())
        .ok_or(CodecError::OutOfRange { set: SPS, field, value: size })
}

fn frame_rate_milli(rbsp: &[u8]) -> Option<u32> {
    let sps = SeqParameterSet::from_bits(BitReader::new(rbsp)).ok()?;
    let timing = sps.vui_parameters?.timing_info?;
    // A frame lasts two ticks (H.264 E.2.1, num_units_in_tick).
    let ticks = u64::from(timing.num_units_in_tick) * 2;
    u32::try_from((u64::from(timing.time_scale) * 1000).checked_div(ticks)?).ok().filter(|rate| *rate > 0)
}

/// Reads the ids of a picture parameter set, given from its NAL unit header on: its own, and that of the sequence
/// parameter set it refers to.
///
/// # Errors
///
/// [`CodecError::Malformed`] or [`CodecError::OutOfRange`] where an id cannot be read.
pub fn parse_pps_ids(nal: &[u8]) -> Result<(u8, u8), CodecError> {
    let bytes = rbsp(nal, 1);
    let mut fields = Fields::new(PPS, &bytes);
    let id = low_byte(fields.ue("pic_parameter_set_id", 255)?);
    Ok((id, low_byte(fields.ue("seq_parameter_set_id", 31)?)))
}

/// Builds an AVCDecoderConfigurationRecord with four-byte NAL unit lengths.
///
/// `active` is the sequence parameter set in use; the lists hold whole NAL units in the order in which they shall
/// stand. At most 31 sequence and 255 picture parameter sets of at most 65,535 bytes fit; what is beyond is left
/// out.
#[must_use]
pub fn avcc(active: &SequenceParameterSet, sps: &[&[u8]], pps: &[&[u8]]) -> Vec<u8> {
    let [profile, compatibility, level] = active.profile_compatibility_level;
    let mut record = vec![1, profile, compatibility, level, 0xfc | 3];
    let (sps, pps) = (fitting(sps, 31), fitting(pps, 255));
    record.push(0xe0 | low_byte(u32::try_from(sps.len()).unwrap_or(0)));
    for nal in sps {
        push_nal(&mut record, nal);
    }
    record.push(low_byte(u32::try_from(pps.len()).unwrap_or(0)));
    for nal in pps {
        push_nal(&mut record, nal);
    }
    // 14496-15 5.3.3.1.2: the profiles that carry chroma format and bit depths.
    if !matches!(profile, 66 | 77 | 88) {
        record.push(0xfc | active.chroma_format);
        record.push(0xf8 | active.bit_depth_luma_minus8);
        record.push(0xf8 | active.bit_depth_chroma_minus8);
        // Sequence parameter set extensions (alpha planes): none, they stay in the samples.
        record.push(0);
    }
    record
}

/// The first `limit` sets whose length can be written in 16 bits.
pub(super) fn fitting<'a>(sets: &[&'a [u8]], limit: usize) -> Vec<&'a [u8]> {
    sets.iter().copied().filter(|nal| u16::try_from(nal.len()).is_ok()).take(limit).collect()
}

/// Appends a set behind its length in 16 bits.
pub(super) fn push_nal(record: &mut Vec<u8>, nal: &[u8]) {
    let len = u16::try_from(nal.len()).unwrap_or(0);
    record.extend_from_slice(&len.to_be_bytes());
    record.extend_from_slice(nal.get(..usize::from(len)).unwrap_or_default());
}

/// The low eight bits; every caller has checked that the value is no greater.
pub(super) fn low_byte(value: u32) -> u8 {
    value.to_le_bytes()[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A Reolink camera's set: `h264-reader` refuses it for the bytes behind its end, and it must do nevertheless.
    const GARBAGE_BEHIND: &[u8] = &[
        0x67, 0x64, 0x00, 0x33, 0xac, 0x15, 0x14, 0xa0, 0xa0, 0x3d, 0xa1, 0x00, 0x00, 0x04, 0xf6, 0x00, 0x00,
        0x63, 0x38, 0x04, 0x04,
    ];

    #[test]
    fn garbage_behind_a_set_does_not_cost_its_picture_size() {
        let sps = parse_sps(GARBAGE_BEHIND).expect("the size stands before the garbage");
        assert_eq!((sps.id, sps.width, sps.height), (0, 640, 480));
        assert_eq!(sps.frame_rate_milli, None);
    }

    #[test]
    fn a_set_cut_short_is_an_error_at_every_length_before_its_size() {
        for len in 0..9 {
            let head = GARBAGE_BEHIND.get(..len).expect("shorter than the set");
            assert!(parse_sps(head).is_err(), "{len} bytes");
        }
    }

    #[test]
    fn baseline_records_carry_no_chroma_fields_and_high_ones_do() {
        let high = parse_sps(GARBAGE_BEHIND).expect("valid");
        let record = avcc(&high, &[GARBAGE_BEHIND], &[&[0x68, 1], &[0x68, 2]]);
        assert_eq!(&record[..6], &[1, 0x64, 0, 0x33, 0xff, 0xe1]);
        assert_eq!(&record[record.len() - 13..], &[2, 0, 2, 0x68, 1, 0, 2, 0x68, 2, 0xfd, 0xf8, 0xf8, 0]);
        let baseline = SequenceParameterSet { profile_compatibility_level: [66, 0xc0, 30], ..high };
        assert_eq!(avcc(&baseline, &[], &[]), [1, 66, 0xc0, 30, 0xff, 0xe0, 0]);
    }
}
