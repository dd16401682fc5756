//! A viewer, and what it shares with the thread that feeds it.

use super::LiveOptions;
use super::message::Message;
use super::registry::Seat;
use super::ring::{Place, Ring};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::watch;

/// One stream's messages, and who waits for more.
pub(super) struct Channel {
    ring: Mutex<Ring>,
    /// Changes with each message; `true` once no more will come.
    more: watch::Sender<bool>,
    since: Instant,
}

impl Channel {
    pub(super) fn new(options: LiveOptions) -> Channel {
        Channel {
            ring: Mutex::new(Ring::new(options)),
            more: watch::Sender::new(false),
            since: Instant::now(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives messages to all viewers.
    pub(super) fn push(&self, messages: impl IntoIterator<Item = Message>) {
        let at = self.since.elapsed();
        let mut ring = self.lock();
        messages.into_iter().for_each(|message| ring.push(message, at));
        ring.trim(at);
        drop(ring);
        self.more.send_modify(|_| ());
    }

    /// No more will come.
    pub(super) fn close(&self) {
        self.more.send_replace(true);
    }
}

/// Somebody who watches a stream live. Dropping it leaves.
pub struct Viewer {
    channel: Arc<Channel>,
    place: Place,
    more: watch::Receiver<bool>,
    _seat: Seat,
}

impl Viewer {
    pub(super) fn new(channel: Arc<Channel>, seat: Seat) -> Viewer {
        let (place, more) = (channel.lock().enter(), channel.more.subscribe());
        Viewer { channel, place, more, _seat: seat }
    }

    /// What comes next; waits for it. `None` once the hub is closed. Nothing is lost if the wait is given up.
    pub async fn next(&mut self) -> Option<Message> {
        loop {
            let closed = *self.more.borrow_and_update();
            if let Some(message) = self.try_next() {
                return Some(message);
            }
            if closed || self.more.changed().await.is_err() {
                return None;
            }
        }
    }

    /// What comes next, if it is there.
    pub fn try_next(&mut self) -> Option<Message> {
        self.channel.lock().next(&mut self.place)
    }
}
