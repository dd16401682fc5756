//! One volume of the server: opened on a thread of its own, tried again while it cannot be, closed. Whether it has failed is judged
//! elsewhere ([`super::failover`]); here is what is known of it, and letting go of its cameras.

mod anew;
mod leaving;
mod retaining;

use super::Wake;
use super::failover::judge::{Judge, Verdict};
use super::station::CameraInVolume;
use crate::config::server::VolumeEntry;
use crate::control::FileIdentity;
use crate::failure;
use crate::opener::opener;
use crate::recording::document::{MovedDocument, StreamStatus};
use crate::recording::view::now;
use crate::recording::{Above, Live, Opening, Watch};
use crate::units::io::Io;
use crate::units::retention::Wanted;
use keha_api::control::{RoundTimes, VolumeState};
use keha_fs::{CreateOptions, Health, RoundReport, StreamName, VolumeInfo, WallTime};
use keha_recorder::{Coming, Recorder};
pub(super) use leaving::Left;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};

/// What cannot be done now is tried again after this time.
const RETRY: Duration = Duration::from_secs(10);
/// For about so many streams a recorder gets threads, whatever is configured: cameras are added while it runs.
const STREAMS: usize = 32;
/// A volume.
pub(super) struct Slot {
    pub(super) name: String,
    pub(super) path: PathBuf,
    live: RwLock<Option<Live>>,
    state: Mutex<State>,
    /// It is not to be opened any more.
    gone: AtomicBool,
    /// Counts how often it was opened: what is heard of one that was left behind concerns nobody.
    opened: Arc<AtomicU64>,
}

struct State {
    watch: Watch,
    /// It is created with this size where it is missing.
    size_bytes: Option<u64>,
    /// In which time all of it is verified, from when it is opened next.
    scrub: Option<Duration>,
    /// What does its I/O, from when it is opened next.
    io: Io,
    /// Cameras of others may be recorded here.
    takes_over: bool,
    /// What is thought of it while it is open.
    judge: Judge,
    /// A round ended since it was opened.
    fresh: bool,
    /// What it is, once it was opened.
    info: Option<VolumeInfo>,
    /// How many cameras went on elsewhere because it failed, since the server was started.
    failovers: u64,
    /// Why it is not open.
    failed: Option<String>,
    /// Since when it is open, or is not.
    since: WallTime,
    /// Why a camera is not recorded although it is open, by camera, and since when.
    troubles: BTreeMap<String, (WallTime, String)>,
    /// What was said of retention, by camera.
    retained: BTreeMap<String, Wanted>,
    /// Why it could not be said, by camera.
    unretained: BTreeMap<String, String>,
    /// Streams of which nothing is waited for any more: what was not durable was given elsewhere.
    given: BTreeSet<StreamName>,
    /// Which file or device it was when it was opened.
    lies_on: Option<FileIdentity>,
    /// A thread looks whether it lies on another one now, or when one does so next.
    looking: Looking,
    /// A thread is at it.
    busy: bool,
    tried: bool,
    next_try: Instant,
    round: Option<RoundReport>,
    rounds: RoundTimes,
}

/// What a slot needs now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// To be opened.
    Open,
    /// To be closed: it takes nothing any more.
    Close,
    /// To have its cameras brought to what they should be.
    Bring,
}

/// Whether somebody looks if it lies on another device now.
#[derive(Clone, Copy, Debug)]
enum Looking {
    /// Somebody does, for as long as it takes.
    Now,
    /// Nobody, before then.
    At(Instant),
}

impl State {
    /// Why it is not open from now on. Another reason does not begin anew.
    fn set_failed(&mut self, failed: Option<String>) {
        if self.failed.is_some() != failed.is_some() {
            self.since = now();
        }
        self.failed = failed;
    }
}

