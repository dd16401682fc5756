//! The certificate to encrypt with (RFC 8446), by rustls.

use crate::error::{Error, Result};
use crate::server::Tls;
use std::path::Path;
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// What takes connections in with this certificate.
///
/// # Errors
/// [`Error::Refused`] where a file cannot be read, holds nothing of the kind, or certificate and key do not belong together.
pub(crate) fn acceptor(tls: &Tls) -> Result<TlsAcceptor> {
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
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn refused(what: &'static str, path: &Path, why: &dyn std::fmt::Display) -> Error {
    Error::Refused {
        what,
        why: format!("{}: {why}; give PEM files of a certificate and its key", path.display()),
    }
}
