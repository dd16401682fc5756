//! Streams whose footage stands while no directory knows them: what they were called is lost, what they recorded is not.
//!
//! They go by `recovered-` and the first eight digits of their identity (all of them where two would be called the same), the
//! same at every opening, until a repair writes them into the directory. Only reading knows them: a writer never admits,
//! renames or names anything because of what is found here.

use super::{Chains, Rows, finding};
use crate::format::Text;
use crate::format::directory::{Directory, DirectoryEntry};
use crate::format::geometry::{Geometry, STREAMS_MAX};
use crate::report::Finding;
use crate::scan::Scanner;
use crate::types::{StreamId, WallTime};
use std::collections::{BTreeMap, BTreeSet};

/// How a stream is called whose name is lost.
pub(crate) const RECOVERED: &str = "recovered-";

/// The streams that have live blocks and stand in no directory, in the order of their first block. `created` is the earliest
/// moment of what is left of them. No more than any volume has room for: only a forged one has more.
pub(crate) fn orphans(rows: &Rows, chains: &Chains, directory: &Directory) -> Vec<DirectoryEntry> {
    let known: BTreeSet<StreamId> = directory.entries.iter().map(|entry| entry.stream).collect();
    let mut first: BTreeMap<StreamId, (u64, WallTime)> = BTreeMap::new();
    for stream in chains.streams().filter(|stream| !known.contains(stream)) {
        let blocks = chains.blocks(stream).filter_map(|block| rows.get(block.0 as usize));
        for row in blocks.filter(|row| row.is_live()) {
            let began = if row.has_samples() { row.wall_min } else { WallTime::MAX };
            let place = first.entry(stream).or_insert((row.sequence.0, began));
            *place = (place.0.min(row.sequence.0), place.1.min(began));
        }
    }
    let mut streams: Vec<_> = first.into_iter().collect();
    streams.sort_by_key(|(stream, (sequence, _))| (*sequence, *stream));
    let mut taken: BTreeSet<String> =
        directory.entries.iter().map(|entry| entry.name.as_str().to_owned()).collect();
    let mut entries = Vec::with_capacity(streams.len());
    streams.truncate(STREAMS_MAX as usize);
    for (stream, (_, created)) in streams {
        let digits = stream.0.simple().to_string();
        let short = format!("{RECOVERED}{}", digits.get(..8).unwrap_or(&digits));
        let name = if taken.contains(&short) { format!("{RECOVERED}{digits}") } else { short };
        taken.insert(name.clone());
        let created = if created == WallTime::MAX { WallTime::default() } else { created };
        let name = Text::new(&name).unwrap_or_default();
        entries.push(DirectoryEntry { stream, created, name, ..DirectoryEntry::default() });
    }
    entries
}

/// The maximum age of each as its newest block says it: what was set since that was taken is lost with the directory.
pub(crate) fn with_ages(
    scanner: &Scanner<'_>,
    rows: &Rows,
    chains: &Chains,
    orphans: Vec<DirectoryEntry>,
) -> Vec<DirectoryEntry> {
    let age = |stream: StreamId| {
        // Of blocks with damaged headers those before them tell.
        let mut headers = chains.blocks(stream).rev().filter_map(|block| {
            let row = rows.get(block.0 as usize)?;
            let header = scanner.block_header(block).ok().flatten();
            header.filter(|header| header.sequence == row.sequence && header.stream == stream)
        });
        headers.next().map_or(0, |header| header.maximum_age_s)
    };
    let with_age = |mut entry: DirectoryEntry| {
        entry.retention.maximum_age_s = age(entry.stream);
        entry
    };
    if planted!(AgeLostWithDirectory) { orphans } else { orphans.into_iter().map(with_age).collect() }
}

/// What is said of them.
pub(super) fn report(orphans: &[DirectoryEntry], geometry: &Geometry, findings: &mut Vec<Finding>) {
    if orphans.is_empty() {
        return;
    }
    let names: Vec<&str> = orphans.iter().take(8).map(|entry| entry.name.as_str()).collect();
    let more = orphans.len() - names.len();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let detail = format!(
        "{} streams with footage stand in no directory; their names are lost, they go by {}{more}",
        orphans.len(),
        names.join(", ")
    );
    findings.push(finding("stream name", geometry.directories_at()[1], detail));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::table::Row;
    use crate::recover::chains::tests::row;
    use crate::types::Uuid;

    #[test]
    fn no_more_streams_are_listed_than_any_volume_has_room_for() {
        let rows: Rows = (0..2 * u64::from(STREAMS_MAX)).map(|n| row(u128::from(n) + 1, n + 1)).collect();
        let found = orphans(&rows, &Chains::of(&rows), &Directory::default());
        assert_eq!(found.len(), STREAMS_MAX as usize);
        assert_eq!(found[0].stream, rows[0].stream);
    }

    #[test]
    fn streams_without_a_name_are_called_by_their_identity_and_never_alike() {
        let known = DirectoryEntry { stream: StreamId(Uuid::from_u128(5)), ..DirectoryEntry::default() };
        let directory = Directory { generation: 1, entries: vec![known] };
        let (one, two) = (0xabcd_ef01 << 96, (0xabcd_ef01 << 96) + 1);
        let rows = [row(two, 9), row(5, 1), row(one, 4), row(two, 8), Row::default()];
        let rows = Rows::from(rows.to_vec());
        let found = orphans(&rows, &Chains::of(&rows), &directory);
        let names: Vec<&str> = found.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(names, ["recovered-abcdef01", "recovered-abcdef01000000000000000000000001"]);
        assert_eq!(found[0].stream.0.as_u128(), one);
    }
}
