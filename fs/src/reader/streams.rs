//! What streams a volume has, and what each of them has, by its tables. Nothing is read; what is added up of rows is added up page by
//! page, and again only where a page changed.

use super::Volume;
use crate::error::{Error, Result};
use crate::forecast::until_overwritten;
use crate::format::directory::DirectoryEntry;
use crate::format::table::Row;
use crate::hold::Guard;
use crate::recover::{Total, Totals};
use crate::report::StreamSummary;
use crate::retention::Retention;
use crate::retention::quota::blocks_of;
use crate::types::{StreamId, StreamName};
use std::collections::BTreeMap;

impl Volume {
    /// Its streams, by name; those whose names are lost as `recovered-...`.
    pub fn streams(&self) -> Vec<StreamSummary> {
        let guard = Guard::of(&self.holds());
        let block_bytes = self.state.geometry.block_bytes;
        let quota_bytes = |entry: &DirectoryEntry| Retention::of(&entry.retention).quota_bytes;
        let entries = self.state.directory.entries.iter();
        let quotas: BTreeMap<StreamId, Option<u32>> =
            entries.map(|entry| (entry.stream, blocks_of(quota_bytes(entry), block_bytes))).collect();
        let quota = |stream| quotas.get(&stream).copied().flatten();
        let until = until_overwritten(&self.state.rows, |row| guard.covers(row), quota, block_bytes);
        let totals = self.totals();
        let entries = self.state.directory.entries.iter().chain(&self.state.orphans);
        let mut streams: Vec<StreamSummary> = entries
            .filter_map(|entry| {
                let name = StreamName::new(entry.name.as_str()).ok()?;
                let overwritten_in = until.get(&entry.stream).copied().flatten();
                let total = totals.0.get(&entry.stream).copied().unwrap_or_default();
                Some(StreamSummary { overwritten_in, ..summary(entry, name, &total) })
            })
            .collect();
        streams.sort_by(|a, b| a.name.cmp(&b.name));
        streams
    }

    /// What each stream has that is given. Rows are added up page by page, but for those of which something is past its age.
    fn totals(&self) -> Totals {
        let streams =
            self.state.directory.entries.iter().chain(&self.state.orphans).map(|entry| entry.stream);
        let pasts: BTreeMap<StreamId, _> =
            streams.filter_map(|stream| Some((stream, self.past(stream)?))).collect();
        let mut totals = Totals::default();
        for (_, page) in self.state.rows.pages() {
            let reached =
                |row: &Row| row.is_live() && pasts.get(&row.stream).is_some_and(|past| past.reaches_in(row));
            if pasts.is_empty() || !page.rows().iter().any(reached) {
                totals.join(page.totals());
                continue;
            }
            for row in page.rows().iter().filter(|row| row.is_live()) {
                match pasts.get(&row.stream) {
                    Some(past) => totals.add(&past.row(row.clone())),
                    None => totals.add(row),
                }
            }
        }
        totals
    }

    /// The stream of this name.
    ///
    /// # Errors
    /// [`Error::NoSuchStream`], which names those there are.
    pub fn stream(&self, name: &StreamName) -> Result<StreamSummary> {
        let streams = self.streams();
        streams.iter().find(|stream| stream.name == *name).cloned().ok_or_else(|| {
            let names: Vec<&str> = streams.iter().map(|stream| stream.name.as_str()).collect();
            let available = if names.is_empty() { "none yet".to_owned() } else { names.join(", ") };
            Error::NoSuchStream { name: name.clone(), available }
        })
    }
}

fn summary(entry: &DirectoryEntry, name: StreamName, total: &Total) -> StreamSummary {
    StreamSummary {
        id: entry.stream,
        name,
        created: entry.created,
        retention: Retention::of(&entry.retention),
        first: total.wall.map(|(first, _)| first),
        last: total.wall.map(|(_, last)| last),
        blocks: total.blocks,
        samples: total.samples,
        payload_bytes: total.payload_bytes,
        used_bytes: total.used_bytes,
        overwritten_in: None,
    }
}
