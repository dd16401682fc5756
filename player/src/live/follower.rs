//! The thread of one stream: follows its tail, has it muxed, gives what comes of it to the viewers.

use super::join::{join, place};
use super::message::Message;
use super::mux::Mux;
use super::registry::Registry;
use super::start::{Start, start};
use super::viewer::Channel;
use super::{LiveOptions, LiveSource};
use crate::error::Result;
use crate::time::now;
use keha_fs::{Item, SamplePlace, StreamName, Tail, TailItem, TailRead, TimeRange, WallTime};
use std::sync::Arc;
use std::time::Duration;

/// How long one look at the tail waits: how late the thread notices that nobody watches any more.
const TURN: Duration = Duration::from_millis(250);
/// The disk is read from this long before what is looked for: by then the run had something on it, or it has nothing to begin with.
const READ_BACK_NS: i64 = 5_000_000_000;
/// What is missing for longer is not read from the disk: viewers want what is now.
const MISSED_NS_MAX: i64 = 60_000_000_000;
/// So many items are held while it is not known where to begin.
const PENDING_MAX: usize = 4096;

/// What feeds the viewers of one stream.
pub(super) struct Follower {
    name: StreamName,
    source: Arc<dyn LiveSource>,
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
        let (mux, tail, last, joined, pending, waiting) = (Mux::new(), None, None, false, Vec::new(), None);
        Follower { name, source, channel, registry, options, mux, tail, last, joined, pending, waiting }
    }

    /// Runs until nobody has watched for a while.
    pub(super) fn run(mut self) {
        let _farewell = Farewell(self.name.clone(), Arc::clone(&self.channel), Arc::clone(&self.registry));
        while !self.registry.retire(&self.name, self.options.linger) {
            match &mut self.tail {
                None => self.attach(),
                Some(tail) => match tail.follow(None, TURN) {
                    TailRead::Items(items) => self.take(items),
                    TailRead::Behind => self.reattach(),
                    TailRead::Ended => self.ended(),
                },
            }
        }
    }

    fn attach(&mut self) {
        self.tail = self.source.tail(&self.name);
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
        let Some(tail) = &self.tail else { return };
        if tail.await_writer(TURN) {
            return;
        }
        if self.source.tail(&self.name).is_some_and(|now| !now.is_same(tail)) {
            self.reattach();
        }
    }

    fn take(&mut self, items: Vec<TailItem>) {
        for item in &items {
            if let TailItem::Configuration(hash, configuration) = item {
                self.mux.learn(*hash, configuration);
            }
        }
        if self.joined {
            return self.give(items);
        }
        if items.is_empty() && self.pending.is_empty() {
            return;
        }
        let more = !items.is_empty();
        self.pending.extend(items);
        let bytes: usize = self.pending.iter().map(bytes_of).sum();
        if more && self.pending.len() < PENDING_MAX && bytes < self.options.group_bytes_max {
            // All that is in memory is looked at, before the disk is.
            if let Some(tail) = &mut self.tail
                && let TailRead::Items(items) = tail.follow(None, Duration::ZERO)
            {
                return self.take(items);
            }
        }
        self.begin();
    }

    /// Finds where the mux begins, or goes on, in what is pending; what the tail no longer has is read from the disk.
    fn begin(&mut self) {
        let last = self.last.map(|(place, _)| place);
        match start(last, &self.pending, |sample| self.mux.entry(sample)) {
            Start::Nowhere => {
                let waits = self.pending.iter().rev().find_map(|item| match item {
                    TailItem::Gap(gap) if gap.to.is_none() => Some(gap.from),
                    _ => None,
                });
                if let Some(since) = waits {
                    self.wait(Some(since));
                }
                let too_many = self.pending.len().saturating_sub(PENDING_MAX);
                self.pending.drain(..too_many);
            }
            Start::At { index, goes_on } => {
                let items = self.pending.split_off(index);
                self.go_on(goes_on, items);
            }
            Start::Before => {
                let items = std::mem::take(&mut self.pending);
                let read = self.read_back(&items);
                let joined = read.unwrap_or_else(|error| {
                    tracing::warn!(%error, stream = %self.name, "live: the disk cannot be read; beginning with the next keyframe");
                    Default::default()
                });
                let all = joined.items.into_iter().chain(items).collect();
                self.go_on(joined.goes_on, all);
            }
        }
    }

    fn go_on(&mut self, goes_on: bool, items: Vec<TailItem>) {
        if !goes_on {
            self.mux.interrupt();
        }
        self.joined = true;
        self.pending = Vec::new();
        self.give(items);
    }

    /// What the disk has before these items.
    fn read_back(&mut self, items: &[TailItem]) -> Result<super::join::Joined> {
        let first = items.iter().find_map(|item| match item {
            TailItem::Sample(sample) => Some(sample.wall),
            _ => None,
        });
        let Some(first) = first else { return Ok(Default::default()) };
        let last = self.last.filter(|(_, wall)| first.since_ns(*wall).saturating_abs() < MISSED_NS_MAX);
        let from = last.map_or(first, |(_, wall)| wall.min(first)).plus_ns(-READ_BACK_NS);
        let last = last.map(|(place, _)| place);
        let volume = self.source.volume(&self.name)?;
        let stream = volume.stream(&self.name)?;
        let mut cursor = volume.read(stream.id, TimeRange { from: Some(from), to: None })?;
        let mux = std::cell::RefCell::new(&mut self.mux);
        let learn = |item: &Item| {
            if let Item::Configuration(hash, configuration) = item {
                mux.borrow_mut().learn(*hash, configuration);
            }
        };
        let entry = |sample: &keha_fs::StoredSample| mux.borrow().entry(sample);
        Ok(join(last, || cursor.next_item(), items, entry, learn, self.options.group_bytes_max)?)
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
