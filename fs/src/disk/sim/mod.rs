//! A disk in memory that behaves as badly as disks do, for proofs.
//!
//! It keeps apart what stands on the medium for certain and what does not, reorders completions, fails, lies,
//! stalls, and can be cut off its power at any I/O event ([`CrashPoint`]). All of it follows from a seed: the
//! same calls give the same history.
//!
//! What must not live here: knowledge of the ring, wall time, threads, or chance from outside.

mod crash;
mod fault;
mod image;
mod pending;
#[cfg(test)]
mod property_tests;
mod rng;
mod state;
#[cfg(test)]
mod tests;

use std::io;
use std::ops::{Deref, Range};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use crash::{CrashPlan, CrashPoint};
pub use fault::{Effect, Errno, Kinds, Repeat};
pub use image::SimImage;
pub use pending::SECTOR_BYTES;
pub use rng::SimRng;
pub use state::SimStats;

use self::state::{State, Timing};
use super::{Completion, Disk, Operation, ReadAt, Token};
use crate::clock::SimClock;

/// The writer's end of a simulated disk. Its controls are those of [`SimControl`].
pub struct SimDisk {
    control: SimControl,
}

impl SimDisk {
    /// A disk of zeros; the size is rounded down to whole sectors.
    pub fn new(size_bytes: usize, seed: u64) -> Self {
        Self::from_image(SimImage::zeroed(size_bytes), seed)
    }

    /// A disk with this content, all of it durable, as it is found after a power cut.
    pub fn from_image(image: impl Into<SimImage>, seed: u64) -> Self {
        Self { control: SimControl(Arc::new(Mutex::new(State::new(image.into(), seed)))) }
    }

    /// A handle for tests that stays when the disk is given away.
    pub fn control(&self) -> SimControl {
        self.control.clone()
    }
}

impl Deref for SimDisk {
    type Target = SimControl;

    fn deref(&self) -> &SimControl {
        &self.control
    }
}

impl Disk for SimDisk {
    fn size_bytes(&self) -> u64 {
        self.lock().size_bytes()
    }

    fn alignment_bytes(&self) -> u32 {
        self.lock().alignment_bytes
    }

    fn submit(&mut self, operation: Operation) -> Token {
        self.lock().submit(operation)
    }

    /// Never blocks: a completion comes at once, or, while the disk is stalled, not at all. The time of a wait in
    /// vain passes on the clock of [`SimControl::set_timing`], if there is one.
    fn poll(&mut self, wait: Duration) -> Option<Completion> {
        self.lock().poll(wait)
    }

    fn in_flight(&self) -> usize {
        self.lock().in_flight()
    }
}

/// A reader beside the writer: sees the current content, also what is written later.
///
/// Each sector of a write in flight shows old or new, tossed anew at each read.
#[derive(Clone)]
pub struct SimReader(SimControl);

impl ReadAt for SimReader {
    fn size_bytes(&self) -> u64 {
        self.0.lock().current().size_bytes()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let mut state = self.0.lock();
        state.reader_strike()?;
        state.bad_read(&(offset..offset.saturating_add(buffer.len() as u64)))?;
        state.read(buffer, offset)
    }
}

/// What tests do to a simulated disk, from any thread and while its owner uses it.
#[derive(Clone)]
pub struct SimControl(Arc<Mutex<State>>);

impl SimControl {
    /// A reader of the current content.
    pub fn reader(&self) -> SimReader {
        SimReader(self.clone())
    }

    /// What a reader sees at this moment, as a copy (writes in flight are not in it).
    pub fn snapshot(&self) -> SimImage {
        self.lock().current().clone()
    }

    /// All that a power cut at this instant could leave.
    pub fn crash_point(&self) -> CrashPoint {
        self.lock().crash_point()
    }

    /// What a power cut at this instant leaves under a plan. The disk itself goes on.
    pub fn crash(&self, plan: CrashPlan) -> SimImage {
        self.crash_point().image(plan)
    }

    /// Sectors that a power cut at this instant may keep or lose.
    pub fn pending_sectors(&self) -> usize {
        self.lock().pending.sector_count()
    }

    /// I/O events so far: each submission and each completion is one.
    pub fn events(&self) -> u64 {
        self.lock().events
    }

    /// Operations submitted so far: the number that the next one will have for faults.
    pub fn submitted(&self) -> u64 {
        self.lock().submitted()
    }

