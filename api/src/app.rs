//! What every handler reaches, and how it reaches what may block.

use crate::audit::Audit;
use crate::auth::{Accounts, Grant};
use crate::budget::Budget;
use crate::control::{Control, ControlError};
use crate::downloads::Downloads;
use crate::error::Result as Outcome;
use crate::events::{EventKind, NewEvent};
use crate::exports::Exports;
use crate::gate::Gate;
use crate::media::Media;
use crate::prepared::Desk;
use crate::problem::Problem;
use crate::routes::Readiness;
use crate::server::{Services, Settings};
use crate::sockets::Sockets;
use keha_fs::StreamName;
use keha_player::library::{Snapshot, Whole};
use keha_player::live::LiveHub;
use std::sync::Arc;
use std::time::Duration;

/// How old what is told of the volumes may be: about a flush round.
const AGE_MAX: Duration = Duration::from_secs(1);

/// What every handler reaches.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) gate: Arc<Gate>,
    pub(crate) services: Services,
    pub(crate) live: Arc<LiveHub>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) media: Arc<Media>,
    pub(crate) reading: Arc<Budget>,
    pub(crate) readiness: Arc<Readiness>,
    pub(crate) desk: Arc<Desk>,
    pub(crate) downloads: Arc<Downloads>,
    pub(crate) sockets: Arc<Sockets>,
    pub(crate) exports: Arc<Exports>,
    pub(crate) audit: Arc<Audit>,
}

impl App {
    /// # Errors
    /// Where what outlived the last server cannot be read.
    pub(crate) fn new(gate: Gate, settings: Settings, services: Services) -> Outcome<App> {
        let (exports, audit) = (Exports::open(&settings.state)?, Audit::open(&settings.state)?);
        let live = crate::live::hub(&services);
        Ok(App {
            gate: Arc::new(gate.below(&settings.base_path)),
            live,
            services,
            media: Arc::new(Media::new(&settings.state)),
            settings: Arc::new(settings),
            reading: Arc::default(),
            readiness: Arc::default(),
            desk: Arc::default(),
            downloads: Arc::default(),
            sockets: Arc::default(),
            exports: Arc::new(exports),
            audit: Arc::new(audit),
        })
    }

    /// Whether browsers reach this server by TLS alone.
    pub(crate) fn is_encrypted(&self) -> bool {
        self.settings.tls.is_some()
    }

