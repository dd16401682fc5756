//! MP4 (ISO/IEC 14496-12): what browsers play, as segments made on request and as files of known length.
//!
//! - [`init()`] and [`fragment()`]: HLS segments and live video. Stateless: the same samples give the same bytes at any time
//!   and in any process, so segments need not be kept, and can be cached for ever.
//! - [`LayoutBuilder`] and [`Layout`]: a whole file, laid out from sample sizes and times alone. Its length and each of
//!   its bytes are known before a sample is read, so that ranges can be asked for in any order.
//! - [`DecodeTimes`]: decode times, which are not recorded, from presentation times, which are.
//!
//! H.264, H.265 and AAC go in as they were recorded; G.711, which browsers do not play in MP4, goes in as FLAC, bit for
//! bit what it decodes to. Times are `i64` ticks of the track's timescale on an axis that the caller chooses.
//! Why it is so: docs/decisions/0012-mp4.md.
//!
//! What must not live here: reading volumes, HTTP, playlists.

mod codec_string;
mod entry;
mod flac;
mod fragment;
mod g711;
mod init;
mod layout;
mod payload;
mod reorder;
mod silence;
mod times;
mod track;

pub use fragment::{Fragment, FragmentSample, FragmentTrack, fragment};
pub use init::init;
pub use layout::{Layout, LayoutBuilder, LayoutSample, Piece};
pub(crate) use payload::NalUnits;
pub use payload::Payload;
pub(crate) use times::TimesState;
pub use times::{DecodeTimes, Timed};
pub use track::{ParameterSets, Track};

use crate::error::{Error, Result};
use mp4_atom::Encode;

/// Appends a box.
fn put(out: &mut Vec<u8>, part: &impl Encode, at: &str) -> Result<()> {
    part.encode(out).map_err(|error| failed(at, error.to_string()))
}

fn failed(at: impl Into<String>, reason: impl Into<String>) -> Error {
    Error::Mp4 { at: at.into(), reason: reason.into() }
}
