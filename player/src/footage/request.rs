//! What is asked for.

use keha_fs::{StreamName, TimeRange};

/// A container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Matroska (RFC 9559), as a pipe takes it: without cues. Samples byte for byte, of every codec that is recorded.
    Mkv,
    /// MP4 (ISO/IEC 14496-12) with its tables at the front: its length is known, and any range of its bytes is found at once.
    Mp4,
    /// MP4 in fragments of a group of pictures or two seconds: plays while it comes.
    FragmentedMp4,
}

impl Format {
    /// The usual extension of a file's name.
    pub fn extension(self) -> &'static str {
        match self {
            Format::Mkv => "mkv",
            Format::Mp4 | Format::FragmentedMp4 => "mp4",
        }
    }
}

/// Footage that is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FootageRequest {
    /// The streams, each once; in a file their tracks stand in the order in which they begin.
    pub streams: Vec<StreamName>,
    /// The range: pictures from the sync sample at or before its beginning, to before its end.
    pub range: TimeRange,
    /// The container.
    pub format: Format,
    /// Which part, from 1; `None` is good for footage of one part.
    pub part: Option<usize>,
}
