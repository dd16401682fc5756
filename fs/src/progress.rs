//! What a block holds so far, summed up chunk by chunk: the same for the writer that places them and for the scan that
//! finds them again.

use crate::format::Zero;
use crate::format::chunk::{ChunkHeader, ChunkKind, Tables, VOUCHED};
use crate::format::footer::{ChunkPlace, Footer, SyncPlace};
use crate::format::table::{CLOCKED, PART_VOID, Row, TIMES_NOT_MONOTONE};
use crate::report::BlockState;
use crate::sample::SampleFlags;
use crate::scan::Take;
use crate::types::{ConfigurationHash, RunId, WallTime};

/// A block's row and footer as they grow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Its row.
    pub(crate) row: Row,
    /// Its footer.
    pub(crate) footer: Footer,
    /// The last configuration that stands in it.
    pub(crate) configuration: Option<ConfigurationHash>,
    last_run: Option<RunId>,
    /// The moments of what was overwritten in it.
    void: Option<(WallTime, WallTime)>,
}

impl Progress {
    /// A block that was just taken: only its header page is written.
    pub(crate) fn new(take: &Take, page_bytes: usize) -> Progress {
        let row = Row {
            state: BlockState::Open,
            stream: take.stream,
            sequence: take.sequence,
            rank: take.sequence,
            used_bytes: page_bytes as u32,
            ..Row::default()
        };
        Progress { row, ..Progress::default() }
    }

    /// Adds the next chunk.
    pub(crate) fn add(&mut self, header: &ChunkHeader, checksum: u32, tables: &Tables) {
        let row = &mut self.row;
        if row.chunks == 0 {
            row.first_chunk = header.number;
        }
        let last = header.last_number();
        row.chunks =
            u32::try_from(last.0.saturating_sub(row.first_chunk.0).saturating_add(1)).unwrap_or(u32::MAX);
        row.last_checksum = checksum;
        row.epoch = header.epoch;
        row.rank = row.rank.max(header.rank);
        row.running_s = row.running_s.max(header.running_s);
        row.used_bytes = header.offset + header.bytes;
        if header.kind == ChunkKind::CONFIGURATION {
            self.configuration = Some(header.configuration);
        }
        if header.kind == ChunkKind::MEDIA {
            self.add_media(header, tables);
        }
        if header.kind.is_void() {
            self.add_void(header);
        }
        self.footer.chunks.push(ChunkPlace {
            offset: header.offset,
            bytes: header.bytes,
            checksum,
            kind: header.kind,
            zero: Zero,
            run: header.run,
            configuration: header.configuration,
            wall_min: header.wall_min,
            wall_max: header.wall_max,
        });
        // Each chunk keeps its place by its number, also where several were overwritten together.
        for _ in 0..header.covers {
            self.footer.chunks.push(ChunkPlace {
                offset: header.offset + header.bytes,
                kind: header.kind,
                run: header.run,
                wall_min: header.wall_min,
                wall_max: header.wall_max,
                ..ChunkPlace::default()
            });
        }
    }

    /// Whether nothing is left of what stood in it.
    pub(crate) fn is_void(&self) -> bool {
        let mut chunks = self.footer.chunks.iter();
        !self.footer.chunks.is_empty() && chunks.all(|place| place.kind.is_void())
    }

    fn add_void(&mut self, header: &ChunkHeader) {
        let (min, max) = self.void.unwrap_or((header.wall_min, header.wall_max));
        let walls = (min.min(header.wall_min), max.max(header.wall_max));
        self.void = Some(walls);
        self.row.flags |= PART_VOID;
        if self.row.payload_bytes == 0 {
            (self.row.wall_min, self.row.wall_max) = walls;
        }
    }

    fn add_media(&mut self, header: &ChunkHeader, tables: &Tables) {
        let row = &mut self.row;
        let chunk = self.footer.chunks.len() as u32;
        for (index, entry) in (0..).zip(&tables.entries) {
            if !entry.flags.contains(SampleFlags::SEEK_POINT) {
                continue;
            }
            let Some((_, wall)) = tables.time_of(index) else { continue };
            if row.sync_samples == 0 {
                row.first_sync = wall;
            }
            row.sync_samples += 1;
            self.footer.syncs.push(SyncPlace { chunk, entry: index, wall, track: entry.track, zero: Zero });
        }
        let first = row.samples == 0 && row.payload_bytes == 0;
        match header.flags & VOUCHED != 0 {
            true if first => row.flags |= CLOCKED,
            true => {}
            false => row.flags &= !CLOCKED,
        }
        if first {
            row.wall_min = header.wall_min;
            row.wall_max = header.wall_max;
        } else {
            if self.last_run != Some(header.run) && header.wall_min < row.wall_max {
                row.flags |= TIMES_NOT_MONOTONE;
            }
            row.wall_min = row.wall_min.min(header.wall_min);
            row.wall_max = row.wall_max.max(header.wall_max);
        }
        row.samples = row.samples.saturating_add(header.samples);
        row.payload_bytes = row.payload_bytes.saturating_add(header.payload_bytes);
        self.last_run = Some(header.run);
    }
}
