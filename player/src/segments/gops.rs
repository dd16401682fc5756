//! From outlines to groups of pictures: where each begins and ends, and whether it goes on where the one before it ended. Pure.
//!
//! A group is *open* until the next sync sample, or the end of its stretch, is met. One that is closed *waits* until what stands behind its
//! end is known too (see [`LOOK_NS`]); then it is *ready*.

use super::{LAST_PICTURE_NS, LOOK_NS, interrupts};
use crate::timeline::PAUSE_NS;
use keha_fs::{
    BlockIndex, BlockOutline, ConfigurationHash, Gap, OutlineChunk, OutlineKind, OutlineSync, RunId,
    Sequence, StreamRow, TrackNumber, WallTime,
};

/// A group of pictures; in a stream without video, a chunk of sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gop {
    pub run: RunId,
    pub configuration: ConfigurationHash,
    pub from: WallTime,
    /// The next sync sample, or a moment behind the last sample of the stretch.
    pub to: WallTime,
    /// About how many bytes it has on the disk.
    pub bytes: u64,
    /// The block in which it begins, and the block's take.
    pub block: (BlockIndex, Sequence),
    /// It goes on where the one before it ended.
    pub joins: bool,
    /// It is known that its stretch begins with it.
    pub begins: bool,
    /// Its stretch ends with it.
    pub last: bool,
}

/// Finds groups in the blocks of a stream, given in the order of recording.
#[derive(Debug, Default)]
pub(crate) struct Gops {
    stretch: Option<Stretch>,
    /// What comes next goes on from nothing. Not known where reading began, or begins again.
    broken: bool,
    open: Option<Gop>,
    waiting: Vec<Gop>,
    ready: Vec<Gop>,
}

/// Chunks that follow each other without anything between.
#[derive(Debug)]
struct Stretch {
    run: RunId,
    configuration: ConfigurationHash,
    /// The track whose sync samples count.
    track: TrackNumber,
    reached: WallTime,
    /// Whether it is known to begin here.
    begins: bool,
    /// Whether a group of it was closed.
    begun: bool,
}

impl Gops {
    /// Takes a block.
    pub(crate) fn block(&mut self, row: &StreamRow, outline: &BlockOutline) {
        let mut syncs = &outline.syncs[..];
        for (index, chunk) in (0..).zip(&outline.chunks) {
            let behind = syncs.partition_point(|sync| sync.chunk < index);
            let (_, rest) = syncs.split_at(behind);
            let (mine, rest) = rest.split_at(rest.partition_point(|sync| sync.chunk == index));
            syncs = rest;
            match &chunk.kind {
                OutlineKind::Media => {
                    self.media((row.block, row.sequence), chunk, mine, || leading(outline, chunk));
                }
                OutlineKind::Erased | OutlineKind::Expired => self.end_stretch(),
                OutlineKind::Gap(gap) if self.is_interrupted_by(gap) => self.end_stretch(),
                _ => {}
            }
        }
    }

