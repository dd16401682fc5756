//! What was written and is not yet safe: every write since the last good flush, kept so that the same bytes can be written
//! to the same places again. Each completion is judged by itself; nothing depends on their order.

use crate::disk::{AlignedBuffer, Completion, Disk, Operation, Slabs, Token};
use crate::format::SECTOR_BYTES;
use crate::types::{BlockIndex, ChunkNumber};
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long one look at the disk may take; waiting goes on in a loop.
const LOOK: Duration = Duration::from_millis(100);

/// What a write is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A block's header page.
    Header(BlockIndex),
    /// A chunk of a stream (by its place among the streams).
    Chunk(usize, BlockIndex, ChunkNumber),
    /// A block's footer and trailer.
    Footer(BlockIndex),
    /// Zeros over a block, or a header in place of what stood there.
    Void(BlockIndex),
    /// A unit of the table: as many sectors as the disk writes at once, counted from the table's beginning.
    Table(usize),
    /// A copy of a round record.
    Record,
    /// The scrub's place.
    Scrub,
    /// Anything written outside rounds: superblock, directory.
    Metadata,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    InFlight,
    Done,
    Failed,
}

struct Write {
    offset: u64,
    buffer: Arc<AlignedBuffer>,
    purpose: Purpose,
    state: State,
}

/// The disk, with all that is not yet safe on it.
pub(crate) struct Writes<D> {
    disk: D,
    slabs: Slabs,
    writes: BTreeMap<u64, Write>,
    tokens: HashMap<Token, u64>,
    next: u64,
    flush_result: Option<io::Result<()>>,
    /// A flush failed and not everything has been written again since.
    doubted: bool,
    last_error: Option<io::Error>,
    written_bytes: u64,
    written: u64,
    /// Counts completions, for who waits from outside.
    progress: Arc<AtomicU64>,
}

impl<D: Disk> Writes<D> {
    pub(crate) fn new(disk: D) -> Writes<D> {
        Writes {
            disk,
            slabs: Slabs::default(),
            writes: BTreeMap::new(),
            tokens: HashMap::new(),
            next: 0,
            flush_result: None,
            doubted: false,
            last_error: None,
            written_bytes: 0,
            written: 0,
            progress: Arc::default(),
        }
    }

    /// A zeroed buffer.
    pub(crate) fn buffer(&mut self, bytes: usize) -> AlignedBuffer {
        self.slabs.take(bytes)
    }

    /// A buffer for who writes every byte of it.
    pub(crate) fn stale_buffer(&mut self, bytes: usize) -> AlignedBuffer {
        self.slabs.take_stale(bytes)
    }

    /// The unit of the disk in bytes.
    pub(crate) fn alignment_bytes(&self) -> usize {
        self.disk.alignment_bytes() as usize
    }

    /// The table's sectors that are written at once with this unit of it.
    pub(crate) fn sectors_of_unit(&self, unit: usize) -> Range<usize> {
        let per_unit = self.alignment_bytes() / SECTOR_BYTES;
        unit * per_unit..(unit + 1) * per_unit
    }

    /// Bytes written since the volume was opened.
    pub(crate) fn written_bytes(&self) -> u64 {
        self.written_bytes
    }

