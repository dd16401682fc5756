//! Reading ahead: what a reader will want next is read on a thread of its own, while the reader works on what it has.
//!
//! States: chunks are *ordered*, in the order in which they will be wanted; the thread reads them in that order and hands each over;
//! the reader *takes* them. What is taken out of turn passes over those before it.
//!
//! How far it reads ahead follows the reader's rate: whenever the reader has to wait for a chunk, it is twice as far from then on, up to
//! [`WINDOW_MAX`]. A slow reader stays at [`WINDOW_MIN`].
//!
//! Failure cases: a thread that cannot be started, or ended, gives nothing, and the reader reads for itself. What cannot be read, or does
//! not verify, is not given either: the reader finds out why. A disk that hangs keeps the thread, and the reader, until it answers.
//! Dropping ends the thread behind what it reads at the moment.

use super::kept::{ChunkAt, ChunkSource, LoadedChunk};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};

/// How many bytes are read ahead, at first and at most.
const WINDOW_MIN: usize = 512 << 10;
const WINDOW_MAX: usize = 2 << 20;
/// How much is read at once, at most, but for a chunk that is larger.
const TOGETHER_BYTES_MAX: u32 = 1 << 20;
/// And how many chunks.
const TOGETHER_MAX: usize = 64;

/// Chunks on their way.
pub(super) struct Ahead {
    orders: Sender<Vec<ChunkAt>>,
    /// One for each that was ordered, in order.
    read: Receiver<Option<Arc<LoadedChunk>>>,
    /// Not taken yet.
    ordered: VecDeque<ChunkAt>,
    bytes: usize,
    window: usize,
}

impl Ahead {
    /// `None` if no thread can be started.
    pub(super) fn begin(source: ChunkSource) -> Option<Ahead> {
        let (orders, ordered) = channel();
        let (reading, read) = channel();
        let run = move || read_in_order(&source, &ordered, &reading);
        std::thread::Builder::new().name("keha-ahead".into()).spawn(run).ok()?;
        Some(Ahead { orders, read, ordered: VecDeque::new(), bytes: 0, window: WINDOW_MIN })
    }

    /// How many more bytes are to be ordered; nothing while enough are under way.
    pub(super) fn room(&self) -> usize {
        if self.bytes > self.window / 2 { 0 } else { self.window - self.bytes }
    }

    /// The last chunk that was ordered and not taken.
    pub(super) fn last(&self) -> Option<&ChunkAt> {
        self.ordered.back()
    }

    /// Has chunks read behind all others.
    pub(super) fn order(&mut self, chunks: Vec<ChunkAt>) {
        if self.orders.send(chunks.clone()).is_ok() {
            self.bytes += chunks.iter().map(|at| at.bytes as usize).sum::<usize>();
            self.ordered.extend(chunks);
        }
    }

    /// A chunk that was ordered, once it is read. All before it are passed over. `None` if it was not ordered, or is not whole.
    pub(super) fn take(&mut self, wanted: &ChunkAt) -> Option<Arc<LoadedChunk>> {
        if !self.ordered.contains(wanted) {
            return None;
        }
        while let Some(at) = self.ordered.pop_front() {
            self.bytes = self.bytes.saturating_sub(at.bytes as usize);
            let chunk = self.next()?;
            if at == *wanted {
                return chunk;
            }
        }
        None
    }

    fn next(&mut self) -> Option<Option<Arc<LoadedChunk>>> {
        match self.read.try_recv() {
            Ok(chunk) => Some(chunk),
            Err(TryRecvError::Empty) => {
                self.window = (self.window * 2).min(WINDOW_MAX);
                self.read.recv().ok()
            }
            Err(TryRecvError::Disconnected) => None,
        }
    }
}

fn read_in_order(
    source: &ChunkSource,
    orders: &Receiver<Vec<ChunkAt>>,
    read: &Sender<Option<Arc<LoadedChunk>>>,
) {
    while let Ok(mut chunks) = orders.recv() {
        chunks.extend(orders.try_iter().flatten());
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
    let mut bytes = chunks.first().map_or(0, |first| first.bytes);
    let follows = |(before, next): (&ChunkAt, &ChunkAt)| {
        bytes = bytes.saturating_add(next.bytes);
        before.take == next.take
            && before.end() == next.offset
            && bytes <= TOGETHER_BYTES_MAX
            && source.kept(next).is_none()
    };
    let pairs = chunks.iter().zip(chunks.iter().skip(1)).take(TOGETHER_MAX - 1);
    1 + pairs.map(follows).take_while(|follows| *follows).count()
}
