//! The asking side of the control socket.

use super::path::{Environment, candidates};
use super::{ANSWER_BYTES_MAX, LineReader, PATIENCE, Request};
use keha_fs::VolumeId;
use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// Who records into a volume, as far as can be told from its control sockets.
#[derive(Debug)]
pub(crate) enum Found {
    /// A recorder answers, with its status.
    Recorder {
        /// Its socket.
        socket: PathBuf,
        /// Its status document.
        status: String,
    },
    /// Somebody may be there, but does not answer: why.
    Silent(String),
    /// Nobody.
    Nobody,
}

/// Looks for the recorder of a volume in every place where its socket may be.
pub(crate) fn find(volume: VolumeId) -> Found {
    let mut found = Found::Nobody;
    for socket in candidates(&Environment::of_process(), volume) {
        match ask(&socket, &Request::Status) {
            Ok(status) => return Found::Recorder { socket, status },
            Err(error) if is_nobody(&error) => {}
            Err(error) => found = Found::Silent(format!("{}: {error}", socket.display())),
        }
    }
    found
}

fn is_nobody(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

/// Asks the recorder behind the socket at `path`; its answer is one JSON document.
///
/// # Errors
/// Of kind `NotFound` or `ConnectionRefused` if nobody is there; others if whoever is there does not answer.
pub(crate) fn ask(path: &Path, request: &Request) -> io::Result<String> {
    let stream = UnixStream::connect(path)?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_string(request)?;
    line.push('\n');
    (&stream).write_all(line.as_bytes())?;
    let answer = LineReader::new(&stream).line(ANSWER_BYTES_MAX, request.patience())?;
    if answer.is_empty() {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it hung up without an answer"));
    }
    Ok(answer.trim_end().to_owned())
}
