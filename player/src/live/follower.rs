//! The thread of one stream: follows its tail, has it muxed, gives what comes of it to the viewers.

use super::back::{self, Disk};
use super::join::{Joined, place};
use super::message::Message;
use super::mux::Mux;
use super::registry::Registry;
use super::start::{Start, in_tail, start};
use super::viewer::Channel;
use super::{LiveOptions, LiveSource};
use crate::time::now;
use keha_fs::{SamplePlace, StreamName, Tail, TailItem, TailRead, WallTime};
use std::sync::Arc;
use std::time::Duration;

/// How long one look at the tail waits: how late the thread notices that nobody watches any more.
const TURN: Duration = Duration::from_millis(250);
/// So many items are held while it is not known where to begin.
const PENDING_MAX: usize = 4096;

/// What feeds the viewers of one stream.
pub(super) struct Follower {
    name: StreamName,
    disk: Disk,
    channel: Arc<Channel>,
    registry: Arc<Registry>,
    options: LiveOptions,
    mux: Mux,
    tail: Option<Tail>,
    /// What was given to the mux last.
    last: Option<(SamplePlace, WallTime)>,
    /// Whether the mux has all between that and the place in the tail.
    joined: bool,
    /// What the tail gave while that is not so.
    pending: Vec<TailItem>,
    waiting: Option<WallTime>,
    /// The disk was read, and the tail gave nothing since.
    has_read: bool,
    /// The tail did not wait for the disk: what it has is begun with, without that.
    late: bool,
    /// It was looked whether the disk has what the tail has not.
    looked: bool,
}

/// Tells viewers and registry when the thread is gone, however it went.
struct Farewell(StreamName, Arc<Channel>, Arc<Registry>);

impl Drop for Farewell {
    fn drop(&mut self) {
        self.2.gone(&self.0, &self.1);
    }
}

impl Follower {
    pub(super) fn new(
        name: StreamName,
        source: Arc<dyn LiveSource>,
        channel: Arc<Channel>,
        registry: Arc<Registry>,
        options: LiveOptions,
    ) -> Follower {
        Follower {
            disk: Disk::new(source, name.clone(), Arc::clone(&registry.readers)),
            name,
            channel,
            registry,
            options,
            mux: Mux::new(),
            tail: None,
            last: None,
            joined: false,
            pending: Vec::new(),
            waiting: None,
            has_read: false,
            late: false,
            looked: false,
        }
    }

    /// Runs until nobody has watched for a while.
    pub(super) fn run(mut self) {
        let _farewell = Farewell(self.name.clone(), Arc::clone(&self.channel), Arc::clone(&self.registry));
        while !self.registry.retire(&self.name, self.options.linger) {
            self.turn();
        }
    }

    fn turn(&mut self) {
        let Some(tail) = &mut self.tail else { return self.attach() };
        match tail.follow(None, TURN) {
            TailRead::Items(items) if items.is_empty() && self.went_elsewhere() => self.reattach(),
            TailRead::Items(items) => self.take(items),
            TailRead::Behind => self.behind(),
            TailRead::Ended => self.ended(),
        }
    }

    /// Whether another writer has the stream by now, of another volume perhaps: one whose disk hangs may never say that it ends.
    fn went_elsewhere(&self) -> bool {
        let Some(tail) = &self.tail else { return false };
        self.disk.source.tail(&self.name).is_some_and(|now| !now.is_same(tail))
    }

    /// The tail has dropped what follows. Where that is so right behind a look at the disk, another one would take as long.
    fn behind(&mut self) {
        self.late |= std::mem::take(&mut self.has_read);
        self.reattach();
    }

    fn attach(&mut self) {
        self.tail = self.disk.source.tail(&self.name);
        if self.tail.is_none() {
            self.wait(None);
            self.registry.rest(TURN);
        }
    }

    /// The tail is read from its beginning, and joined to what was given.
    fn reattach(&mut self) {
        self.joined = false;
        self.pending.clear();
        self.attach();
    }

    /// Nobody writes the stream now. Whoever writes it next may be another writer, of another volume even.
    fn ended(&mut self) {
        self.wait(None);
        if self.tail.as_ref().is_some_and(|tail| !tail.await_writer(TURN)) && self.went_elsewhere() {
            self.reattach();
        }
    }

    fn take(&mut self, mut items: Vec<TailItem>) {
        loop {
            let more = !items.is_empty();
            for item in &items {
                if let TailItem::Configuration(hash, configuration) = item {
                    self.mux.learn(*hash, configuration);
                }
            }
            if self.joined {
                self.has_read &= !more;
                return self.give(items);
            }
            self.pending.extend(items);
            let is_full =
                self.pending.len() >= PENDING_MAX || self.pending_bytes() >= self.options.group_bytes_max;
            // All that is in memory is looked at, before the disk is.
            let Some(tail) = self.tail.as_mut().filter(|_| more && !is_full) else { break };
            match tail.follow(None, Duration::ZERO) {
                TailRead::Items(next) => items = next,
                TailRead::Behind => return self.behind(),
                TailRead::Ended => break,
            }
        }
        match self.pending.iter().all(|item| matches!(item, TailItem::Configuration(..))) {
            true => self.idle(),
            false => self.begin(),
        }
    }

