//! Which cameras are wanted in which volume, and bringing the volumes to that.
//!
//! Changes are made one at a time, whoever asks: the file that is read again, the HTTP interface, a volume that is open again, one that
//! failed ([`Station::change`]). No file of the state directory is waited for meanwhile; who changes which cameras there are holds
//! [`Station::edit`] through that.
//! Cameras of the file win over those of the same name that were added over HTTP; these stay kept, unrecorded, and it is said.
//! Where a camera goes on whose volume failed is decided in [`super::failover`].

use super::Wake;
use super::failover::AllLeft;
use super::failover::moved::{Moved, Moves};
use super::failover::place::{Condition, Refusal};
use super::kept::{Kept, KeptCamera};
use super::running::Running;
use super::slot::{Need, Slot};
use super::stopped::Stopped;
use super::to_come::{GoingOn, ToCome};
use crate::commands::record;
use crate::config::server::Config;
use crate::failure;
use crate::recording::document::StreamStatus;
use crate::recording::view::now;
use crate::recording::{News, Tick};
use crate::units::retention::Wanted;
use keha_fs::{Health, RoundReport, StreamName, WallTime};
use keha_player::library::Library;
use keha_recorder::{Camera, Coming};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How long a volume that is just being opened is waited for when the server ends.
const IDLE: Duration = Duration::from_secs(2);
/// How long whoever changes something waits for volumes to be closed that are no longer configured.
const CLOSING: Duration = Duration::from_secs(5);
/// Why they are.
const NOT_CONFIGURED: &str = "it is no longer configured";

/// Reads the configuration.
pub(super) type ReadConfig = Box<dyn Fn() -> anyhow::Result<Config> + Send + Sync>;

/// All volumes and all cameras.
pub(super) struct Station {
    read: ReadConfig,
    pub(super) kept: Kept,
    pub(super) library: Arc<Library>,
    slots: RwLock<Vec<Arc<Slot>>>,
    wanted: Mutex<BTreeMap<String, CameraInVolume>>,
    /// Streams that are not to be recorded, until it is said otherwise.
    pub(super) stopped: Stopped,
    /// Cameras that are recorded elsewhere than they are configured.
    pub(super) moves: Moves,
    /// Holds of what is still to come, which go where their streams go.
    pub(super) going_on: GoingOn,
    /// Volumes that refused a camera, and when: they are not asked again for a while.
    pub(super) refused: Mutex<BTreeMap<Refusal, Instant>>,
    /// What streams left whose volume was closed to be opened anew.
    pub(super) left_over: Mutex<AllLeft>,
    /// A thread moves cameras.
    pub(super) moving: AtomicBool,
    /// Threads that close volumes which are no longer configured.
    closing: Mutex<Vec<JoinHandle<keha_fs::Result<()>>>>,
    /// When the configuration was read last.
    applied: Mutex<WallTime>,
    /// Held through a change of which cameras there are, with all that is read and kept for it.
    editing: Mutex<()>,
    /// Held through a change of what is recorded.
    changing: Mutex<()>,
    /// All of it ends: nothing is changed any more.
    is_ending: AtomicBool,
    pub(super) wake: SyncSender<Wake>,
}

/// A camera that is wanted.
#[derive(Clone)]
pub(super) struct CameraInVolume {
    pub(super) camera: Camera,
    /// The volume that it is configured for.
    pub(super) home: String,
    /// The volume that it is recorded into.
    pub(super) volume: String,
    /// If that is another one: since when and why.
    pub(super) moved: Option<Moved>,
    pub(super) retention: Wanted,
    /// The configuration file has it.
    pub(super) read_only: bool,
}

/// The cameras that were added over HTTP, by name.
type KeptCameras = BTreeMap<String, KeptCamera>;

/// Which volume streams were recorded into until now, and up to when there is footage of them there.
pub(super) type WhereLeft = BTreeMap<StreamName, (String, Option<WallTime>)>;

/// Why a camera is recorded into another volume than before, where nobody says more.
pub(super) const ASSIGNED: &str = "and was assigned to this one";

/// How all ended.
pub(super) struct Ended {
    pub(super) streams: Vec<StreamStatus>,
    pub(super) error: Option<keha_fs::Error>,
}

impl Station {
    pub(super) fn new(read: ReadConfig, library: Library, state: &Path, wake: SyncSender<Wake>) -> Station {
        Station {
            read,
            kept: Kept::new(state),
            library: Arc::new(library),
            slots: RwLock::default(),
            wanted: Mutex::default(),
            stopped: Stopped::open(state),
            moves: Moves::open(state),
            going_on: GoingOn::new(ToCome::open(state)),
            refused: Mutex::default(),
            left_over: Mutex::default(),
            moving: AtomicBool::new(false),
            closing: Mutex::default(),
            applied: Mutex::new(now()),
            editing: Mutex::default(),
            changing: Mutex::default(),
            is_ending: AtomicBool::new(false),
            wake,
        }
    }

