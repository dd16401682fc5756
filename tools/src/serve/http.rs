//! The HTTP server on threads of its own: what is asked never takes a thread from recording, and ends in bounded time.
//!
//! Where there is not processor time enough for both, recording comes first: these threads are [`NICER`], and so is whatever they
//! start (nice(2): what a thread starts inherits it). So nothing that records may be started here: a niceness cannot be taken back by who
//! has no right to. Volumes are opened by threads of the server's loop.

use anyhow::Context;
use keha_api::{Certificate, Error, Server, Services, Settings};
use rustix::process::{getpriority_process, setpriority_process};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Once;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

/// Threads that answer; reading from disks has others.
const THREADS: usize = 2;
/// Threads that may wait, at most: downloads (64), reading (32), exports being measured, passwords, and what changes something. All that
/// could come in any number has a bound that is far below this, so that a login always finds one. They are started as they are needed.
const WAITING_THREADS: usize = 512;
/// Beside a thread that records, one that answers has about a tenth of the time (sched(7): the weight of this niceness is 110 of 1024).
const NICER: i32 = 10;
/// Who is being answered when the server ends has this time: streams without an end are cut off.
const FAREWELL: Duration = Duration::from_secs(2);

/// A server that answers until this is stopped.
pub(super) struct Http {
    runtime: Runtime,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
    address: SocketAddr,
    certificate: Option<Certificate>,
}

impl Http {
    /// Listens, and answers from here on. Where the port is taken, one of the `others` that follow it is.
    ///
    /// # Errors
    /// Those of listening.
    pub(super) fn start(settings: &Settings, services: &Services, others: u16) -> anyhow::Result<Http> {
        // Where it is not told, it is that of most programs: 0.
        let niceness = getpriority_process(None).unwrap_or(0) + NICER;
        let runtime = Builder::new_multi_thread()
            .worker_threads(THREADS)
            .max_blocking_threads(WAITING_THREADS)
            .thread_name("keha-http")
            .on_thread_start(move || come_second(niceness))
            .enable_all()
            .build()
            .context("cannot start the threads of the HTTP server")?;
        let server = runtime.block_on(listen(settings, services, others))?;
        let address = server.address().context("cannot ask where the HTTP server listens")?;
        let certificate = server.certificate();
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = runtime.spawn(async move {
            let stopped = async {
                // Whoever would say so is gone: that is a stop too.
                let _ = stopped.await;
            };
            server.serve(stopped).await;
        });
        Ok(Http { runtime, stop, serving, address, certificate })
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it encrypts with.
    pub(super) fn certificate(&self) -> Option<Certificate> {
        self.certificate.clone()
    }

    /// Begins to end it: nobody new is answered. Waits for nobody.
    pub(super) fn leave(self) -> Leaving {
        let Http { runtime, stop, serving, .. } = self;
        let _ = stop.send(());
        Leaving { runtime, serving, end: Instant::now() + FAREWELL }
    }
}

/// A server that ends.
pub(super) struct Leaving {
    runtime: Runtime,
    serving: JoinHandle<()>,
    end: Instant,
}

impl Leaving {
    /// Waits for those who are still being answered, as long as they have time.
    pub(super) fn end(self) {
        let Leaving { runtime, serving, end } = self;
        let _ = runtime.block_on(async { timeout_at(end, serving).await });
        runtime.shutdown_background();
    }
}

/// A thread that answers lets those that record go first. Where the system forbids that, it is said once, not for each thread.
fn come_second(niceness: i32) {
    static SAID: Once = Once::new();
    // Of no process that is named: of this thread alone (setpriority(2)).
    if let Err(error) = setpriority_process(None, niceness) {
        SAID.call_once(|| {
            tracing::warn!(%error, "threads that answer cannot be made nicer than those that record");
        });
    }
}

async fn listen(settings: &Settings, services: &Services, others: u16) -> keha_api::Result<Server> {
    let mut settings = settings.clone();
    let first = settings.address.port();
    loop {
        match Server::listen(settings.clone(), services.clone()).await {
            Err(Error::Listen { source, .. })
                if source.kind() == ErrorKind::AddrInUse && settings.address.port() - first < others =>
            {
                settings.address.set_port(settings.address.port() + 1);
            }
            listening => return listening,
        }
    }
}
