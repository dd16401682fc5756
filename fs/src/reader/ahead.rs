//! Reading ahead: what a reader will want next is read on threads of its own, while the reader works on what it has.
//!
//! States: chunks are *ordered*, in the order in which they will be wanted, in parts that are read at once; the threads (*lanes*) read
//! the parts in turn and hand each chunk over, verified; the reader *takes* them. What is taken out of turn passes over those before it.
//!
//! How far it reads ahead follows the reader's rate: whenever the reader has to wait for a chunk, it is twice as far from then on, from
//! [`WINDOW_MIN`] up to [`WINDOW_MAX`], and the parts are twice as large: a disk gives its speed to large requests. With the first such
//! time comes a second lane, so that the disk reads while the first verifies. A slow reader stays at [`WINDOW_MIN`] and one lane. All
//! readers of a volume together go no further than [`ALL_WINDOWS_MAX`] beyond what each has at least.
//!
//! Failure cases: a thread that cannot be started, or ended, gives nothing, and the reader reads for itself. What cannot be read, or does
//! not verify, is not given either: the reader finds out why. A disk that hangs keeps the threads, and the reader, until it answers.
//! Dropping ends the threads behind what they read at the moment.

use super::kept::{ChunkAt, ChunkSource, LoadedChunk};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};

/// How many bytes are read ahead, at first and at most.
const WINDOW_MIN: usize = 512 << 10;
const WINDOW_MAX: usize = 8 << 20;
/// How much further than at first all readers of a volume may read ahead, in bytes.
const ALL_WINDOWS_MAX: usize = 64 << 20;
/// Of so many parts is what is read ahead: each is read at once where it lies in one piece.
const PARTS: usize = 4;
/// How many threads read for one reader that is fast.
const LANES_MAX: usize = 2;
/// How many chunks are read at once, at most.
const TOGETHER_MAX: usize = 256;

/// By how much the readers of a volume read further ahead than at first.
#[derive(Debug, Default)]
pub(super) struct AllWindows(AtomicUsize);

