//! The writer's thread and the queue into it.
//!
//! The thread opens the volume itself (`opening`): nobody else writes to its disk. Samples are handed over under one short
//! lock and the thread is woken only when much has gathered or a round is due: a camera's frame costs no context switch.

mod answer;
mod body;
mod opening;

use super::erase::EraseRequest;
use super::room::{Budget, Room, Standing};
use super::stream::Input;
use super::{Pending, Rejected};
use crate::admission::{Admission, Recording};
use crate::disk::EngineInUse;
use crate::error::{Error, Result};
use crate::gap::Gap;
use crate::hold::{Hold, HoldRequest};
use crate::retention::Retention;
use crate::retention::erase::Erased;
use crate::sample::Sample;
use crate::scrub::{Order, Outcome};
use crate::tail::{SamplePlace, TailBuffer};
use crate::types::{HoldId, StreamId, StreamName, WallTime};
use answer::{Answer, answer};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// So many new bytes wake the thread before the next round is due.
const WAKE_BYTES: usize = 4 << 20;
/// How long closing waits for a disk that completes nothing: longer than the kernel gives a command before it resets the
/// device (30 s), so that footage is given up only where nothing more can be hoped for.
const CLOSE_PATIENCE: Duration = Duration::from_secs(40);
/// A round that takes longer leaves nothing of the disk to the scrub.
const ROUND_LONG: Duration = Duration::from_millis(500);
/// How long whoever asks for a hold waits for it: less than those wait who ask by way of a socket, so that they are told.
pub(super) const ASK_PATIENCE: Duration = Duration::from_secs(50);
/// How long whoever asks for an erasure waits: as long as terabytes take.
pub(super) const ERASE_PATIENCE: Duration = Duration::from_secs(24 * 3600);
/// So many requests may wait: who asks beyond that is told to come again.
const ASKS_MAX: usize = 256;
/// So many gaps of a stream may wait for a round that succeeds.
const GAPS_MAX: usize = 1000;
/// Whatever the number of streams, each may have this much waiting.
const STREAM_BYTES_MIN: usize = 4 << 20;

/// What a stream's handle needs to know.
pub(super) struct Admitted {
    pub(super) index: usize,
    pub(super) id: StreamId,
    pub(super) last_recorded: Option<WallTime>,
    pub(super) tail: Arc<TailBuffer>,
}

/// What becomes of a stream's retention.
pub(super) type ChangeRetention = Box<dyn FnOnce(Retention) -> Retention + Send>;

/// What is asked of the thread, and where the answer goes.
pub(super) enum Ask {
    Admit(StreamName, Option<StreamId>, Answer<Result<Admitted>>),
    AdmitAll(Vec<(StreamName, Option<StreamId>)>, Answer<Result<()>>),
    LastSample(usize, Answer<Result<Option<SamplePlace>>>),
    Hold(HoldRequest, Answer<Result<Hold>>),
    Lift(HoldId, Answer<Result<Hold>>),
    Retain(StreamName, ChangeRetention, Answer<Result<()>>),
    Scrub(Option<Outcome>, SyncSender<Order>),
    Erase(EraseRequest, Answer<Result<Erased>>),
}

#[derive(Default)]
struct Inbox {
    inputs: Vec<(usize, Input)>,
    new_bytes: usize,
    /// What waits of samples.
    room: Room,
    /// What else waits, by stream.
    small: Vec<Small>,
    /// The tails of the streams, and how many of their samples were durable after the last round.
    tails: Vec<(Arc<TailBuffer>, u64)>,
    /// Their names: of all streams that were recorded since the volume was opened.
    names: BTreeMap<StreamName, usize>,
    in_use: BTreeSet<usize>,
    asks: Vec<Ask>,
    /// Requests that are not answered yet.
    asks_waiting: usize,
    /// Somebody waits for room: the next round is not waited for.
    hurry: bool,
    closing: bool,
    /// Why the thread ended, once it has.
    stopped: Option<String>,
}

