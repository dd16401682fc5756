//! The server: what it is given, listening, and ending.

use crate::app::App;
use crate::connections::{self, Certificate};
use crate::control::Control;
use crate::error::{Error, Result};
use crate::events::Events;
use crate::gate::Gate;
use crate::routes::router;
use keha_player::library::Library;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::net::TcpListener;

/// How a server is to be.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where it listens.
    pub address: SocketAddr,
    /// Where accounts and what else outlives the server are kept.
    pub state: PathBuf,
    /// Below which path it answers, such as `/keha` behind a proxy; empty for none.
    pub base_path: String,
    /// The origins of other sites' pages (`https://example.org`) that may read answers (CORS); none may send a session.
    pub allowed_origins: Vec<String>,
    /// Proxies that are believed where what they pass on came from (`X-Forwarded-For`).
    pub trusted_proxies: Vec<IpAddr>,
    /// The certificate to encrypt with; without one it is spoken in the clear.
    pub tls: Option<Tls>,
}

/// Where a certificate is.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The certificate and those that vouch for it (PEM).
    pub certificate: PathBuf,
    /// Its private key (PEM, PKCS #8, PKCS #1 or SEC 1).
    pub key: PathBuf,
}

/// What a server serves.
#[derive(Clone)]
pub struct Services {
    /// What is recorded.
    pub library: Arc<Library>,
    /// Whoever records.
    pub control: Arc<dyn Control>,
    /// What happened. Whoever records notes what happens to cameras and disks.
    pub events: Arc<Events>,
}

/// A server that listens and answers nobody yet.
pub struct Server {
    listener: TcpListener,
    app: App,
    certificate: Option<Certificate>,
}

impl Server {
    /// Listens. Anywhere but on loopback there must be somebody who can log in: nobody else may see what is recorded.
    ///
    /// # Errors
    /// Where nobody could log in, the accounts or the certificate cannot be read, or the address is not to be had.
    pub async fn listen(settings: Settings, services: Services) -> Result<Server> {
        let address = settings.address;
        let loopback = address.ip().to_canonical().is_loopback();
        let gate = Gate::open(&settings.state, loopback)?;
        if !loopback && gate.accounts().is_empty() {
            let why = format!(
                "{address} can be reached from elsewhere, and nobody could log in: add a user first with `keha user add`"
            );
            return Err(Error::Refused { what: "address", why });
        }
        let certificate = settings.tls.as_ref().map(Certificate::open).transpose()?;
        let listener =
            TcpListener::bind(address).await.map_err(|source| Error::Listen { address, source })?;
        Ok(Server { listener, app: App::new(gate, settings, services)?, certificate })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// Where the system does not say.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// What it encrypts with, to be replaced while it answers.
    pub fn certificate(&self) -> Option<Certificate> {
        self.certificate.clone()
    }

    /// Answers until `stop` is done, and then for at most two seconds what was asked before.
    pub async fn serve(self, stop: impl Future<Output = ()>) {
        let live = Arc::clone(&self.app.live);
        let stop = async move {
            stop.await;
            // Whoever watches is told; connections that were upgraded are waited for by nobody else.
            live.close();
        };
        let proxies = self.app.settings.trusted_proxies.clone();
        connections::serve(self.listener, router(self.app), self.certificate, proxies, stop).await;
    }
}