    /// One change of which cameras there are at a time: whoever makes one holds this, and [`Station::change`] only while what is recorded
    /// changes.
    pub(super) fn edit(&self) -> MutexGuard<'_, ()> {
        lock(&self.editing)
    }

    /// One change at a time: whoever makes one holds this, and waits for no file of the state directory.
    pub(super) fn change(&self) -> MutexGuard<'_, ()> {
        lock(&self.changing)
    }

    /// Whether all of it ends.
    pub(super) fn is_ending(&self) -> bool {
        self.is_ending.load(Ordering::SeqCst)
    }

    pub(super) fn slots(&self) -> Vec<Arc<Slot>> {
        self.slots.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn slot(&self, volume: &str) -> Option<Arc<Slot>> {
        self.slots().into_iter().find(|slot| slot.name == volume)
    }

    /// All cameras that are wanted, by name.
    pub(super) fn wanted(&self) -> MutexGuard<'_, BTreeMap<String, CameraInVolume>> {
        lock(&self.wanted)
    }

    /// When the configuration was read last.
    pub(super) fn applied(&self) -> WallTime {
        *lock(&self.applied)
    }

    /// Says to the loop that a stream is not recorded any more. Waits for nobody: the loop looks for itself, too, each second.
    pub(super) fn tell_stopped(&self, stream: &StreamName) {
        let _ = self.wake.try_send(Wake::Stopped(stream.clone()));
    }

    /// The streams of all cameras that are wanted, by name.
    pub(super) fn wanted_streams(&self) -> BTreeSet<String> {
        let wanted = self.wanted();
        let streams = wanted.values().flat_map(|camera| camera.camera.streams());
        streams.map(|(name, _)| name.to_string()).collect()
    }

    /// Reads the configuration again; one with an error changes nothing. How it is served is left to `running`.
    pub(super) fn reload(self: &Arc<Self>, running: &Running) {
        let _edit = self.edit();
        match (self.read)() {
            Ok(config) => {
                running.take_over(&config.server);
                self.apply(&config);
                tracing::warn!("the configuration was read again");
            }
            Err(error) => tracing::error!("{}: nothing was changed", failure::line_of(&error)),
        }
    }

    /// Makes a configuration that of this server. Volumes and cameras that stay the same are not touched. Whoever asks holds
    /// [`Station::edit`].
    pub(super) fn apply(self: &Arc<Self>, config: &Config) {
        let kept = self.kept.read();
        {
            let _change = self.change();
            self.change_to(config, kept);
        }
        self.moves.soon();
    }

    fn change_to(self: &Arc<Self>, config: &Config, kept: keha_api::Result<KeptCameras>) {
        *lock(&self.applied) = now();
        let before = self.slots();
        let after: Vec<Arc<Slot>> = config
            .volumes
            .iter()
            .map(|entry| {
                let same = before.iter().find(|slot| slot.is(entry)).map(Arc::clone);
                let same = same.inspect(|slot| slot.take_over(entry));
                same.unwrap_or_else(|| Arc::new(Slot::new(entry.clone())))
            })
            .collect();
        let gone = before.iter().filter(|slot| !after.iter().any(|other| Arc::ptr_eq(slot, other)));
        self.close_gone(gone);
        *self.slots.write().unwrap_or_else(PoisonError::into_inner) = after;
        let volumes = config.volumes.iter().map(|entry| (entry.name.clone(), entry.path.clone()));
        self.library.set_volumes(volumes);
        let wanted = self.all_wanted(config, kept);
        *self.wanted() = wanted;
        self.bring_all();
    }

    /// Closes volumes that are no longer configured, all at once. Their disks may hang: they are waited for only a little, and the end of
    /// the server waits for the rest.
    fn close_gone<'a>(&self, gone: impl Iterator<Item = &'a Arc<Slot>>) {
        let (closed, closing) = channel();
        for slot in gone {
            slot.leave();
            if matches!(slot.facts(Instant::now()).condition, Condition::Failed(_)) {
                slot.leave_behind(NOT_CONFIGURED);
                continue;
            }
            let (of, closed) = (Arc::clone(slot), closed.clone());
            let close = move || {
                let outcome = of.close(NOT_CONFIGURED);
                // Whoever waited may have gone.
                let _ = closed.send(());
                outcome.map_or(Ok(()), |(_, outcome)| outcome)
            };
            match thread::Builder::new().name("closing".into()).spawn(close) {
                Ok(handle) => {
                    let mut closing = lock(&self.closing);
                    closing.retain(|handle| !handle.is_finished());
                    closing.push(handle);
                }
                Err(error) => tracing::error!(%error, "cannot start a thread"),
            }
        }
        drop(closed);
        let end = Instant::now() + CLOSING;
        while closing.recv_timeout(end.saturating_duration_since(Instant::now())).is_ok() {}
    }

    fn all_wanted(
        &self,
        config: &Config,
        kept: keha_api::Result<KeptCameras>,
    ) -> BTreeMap<String, CameraInVolume> {
        let mut wanted = BTreeMap::new();
        for camera in &config.cameras {
            let (name, retention) = (camera.entry.name.clone(), camera.entry.retention);
            let (camera, home) = (camera.camera.clone(), camera.volume.clone());
            let volume = home.clone();
            let camera = CameraInVolume { camera, home, volume, moved: None, retention, read_only: true };
            wanted.insert(name, camera);
        }
        let all_known = kept.is_ok();
        let kept = kept.unwrap_or_else(|error| {
            tracing::error!("{error}; the cameras that were added over HTTP are not recorded");
            BTreeMap::new()
        });
        for (name, camera) in kept {
            if wanted.contains_key(&name) {
                tracing::warn!(
                    camera = name,
                    "was added over HTTP and stands in the configuration file, which counts"
                );
                continue;
            }
            match wanted_of(&name, &camera) {
                Ok(camera) => drop(wanted.insert(name, camera)),
                Err(error) => tracing::error!("cameras.json: {}", failure::line_of(&error)),
            }
        }
        if all_known {
            self.moves
                .retain(&wanted.iter().map(|(name, camera)| (name.clone(), camera.home.clone())).collect());
        }
        wanted.values_mut().for_each(|camera| self.place(camera));
        wanted
    }

    /// Brings all volumes to what is wanted: first what ends, so that a camera that moves is not asked twice.
    pub(super) fn bring_all(&self) {
        let slots = self.slots();
        let left = self.remove_others(&slots);
        slots.iter().for_each(|slot| self.bring(slot, &left, ASSIGNED));
    }

    /// Brings one camera to what it should be, wherever it was before; if that was another volume, it is here now for that reason.
    ///
    /// # Errors
    /// Why it is not so.
    pub(super) fn bring_one(&self, camera: &CameraInVolume, why: &str) -> anyhow::Result<()> {
        let (stopped, slots) = (self.stopped.all(), self.slots());
        let left = self.remove_others(&slots);
        let slot = slots.iter().find(|slot| slot.name == camera.volume);
        let brought = slot.map_or(Ok(()), |slot| {
            self.bring_to(slot, camera, &stopped, self.coming(camera, &left, why, None))?;
            slot.retain(camera);
            Ok(())
        });
        self.learn();
        brought
    }

    fn bring_to(
        &self,
        slot: &Slot,
        camera: &CameraInVolume,
        stopped: &BTreeSet<StreamName>,
        coming: BTreeMap<StreamName, Coming>,
    ) -> anyhow::Result<()> {
        let brought = slot.bring(camera, stopped, coming);
        if slot.records(camera) {
            self.arrived(camera);
        }
        brought
    }

    /// Brings one volume to what is wanted in it.
    fn bring(&self, slot: &Slot, left: &WhereLeft, why: &str) {
        let stopped = self.stopped.all();
        let (begins, all) = self.all_coming(&slot.name, left, why);
        let bring = |(camera, coming): (CameraInVolume, _)| {
            // What is wrong with it is said there.
            let brought = self.bring_to(slot, &camera, &stopped, coming);
            brought.is_ok().then_some(camera)
        };
        // All are recorded before anything else is asked of the disk.
        let brought: Vec<_> = all.into_iter().filter_map(bring).collect();
        begins.all();
        brought.iter().for_each(|camera| slot.retain(camera));
        self.learn();
    }

    /// Ends the recording of cameras where they are not wanted any more. The answer is where that was.
    fn remove_others(&self, slots: &[Arc<Slot>]) -> WhereLeft {
        self.forget_left_over();
        let wanted = self.wanted().clone();
        let of = |slot: &Arc<Slot>| {
            let left = slot.remove_others(&wanted).into_iter();
            left.map(|(stream, last)| (stream, (slot.name.clone(), last))).collect::<Vec<_>>()
        };
        slots.iter().flat_map(of).collect()
    }

    /// A second has passed: what all streams do. What needs time is begun on threads of their own.
    pub(super) fn tick(self: &Arc<Self>, now: Instant) -> Vec<(String, Tick)> {
        let (mut ticks, mut needs) = (Vec::new(), Vec::new());
        let slots = self.slots();
        for slot in &slots {
            let (tick, need) = slot.tick(now);
            ticks.extend(tick.map(|tick| (slot.name.clone(), tick)));
            needs.extend(need.map(|need| (Arc::clone(slot), need)));
        }
        self.show_moved(&slots);
        let is_moving = self.move_if_due(now);
        self.hold_on(now);
        if !is_moving {
            slots.iter().filter(|slot| slot.begin_look(now)).for_each(|slot| self.look(slot));
        }
        for (slot, need) in needs {
            // Whoever moves cameras away needs what is in memory, and closes it then.
            if is_moving && need == Need::Close {
                continue;
            }
            slot.begin();
            let (station, of) = (Arc::clone(self), Arc::clone(&slot));
            let spawned =
                thread::Builder::new().name("volume".into()).spawn(move || station.see_to(&of, need));
            if let Err(error) = spawned {
                tracing::error!(%error, "cannot start a thread");
                slot.end();
            }
        }
        ticks
    }

    /// Looks on a thread of its own, which may take as long as disks do, whether a volume that failed lies on another device now.
    fn look(self: &Arc<Self>, slot: &Arc<Slot>) {
        let (station, of) = (Arc::clone(self), Arc::clone(slot));
        let look = move || {
            if of.is_another() {
                station.open_anew(&of);
            }
            of.end_look();
        };
        if let Err(error) = thread::Builder::new().name("looking".into()).spawn(look) {
            tracing::error!(%error, "cannot start a thread");
            slot.end_look();
        }
    }

    fn see_to(self: &Arc<Self>, slot: &Slot, need: Need) {
        let is_opened = matches!(need, Need::Open);
        match need {
            Need::Open => slot.open(&self.wake, self.above(slot)),
            Need::Close => {
                tracing::error!(volume = slot.name, "it takes nothing any more, and is opened again");
                slot.close("it took nothing any more");
            }
            Need::Bring => {}
        }
        {
            let _change = self.change();
            if !slot.is_gone() {
                let left = self.remove_others(&self.slots());
                self.bring(slot, &left, ASSIGNED);
            }
        }
        if slot.is_gone() {
            slot.close(NOT_CONFIGURED);
        }
        slot.end();
        let _ = self.wake.send(Wake::Tried(slot.name.clone()));
        self.moves.soon();
        if is_opened {
            self.learn_holds(slot);
        }
    }

    /// A round of a volume ended.
    pub(super) fn round(self: &Arc<Self>, volume: &str, report: &RoundReport) -> Option<News> {
        let news = self.slot(volume).map(|slot| slot.round(report));
        if report.health != Health::Good {
            // Its cameras do not wait for the next second.
            self.move_if_due(Instant::now());
        }
        news
    }

    /// Stops everything: what has arrived is written out. All volumes at once.
    pub(super) fn end(&self) -> Ended {
        self.is_ending.store(true, Ordering::SeqCst);
        let slots = self.slots();
        slots.iter().for_each(|slot| slot.leave());
        let close = |slot: &Arc<Slot>| {
            slot.await_idle(IDLE);
            slot.close("the server ends")
        };
        let closed: Vec<_> = thread::scope(|scope| {
            let closing: Vec<_> = slots.iter().map(|slot| scope.spawn(move || close(slot))).collect();
            closing.into_iter().filter_map(|closing| closing.join().ok().flatten()).collect()
        });
        let mut ended = Ended { streams: Vec::new(), error: None };
        for (streams, closed) in closed {
            ended.streams.extend(streams);
            ended.error = ended.error.or(closed.err());
        }
        let closing = std::mem::take(&mut *lock(&self.closing));
        for closing in closing {
            ended.error = ended.error.or(closing.join().ok().and_then(Result::err));
        }
        ended
    }
}

/// A camera that was added over HTTP, as it is to be recorded.
///
/// # Errors
/// A name or an address that does not work.
pub(super) fn wanted_of(name: &str, camera: &KeptCamera) -> anyhow::Result<CameraInVolume> {
    Ok(CameraInVolume {
        camera: record::camera(&camera.entry(name))?,
        home: camera.volume.clone(),
        volume: camera.volume.clone(),
        moved: None,
        retention: Wanted::default(),
        read_only: false,
    })
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "station_tests.rs"]
mod tests;
