//! Connections: taken in, encrypted where there is a certificate, bounded, and ended.
//!
//! What one client can take from the others is bounded: connections (of all, and of each address), requests in a time, the time that
//! a request's head, its body or a handshake may take, the time that it may leave what is sent unread. Whoever is over a bound is turned away,
//! and nobody waits for him.
//!
//! What must not live here: paths, who may do what.

mod activity;
mod body;
mod client;
#[cfg(test)]
mod http2_tests;
#[cfg(test)]
mod tests;
mod tls;

pub(crate) use body::Late;
pub(crate) use client::ByHttps;
pub use tls::Certificate;

use crate::auth::Buckets;
use crate::gate::address_key;
use crate::problem::Problem;
use activity::{Activity, Left, Limits};
use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Request, Response, StatusCode};
use axum::response::IntoResponse;
use body::TimedBody;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;

/// Connections at a time, of all clients.
const CONNECTIONS_MAX: usize = 2048;
/// And of one address: browsers open six, a wall of cameras a WebSocket each.
const CONNECTIONS_OF_ONE_MAX: usize = 512;
/// Requests of one address: so many at once, then one in each of these times.
const REQUESTS: (u32, Duration) = (20_000, Duration::from_micros(200));
/// A request of somebody whom nobody knows counts as so many.
const UNKNOWN_COUNTS: u32 = 10;
/// Of how many addresses requests are counted.
const COUNTED_MAX: usize = 10_000;
/// In this time a request's head, its whole body, or a handshake is there, and the next request on the same connection begun.
const HEAD: Duration = Duration::from_secs(20);
/// Who reads nothing of what is sent for this long is gone.
const UNREAD: Duration = Duration::from_secs(30);
/// Who asks nothing over a connection of HTTP/2 for this long, or takes nothing of what he asked for, has left it.
const LEFT: Duration = Duration::from_secs(60);
/// How long requests may go on when the server ends.
const ENDING: Duration = Duration::from_secs(2);
/// The most bytes of a request's head.
const HEAD_BYTES_MAX: usize = 32 << 10;
/// Requests at a time on one connection (HTTP/2).
const STREAMS_MAX: u32 = 100;

/// Who is connected.
#[derive(Default)]
struct Connected {
    all: usize,
    by_address: HashMap<String, usize>,
}

/// What all connections share.
struct Shared {
    router: Router,
    /// Who is believed where what he passes on came from.
    proxies: Vec<IpAddr>,
    connected: Mutex<Connected>,
    requests: Mutex<Buckets>,
    started: Instant,
}

/// Answers until `stop` is done, and then, for a short while, what was asked before.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    certificate: Option<Certificate>,
    proxies: Vec<IpAddr>,
    stop: impl Future<Output = ()>,
) {
    let shared = Shared::new(router, proxies);
    let (ending, ended) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut stop => break,
            // What has ended is forgotten at once.
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let Some(place) = Place::take(&shared, peer) else { continue };
                let tls = certificate.as_ref().map(Certificate::acceptor);
                let (shared, ended) = (Arc::clone(&shared), ended.clone());
                connections.spawn(async move {
                    connection(stream, peer, &shared, tls, Arc::new(place), ended).await;
                });
            }
            Err(error) => {
                // Out of descriptors, most likely: others may need a moment to give some back.
                tracing::warn!(%error, "a connection could not be taken in");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    ending.send_replace(true);
    let all = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(ENDING, all).await.is_err() {
        tracing::info!("requests that went on were broken off");
    }
}

/// In a request: the place of its connection, for what goes on when the connection does not belong to it any more.
#[derive(Clone)]
pub(crate) struct Held {
    _place: Arc<Place>,
}

/// A place among the connections; given back when dropped.
struct Place {
    shared: Arc<Shared>,
    address: String,
}

impl Place {
    fn take(shared: &Arc<Shared>, peer: SocketAddr) -> Option<Place> {
        let address = address_key(peer.ip());
        let mut connected = shared.connected.lock().unwrap_or_else(PoisonError::into_inner);
        let of_one = connected.by_address.get(&address).copied().unwrap_or(0);
        // A proxy's connections are those of many.
        let too_many = of_one >= CONNECTIONS_OF_ONE_MAX && !client::is_proxy(peer, &shared.proxies);
        if connected.all >= CONNECTIONS_MAX || too_many {
            tracing::debug!(%peer, "turned away: too many connections");
            return None;
        }
        connected.all += 1;
        connected.by_address.insert(address.clone(), of_one + 1);
        drop(connected);
        Some(Place { shared: Arc::clone(shared), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut connected = self.shared.connected.lock().unwrap_or_else(PoisonError::into_inner);
        connected.all = connected.all.saturating_sub(1);
        let left = connected.by_address.get(&self.address).map_or(0, |count| count.saturating_sub(1));
        if left == 0 {
            connected.by_address.remove(&self.address);
        } else {
            connected.by_address.insert(self.address.clone(), left);
        }
    }
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    shared: &Arc<Shared>,
    tls: Option<TlsAcceptor>,
    place: Arc<Place>,
    ended: watch::Receiver<bool>,
) {
    // What is sent is small or comes in large pieces: there is nothing to gain by waiting.
    let _ = stream.set_nodelay(true);
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(UNREAD));
    let stream = Box::pin(stream);
    let held = |limits| Service::new(shared, peer, Some(&place), limits);
    let Some(tls) = tls else { return serve_http1(stream, held(HTTP1), ended).await };
    match tokio::time::timeout(HEAD, tls.accept(stream)).await {
        Ok(Ok(stream)) => match stream.get_ref().1.alpn_protocol() {
            Some(b"h2") => serve_http2(stream, held(HTTP2), ended).await,
            _ => serve_http1(stream, held(HTTP1), ended).await,
        },
        Ok(Err(error)) => tracing::debug!(%peer, %error, "no handshake"),
        Err(_) => tracing::debug!(%peer, "the handshake took too long"),
    }
}

/// What hyper itself sees to in HTTP/1.1 is not seen to twice.
const HTTP1: Limits = Limits { first: None, idle: None, untaken: LEFT };
const HTTP2: Limits = Limits { first: Some(HEAD), idle: Some(LEFT), untaken: LEFT };

async fn serve_http1<S>(stream: S, service: Service, ended: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(HEAD_BYTES_MAX);
    let connection = builder.serve_connection(TokioIo::new(stream), service.clone()).with_upgrades();
    answered(&service, connection, http1::UpgradeableConnection::graceful_shutdown, ended).await;
}

async fn serve_http2<S>(stream: S, service: Service, ended: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEAD_BYTES_MAX as u32)
        .keep_alive_interval(HEAD)
        .keep_alive_timeout(HEAD);
    let connection = builder.serve_connection(TokioIo::new(stream), service.clone());
    answered(&service, connection, http2::Connection::graceful_shutdown, ended).await;
}

