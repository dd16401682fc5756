//! The recorder's side of the control socket.
//!
//! Only whoever holds the volume's lock may start a server for it: that is what makes it right to remove a socket found in
//! its place.

use super::{LineReader, PATIENCE, REQUEST_BYTES_MAX, Request};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Instant;

/// How many clients are served at a time; one more is turned away.
pub(super) const CLIENTS_MAX: usize = 8;

/// Answers a request with a JSON document of one line.
pub(crate) type Answer = Box<dyn Fn(Request) -> String + Send + Sync>;

/// A control socket that is being served until this is dropped.
pub(crate) struct Server {
    path: PathBuf,
    inode: u64,
    stop: Arc<AtomicBool>,
    listening: Option<JoinHandle<()>>,
}

impl Server {
    /// Binds the socket at `path`, in the place of whatever is there, and answers from a thread of its own.
    ///
    /// # Errors
    /// Those of binding.
    pub(crate) fn start(path: &Path, answer: Answer) -> io::Result<Server> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        let inode = std::fs::symlink_metadata(path)?.ino();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let listening = thread::Builder::new()
            .name("control".into())
            .spawn(move || listen(&listener, &stopped, answer.into()))?;
        Ok(Server { path: path.to_owned(), inode, stop, listening: Some(listening) })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let ours = std::fs::symlink_metadata(&self.path).is_ok_and(|metadata| metadata.ino() == self.inode);
        // Accepting is what the thread waits in: a connection wakes it. If a successor has the place already, the thread is
        // left to the end of the process.
        let woken = ours && UnixStream::connect(&self.path).is_ok();
        if ours {
            let _ = std::fs::remove_file(&self.path);
        }
        if let Some(listening) = self.listening.take().filter(|_| woken) {
            let _ = listening.join();
        }
    }
}

fn listen(listener: &UnixListener, stop: &AtomicBool, answer: Arc<dyn Fn(Request) -> String + Send + Sync>) {
    let serving = Arc::new(AtomicUsize::new(0));
    for stream in listener.incoming() {
        if stop.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else {
            // Out of descriptors, most likely: others may need a moment to give some back.
            thread::sleep(PATIENCE / 10);
            continue;
        };
        if serving.fetch_add(1, Ordering::SeqCst) >= CLIENTS_MAX {
            serving.fetch_sub(1, Ordering::SeqCst);
            continue;
        }
        let (serving_one, answer) = (Arc::clone(&serving), Arc::clone(&answer));
        let spawned = thread::Builder::new().name("control client".into()).spawn(move || {
            if let Err(error) = serve(&stream, &*answer) {
                tracing::debug!(%error, "a client of the control socket went away");
            }
            serving_one.fetch_sub(1, Ordering::SeqCst);
        });
        if spawned.is_err() {
            serving.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

fn serve(mut stream: &UnixStream, answer: &dyn Fn(Request) -> String) -> io::Result<()> {
    let begin = Instant::now();
    let mut lines = LineReader::new(stream);
    stream.set_write_timeout(Some(PATIENCE))?;
    while let Some(left) = PATIENCE.checked_sub(begin.elapsed()).filter(|left| !left.is_zero()) {
        let line = lines.line(REQUEST_BYTES_MAX, left)?;
        if line.is_empty() {
            break;
        }
        let mut reply = match serde_json::from_str(&line) {
            Ok(request) => answer(request),
            Err(_) => serde_json::json!({ "schema": "keha.error/1", "error": "unknown request" }).to_string(),
        };
        reply.push('\n');
        stream.write_all(reply.as_bytes())?;
    }
    Ok(())
}
