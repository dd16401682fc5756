//! HTTP/2 (RFC 9113) as somebody speaks it who means no good, over a pipe, with a clock that jumps.

use super::tests::routes;
use super::{HTTP2, LEFT, Service, Shared, serve_http2};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, duplex, split};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// SETTINGS: nothing said; a window of 0 for each stream.
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
const NO_WINDOW: &[u8] = &[0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0];
/// HEADERS of stream 1: `GET /` of `x` by https (RFC 7541, appendix A).
const GET: &[u8] = &[0, 0, 6, 1, 5, 0, 0, 0, 1, 0x82, 0x87, 0x84, 0x41, 1, b'x'];
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const ACK: u8 = 1;

/// A connection that is served, and a client that says this.
fn connected(said: Vec<u8>) -> (JoinHandle<()>, JoinHandle<Vec<u8>>, watch::Sender<bool>) {
    let (server, client) = duplex(1 << 20);
    let shared = Shared::new(routes(), Vec::new());
    let service = Service::new(&shared, SocketAddr::from(([192, 0, 2, 1], 5000)), None, HTTP2);
    let (ending, ended) = watch::channel(false);
    let served = tokio::spawn(serve_http2(server, service, ended));
    let (from, to) = split(client);
    (served, tokio::spawn(answers_pings(from, to, said)), ending)
}

/// Answers pings and does nothing else: the kinds of the frames that came.
async fn answers_pings(
    mut from: ReadHalf<DuplexStream>,
    mut to: WriteHalf<DuplexStream>,
    said: Vec<u8>,
) -> Vec<u8> {
    to.write_all(&said).await.expect("sent");
    let mut kinds = Vec::new();
    let mut head = [0; 9];
    while from.read_exact(&mut head).await.is_ok() {
        let mut rest = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        from.read_exact(&mut rest).await.expect("a frame");
        kinds.push(head[3]);
        if head[3] == PING && head[4] != ACK {
            head[4] = ACK;
            let pong = [&head[..], &rest[..]].concat();
            if to.write_all(&pong).await.is_err() {
                break;
            }
        }
    }
    kinds
}

#[tokio::test(start_paused = true)]
async fn who_answers_pings_and_asks_nothing_is_sent_away() {
    for (what, said) in [
        ("no preface", vec![]),
        ("no request", [PREFACE, SETTINGS].concat()),
        ("no second request", [PREFACE, SETTINGS, GET].concat()),
    ] {
        let began = Instant::now();
        let (served, heard, _ending) = connected(said);
        served.await.expect(what);
        assert!(began.elapsed() < 4 * LEFT, "{what}: {:?}", began.elapsed());
        let kinds = heard.await.expect(what);
        assert_eq!(kinds.contains(&GOAWAY), what != "no preface", "{what}: {kinds:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_takes_nothing_of_what_he_asked_for_is_cut_off() {
    let (served, heard, _ending) = connected([PREFACE, NO_WINDOW, GET].concat());
    let began = Instant::now();
    served.await.expect("it ends");
    assert!(began.elapsed() < 3 * LEFT, "{:?}", began.elapsed());
    let kinds = heard.await.expect("frames");
    assert!(!kinds.contains(&0), "no DATA fits into no window: {kinds:?}");
}
