//! The simulated device itself: content, writes of uncertain fate, operations in flight, faults and counts.
//!
//! Every change of the outside world's view happens in [`State::submit`] or [`State::complete`]; each is one I/O
//! event.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::crash::CrashPoint;
use super::fault::{Effect, Errno, Faults, Repeat};
use super::image::SimImage;
use super::pending::{Pending, PendingWrite, Phase};
use super::rng::SimRng;
use crate::clock::SimClock;
use crate::disk::{Completion, Operation, OperationKind, ReadAt, Token};

/// What a failed read leaves in its buffer.
const GARBAGE: u8 = 0xdb;

/// Called after each I/O event.
pub(super) type EventHook = Box<dyn FnMut(&CrashPoint) + Send>;

/// What the disk was asked to do so far.
#[derive(Copy, Clone, Default, Eq, PartialEq, Debug)]
pub struct SimStats {
    /// Reads completed, failed ones included.
    pub reads: u64,
    /// Writes completed, failed ones included.
    pub writes: u64,
    /// Flushes completed, failed ones included.
    pub flushes: u64,
    /// Bytes of successful reads.
    pub bytes_read: u64,
    /// Bytes of successful writes.
    pub bytes_written: u64,
    /// Operations that failed.
    pub failed: u64,
}

/// How the disk spends simulated time.
pub(super) struct Timing {
    pub(super) clock: Arc<SimClock>,
    pub(super) latency: Duration,
}

struct InFlight {
    token: u64,
    operation: Operation,
    submitted_at: u64,
    effect: Option<Effect>,
}

pub(super) struct State {
    /// What stands on the medium for certain.
    durable: SimImage,
    /// What reads see: durable and all that completed since.
    current: SimImage,
    pub(super) pending: Pending,
    in_flight: Vec<InFlight>,
    pub(super) faults: Faults,
    rng: SimRng,
    pub(super) alignment_bytes: u32,
    pub(super) stalled: bool,
    pub(super) stalled_polls: usize,
    pub(super) in_order: bool,
    pub(super) timing: Option<Timing>,
    submitted: u64,
    pub(super) events: u64,
    pub(super) stats: SimStats,
    pub(super) hook: Option<EventHook>,
    pub(super) reader_reads: u64,
    /// Where writes were sent since somebody asked last, if that is noted.
    pub(super) written: Option<Vec<Range<u64>>>,
    pub(super) reader_fault: Option<(u64, Errno, Repeat)>,
}

impl State {
    pub(super) fn new(image: SimImage, seed: u64) -> Self {
        Self {
            current: image.clone(),
            durable: image,
            pending: Pending::default(),
            in_flight: Vec::new(),
            faults: Faults::default(),
            rng: SimRng::new(seed),
            alignment_bytes: 512,
            stalled: false,
            stalled_polls: 0,
            in_order: false,
            timing: None,
            submitted: 0,
            events: 0,
            stats: SimStats::default(),
            hook: None,
            reader_reads: 0,
            written: None,
            reader_fault: None,
        }
    }