/// Drives a connection to its end, which comes soon once the server ends, or the client left it.
async fn answered<C: Future<Output = Result<(), hyper::Error>>>(
    service: &Service,
    connection: C,
    end: fn(Pin<&mut C>),
    mut ended: watch::Receiver<bool>,
) {
    let peer = service.peer;
    let mut connection = std::pin::pin!(connection);
    let ending = async { drop(ended.wait_for(|ended| *ended).await) };
    let first = tokio::select! {
        result = connection.as_mut() => Some(result),
        () = ending => None,
        left = service.activity.left() => {
            tracing::debug!(%peer, ?left, "a connection was left lying");
            if left == Left::Untaken {
                return;
            }
            None
        }
    };
    let result = match first {
        Some(result) => result,
        None => {
            end(connection.as_mut());
            // Whoever does not say farewell in a while is not waited for.
            let farewell = async {
                tokio::time::sleep(LEFT).await;
                service.activity.left().await
            };
            tokio::select! {
                result = connection.as_mut() => result,
                _ = farewell => return,
            }
        }
    };
    if let Err(error) = result {
        tracing::debug!(%peer, %error, "a connection ended");
    }
}

/// The router for one connection: each request carries from where it comes, and is counted.
#[derive(Clone)]
struct Service {
    shared: Arc<Shared>,
    peer: SocketAddr,
    held: Option<Held>,
    activity: Arc<Activity>,
    inner: TowerToHyperService<Router>,
}

impl Service {
    fn new(shared: &Arc<Shared>, peer: SocketAddr, place: Option<&Arc<Place>>, limits: Limits) -> Service {
        Service {
            shared: Arc::clone(shared),
            peer,
            held: place.map(|place| Held { _place: Arc::clone(place) }),
            activity: Activity::new(limits),
            inner: TowerToHyperService::new(shared.router.clone()),
        }
    }

    /// How long this address has to wait, if it asks too much.
    fn must_wait(&self, client: SocketAddr) -> Option<Duration> {
        let (address, now) = (address_key(client.ip()), self.shared.started.elapsed());
        let mut requests = self.shared.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let asked = requests.ask(&address, now);
        if asked.is_ok() {
            requests.fill(&address, now);
        }
        asked.err().map(|wait| wait.0)
    }
}

impl Shared {
    fn new(router: Router, proxies: Vec<IpAddr>) -> Arc<Shared> {
        let (burst, leak) = REQUESTS;
        Arc::new(Shared {
            router,
            proxies: proxies.iter().map(IpAddr::to_canonical).collect(),
            connected: Mutex::default(),
            requests: Mutex::new(Buckets::new(burst, leak, COUNTED_MAX)),
            started: Instant::now(),
        })
    }

    /// Nobody knew who asked from there.
    fn was_unknown(&self, client: SocketAddr) {
        let (address, now) = (address_key(client.ip()), self.started.elapsed());
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        (1..UNKNOWN_COUNTS).for_each(|_| requests.fill(&address, now));
    }
}

impl hyper::service::Service<Request<Incoming>> for Service {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let client = client::client(self.peer, request.headers(), &self.shared.proxies);
        if let Some(wait) = self.must_wait(client) {
            let problem = Problem::wait(StatusCode::TOO_MANY_REQUESTS, "too many requests", wait);
            return Box::pin(async { Ok(problem.into_response()) });
        }
        request.extensions_mut().insert(ConnectInfo(client));
        if let Some(by_https) = client::by_https(self.peer, request.headers(), &self.shared.proxies) {
            request.extensions_mut().insert(by_https);
        }
        let mut request = request.map(|body| Body::new(TimedBody::new(body, HEAD)));
        if let Some(held) = &self.held {
            request.extensions_mut().insert(held.clone());
        }
        let (under_way, shared) = (self.activity.begin(), Arc::clone(&self.shared));
        let answer = self.inner.call(request);
        Box::pin(async move {
            let response = answer.await?;
            if response.status() == StatusCode::UNAUTHORIZED {
                shared.was_unknown(client);
            }
            Ok(under_way.answered(response))
        })
    }
}
