//! One recording from opening the volume to closing it.

use crate::failure::{Exit, Failure};
use crate::output::Output;
use crate::process::notify::Notifier;
use crate::process::signals;
use crate::recording::document::StreamStatus;
use crate::recording::view::View;
use crate::recording::{Live, Opening, Tick, Watch};
use crate::units::io::Io;
use crate::units::retention::Wanted;
use anyhow::Context;
use keha_fs::{RoundReport, StreamName, Volume};
use keha_recorder::{Camera, Recorder};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// How often counters are looked at and shown.
const TICK: Duration = Duration::from_secs(1);

/// How long the volume is waited for when it is told how long footage stays.
const RETAINED: Duration = Duration::from_secs(60);

/// What may wait for the loop.
const WAKES: usize = 1024;

/// What is to be recorded.
pub(crate) struct Job {
    pub(crate) volume: PathBuf,
    pub(crate) cameras: Vec<Camera>,
    pub(crate) duration: Option<Duration>,
    pub(crate) json: bool,
    /// In which time all that is live is verified once; not at all if `None`.
    pub(crate) scrub: Option<Duration>,
    pub(crate) io: Io,
    /// How long the footage of cameras stays, by their names, where that is said.
    pub(crate) retention: BTreeMap<String, Wanted>,
}

/// What wakes the loop.
enum Wake {
    Stop(&'static str),
    Round(Box<RoundReport>),
    Event(keha_recorder::Event),
}

/// Records until stopped by a signal or at the end of the job's duration.
///
/// # Errors
/// The volume cannot be written, or has no room for the streams; nothing at all was recorded in the given time.
pub(crate) fn record(job: &Job, output: Output) -> anyhow::Result<Exit> {
    check_room(job)?;
    let (wake, woken) = mpsc::sync_channel(WAKES);
    let stop = wake.clone();
    // That the loop is gone already when a signal comes, or a round ends, is as good.
    signals::on_stop(move |signal| drop(stop.send(Wake::Stop(signal)))).context("cannot wait for signals")?;
    let rounds = wake.clone();
    // The writer waits for nobody: a round that is not looked at in time is replaced by the next.
    let on_round = Box::new(move |report| drop(rounds.try_send(Wake::Round(Box::new(report)))));
    let opening = Opening { path: &job.volume, purpose: "record", scrub: job.scrub, io: job.io };
    let mut live = Live::open(&opening, |writer| Recorder::start(writer, &job.cameras), on_round)?;
    for camera in &job.cameras {
        let wanted = job.retention.get(camera.name().as_str()).copied().unwrap_or_default();
        live.retain(camera, wanted, RETAINED)?;
    }
    if let Some(events) = live.recorder.take_events() {
        let forward = move || events.into_iter().try_for_each(|event| wake.send(Wake::Event(event)));
        thread::Builder::new().name("events".into()).spawn(forward).context("cannot start a thread")?;
    }
    let mut session = Session::start(job, &mut live, output)?;
    let reason = session.run(&live, &woken, job.duration);
    session.finish(live, &woken, reason, job.duration.is_some())
}

/// Finds out before anything is written whether the volume can take all streams.
fn check_room(job: &Job) -> anyhow::Result<()> {
    let volume = Volume::open(&job.volume)?;
    let known: BTreeSet<StreamName> = volume.streams().into_iter().map(|stream| stream.name).collect();
    let wanted = job.cameras.iter().flat_map(|camera| camera.streams()).map(|(name, _)| name);
    let new = wanted.filter(|name| !known.contains(name)).count();
    check_retention(job, &volume)?;
    let room = (volume.info().streams_max as usize).saturating_sub(known.len());
    if new <= room {
        return Ok(());
    }
    Err(Failure::failed(format!(
        "{}: too small for these cameras: they need {new} new streams, it has room for {room} beside the {} it has; create a larger volume, or one with --streams N",
        job.volume.display(),
        known.len(),
    )))
}

/// Finds out before anything is written whether settings can be kept.
fn check_retention(job: &Job, volume: &Volume) -> anyhow::Result<()> {
    let known = volume.streams();
    for (name, _) in job.cameras.iter().flat_map(Camera::streams) {
        let Some(wanted) = job.retention.get(name.camera()) else { continue };
        let stream = known.iter().find(|stream| stream.name == *name);
        let retention = wanted.over(stream.map(|stream| stream.retention).unwrap_or_default());
        if let Some(why) = retention.invalid(volume.info().block_bytes) {
            return Err(Failure::usage(format!("camera {name}: {why}")));
        }
    }
    Ok(())
}

struct Session {
    view: View,
    notifier: Notifier,
    watch: Watch,
}

impl Session {
    fn start(job: &Job, live: &mut Live, output: Output) -> anyhow::Result<Session> {
        let mut view = View::start(job.json, output).context("cannot start a thread")?;
        view.started(&live.volume(), live.opened(), &live.streams());
        live.listen(None);
        let mut notifier = Notifier::new();
        notifier.ready();
        Ok(Session { view, notifier, watch: Watch::new() })
    }

