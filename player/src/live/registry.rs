//! Who watches what: a thread for each stream that has viewers, and no other.

use super::readers::Readers;
use super::viewer::Channel;
use keha_fs::StreamName;
use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The streams that have viewers, or had some a little while ago.
#[derive(Default)]
pub(super) struct Registry {
    seats: Mutex<Seats>,
    changed: Condvar,
    /// Those who read disks for any of them.
    pub(super) readers: Arc<Readers>,
}

#[derive(Default)]
pub(super) struct Seats {
    pub(super) streams: BTreeMap<StreamName, Stream>,
    pub(super) closed: bool,
}

impl Seats {
    fn wants(&self, name: &StreamName, linger: Duration) -> bool {
        let is_wanted = |stream: &Stream| stream.viewers > 0 || stream.left.elapsed() < linger;
        !self.closed && self.streams.get(name).is_some_and(is_wanted)
    }
}

/// A stream with its viewers.
pub(super) struct Stream {
    pub(super) channel: Arc<Channel>,
    pub(super) viewers: usize,
    left: Instant,
}

impl Stream {
    pub(super) fn new(channel: Arc<Channel>) -> Stream {
        Stream { channel, viewers: 0, left: Instant::now() }
    }
}

impl Registry {
    pub(super) fn lock(&self) -> MutexGuard<'_, Seats> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a stream's thread is to go on.
    pub(super) fn wants(&self, name: &StreamName, linger: Duration) -> bool {
        self.lock().wants(name, linger)
    }

    /// Whether a stream's thread is to end: then the stream is forgotten.
    pub(super) fn retire(&self, name: &StreamName, linger: Duration) -> bool {
        let mut seats = self.lock();
        if seats.wants(name, linger) {
            return false;
        }
        self.forget(&mut seats, name);
        true
    }

    /// A stream's thread ended, however it did.
    pub(super) fn gone(&self, name: &StreamName, channel: &Arc<Channel>) {
        channel.close();
        let mut seats = self.lock();
        if seats.streams.get(name).is_some_and(|stream| Arc::ptr_eq(&stream.channel, channel)) {
            self.forget(&mut seats, name);
        }
    }

    fn forget(&self, seats: &mut Seats, name: &StreamName) {
        seats.streams.remove(name);
        self.changed.notify_all();
    }

    /// Rests, less long where something changes.
    pub(super) fn rest(&self, wait: Duration) {
        let seats = self.lock();
        if !seats.closed {
            drop(self.changed.wait_timeout(seats, wait));
        }
    }

    /// All threads are to end.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// Waits until no thread is left; whether that is so.
    pub(super) fn await_idle(&self, wait: Duration) -> bool {
        let deadline = Instant::now() + wait;
        let mut seats = self.lock();
        while !seats.streams.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.changed.wait_timeout(seats, left);
            seats = waited.map_or_else(|error| error.into_inner().0, |(seats, _)| seats);
        }
        true
    }
}

/// A viewer's place among those of its stream; dropping it gives it up.
pub(super) struct Seat {
    pub(super) registry: Arc<Registry>,
    pub(super) name: StreamName,
    pub(super) channel: Arc<Channel>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut seats = self.registry.lock();
        let stream = seats.streams.get_mut(&self.name);
        if let Some(stream) = stream.filter(|stream| Arc::ptr_eq(&stream.channel, &self.channel)) {
            stream.viewers = stream.viewers.saturating_sub(1);
            stream.left = Instant::now();
        }
        self.registry.changed.notify_all();
    }
}
