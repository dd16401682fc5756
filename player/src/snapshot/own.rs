//! Decoding H.264 in this process, where no program does it. See the module for why that may be.

use super::picture::Picture;
use super::size::shrunk;
use super::{PIXELS_MAX, Rgb};
use crate::error::{Error, Result};
use h264_reader::annexb::AnnexBReader;
use h264_reader::nal::sps::{ChromaFormat, SeqParameterSet};
use h264_reader::nal::{Nal, RefNal, UnitType};
use h264_reader::push::NalInterest;
use openh264::decoder::Decoder;
use openh264::formats::YUVSource;

/// Decodes a picture and makes it of this size.
pub(super) fn decode(picture: &Picture, size: (u16, u16)) -> Result<Rgb> {
    check(&picture.bytes)?;
    let mut decoder = Decoder::new().map_err(|error| failed(&error))?;
    let decoded = decoder.decode(&picture.bytes).map_err(|error| failed(&error))?;
    if let Some(decoded) = decoded {
        return to_rgb(&decoded, size);
    }
    let rest = decoder.flush_remaining().map_err(|error| failed(&error))?;
    let first = rest.first().ok_or_else(|| Error::Snapshot("the picture does not decode".to_owned()))?;
    to_rgb(first, size)
}

fn to_rgb(decoded: &openh264::decoder::DecodedYUV<'_>, (width, height): (u16, u16)) -> Result<Rgb> {
    let (wide, high) = decoded.dimensions();
    let too_large = || Error::Snapshot(format!("a picture of {wide}x{high} pixels is not what its sets say"));
    let (wide, high) = u16::try_from(wide).ok().zip(u16::try_from(high).ok()).ok_or_else(too_large)?;
    let pixels = u32::from(wide) * u32::from(high);
    if pixels == 0 || pixels > PIXELS_MAX || wide < width || high < height {
        return Err(too_large());
    }
    let mut data = vec![0; pixels as usize * 3];
    decoded.write_rgb8(&mut data);
    Ok(shrunk(Rgb { data, width: wide, height: high }, (width, height)))
}

/// An error unless every sequence parameter set is of a size and kind that the decoder is made for.
fn check(bytes: &[u8]) -> Result<()> {
    let (mut fits, mut met) = (true, false);
    let mut reader = AnnexBReader::accumulate(|nal: RefNal<'_>| {
        if nal.is_complete()
            && nal.header().is_ok_and(|header| header.nal_unit_type() == UnitType::SeqParameterSet)
        {
            met = true;
            fits &= SeqParameterSet::from_bits(nal.rbsp_bits()).is_ok_and(|sps| is_decodable(&sps));
        }
        NalInterest::Buffer
    });
    reader.push(bytes);
    reader.reset();
    if fits && met {
        return Ok(());
    }
    Err(Error::Snapshot("the picture is of a kind that only ffmpeg decodes; install it".to_owned()))
}

fn is_decodable(sps: &SeqParameterSet) -> bool {
    let chroma = &sps.chroma_info;
    let plain = chroma.chroma_format == ChromaFormat::YUV420
        && (chroma.bit_depth_luma_minus8, chroma.bit_depth_chroma_minus8) == (0, 0);
    let pixels = sps.pixel_dimensions().ok().and_then(|(width, height)| width.checked_mul(height));
    plain && pixels.is_some_and(|pixels| (1..=PIXELS_MAX).contains(&pixels))
}

fn failed(error: &openh264::Error) -> Error {
    Error::Snapshot(format!("the picture does not decode: {error}"))
}
