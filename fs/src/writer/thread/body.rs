//! What the writer's thread does, over and over: takes in what came, makes a round when one is due, answers who asked.

use super::answer::Answer;
use super::{Admitted, Ask, ChangeRetention, Pulse, ROUND_LONG, Shared, WAKE_BYTES};
use crate::admission::Recording;
use crate::disk::FileDisk;
use crate::error::{Error, Result};
use crate::hold::{Hold, HoldRequest};
use crate::report::{Health, RoundReport};
use crate::retention::RetentionRequest;
use crate::retention::erase::Erased;
use crate::types::{StreamId, StreamName};
use crate::writer::engine::Engine;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How soon a round follows one in which a stream found no block granted.
const STARVED_PAUSE: Duration = Duration::from_millis(5);
/// How soon a round follows another while footage is being overwritten.
const ERASING_PAUSE: Duration = Duration::from_millis(20);

/// Which part of the interval answering those who hold or lift may take before the others wait for the next round.
const ANSWERING_PART: u32 = 4;

/// The thread's own.
pub(super) struct Body {
    engine: Engine<FileDisk>,
    shared: Arc<Shared>,
    interval: Duration,
    on_round: Box<dyn FnMut(RoundReport) + Send>,
    /// Holds to be made or lifted, after the next regular round: who asks often must not turn the ring.
    holds_asked: VecDeque<Ask>,
    /// Who waits for an erasure.
    erasing: Option<Answer<Result<Erased>>>,
}

/// What came in besides samples and gaps.
struct Taken {
    closing: bool,
    /// Somebody waits for room.
    hurry: bool,
    asks: Vec<Ask>,
}

/// Tells the handles when the thread is gone, however it went.
struct Farewell(Arc<Shared>);

impl Drop for Farewell {
    fn drop(&mut self) {
        self.0.record(Recording::Absent);
        let why = if std::thread::panicking() { "its thread panicked" } else { "it was closed" };
        let mut inbox = self.0.lock();
        inbox.stopped = Some(why.to_owned());
        inbox.inputs.clear();
        inbox.asks.clear();
        drop(inbox);
        self.0.gone.notify_all();
    }
}

impl Body {
    /// A thread that does not run yet.
    pub(super) fn new(
        engine: Engine<FileDisk>,
        shared: Arc<Shared>,
        interval: Duration,
        on_round: Box<dyn FnMut(RoundReport) + Send>,
    ) -> Body {
        Body { engine, shared, interval, on_round, holds_asked: VecDeque::new(), erasing: None }
    }

    /// Runs until the volume is closed.
    pub(super) fn run(mut self) -> Result<()> {
        let _farewell = Farewell(Arc::clone(&self.shared));
        let mut regular = Instant::now() + self.interval;
        loop {
            // A stream that found no block has samples that nothing protects yet.
            let soon = |pause| regular.min(Instant::now() + pause);
            let due = match (self.engine.is_starved(), self.engine.is_erasing()) {
                (true, _) => soon(STARVED_PAUSE),
                (false, true) => soon(ERASING_PAUSE),
                (false, false) => regular,
            };
            let Taken { closing, hurry, asks } = self.take_in(due);
            self.engine.work();
            for ask in asks {
                self.take_ask(ask);
            }
            if closing {
                return self.close();
            }
            if self.is_due(due, hurry) {
                self.round();
                let now = Instant::now();
                if now >= regular {
                    // A late round does not make the next one early.
                    regular = (regular + self.interval).max(now);
                    self.answer_asked();
                }
            }
        }
    }

    /// Whether a round is to be made that is due at this time. A disk that fails is not asked more often for those who wait.
    fn is_due(&self, due: Instant, hurry: bool) -> bool {
        Instant::now() >= due || self.engine.is_starved() || hurry && self.engine.is_well()
    }