/// What waits of a stream besides samples, none of which may be lost, nor be without bounds while the disk does not answer.
#[derive(Default)]
struct Small {
    /// Gaps handed over since the last round that succeeded.
    gaps: usize,
    /// All that came after [`GAPS_MAX`] of them, in one.
    more: Option<Gap>,
    /// Nothing came after the stream was parked.
    parked: bool,
}

/// Whether recording leaves anything of the disk for others.
#[derive(Default)]
struct Pulse {
    /// When the round under way began.
    round_since: Option<Instant>,
    /// The last one took long, did not succeed, or left a stream without a block.
    hurried: bool,
}

/// The queue into the writer's thread.
pub(super) struct Shared {
    inbox: Mutex<Inbox>,
    wake: Condvar,
    /// The thread has ended.
    gone: Condvar,
    pulse: Mutex<Pulse>,
    /// Whom readers ask; `None` in tests.
    admission: Option<Arc<Admission>>,
    buffer_bytes: usize,
    /// For error texts.
    path: PathBuf,
}

impl Inbox {
    fn park(&mut self, index: usize) {
        let Some(small) = self.small.get_mut(index).filter(|_| self.stopped.is_none()) else { return };
        if !std::mem::replace(&mut small.parked, true) {
            self.inputs.push((index, Input::Park));
        }
    }

