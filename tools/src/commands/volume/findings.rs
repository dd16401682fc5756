//! How damage is shown: as a line, and in documents.

use keha_fs::{Finding, StreamId, StreamName};
use serde::Serialize;
use std::collections::HashMap;

#[derive(Serialize)]
pub(super) struct FindingDocument<'a> {
    what: &'a str,
    at: u64,
    block: Option<u32>,
    stream: Option<&'a str>,
    stream_id: Option<String>,
    footage_lost: bool,
    detail: &'a str,
}

impl<'a> FindingDocument<'a> {
    /// The document of a finding.
    pub(super) fn new(finding: &'a Finding, names: &'a HashMap<StreamId, StreamName>) -> FindingDocument<'a> {
        FindingDocument {
            what: finding.what,
            at: finding.at,
            block: finding.block.map(|block| block.0),
            stream: finding.stream.and_then(|id| names.get(&id)).map(StreamName::as_str),
            stream_id: finding.stream.map(|id| id.to_string()),
            footage_lost: finding.footage_lost,
            detail: &finding.detail,
        }
    }
}

/// A finding as a line.
pub(super) fn line(finding: &Finding, names: &HashMap<StreamId, StreamName>) -> String {
    let block = finding.block.map(|block| format!(", block {block}")).unwrap_or_default();
    let stream = match finding.stream {
        Some(id) => {
            names.get(&id).map_or_else(|| format!(", stream {id}"), |name| format!(", stream {name}"))
        }
        None => String::new(),
    };
    let lost = if finding.footage_lost { "footage lost" } else { "no footage lost" };
    format!("damaged {} at byte {}{block}{stream}: {} ({lost})", finding.what, finding.at, finding.detail)
}