    /// Waits until something is to be done, and takes what came in.
    fn take_in(&mut self, due: Instant) -> Taken {
        let shared = Arc::clone(&self.shared);
        let mut inbox = shared.lock();
        while !(inbox.closing || inbox.hurry) && inbox.asks.is_empty() && inbox.new_bytes < WAKE_BYTES {
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            inbox = shared
                .wake
                .wait_timeout(inbox, left)
                .map_or_else(|error| error.into_inner().0, |(inbox, _)| inbox);
        }
        inbox.new_bytes = 0;
        let inputs = std::mem::take(&mut inbox.inputs);
        let (hurry, asks) = (std::mem::take(&mut inbox.hurry), std::mem::take(&mut inbox.asks));
        let taken = Taken { closing: inbox.closing, hurry, asks };
        drop(inbox);
        for (index, input) in inputs {
            self.engine.accept(index, input);
        }
        taken
    }

    /// Answers at once what is no hold, or a hold that is refused without a look at the disk; others wait for a regular round.
    fn take_ask(&mut self, ask: Ask) {
        match ask {
            Ask::Hold(request, answer) => match self.engine.refusal(&request) {
                // Who asked may have gone.
                Some(refusal) => {
                    self.shared.lock().asks_waiting -= 1;
                    _ = answer.send(Err(refusal));
                }
                None => self.holds_asked.push_back(Ask::Hold(request, answer)),
            },
            Ask::Lift(..) => self.holds_asked.push_back(ask),
            Ask::Admit(..)
            | Ask::AdmitAll(..)
            | Ask::LastSample(..)
            | Ask::Retain(..)
            | Ask::Scrub(..)
            | Ask::Erase(..) => self.answer(ask),
        }
    }

    /// After a regular round: all that came in before it stands on the disk. Those who wait are answered in their order, for a part of the
    /// interval: each takes some writes and flushes, and the next round is not to be late; a stream that found no block waits for it.
    fn answer_asked(&mut self) {
        let began = Instant::now();
        while let Some(ask) = self.holds_asked.pop_front() {
            self.answer(ask);
            if began.elapsed() >= self.interval / ANSWERING_PART || self.engine.is_starved() {
                return;
            }
        }
    }

    fn answer(&mut self, ask: Ask) {
        if !matches!(ask, Ask::Scrub(..)) {
            self.shared.lock().asks_waiting -= 1;
        }
        let _gone = match ask {
            Ask::Admit(name, id, answer) => self.answer_admission(&name, id, &answer),
            Ask::AdmitAll(wanted, answer) => answer.send(self.engine.admit_all(&wanted)).is_err(),
            Ask::LastSample(index, answer) => answer.send(Ok(self.engine.last_sample(index))).is_err(),
            Ask::Hold(request, answer) => self.answer_hold(&request, &answer),
            Ask::Lift(id, answer) => answer.send(self.engine.lift_hold(id)).is_err(),
            Ask::Retain(stream, change, answer) => answer.send(self.retain(stream, change)).is_err(),
            Ask::Scrub(outcome, answer) => {
                outcome.iter().for_each(|outcome| self.engine.scrub_done(outcome));
                answer.send(self.engine.scrub_next()).is_err()
            }
            Ask::Erase(request, answer) => match self.engine.begin_erase(&request) {
                Ok(()) => {
                    self.erasing = Some(answer);
                    false
                }
                Err(error) => answer.send(Err(error)).is_err(),
            },
        };
        // What was asked may have taken rounds of its own, and one of them may have ended an erasure.
        for report in self.engine.take_rounds_within() {
            self.tell(report);
        }
        self.answer_erased();
    }

    /// Whether who asked has gone: then nothing is held, for nobody would know of it.
    fn answer_hold(&mut self, request: &HoldRequest, answer: &Answer<Result<Hold>>) -> bool {
        if !answer.is_awaited() {
            return true;
        }
        let Err(given_back) = answer.send(self.engine.add_hold(request)) else { return false };
        if let Ok(Hold { id, .. }) = given_back
            && let Err(error) = self.engine.lift_hold(id)
        {
            tracing::warn!(%id, %error, "nobody waits for this hold any more, and it stands: lift it");
        }
        true
    }

