//! A network that misbehaves: a TCP proxy in front of a camera which passes, cuts, refuses, freezes or corrupts on
//! command, or answers by itself as a broken camera would.
//!
//! Modes take effect at once on open connections. Must not live here: anything that understands media.

use anyhow::Result;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

const TICK: Duration = Duration::from_millis(10);

/// What the proxy does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Mode {
    /// Passes everything both ways.
    Pass,
    /// Closes open connections and every new one as soon as it is accepted.
    Cut,
    /// Closes open connections; new ones are refused by the kernel.
    Refuse,
    /// Accepts, and moves no byte either way.
    Freeze,
    /// Passes, but changes every 997th byte that the camera sends.
    Corrupt,
    /// Accepts and sends random bytes for ever.
    Garbage,
    /// Answers every request `401 Unauthorized`.
    Unauthorized,
    /// Answers every request `404 Not Found`.
    NotFound,
}

const MODES: [Mode; 8] = [
    Mode::Pass,
    Mode::Cut,
    Mode::Refuse,
    Mode::Freeze,
    Mode::Corrupt,
    Mode::Garbage,
    Mode::Unauthorized,
    Mode::NotFound,
];

#[derive(Debug)]
struct Shared {
    mode: AtomicU8,
    end: AtomicBool,
    accepted: AtomicU64,
    upstream: Option<SocketAddr>,
    connections: Mutex<Vec<JoinHandle<()>>>,
}

impl Shared {
    fn mode(&self) -> Mode {
        MODES[usize::from(self.mode.load(Ordering::SeqCst)) % MODES.len()]
    }

    fn ended(&self) -> bool {
        self.end.load(Ordering::SeqCst)
    }
}

/// The proxy; ends when dropped.
#[derive(Debug)]
pub struct Flaky {
    addr: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

impl Flaky {
    /// Listens on an ephemeral loopback port, in front of a camera server on this loopback port if there is one.
    pub fn start(mode: Mode, upstream_port: Option<u16>) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let addr = listener.local_addr()?;
        let shared = Arc::new(Shared {
            mode: AtomicU8::new(mode as u8),
            end: AtomicBool::new(false),
            accepted: AtomicU64::new(0),
            upstream: upstream_port.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
            connections: Mutex::default(),
        });
        let theirs = shared.clone();
        let acceptor = std::thread::spawn(move || accept(listener, addr, &theirs));
        Ok(Self { addr, shared, acceptor: Some(acceptor) })
    }

    /// The RTSP URL of a path behind this proxy.
    pub fn url(&self, path: &str) -> String {
        format!("rtsp://{}/{path}", self.addr)
    }

    /// Changes what it does, at once.
    pub fn set(&self, mode: Mode) {
        self.shared.mode.store(mode as u8, Ordering::SeqCst);
    }

    /// Connections accepted so far.
    pub fn accepted(&self) -> u64 {
        self.shared.accepted.load(Ordering::SeqCst)
    }
}

impl Drop for Flaky {
    fn drop(&mut self) {
        self.shared.end.store(true, Ordering::SeqCst);
        if let Some(acceptor) = self.acceptor.take() {
            acceptor.join().ok();
        }
        let mut connections = self.shared.connections.lock().unwrap_or_else(PoisonError::into_inner);
        for connection in connections.drain(..) {
            connection.join().ok();
        }
    }
}

fn accept(listener: TcpListener, addr: SocketAddr, shared: &Arc<Shared>) {
    let mut listener = Some(listener);
    while !shared.ended() {
        if shared.mode() == Mode::Refuse {
            listener = None;
            std::thread::sleep(TICK);
            continue;
        }
        if listener.is_none() {
            listener = TcpListener::bind(addr).ok();
        }
        let Some(open) = &listener else {
            std::thread::sleep(TICK);
            continue;
        };
        // Not blocking, so that a change of mode is seen while nobody connects.
        if open.set_nonblocking(true).is_err() {
            return;
        }
        match open.accept() {
            Ok((client, _)) => {
                shared.accepted.fetch_add(1, Ordering::SeqCst);
                let theirs = shared.clone();
                let serving = std::thread::spawn(move || {
                    // A connection that ends in an error is what this module is for.
                    serve(&client, &theirs).ok();
                });
                shared.connections.lock().unwrap_or_else(PoisonError::into_inner).push(serving);
            }
            Err(_) => std::thread::sleep(TICK),
        }
    }
}

