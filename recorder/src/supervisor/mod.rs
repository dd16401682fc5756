//! The recorder: all streams of all cameras of a volume on one small runtime of its own.
//!
//! It records into a volume that the caller has open and closes afterwards. Every stream is a task of its own; what happens
//! to one never reaches another. Cameras come and go while others are recorded:
//!
//! ```text
//! add ------> recorded <---- start_stream ---- stopped        remove: from either; what is recorded stays in the volume
//!                |                                ^
//!                +---- stop_stream ---------------+           change: ends and begins those streams alone whose address or
//!                                                                     credentials differ; a stopped one stays stopped
//! ```
//!
//! One change is made at a time. It waits, bounded, for the tasks that it ends, so that their streams can be had from the
//! volume again; asking for the status waits for none of that. What is missing in between is a gap with the reason `stopped`.

mod coming;
mod member;
#[cfg(test)]
mod tests;

use crate::camera::{Camera, CameraUrl};
use crate::event::Event;
use crate::gaps::Before;
use crate::moderation::Moderation;
use crate::status::{StatusCell, StreamState, StreamStatus};
use crate::stream::{Shared, StreamTask};
use coming::Arrival;
pub use coming::{Begins, CameFrom, Coming, Crossing};
use keha_fs::{GapReason, StreamId, StreamName, Tail, WallTime, Writer};
use member::{Member, Task};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::time::Instant;

/// Events that wait for a reader; further ones are left out.
const EVENTS: usize = 1_024;
/// One thread handles many streams: they mostly wait.
const STREAMS_PER_THREAD: usize = 32;
const THREADS_MAX: usize = 4;
/// How long a volume is waited for until it takes a stream, where others wait, too.
const ADMITTED: Duration = Duration::from_secs(5);

/// Why recording cannot start, or cannot be changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Two cameras, or two streams, of one name.
    #[error("two cameras are called {0}: give each a name of its own")]
    Twice(StreamName),
    /// There is no such stream.
    #[error("no stream {0} is recorded here")]
    Unknown(StreamName),
    /// A stream did not end in time.
    #[error("stream {0} does not stop: try again, or restart the recorder")]
    Stuck(StreamName),
    /// The volume does not take a stream.
    #[error("{name}: {source}")]
    Volume {
        /// Which stream.
        name: StreamName,
        /// Why not.
        source: keha_fs::Error,
    },
    /// The recorder was told to stop.
    #[error("the recorder stops: nothing more is recorded")]
    Stopping,
    /// The operating system gives no threads.
    #[error("cannot start the recorder's threads: {0}")]
    Threads(std::io::Error),
}

/// Records cameras into one volume until it is stopped.
///
/// Nothing here is to be called from async code but [`Recorder::status`] and [`Recorder::tail`]: the rest may block.
pub struct Recorder {
    runtime: Option<Runtime>,
    shared: Arc<Shared>,
    members: Mutex<Vec<Member>>,
    /// Held through a change. In it: up to when there is footage of the streams that were ended.
    changing: Mutex<BTreeMap<StreamName, WallTime>>,
    events: Mutex<Option<Receiver<Event>>>,
    /// Once it was told to stop: when all is to have ended.
    stopping: OnceLock<Instant>,
}

impl Recorder {
    /// Starts recording `cameras` into the volume of `writer`, which must outlive the recorder.
    ///
    /// # Errors
    /// [`StartError`]; nothing is recorded then.
    pub fn start(writer: &Writer, cameras: &[Camera]) -> Result<Recorder, StartError> {
        let recorder = Recorder::with_room(cameras.iter().flat_map(Camera::streams).count())?;
        recorder.add_all(writer, cameras)?;
        Ok(recorder)
    }

    /// A recorder that records nothing yet, with threads for about so many streams.
    ///
    /// # Errors
    /// [`StartError::Threads`].
    pub fn with_room(streams: usize) -> Result<Recorder, StartError> {
        let (sender, events) = sync_channel(EVENTS);
        let threads = (1 + streams / STREAMS_PER_THREAD).min(THREADS_MAX);
        let shared = Shared::new(sender);
        Ok(Recorder {
            runtime: Some(runtime(threads, Arc::clone(&shared.moderation)).map_err(StartError::Threads)?),
            shared: Arc::new(shared),
            members: Mutex::default(),
            changing: Mutex::default(),
            events: Mutex::new(Some(events)),
            stopping: OnceLock::new(),
        })
    }

