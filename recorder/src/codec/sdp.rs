//! The media sections of a session description: just the lines a track needs, read as loosely as cameras write
//! them.
//!
//! retina keeps the `fmtp` parameters of a stream to itself. Get them here: [`parse`] its `Session::sdp()`, then
//! [`match_streams`] to know which section each of its `streams()` came from (retina leaves out sections which it
//! cannot read, so the indices may differ).
//!
//! Promises: never fails. A line that cannot be understood is passed over: what then is missing is refused by name
//! when the track is made. The SDP as a whole (session lines, order, line ends) is retina's to judge.
//!
//! Sources: RFC 8866 5.14 (m=), 6.6 (rtpmap), 6.15 (fmtp); RFC 3551 table 4 (static payload types).

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::CodecError;

/// One `m=` section.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MediaDescription {
    /// `video`, `audio` or `application`, in lower case.
    pub media: String,
    /// The first payload type of the `m=` line.
    pub payload_type: u8,
    /// Encoding name in lower case, such as `h264`; empty where neither `rtpmap` nor a static payload type says it.
    pub encoding: String,
    /// RTP clock rate in Hz; 0 where nothing says it.
    pub clock_rate_hz: u32,
    /// Channels as `rtpmap` or the static payload type says them.
    pub channels: Option<u8>,
    /// Parameters of the `fmtp` line: names in lower case, values as they stand.
    pub parameters: Vec<(String, String)>,
}

impl MediaDescription {
    /// The value of a format parameter; `name` in lower case.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The value of a numeric format parameter, if it is there and a number.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<u32> {
        self.parameter(name)?.parse().ok()
    }

    /// The parameter sets which the description carries (RFC 6184 8.1 `sprop-parameter-sets`; RFC 7798 7.1
    /// `sprop-vps`, `sprop-sps`, `sprop-pps`), and an error for each that is no base64.
    #[must_use]
    pub fn parameter_sets(&self) -> Vec<Result<Vec<u8>, CodecError>> {
        const NAMES: [&str; 4] = ["sprop-parameter-sets", "sprop-vps", "sprop-sps", "sprop-pps"];
        let mut sets = Vec::new();
        for name in NAMES {
            let values = self.parameter(name).unwrap_or_default().split(',').map(str::trim);
            for text in values.filter(|text| !text.is_empty()) {
                let error = CodecError::Text { parameter: name, encoding: "base64" };
                sets.push(BASE64.decode(text).map_err(|_| error));
            }
        }
        sets
    }
}

/// Cameras leave the padding out, or write too little of it.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Reads every media section of a session description, in order.
#[must_use]
pub fn parse(sdp: &[u8]) -> Vec<MediaDescription> {
    let text = String::from_utf8_lossy(sdp);
    let mut sections: Vec<(MediaDescription, Vec<&str>)> = Vec::new();
    for line in text.split(['\r', '\n']).map(str::trim) {
        if let Some(value) = line.strip_prefix("m=") {
            sections.push((media_line(value), Vec::new()));
        } else if let (Some(value), Some((_, attributes))) = (line.strip_prefix("a="), sections.last_mut()) {
            attributes.push(value);
        }
    }
    sections
        .into_iter()
        .map(|(mut media, attributes)| {
            attributes.into_iter().for_each(|attribute| apply(&mut media, attribute));
            media
        })
        .collect()
}

/// `m=video 0 RTP/AVP 96`. A section without a payload type gets 255, which no RTP packet has.
fn media_line(value: &str) -> MediaDescription {
    let mut words = value.split_ascii_whitespace();
    let media = words.next().unwrap_or_default().to_ascii_lowercase();
    let payload_type = words.nth(2).and_then(|word| word.parse().ok()).unwrap_or(u8::MAX);
    let (encoding, clock_rate_hz, channels) = match payload_type {
        0 => ("pcmu", 8000, Some(1)),
        8 => ("pcma", 8000, Some(1)),
        _ => ("", 0, None),
    };
    MediaDescription {
        media,
        payload_type,
        encoding: encoding.to_owned(),
        clock_rate_hz,
        channels,
        parameters: Vec::new(),
    }
}

fn apply(media: &mut MediaDescription, attribute: &str) {
    let Some((name, value)) = attribute.split_once(':') else { return };
    let Some((payload_type, value)) = value.trim().split_once([' ', '\t']) else { return };
    if payload_type.parse() != Ok(media.payload_type) {
        return;
    }
    match name {
        "rtpmap" => {
            let mut parts = value.trim().split('/').map(str::trim);
            media.encoding = parts.next().unwrap_or_default().to_ascii_lowercase();
            media.clock_rate_hz = parts.next().and_then(|rate| rate.parse().ok()).unwrap_or(0);
            media.channels = parts.next().and_then(|channels| channels.parse().ok());
        }
        "fmtp" => {
            for parameter in value.split(';').map(str::trim).filter(|parameter| !parameter.is_empty()) {
                let (key, value) = parameter.split_once('=').unwrap_or((parameter, ""));
                media.parameters.push((key.trim().to_ascii_lowercase(), value.trim().to_owned()));
            }
        }
        _ => {}
    }
}

