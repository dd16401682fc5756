//! How each codec is named and initialised in Matroska (the codec mappings of the Matroska codec specification).
//!
//! Decoder configurations go in as they were recorded; only G.711 needs one made: a WAVEFORMATEX.

use keha_fs::TrackConfiguration;

/// The Matroska form of a codec.
pub(crate) struct Codec {
    /// Its CodecID.
    pub id: &'static str,
    /// Its CodecPrivate.
    pub private: Vec<u8>,
}

/// WAVE format tags (RFC 2361).
const WAVE_ALAW: u16 = 6;
const WAVE_MULAW: u16 = 7;

/// The Matroska form of a track's codec; `None` if it has none here.
pub(crate) fn codec_of(track: &TrackConfiguration) -> Option<Codec> {
    let recorded = |id| Some(Codec { id, private: track.private.clone() });
    match &track.codec {
        b"avc1" | b"avc3" => recorded("V_MPEG4/ISO/AVC"),
        b"hvc1" | b"hev1" => recorded("V_MPEGH/ISO/HEVC"),
        b"mp4a" => recorded("A_AAC"),
        b"ulaw" => Some(Codec { id: "A_MS/ACM", private: wave_format(track, WAVE_MULAW) }),
        b"alaw" => Some(Codec { id: "A_MS/ACM", private: wave_format(track, WAVE_ALAW) }),
        _ => None,
    }
}

/// Whether a track can go into a Matroska file.
pub(crate) fn is_supported(track: &TrackConfiguration) -> bool {
    codec_of(track).is_some()
}

/// A WAVEFORMATEX of 18 bytes for one byte a sample and channel.
fn wave_format(track: &TrackConfiguration, tag: u16) -> Vec<u8> {
    let channels = u16::from(track.channels.max(1));
    let mut out = Vec::with_capacity(18);
    out.extend(tag.to_le_bytes());
    out.extend(channels.to_le_bytes());
    out.extend(track.sample_rate.to_le_bytes());
    out.extend(track.sample_rate.saturating_mul(u32::from(channels)).to_le_bytes());
    out.extend(channels.to_le_bytes());
    out.extend(8u16.to_le_bytes());
    out.extend(0u16.to_le_bytes());
    out
}
