//! `keha serve` with a certificate that is renewed while it runs, and with files that are none.

use crate::server::{Server, camera, command, directory, until};
use crate::support::assert_refused;
use nix::sys::signal::Signal;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, Stream};

/// A new certificate and its key, where the configuration has them.
fn certify(dir: &Path) -> CertificateDer<'static> {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    fs::write(dir.join("keha.crt"), cert.pem()).expect("written");
    fs::write(dir.join("keha.key"), signing_key.serialize_pem()).expect("written");
    fs::set_permissions(dir.join("keha.key"), fs::Permissions::from_mode(0o600)).expect("changed");
    cert.der().clone()
}

/// Whether the server shows this certificate.
fn shows(server: &Server, certificate: &CertificateDer<'static>) -> bool {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).expect("a root");
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").expect("a name");
    let mut client = ClientConnection::new(Arc::new(config), name).expect("a client");
    let mut stream = TcpStream::connect(server.address()).expect("it listens");
    Stream::new(&mut client, &mut stream).write_all(b"GET / HTTP/1.1\r\n").is_ok()
}

#[test]
fn a_renewed_certificate_is_shown_after_a_reload_and_a_bad_one_changes_nothing() {
    let dir = directory(&camera("a", ""));
    let path = dir.path().join("keha.toml");
    let text = fs::read_to_string(&path).expect("there");
    let tls = "[server]\ntls_certificate = \"keha.crt\"\ntls_key = \"keha.key\"";
    fs::write(&path, text.replace("[server]", tls)).expect("written");
    let before = certify(dir.path());
    let mut server = Server::start(dir.path());
    assert!(shows(&server, &before));

    let after = certify(dir.path());
    assert!(!shows(&server, &after));
    server.signal(Signal::SIGHUP);
    until("the renewed certificate", || shows(&server, &after).then_some(()));
    assert!(!shows(&server, &before));

    fs::write(dir.path().join("keha.crt"), "none").expect("written");
    let check = command(dir.path(), &["config", "check"]).output().expect("the binary runs");
    assert_refused(&check, 2, "keha.crt: it holds no certificate");
    server.signal(Signal::SIGHUP);
    server.await_log("nothing was changed");
    assert!(shows(&server, &after));
    assert_eq!(server.terminate(Duration::from_secs(5)).code(), Some(0), "{}", server.log());
}
