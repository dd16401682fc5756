//! One recording from opening the volume to closing it. `keha record` and `keha demo` are this with different cameras.

use super::document::{OpenDocument, RoundDocument, StatusDocument, StreamStatus, stream_name};
use super::holding::{self, HoldWatch, RetentionWatch};
use super::silence::SilenceWatch;
use super::view::{self, View, now};
use crate::commands::volume::scrub::ScrubWatch;
use crate::control::server::Server;
use crate::control::{FileIdentity, Request, path};
use crate::failure::{Exit, Failure};
use crate::opener::opener;
use crate::output::document::{Moment, VolumeDocument};
use crate::output::{self, Output};
use crate::process::notify::Notifier;
use crate::process::signals;
use crate::units::retention::Wanted;
use anyhow::Context;
use keha_fs::{
    Holder, Retention, RetentionRequest, RoundReport, StreamName, Volume, VolumeInfo, WallTime, Writer,
    WriterOptions,
};
use keha_recorder::{Camera, Recorder};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How often counters are looked at and shown.
const TICK: Duration = Duration::from_secs(1);

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
    let options = WriterOptions { opener: opener("record"), scrub: job.scrub, ..WriterOptions::default() };
    let writer = Writer::open(&job.volume, options, on_round)?;
    let mut recorder = Recorder::start(&writer, &job.cameras)?;
    set_retention(job, &writer)?;
    if let Some(events) = recorder.take_events() {
        let forward = move || events.into_iter().try_for_each(|event| wake.send(Wake::Event(event)));
        thread::Builder::new().name("events".into()).spawn(forward).context("cannot start a thread")?;
    }
    let mut session = Session::start(job, &writer, &recorder, output)?;
    let reason = session.run(&recorder, &woken, job.duration);
    session.finish(recorder, writer, &woken, reason, job.duration.is_some())
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

/// The streams of cameras of which it is said how long their footage stays, with what that comes to in this volume.
fn wanted_retention<'a>(
    job: &'a Job,
    volume: &'a Volume,
) -> impl Iterator<Item = (StreamName, Retention)> + 'a {
    let known = volume.streams();
    let names = job.cameras.iter().flat_map(|camera| camera.streams()).map(|(name, _)| name);
    names.filter_map(move |name| {
        let wanted = job.retention.get(name.camera())?;
        let stream = known.iter().find(|stream| stream.name == *name);
        let retention = wanted.over(stream.map(|stream| stream.retention).unwrap_or_default());
        Some((name.clone(), retention))
    })
}

/// Finds out before anything is written whether settings can be kept.
fn check_retention(job: &Job, volume: &Volume) -> anyhow::Result<()> {
    for (name, retention) in wanted_retention(job, volume) {
        if let Some(why) = retention.invalid(volume.info().block_bytes) {
            return Err(Failure::usage(format!("camera {name}: {why}")));
        }
    }
    Ok(())
}

fn set_retention(job: &Job, writer: &Writer) -> anyhow::Result<()> {
    let volume = Volume::open(&job.volume)?;
    for (stream, retention) in wanted_retention(job, &volume) {
        writer.set_retention(RetentionRequest { stream, retention })?;
    }
    Ok(())
}

struct Session {
    view: View,
    notifier: Notifier,
    status: Arc<Mutex<StatusDocument>>,
    control: Option<Server>,
    holds: HoldWatch,
    retention: RetentionWatch,
    silence: SilenceWatch,
    scrub: ScrubWatch,
}

impl Session {
    fn start(job: &Job, writer: &Writer, recorder: &Recorder, output: Output) -> anyhow::Result<Session> {
        let mut view = View::start(job.json, output).context("cannot start a thread")?;
        let volume = VolumeDocument::new(&job.volume, writer.info());
        let opened = OpenDocument::new(writer.opened());
        let streams = streams(recorder.status());
        view.started(&volume, opened.clone(), &streams);
        for finding in &writer.opened().findings {
            tracing::warn!(what = finding.what, at = finding.at, detail = %finding.detail, "damage found while opening");
        }
        let mut status = StatusDocument::new(std::process::id(), Moment(now()), volume, opened);
        status.file = FileIdentity::of(&job.volume).ok();
        status.streams = streams;
        let status = Arc::new(Mutex::new(status));
        let control = match serve(writer.info(), Arc::clone(&status), writer.holder()) {
            Ok(server) => Some(server),
            Err(error) => {
                // Footage matters more than being asked about it.
                output::say_always(&format!(
                    "keha: no control socket, keha status and keha hold add will not work: {error:#}"
                ));
                None
            }
        };
        let mut notifier = Notifier::new();
        notifier.ready();
        Ok(Session {
            view,
            notifier,
            status,
            control,
            holds: HoldWatch::default(),
            retention: RetentionWatch::default(),
            silence: SilenceWatch::new(Instant::now()),
            scrub: ScrubWatch::new(now()),
        })
    }

