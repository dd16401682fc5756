//! Looks whether a camera is back without troubling it with a whole session. See [`crate::reconnect`] for which probe when.

use super::open::describe;
use crate::camera::Credentials;
use crate::reconnect::Probe;
use retina::client::SessionGroup;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::time::timeout;
use url::Url;

const CONNECT: Duration = Duration::from_millis(1_500);

/// One connection, one OPTIONS request (RFC 2326, section 10.1), any answer will do. Waits for an answer without end: the
/// caller sets the bound.
pub(crate) async fn options(url: &Url) -> Probe {
    let Some(host) = url.host_str() else { return Probe::Failed };
    let address =
        (host.trim_start_matches('[').trim_end_matches(']'), url.port().unwrap_or(super::RTSP_PORT));
    let Ok(Ok(stream)) = timeout(CONNECT, TcpStream::connect(address)).await else { return Probe::Failed };
    let connected = Instant::now();
    match ask(&stream, url).await {
        Ok(()) => Probe::Succeeded(connected.elapsed()),
        Err(_) => Probe::Failed,
    }
}

/// Asks for the description, which a camera that does not serve yet refuses.
pub(crate) async fn description(
    url: &Url,
    credentials: Option<&Credentials>,
    group: &Arc<SessionGroup>,
    turn: impl Future<Output = ()>,
) -> Probe {
    let asked = Instant::now();
    match describe(url, credentials, group, turn).await {
        Ok(_) => Probe::Succeeded(asked.elapsed()),
        Err(_) => Probe::Failed,
    }
}

async fn ask(stream: &TcpStream, url: &Url) -> std::io::Result<()> {
    let request = format!("OPTIONS {url} RTSP/1.0\r\nCSeq: 1\r\nUser-Agent: Keha\r\n\r\n");
    let mut rest = request.as_bytes();
    while !rest.is_empty() {
        stream.writable().await?;
        match stream.try_write(rest) {
            Ok(written) => rest = rest.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    let mut answer = [0; 64];
    loop {
        stream.readable().await?;
        match stream.try_read(&mut answer) {
            Ok(0) => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}
