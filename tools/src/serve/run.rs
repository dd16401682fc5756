//! The loop of the server: signals, seconds, rounds. It waits for no volume, no camera and no client.

use super::Wake;
use super::happenings::Happenings;
use super::http::Http;
use super::running::{Running, tls};
use super::station::{ReadConfig, Station};
use crate::config::server::Config;
use crate::failure::{Exit, Failure};
use crate::output::Output;
use crate::process::notify::Notifier;
use crate::process::signals;
use crate::recording::Tick;
use crate::recording::view::View;
use anyhow::Context;
use keha_api::control::Control;
use keha_api::events::{Events, NewEvent};
use keha_api::{Services, Settings};
use keha_player::library::Library;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// How often counters are looked at.
const TICK: Duration = Duration::from_secs(1);
/// A volume that can neither be opened nor not be opened keeps the server from being ready for no longer than this.
const READY: Duration = Duration::from_secs(10);
/// What may wait for the loop.
const WAKES: usize = 1024;

/// What is to be served.
pub(crate) struct Job {
    /// Reads the configuration, at the start and when told to.
    pub(crate) read: ReadConfig,
    /// Where accounts and cameras are kept, where the configuration does not count.
    pub(crate) state: Option<PathBuf>,
    /// Where to listen, where the configuration does not count.
    pub(crate) http: Option<SocketAddr>,
    /// How many ports after that may be taken instead.
    pub(crate) other_ports: u16,
    /// SIGHUP reads the configuration again; else it ends the server.
    pub(crate) reloads: bool,
    /// Shows what happens; of the one volume that there is then. Without it that must be opened is an error.
    pub(crate) view: Option<View>,
    pub(crate) duration: Option<Duration>,
}

/// Serves until stopped by a signal, or at the end of the job's duration.
///
/// # Errors
/// The configuration is wrong, the address is not to be had, or (with a view) the volume; not all is on the disk at the end.
pub(crate) fn run(job: Job, output: Output) -> anyhow::Result<Exit> {
    let config = (job.read)()?;
    let settings = settings(&job, &config)?;
    let (wake, woken) = mpsc::sync_channel(WAKES);
    let (stop, reload) = (wake.clone(), wake.clone());
    // That the loop is gone already when a signal comes is as good.
    let on_stop = move |signal| drop(stop.send(Wake::Stop(signal)));
    let on_reload = move || drop(reload.send(Wake::Reload));
    if job.reloads {
        signals::on_stop_or_reload(on_stop, on_reload).context("cannot wait for signals")?;
    } else {
        signals::on_stop(on_stop).context("cannot wait for signals")?;
    }
    let library = Library::keeping(config.server.cache_bytes);
    let station = Arc::new(Station::new(job.read, library, &settings.state, wake));
    let control: Arc<dyn Control> = Arc::clone(&station) as _;
    let events = Arc::new(Events::open(&settings.state)?);
    let services = Services { library: Arc::clone(&station.library), control, events: Arc::clone(&events) };
    // Before anything is written: a server that runs already is found out here.
    let http = Http::start(&settings, &services, job.other_ports)?;
    let scheme = if settings.tls.is_some() { "https" } else { "http" };
    output.say(&format!("keha: serving at {scheme}://{}{}/", http.address(), settings.base_path));
    {
        let _edit = station.edit();
        station.apply(&config);
    }
    let Config { server, .. } = config;
    let running =
        Arc::new(Running { server, http: job.http, state: job.state, certificate: http.certificate() });
    let (notifier, began) = (Notifier::new(), Instant::now());
    let happenings = Happenings::default();
    let mut serving =
        Serving { station, running, notifier, view: job.view, events, happenings, began, is_ready: false };
    let outcome = serving.run(&woken, job.duration);
    serving.finish(http, &woken, outcome, output)
}

fn settings(job: &Job, config: &Config) -> anyhow::Result<Settings> {
    let server = &config.server;
    let state = job.state.clone().or_else(|| server.state.clone());
    let why = "no state directory is named: set state in [server], or give --state";
    Ok(Settings {
        address: job.http.unwrap_or(server.http),
        state: state.ok_or_else(|| Failure::usage(why))?,
        base_path: server.base_path.clone(),
        allowed_origins: server.allowed_origins.clone(),
        trusted_proxies: server.trusted_proxies.clone(),
        tls: tls(server),
    })
}

struct Serving {
    station: Arc<Station>,
    running: Arc<Running>,
    notifier: Notifier,
    view: Option<View>,
    events: Arc<Events>,
    happenings: Happenings,
    began: Instant,
    is_ready: bool,
}