impl Slot {
    pub(super) fn new(entry: VolumeEntry) -> Slot {
        let state = State {
            watch: Watch::new(),
            size_bytes: entry.size_bytes,
            scrub: entry.scrub,
            io: entry.io,
            takes_over: entry.takes_over,
            judge: Judge::new(Instant::now()),
            fresh: false,
            info: None,
            failovers: 0,
            failed: Some("it is being opened".to_owned()),
            since: now(),
            troubles: BTreeMap::new(),
            retained: BTreeMap::new(),
            unretained: BTreeMap::new(),
            given: BTreeSet::new(),
            lies_on: None,
            looking: Looking::At(Instant::now()),
            busy: false,
            tried: false,
            next_try: Instant::now(),
            round: None,
            rounds: RoundTimes::default(),
        };
        Slot {
            name: entry.name,
            path: entry.path,
            live: RwLock::default(),
            state: Mutex::new(state),
            gone: AtomicBool::new(false),
            opened: Arc::default(),
        }
    }

    /// Whether that is this volume, whatever else is said of it.
    pub(super) fn is(&self, entry: &VolumeEntry) -> bool {
        self.name == entry.name && self.path == entry.path
    }

    /// Takes over what is said of this volume now. Nothing that is being recorded is interrupted for it.
    pub(super) fn take_over(&self, entry: &VolumeEntry) {
        let mut state = self.state();
        if state.size_bytes != entry.size_bytes {
            tracing::warn!(
                volume = self.name,
                "its size was changed: a volume that is there keeps the size that it has"
            );
        }
        if state.scrub != entry.scrub {
            tracing::warn!(volume = self.name, "its scrub was changed: that counts when it is opened next");
        }
        if state.io != entry.io {
            tracing::warn!(
                volume = self.name,
                "its io_engine or io_depth was changed: that counts when it is opened next"
            );
        }
        (state.size_bytes, state.scrub, state.io) = (entry.size_bytes, entry.scrub, entry.io);
        state.takes_over = entry.takes_over;
    }

