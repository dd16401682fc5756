//! What matters of a block's outline, in few words: most blocks come to one stretch of one run. Pure.

use super::PAUSE_NS;
use keha_fs::{BlockOutline, Gap, OutlineKind, RunId, WallTime};
use std::sync::Arc;

/// A block's content in the order of recording.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) parts: Vec<Part>,
    /// Damage hides some of it.
    pub(super) damaged: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Samples.
    Media(Media),
    /// Samples stood here.
    Void { from: WallTime, to: WallTime, expired: bool },
    /// A gap record.
    Record(Arc<Gap>),
}

/// A stretch of one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Media {
    pub(super) run: RunId,
    pub(super) from: WallTime,
    /// Its last sample.
    pub(super) to: WallTime,
    /// The first place in it where decoding can begin.
    pub(super) first_sync: Option<WallTime>,
    /// The last chunk of the block that belongs to it.
    pub(super) last_chunk: u32,
}

impl Shape {
    pub(super) fn of(outline: &BlockOutline) -> Shape {
        let mut syncs = outline.syncs.iter().peekable();
        let mut parts: Vec<Part> = Vec::new();
        for (index, chunk) in (0..).zip(&outline.chunks) {
            while syncs.next_if(|sync| sync.chunk < index).is_some() {}
            let part = match &chunk.kind {
                OutlineKind::Media => Part::Media(Media {
                    run: chunk.run,
                    from: chunk.from,
                    to: chunk.to,
                    first_sync: syncs.peek().filter(|sync| sync.chunk == index).map(|sync| sync.wall),
                    last_chunk: index,
                }),
                OutlineKind::Erased => Part::Void { from: chunk.from, to: chunk.to, expired: false },
                OutlineKind::Expired => Part::Void { from: chunk.from, to: chunk.to, expired: true },
                OutlineKind::Gap(gap) => Part::Record(Arc::new(gap.clone())),
                _ => continue,
            };
            let goes_on = match (parts.last_mut(), &part) {
                (Some(Part::Media(last)), Part::Media(more)) => last.goes_on_with(more),
                (Some(last), Part::Void { .. }) => *last == part,
                _ => false,
            };
            if !goes_on {
                parts.push(part);
            }
        }
        Shape { parts, damaged: outline.damaged }
    }
}

impl Media {
    /// Takes in the next chunk of the same run, where nothing lies between.
    fn goes_on_with(&mut self, more: &Media) -> bool {
        let apart = more.from.since_ns(self.to);
        if self.run != more.run || apart > PAUSE_NS || more.from < self.from {
            return false;
        }
        self.to = self.to.max(more.to);
        self.first_sync = self.first_sync.or(more.first_sync);
        self.last_chunk = more.last_chunk;
        true
    }
}