fn serve(client: &TcpStream, shared: &Arc<Shared>) -> std::io::Result<()> {
    client.set_nonblocking(false)?;
    client.set_read_timeout(Some(TICK))?;
    client.set_write_timeout(Some(Duration::from_secs(1)))?;
    match shared.mode() {
        Mode::Pass | Mode::Corrupt | Mode::Freeze if shared.upstream.is_some() => proxy(client, shared),
        Mode::Garbage => garbage(client, shared),
        Mode::Unauthorized => {
            answer(client, shared, "401 Unauthorized\r\nWWW-Authenticate: Digest realm=\"x\", nonce=\"00\"")
        }
        Mode::NotFound => answer(client, shared, "404 Not Found"),
        Mode::Freeze => {
            while !shared.ended() && shared.mode() == Mode::Freeze {
                std::thread::sleep(TICK);
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

fn proxy(client: &TcpStream, shared: &Arc<Shared>) -> std::io::Result<()> {
    let Some(upstream) = shared.upstream else { return Ok(()) };
    let camera = TcpStream::connect(upstream)?;
    camera.set_read_timeout(Some(TICK))?;
    std::thread::scope(|scope| {
        let up = scope.spawn(|| pump(client, &camera, shared, false));
        let down = pump(&camera, client, shared, true);
        client.shutdown(std::net::Shutdown::Both).ok();
        camera.shutdown(std::net::Shutdown::Both).ok();
        up.join().ok();
        down
    })
}

fn pump(mut from: &TcpStream, mut to: &TcpStream, shared: &Shared, downwards: bool) -> std::io::Result<()> {
    let mut buffer = [0; 16384];
    let mut passed = 0_u64;
    loop {
        let mode = shared.mode();
        if shared.ended() || !matches!(mode, Mode::Pass | Mode::Corrupt | Mode::Freeze) {
            from.shutdown(std::net::Shutdown::Both)?;
            return Ok(());
        }
        if mode == Mode::Freeze {
            std::thread::sleep(TICK);
            continue;
        }
        let count = match from.read(&mut buffer) {
            Ok(0) => {
                to.shutdown(std::net::Shutdown::Both)?;
                return Ok(());
            }
            Ok(count) => count,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => continue,
            Err(error) => return Err(error),
        };
        for byte in &mut buffer[..count] {
            passed += 1;
            if downwards && mode == Mode::Corrupt && passed.is_multiple_of(997) {
                *byte ^= 0x55;
            }
        }
        to.write_all(&buffer[..count])?;
    }
}

fn garbage(mut client: &TcpStream, shared: &Shared) -> std::io::Result<()> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    while !shared.ended() && shared.mode() == Mode::Garbage {
        let mut chunk = [0; 1024];
        for byte in &mut chunk {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            *byte = state as u8;
        }
        client.write_all(&chunk)?;
        std::thread::sleep(TICK);
    }
    Ok(())
}

fn answer(mut client: &TcpStream, shared: &Shared, status: &str) -> std::io::Result<()> {
    let mode = shared.mode();
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    while !shared.ended() && shared.mode() == mode {
        match client.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => request.extend_from_slice(&buffer[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => continue,
            Err(error) => return Err(error),
        }
        while let Some(end) = request.windows(4).position(|w| w == b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&request[..end]).into_owned();
            request.drain(..end + 4);
            let cseq = text
                .lines()
                .find_map(|line| line.to_ascii_lowercase().strip_prefix("cseq:").map(|n| n.trim().to_owned()))
                .unwrap_or_default();
            write!(client, "RTSP/1.0 {status}\r\nCSeq: {cseq}\r\nContent-Length: 0\r\n\r\n")?;
        }
    }
    Ok(())
}