    fn retain(&mut self, stream: StreamName, change: ChangeRetention) -> Result<()> {
        let retention = change(self.engine.retention_of(&stream)?);
        self.engine.set_retention(&RetentionRequest { stream, retention })?;
        let ages: Vec<u64> = self.engine.maximum_ages().collect();
        for ((tail, _), age) in self.shared.lock().tails.iter().zip(ages) {
            tail.set_maximum_age(age);
        }
        Ok(())
    }

    /// Whether who asked has gone: then nobody has the stream, and the next one may.
    fn answer_admission(
        &mut self,
        name: &StreamName,
        id: Option<StreamId>,
        answer: &Answer<Result<Admitted>>,
    ) -> bool {
        let admitted = self.admit(name, id);
        let index = admitted.as_ref().ok().map(|admitted| admitted.index);
        let gone = answer.send(admitted).is_err();
        index.filter(|_| gone).into_iter().for_each(|index| self.shared.release(index));
        gone
    }

    fn admit(&mut self, name: &StreamName, id: Option<StreamId>) -> Result<Admitted> {
        let index = self.engine.admit_as(name, id)?;
        let (id, last_recorded) =
            self.engine.stream_facts(index).ok_or_else(|| Error::Stopped("the stream is gone".to_owned()))?;
        let mut inbox = self.shared.lock();
        if !inbox.in_use.insert(index) {
            return Err(Error::Invalid(format!("the stream {name} is being recorded already")));
        }
        inbox.room.admit(index);
        if inbox.small.len() <= index {
            inbox.small.resize_with(index + 1, Default::default);
            inbox.tails.resize_with(index + 1, Default::default);
        }
        inbox.names.insert(name.clone(), index);
        let tail = Arc::clone(&inbox.tails[index].0);
        tail.set_ended(false);
        tail.set_maximum_age(self.engine.maximum_age_s(id));
        Ok(Admitted { index, id, last_recorded, tail })
    }

    fn round(&mut self) {
        let began = Instant::now();
        self.shared.set_pulse(Pulse { round_since: Some(began), hurried: false });
        let report = self.engine.round();
        let took = began.elapsed();
        let behind = report.health != Health::Good || self.engine.is_starved();
        self.shared.set_pulse(Pulse { round_since: None, hurried: behind || took > ROUND_LONG });
        self.tell(RoundReport { took, ..report });
        self.answer_erased();
    }

    /// Makes known what a round achieved.
    fn tell(&mut self, mut report: RoundReport) {
        {
            let mut inbox = self.shared.lock();
            for (index, freed) in self.engine.take_freed_bytes() {
                inbox.room.give_back(index, freed);
            }
            report.waiting_bytes = inbox.room.all() as u64;
            if report.health == Health::Good {
                inbox.settle_small();
            }
            for ((tail, durable), stream) in inbox.tails.iter_mut().zip(&report.streams) {
                // While the disk fails, what stands before it stays: whoever carries on elsewhere begins where decoding can.
                let before =
                    std::mem::replace(durable, stream.tracks.iter().map(|track| track.samples).sum());
                if report.health == Health::Good {
                    tail.evict(before, *durable);
                }
            }
        }
        (self.on_round)(report);
    }

    /// Tells who waits what came of an erasure, once it is over.
    fn answer_erased(&mut self) {
        if let Some(erased) = self.engine.take_erased()
            && let Some(answer) = self.erasing.take()
        {
            // Who asked may have gone.
            let _gone = answer.send(erased);
        }
    }

    fn close(&mut self) -> Result<()> {
        // Gaps that waited for a round that succeeds are written with the last one.
        let last = {
            let mut inbox = self.shared.lock();
            inbox.settle_small();
            std::mem::take(&mut inbox.inputs)
        };
        last.into_iter().for_each(|(index, input)| self.engine.accept(index, input));
        let result = self.engine.close();
        self.answer_erased();
        let report = self.engine.report();
        (self.on_round)(report);
        result
    }
}

#[cfg(test)]
#[path = "body_tests.rs"]
mod tests;