    /// In so many writes.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// A count that grows with every completion: where it stands still, the disk does not answer.
    pub(crate) fn progress(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.progress)
    }

    /// The last error of the disk.
    pub(crate) fn last_error(&self) -> Option<&io::Error> {
        self.last_error.as_ref()
    }

    /// Starts a write.
    pub(crate) fn submit(&mut self, offset: u64, buffer: Arc<AlignedBuffer>, purpose: Purpose) {
        self.next += 1;
        let write = Write { offset, buffer, purpose, state: State::InFlight };
        self.start(self.next, &write);
        self.writes.insert(self.next, write);
    }

    fn start(&mut self, id: u64, write: &Write) {
        let len = write.buffer.len();
        self.written_bytes += len as u64;
        self.written += 1;
        let operation = Operation::Write { offset: write.offset, buffer: Arc::clone(&write.buffer), len };
        self.tokens.insert(self.disk.submit(operation), id);
    }

    /// Judges what has completed, without waiting.
    pub(crate) fn collect(&mut self) {
        while let Some(completion) = self.disk.poll(Duration::ZERO) {
            self.judge(completion);
        }
    }

    /// Waits until nothing is in flight.
    pub(crate) fn wait(&mut self) {
        while self.disk.in_flight() > 0 {
            if let Some(completion) = self.disk.poll(LOOK) {
                self.judge(completion);
            }
        }
    }

    fn judge(&mut self, completion: Completion) {
        self.progress.fetch_add(1, Ordering::Relaxed);
        let Some(id) = self.tokens.remove(&completion.token) else {
            self.flush_result = Some(completion.result);
            return;
        };
        let Some(write) = self.writes.get_mut(&id) else { return };
        match completion.result {
            Ok(()) => write.state = State::Done,
            Err(_) if planted!(WriteErrorIgnored) => write.state = State::Done,
            Err(error) => {
                tracing::warn!(offset = write.offset, bytes = write.buffer.len(), what = ?write.purpose, %error, "a write failed");
                write.state = State::Failed;
                self.last_error = Some(error);
            }
        }
    }

    /// What failed and for what it was.
    pub(crate) fn failed(&self) -> Vec<Purpose> {
        self.writes.values().filter(|write| write.state == State::Failed).map(|write| write.purpose).collect()
    }

    /// Whether a write for this succeeded.
    pub(crate) fn any_done_for(&self, purpose: Purpose) -> bool {
        self.writes.values().any(|write| write.state == State::Done && write.purpose == purpose)
    }

    /// Forgets the writes for which `unwanted` holds; none of them is in flight.
    pub(crate) fn forget(&mut self, unwanted: impl Fn(Purpose) -> bool) {
        self.writes.retain(|_, write| write.state == State::InFlight || !unwanted(write.purpose));
    }

    /// Forgets what failed.
    pub(crate) fn forget_failed(&mut self) {
        self.writes.retain(|_, write| write.state != State::Failed);
    }

    /// Writes what failed again: the same bytes to the same places; and with it everything for `probe`, so that a success of
    /// that kind says afterwards that the disk writes elsewhere now, not that it did so before it failed.
    pub(crate) fn retry_failed(&mut self, probe: Purpose) {
        self.restart(|write| write.state == State::Failed || write.purpose == probe);
    }

    fn restart(&mut self, which: impl Fn(&Write) -> bool) {
        let ids: Vec<u64> = self.writes.iter().filter(|(_, write)| which(write)).map(|(id, _)| *id).collect();
        for id in ids {
            if let Some(mut write) = self.writes.remove(&id) {
                write.state = State::InFlight;
                self.start(id, &write);
                self.writes.insert(id, write);
            }
        }
        self.wait();
    }

    /// Flushes; nothing is in flight. After a failed flush nothing since the last good one is trusted: it is all written
    /// again before the next flush, which is tried at once, then whenever this is called.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        if !self.doubted && self.flush_once().is_ok() {
            return Ok(());
        }
        tracing::warn!("a flush failed; everything since the last good one is written again");
        self.doubted = !planted!(DoubtForgotten);
        if !planted!(FlushRetriedBare) {
            self.restart(|_| true);
        }
        if self.writes.values().any(|write| write.state == State::Failed) {
            return Err(self
                .last_error
                .as_ref()
                .map_or_else(|| io::Error::other("a write failed"), copy_error));
        }
        self.flush_once()?;
        self.doubted = false;
        Ok(())
    }

    /// Flushes, and is done with it: for who has let go of what was written before, which nobody could write again.
    pub(crate) fn flush_once(&mut self) -> io::Result<()> {
        if planted!(FlushSkipped) {
            return Ok(());
        }
        self.flush_result = None;
        self.disk.submit(Operation::Flush);
        self.wait();
        let result =
            self.flush_result.take().unwrap_or_else(|| Err(io::Error::other("the flush never completed")));
        if let Err(error) = &result {
            self.last_error = Some(copy_error(error));
        }
        result
    }

    /// The last flush was good: what it covers is safe.
    pub(crate) fn settle(&mut self) {
        self.slabs.trim();
        self.writes.clear();
    }
}

/// The same error once more.
pub(crate) fn copy_error(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}