    pub(super) fn size_bytes(&self) -> u64 {
        // A cut image may end within a sector; what is left of it can neither be read nor written in one.
        self.current.size_bytes() / 512 * 512
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    pub(super) fn submitted(&self) -> u64 {
        self.submitted
    }

    pub(super) fn current(&self) -> &SimImage {
        &self.current
    }

    pub(super) fn crash_point(&self) -> CrashPoint {
        CrashPoint { event: self.events, durable: self.durable.clone(), pending: self.pending.clone() }
    }

    pub(super) fn submit(&mut self, operation: Operation) -> Token {
        let token = self.submitted;
        self.submitted += 1;
        let effect = self.faults.strike(token, &operation);
        if let (Operation::Write { offset, len, .. }, Some(written)) = (&operation, &mut self.written) {
            written.push(*offset..*offset + *len as u64);
        }
        if let Operation::Write { offset, buffer, len } = &operation
            && operation.check(self.size_bytes(), self.alignment_bytes).is_ok()
            && effect != Some(Effect::Lose)
        {
            let to = if let Some(Effect::Misdirect(to)) = effect { to / 512 * 512 } else { *offset };
            let fits = self.size_bytes().saturating_sub(to).min(*len as u64) as usize;
            if let Some(bytes) = buffer.get(..fits).filter(|bytes| !bytes.is_empty()) {
                self.pending.0.push(PendingWrite::new(token, to, bytes));
            }
        }
        self.event();
        self.in_flight.push(InFlight { token, operation, submitted_at: self.events, effect });
        Token::new(token)
    }

    /// Completes one of the operations in flight, unless nothing may complete now.
    fn complete(&mut self) -> Option<Completion> {
        if self.stalled || self.in_flight.is_empty() {
            return None;
        }
        let chosen = if self.in_order { 0 } else { self.rng.below(self.in_flight.len()) };
        let InFlight { token, mut operation, submitted_at, effect } = self.in_flight.remove(chosen);
        let result = match operation.check(self.size_bytes(), self.alignment_bytes) {
            Ok(()) => self.perform(token, &mut operation, submitted_at, effect),
            Err(refused) => Err(refused),
        };
        self.count(&operation, result.is_ok());
        if let Some(timing) = &self.timing {
            timing.clock.advance(timing.latency);
        }
        self.event();
        Some(Completion { token: Token::new(token), operation, result })
    }

    /// What a poll does: completes one, or lets the time of a wait in vain go by.
    pub(super) fn poll(&mut self, wait: Duration) -> Option<Completion> {
        let stalled = self.stalled_polls > 0;
        self.stalled_polls = self.stalled_polls.saturating_sub(1);
        let completion = if stalled { None } else { self.complete() };
        if let (None, Some(timing)) = (&completion, &self.timing)
            && !self.in_flight.is_empty()
        {
            timing.clock.advance(wait);
        }
        completion
    }

    fn perform(
        &mut self,
        token: u64,
        operation: &mut Operation,
        submitted_at: u64,
        effect: Option<Effect>,
    ) -> io::Result<()> {
        let failure = if let Some(Effect::Fail(errno)) = effect { Some(errno) } else { None };
        match operation {
            Operation::Read { offset, buffer } => match (failure, effect) {
                // A device may have moved anything before it failed.
                (Some(_), _) => buffer.fill(GARBAGE),
                (None, Some(Effect::Misdirect(from))) => self.read_shifted(buffer, from)?,
                (None, _) => self.read(buffer, *offset)?,
            },
            Operation::Write { .. } => self.land(token, failure.is_some()),
            Operation::Flush if failure.is_some() => self.pending.doubt_completed(),
            Operation::Flush if effect == Some(Effect::Lose) => {}
            Operation::Flush => self.pending.flush(submitted_at, &mut self.durable),
        }
        failure.map_or(Ok(()), |errno| Err(errno.into()))
    }

    /// A write comes to its end: all of its sectors are there, or any of them if it failed.
    fn land(&mut self, token: u64, failed: bool) {
        // The event to come is the completion.
        let completed_at = self.events + 1;
        let Some(write) = self.pending.land(token) else { return };
        if failed {
            let rng = &mut self.rng;
            match rng.below(3) {
                0 => write.retain_sectors(|_| false),
                1 => {}
                _ => write.retain_sectors(|_| rng.coin()),
            }
            write.phase = Phase::Doubtful;
        } else {
            write.phase = Phase::Completed(completed_at);
        }
        write.apply(&mut self.current);
        self.pending.tidy();
    }

    /// Reads what completed; a sector of a write in flight shows old or new.
    pub(super) fn read(&mut self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.current.read_exact_at(buffer, offset)?;
        let end = offset + buffer.len() as u64;
        for write in self.pending.0.iter().filter(|write| write.phase == Phase::InFlight) {
            if write.range().start >= end || offset >= write.range().end {
                continue;
            }
            for (at, bytes) in write.sectors() {
                if at < end && offset < at + bytes.len() as u64 && self.rng.coin() {
                    overlay(buffer, offset, at, bytes);
                }
            }
        }
        Ok(())
    }

    /// A read from the wrong place; what lies beyond the end reads as zeros.
    fn read_shifted(&mut self, buffer: &mut [u8], from: u64) -> io::Result<()> {
        buffer.fill(0);
        let there = self.size_bytes().saturating_sub(from).min(buffer.len() as u64) as usize;
        buffer.get_mut(..there).map_or(Ok(()), |part| self.current.read_exact_at(part, from))
    }

    /// Settles what is doubtful: each sector either landed or shows its old content from now on.
    pub(super) fn settle_doubtful(&mut self) {
        self.pending.settle_doubtful(&mut self.rng, &mut self.durable);
        self.current = self.durable.clone();
        for write in self.pending.0.iter().filter(|write| write.phase != Phase::InFlight) {
            write.apply(&mut self.current);
        }
    }

    /// Changes a range of the content behind everybody's back, wherever it is held.
    pub(super) fn tamper(&mut self, range: Range<u64>, change: &dyn Fn(&mut SimImage)) {
        change(&mut self.durable);
        change(&mut self.current);
        for write in &mut self.pending.0 {
            if write.range().start < range.end && range.start < write.range().end {
                let mut alone = SimImage::zeroed(self.current.len_bytes());
                alone.write(write.offset, &write.bytes);
                change(&mut alone);
                let mut bytes = write.bytes.to_vec();
                if alone.read_exact_at(&mut bytes, write.offset).is_ok() {
                    write.bytes = bytes.into();
                }
            }
        }
    }

    /// Counts a read beside the writer; the error with which it fails by its number.
    pub(super) fn reader_strike(&mut self) -> io::Result<()> {
        let number = self.reader_reads;
        self.reader_reads += 1;
        let struck = self.reader_fault.filter(|(from, _, repeat)| match repeat {
            Repeat::Once => number == *from,
            Repeat::Forever => number >= *from,
        });
        struck.map_or(Ok(()), |(_, errno, _)| Err(errno.into()))
    }

    /// The error with which reads of this range fail.
    pub(super) fn bad_read(&self, range: &Range<u64>) -> io::Result<()> {
        self.faults.bad(OperationKind::Read, range).map_or(Ok(()), |errno| Err(errno.into()))
    }

    fn count(&mut self, operation: &Operation, succeeded: bool) {
        let bytes = if succeeded { operation.len_bytes() as u64 } else { 0 };
        let stats = &mut self.stats;
        stats.failed += u64::from(!succeeded);
        match operation.kind() {
            OperationKind::Read => {
                (stats.reads, stats.bytes_read) = (stats.reads + 1, stats.bytes_read + bytes)
            }
            OperationKind::Write => {
                (stats.writes, stats.bytes_written) = (stats.writes + 1, stats.bytes_written + bytes);
            }
            OperationKind::Flush => stats.flushes += 1,
        }
    }

    fn event(&mut self) {
        self.events += 1;
        if let Some(mut hook) = self.hook.take() {
            hook(&self.crash_point());
            self.hook = Some(hook);
        }
    }
}

/// Copies the part of `bytes` (at `at`) that falls into `buffer` (at `offset`).
fn overlay(buffer: &mut [u8], offset: u64, at: u64, bytes: &[u8]) {
    let into = at.saturating_sub(offset) as usize;
    let from = offset.saturating_sub(at) as usize;
    if let (Some(target), Some(source)) = (buffer.get_mut(into..), bytes.get(from..)) {
        target.iter_mut().zip(source).for_each(|(target, source)| *target = *source);
    }
}
