//! The certificate to encrypt with (RFC 8446), by rustls.
//!
//! One that is renewed takes the place of the one before while the server runs: whoever connects from then on sees it, connections that
//! are open keep what they have. One that does not do changes nothing.

use crate::error::{Error, Result};
use crate::server::Tls;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// What connections are encrypted with. Clones share it.
#[derive(Clone, Debug)]
pub struct Certificate {
    config: Arc<RwLock<Arc<ServerConfig>>>,
}

impl Certificate {
    /// Reads a certificate and its key.
    ///
    /// # Errors
    /// [`Error::Refused`] where a file cannot be read, holds nothing of the kind, or certificate and key do not belong together.
    pub fn open(tls: &Tls) -> Result<Certificate> {
        Ok(Certificate { config: Arc::new(RwLock::new(config(tls)?)) })
    }

    /// Reads them anew, from these files, for all connections that are taken in from now on.
    ///
    /// # Errors
    /// As [`Certificate::open`]; the one before stays.
    pub fn replace(&self, tls: &Tls) -> Result<()> {
        let config = config(tls)?;
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(())
    }

    /// What takes the next connection in.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        let config = self.config.read().unwrap_or_else(PoisonError::into_inner);
        TlsAcceptor::from(Arc::clone(&config))
    }
}

fn config(tls: &Tls) -> Result<Arc<ServerConfig>> {
    let chain = CertificateDer::pem_file_iter(&tls.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, pem::Error>>)
        .map_err(|error| refused("tls_certificate", &tls.certificate, &error))?;
    if chain.is_empty() {
        return Err(refused("tls_certificate", &tls.certificate, &"it holds no certificate"));
    }
    let key = PrivateKeyDer::from_pem_file(&tls.key).map_err(|error| refused("tls_key", &tls.key, &error))?;
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key));
    let mut config = config.map_err(|error| refused("tls_certificate", &tls.certificate, &error))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn refused(what: &'static str, path: &Path, why: &dyn std::fmt::Display) -> Error {
    Error::Refused {
        what,
        why: format!("{}: {why}; give PEM files of a certificate and its key", path.display()),
    }
}
