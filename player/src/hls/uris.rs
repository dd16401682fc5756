//! Where players find what a playlist lists: a prefix, the name, a suffix. The prefix may be relative, or empty.

use crate::error::{Error, Result};
use crate::segments::{InitName, SegmentName};

/// The form of a playlist's URIs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Uris {
    prefix: String,
    suffix: String,
}

impl Uris {
    /// URIs of this form: `seg/` and `?signature=...` give `seg/NAME.m4s?signature=...`.
    ///
    /// # Errors
    /// [`Error::Invalid`] for characters that no URI has: they could end a line of the playlist.
    pub fn new(prefix: impl Into<String>, suffix: impl Into<String>) -> Result<Uris> {
        let uris = Uris { prefix: prefix.into(), suffix: suffix.into() };
        let fits = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"');
        if fits(&uris.prefix) && fits(&uris.suffix) {
            return Ok(uris);
        }
        Err(Error::Invalid("a playlist's URIs have characters that must be percent-encoded".to_owned()))
    }

    /// Where a segment is.
    pub fn segment(&self, name: &SegmentName) -> String {
        format!("{}{name}.m4s{}", self.prefix, self.suffix)
    }

    /// Where an init segment is.
    pub fn init(&self, name: &InitName) -> String {
        format!("{}{name}.mp4{}", self.prefix, self.suffix)
    }
}
