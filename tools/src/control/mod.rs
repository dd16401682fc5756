//! The control socket: how a running recorder answers other `keha` commands.
//!
//! The process that writes a volume owns a Unix socket named after the volume's identity. A client sends one JSON document a
//! line and gets one back. Both sides bound sizes and time: a silent or babbling peer costs a thread for two seconds.
//! Nothing here records or knows a camera.

pub(crate) mod client;
pub(crate) mod path;
pub(crate) mod server;

use serde::{Deserialize, Serialize};
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// The most bytes of a request, its newline included.
const REQUEST_BYTES_MAX: u64 = 4 << 10;
/// The most bytes of an answer: a thousand cameras fit in easily.
const ANSWER_BYTES_MAX: u64 = 16 << 20;
/// How long either side waits for the other.
const PATIENCE: Duration = Duration::from_secs(2);

/// What can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case")]
pub(crate) enum Request {
    /// What the recorder is doing.
    Status,
}

/// Reads one line of at most `bytes_max` bytes; empty at the end of the stream.
fn read_line(stream: &UnixStream, bytes_max: u64) -> io::Result<String> {
    let mut line = String::new();
    BufReader::new(stream.take(bytes_max)).read_line(&mut line)?;
    if line.len() as u64 >= bytes_max && !line.ends_with('\n') {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the line is too long"));
    }
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::net::UnixListener;

    fn serve() -> (tempfile::TempDir, std::path::PathBuf, server::Server) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("a.sock");
        let answer = Box::new(|request: Request| match request {
            Request::Status => "{\"schema\":\"x\"}".to_owned(),
        });
        let server = server::Server::start(&path, answer).expect("a server");
        (dir, path, server)
    }

    #[test]
    fn a_request_is_answered_and_the_socket_goes_with_its_owner() {
        let (_dir, path, server) = serve();
        assert_eq!(client::ask(&path, Request::Status).expect("an answer"), "{\"schema\":\"x\"}");
        drop(server);
        assert!(!path.exists());
    }

    #[test]
    fn a_stale_socket_is_replaced() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("a.sock");
        drop(UnixListener::bind(&path).expect("a socket that is left behind"));
        assert!(client::ask(&path, Request::Status).is_err());
        let server = server::Server::start(&path, Box::new(|_| "{}".into())).expect("a server");
        assert_eq!(client::ask(&path, Request::Status).expect("an answer"), "{}");
        drop(server);
    }

    #[test]
    fn the_socket_of_a_successor_is_left_alone() {
        let (_dir, path, first) = serve();
        let second = server::Server::start(&path, Box::new(|_| "{}".into())).expect("a server");
        drop(first);
        assert_eq!(client::ask(&path, Request::Status).expect("an answer"), "{}");
        drop(second);
    }

    #[test]
    fn nonsense_gets_an_error_and_harms_nobody() {
        let (_dir, path, _server) = serve();
        let long = vec![b'x'; 2 * REQUEST_BYTES_MAX as usize];
        for nonsense in [&b"{}\n"[..], b"\xff\xfe\n", b"{\"request\":\"self_destruct\"}\n", b"\n", &long] {
            let mut stream = UnixStream::connect(&path).expect("a connection");
            // The server may hang up before all of it is sent.
            let _ = stream.write_all(nonsense);
            let mut answer = String::new();
            if stream.read_to_string(&mut answer).is_ok() {
                assert!(answer.is_empty() || answer.contains("error"), "{answer}");
            }
        }
        assert!(client::ask(&path, Request::Status).is_ok());
    }

    #[test]
    fn more_clients_than_places_are_turned_away_and_silence_takes_no_place_for_ever() {
        let (_dir, path, _server) = serve();
        let silent: Vec<UnixStream> =
            (0..2 * server::CLIENTS_MAX).map(|_| UnixStream::connect(&path).expect("a connection")).collect();
        let answered = (0..100).any(|_| {
            std::thread::sleep(Duration::from_millis(100));
            client::ask(&path, Request::Status).is_ok()
        });
        assert!(answered);
        drop(silent);
    }
}