impl Serving {
    /// Goes on until it is time to stop; the answer is why.
    fn run(&mut self, woken: &Receiver<Wake>, duration: Option<Duration>) -> anyhow::Result<&'static str> {
        let begin = Instant::now();
        let end = duration.and_then(|duration| begin.checked_add(duration));
        let mut next_tick = begin;
        loop {
            let now = Instant::now();
            if now >= next_tick {
                next_tick = now + TICK;
                let ticks = self.station.tick(now);
                self.tick(&ticks, now);
            }
            if end.is_some_and(|end| now >= end) {
                return Ok("duration");
            }
            let until = end.map_or(next_tick, |end| end.min(next_tick));
            match woken.recv_timeout(until.saturating_duration_since(now)) {
                Ok(Wake::Stop(signal)) => return Ok(signal),
                Ok(Wake::Tried(volume)) => self.tried(&volume)?,
                Ok(other) => self.show(other),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok("nobody is left"),
            }
        }
    }

    fn tick(&mut self, ticks: &[(String, Tick)], now: Instant) {
        let states = ticks.iter().flat_map(|(_, tick)| tick.streams.iter().map(|stream| stream.state));
        self.notifier.recording(states);
        self.notifier.alive(now);
        self.ready_if(now.duration_since(self.began) >= READY);
        let happened = self.happenings.tick(ticks, &self.station.wanted_streams());
        self.note(happened);
        if let (Some(view), Some((_, tick))) = (&mut self.view, ticks.first()) {
            view.tick(tick);
        }
    }

    fn note(&self, happened: impl IntoIterator<Item = NewEvent>) {
        for event in happened {
            self.events.note(event);
        }
    }

    fn ready_if(&mut self, is_it: bool) {
        if is_it && !self.is_ready {
            self.is_ready = true;
            self.notifier.ready();
        }
    }

    /// A volume was opened, or could not be: once all were, the server is ready.
    fn tried(&mut self, volume: &str) -> anyhow::Result<()> {
        self.ready_if(self.station.slots().iter().all(|slot| slot.is_tried()));
        let Some(slot) = self.station.slot(volume) else { return Ok(()) };
        let happened = self.happenings.tried(volume, slot.failed().as_deref());
        self.note(happened);
        let Some(view) = &mut self.view else { return Ok(()) };
        match (slot.live().as_ref(), slot.failed()) {
            (Some(live), _) => view.started(&live.volume(), live.opened(), &live.streams()),
            (None, why) => return Err(Failure::failed(why.unwrap_or_default())),
        }
        Ok(())
    }

    fn show(&mut self, wake: Wake) {
        match wake {
            Wake::Stop(_) | Wake::Tried(_) => {}
            Wake::Reload => {
                let (station, running) = (Arc::clone(&self.station), Arc::clone(&self.running));
                let reload = move || station.reload(&running);
                let spawned = thread::Builder::new().name("reload".into()).spawn(reload);
                if let Err(error) = spawned {
                    tracing::error!(%error, "cannot start a thread: nothing was changed");
                }
            }
            Wake::Round(volume, report) => {
                let news = self.station.round(&volume, &report);
                let happened = self.happenings.round(&volume, &report, news.as_ref());
                self.note(happened);
                if let (Some(view), Some(news)) = (&mut self.view, news) {
                    view.round(&news, *report);
                }
            }
            Wake::Stopped(stream) => {
                let happened = self.happenings.stopped(stream.as_str());
                self.note(happened);
            }
            Wake::Noted(event) => self.note([event]),
            Wake::Event(event) => {
                let happened = self.happenings.happened(&event);
                self.note(happened);
                if let Some(view) = &mut self.view {
                    view.happened(&event);
                }
            }
        }
    }

    fn finish(
        mut self,
        http: Http,
        woken: &Receiver<Wake>,
        outcome: anyhow::Result<&'static str>,
        output: Output,
    ) -> anyhow::Result<Exit> {
        self.notifier.stopping();
        // Clients are taken leave of while what was recorded is written out: neither waits for the other.
        let leaving = http.leave();
        let ended = self.station.end();
        leaving.end();
        // The last rounds and events came while nobody looked.
        woken.try_iter().for_each(|wake| self.show(wake));
        let reason = outcome?;
        match self.view.take() {
            Some(view) => view.stopped(reason, &ended.streams, ended.error.is_none()),
            None if ended.error.is_none() => {
                output.say(&format!("keha: stopped ({reason}), everything is on the disk"));
            }
            None => {}
        }
        ended.error.map_or(Ok(Exit::Done), |error| Err(error.into()))
    }
}
