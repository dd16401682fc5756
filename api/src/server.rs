//! The server: listening, and ending.

use crate::error::{Error, Result};
use crate::gate::Gate;
use crate::routes::{App, router};
use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use tokio::net::TcpListener;

/// A server that listens and answers nobody yet.
pub struct Server {
    listener: TcpListener,
    app: App,
}

impl Server {
    /// Listens on an address. Anywhere but on loopback there must be somebody who can log in: nobody else may see what is recorded.
    ///
    /// # Errors
    /// Where nobody could log in, the accounts cannot be read, or the address is not to be had.
    pub async fn listen(address: SocketAddr, state: &Path) -> Result<Server> {
        let loopback = address.ip().to_canonical().is_loopback();
        let gate = Gate::open(state, loopback)?;
        if !loopback && gate.accounts().is_empty() {
            let why = format!(
                "{address} can be reached from elsewhere, and nobody could log in: add a user first with `keha user add`"
            );
            return Err(Error::Refused { what: "address", why });
        }
        let listener =
            TcpListener::bind(address).await.map_err(|source| Error::Listen { address, source })?;
        Ok(Server { listener, app: App { gate: Arc::new(gate), tls: false } })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// Where the system does not say.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers until `stop` is done, and then what was asked before.
    ///
    /// # Errors
    /// Where the listener fails.
    pub async fn serve(self, stop: impl Future<Output = ()> + Send + 'static) -> std::io::Result<()> {
        let router = router(self.app).into_make_service_with_connect_info::<SocketAddr>();
        axum::serve(self.listener, router).with_graceful_shutdown(stop).await
    }
}