    /// Records a further camera into the volume of `writer`, the same for all.
    ///
    /// # Errors
    /// [`StartError`]; the camera is not recorded then, the others are.
    pub fn add(&self, writer: &Writer, camera: &Camera) -> Result<(), StartError> {
        self.add_all(writer, std::slice::from_ref(camera))
    }

    /// Records a camera as it is now: streams that are new begin, those that are no more end, those whose address or
    /// credentials are others begin anew, and the others go on untouched. A camera that is not recorded yet is added. Streams that
    /// are new and `stopped` are there, and are not recorded until [`Recorder::start_stream`].
    ///
    /// # Errors
    /// [`StartError`]; streams that were to begin are not recorded then.
    pub fn change(
        &self,
        writer: &Writer,
        camera: &Camera,
        stopped: &BTreeSet<StreamName>,
    ) -> Result<(), StartError> {
        self.change_with(writer, camera, stopped, BTreeMap::new())
    }

    /// The same. Of streams that begin, it is told what is known of them elsewhere. What they carry goes out behind this, and before
    /// what their sessions bring. Others wait for whoever calls this: a volume that does not answer is waited for only a little.
    ///
    /// # Errors
    /// As [`Recorder::change`].
    pub fn change_with(
        &self,
        writer: &Writer,
        camera: &Camera,
        stopped: &BTreeSet<StreamName>,
        coming: BTreeMap<StreamName, Coming>,
    ) -> Result<(), StartError> {
        let mut ended = lock(&self.changing);
        let wanted: BTreeMap<&StreamName, &CameraUrl> = camera.streams().collect();
        let differs =
            |member: &Member| wanted.get(&member.name).is_none_or(|address| **address != member.url);
        let (mut end, mut known) = (Vec::new(), BTreeSet::new());
        for member in lock(&self.members).iter_mut().filter(|member| member.camera == *camera.name()) {
            let address = wanted.get(&member.name).filter(|_| member.task.is_none());
            if let Some(address) = address {
                member.url = (*address).clone();
                member.status().status.url = (*address).clone();
            }
            if differs(member) {
                end.push(member.name.clone());
            } else {
                known.insert(member.name.clone());
            }
        }
        self.end(&mut ended, &end)?;
        self.forget(&end);
        let new = camera.streams().filter(|(name, _)| !known.contains(*name));
        let new = new.map(|(name, url)| (camera.name(), name, url));
        self.begin(&mut ended, writer, new, stopped, coming)
    }

    /// Records a camera no longer. What was recorded stays. False if it is not recorded here.
    ///
    /// # Errors
    /// [`StartError::Stuck`]: it is still there.
    pub fn remove(&self, camera: &StreamName) -> Result<bool, StartError> {
        self.remove_all(&BTreeSet::from([camera.clone()]))
    }

    /// The same of several cameras, all at once. False if none of them is recorded here.
    ///
    /// # Errors
    /// As [`Recorder::remove`]: all are still there.
    pub fn remove_all(&self, cameras: &BTreeSet<StreamName>) -> Result<bool, StartError> {
        let mut ended = lock(&self.changing);
        let own = lock(&self.members);
        let theirs = own.iter().filter(|member| cameras.contains(&member.camera));
        let names: Vec<_> = theirs.map(|member| member.name.clone()).collect();
        drop(own);
        self.end(&mut ended, &names)?;
        self.forget(&names);
        Ok(!names.is_empty())
    }

    /// Stops recording one stream; it stays in the status. Of one that is stopped already nothing changes.
    ///
    /// # Errors
    /// [`StartError::Unknown`], [`StartError::Stuck`].
    pub fn stop_stream(&self, name: &StreamName) -> Result<(), StartError> {
        let mut ended = lock(&self.changing);
        if !lock(&self.members).iter().any(|member| member.name == *name) {
            return Err(StartError::Unknown(name.clone()));
        }
        self.end(&mut ended, std::slice::from_ref(name))
    }