    /// After a round that succeeded: what waited is written, or on its way.
    fn settle_small(&mut self) {
        for (index, small) in self.small.iter_mut().enumerate() {
            small.gaps = 0;
            if let Some(gap) = small.more.take() {
                self.inputs.push((index, Input::Gap(gap)));
                self.inputs.extend(small.parked.then_some((index, Input::Park)));
            }
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the thread do something between two rounds, and waits for it, though not for ever: the disk may not answer.
    pub(super) fn ask<T>(&self, ask: impl FnOnce(Answer<Result<T>>) -> Ask) -> Result<T> {
        self.ask_for(ASK_PATIENCE, ask)
    }

    /// [`Shared::ask`] for what takes its time.
    pub(super) fn ask_for<T>(
        &self,
        patience: Duration,
        ask: impl FnOnce(Answer<Result<T>>) -> Ask,
    ) -> Result<T> {
        let (answer, answered) = answer();
        {
            let mut inbox = self.lock();
            if let Some(why) = &inbox.stopped {
                return Err(Error::Stopped(why.clone()));
            }
            if inbox.asks_waiting >= ASKS_MAX {
                return Err(Error::Invalid(format!(
                    "{ASKS_MAX} requests wait for the volume: ask again later"
                )));
            }
            inbox.asks_waiting += 1;
            inbox.asks.push(ask(answer));
        }
        self.wake.notify_one();
        match answered.within(patience) {
            Ok(answer) => answer,
            Err(RecvTimeoutError::Disconnected) => Err(Error::Stopped(self.why_stopped())),
            Err(RecvTimeoutError::Timeout) => {
                Err(Error::io("have an answer from", &self.path, io::ErrorKind::TimedOut.into()))
            }
        }
    }

    fn why_stopped(&self) -> String {
        self.lock().stopped.clone().unwrap_or_else(|| "it ended unexpectedly".to_owned())
    }

    /// Hands over what came of a block, and says what the scrub is to do next; `None` once the thread has ended. Waits for as
    /// long as the disk takes.
    pub(super) fn scrub(&self, outcome: Option<Outcome>) -> Option<Order> {
        let (answer, answered) = sync_channel(1);
        {
            let mut inbox = self.lock();
            if inbox.closing || inbox.stopped.is_some() {
                return None;
            }
            inbox.asks.push(Ask::Scrub(outcome, answer));
        }
        self.wake.notify_one();
        answered.recv().ok()
    }

    /// Rests; `false` once the volume is being closed.
    pub(super) fn rest(&self, rest: Duration) -> bool {
        let until = Instant::now() + rest;
        let mut inbox = self.lock();
        while !inbox.closing && inbox.stopped.is_none() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            let waited = self.gone.wait_timeout(inbox, left);
            inbox = waited.map_or_else(|error| error.into_inner().0, |(inbox, _)| inbox);
        }
        false
    }

    /// Whether recording needs all of the disk: a round takes half of its interval, or the last did not do its work.
    pub(super) fn is_hurried(&self) -> bool {
        let pulse = self.pulse.lock().unwrap_or_else(PoisonError::into_inner);
        pulse.hurried || pulse.round_since.is_some_and(|since| since.elapsed() > ROUND_LONG)
    }

    /// What readers in this process may take of the disk from now on.
    fn record(&self, recording: Recording) {
        if let Some(admission) = &self.admission {
            admission.record(recording);
        }
    }

    fn set_pulse(&self, pulse: Pulse) {
        self.record(match (&pulse.round_since, pulse.hurried) {
            (Some(_), _) => Recording::Round,
            (None, true) => Recording::Late,
            (None, false) => Recording::Resting,
        });
        *self.pulse.lock().unwrap_or_else(PoisonError::into_inner) = pulse;
    }

    /// Has a round made now, if the disk does its work.
    pub(super) fn hurry(&self) {
        self.lock().hurry = true;
        self.wake.notify_one();
    }

    /// Hands over a gap.
    pub(super) fn send_gap(&self, index: usize, gap: &Gap) {
        let mut inbox = self.lock();
        let Inbox { inputs, small, stopped: None, .. } = &mut *inbox else { return };
        let Some(small) = small.get_mut(index) else { return };
        if small.gaps < GAPS_MAX {
            small.gaps += 1;
            small.parked = false;
            inputs.push((index, Input::Gap(gap.clone())));
            return;
        }
        match &mut small.more {
            Some(more) => more.absorb(gap),
            None => small.more = Some(gap.clone()),
        }
    }

    /// Has the stream's block parked after what was handed over.
    pub(super) fn send_park(&self, index: usize) {
        self.lock().park(index);
    }

    /// Hands over a sample and what applies to it, if there is room; else nothing.
    pub(super) fn send_sample(
        &self,
        index: usize,
        pending: &mut Pending,
        sample: Sample,
        tail: &TailBuffer,
        standing: Standing,
    ) -> std::result::Result<(), Rejected> {
        let bytes = sample.queued_bytes();
        let mut inbox = self.lock();
        if inbox.stopped.is_some() {
            return Err(Rejected::Stopped);
        }
        let budget = Budget { bytes: self.buffer_bytes, stream_bytes_min: STREAM_BYTES_MIN };
        let recorded = inbox.in_use.len();
        inbox.room.take_as(standing, index, bytes, budget, recorded)?;
        if let Some(small) = inbox.small.get_mut(index) {
            small.parked = false;
        }
        let Pending { configuration, run, anchors } = std::mem::take(pending);
        if let Some((stored, configuration)) = configuration {
            tail.configure(stored.hash, &configuration);
            inbox.inputs.push((index, Input::Configure(stored)));
        }
        if let Some(run) = run {
            tail.begin_run(run);
            inbox.inputs.push((index, Input::Run(run)));
        }
        for anchor in anchors.into_values() {
            tail.anchor(anchor);
            inbox.inputs.push((index, Input::Anchor(anchor)));
        }
        // The tail must have it before the round that makes it durable can evict it.
        tail.push(&sample);
        inbox.inputs.push((index, Input::Sample(sample)));
        inbox.new_bytes += bytes;
        if inbox.new_bytes >= WAKE_BYTES {
            self.wake.notify_one();
        }
        Ok(())
    }

    /// The tail of a stream, if it was recorded since the volume was opened.
    pub(super) fn tail(&self, name: &StreamName) -> Option<Arc<TailBuffer>> {
        self.tail_and_durable(name).map(|(tail, _)| tail)
    }

    /// The same, with how many of its samples were durable after the last round.
    pub(super) fn tail_and_durable(&self, name: &StreamName) -> Option<(Arc<TailBuffer>, u64)> {
        let inbox = self.lock();
        let index = *inbox.names.get(name)?;
        inbox.tails.get(index).map(|(tail, durable)| (Arc::clone(tail), *durable))
    }

    /// The streams that were recorded since the volume was opened.
    pub(super) fn recorded(&self) -> Vec<StreamName> {
        self.lock().names.keys().cloned().collect()
    }

    /// A handle is gone: its stream is parked and may be had again.
    pub(super) fn release(&self, index: usize) {
        let mut inbox = self.lock();
        inbox.park(index);
        inbox.in_use.remove(&index);
        if let Some((tail, _)) = inbox.tails.get(index) {
            tail.set_ended(true);
        }
    }
}

/// The thread of a writer.
pub(super) struct WriterThread {
    shared: Arc<Shared>,
    /// Counts the disk's completions.
    progress: Arc<AtomicU64>,
    io: EngineInUse,
    handle: Option<JoinHandle<Result<()>>>,
}

impl WriterThread {
    /// The queue.
    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// What does the I/O.
    pub(super) fn io(&self) -> &EngineInUse {
        &self.io
    }

