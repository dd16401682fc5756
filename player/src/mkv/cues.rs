//! The index: where each video sync sample stands (RFC 9559, section 5.1.5).
//!
//! Written by hand with fixed widths, so that a day of many cameras needs 32 bytes an entry and no tree of elements.

use crate::mkv::ebml;
use crate::mkv::sink::Sink;
use std::io;

const CUE_POINT: u32 = 0xBB;
const CUE_TIME: u32 = 0xB3;
const CUE_TRACK_POSITIONS: u32 = 0xB7;
const CUE_TRACK: u32 = 0xF7;
const CUE_CLUSTER_POSITION: u32 = 0xF1;
const CUE_RELATIVE_POSITION: u32 = 0xF0;

/// Each integer: id, size, 8 bytes.
const INTEGER_BYTES: u64 = 10;
const POSITIONS_BYTES: u64 = 3 * INTEGER_BYTES;
const POINT_BYTES: u64 = INTEGER_BYTES + 2 + POSITIONS_BYTES;

struct Cue {
    ticks: u64,
    track: u64,
    cluster_at: u64,
    relative: u64,
}

/// The cues collected so far.
#[derive(Default)]
pub(crate) struct Cues {
    entries: Vec<Cue>,
}

impl Cues {
    /// Notes a place to seek to: the file position of its cluster, and of its block within the cluster's data.
    pub(crate) fn push(&mut self, ticks: u64, track: u64, cluster_at: u64, relative: u64) {
        self.entries.push(Cue { ticks, track, cluster_at, relative });
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Writes the Cues element. `data_at` is where the segment's data begins in the file.
    pub(crate) fn write(&mut self, data_at: u64, sink: &mut dyn Sink) -> io::Result<()> {
        self.entries.sort_by_key(|cue| (cue.ticks, cue.track));
        let mut out = Vec::with_capacity(64);
        ebml::put_id(&mut out, ebml::CUES);
        ebml::put_size(&mut out, self.entries.len() as u64 * (2 + POINT_BYTES));
        for cue in &self.entries {
            ebml::put_id(&mut out, CUE_POINT);
            ebml::put_size(&mut out, POINT_BYTES);
            ebml::put_u64(&mut out, CUE_TIME, cue.ticks);
            ebml::put_id(&mut out, CUE_TRACK_POSITIONS);
            ebml::put_size(&mut out, POSITIONS_BYTES);
            ebml::put_u64(&mut out, CUE_TRACK, cue.track);
            ebml::put_u64(&mut out, CUE_CLUSTER_POSITION, cue.cluster_at.saturating_sub(data_at));
            ebml::put_u64(&mut out, CUE_RELATIVE_POSITION, cue.relative);
            sink.write(&out)?;
            out.clear();
        }
        sink.write(&out)
    }
}