    fn media(
        &mut self,
        block: (BlockIndex, Sequence),
        chunk: &OutlineChunk,
        syncs: &[OutlineSync],
        leading: impl Fn() -> Option<TrackNumber>,
    ) {
        let lower = |track: TrackNumber| syncs.iter().any(|sync| sync.track < track);
        let goes_on = |stretch: &Stretch| {
            (stretch.run, stretch.configuration) == (chunk.run, chunk.configuration)
                && !lower(stretch.track)
                && chunk.from.since_ns(stretch.reached) <= PAUSE_NS
        };
        if !self.stretch.as_ref().is_some_and(goes_on) {
            if self.stretch.is_some() {
                self.end_stretch();
            }
            // What comes before the first sync sample cannot be decoded.
            let here = |track: &TrackNumber| syncs.iter().any(|sync| sync.track == *track);
            let Some(track) = leading().filter(here) else { return };
            let (run, configuration) = (chunk.run, chunk.configuration);
            let begins = std::mem::take(&mut self.broken);
            self.stretch =
                Some(Stretch { run, configuration, track, reached: chunk.from, begins, begun: false });
        }
        let Some(track) = self.stretch.as_ref().map(|stretch| stretch.track) else { return };
        let mut counted = 0;
        for sync in syncs.iter().filter(|sync| sync.track == track) {
            if self.open.is_some_and(|open| sync.wall <= open.from) {
                continue;
            }
            let before = share(chunk, sync.wall).max(counted);
            self.add_bytes(before - counted);
            counted = before;
            self.close(sync.wall, false);
            self.open = Some(Gop {
                run: chunk.run,
                configuration: chunk.configuration,
                from: sync.wall,
                to: sync.wall,
                bytes: 0,
                block,
                joins: false,
                begins: false,
                last: false,
            });
        }
        self.add_bytes(u64::from(chunk.bytes).saturating_sub(counted));
        if let Some(stretch) = &mut self.stretch {
            stretch.reached = stretch.reached.max(chunk.to);
            let settled = |gop: &Gop| gop.to.plus_ns(LOOK_NS) <= stretch.reached;
            let count = self.waiting.partition_point(settled);
            self.ready.extend(self.waiting.drain(..count));
        }
    }

    fn is_interrupted_by(&self, gap: &Gap) -> bool {
        self.stretch.as_ref().is_some_and(|stretch| interrupts(gap, stretch.reached))
    }

    fn add_bytes(&mut self, bytes: u64) {
        if let Some(open) = &mut self.open {
            open.bytes = open.bytes.saturating_add(bytes);
        }
    }

    fn close(&mut self, to: WallTime, last: bool) {
        let (Some(open), Some(stretch)) = (self.open.take(), &mut self.stretch) else { return };
        let begins = stretch.begins && !stretch.begun;
        self.waiting.push(Gop { to, last, begins, joins: stretch.begun, ..open });
        stretch.begun = true;
    }

    /// What comes next does not go on where the last samples ended.
    pub(crate) fn end_stretch(&mut self) {
        if let Some(reached) = self.stretch.as_ref().map(|stretch| stretch.reached) {
            let from = self.open.map_or(reached, |open| open.from);
            self.close(reached.max(from).plus_ns(LAST_PICTURE_NS), true);
        }
        self.ready.append(&mut self.waiting);
        self.stretch = None;
        self.broken = true;
    }

    /// What comes next is not known: what is not ready never will be.
    pub(crate) fn abandon(&mut self) {
        *self = Gops { ready: std::mem::take(&mut self.ready), ..Gops::default() };
    }

    /// Whether a group that begins before a moment is not ready.
    pub(crate) fn wants_more(&self, to: Option<WallTime>) -> bool {
        let mut unready = self.open.iter().chain(&self.waiting);
        unready.any(|gop| to.is_none_or(|to| gop.from < to))
    }

    /// The groups that are ready, in the order of recording.
    pub(crate) fn take_ready(&mut self) -> std::vec::Drain<'_, Gop> {
        self.ready.drain(..)
    }
}

/// The track that leads where a chunk of a block belongs: the lowest with a sync sample, as [`super::tracks::choose`] has it.
fn leading(outline: &BlockOutline, chunk: &OutlineChunk) -> Option<TrackNumber> {
    let mine = |sync: &&OutlineSync| {
        let of = usize::try_from(sync.chunk).ok().and_then(|index| outline.chunks.get(index));
        of.is_some_and(|of| (of.run, of.configuration) == (chunk.run, chunk.configuration))
    };
    outline.syncs.iter().filter(mine).map(|sync| sync.track).min()
}

/// How many of a chunk's bytes stand before a moment, if they are spread evenly.
fn share(chunk: &OutlineChunk, wall: WallTime) -> u64 {
    let (whole, before) = (chunk.to.since_ns(chunk.from).max(1), wall.since_ns(chunk.from).max(0));
    let share = u128::from(chunk.bytes) * before.unsigned_abs() as u128 / whole.unsigned_abs() as u128;
    u64::try_from(share).unwrap_or(u64::MAX).min(u64::from(chunk.bytes))
}
