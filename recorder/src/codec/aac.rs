//! AudioSpecificConfig: what an AAC decoder is told, and what a track needs of it.
//!
//! Sources: ISO/IEC 14496-3 1.6.2.1 (AudioSpecificConfig), 1.6.3.3 and 1.6.3.4 (tables of sampling frequencies and
//! channels), 4.4.1 (GASpecificConfig).

use super::CodecError;
use super::bits::Fields;
use super::h264::low_byte;

const ASC: &str = "AudioSpecificConfig";
const SAMPLING_FREQUENCIES_HZ: [u32; 13] =
    [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];
const CHANNELS: [u8; 8] = [0, 1, 2, 3, 4, 5, 6, 8];

/// What a track needs of an AudioSpecificConfig.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AudioSpecificConfig {
    /// Samples in a second and channel of the core coder: without spectral band replication.
    pub sample_rate: u32,
    /// Channels; 0 where a program config element inside the audio says it.
    pub channels: u8,
    /// Samples of the core coder in an access unit: 1024 or 960, 512 or 480 for low delay.
    pub samples_per_unit: u32,
}

/// Reads an AudioSpecificConfig.
///
/// # Errors
///
/// [`CodecError::Malformed`] where it is too short, [`CodecError::OutOfRange`] for reserved values.
pub fn parse(config: &[u8]) -> Result<AudioSpecificConfig, CodecError> {
    let mut fields = Fields::new(ASC, config);
    let mut object_type = audio_object_type(&mut fields)?;
    let sample_rate = sampling_frequency(&mut fields)?;
    let configuration = fields.bits(4, "channelConfiguration")?;
    let channels =
        usize::try_from(configuration).ok().and_then(|index| CHANNELS.get(index)).copied().ok_or(
            CodecError::OutOfRange { set: ASC, field: "channelConfiguration", value: configuration },
        )?;
    // Explicit SBR (5) and parametric stereo (29) wrap the type of the core coder.
    if matches!(object_type, 5 | 29) {
        sampling_frequency(&mut fields)?;
        object_type = audio_object_type(&mut fields)?;
    }
    let short = fields.flag("frameLengthFlag")?;
    let samples_per_unit = match (object_type, short) {
        (23 | 39, false) => 512,
        (23 | 39, true) => 480,
        (_, false) => 1024,
        (_, true) => 960,
    };
    Ok(AudioSpecificConfig { sample_rate, channels, samples_per_unit })
}

fn audio_object_type(fields: &mut Fields<'_>) -> Result<u32, CodecError> {
    match fields.bits(5, "audioObjectType")? {
        31 => Ok(32 + fields.bits(6, "audioObjectTypeExt")?),
        object_type => Ok(object_type),
    }
}

fn sampling_frequency(fields: &mut Fields<'_>) -> Result<u32, CodecError> {
    let index = fields.bits(4, "samplingFrequencyIndex")?;
    let frequency = match usize::try_from(index).ok().and_then(|i| SAMPLING_FREQUENCIES_HZ.get(i)) {
        Some(frequency) => *frequency,
        None if index == 15 => fields.bits(24, "samplingFrequency")?,
        None => 0,
    };
    if frequency == 0 {
        return Err(CodecError::OutOfRange { set: ASC, field: "samplingFrequencyIndex", value: index });
    }
    Ok(frequency)
}

/// Decodes the hexadecimal `config` parameter of RFC 3640 4.1.
///
/// # Errors
///
/// [`CodecError::Text`] for anything but pairs of hexadecimal digits.
pub fn decode_hex(text: &str) -> Result<Vec<u8>, CodecError> {
    let error = CodecError::Text { parameter: "config", encoding: "hexadecimal" };
    let text = text.trim().trim_matches('"').as_bytes();
    let (pairs, rest) = text.as_chunks::<2>();
    if pairs.is_empty() || !rest.is_empty() {
        return Err(error);
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).map(low_byte);
    pairs
        .iter()
        .map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?))
        .collect::<Option<Vec<u8>>>()
        .ok_or(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_hex(text: &str) -> AudioSpecificConfig {
        parse(&decode_hex(text).expect("hexadecimal")).expect("valid")
    }

    #[test]
    fn configs_of_real_cameras_are_read() {
        let mono = |sample_rate| AudioSpecificConfig { sample_rate, channels: 1, samples_per_unit: 1024 };
        assert_eq!(of_hex("1188"), mono(48_000));
        assert_eq!(of_hex("1408"), mono(16_000));
        // HE-AAC, explicit: core at 24 kHz, doubled by SBR.
        assert_eq!(of_hex("2b0a88").sample_rate, 24_000);
        assert_eq!(of_hex("1210").channels, 2);
    }

    #[test]
    fn short_reserved_or_odd_configs_are_errors() {
        assert!(parse(&[]).is_err());
        assert!(parse(&[0x11]).is_err());
        assert!(matches!(parse(&[0x16, 0x88]), Err(CodecError::OutOfRange { .. })), "reserved frequency 13");
        for text in ["", "1", "12 4", "zz", "121"] {
            assert!(decode_hex(text).is_err(), "{text:?}");
        }
    }
}
