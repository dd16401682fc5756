//! The asking side of the control socket.

use super::{ANSWER_BYTES_MAX, PATIENCE, Request, read_line};
use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

/// Asks the recorder behind the socket at `path`; its answer is one JSON document.
///
/// # Errors
/// Of kind `NotFound` or `ConnectionRefused` if nobody is there; others if whoever is there does not answer.
pub(crate) fn ask(path: &Path, request: &Request) -> io::Result<String> {
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(request.patience()))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_string(request)?;
    line.push('\n');
    stream.write_all(line.as_bytes())?;
    let answer = read_line(&stream, ANSWER_BYTES_MAX)?;
    if answer.is_empty() {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it hung up without an answer"));
    }
    Ok(answer.trim_end().to_owned())
}
