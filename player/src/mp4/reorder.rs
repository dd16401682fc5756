//! How deep a stream reorders its pictures, from its sequence parameter set.

use h264_reader::nal::sps::{PicOrderCntType, SeqParameterSet};
use h264_reader::rbsp::{BitRead, BitReader, BitReaderError, decode_nal};
use std::borrow::Cow;

/// H.264 and H.265 reorder by at most this many pictures.
pub(crate) const REORDER_MAX: usize = 16;

const H264_BASELINE: u8 = 66;

/// Header, profile, constraints and level alone take as much.
const SPS_BYTES_MIN: usize = 4;

/// How many pictures may precede one in decode order and follow it in output order, by an H.264 SPS.
///
/// Where the SPS does not say (E.2.1, `max_num_reorder_frames`), the number of reference frames bounds what encoders do:
/// most cameras leave the field out and reorder nothing, and the whole picture buffer would be a long look ahead.
pub(crate) fn avc(sps: &[u8]) -> usize {
    let Some(sps) = payload_of(sps).and_then(|bits| SeqParameterSet::from_bits(BitReader::new(&*bits)).ok())
    else {
        return REORDER_MAX;
    };
    let restrictions = sps.vui_parameters.as_ref().and_then(|vui| vui.bitstream_restrictions.as_ref());
    let depth = match restrictions {
        _ if u8::from(sps.profile_idc) == H264_BASELINE => 0,
        _ if matches!(sps.pic_order_cnt, PicOrderCntType::TypeTwo) => 0,
        Some(restrictions) => restrictions.max_num_reorder_frames,
        // A B-picture needs one frame before and one behind.
        None if sps.max_num_ref_frames < 2 => 0,
        None => sps.max_num_ref_frames,
    };
    usize::try_from(depth).unwrap_or(REORDER_MAX).min(REORDER_MAX)
}

/// The same by an H.265 SPS: `sps_max_num_reorder_pics` of the highest sub-layer (ITU-T H.265, 7.3.2.2).
pub(crate) fn hevc(sps: &[u8]) -> usize {
    let depth = payload_of(sps).and_then(|bits| hevc_depth(bits.get(1..)?).ok());
    depth.and_then(|depth| usize::try_from(depth).ok()).unwrap_or(REORDER_MAX).min(REORDER_MAX)
}

/// A NAL unit without its first byte and the bytes that prevent start codes.
fn payload_of(unit: &[u8]) -> Option<Cow<'_, [u8]>> {
    // The reader takes for granted that there is more than a header.
    if unit.len() < SPS_BYTES_MIN { None } else { decode_nal(unit).ok() }
}

fn hevc_depth(bits: &[u8]) -> Result<u32, BitReaderError> {
    let mut input = BitReader::new(bits);
    input.skip(4, "sps_video_parameter_set_id")?;
    let sub_layers = u32::from(input.read::<3, u8>("sps_max_sub_layers_minus1")?);
    input.skip(1, "sps_temporal_id_nesting_flag")?;
    skip_profile_tier_level(&mut input, sub_layers)?;
    input.read_ue("sps_seq_parameter_set_id")?;
    if input.read_ue("chroma_format_idc")? == 3 {
        input.skip(1, "separate_colour_plane_flag")?;
    }
    input.read_ue("pic_width_in_luma_samples")?;
    input.read_ue("pic_height_in_luma_samples")?;
    if input.read_bit("conformance_window_flag")? {
        for _ in 0..4 {
            input.read_ue("conf_win_offset")?;
        }
    }
    input.read_ue("bit_depth_luma_minus8")?;
    input.read_ue("bit_depth_chroma_minus8")?;
    input.read_ue("log2_max_pic_order_cnt_lsb_minus4")?;
    let each = input.read_bit("sps_sub_layer_ordering_info_present_flag")?;
    let mut depth = 0;
    for _ in 0..if each { sub_layers + 1 } else { 1 } {
        input.read_ue("sps_max_dec_pic_buffering_minus1")?;
        depth = input.read_ue("sps_max_num_reorder_pics")?;
        input.read_ue("sps_max_latency_increase_plus1")?;
    }
    Ok(depth)
}

/// ITU-T H.265, 7.3.3, with the general profile present.
fn skip_profile_tier_level(input: &mut impl BitRead, sub_layers: u32) -> Result<(), BitReaderError> {
    input.skip(88 + 8, "general_profile_tier_level")?;
    let mut rest = 0;
    for _ in 0..sub_layers {
        rest += if input.read_bit("sub_layer_profile_present_flag")? { 88 } else { 0 };
        rest += if input.read_bit("sub_layer_level_present_flag")? { 8 } else { 0 };
    }
    if sub_layers > 0 {
        input.skip(2 * (8 - sub_layers), "reserved_zero_2bits")?;
    }
    input.skip(rest, "sub_layer_profile_tier_level")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_parameter_set_is_taken_for_the_deepest() {
        for bytes in [&[][..], &[0x67], &[0x42, 1, 0xff], &[0, 0, 0, 0]] {
            assert_eq!(avc(bytes), REORDER_MAX);
            assert_eq!(hevc(bytes), REORDER_MAX);
        }
    }
}