    /// Operations and bytes so far.
    pub fn stats(&self) -> SimStats {
        self.lock().stats
    }

    /// Calls `hook` after every I/O event with the disk as it then is. The hook must not use this disk.
    pub fn on_event(&self, hook: impl FnMut(&CrashPoint) + Send + 'static) {
        self.lock().hook = Some(Box::new(hook));
    }

    /// Ends the calls of [`SimControl::on_event`].
    pub fn off_event(&self) {
        self.lock().hook = None;
    }

    /// Smallest unit of offsets and lengths from now on: a power of two, at least 512 (the default).
    pub fn set_alignment(&self, alignment_bytes: u32) {
        self.lock().alignment_bytes = alignment_bytes.next_power_of_two().max(512);
    }

    /// Completes operations in the order of submission instead of any order.
    pub fn set_in_order(&self, in_order: bool) {
        self.lock().in_order = in_order;
    }

    /// Lets every completion take `latency` on this clock, and every wait in vain as long as it was asked to wait.
    pub fn set_timing(&self, clock: Arc<SimClock>, latency: Duration) {
        self.lock().timing = Some(Timing { clock, latency });
    }

    /// While on, nothing completes.
    pub fn stall(&self, on: bool) {
        self.lock().stalled = on;
    }

    /// In the next so many polls nothing completes.
    pub fn stall_for(&self, polls: usize) {
        self.lock().stalled_polls = polls;
    }

    /// From operation `number` on, the first (or every) one of these kinds suffers `effect`.
    pub fn inject(&self, number: u64, repeat: Repeat, kinds: Kinds, effect: Effect) {
        self.lock().faults.add(number, repeat, kinds, effect);
    }

    /// From operation `number` on, the first (or every) one of these kinds fails with `errno`.
    pub fn fail_nth(&self, number: u64, errno: Errno, repeat: Repeat, kinds: Kinds) {
        self.inject(number, repeat, kinds, Effect::Fail(errno));
    }

    /// Where writes were sent since this was asked last; they are noted from the first time on.
    pub fn take_written(&self) -> Vec<Range<u64>> {
        self.lock().written.replace(Vec::new()).unwrap_or_default()
    }

    /// Reads by readers beside the writer so far.
    pub fn reader_reads(&self) -> u64 {
        self.lock().reader_reads
    }

    /// The read by a reader beside the writer with this number fails with `errno`, alone or with all that follow.
    pub fn fail_reader(&self, number: u64, errno: Errno, repeat: Repeat) {
        self.lock().reader_fault = Some((number, errno, repeat));
    }

    /// The first write from operation `number` on reports success but is never done.
    pub fn lose(&self, number: u64) {
        self.inject(number, Repeat::Once, Kinds::WRITES, Effect::Lose);
    }

    /// The first write from operation `number` on goes to the sector at `offset` instead.
    pub fn misdirect(&self, number: u64, offset: u64) {
        self.inject(number, Repeat::Once, Kinds::WRITES, Effect::Misdirect(offset));
    }

    /// Operations of these kinds that touch `range` fail, those of readers beside the writer too.
    pub fn fail_range(&self, range: Range<u64>, errno: Errno, kinds: Kinds) {
        self.lock().faults.add_range(range, errno, kinds);
    }

    /// Ends all faults that were set; what they did to the content remains.
    pub fn clear_faults(&self) {
        let mut state = self.lock();
        state.faults.clear();
        state.reader_fault = None;
    }

    /// Flips bit `bit` (0 to 7) of the byte at `offset` wherever it is held.
    pub fn rot_bit(&self, offset: u64, bit: u8) {
        self.lock().tamper(offset..offset.saturating_add(1), &|image| image.flip_bit(offset, bit));
    }

    /// Overwrites the medium as another program would, past the writer; durable at once.
    pub fn overwrite(&self, offset: u64, bytes: &[u8]) {
        let range = offset..offset.saturating_add(bytes.len() as u64);
        self.lock().tamper(range, &|image| image.write(offset, bytes));
    }

    /// Lets the cache forget what failed writes and failed flushes left in it: from now on each such sector shows
    /// what the medium holds, old or new.
    pub fn settle_doubtful(&self) {
        self.lock().settle_doubtful();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic in a test's own hook must not hide its cause behind a second one.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
