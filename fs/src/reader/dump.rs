//! What stands in a block, as text for people.

use super::past::{Past, withhold};
use crate::format::chunk::ChunkKind;
use crate::format::table::Row;
use crate::recover::{Recovered, examine};
use crate::report::BlockDump;
use crate::sample::SampleFlags;
use crate::scan::Scanner;
use crate::types::BlockIndex;

/// A dump of a block.
pub(super) fn dump(scanner: &Scanner<'_>, block: BlockIndex, row: &Row, past: Option<&Past>) -> BlockDump {
    let mut damaged = false;
    let mut out = vec![format!(
        "block {block} at {}: {}, sequence {}, stream {}, chunks {} from {}, {} bytes written",
        scanner.geometry.block_at(block),
        row.state.as_str(),
        row.sequence,
        row.stream,
        row.chunks,
        row.first_chunk,
        row.used_bytes
    )];
    if !row.is_linked() {
        return BlockDump { lines: out, damaged };
    }
    let take = Recovered::take(block, row);
    let mut examined = examine(scanner, &take, row.used_bytes as usize, Some(row.last_chunk().next()));
    withhold(row, &mut examined.progress.footer);
    if let Some(past) = past {
        past.hide_in(row, &mut examined.progress.footer);
    }
    for place in &examined.progress.footer.chunks {
        if place.kind.is_void() {
            if place.bytes > 0 {
                out.push(format!("  +{}: {}, {} bytes", place.offset, void_name(place.kind), place.bytes));
            }
            continue;
        }
        let Some(loaded) = scanner.load_at(&take, place.offset as usize, place.bytes as usize) else {
            damaged = true;
            continue;
        };
        let header = loaded.header();
        let kind = match header.kind {
            ChunkKind::MEDIA => "media",
            ChunkKind::CONFIGURATION => "configuration",
            ChunkKind::EVENT => "event",
            _ => "unknown",
        };
        out.push(format!(
            "  chunk {} +{}: {kind}, {} bytes, epoch {}, run {}, configuration {}",
            header.number, header.offset, header.bytes, header.epoch, header.run, header.configuration
        ));
        if header.kind == ChunkKind::MEDIA {
            let tables = loaded.tables.clone().unwrap_or_default();
            out.extend((0..).zip(loaded.payloads()).map(|(index, payload)| {
                let entry = &payload.entry;
                let (ticks, wall) = tables.time_of(index).unwrap_or_default();
                let sync = if entry.flags.contains(SampleFlags::SYNC) { " sync" } else { "" };
                damaged |= payload.data.is_none();
                let verdict = if payload.data.is_some() { "" } else { " DAMAGED" };
                format!(
                    "    track {} ticks {ticks} wall_ns {} {} bytes{sync}{verdict}",
                    entry.track, wall.0, entry.bytes
                )
            }));
        }
    }
    damaged |= !examined.findings.is_empty();
    out.extend(
        examined
            .findings
            .into_iter()
            .map(|finding| format!("  {}: {} at byte {}", finding.what, finding.detail, finding.at)),
    );
    BlockDump { lines: out, damaged }
}

fn void_name(kind: ChunkKind) -> &'static str {
    if kind == ChunkKind::EXPIRED { "expired" } else { "erased" }
}