    fn pending_bytes(&self) -> usize {
        self.pending.iter().map(bytes_of).sum()
    }

    /// Nothing came since all was written: viewers are given the newest group of pictures from the disk. What comes is joined to that.
    fn idle(&mut self) {
        if self.last.is_some() || std::mem::replace(&mut self.looked, true) {
            return;
        }
        match self.read(back::newest(now()), &[]) {
            Ok(joined) => self.give(joined.items),
            // Of a new stream there is nothing yet.
            Err(error) => tracing::debug!(%error, stream = %self.name, "live: nothing is shown of the disk"),
        }
    }

    /// Finds where the mux begins, or goes on, in what is pending; what the tail no longer has is read from the disk.
    fn begin(&mut self) {
        let last = self.last.map(|(place, _)| place);
        let entry = |sample: &_| self.mux.entry(sample);
        let found = match start(last, &self.pending, entry) {
            Start::Before if self.late => in_tail(&self.pending, entry),
            found => found,
        };
        match found {
            Start::Nowhere => {
                let waits = self.pending.iter().rev().find_map(|item| match item {
                    TailItem::Gap(gap) if gap.to.is_none() => Some(gap.from),
                    _ => None,
                });
                if let Some(since) = waits {
                    self.wait(Some(since));
                }
                self.bound_pending();
            }
            Start::At { index, goes_on } => {
                let items = self.pending.split_off(index);
                self.go_on(goes_on, items);
            }
            Start::Before => {
                let items = std::mem::take(&mut self.pending);
                self.has_read = true;
                let wanted = back::missing(self.last, &items);
                let read = wanted.map_or_else(|| Ok(Joined::default()), |wanted| self.read(wanted, &items));
                let joined = read.unwrap_or_else(|error| {
                    tracing::warn!(%error, stream = %self.name, "live: the disk cannot be read; beginning with the next keyframe");
                    Default::default()
                });
                let all = joined.items.into_iter().chain(items).collect();
                self.go_on(joined.goes_on, all);
            }
        }
    }

    /// What is too much of what waits is forgotten, the oldest first.
    fn bound_pending(&mut self) {
        let (mut items, mut bytes) = (self.pending.len(), self.pending_bytes());
        let is_too_much = |item: &&TailItem| {
            let too_much = items > PENDING_MAX || bytes > self.options.group_bytes_max;
            (items, bytes) = (items - 1, bytes - bytes_of(item));
            too_much
        };
        let too_many = self.pending.iter().take_while(is_too_much).count();
        self.pending.drain(..too_many);
    }

    fn go_on(&mut self, goes_on: bool, items: Vec<TailItem>) {
        // What is left of it comes before the items, and is not given.
        let pending = std::mem::take(&mut self.pending);
        if !goes_on {
            let left_out = pending.iter().filter(|item| matches!(item, TailItem::Sample(_))).count() as u64;
            // While nothing was recorded, nothing was missed.
            let missed = self.last.is_some() && self.waiting.is_none();
            self.mux.interrupt(missed.then_some(left_out));
        }
        (self.joined, self.late) = (true, false);
        self.give(items);
    }

    /// What the disk has before these items.
    fn read(&mut self, wanted: back::Wanted, items: &[TailItem]) -> crate::error::Result<Joined> {
        let Follower { name, disk, registry, options, mux, .. } = self;
        let is_watched = || registry.wants(name, options.linger);
        back::read(disk, wanted, items, mux, is_watched, options.group_bytes_max)
    }

    fn give(&mut self, items: Vec<TailItem>) {
        let mut out = Vec::new();
        for item in items {
            match &item {
                TailItem::Sample(sample) => {
                    self.last = Some((place(sample), sample.wall));
                    self.waiting = None;
                }
                TailItem::Gap(gap) if gap.to.is_none() => {
                    self.mux.flush(&mut out);
                    out.extend(self.waits(Some(gap.from)));
                    continue;
                }
                _ => {}
            }
            self.mux.push(item, &mut out);
        }
        if !out.is_empty() {
            self.channel.push(out);
        }
    }

    /// Tells the viewers that nothing is recorded.
    fn wait(&mut self, since: Option<WallTime>) {
        let mut out = Vec::new();
        if self.waiting.is_none() {
            self.mux.flush(&mut out);
        }
        out.extend(self.waits(since));
        if !out.is_empty() {
            self.channel.push(out);
        }
    }

    fn waits(&mut self, since: Option<WallTime>) -> Option<Message> {
        if self.waiting.is_some() {
            return None;
        }
        let since = since.or(self.last.map(|(_, wall)| wall)).unwrap_or_else(now);
        self.waiting = Some(since);
        Some(Message::Waiting { since })
    }
}

fn bytes_of(item: &TailItem) -> usize {
    match item {
        TailItem::Sample(sample) => sample.data.len(),
        _ => 0,
    }
}

#[cfg(test)]
#[path = "follower_tests.rs"]
mod tests;