    /// Has a stream admitted.
    pub(super) fn admit(
        &self,
        name: &StreamName,
        id: Option<StreamId>,
        patience: Duration,
    ) -> Result<Admitted> {
        self.shared.ask_for(patience, |answer| Ask::Admit(name.clone(), id, answer))
    }

    /// Ends the thread after everything is written. If the disk answers nothing for [`CLOSE_PATIENCE`], the thread is left
    /// behind in its wait, with what it has.
    pub(super) fn close(&mut self) -> Result<()> {
        let Some(handle) = self.handle.take() else { return Ok(()) };
        let mut inbox = self.shared.lock();
        inbox.closing = true;
        self.shared.wake.notify_one();
        self.shared.gone.notify_all();
        let (mut completed, mut since) = (self.progress.load(Ordering::Relaxed), Instant::now());
        while inbox.stopped.is_none() {
            let waited = self.shared.gone.wait_timeout(inbox, CLOSE_PATIENCE / 40);
            inbox = waited.map_or_else(|error| error.into_inner().0, |(inbox, _)| inbox);
            let now = self.progress.load(Ordering::Relaxed);
            if now != completed {
                (completed, since) = (now, Instant::now());
            } else if since.elapsed() >= CLOSE_PATIENCE {
                let seconds = CLOSE_PATIENCE.as_secs();
                let why = format!("it did not answer for {seconds} s, what waited in memory is not on it");
                let source = io::Error::new(io::ErrorKind::TimedOut, why);
                return Err(Error::io("close", &self.shared.path, source));
            }
        }
        drop(inbox);
        handle.join().unwrap_or_else(|_| Err(Error::Stopped("its thread panicked".to_owned())))
    }
}

impl Drop for WriterThread {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::error!(%error, "the volume was not closed cleanly");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gap::GapReason;

    fn gap(from: i64) -> Gap {
        Gap {
            reason: GapReason::ConnectionLost,
            from: WallTime(from),
            to: Some(WallTime(from + 1)),
            samples_lost: 2,
            bytes_lost: 3,
            detail: String::new(),
        }
    }

    #[test]
    fn however_often_a_camera_comes_and_goes_while_the_disk_does_not_answer_little_waits_and_no_gap_is_lost()
    {
        let shared = Shared {
            inbox: Mutex::default(),
            wake: Condvar::new(),
            gone: Condvar::new(),
            pulse: Mutex::default(),
            admission: None,
            buffer_bytes: 0,
            path: PathBuf::new(),
        };
        shared.lock().small.resize_with(1, Default::default);
        for turn in 0..3000 {
            shared.send_gap(0, &gap(turn * 10));
            shared.send_park(0);
            shared.send_park(0);
        }
        let mut inbox = shared.lock();
        assert_eq!(inbox.inputs.len(), 2 * GAPS_MAX);
        inbox.inputs.clear();
        inbox.settle_small();
        let [(0, Input::Gap(all)), (0, Input::Park)] = inbox.inputs.as_slice() else {
            panic!("{} wait", inbox.inputs.len())
        };
        assert_eq!((all.from, all.to), (WallTime(10_000), Some(WallTime(29_991))));
        assert_eq!((all.samples_lost, all.bytes_lost), (4000, 6000));
        inbox.settle_small();
        assert_eq!(inbox.inputs.len(), 2);
    }
}
