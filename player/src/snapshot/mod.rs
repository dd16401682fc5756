//! Snapshots: one recorded picture as JPEG, at any width up to its own.
//!
//! [`find()`] says which sync sample stands for a moment, from the timeline; [`snapshot()`] reads that one sample, decodes and encodes it.
//! The same [`SnapshotName`] and width give the same picture for as long as the footage stands.
//!
//! What a camera sends is not to be trusted, and decoders are C code: a picture made to break one must not take the recorder, which may
//! be this process, with it. So pictures are decoded by the program `ffmpeg` in a process of its own, which gets nothing but the bytes of
//! one access unit, gives nothing but the bytes of one picture, and is killed when it takes too long ([`Decoders`]). Where it is not
//! installed, H.264 is decoded in this process by openh264: its input is one access unit of at most [`BYTES_MAX`] whose sequence parameter
//! set was read, by code without unsafe, and found to be of a size and kind that it is made for; it is the decoder that browsers run on
//! pictures of strangers. [`Decoders::without_own`] does without it. A picture on which the program failed is never given to openh264.
//!
//! Failure cases: nothing recorded ([`find()`] finds nothing), overwritten or erased meanwhile ([`crate::Error::NoSegment`] or the
//! volume's), no decoder ([`crate::Error::NoDecoder`]), a picture that does not decode, is too large, or takes too long
//! ([`crate::Error::Snapshot`]), or too many are being made ([`crate::Error::Busy`]).
//!
//! What must not live here: HTTP, a cache, thumbnails kept on a disk.

mod child;
mod decode;
mod find;
mod own;
mod picture;
mod size;

pub use decode::Decoders;
pub use find::{Moment, SnapshotName, find, find_of};

use crate::error::{Error, Result};
use bytes::Bytes;
use keha_fs::{StreamId, Volume};

/// The most bytes of an access unit that is decoded.
pub const BYTES_MAX: usize = 8 << 20;
/// The most pixels of a picture that is decoded: 8K.
pub const PIXELS_MAX: u32 = 8192 * 4352;
/// The widths that can be asked for, in pixels. What is made has a multiple of [`WIDTH_STEP`], or the picture's own width.
pub const WIDTHS: std::ops::RangeInclusive<u16> = 16..=3840;

/// Widths are rounded up to a multiple of this, so that those who ask for about the same get the same.
pub const WIDTH_STEP: u16 = 16;

/// How well pictures are kept by JPEG, of 100.
const QUALITY: u8 = 85;

/// A picture as JPEG.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Its bytes.
    pub data: Bytes,
    /// Its width in pixels.
    pub width: u16,
    /// Its height in pixels.
    pub height: u16,
}

/// A picture, three bytes a pixel.
struct Rgb {
    data: Vec<u8>,
    width: u16,
    height: u16,
}

/// A width as it is made: every one that is made of a picture is one of these.
pub fn made_width(width: u16) -> u16 {
    width.checked_next_multiple_of(WIDTH_STEP).unwrap_or(width)
}

/// The picture of a sync sample, at most [`made_width`] pixels wide and never enlarged; without a width as it is, or as wide as [`WIDTHS`] allow.
/// Pixels are taken for square.
///
/// # Errors
/// See the module; [`Error::Invalid`] for a width out of [`WIDTHS`].
pub fn snapshot(
    volume: &Volume,
    stream: StreamId,
    name: &SnapshotName,
    width: Option<u16>,
    decoders: &Decoders,
) -> Result<Snapshot> {
    let widest = *WIDTHS.end();
    let width = width.unwrap_or(widest);
    if !WIDTHS.contains(&width) {
        let text = format!("a snapshot is {} to {widest} pixels wide, not {width}", WIDTHS.start());
        return Err(Error::Invalid(text));
    }
    let picture = picture::read(volume, stream, name)?;
    let size = size::fitted(picture.width, picture.height, made_width(width))?;
    let decoded = decoders.decode(&picture, size)?;
    let mut data = Vec::new();
    jpeg_encoder::Encoder::new(&mut data, QUALITY)
        .encode(&decoded.data, decoded.width, decoded.height, jpeg_encoder::ColorType::Rgb)
        .map_err(|error| Error::Snapshot(format!("it cannot be encoded: {error}")))?;
    Ok(Snapshot { data: data.into(), width: decoded.width, height: decoded.height })
}
