//! The `--json` documents: each names its schema, only grows, and writes times as RFC 3339 strings in UTC.

use crate::units::time;
use keha_fs::{VolumeInfo, WallTime};
use serde::Serialize;
use std::io::Write;
use std::path::Path;

/// A moment in a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment(pub(crate) WallTime);

impl Serialize for Moment {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&time::rfc3339(self.0))
    }
}

/// A volume in a document.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct VolumeDocument {
    id: String,
    label: String,
    path: String,
    format_version: u16,
    size_bytes: u64,
    block_bytes: u32,
    page_bytes: u32,
    blocks: u32,
    streams_max: u32,
    created: Moment,
}

impl VolumeDocument {
    /// What `info` says of the volume at `path`.
    pub(crate) fn new(path: &Path, info: &VolumeInfo) -> VolumeDocument {
        VolumeDocument {
            id: info.id.to_string(),
            label: info.label.clone(),
            path: path.display().to_string(),
            format_version: info.format_version,
            size_bytes: info.size_bytes,
            block_bytes: info.block_bytes,
            page_bytes: info.page_bytes,
            blocks: info.blocks,
            streams_max: info.streams_max,
            created: Moment(info.created),
        }
    }
}

/// Writes one document and a newline to standard output, and flushes it.
///
/// # Errors
/// Those of writing; [`super::Unread`] if nobody reads it any more.
pub(crate) fn print(document: &impl Serialize) -> std::io::Result<()> {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let written = serde_json::to_writer(&mut out, document).map_err(std::io::Error::from);
    written.and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush()).map_err(super::of_stdout)
}

/// Shows a result: as one document where that is asked for, else as text.
///
/// # Errors
/// As [`print()`].
pub(crate) fn show(
    output: super::Output,
    json: bool,
    document: &impl Serialize,
    text: impl FnOnce() -> String,
) -> std::io::Result<()> {
    if json { print(document) } else { output.print(&text()) }
}

/// A share as a number that reads well: four decimals.
pub(crate) fn fraction(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { (part as f64 / whole as f64 * 10_000.0).round() / 10_000.0 }
}

/// A volume for the tests of documents.
#[cfg(test)]
pub(crate) fn example() -> VolumeInfo {
    VolumeInfo {
        id: keha_fs::VolumeId(keha_fs::Uuid::from_u128(0x1234)),
        label: "attic".into(),
        format_version: 1,
        size_bytes: 8 << 20,
        block_bytes: 1 << 20,
        page_bytes: 4096,
        blocks: 6,
        streams_max: 2,
        created: WallTime(1_793_489_400_000_000_000),
    }
}
