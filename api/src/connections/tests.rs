//! Real sockets, with a clock that jumps to the next thing to wait for.

use super::{ByHttps, CONNECTIONS_OF_ONE_MAX, Certificate, HEAD, serve};
use crate::extract::Json;
use crate::server::Tls;
use axum::Router;
use axum::body::Body;
use axum::http::{Extensions, StatusCode};
use axum::routing::{get, post};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

struct Running {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    served: JoinHandle<()>,
}

pub(super) fn routes() -> Router {
    Router::new()
        .route("/", get(async || "here"))
        .route("/how", get(async |asked: Extensions| format!("{:?}", asked.get::<ByHttps>())))
        .route("/never", get(std::future::pending::<()>))
        .route("/unknown", get(async || StatusCode::UNAUTHORIZED))
        .route("/stream", get(async || Body::from_stream(tokio_stream::iter([Ok::<_, Infallible>("piece")]))))
        .route("/body", post(async |Json(number): Json<u32>| number.to_string()))
}

async fn running(certificate: Option<Certificate>) -> Running {
    behind(Vec::new(), certificate).await
}

async fn behind(proxies: Vec<IpAddr>, certificate: Option<Certificate>) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (stop, stopped) = oneshot::channel();
    let served = tokio::spawn(serve(listener, routes(), certificate, proxies, async { drop(stopped.await) }));
    Running { address, stop, served }
}

