//! How streams and their retention are shown: as documents, and for people.

use crate::output::document::{Moment, VolumeDocument};
use crate::output::table::{Align, Table};
use crate::units::{retention, size, time};
use jiff::tz::TimeZone;
use keha_fs::{StreamSummary, VolumeInfo};
use serde::Serialize;
use std::path::Path;

/// Streams of a volume.
#[derive(Debug, Serialize)]
pub(super) struct StreamsDocument {
    schema: &'static str,
    volume: VolumeDocument,
    streams: Vec<StreamDocument>,
}

#[derive(Debug, Serialize)]
struct StreamDocument {
    name: String,
    id: String,
    created: Moment,
    /// The most bytes of blocks that it may have; none = as many as come.
    quota_bytes: Option<u64>,
    /// Younger footage is overwritten last.
    minimum_age_s: Option<u64>,
    /// Older footage is given to nobody, and overwritten.
    maximum_age_s: Option<u64>,
    /// The bytes of the blocks that it has.
    block_bytes: u64,
    first: Option<Moment>,
    last: Option<Moment>,
}

impl StreamsDocument {
    pub(super) fn new(
        schema: &'static str,
        path: &Path,
        info: &VolumeInfo,
        streams: &[StreamSummary],
    ) -> StreamsDocument {
        let some = |number: u64| (number > 0).then_some(number);
        let stream = |stream: &StreamSummary| StreamDocument {
            name: stream.name.to_string(),
            id: stream.id.to_string(),
            created: Moment(stream.created),
            quota_bytes: some(stream.retention.quota_bytes),
            minimum_age_s: some(stream.retention.minimum_age_s),
            maximum_age_s: some(stream.retention.maximum_age_s),
            block_bytes: u64::from(stream.blocks) * u64::from(info.block_bytes),
            first: stream.first.map(Moment),
            last: stream.last.map(Moment),
        };
        StreamsDocument {
            schema,
            volume: VolumeDocument::new(path, info),
            streams: streams.iter().map(stream).collect(),
        }
    }

    /// For people.
    pub(super) fn text(&self, zone: &TimeZone) -> String {
        if self.streams.is_empty() {
            return "no streams yet\n".into();
        }
        let mut table = Table::new(&[
            ("stream", Align::Left),
            ("quota", Align::Right),
            ("minimum age", Align::Right),
            ("maximum age", Align::Right),
            ("has", Align::Right),
            ("from", Align::Left),
            ("to", Align::Left),
        ]);
        let moment = |at: Option<Moment>| at.map_or("-".to_owned(), |at| time::local(at.0, zone));
        for stream in &self.streams {
            table.row(vec![
                stream.name.clone(),
                retention::show_quota(stream.quota_bytes.unwrap_or(0)),
                retention::show_age(stream.minimum_age_s.unwrap_or(0)),
                retention::show_age(stream.maximum_age_s.unwrap_or(0)),
                size::show(stream.block_bytes),
                moment(stream.first),
                moment(stream.last),
            ]);
        }
        table.render()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::document;
    use keha_fs::{Retention, StreamId, StreamName, Uuid, WallTime};

    fn streams() -> StreamsDocument {
        let begin = WallTime(1_793_489_400_000_000_000);
        let stream = |name: &str, retention, blocks: u32| StreamSummary {
            id: StreamId(Uuid::from_u128(u128::from(blocks))),
            name: StreamName::new(name).expect("a constant"),
            created: begin,
            retention,
            first: (blocks > 0).then_some(begin),
            last: (blocks > 0).then_some(begin.plus_ns(60_000_000_000)),
            blocks,
            samples: 0,
            payload_bytes: 0,
            used_bytes: 0,
            overwritten_in: None,
        };
        let limited =
            Retention { quota_bytes: 100 << 30, minimum_age_s: 7 * 86_400, maximum_age_s: 30 * 86_400 };
        let streams = [stream("front", limited, 5), stream("yard/sub", Retention::default(), 0)];
        StreamsDocument::new("keha.stream-list/1", Path::new("a.ring"), &document::example(), &streams)
    }

    #[test]
    fn the_document_is_as_published() {
        insta::assert_json_snapshot!(streams());
    }

    #[test]
    fn the_text_is_as_published() {
        insta::assert_snapshot!(streams().text(&TimeZone::UTC));
    }
}