impl AllWindows {
    /// Whether there is room for so much more.
    fn take(&self, bytes: usize) -> bool {
        let more = |all: usize| all.checked_add(bytes).filter(|all| *all <= ALL_WINDOWS_MAX);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    fn give_back(&self, bytes: usize) {
        self.0.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Chunks on their way.
pub(super) struct Ahead {
    source: ChunkSource,
    lanes: Vec<Lane>,
    /// Not taken yet, and which lane reads each.
    ordered: VecDeque<(ChunkAt, usize)>,
    bytes: usize,
    window: usize,
    all: Arc<AllWindows>,
    /// Which lane reads the next part.
    turn: usize,
}

/// A thread that reads, in the order in which it is told.
struct Lane {
    orders: Sender<Vec<ChunkAt>>,
    /// One for each that was ordered, in order.
    read: Receiver<Option<Arc<LoadedChunk>>>,
}

impl Lane {
    /// `None` if no thread can be started.
    fn begin(source: &ChunkSource) -> Option<Lane> {
        let (orders, ordered) = channel();
        let (reading, read) = channel();
        let source = source.clone();
        let run = move || read_in_order(&source, &ordered, &reading);
        std::thread::Builder::new().name("keha-ahead".into()).spawn(run).ok()?;
        Some(Lane { orders, read })
    }
}

impl Ahead {
    /// `None` if no thread can be started.
    pub(super) fn begin(source: ChunkSource, all: Arc<AllWindows>) -> Option<Ahead> {
        let lanes = vec![Lane::begin(&source)?];
        Some(Ahead { source, lanes, ordered: VecDeque::new(), bytes: 0, window: WINDOW_MIN, all, turn: 0 })
    }

    /// How many more bytes are to be ordered; nothing while there is no room for a whole part.
    pub(super) fn room(&self) -> usize {
        let room = self.window.saturating_sub(self.bytes);
        if room < self.part_bytes() { 0 } else { room }
    }

    fn part_bytes(&self) -> usize {
        self.window / PARTS
    }

    /// The last chunk that was ordered and not taken.
    pub(super) fn last(&self) -> Option<&ChunkAt> {
        self.ordered.back().map(|(at, _)| at)
    }

    /// Has chunks read behind all others: the first of them, or as many as whole parts have room for.
    pub(super) fn order(&mut self, chunks: Vec<ChunkAt>) {
        let mut part = Vec::new();
        let (mut bytes, part_bytes, mut whole) = (0, self.part_bytes(), 0);
        for at in chunks {
            if bytes > 0 && bytes + at.bytes as usize > part_bytes {
                self.order_part(std::mem::take(&mut part));
                (bytes, whole) = (0, whole + 1);
            }
            bytes += at.bytes as usize;
            part.push(at);
        }
        // What is left of whole parts is ordered with what follows it.
        if whole == 0 {
            self.order_part(part);
        }
    }

    fn order_part(&mut self, part: Vec<ChunkAt>) {
        let number = self.turn % self.lanes.len();
        self.turn += 1;
        let Some(lane) = self.lanes.get(number).filter(|_| !part.is_empty()) else { return };
        if lane.orders.send(part.clone()).is_ok() {
            self.bytes += part.iter().map(|at| at.bytes as usize).sum::<usize>();
            self.ordered.extend(part.into_iter().map(|at| (at, number)));
        }
    }

    /// A chunk that was ordered, once it is read. All before it are passed over. `None` if it was not ordered, or is not whole.
    pub(super) fn take(&mut self, wanted: &ChunkAt) -> Option<Arc<LoadedChunk>> {
        if !self.ordered.iter().any(|(at, _)| at == wanted) {
            return None;
        }
        while let Some((at, lane)) = self.ordered.pop_front() {
            self.bytes = self.bytes.saturating_sub(at.bytes as usize);
            let chunk = self.next(lane)?;
            if at == *wanted {
                return chunk;
            }
        }
        None
    }

    fn next(&mut self, lane: usize) -> Option<Option<Arc<LoadedChunk>>> {
        match self.lanes.get(lane)?.read.try_recv() {
            Ok(chunk) => Some(chunk),
            Err(TryRecvError::Empty) => {
                self.grow();
                self.lanes.get(lane)?.read.recv().ok()
            }
            Err(TryRecvError::Disconnected) => None,
        }
    }

    /// The reader is faster than what is read ahead.
    fn grow(&mut self) {
        if self.window < WINDOW_MAX && self.all.take(self.window) {
            self.window *= 2;
        }
        if self.lanes.len() < LANES_MAX && self.window > WINDOW_MIN {
            self.lanes.extend(Lane::begin(&self.source));
        }
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.all.give_back(self.window - WINDOW_MIN);
    }
}

fn read_in_order(
    source: &ChunkSource,
    orders: &Receiver<Vec<ChunkAt>>,
    read: &Sender<Option<Arc<LoadedChunk>>>,
) {
    while let Ok(chunks) = orders.recv() {
        let mut rest = &chunks[..];
        while let Some(first) = rest.first() {
            if let Some(kept) = source.kept(first) {
                rest = rest.get(1..).unwrap_or_default();
                if read.send(Some(kept)).is_err() {
                    return;
                }
                continue;
            }
            let (now, later) = rest.split_at(together(source, rest));
            rest = later;
            for chunk in source.read_together(now) {
                if read.send(chunk).is_err() {
                    return;
                }
            }
        }
    }
}

/// How many of these are read at once: they follow each other on the disk, and none but the first may be kept.
fn together(source: &ChunkSource, chunks: &[ChunkAt]) -> usize {
    let follows = |(before, next): (&ChunkAt, &ChunkAt)| {
        before.take == next.take && before.end() == next.offset && source.kept(next).is_none()
    };
    let pairs = chunks.iter().zip(chunks.iter().skip(1)).take(TOGETHER_MAX - 1);
    1 + pairs.map(follows).take_while(|follows| *follows).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_readers_together_read_ahead_no_further_than_is_allowed() {
        let all = Arc::new(AllWindows::default());
        let taken = (0..100).filter(|_| all.take(1 << 20)).count();
        assert_eq!(taken << 20, ALL_WINDOWS_MAX);
        all.give_back(1 << 20);
        assert!(all.take(1 << 20) && !all.take(1));
    }
}