    /// Records a stream again that was stopped. Of one that is recorded nothing changes.
    ///
    /// # Errors
    /// [`StartError::Unknown`], [`StartError::Volume`].
    pub fn start_stream(&self, writer: &Writer, name: &StreamName) -> Result<(), StartError> {
        let mut ended = lock(&self.changing);
        let members = lock(&self.members);
        let member = members.iter().find(|member| member.name == *name);
        let Some(member) = member else { return Err(StartError::Unknown(name.clone())) };
        if member.task.is_some() {
            return Ok(());
        }
        let (camera, url) = (member.camera.clone(), member.url.clone());
        drop(members);
        let stream = std::iter::once((&camera, name, &url));
        self.begin(&mut ended, writer, stream, &BTreeSet::new(), BTreeMap::new())
    }

    /// What each stream is doing, in the order in which they were added.
    pub fn status(&self) -> Vec<StreamStatus> {
        lock(&self.members).iter().map(|member| member.status().snapshot()).collect()
    }

    /// The identities of the streams in the volume, by name.
    pub fn identities(&self) -> BTreeMap<StreamName, StreamId> {
        lock(&self.members).iter().map(|member| (member.name.clone(), member.id)).collect()
    }

    /// Up to when there is footage of the streams that were ended here, or are not recorded since.
    pub fn ended(&self) -> BTreeMap<StreamName, WallTime> {
        lock(&self.changing).clone()
    }

    /// The newest samples of a stream from memory.
    pub fn tail(&self, name: &StreamName) -> Option<Tail> {
        lock(&self.members).iter().find(|member| member.name == *name).map(|member| member.tail.clone())
    }

    /// The events from now on; `None` if they were taken already. A reader that lags behind by 1,024 events misses some.
    pub fn take_events(&self) -> Option<Receiver<Event>> {
        lock(&self.events).take()
    }

    /// Tells all streams to stop, as [`Recorder::stop`] does, and waits for none of them. Nothing begins any more.
    pub fn tell_to_stop(&self) {
        self.stopping.get_or_init(Task::deadline);
        self.shared.moderation.attend();
        for member in lock(&self.members).iter() {
            if let Some(task) = &member.task {
                task.stop.send_replace(true);
            }
        }
    }

    /// Stops: what has arrived is given to the volume, and no gap is written. Returns the last status of each stream. Blocks
    /// for a moment, until at most four seconds after the recorder was told so first. The caller then closes the writer.
    pub fn stop(&self) -> Vec<StreamStatus> {
        self.tell_to_stop();
        let mut ended = lock(&self.changing);
        let names: Vec<_> = lock(&self.members).iter().map(|member| member.name.clone()).collect();
        if let Err(error) = self.end(&mut ended, &names) {
            tracing::error!(%error, "it is left behind");
        }
        self.status()
    }

    fn add_all(&self, writer: &Writer, cameras: &[Camera]) -> Result<(), StartError> {
        let mut ended = lock(&self.changing);
        let mut names: BTreeSet<_> = lock(&self.members).iter().map(|member| member.name.clone()).collect();
        let mut streams = Vec::new();
        for camera in cameras {
            streams.extend(camera.streams().map(|(name, url)| (camera.name(), name, url)));
        }
        if let Some((_, name, _)) = streams.iter().find(|(_, name, _)| !names.insert((*name).clone())) {
            return Err(StartError::Twice((*name).clone()));
        }
        self.begin(&mut ended, writer, streams.into_iter(), &BTreeSet::new(), BTreeMap::new())
    }