/// For each of a session's streams, in order and given as (media, payload type), the index of its section in
/// `sections`: the first one not yet taken that agrees.
#[must_use]
pub fn match_streams<'a>(
    sections: &[MediaDescription],
    streams: impl IntoIterator<Item = (&'a str, u8)>,
) -> Vec<Option<usize>> {
    let mut next = 0;
    let mut matches = Vec::new();
    for (media, payload_type) in streams {
        let found = sections.iter().enumerate().skip(next).find(|(_, section)| {
            section.media.eq_ignore_ascii_case(media) && section.payload_type == payload_type
        });
        matches.push(found.map(|(index, _)| index));
        next = found.map_or(next, |(index, _)| index + 1);
    }
    matches
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAMERA: &[u8] = b"v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=Media Server\r\nt=0 0\r\na=control:*\r\n\
        m=video 0 RTP/AVP 96\r\na=control:trackID=0\r\na=rtpmap:96 H264/90000 \r\n\
        a=fmtp:96 packetization-mode=1; profile-level-id=64001E;sprop-parameter-sets=Z2QAHqwsaoLA9puCgIKgAAADACAAAAMD0IAA,aO4xshsA\r\n\
        m=audio 0 RTP/AVP 97\r\na=rtpmap:97 MPEG4-GENERIC/48000/1\r\n\
        a=fmtp:97 streamtype=5;profile-level-id=1;mode=AAC-hbr;sizeLength=13;indexlength=3;indexdeltalength=3;config=1188; profile=1;\r\n\
        m=application 0 RTP/AVP 107\r\na=rtpmap:107 vnd.onvif.metadata/90000\r\n";

    #[test]
    fn the_sections_of_a_camera_are_read() {
        let media = parse(CAMERA);
        assert_eq!(media.len(), 3);
        assert_eq!((media[0].encoding.as_str(), media[0].clock_rate_hz), ("h264", 90_000));
        let sets: Vec<_> = media[0].parameter_sets().into_iter().collect::<Result<_, _>>().expect("base64");
        assert_eq!((sets.len(), sets[0][0], sets[1][0]), (2, 0x67, 0x68));
        assert_eq!((media[1].channels, media[1].number("sizelength")), (Some(1), Some(13)));
        assert_eq!(media[1].parameter("config"), Some("1188"));
        assert_eq!(media[2].media, "application");
    }

    #[test]
    fn static_payload_types_need_no_rtpmap_and_an_rtpmap_overrules_them() {
        let media =
            parse(b"m=audio 0 RTP/AVP 8\t \r\na=control:x\r\nm=audio 0 RTP/AVP 8\na=rtpmap:8 PCMU/8000/1\n");
        assert_eq!(
            (media[0].encoding.as_str(), media[0].clock_rate_hz, media[0].channels),
            ("pcma", 8000, Some(1))
        );
        assert_eq!(media[1].encoding, "pcmu");
    }

    #[test]
    fn bad_base64_is_an_error_of_its_own_and_missing_padding_is_none() {
        let media = parse(b"m=video 0 RTP/AVP 96\r\na=fmtp:96 sprop-parameter-sets=aO48gA,####,\r\n");
        let sets = media[0].parameter_sets();
        assert_eq!(sets[0].as_deref(), Ok(&[0x68, 0xee, 0x3c, 0x80][..]));
        assert!(matches!(sets[1], Err(CodecError::Text { .. })) && sets.len() == 2);
    }

    #[test]
    fn streams_find_their_sections_even_where_one_was_left_out() {
        let sections =
            parse(b"m=audio 0 X 300\nm=video 0 RTP/AVP 96\nm=audio 0 RTP/AVP 0\nm=audio 0 RTP/AVP 0\n");
        let streams = [("video", 96), ("audio", 0), ("audio", 0), ("audio", 0)];
        assert_eq!(match_streams(&sections, streams), [Some(1), Some(2), Some(3), None]);
    }

    #[test]
    fn garbage_is_no_section_and_no_panic() {
        assert!(parse(b"\xff\xfe\0a=rtpmap:96\r\n=\r\na=fmtp").is_empty());
        assert_eq!(parse(b"m=\na=rtpmap:\na=rtpmap:255 x\na=fmtp:255 ;=;a\n").len(), 1);
    }
}
