//! A chunk while samples are gathered for it. No copy is made here: the pieces are copied once, when it is cut.

use crate::format::Zero;
use crate::format::chunk::{AnchorRecord, Entry, Piece, bytes_padded, bytes_unpadded};
use crate::sample::{Anchor, SampleFlags};
use crate::types::{TrackNumber, WallTime};
use bytes::Bytes;

/// What became of one track in a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TrackEnd {
    /// The track.
    pub(crate) track: TrackNumber,
    /// Samples that end in the chunk.
    pub(crate) samples: u64,
    /// The last one's ticks.
    pub(crate) ticks: i64,
    /// The last one's wall time.
    pub(crate) wall: WallTime,
}

/// Part of a sample: all of it, or a fragment.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    /// The track.
    pub(crate) track: TrackNumber,
    /// The sample's ticks.
    pub(crate) ticks: i64,
    /// The sample's flags with fragment marks.
    pub(crate) flags: SampleFlags,
    /// Its bytes.
    pub(crate) data: Vec<Bytes>,
    /// Their number.
    pub(crate) bytes: usize,
    /// Whether the sample ends with this part.
    pub(crate) last: bool,
}

/// A chunk in the making.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    pub(crate) pieces: Vec<Piece>,
    pub(crate) anchors: Vec<AnchorRecord>,
    pub(crate) payload: usize,
    pub(crate) samples: u32,
    pub(crate) sync_samples: u32,
    pub(crate) wall: Option<(WallTime, WallTime)>,
    pub(crate) ends: Vec<TrackEnd>,
}

impl Draft {
    pub(crate) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// The record of this anchor, if it is what the track's next entry counts from.
    fn in_force(&self, anchor: &Anchor) -> Option<&AnchorRecord> {
        let record = self.anchors.iter().rfind(|record| record.track == anchor.track);
        record.filter(|record| record.anchor() == *anchor)
    }

    /// Whether a part fits when the chunk may have `limit` bytes. `anchor` is its track's.
    pub(crate) fn fits(&self, part: &Part, anchor: &Anchor, limit: usize, page_bytes: usize) -> bool {
        let record = self.in_force(anchor);
        let in_reach =
            record.is_none_or(|record| i32::try_from(part.ticks.saturating_sub(record.base)).is_ok());
        let anchors = self.anchors.len() + usize::from(record.is_none());
        in_reach
            && bytes_padded(anchors, self.pieces.len() + 1, self.payload + part.bytes, page_bytes) <= limit
    }

    /// The bytes of the chunk that it makes as it is.
    pub(crate) fn bytes(&self, page_bytes: usize) -> usize {
        bytes_padded(self.anchors.len(), self.pieces.len(), self.payload, page_bytes)
    }

    /// How many payload bytes an empty chunk of `limit` bytes takes in one part.
    pub(crate) fn capacity(limit: usize) -> usize {
        limit.saturating_sub(bytes_unpadded(1, 1, 0))
    }

    /// Adds a part that fits. `anchor` is its track's.
    pub(crate) fn add(&mut self, part: Part, anchor: &Anchor) {
        let base = match self.in_force(anchor) {
            Some(record) => record.base,
            None => {
                self.anchors.push(AnchorRecord::new(anchor, part.ticks, self.pieces.len() as u32));
                part.ticks
            }
        };
        let delta = i32::try_from(part.ticks.saturating_sub(base)).unwrap_or_default();
        let wall = anchor.wall_of(part.ticks);
        self.wall = Some(self.wall.map_or((wall, wall), |(min, max)| (min.min(wall), max.max(wall))));
        self.payload += part.bytes;
        self.sync_samples += u32::from(part.flags.contains(SampleFlags::SEEK_POINT));
        if part.last {
            self.samples += 1;
            self.count(part.track, part.ticks, wall);
        }
        let entry = Entry { delta, flags: part.flags, track: part.track, zero: Zero, ..Entry::default() };
        self.pieces.push(Piece { entry, data: part.data });
    }

    fn count(&mut self, track: TrackNumber, ticks: i64, wall: WallTime) {
        match self.ends.iter_mut().find(|end| end.track == track) {
            Some(end) => *end = TrackEnd { samples: end.samples + 1, ticks, wall, ..*end },
            None => self.ends.push(TrackEnd { track, samples: 1, ticks, wall }),
        }
    }
}