    /// Begins streams, all or none; those that are stopped are only put with the others.
    fn begin<'a>(
        &self,
        ended: &mut BTreeMap<StreamName, WallTime>,
        writer: &Writer,
        streams: impl Iterator<Item = (&'a StreamName, &'a StreamName, &'a CameraUrl)>,
        stopped: &BTreeSet<StreamName>,
        mut coming: BTreeMap<StreamName, Coming>,
    ) -> Result<(), StartError> {
        let Some(runtime) = &self.runtime else { return Ok(()) };
        let _attentive = self.shared.moderation.hold();
        let (mut admitted, mut ready) = (Vec::new(), Vec::new());
        for (camera, name, url) in streams {
            let Coming { id, from } = coming.remove(name).unwrap_or_default();
            let sink = writer.stream_within(name, id, ADMITTED);
            let sink = sink.map_err(|source| StartError::Volume { name: name.clone(), source })?;
            admitted.push((camera, name, url, sink, from));
        }
        for (camera, name, url, mut sink, from) in admitted {
            let here = ended.get(name).copied();
            let mut arrival = from.map(|from| Arrival::begin(from, &mut sink, here));
            if stopped.contains(name)
                && let Some(mut arrival) = arrival.take()
            {
                // Nobody records it: what it carries is taken as far as there is room now.
                let now = std::time::Instant::now();
                arrival.step(&mut sink, now, now);
                ended.extend(arrival.settle(&mut sink).map(|last| (name.clone(), last)));
            }
            let before = match (ended.get(name), sink.last_recorded()) {
                // What this recorder ended may not be on the disk yet.
                (Some(end), last) => {
                    Some(Before::from((last.map_or(*end, |last| last.max(*end)), GapReason::Stopped)))
                }
                (None, last) => last.map(|last| Before::from((last, GapReason::RecorderDown))),
            };
            let (stop, stopping) = watch::channel(false);
            let now = self.shared.clock.now().wall;
            let mut cell = StatusCell::new(name.clone(), url.clone(), now);
            cell.status.last_sample = before.as_ref().and_then(|before| before.last);
            if stopped.contains(name) {
                cell.enter(StreamState::Stopped, now);
            }
            let cell = Arc::new(Mutex::new(cell));
            let (id, tail, shared) = (sink.id(), sink.tail(), Arc::clone(&self.shared));
            let (told, of, from) = (Arc::clone(&cell), name.clone(), url.clone());
            let task = async move {
                let at_once = arrival.is_some();
                let before = match arrival {
                    None => before,
                    Some(arrival) => {
                        let before = arrival.run(&mut sink, &shared.moderation, &stopping).await;
                        let mut cell = told.lock().unwrap_or_else(PoisonError::into_inner);
                        cell.status.last_sample = before.last;
                        Some(before)
                    }
                };
                let task = StreamTask::new(of, from, sink, before, shared, told, stopping);
                let task = if at_once { task.at_once() } else { task };
                task.run().await;
            };
            let (camera, name, url) = (camera.clone(), name.clone(), url.clone());
            ready.push((Member { camera, name, id, url, cell, tail, task: None }, stop, task));
        }
        let mut members = lock(&self.members);
        // Looked at under the lock under which all are told.
        if self.stopping.get().is_some() {
            return Err(StartError::Stopping);
        }
        for (mut member, stop, task) in ready {
            if stopped.contains(&member.name) {
                // When it is recorded again, what is missing is missing because it was stopped.
                let last = member.status().status.last_sample;
                ended.extend(last.map(|last| (member.name.clone(), last)));
            } else {
                member.task = Some(Task { stop, handle: runtime.spawn(task) });
            }
            match members.iter_mut().find(|known| known.name == member.name) {
                Some(known) => *known = member,
                None => members.push(member),
            }
        }
        Ok(())
    }

    /// Ends the tasks of these streams, all at once, and waits for them.
    fn end(
        &self,
        ended: &mut BTreeMap<StreamName, WallTime>,
        names: &[StreamName],
    ) -> Result<(), StartError> {
        let Some(runtime) = &self.runtime else { return Ok(()) };
        let _attentive = self.shared.moderation.hold();
        let mut tasks = Vec::new();
        for member in lock(&self.members).iter_mut().filter(|member| names.contains(&member.name)) {
            if let Some(task) = member.task.take() {
                task.stop.send_replace(true);
                tasks.push((member.name.clone(), task));
            }
        }
        let (mut stuck, deadline) = (None, self.stopping.get().copied().unwrap_or_else(Task::deadline));
        for (name, task) in tasks {
            let outcome = runtime.block_on(task.end(deadline));
            let mut members = lock(&self.members);
            let Some(member) = members.iter_mut().find(|member| member.name == name) else { continue };
            ended.extend(member.footage_end().map(|end| (name.clone(), end)));
            if let Err(task) = outcome {
                member.task = Some(task);
                stuck = Some(name);
            }
        }
        stuck.map_or(Ok(()), |name| Err(StartError::Stuck(name)))
    }

    fn forget(&self, names: &[StreamName]) {
        lock(&self.members).retain(|member| !names.contains(&member.name));
    }
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder").field("streams", &lock(&self.members).len()).finish_non_exhaustive()
    }
}

/// What streams run on: threads that look at their sockets as often as `moderation` says.
pub(crate) fn runtime(threads: usize, moderation: Arc<Moderation>) -> std::io::Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name("keha-recorder")
        .on_thread_park(move || moderation.wait())
        .enable_all()
        .build()
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.stop();
        // What is left are streams that are stuck, and a name that is being looked up: nobody waits for them again.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
