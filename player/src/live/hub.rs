//! The hub: hands out viewers, and starts what feeds them.

use super::follower::Follower;
use super::registry::{Registry, Seat, Stream};
use super::viewer::{Channel, Viewer};
use super::{LiveOptions, LiveSource};
use crate::error::{Error, Result};
use keha_fs::StreamName;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Live video of any number of streams for many viewers. Dropping it ends all of them.
pub struct LiveHub {
    source: Arc<dyn LiveSource>,
    options: LiveOptions,
    registry: Arc<Registry>,
}

impl LiveHub {
    /// A hub that nobody watches: it has no thread.
    pub fn new(source: Arc<dyn LiveSource>, options: LiveOptions) -> LiveHub {
        LiveHub { source, options, registry: Arc::default() }
    }

    /// Watches a stream. One that is not being recorded is waited for: who asks knows whether there is such a stream. Does not block
    /// on the disk.
    ///
    /// # Errors
    /// [`Error::Busy`] if there are too many viewers already, no thread could be started, or the hub is closed.
    pub fn watch(&self, name: &StreamName) -> Result<Viewer> {
        let mut seats = self.registry.lock();
        let viewers: usize = seats.streams.values().map(|stream| stream.viewers).sum();
        if viewers >= self.options.viewers_max {
            return Err(Error::Busy(format!(
                "{viewers} viewers watch live already: close some, or ask later"
            )));
        }
        if seats.closed {
            return Err(Error::Busy("live video is being shut down".to_owned()));
        }
        if !seats.streams.contains_key(name) {
            let channel = Arc::new(Channel::new(self.options));
            let (registry, source) = (Arc::clone(&self.registry), Arc::clone(&self.source));
            let follower = Follower::new(name.clone(), source, Arc::clone(&channel), registry, self.options);
            let builder = std::thread::Builder::new().name("keha-live".to_owned());
            builder
                .spawn(move || follower.run())
                .map_err(|error| Error::Busy(format!("no thread for live video can be started: {error}")))?;
            seats.streams.insert(name.clone(), Stream::new(channel));
        }
        let stream =
            seats.streams.get_mut(name).ok_or_else(|| Error::Busy("the stream is gone".to_owned()))?;
        stream.viewers += 1;
        let channel = Arc::clone(&stream.channel);
        drop(seats);
        let seat =
            Seat { registry: Arc::clone(&self.registry), name: name.clone(), channel: Arc::clone(&channel) };
        Ok(Viewer::new(channel, seat))
    }

    /// The streams that are being muxed now, and how many watch each: 0 for a little while after the last has left.
    pub fn watched(&self) -> BTreeMap<StreamName, usize> {
        let seats = self.registry.lock();
        seats.streams.iter().map(|(name, stream)| (name.clone(), stream.viewers)).collect()
    }

    /// Takes no more viewers, and tells all there are that nothing more comes.
    pub fn close(&self) {
        self.registry.close();
    }

    /// Waits up to `wait` until no stream is being muxed; whether that is so.
    pub fn await_idle(&self, wait: Duration) -> bool {
        self.registry.await_idle(wait)
    }
}

impl Drop for LiveHub {
    fn drop(&mut self) {
        self.close();
    }
}
