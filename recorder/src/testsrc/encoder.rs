//! Pictures to H.264 access units in the form in which all samples are kept: NAL units behind four-byte lengths.

use super::TestSource;
use super::picture::Picture;
use crate::codec::h264;
use bytes::Bytes;
use keha_fs::{TrackConfiguration, TrackKind, TrackNumber};
use openh264::encoder::{
    BitRate, Complexity, Encoder as OpenH264, EncoderConfig, FrameRate, FrameType, IntraFramePeriod, Profile,
    RateControlMode, SpsPpsStrategy, UsageType,
};
use openh264::{OpenH264API, Timestamp};

/// Ticks per second of the video track.
pub(super) const TIMESCALE: u32 = 90_000;

/// A coded picture.
pub(super) struct Coded {
    pub(super) data: Bytes,
    pub(super) is_sync: bool,
    /// The configuration, with a keyframe.
    pub(super) configuration: Option<TrackConfiguration>,
}

/// An H.264 encoder for the built-in camera.
pub(super) struct Encoder {
    encoder: OpenH264,
    /// Bytes that each picture should have.
    padded_bytes: usize,
    /// Bytes that the pictures so far have too few.
    owed_bytes: usize,
}

/// Filler data (ITU-T H.264, 7.3.2.7): header, 0xff bytes, trailing bits, behind its length.
const FILLER: u8 = 12;
const FILLER_BYTES_MIN: usize = 4 + 2;

impl Encoder {
    pub(super) fn new(source: &TestSource) -> Result<Encoder, String> {
        let config = EncoderConfig::new()
            .usage_type(UsageType::CameraVideoRealTime)
            .profile(Profile::Baseline)
            .complexity(Complexity::Low)
            // The other modes write warnings to the terminal unless they may skip pictures.
            .rate_control_mode(RateControlMode::Bufferbased)
            .bitrate(BitRate::from_bps(2 * u32::from(source.width) * u32::from(source.height)))
            .max_frame_rate(FrameRate::from_hz(source.fps as f32))
            .intra_frame_period(IntraFramePeriod::from_num_frames(source.gop))
            .sps_pps_strategy(SpsPpsStrategy::ConstantId)
            .skip_frames(false)
            .scene_change_detect(false)
            .background_detection(false)
            .adaptive_quantization(false)
            .num_threads(1);
        let encoder = OpenH264::with_api_config(OpenH264API::from_source(), config)
            .map_err(|error| error.to_string())?;
        let padded = source.bitrate_bps.unwrap_or(0) / 8 / source.fps.max(1);
        Ok(Encoder { encoder, padded_bytes: usize::try_from(padded).unwrap_or(0), owed_bytes: 0 })
    }

    /// Codes the picture taken `at_ms` milliseconds after the first. `None` if the encoder gave nothing for it.
    pub(super) fn encode(&mut self, picture: &Picture, at_ms: u64) -> Result<Option<Coded>, String> {
        let coded = self
            .encoder
            .encode_at(picture, Timestamp::from_millis(at_ms))
            .map_err(|error| error.to_string())?;
        let is_sync = coded.frame_type() == FrameType::IDR;
        let mut data = Vec::new();
        let (mut sps, mut pps) = (Vec::new(), Vec::new());
        for layer in (0..coded.num_layers()).filter_map(|index| coded.layer(index)) {
            for nal in (0..layer.nal_count()).filter_map(|index| layer.nal_unit(index)) {
                let nal = without_start_code(nal);
                let Ok(length) = u32::try_from(nal.len()) else { continue };
                data.extend(length.to_be_bytes());
                data.extend(nal);
                match nal.first().map(|header| header & 0x1f) {
                    Some(7) => sps = nal.to_vec(),
                    Some(8) => pps = nal.to_vec(),
                    _ => {}
                }
            }
        }
        if data.is_empty() {
            return Ok(None);
        }
        self.owed_bytes = (self.owed_bytes + self.padded_bytes).saturating_sub(data.len());
        if self.owed_bytes >= FILLER_BYTES_MIN {
            pad(&mut data, std::mem::take(&mut self.owed_bytes));
        }
        let configuration = if sps.is_empty() { None } else { Some(configuration(&sps, &pps)?) };
        Ok(Some(Coded { data: Bytes::from(data), is_sync, configuration }))
    }
}

/// Appends a filler NAL unit of so many bytes, its length included.
fn pad(data: &mut Vec<u8>, bytes: usize) {
    let Ok(length) = u32::try_from(bytes.saturating_sub(4)) else { return };
    data.extend(length.to_be_bytes());
    data.push(FILLER);
    data.resize(data.len() + bytes.saturating_sub(FILLER_BYTES_MIN), 0xff);
    data.push(0x80);
}

fn configuration(sps: &[u8], pps: &[u8]) -> Result<TrackConfiguration, String> {
    let parsed = h264::parse_sps(sps).map_err(|error| error.to_string())?;
    Ok(TrackConfiguration {
        track: TrackNumber(1),
        kind: TrackKind::Video,
        codec: *b"avc1",
        timescale: TIMESCALE,
        width: parsed.width,
        height: parsed.height,
        channels: 0,
        sample_rate: 0,
        private: h264::avcc(&parsed, &[sps], &[pps]),
    })
}

/// The NAL unit behind its Annex B start code (ITU-T H.264, B.1).
fn without_start_code(nal: &[u8]) -> &[u8] {
    nal.strip_prefix(&[0, 0, 0, 1]).or_else(|| nal.strip_prefix(&[0, 0, 1])).unwrap_or(nal)
}

#[cfg(test)]
mod tests {
    use super::super::barcode;
    use super::*;
    use openh264::decoder::Decoder;
    use openh264::formats::YUVSource;

    #[test]
    fn a_decoder_reads_the_bar_code_of_every_coded_picture() {
        let source = TestSource {
            width: 640,
            height: 360,
            fps: 25,
            gop: 5,
            audio: false,
            bitrate_bps: Some(2_000_000),
        };
        let mut bytes = 0;
        let mut picture = Picture::new(source.width, source.height, "front");
        let mut encoder = Encoder::new(&source).unwrap();
        let mut decoder = Decoder::new().unwrap();
        for number in 0..12_u32 {
            let unix_ms = 1_763_680_000_000 + i64::from(number) * 40;
            picture.draw(number, unix_ms);
            let coded =
                encoder.encode(&picture, u64::from(number) * 40).unwrap().expect("no picture is skipped");
            bytes += coded.data.len();
            assert_eq!((coded.is_sync, coded.configuration.is_some()), (number % 5 == 0, number % 5 == 0));
            if let Some(configuration) = coded.configuration {
                assert_eq!((configuration.width, configuration.height), (640, 360));
            }
            let decoded = decoder.decode(&annex_b(&coded.data)).unwrap().expect("a picture");
            let read = barcode::read(decoded.y(), decoded.strides().0, 640, 360);
            assert_eq!(read, Some((number, unix_ms)));
        }
        assert_eq!(bytes, 12 * 2_000_000 / 8 / 25, "padded to the rate asked for");
    }

    fn annex_b(mut data: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        while let Some((length, rest)) = data.split_first_chunk() {
            let (nal, rest) = rest.split_at(u32::from_be_bytes(*length) as usize);
            out.extend([0, 0, 0, 1]);
            out.extend(nal);
            data = rest;
        }
        out
    }
}
