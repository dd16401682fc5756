//! The recorder: all streams of all cameras on one small runtime of its own.
//!
//! It records into a volume that the caller has open and closes afterwards. Every stream is a task of its own; what happens
//! to one never reaches another.

use crate::camera::Camera;
use crate::event::Event;
use crate::status::{StatusCell, StreamStatus};
use crate::stream::{Shared, StreamTask};
use keha_fs::{StreamName, Writer};
use std::collections::BTreeSet;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Events that wait for a reader; further ones are left out.
const EVENTS: usize = 1_024;
/// One thread handles many streams: they mostly wait.
const STREAMS_PER_THREAD: usize = 32;
const THREADS_MAX: usize = 4;
/// How long a thread waits, once it has nothing to do, before it looks at its sockets again. What arrives meanwhile, from all
/// cameras, is taken in one go; being woken for each packet was most of what recording cost
/// (docs/decisions/0006-sockets-are-looked-at-every-ten-milliseconds.md). Arrival is noted up to this late.
pub(crate) const PAUSE: Duration = Duration::from_millis(10);
/// A stream that does not end within this time is left behind.
const STOP: Duration = Duration::from_secs(5);

/// Why recording cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Two cameras, or two streams, of one name.
    #[error("two cameras are called {0}: give each a name of its own")]
    Twice(StreamName),
    /// The volume does not take a stream.
    #[error("{name}: {source}")]
    Volume {
        /// Which stream.
        name: StreamName,
        /// Why not.
        source: keha_fs::Error,
    },
    /// The operating system gives no threads.
    #[error("cannot start the recorder's threads: {0}")]
    Threads(std::io::Error),
}

/// Records cameras until it is stopped.
#[derive(Debug)]
pub struct Recorder {
    runtime: Option<Runtime>,
    tasks: Vec<JoinHandle<()>>,
    stop: watch::Sender<bool>,
    cells: Vec<Arc<Mutex<StatusCell>>>,
    events: Option<Receiver<Event>>,
}

impl Recorder {
    /// Starts recording `cameras` into the volume of `writer`, which must outlive the recorder.
    ///
    /// Not to be called from async code, neither is [`Recorder::stop`]: both may block.
    pub fn start(writer: &Writer, cameras: &[Camera]) -> Result<Recorder, StartError> {
        let streams: Vec<_> = cameras.iter().flat_map(Camera::streams).collect();
        let mut names = BTreeSet::new();
        if let Some((name, _)) = streams.iter().find(|(name, _)| !names.insert(*name)) {
            return Err(StartError::Twice((*name).clone()));
        }
        let (sender, events) = sync_channel(EVENTS);
        let shared = Arc::new(Shared::new(sender));
        let (stop, stopping) = watch::channel(false);
        let mut cells = Vec::new();
        let mut ready = Vec::new();
        for (name, url) in streams {
            let sink =
                writer.stream(name).map_err(|source| StartError::Volume { name: name.clone(), source })?;
            let last = sink.last_recorded();
            let now = shared.clock.now().wall;
            let cell = Arc::new(Mutex::new(StatusCell::new(name.clone(), url.clone(), now)));
            cells.push(Arc::clone(&cell));
            let (shared, stop) = (Arc::clone(&shared), stopping.clone());
            ready.push(StreamTask::new(name.clone(), url.clone(), sink, last, shared, cell, stop));
        }
        let threads = (1 + ready.len() / STREAMS_PER_THREAD).min(THREADS_MAX);
        let runtime = runtime(threads).map_err(StartError::Threads)?;
        let tasks = ready.into_iter().map(|task| runtime.spawn(task.run())).collect();
        Ok(Recorder { runtime: Some(runtime), tasks, stop, cells, events: Some(events) })
    }

    /// What each stream is doing, in the order of the cameras.
    pub fn status(&self) -> Vec<StreamStatus> {
        self.cells.iter().map(|cell| cell.lock().unwrap_or_else(PoisonError::into_inner).snapshot()).collect()
    }

    /// The events from now on; `None` if they were taken already. A reader that lags behind by 1,024 events misses some.
    pub fn take_events(&mut self) -> Option<Receiver<Event>> {
        self.events.take()
    }

    /// Stops: what has arrived is given to the volume, and no gap is written. Returns the last status of each stream. Blocks
    /// for a moment, at most about six seconds. The caller then closes the writer.
    pub fn stop(mut self) -> Vec<StreamStatus> {
        self.end();
        self.status()
    }

    fn end(&mut self) {
        let Some(runtime) = self.runtime.take() else { return };
        self.stop.send_replace(true);
        let tasks = std::mem::take(&mut self.tasks);
        runtime.block_on(async {
            let all = async {
                for task in tasks {
                    if let Err(error) = task.await {
                        tracing::error!(%error, "a stream's task failed");
                    }
                }
            };
            if tokio::time::timeout(STOP, all).await.is_err() {
                tracing::warn!("a stream did not stop within 5 s and is left behind");
            }
        });
        runtime.shutdown_timeout(Duration::from_secs(1));
    }
}

/// What streams run on: threads that look at their sockets every [`PAUSE`].
pub(crate) fn runtime(threads: usize) -> std::io::Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name("keha-recorder")
        .on_thread_park(|| std::thread::sleep(PAUSE))
        .enable_all()
        .build()
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.end();
    }
}
