//! How the server was started, and what becomes of a section `[server]` that says something else when the file is read again.
//!
//! The certificate is read anew each time, be it renewed in its place or another file: connections that are open keep what they have.
//! One that does not do changes nothing, and the log says so. All else counts from the next start on; what differs is named, each time.

use crate::config::server::Server;
use keha_api::{Certificate, Tls};
use std::net::SocketAddr;
use std::path::PathBuf;

/// How the server runs.
pub(super) struct Running {
    /// What the file said at the start.
    pub(super) server: Server,
    /// What counted before the file.
    pub(super) http: Option<SocketAddr>,
    pub(super) state: Option<PathBuf>,
    /// What is encrypted with.
    pub(super) certificate: Option<Certificate>,
}

impl Running {
    /// The file says this now.
    pub(super) fn take_over(&self, server: &Server) {
        if let (Some(certificate), Some(tls)) = (&self.certificate, tls(server)) {
            match certificate.replace(&tls) {
                Ok(()) => tracing::info!("the certificate was read again"),
                Err(error) => tracing::error!("{error}; the certificate stays the one before"),
            }
        }
        let waiting = self.waiting(server);
        if !waiting.is_empty() {
            tracing::warn!("changed in [server], and counts from the next start on: {}", waiting.join(", "));
        }
    }

    /// The keys that say something else than what the server runs with.
    fn waiting(&self, server: &Server) -> Vec<&'static str> {
        let before = &self.server;
        let keys = [
            ("http", self.http.is_none() && before.http != server.http),
            ("base_path", before.base_path != server.base_path),
            ("allowed_origins", before.allowed_origins != server.allowed_origins),
            ("trusted_proxies", before.trusted_proxies != server.trusted_proxies),
            ("tls_certificate", before.tls.is_some() != server.tls.is_some()),
            ("tls_key", before.tls.is_some() != server.tls.is_some()),
            ("state", self.state.is_none() && before.state != server.state),
            ("cache", before.cache_bytes != server.cache_bytes),
        ];
        keys.into_iter().filter_map(|(key, differs)| differs.then_some(key)).collect()
    }
}

/// Where the certificate is, if there is to be one.
pub(super) fn tls(server: &Server) -> Option<Tls> {
    let (certificate, key) = server.tls.clone()?;
    Some(Tls { certificate, key })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server() -> Server {
        Server {
            http: "127.0.0.1:1".parse().expect("an address"),
            base_path: String::new(),
            allowed_origins: Vec::new(),
            trusted_proxies: Vec::new(),
            tls: None,
            state: None,
            cache_bytes: 1,
        }
    }

    #[test]
    fn every_key_that_waits_for_a_restart_is_named_and_no_other() {
        let other = Server {
            http: "127.0.0.1:2".parse().expect("an address"),
            base_path: "/keha".into(),
            allowed_origins: vec!["https://a.example".into()],
            trusted_proxies: vec!["::1".parse().expect("an address")],
            tls: Some(("a".into(), "b".into())),
            state: Some("state".into()),
            cache_bytes: 2,
        };
        let running = Running { server: server(), http: None, state: None, certificate: None };
        let keys = [
            "http",
            "base_path",
            "allowed_origins",
            "trusted_proxies",
            "tls_certificate",
            "tls_key",
            "state",
            "cache",
        ];
        assert_eq!(running.waiting(&other), keys);
        assert!(running.waiting(&server()).is_empty());
        let told = Running { http: Some(other.http), state: Some("told".into()), ..running };
        let waiting = told.waiting(&other);
        assert!(!waiting.contains(&"http") && !waiting.contains(&"state"), "{waiting:?}");
    }

    #[test]
    fn a_certificate_at_another_place_waits_for_no_restart() {
        let at = |tls: (&str, &str)| Server { tls: Some((tls.0.into(), tls.1.into())), ..server() };
        let running = Running { server: at(("a", "b")), http: None, state: None, certificate: None };
        assert!(running.waiting(&at(("c", "d"))).is_empty());
        assert_eq!(running.waiting(&server()), ["tls_certificate", "tls_key"]);
    }
}
