//! Which read may go to the disk when: decisions alone, with the time as an argument.
//!
//! States of recording ([`Recording`]): nobody records here; it rests between two rounds; a round is under way; it is late, and needs all
//! of the disk. Every read *asks*, *waits*, is *admitted*, and is *done*.
//!
//! | recording | admitted is |
//! |---|---|
//! | absent | everything |
//! | rests | what is played while its budget lasts, then what is exported while its own does, and nothing waits that is played |
//! | a round, or late | nothing but what is overdue |
//!
//! Nobody waits for ever. Who waited for longer than its patience is *overdue*, and is admitted whatever recording does: one at a time,
//! and after it nothing for four times as long as it took, so that readers have a fifth of a disk that recording could use up. Of those
//! who may go what is played goes first, but every fourth goes to who waited the longest.
//!
//! What is under way when a round begins stands in its way: that is what budgets are for. They are small beside what a disk does in the
//! time of a round, and large enough to keep it busy.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// What is read for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReadPurpose {
    /// Somebody waits for it: playing, seeking, a picture.
    #[default]
    Playback,
    /// Nobody waits for any one piece of it: exports, downloads, analysis.
    Bulk,
}

/// What recording does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Recording {
    /// Nobody records in this process.
    #[default]
    Absent,
    /// Nothing, until the next round.
    Resting,
    /// A round is under way.
    Round,
    /// The last round took long, or did not do its work.
    Late,
}

/// What may be under way at a time.
struct Budget {
    requests: usize,
    bytes: usize,
    /// How long is waited before a read is overdue.
    patience: Duration,
}

const PLAYBACK: Budget = Budget { requests: 8, bytes: 8 << 20, patience: Duration::from_millis(100) };
const BULK: Budget = Budget { requests: 2, bytes: 4 << 20, patience: Duration::from_millis(500) };
/// After what was overdue nothing is admitted for so many times as long as it took.
const REST_FACTOR: u32 = 4;
/// So often who waited the longest goes first.
const FAIR_EVERY: u32 = 4;

/// Which read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket(u64);

struct Waiting {
    ticket: Ticket,
    bytes: usize,
    since: Duration,
}

/// A read that was admitted.
struct Running {
    purpose: ReadPurpose,
    bytes: usize,
    since: Duration,
    overdue: bool,
}

/// The gate.
#[derive(Default)]
pub(super) struct Gate {
    recording: Recording,
    waiting: [VecDeque<Waiting>; 2],
    running: BTreeMap<Ticket, Running>,
    /// Nothing overdue is admitted before.
    rests_until: Duration,
    admitted: u32,
    next: u64,
}

impl Gate {
    /// What recording does from now on.
    pub(super) fn record(&mut self, recording: Recording) {
        self.recording = recording;
    }

    /// A read wants to go.
    pub(super) fn ask(&mut self, purpose: ReadPurpose, bytes: usize, now: Duration) -> Ticket {
        let ticket = Ticket(self.next);
        self.next += 1;
        self.waiting[purpose as usize].push_back(Waiting { ticket, bytes, since: now });
        ticket
    }

    /// Admits all who may go; whether there was any.
    pub(super) fn admit(&mut self, now: Duration) -> bool {
        let mut any = false;
        while let Some((purpose, overdue)) = self.choose(now) {
            let Some(Waiting { ticket, bytes, .. }) = self.waiting[purpose as usize].pop_front() else {
                break;
            };
            self.admitted = self.admitted.wrapping_add(1);
            self.running.insert(ticket, Running { purpose, bytes, since: now, overdue });
            any = true;
        }
        any
    }

    /// Whether it was admitted, and is not done.
    pub(super) fn is_admitted(&self, ticket: Ticket) -> bool {
        self.running.contains_key(&ticket)
    }

    /// A read that was admitted ended.
    pub(super) fn done(&mut self, ticket: Ticket, now: Duration) {
        if let Some(Running { since, overdue: true, .. }) = self.running.remove(&ticket) {
            self.rests_until = now + now.saturating_sub(since) * REST_FACTOR;
        }
    }