    /// The volume, while it is open. Held as long as something is done with it.
    pub(super) fn live(&self) -> RwLockReadGuard<'_, Option<Live>> {
        self.live.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until nobody is at it any more, at most so long.
    pub(super) fn await_idle(&self, patience: Duration) {
        let end = Instant::now() + patience;
        while self.state().busy && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Whether it was opened, or could not be.
    pub(super) fn is_tried(&self) -> bool {
        self.state().tried
    }

    /// Why it is not open.
    pub(super) fn failed(&self) -> Option<String> {
        self.state().failed.clone()
    }

    /// Why a camera is not recorded into it, if that is known, and since when.
    pub(super) fn why_not(&self, camera: &str) -> (WallTime, Option<String>) {
        let state = self.state();
        match (&state.failed, state.troubles.get(camera)) {
            (None, Some((since, why))) => (*since, Some(why.clone())),
            (failed, _) => (state.since, failed.clone()),
        }
    }

    /// What is known of it.
    pub(super) fn told(&self) -> VolumeState {
        let state = self.state();
        VolumeState {
            name: self.name.clone(),
            failed: state.failed.clone(),
            io: self.live.try_read().ok().and_then(|live| Some(live.as_ref()?.writer.io().clone())),
            round: state.round.clone(),
            rounds: state.rounds,
            failovers: state.failovers,
        }
    }

    /// Opens it. The next attempt follows [`RETRY`] later, if need be.
    pub(super) fn open(&self, wake: &SyncSender<Wake>, above: Box<dyn Above>) {
        let name = &self.name;
        let failed = match self.try_open(wake, above) {
            Ok(live) => {
                tracing::info!(volume = name, path = %self.path.display(), "open");
                self.begin_anew(&live);
                *self.live.write().unwrap_or_else(PoisonError::into_inner) = Some(live);
                None
            }
            Err(error) => Some(failure::line_of(&error)),
        };
        let mut state = self.state();
        if let Some(why) = failed.as_ref().filter(|_| state.failed != failed) {
            tracing::error!(volume = name, "{why}; the rest is served, and it is tried again every 10 s");
        }
        state.set_failed(failed);
    }

    /// What was known of it while it was open before is not so any more. Before anybody can see that it is open: it would be judged by that.
    fn begin_anew(&self, live: &Live) {
        let (info, lies_on) = (live.writer.info().clone(), anew::lies_on(&self.path));
        let mut state = self.state();
        state.watch = Watch::new();
        state.judge = Judge::new(Instant::now());
        state.retained.clear();
        state.unretained.clear();
        state.given.clear();
        state.lies_on = lies_on;
        state.info = Some(info);
    }

    fn try_open(&self, wake: &SyncSender<Wake>, above: Box<dyn Above>) -> anyhow::Result<Live> {
        let (name, path) = (&self.name, &self.path);
        let (size_bytes, scrub, io) = {
            let state = self.state();
            (state.size_bytes, state.scrub, state.io)
        };
        if let (Some(size_bytes), false) = (size_bytes, path.exists()) {
            let label = name.clone();
            let options =
                CreateOptions { size_bytes, label, opener: opener("create"), ..CreateOptions::default() };
            let gone = || self.gone.load(Ordering::SeqCst);
            keha_fs::create(path, &options, &mut |_, _| {
                if gone() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })?;
            tracing::info!(volume = name, path = %path.display(), size_bytes, "created");
        }
        self.state().fresh = false;
        let number = self.opened.fetch_add(1, Ordering::SeqCst) + 1;
        let (rounds, of, opened) = (wake.clone(), name.clone(), Arc::clone(&self.opened));
        let on_round = Box::new(move |report| {
            if opened.load(Ordering::SeqCst) == number {
                // The writer waits for nobody: a round that is not looked at in time is replaced by the next.
                drop(rounds.try_send(Wake::Round(of.clone(), Box::new(report))));
            }
        });
        let opening = Opening { path, purpose: "serve", scrub, io };
        let mut live = Live::open(&opening, |_| Recorder::with_room(STREAMS), on_round)?;
        live.listen(Some(above));
        if let Some(events) = live.recorder.take_events() {
            let wake = wake.clone();
            let forward = move || events.into_iter().try_for_each(|event| wake.send(Wake::Event(event)));
            std::thread::Builder::new().name("events".into()).spawn(forward)?;
        }
        Ok(live)
    }

    /// Closes it: stops its streams, writes everything out. It can be opened again unless it is gone.
    pub(super) fn close(&self, why: &str) -> Option<(Vec<StreamStatus>, keha_fs::Result<()>)> {
        let live = self.live.write().unwrap_or_else(PoisonError::into_inner).take()?;
        self.state().set_failed(Some(why.to_owned()));
        let (streams, closed) = live.close();
        if let Err(error) = &closed {
            tracing::error!(volume = self.name, %error, "not all that was recorded last is on the disk");
        }
        Some((streams, closed))
    }

    /// It is not opened any more, what is being opened is given up, and its streams are told to stop. Waits for nobody.
    pub(super) fn leave(&self) {
        self.gone.store(true, Ordering::SeqCst);
        // Only who has just opened it, or closes it, keeps this from seeing it.
        if let Ok(live) = self.live.try_read()
            && let Some(live) = live.as_ref()
        {
            live.recorder.tell_to_stop();
        }
    }

    pub(super) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::SeqCst)
    }

    /// Ends the recording of cameras that are not wanted here, all at once. The answer is up to when there is footage of each stream.
    pub(super) fn remove_others(
        &self,
        wanted: &BTreeMap<String, CameraInVolume>,
    ) -> BTreeMap<StreamName, Option<WallTime>> {
        let live = self.live();
        let Some(live) = live.as_ref() else { return BTreeMap::new() };
        let here = |name: &str| wanted.get(name).is_some_and(|camera| camera.volume == self.name);
        let streams = live.recorder.status().into_iter().map(|stream| stream.name);
        let others: BTreeSet<StreamName> = streams.filter(|stream| !here(stream.camera())).collect();
        let cameras = others.iter().filter_map(|stream| StreamName::new(stream.camera()).ok()).collect();
        if let Err(error) = live.recorder.remove_all(&cameras)
            && !self.is_gone()
        {
            tracing::error!(volume = self.name, %error, "still recorded");
        }
        let ended = live.recorder.ended();
        let left = others.into_iter().map(|stream| (ended.get(&stream).copied(), stream));
        let left = left.map(|(last, stream)| (stream, last)).collect();
        let mut state = self.state();
        state.troubles.retain(|name, _| here(name));
        state.retained.retain(|name, _| here(name));
        state.unretained.retain(|name, _| here(name));
        left
    }

    /// Records a camera as it should be; one that is so already is not touched. `coming` says what is known of its streams elsewhere.
    ///
    /// # Errors
    /// Why it is not. It is tried again.
    pub(super) fn bring(
        &self,
        camera: &CameraInVolume,
        stopped: &BTreeSet<StreamName>,
        coming: BTreeMap<StreamName, Coming>,
    ) -> anyhow::Result<()> {
        let live = self.live();
        let Some(live) = live.as_ref() else { return Ok(()) };
        let outcome = self.try_bring(live, camera, stopped, coming);
        if self.is_gone() {
            // Its streams are being stopped: that is no trouble.
            return outcome;
        }
        let name = camera.camera.name().to_string();
        let trouble = outcome.as_ref().err().map(failure::line_of);
        let mut state = self.state();
        let known = state.troubles.get(&name);
        if let Some(why) = trouble.as_ref().filter(|why| known.is_none_or(|(_, known)| known != *why)) {
            tracing::error!(volume = self.name, camera = name, "not as it should be: {why}");
        }
        match trouble {
            Some(why) => state.troubles.entry(name).or_insert_with(|| (now(), String::new())).1 = why,
            None => drop(state.troubles.remove(&name)),
        }
        outcome
    }

    fn try_bring(
        &self,
        live: &Live,
        camera: &CameraInVolume,
        stopped: &BTreeSet<StreamName>,
        coming: BTreeMap<StreamName, Coming>,
    ) -> anyhow::Result<()> {
        let recorded = live.recorder.identities();
        let is_new = camera.camera.streams().any(|(name, _)| !recorded.contains_key(name));
        // Whoever changes something waits for this: a disk that does not answer is not asked.
        if is_new && self.state().judge.verdict(Instant::now()) != Verdict::Good {
            anyhow::bail!("the disk of volume {} does not take it now", self.name);
        }
        live.recorder.change_with(&live.writer, &camera.camera, stopped, coming)?;
        Ok(())
    }

    /// A second has passed: what its streams do, and what it needs. Waits for nobody.
    pub(super) fn tick(&self, now: Instant) -> (Option<crate::recording::Tick>, Option<Need>) {
        let mut state = self.state();
        state.judge.look(now);
        let live = match self.live.try_read() {
            Ok(live) => live,
            Err(_) => return (None, None),
        };
        let due = !state.busy && now >= state.next_try && !self.is_gone();
        let Some(live) = live.as_ref() else { return (None, due.then_some(Need::Open)) };
        let tick = state.watch.tick(live, now);
        let dead = tick.streams.iter().any(|stream| stream.state == "volume_stopped");
        if dead {
            state.judge.stopped();
        }
        let need = match (dead, due) {
            (true, _) => (!state.busy).then_some(Need::Close),
            (false, true) => {
                (!state.troubles.is_empty() || !state.unretained.is_empty()).then_some(Need::Bring)
            }
            (false, false) => None,
        };
        (Some(tick), need)
    }

    /// These of its cameras, or of those that are recorded here, are recorded elsewhere than they are configured. Waits for nobody.
    pub(super) fn set_moved(&self, moved: Vec<MovedDocument>) {
        if let Ok(live) = self.live.try_read() {
            live.iter().for_each(|live| live.set_moved(moved.clone()));
        }
    }

    /// Where it lies.
    pub(super) fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// Somebody sees to what it needs.
    pub(super) fn begin(&self) {
        self.state().busy = true;
    }

    /// Somebody saw to what it needed.
    pub(super) fn end(&self) {
        let mut state = self.state();
        (state.busy, state.tried, state.next_try) = (false, true, Instant::now() + RETRY);
    }

    /// A round ended: what is new.
    pub(super) fn round(&self, report: &RoundReport) -> crate::recording::News {
        let mut state = self.state();
        state.rounds.count(report.took);
        let error = match &report.health {
            Health::Failing { error } => Some(error.as_str()),
            _ => None,
        };
        state.judge.round(Instant::now(), error);
        state.fresh = true;
        state.round = Some(report.clone());
        let live = self.live.try_read();
        state.watch.round(live.ok().as_ref().and_then(|live| live.as_ref()), report)
    }
}
