//! What every handler reaches, and how it reaches what may block.

use crate::auth::Accounts;
use crate::control::{Control, ControlError};
use crate::gate::Gate;
use crate::problem::Problem;
use crate::server::{Services, Settings};
use keha_fs::StreamName;
use keha_player::library::{Found, Snapshot};
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
}

impl App {
    pub(crate) fn new(gate: Gate, settings: Settings, services: Services) -> App {
        let live = crate::live::hub(&services);
        App { gate: Arc::new(gate), services, live, settings: Arc::new(settings) }
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
        let done = self.control(ask).await;
        self.services.library.outdate();
        done
    }

    /// Reads volumes, on a thread that may wait.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&App) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let app = self.clone();
        waited(move || read(&app)).await?
    }

    /// Where a stream is. Blocks.
    pub(crate) fn find(&self, stream: &StreamName) -> keha_player::Result<Found> {
        self.services.library.find(stream, AGE_MAX)
    }

    /// A volume. Blocks.
    pub(crate) fn snapshot(&self, volume: &str) -> keha_player::Result<Arc<Snapshot>> {
        self.services.library.snapshot(volume, AGE_MAX)
    }

    /// All volumes that can be read. Blocks.
    pub(crate) fn snapshots(&self) -> Vec<Arc<Snapshot>> {
        let all = self.services.library.snapshots(AGE_MAX);
        let readable = all.into_iter().filter_map(|(name, snapshot)| {
            snapshot
                .inspect_err(|error| tracing::warn!(volume = name, %error, "a volume cannot be read"))
                .ok()
        });
        readable.collect()
    }
}

async fn waited<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Problem::internal(&error))
}