    /// When who waits may come to be admitted although nothing else happens.
    pub(super) fn look_again_in(&self, now: Duration) -> Option<Duration> {
        if self.is_overdue_running() {
            return None;
        }
        let overdue = |purpose: ReadPurpose| Some(self.first(purpose)?.since + budget(purpose).patience);
        let soonest =
            [overdue(ReadPurpose::Playback), overdue(ReadPurpose::Bulk)].into_iter().flatten().min()?;
        Some(soonest.max(self.rests_until).saturating_sub(now))
    }

    /// How many reads asked.
    #[cfg(test)]
    pub(super) fn asked(&self) -> u64 {
        self.next
    }

    fn first(&self, purpose: ReadPurpose) -> Option<&Waiting> {
        self.waiting[purpose as usize].front()
    }

    /// Whose first read goes next, and whether it is overdue.
    fn choose(&self, now: Duration) -> Option<(ReadPurpose, bool)> {
        let order = self.order()?;
        let goes = |purpose: ReadPurpose| match self.recording {
            Recording::Absent => true,
            Recording::Resting => self.fits(purpose),
            Recording::Round | Recording::Late => false,
        };
        let first = order.into_iter().flatten().next()?;
        if goes(first) {
            return Some((first, false));
        }
        // Only where the one who waited longest has no room left does what is played go before it.
        let played =
            Some(ReadPurpose::Playback).filter(|played| *played != first && self.first(*played).is_some());
        if let Some(played) = played.filter(|played| goes(*played)) {
            return Some((played, false));
        }
        self.overdue(order, now).map(|purpose| (purpose, true))
    }

    /// Who waits, in the order in which they may go.
    fn order(&self) -> Option<[Option<ReadPurpose>; 2]> {
        let (play, bulk) = (self.first(ReadPurpose::Playback), self.first(ReadPurpose::Bulk));
        let fair = self.admitted % FAIR_EVERY == FAIR_EVERY - 1;
        Some(match (play, bulk) {
            (None, None) => return None,
            (Some(_), None) => [Some(ReadPurpose::Playback), None],
            (None, Some(_)) => [Some(ReadPurpose::Bulk), None],
            (Some(play), Some(bulk)) if fair && bulk.since < play.since => {
                [Some(ReadPurpose::Bulk), Some(ReadPurpose::Playback)]
            }
            (Some(_), Some(_)) => [Some(ReadPurpose::Playback), Some(ReadPurpose::Bulk)],
        })
    }

    /// Until it is done nothing else that is overdue goes.
    fn is_overdue_running(&self) -> bool {
        self.running.values().any(|running| running.overdue)
    }

    fn overdue(&self, order: [Option<ReadPurpose>; 2], now: Duration) -> Option<ReadPurpose> {
        if now < self.rests_until || self.is_overdue_running() {
            return None;
        }
        let is_overdue = |purpose: &ReadPurpose| {
            self.first(*purpose).is_some_and(|first| now >= first.since + budget(*purpose).patience)
        };
        order.into_iter().flatten().find(is_overdue)
    }

    /// Whether the budget has room for the first that waits. One alone always has.
    fn fits(&self, purpose: ReadPurpose) -> bool {
        let mine = || self.running.values().filter(|running| running.purpose == purpose);
        let bytes: usize = mine().map(|running| running.bytes).sum();
        let wanted = self.first(purpose).map_or(0, |first| first.bytes);
        let budget = budget(purpose);
        bytes == 0 || mine().count() < budget.requests && bytes.saturating_add(wanted) <= budget.bytes
    }
}

fn budget(purpose: ReadPurpose) -> &'static Budget {
    match purpose {
        ReadPurpose::Playback => &PLAYBACK,
        ReadPurpose::Bulk => &BULK,
    }
}

#[cfg(test)]
#[path = "gate_tests.rs"]
mod tests;