/// What comes back for some bytes, until the other side ends it.
async fn said(address: SocketAddr, bytes: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("connected");
    stream.write_all(bytes.as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    let _ended = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(start_paused = true)]
async fn who_takes_too_long_to_ask_is_sent_away() {
    let server = running(None).await;
    let asked = said(server.address, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(asked.starts_with("HTTP/1.1 200") && asked.ends_with("here"), "an idle connection ends: {asked}");
    for (what, bytes) in [
        ("nothing", ""),
        ("half a head", "GET / HTTP/1.1\r\nHost:"),
        (
            "half a body",
            "POST /body HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n1",
        ),
    ] {
        let answer = said(server.address, bytes).await;
        assert!(!answer.contains("200 OK"), "{what}: {answer}");
        let is_late = answer.starts_with("HTTP/1.1 408") && answer.contains("application/problem+json");
        assert_eq!(is_late, what == "half a body", "{what}: {answer}");
    }
    let long = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(64 << 10));
    assert!(said(server.address, &long).await.starts_with("HTTP/1.1 431"));
}

/// How whoever sends a number in pieces, each so long after the one before, is answered, and after how long.
async fn trickled(address: SocketAddr, pieces: &[&str], pause: Duration) -> (String, Duration) {
    let length: usize = pieces.iter().map(|piece| piece.len()).sum();
    let began = Instant::now();
    let (mut from, mut to) = TcpStream::connect(address).await.expect("connected").into_split();
    let head = format!(
        "POST /body HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    );
    to.write_all(head.as_bytes()).await.expect("sent");
    let trickle = async {
        for piece in pieces {
            tokio::time::sleep(pause).await;
            if to.write_all(piece.as_bytes()).await.is_err() {
                break;
            }
        }
        std::future::pending::<()>().await;
    };
    let mut answer = Vec::new();
    tokio::select! {
        () = trickle => {}
        _ended = from.read_to_end(&mut answer) => {}
    }
    (String::from_utf8_lossy(&answer).into_owned(), began.elapsed())
}

/// A time for each piece would never end for somebody who always sends one more.
#[tokio::test(start_paused = true)]
async fn a_body_is_whole_in_time_however_it_is_spread() {
    let server = running(None).await;
    let pause = Duration::from_secs(10);
    let (answer, took) = trickled(server.address, &["1"; 9], pause).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(took >= HEAD && took < HEAD + pause, "{took:?}");
    let (answer, took) = trickled(server.address, &["1", "7"], HEAD / 3).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("17"), "{answer}");
    assert!(took < HEAD, "{took:?}");
}

#[tokio::test]
async fn that_it_was_asked_by_https_is_believed_of_a_proxy_that_is_trusted() {
    let asked = "GET /how HTTP/1.1\r\nHost: x\r\nX-Forwarded-Proto: https\r\nConnection: close\r\n\r\n";
    for (proxies, expected) in [(vec![Ipv4Addr::LOCALHOST.into()], "Some(ByHttps)"), (Vec::new(), "None")] {
        let server = behind(proxies, None).await;
        assert!(said(server.address, asked).await.ends_with(expected), "{expected}");
    }
}

#[tokio::test]
async fn who_is_not_known_may_ask_less_often() {
    let server = running(None).await;
    let asked = |path: &str, times: usize| {
        let one = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
        format!("{}GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", one.repeat(times))
    };
    let known = said(server.address, &asked("/", 4000)).await;
    assert!(!known.contains("HTTP/1.1 429"), "so many are nothing for somebody who is known");
    let unknown = said(server.address, &asked("/unknown", 4000)).await;
    assert!(unknown.contains("HTTP/1.1 401") && unknown.contains("HTTP/1.1 429"));
}

#[tokio::test]
async fn one_client_cannot_have_all_connections() {
    let server = running(None).await;
    let mut held = Vec::new();
    for _ in 0..CONNECTIONS_OF_ONE_MAX {
        held.push(TcpStream::connect(server.address).await.expect("connected"));
    }
    let request = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    assert_eq!(said(server.address, request).await, "", "one too many");
    let answered = async {
        held.clear();
        while !said(server.address, request).await.ends_with("here") {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), answered).await.expect("there is room again");
}

#[tokio::test(start_paused = true)]
async fn the_end_waits_for_no_request_for_long() {
    let server = running(None).await;
    let never = tokio::spawn(said(server.address, "GET /never HTTP/1.1\r\nHost: x\r\n\r\n"));
    assert!(
        said(server.address, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            .await
            .ends_with("here")
    );
    server.stop.send(()).expect("it runs");
    server.served.await.expect("it ended");
    assert_eq!(never.await.expect("broken off"), "");
    assert!(TcpStream::connect(server.address).await.is_err());
}

/// A new certificate and its key, in these files.
fn certify(files: &Tls) -> CertificateDer<'static> {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    std::fs::write(&files.certificate, cert.pem()).expect("written");
    std::fs::write(&files.key, signing_key.serialize_pem()).expect("written");
    cert.der().clone()
}

/// What is answered to whoever trusts this certificate alone.
async fn encrypted(address: SocketAddr, trusted: &CertificateDer<'static>) -> std::io::Result<String> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).expect("a root");
    let provider = tokio_rustls::rustls::crypto::ring::default_provider();
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").expect("a name");
    let stream = TcpStream::connect(address).await.expect("connected");
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

fn files(directory: &tempfile::TempDir) -> Tls {
    Tls { certificate: directory.path().join("keha.crt"), key: directory.path().join("keha.key") }
}

#[tokio::test]
async fn with_a_certificate_it_is_encrypted_and_nothing_else_is_answered() {
    let directory = tempfile::tempdir().expect("a directory");
    let files = files(&directory);
    let certificate = certify(&files);
    let server = running(Some(Certificate::open(&files).expect("both are there"))).await;
    let answer = encrypted(server.address, &certificate).await.expect("an answer");
    assert!(answer.ends_with("here"), "{answer}");
    let plain = said(server.address, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(!plain.contains("here"), "{plain}");
    std::fs::remove_file(&files.key).expect("removed");
    assert!(Certificate::open(&files).is_err_and(|error| error.to_string().contains("keha.key")));
}

/// A renewed certificate took a restart, which interrupts recording.
#[tokio::test]
async fn a_renewed_certificate_is_that_of_the_next_connection_and_a_bad_one_changes_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let files = files(&directory);
    let before = certify(&files);
    let certificate = Certificate::open(&files).expect("both are there");
    let server = running(Some(certificate.clone())).await;
    let key = std::fs::read(&files.key).expect("there");
    let after = certify(&files);
    let renewed = std::fs::read(&files.key).expect("there");
    std::fs::write(&files.key, key).expect("written");
    assert!(certificate.replace(&files).is_err(), "the key of another certificate");
    assert!(encrypted(server.address, &before).await.is_ok());
    std::fs::write(&files.key, renewed).expect("written");
    certificate.replace(&files).expect("they belong together");
    assert!(encrypted(server.address, &after).await.is_ok());
    assert!(encrypted(server.address, &before).await.is_err());
}
