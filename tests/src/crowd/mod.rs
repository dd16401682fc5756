//! Hundreds of cameras from one thread: what a load of cameras costs the recorder, and not the machine.
//!
//! GStreamer's server ([`crate::server`]) makes its packets anew for every client, which for two hundred cameras is more than two
//! cores' work. Here a clip's packets are made once (`tape.rs`) and played to every session over interleaved TCP, each packet in a
//! write of its own, as cameras send them: numbers, times and source are the session's own, each begins at another GOP and at
//! another moment of the second, and goes on lap after lap. A receiver that does not keep up makes its camera late, never lossy,
//! and how late is told.
//!
//! | module | what |
//! |---|---|
//! | `tape.rs` | a clip as RTP packets |
//! | `handshake.rs` | RTSP up to PLAY, on both sides |
//! | `session.rs` | one camera's packets on their way |
//! | [`drain`] | who reads the sockets and throws away |
//!
//! Must not live here: judging what was recorded ([`crate::footage`]); this server keeps no log of what it sent.

pub mod drain;
mod handshake;
mod session;
mod tape;

use crate::media::Clip;
use anyhow::{Context, Result};
use nix::sys::socket::{setsockopt, sockopt};
use session::{Session, Turn};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tape::Tape;

/// How long the thread that sends sleeps while there is no session.
const IDLE: Duration = Duration::from_millis(10);
/// The most payload of a TCP segment on an Ethernet, bytes.
const ETHERNET_SEGMENT: u32 = 1448;

/// What all sessions have done so far.
#[derive(Debug, Default)]
pub struct Sent {
    sessions: AtomicU64,
    pictures: AtomicU64,
    payload_bytes: AtomicU64,
    late_max_ns: AtomicU64,
}

impl Sent {
    /// Sessions that play now.
    pub fn sessions(&self) -> u64 {
        self.sessions.load(Ordering::Relaxed)
    }

    /// Pictures sent whole.
    pub fn pictures(&self) -> u64 {
        self.pictures.load(Ordering::Relaxed)
    }

    /// Their bytes, as a recorder stores them: NAL units, each behind a length of four bytes.
    pub fn payload_bytes(&self) -> u64 {
        self.payload_bytes.load(Ordering::Relaxed)
    }

    /// How much later than due a picture was sent at most since this was asked last: what receivers, or this server, did not keep up
    /// with.
    pub fn take_late_max(&self) -> Duration {
        Duration::from_nanos(self.late_max_ns.swap(0, Ordering::Relaxed))
    }
}

/// The server. Any path is a camera. Ends when it is dropped.
pub struct Crowd {
    port: u16,
    sent: Arc<Sent>,
    stop: Arc<AtomicBool>,
    sender: Option<JoinHandle<()>>,
}

impl Crowd {
    /// Starts cameras that all play this clip, which must be H.264.
    pub fn start(clip: &Clip) -> Result<Self> {
        Self::behind(TcpListener::bind("127.0.0.1:0")?, clip)
    }

    /// The same as on an Ethernet, of cameras that hold so many bytes themselves, and send no more until the receiver lets them.
    pub fn start_holding(bytes: usize, clip: &Clip) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        setsockopt(&listener, sockopt::TcpMaxSeg, &ETHERNET_SEGMENT)?;
        // The system takes twice of what it is given, and counts what a packet costs.
        setsockopt(&listener, sockopt::SndBuf, &(bytes / 2))?;
        Self::behind(listener, clip)
    }

    fn behind(listener: TcpListener, clip: &Clip) -> Result<Self> {
        let tape = Arc::new(Tape::of(clip)?);
        let port = listener.local_addr()?.port();
        let (sent, stop) = (Arc::new(Sent::default()), Arc::new(AtomicBool::new(false)));
        let (arrived, arrivals) = channel();
        let described = tape.description().to_owned();
        std::thread::Builder::new()
            .name("crowd-accept".to_owned())
            .spawn(move || accept(&listener, &described, &arrived))?;
        let thread = std::thread::Builder::new().name("crowd-send".to_owned());
        let sender = thread.spawn({
            let (sent, stop) = (Arc::clone(&sent), Arc::clone(&stop));
            move || send(&tape, &arrivals, &sent, &stop)
        })?;
        Ok(Self { port, sent, stop, sender: Some(sender) })
    }

    /// The URL of a camera.
    pub fn url(&self, name: &str) -> String {
        format!("rtsp://127.0.0.1:{}/{name}", self.port)
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What was sent so far.
    pub fn sent(&self) -> &Sent {
        &self.sent
    }

    /// Waits until so many sessions play.
    pub fn await_sessions(&self, count: usize, limit: Duration) -> Result<()> {
        crate::wait::until(&format!("{count} sessions"), limit, || {
            Ok((self.sent.sessions() == count as u64).then_some(()))
        })
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // The other thread waits for a client that never comes, and ends with the process.
        TcpStream::connect(("127.0.0.1", self.port)).ok();
        if let Some(sender) = self.sender.take() {
            sender.join().ok();
        }
    }
}

/// Lets clients in, each on a thread of its own until it plays.
fn accept(listener: &TcpListener, description: &str, arrived: &Sender<TcpStream>) {
    for client in listener.incoming().map_while(Result::ok) {
        let (description, arrived) = (description.to_owned(), arrived.clone());
        std::thread::spawn(move || {
            // Who goes before it plays was only looking.
            if let Ok(playing) = handshake::serve(client, &description) {
                arrived.send(playing).ok();
            }
        });
    }
}

/// Sends to all sessions what is due, until told to stop.
fn send(tape: &Tape, arrivals: &Receiver<TcpStream>, sent: &Sent, stop: &AtomicBool) {
    let mut sessions: Vec<Option<Session>> = Vec::new();
    let mut due: BinaryHeap<Reverse<(Instant, usize)>> = BinaryHeap::new();
    while !stop.load(Ordering::Relaxed) {
        while let Ok(client) = arrivals.try_recv() {
            let index = sessions.len();
            let begun = Session::new(client, tape, index, Instant::now()).context("a session");
            if let Ok(session) = begun {
                due.push(Reverse((session.due(tape), index)));
                sessions.push(Some(session));
                sent.sessions.fetch_add(1, Ordering::Relaxed);
            }
        }
        let Some(&Reverse((at, index))) = due.peek() else {
            std::thread::sleep(IDLE);
            continue;
        };
        let now = Instant::now();
        if at > now {
            std::thread::sleep((at - now).min(IDLE));
            continue;
        }
        due.pop();
        let Some(session) = sessions[index].as_mut() else { continue };
        match session.turn(tape, now) {
            Ok(turn) => {
                if let Turn::Picture { payload_bytes, late } = turn {
                    sent.pictures.fetch_add(1, Ordering::Relaxed);
                    sent.payload_bytes.fetch_add(payload_bytes, Ordering::Relaxed);
                    let late_ns = u64::try_from(late.as_nanos()).unwrap_or(u64::MAX);
                    sent.late_max_ns.fetch_max(late_ns, Ordering::Relaxed);
                }
                let next = if turn == Turn::Blocked { now + session::RETRY } else { session.due(tape) };
                due.push(Reverse((next, index)));
            }
            Err(_) => {
                // The client is gone.
                sessions[index] = None;
                sent.sessions.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }
}
