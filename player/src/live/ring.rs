//! What the viewers of one stream share: the messages since the newest keyframe, and a little before it for those who are late.
//! A viewer is a place in it. No time of its own, no waiting.
//!
//! Invariants: a viewer is given fragments without a hole, or told what was left out; the first fragment it is given, and the first
//! behind what was left out, is a keyframe's; before each fragment it has been given the init segment that serves it. What is in
//! memory is bounded whatever viewers do: all since the newest keyframe, as long as that is no more than `group_bytes`; and before it
//! `behind_bytes` and no older than `behind`. A group that is larger is not kept: who comes then, or falls behind, begins with the
//! next keyframe.

use super::LiveOptions;
use super::message::{Init, Message};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// A message with what a viewer needs to know before it is given.
struct Kept {
    message: Message,
    init: Option<Arc<Init>>,
    bytes: usize,
    /// When it came, since the ring was made.
    at: Duration,
    /// How many samples came before it.
    before: u64,
}

/// The messages of one stream.
pub(super) struct Ring {
    kept: VecDeque<Kept>,
    /// How many messages were dropped: the number of the first one kept.
    first: u64,
    /// Where who comes begins: at the newest keyframe, or where the stream began to wait, or could not be given.
    start: Option<u64>,
    /// Bytes before the start, and since.
    late_bytes: usize,
    group_bytes: usize,
    samples: u64,
    init: Option<Arc<Init>>,
    options: LiveOptions,
}

/// A viewer's place.
#[derive(Clone, Debug)]
pub(super) struct Place {
    next: u64,
    /// How many samples came before it, that it was given or told of.
    seen: u64,
    init: u64,
    /// Nothing is given before the next keyframe.
    needs_sync: bool,
    /// It was given footage already: what it lacks is told.
    begun: bool,
}

impl Ring {
    pub(super) fn new(options: LiveOptions) -> Ring {
        Ring {
            kept: VecDeque::new(),
            first: 0,
            start: None,
            late_bytes: 0,
            group_bytes: 0,
            samples: 0,
            init: None,
            options,
        }
    }

    /// Takes the next message, `at` a time since the ring was made.
    pub(super) fn push(&mut self, message: Message, at: Duration) {
        let (bytes, samples, starts) = match &message {
            Message::Init(init) => {
                self.init = Some(Arc::clone(init));
                return;
            }
            Message::Fragment(fragment) => (fragment.bytes.len(), fragment.samples, fragment.sync),
            Message::Waiting { .. } | Message::Unplayable(_) => (0, 0, true),
            // What is not here is told as what a viewer was too late for: it counts, and is not given.
            Message::Skipped { samples } => {
                self.samples += samples;
                return;
            }
            _ => (0, 0, false),
        };
        if starts {
            self.start = Some(self.end());
            self.late_bytes += std::mem::take(&mut self.group_bytes);
        }
        let (init, before) = (self.init.clone(), self.samples);
        self.kept.push_back(Kept { message, init, bytes, at, before });
        self.samples += samples;
        self.group_bytes += bytes;
        if self.group_bytes > self.options.group_bytes_max {
            self.start = None;
        }
        self.trim(at);
    }

    /// Drops what nobody is to be given any more.
    pub(super) fn trim(&mut self, at: Duration) {
        while let Some(oldest) = self.kept.front() {
            let is_late = self.start.is_none_or(|start| self.first < start) && self.kept.len() > 1;
            let late_bytes =
                if self.start.is_none() { self.late_bytes + self.group_bytes } else { self.late_bytes };
            let old = at.saturating_sub(oldest.at) > self.options.behind_max;
            if !is_late || !old && late_bytes <= self.options.behind_bytes_max {
                return;
            }
            let bytes = oldest.bytes;
            self.kept.pop_front();
            self.first += 1;
            let late = bytes.min(self.late_bytes);
            self.late_bytes -= late;
            self.group_bytes -= bytes - late;
        }
    }

    /// The place of somebody who comes now.
    pub(super) fn enter(&self) -> Place {
        let next = self.start.unwrap_or(self.end());
        Place { next, seen: 0, init: 0, needs_sync: true, begun: false }
    }

    /// What follows at a place; `None` if nothing does yet.
    pub(super) fn next(&self, place: &mut Place) -> Option<Message> {
        loop {
            if place.next < self.first {
                place.next = self.start.unwrap_or(self.end());
                place.needs_sync = true;
            }
            let index = usize::try_from(place.next.checked_sub(self.first)?).ok()?;
            let kept = self.kept.get(index)?;
            let fragment = match &kept.message {
                Message::Fragment(fragment) => Some(fragment),
                _ => None,
            };
            if place.needs_sync && fragment.is_some_and(|fragment| !fragment.sync) {
                place.next += 1;
                continue;
            }
            let samples = kept.before.saturating_sub(place.seen);
            if place.begun && samples > 0 {
                place.seen = kept.before;
                return Some(Message::Skipped { samples });
            }
            let Some(fragment) = fragment else {
                place.next += 1;
                return Some(kept.message.clone());
            };
            if let Some(init) = kept.init.as_ref().filter(|init| init.number != place.init) {
                place.init = init.number;
                return Some(Message::Init(Arc::clone(init)));
            }
            (place.needs_sync, place.begun) = (false, true);
            place.next += 1;
            place.seen = kept.before + fragment.samples;
            return Some(kept.message.clone());
        }
    }

    fn end(&self) -> u64 {
        self.first + self.kept.len() as u64
    }

    /// How many bytes of footage are in memory.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.kept.iter().map(|kept| kept.bytes).sum()
    }
}

#[cfg(test)]
#[path = "ring_tests.rs"]
mod tests;
