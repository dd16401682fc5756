//! Sample entries: what a decoder is told of a track (ISO/IEC 14496-12, 8.5.2; 14496-15; 14496-14; FLAC in ISOBMFF).

use crate::mp4::flac::{CHANNELS_MAX, Format, SAMPLE_BITS};
use crate::mp4::g711::Law;
use crate::mp4::{codec_string, reorder};
use keha_fs::TrackConfiguration;
use mp4_atom::{
    Atom, Audio, Avc1, Avcc, Codec, Dfla, Esds, Flac, FlacMetadataBlock, Hvc1, Hvcc, Mp4a, Visual, esds,
};

/// `ObjectTypeIndication` of AAC and `streamType` of sound (ISO/IEC 14496-1, tables 5 and 6).
const OBJECT_TYPE_AAC: u8 = 0x40;
const STREAM_TYPE_AUDIO: u8 = 0x05;

/// NAL unit types of sequence parameter sets.
const AVC_SPS: u8 = 7;
const HEVC_SPS: u8 = 33;

/// A codec as MP4 has it.
pub(crate) struct Described {
    pub entry: Codec,
    pub name: String,
    pub coding: Coding,
    /// See [`crate::mp4::DecodeTimes::new`].
    pub reorder_max: usize,
}

/// How samples are coded, as far as it decides what becomes of them.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Coding {
    Avc,
    Hevc,
    Aac,
    G711(Format),
}

/// The sample entry of a track; an error says why it has none.
pub(crate) fn describe(track: &TrackConfiguration) -> Result<Described, String> {
    match &track.codec {
        b"avc1" | b"avc3" => avc(track),
        b"hvc1" | b"hev1" => hevc(track),
        b"mp4a" => aac(track),
        b"alaw" => g711(track, Law::A),
        b"ulaw" => g711(track, Law::Mu),
        other => Err(format!("codec {} has no place in MP4 here; leave the track out", other.escape_ascii())),
    }
}

fn avc(track: &TrackConfiguration) -> Result<Described, String> {
    let avcc = Avcc::decode_body(&mut &track.private[..]).map_err(|error| broken("avcC", &error))?;
    four_byte_lengths(avcc.length_size)?;
    let sps =
        avcc.sequence_parameter_sets.iter().find(|set| set.first().is_some_and(|b| b & 0x1f == AVC_SPS));
    let reorder_max = sps.map_or(reorder::REORDER_MAX, |sps| reorder::avc(sps));
    let visual = visual(track);
    let name = codec_string::avc("avc1", &avcc);
    let entry = Avc1 { visual, avcc, ..Avc1::default() }.into();
    Ok(Described { entry, name, coding: Coding::Avc, reorder_max })
}

fn hevc(track: &TrackConfiguration) -> Result<Described, String> {
    let mut hvcc = Hvcc::decode_body(&mut &track.private[..]).map_err(|error| broken("hvcC", &error))?;
    four_byte_lengths(hvcc.length_size_minus_one.saturating_add(1))?;
    // ISO/IEC 14496-15, 8.4.1.1: with `hvc1` the arrays have all the sets there are.
    hvcc.arrays.iter_mut().for_each(|array| array.completeness = true);
    let sps =
        hvcc.arrays.iter().filter(|array| array.nal_unit_type == HEVC_SPS).find_map(|a| a.nalus.first());
    let reorder_max = sps.map_or(reorder::REORDER_MAX, |sps| reorder::hevc(sps));
    let visual = visual(track);
    let name = codec_string::hevc("hvc1", &hvcc);
    let entry = Hvc1 { visual, hvcc, ..Hvc1::default() }.into();
    Ok(Described { entry, name, coding: Coding::Hevc, reorder_max })
}

fn aac(track: &TrackConfiguration) -> Result<Described, String> {
    let name = codec_string::aac(&track.private).ok_or_else(|| {
        "its AudioSpecificConfig is empty; set the camera's sound to another codec and back".to_owned()
    })?;
    let specific = esds::DecoderSpecific { raw: track.private.clone(), ..Default::default() };
    let dec_config = esds::DecoderConfig {
        object_type_indication: OBJECT_TYPE_AAC,
        stream_type: STREAM_TYPE_AUDIO,
        dec_specific: Some(specific),
        ..Default::default()
    };
    let es_desc = esds::EsDescriptor { dec_config, ..Default::default() };
    let entry = Mp4a { audio: audio(track), esds: Esds { es_desc }, btrt: None, taic: None }.into();
    Ok(Described { entry, name, coding: Coding::Aac, reorder_max: 0 })
}

fn g711(track: &TrackConfiguration, law: Law) -> Result<Described, String> {
    let channels = track.channels.max(1);
    if channels > CHANNELS_MAX || track.sample_rate == 0 || track.sample_rate >= 1 << 16 {
        return Err(format!(
            "{channels} channels at {} Hz are no sound that MP4 can carry; leave the track out",
            track.sample_rate
        ));
    }
    // Block sizes and lengths are not known in advance, and zero says so; different bounds of the block size say that
    // it varies (RFC 9639, section 8.2).
    let info = FlacMetadataBlock::StreamInfo {
        minimum_block_size: 16,
        maximum_block_size: u16::MAX,
        minimum_frame_size: [0; 3].into(),
        maximum_frame_size: [0; 3].into(),
        sample_rate: track.sample_rate,
        num_channels_minus_one: channels - 1,
        bits_per_sample_minus_one: SAMPLE_BITS as u8 - 1,
        number_of_interchannel_samples: 0,
        md5_checksum: vec![0; 16],
    };
    let entry = Flac { audio: audio(track), dfla: Dfla { blocks: vec![info] } }.into();
    let format = Format { law, channels, sample_rate: track.sample_rate };
    let name = codec_string::FLAC.to_owned();
    Ok(Described { entry, name, coding: Coding::G711(format), reorder_max: 0 })
}

fn visual(track: &TrackConfiguration) -> Visual {
    Visual { data_reference_index: 1, width: track.width, height: track.height, ..Visual::default() }
}

fn audio(track: &TrackConfiguration) -> Audio {
    Audio {
        data_reference_index: 1,
        channel_count: u16::from(track.channels.max(1)),
        sample_size: SAMPLE_BITS as u16,
        // Rates beyond 16 bits are left to the codec's own configuration.
        sample_rate: u16::try_from(track.sample_rate).unwrap_or(0).into(),
    }
}

fn four_byte_lengths(bytes: u8) -> Result<(), String> {
    if bytes == 4 {
        return Ok(());
    }
    Err(format!("its configuration says {bytes}-byte lengths, and samples are stored with 4; record it anew"))
}

fn broken(record: &str, error: &mp4_atom::Error) -> String {
    format!("its {record} cannot be read ({error}); check the volume")
}
