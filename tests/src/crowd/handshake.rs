//! As much of RTSP (RFC 2326) as it takes to play one track over the connection itself, on both sides.

use anyhow::{Context, Result, bail, ensure};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// A client, or a camera, that says nothing for so long is given up.
const SILENCE: Duration = Duration::from_secs(30);
/// No message here is longer, bytes.
const MESSAGE_BYTES_MAX: usize = 64 << 10;

/// What comes over a connection.
#[derive(Debug)]
pub(super) enum Message {
    /// A request, or the answer to one.
    Request(Request),
    /// A packet of RTP or RTCP.
    Packet,
}

/// A request, or the answer to one.
#[derive(Debug, Default)]
pub(super) struct Request {
    /// What is asked for; in an answer `RTSP/1.0`.
    pub(super) method: String,
    url: String,
    sequence: String,
    transport: String,
}

/// Takes the next whole message out of what was heard.
pub(super) fn take(heard: &mut Vec<u8>) -> Result<Option<Message>> {
    if let [b'$', _, high, low, ..] = heard.as_slice() {
        let length = 4 + usize::from(u16::from_be_bytes([*high, *low]));
        if heard.len() < length {
            return Ok(None);
        }
        heard.drain(..length);
        return Ok(Some(Message::Packet));
    }
    let Some(end) = heard.windows(4).position(|four| four == b"\r\n\r\n") else {
        ensure!(heard.len() <= MESSAGE_BYTES_MAX, "a message without an end");
        return Ok(None);
    };
    let head = String::from_utf8_lossy(&heard[..end]).into_owned();
    let mut lines = head.lines();
    let mut first = lines.next().context("no request")?.split_whitespace().map(str::to_owned);
    let (method, url) = (first.next().unwrap_or_default(), first.next().unwrap_or_default());
    let mut request = Request { method, url, ..Request::default() };
    let mut body = 0;
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "cseq" => value.clone_into(&mut request.sequence),
            "transport" => value.clone_into(&mut request.transport),
            "content-length" => body = value.parse()?,
            _ => {}
        }
    }
    let all = end + 4 + body;
    if heard.len() < all {
        return Ok(None);
    }
    heard.drain(..all);
    Ok(Some(Message::Request(request)))
}

/// The answer to a request.
pub(super) fn answer(request: &Request, description: &str) -> String {
    let mut answer = format!("RTSP/1.0 200 OK\r\nCSeq: {}\r\n", request.sequence);
    match request.method.as_str() {
        "OPTIONS" => {
            answer += "Public: OPTIONS, DESCRIBE, SETUP, PLAY, GET_PARAMETER, TEARDOWN\r\n\r\n";
        }
        "DESCRIBE" => {
            answer += &format!(
                "Content-Base: {}/\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{description}",
                request.url,
                description.len()
            );
        }
        "SETUP" => answer += &format!("Session: 1;timeout=60\r\nTransport: {}\r\n\r\n", request.transport),
        _ => answer += "Session: 1\r\n\r\n",
    }
    answer
}

/// Answers a client until it plays: here is its connection.
pub(super) fn serve(mut client: TcpStream, description: &str) -> Result<TcpStream> {
    client.set_read_timeout(Some(SILENCE))?;
    let mut heard = Vec::new();
    loop {
        let Message::Request(request) = next(&mut client, &mut heard)? else { continue };
        if request.method == "SETUP" && !request.transport.contains("interleaved=0-1") {
            write!(client, "RTSP/1.0 461 Unsupported Transport\r\nCSeq: {}\r\n\r\n", request.sequence)?;
            continue;
        }
        client.write_all(answer(&request, description).as_bytes())?;
        match request.method.as_str() {
            "PLAY" => return Ok(client),
            "TEARDOWN" => bail!("the client took leave"),
            _ => {}
        }
    }
}

/// Asks a camera to play: here is the connection over which it does.
pub(super) fn play(port: u16, name: &str) -> Result<TcpStream> {
    let mut camera = TcpStream::connect(("127.0.0.1", port))?;
    camera.set_read_timeout(Some(SILENCE))?;
    let url = format!("rtsp://127.0.0.1:{port}/{name}");
    let mut heard = Vec::new();
    let steps = [
        ("DESCRIBE", url.clone(), "Accept: application/sdp"),
        ("SETUP", format!("{url}/track1"), "Transport: RTP/AVP/TCP;unicast;interleaved=0-1"),
        ("PLAY", url, "Session: 1"),
    ];
    for (number, (method, url, header)) in (1..).zip(steps) {
        write!(camera, "{method} {url} RTSP/1.0\r\nCSeq: {number}\r\n{header}\r\n\r\n")?;
        let Message::Request(answer) = next(&mut camera, &mut heard)? else { bail!("no answer to {method}") };
        ensure!(answer.url == "200", "{method}: {}", answer.url);
    }
    Ok(camera)
}

fn next(from: &mut TcpStream, heard: &mut Vec<u8>) -> Result<Message> {
    let mut buffer = [0; 4096];
    loop {
        if let Some(message) = take(heard)? {
            return Ok(message);
        }
        match from.read(&mut buffer)? {
            0 => bail!("the connection was closed"),
            count => heard.extend_from_slice(&buffer[..count]),
        }
    }
}