    /// Shows what happens until it is time to stop; the answer is why.
    fn run(&mut self, live: &Live, woken: &Receiver<Wake>, duration: Option<Duration>) -> &'static str {
        let begin = Instant::now();
        let end = duration.and_then(|duration| begin.checked_add(duration));
        let mut next_tick = begin;
        loop {
            let now = Instant::now();
            if now >= next_tick {
                next_tick = now + TICK;
                let tick = self.watch.tick(live, now);
                if tick.streams.iter().any(|stream| stream.state == "volume_stopped") {
                    return "the volume stopped";
                }
                self.tick(&tick, now);
            }
            if end.is_some_and(|end| now >= end) {
                return "duration";
            }
            let until = end.map_or(next_tick, |end| end.min(next_tick));
            match woken.recv_timeout(until.saturating_duration_since(now)) {
                Ok(Wake::Stop(signal)) => return signal,
                Ok(other) => self.show(Some(live), other),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return "the volume stopped",
            }
        }
    }

    fn tick(&mut self, tick: &Tick, now: Instant) {
        self.view.tick(tick);
        self.notifier.recording(tick.streams.iter().map(|stream| stream.state));
        self.notifier.alive(now);
    }

    fn show(&mut self, live: Option<&Live>, wake: Wake) {
        match wake {
            Wake::Stop(_) => {}
            Wake::Event(event) => self.view.happened(&event),
            Wake::Round(report) => {
                let news = self.watch.round(live, &report);
                self.view.round(&news, *report);
            }
        }
    }

    fn finish(
        mut self,
        live: Live,
        woken: &Receiver<Wake>,
        reason: &'static str,
        must_have_recorded: bool,
    ) -> anyhow::Result<Exit> {
        self.notifier.stopping();
        let (streams, closed) = live.close();
        // The last rounds and events came while nobody looked.
        woken.try_iter().for_each(|wake| self.show(None, wake));
        self.view.stopped(reason, &streams, closed.is_ok());
        closed?;
        if must_have_recorded && streams.iter().all(|stream| stream.samples == 0) {
            return Err(nothing_recorded(&streams));
        }
        Ok(Exit::Done)
    }
}

/// Why nothing came: the reasons of the first few streams.
fn nothing_recorded(streams: &[StreamStatus]) -> anyhow::Error {
    let why = streams.iter().take(3).map(|stream| match &stream.last_error {
        Some(error) => format!("{}: {error}", stream.name),
        None => format!("{}: no picture came in time", stream.name),
    });
    let why: Vec<String> = why.collect();
    let more = if streams.len() > why.len() { " ..." } else { "" };
    Failure::failed(format!("nothing was recorded: {}{more}", why.join("; ")))
}