    /// Shows what happens until it is time to stop; the answer is why.
    fn run(
        &mut self,
        recorder: &Recorder,
        woken: &Receiver<Wake>,
        duration: Option<Duration>,
    ) -> &'static str {
        let begin = Instant::now();
        let end = duration.and_then(|duration| begin.checked_add(duration));
        let mut next_tick = begin;
        loop {
            let now = Instant::now();
            if now >= next_tick {
                next_tick = now + TICK;
                let streams = streams(recorder.status());
                if streams.iter().any(|stream| stream.state == "volume_stopped") {
                    return "the volume stopped";
                }
                self.tick(streams, now);
            }
            if end.is_some_and(|end| now >= end) {
                return "duration";
            }
            let until = end.map_or(next_tick, |end| end.min(next_tick));
            match woken.recv_timeout(until.saturating_duration_since(now)) {
                Ok(Wake::Stop(signal)) => return signal,
                Ok(other) => self.show(other),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return "the volume stopped",
            }
        }
    }

    fn tick(&mut self, streams: Vec<StreamStatus>, now: Instant) {
        self.view.status(&streams);
        let recording = streams.iter().filter(|stream| stream.state == "recording").count();
        self.notifier.status(&format!("{recording} of {} streams recording", streams.len()));
        self.notifier.alive(now);
        let time = view::now();
        let silent = self.silence.silent_for(now);
        let since = silent.map(|silent| WallTime(time.0.saturating_sub_unsigned(silent.as_nanos() as u64)));
        if let Some(since) = since.filter(|_| self.silence.is_news()) {
            self.view.silent(since);
        }
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        status.time = Moment(time);
        status.streams = streams;
        if let (Some(round), Some(since)) = (&mut status.round, since) {
            round.is_silent(since);
        }
    }

    fn show(&mut self, wake: Wake) {
        match wake {
            Wake::Stop(_) => {}
            Wake::Event(event) => self.view.happened(&event),
            Wake::Round(report) => {
                if let Some(silent) = self.silence.round(Instant::now()) {
                    self.view.answers(silent);
                }
                let document = RoundDocument::new(&report);
                self.holds.round(report.holds);
                self.retention.round(report.retention);
                for damage in self.scrub.round(&report.scrub) {
                    self.view.damaged(&damage, &stream_name(&report, damage.stream));
                }
                self.status.lock().unwrap_or_else(PoisonError::into_inner).round = Some(document);
                self.view.round(*report);
            }
        }
    }

    fn finish(
        mut self,
        recorder: Recorder,
        writer: Writer,
        woken: &Receiver<Wake>,
        reason: &'static str,
        must_have_recorded: bool,
    ) -> anyhow::Result<Exit> {
        self.notifier.stopping();
        let streams = streams(recorder.stop());
        let closed = writer.close();
        // The last rounds and events came while nobody looked.
        woken.try_iter().for_each(|wake| self.show(wake));
        drop(self.control.take());
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

fn streams(snapshots: Vec<keha_recorder::StreamStatus>) -> Vec<StreamStatus> {
    snapshots.iter().map(StreamStatus::new).collect()
}

fn serve(volume: &VolumeInfo, status: Arc<Mutex<StatusDocument>>, holder: Holder) -> anyhow::Result<Server> {
    let dir = path::own_directory(&path::Environment::of_process())?;
    let socket = path::socket(&dir, volume.id)?;
    let answer = Box::new(move |request| match request {
        Request::Status => status.lock().unwrap_or_else(PoisonError::into_inner).render(),
        Request::HoldAdd(order) => holding::add(&holder, &order),
        Request::HoldLift { id } => holding::lift(&holder, id),
        Request::StreamSet(order) => holding::retain(&holder, &order),
        Request::Erase(order) => holding::erase(&holder, &order),
    });
    Server::start(&socket, answer).with_context(|| format!("{}", socket.display()))
}