    /// Changes the accounts: hashing a password and flushing a file take a while, on a thread that may wait.
    pub(crate) async fn change<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut Accounts) -> crate::Result<T> + Send + 'static,
    ) -> Result<T, Problem> {
        let gate = self.gate.clone();
        Ok(waited(move || gate.change_accounts(change)).await??)
    }

    /// Has whoever records do something, on a thread that may wait.
    pub(crate) async fn control<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&dyn Control) -> Result<T, ControlError> + Send + 'static,
    ) -> Result<T, Problem> {
        let control = Arc::clone(&self.services.control);
        Ok(waited(move || ask(&*control)).await??)
    }

    /// Has whoever records change something that volumes tell of, so that the next who asks is told.
    pub(crate) async fn change_volumes<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&dyn Control) -> Result<T, ControlError> + Send + 'static,
    ) -> Result<T, Problem> {
        let done = self.control(ask).await?;
        self.services.library.outdate();
        Ok(done)
    }

    /// Notes that somebody did something.
    pub(crate) fn note(&self, kind: EventKind, camera: Option<&str>, user: &str, text: String) {
        let event = NewEvent { kind, camera: camera.map(str::to_owned), user: Some(user.to_owned()), text };
        self.services.events.note(event);
    }

    /// Reads volumes for a user or a token, on a thread that may wait, within the budget that there is for that. The budget is taken until
    /// the work ends, also where nobody waits for it any more.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        name: String,
        read: impl FnOnce(&App) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let permit = self.reading.permit(&name).await?;
        self.work(move |app| {
            let _permit = permit;
            read(app)
        })
        .await
    }

    /// The same for what can be broken off: it is told whether anybody still waits for it.
    pub(crate) async fn read_while<T: Send + 'static>(
        &self,
        name: String,
        read: impl FnOnce(&App, &dyn Fn() -> bool) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let asker = Arc::new(());
        let waits = Arc::downgrade(&asker);
        let done = self.read(name, move |app| read(app, &|| waits.strong_count() > 0)).await;
        // It goes when whoever waits goes: this future is dropped then.
        drop(asker);
        done
    }

    /// Does something short that no budget is needed for, on a thread that may wait.
    pub(crate) async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&App) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let app = self.clone();
        waited(move || work(&app)).await?
    }

    /// All that there is of a stream. Blocks.
    pub(crate) fn whole(&self, stream: &StreamName) -> keha_player::Result<Whole> {
        self.services.library.find_all(stream, AGE_MAX)
    }

    /// The same where nothing of it may be there, but for volumes that do not answer. Blocks.
    pub(crate) fn any(&self, stream: &StreamName) -> Whole {
        self.services.library.find_any(stream, AGE_MAX)
    }

    /// All that there is of all streams. Blocks.
    pub(crate) fn wholes(&self) -> Vec<Whole> {
        self.services.library.all(AGE_MAX)
    }

    /// A volume. Blocks.
    pub(crate) fn snapshot(&self, volume: &str) -> keha_player::Result<Arc<Snapshot>> {
        self.services.library.snapshot(volume, AGE_MAX)
    }

    /// All volumes that can be read. Blocks.
    pub(crate) fn snapshots(&self) -> Vec<Arc<Snapshot>> {
        self.snapshots_and_missing().0
    }

    /// The same, and the names of the others. Blocks.
    pub(crate) fn snapshots_and_missing(&self) -> (Vec<Arc<Snapshot>>, Vec<String>) {
        let (mut readable, mut missing) = (Vec::new(), Vec::new());
        for (name, snapshot) in self.services.library.snapshots(AGE_MAX) {
            match snapshot {
                Ok(snapshot) => readable.push(snapshot),
                Err(error) => {
                    tracing::warn!(volume = name, %error, "a volume cannot be read");
                    missing.push(name);
                }
            }
        }
        (readable, missing)
    }

    /// Which of these volumes, that do not answer, somebody is told of who may do this: those that may have something of cameras that he may
    /// see. Whoever administers all is told of all.
    pub(crate) fn missing_for(&self, grant: &Grant, missing: Vec<String>) -> Vec<String> {
        let library = &self.services.library;
        let is_his = |stream: &StreamName| grant.may_see(stream.camera());
        let is_told =
            |volume: &String| grant.may_administer() || grant.sees_any() && library.may_have(volume, is_his);
        missing.into_iter().filter(is_told).collect()
    }
}

async fn waited<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Problem::internal(&error))
}

#[cfg(test)]
mod tests {
    use crate::testing::{FakeControl, NOON, app, footage};
    use keha_fs::{HoldRequest, StreamName};
    use keha_player::library::Library;
    use std::sync::Arc;
    use std::time::Duration;

    #[tokio::test]
    async fn only_a_change_that_was_made_has_the_volumes_read_anew() {
        let directory = tempfile::tempdir().expect("a directory");
        let control = Arc::new(FakeControl::default());
        let library = Library::new([footage(directory.path(), &["door"])]);
        let app = app((directory.path(), ""), false, Arc::clone(&control), library);
        let hold = async || {
            let stream = StreamName::new("door").expect("a name");
            let (from, to) = (NOON, NOON.plus(Duration::from_secs(1)));
            let request = HoldRequest { stream, from, to, label: String::new(), expires: None };
            app.change_volumes(move |control| control.add_hold(request)).await
        };
        let snapshot =
            || app.services.library.snapshot("attic", Duration::from_secs(3600)).expect("a volume");
        let first = snapshot();
        control.refuse_holds(true);
        assert!(hold().await.is_err());
        assert!(Arc::ptr_eq(&first, &snapshot()));
        control.refuse_holds(false);
        assert!(hold().await.is_ok());
        assert!(!Arc::ptr_eq(&first, &snapshot()));
    }
    #[tokio::test]
    async fn what_is_read_for_somebody_is_told_when_he_is_gone() {
        let directory = tempfile::tempdir().expect("a directory");
        let app = app((directory.path(), ""), false, Arc::default(), Library::default());
        let (tell, told) = std::sync::mpsc::channel();
        let (leave, left) = std::sync::mpsc::channel();
        {
            let mut reading = std::pin::pin!(app.read_while("anna".to_owned(), move |_, is_wanted| {
                for _ in 0..2 {
                    tell.send(is_wanted()).expect("somebody listens");
                    left.recv().expect("somebody leaves");
                }
                Ok(())
            }));
            while told.try_recv() != Ok(true) {
                assert!(futures_util::poll!(&mut reading).is_pending());
                tokio::task::yield_now().await;
            }
        }
        leave.send(()).expect("it is waited for");
        assert_eq!(told.recv(), Ok(false));
        leave.send(()).expect("it is waited for");
    }
}
