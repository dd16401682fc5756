//! A small HTTP client: what a program sends that was written from the API's documents alone.
//!
//! Every status is an answer here, not an error. Must not live here: what an answer should have been.

use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::io::Read;
use std::net::TcpStream;
use std::time::Duration;
use tungstenite::WebSocket;
use tungstenite::client::IntoClientRequest;
use ureq::http::{HeaderMap, Request};
use ureq::{Agent, Body};

/// The longest a whole answer may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(120);

/// The longest that a message of a WebSocket may take to come.
const MESSAGE_LIMIT: Duration = Duration::from_secs(30);

/// Asks one server, with a token if it has one.
#[derive(Clone, Debug)]
pub struct Client {
    agent: Agent,
    base: String,
    token: Option<String>,
}

/// An answer, read to its end.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its header.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Vec<u8>,
}

impl Answer {
    /// A header field as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body).with_context(|| format!("no JSON: {}", self.text()))
    }

    /// This very answer, if it has this status.
    pub fn with_status(self, status: u16) -> Result<Answer> {
        if self.status != status {
            bail!("status {} instead of {status}: {}", self.status, self.text());
        }
        Ok(self)
    }
}

impl Client {
    /// Asks the server at `base`, such as `http://127.0.0.1:8480`, without a `/` at its end.
    pub fn new(base: impl Into<String>, token: Option<String>) -> Client {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(ANSWER_LIMIT))
            .max_idle_connections(0)
            .build();
        Client { agent: config.into(), base: base.into(), token }
    }

    /// Where it asks.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// `GET`, whatever is answered.
    pub fn get(&self, path: &str) -> Result<Answer> {
        self.get_with(path, &[])
    }

    /// The same with further header fields.
    pub fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Result<Answer> {
        whole(self.begin(path, headers)?).with_context(|| format!("GET {path}"))
    }

    /// The body of an answer that must be 200.
    pub fn body(&self, path: &str) -> Result<Vec<u8>> {
        let answer = self.get(path)?.with_status(200).with_context(|| format!("GET {path}"))?;
        Ok(answer.body)
    }

    /// The JSON of an answer that must be 200.
    pub fn json(&self, path: &str) -> Result<Value> {
        serde_json::from_slice(&self.body(path)?).with_context(|| format!("GET {path}"))
    }

    /// An answer with at most `bytes` of its body; then the connection is closed.
    ///
    /// # Errors
    /// No answer, or its body ends before that, and before what its `content-length` says.
    pub fn beginning(&self, path: &str, bytes: u64) -> Result<Answer> {
        let (head, body) = self.begin(path, &[])?.into_parts();
        let mut got = Vec::new();
        body.into_reader().take(bytes).read_to_end(&mut got).with_context(|| format!("GET {path}"))?;
        let answer = Answer { status: head.status.as_u16(), headers: head.headers, body: got };
        let length = answer.header("content-length").map(str::parse::<u64>).transpose()?;
        let (came, due) = (answer.body.len() as u64, length.map_or(0, |length| length.min(bytes)));
        if came < due {
            bail!("GET {path}: the answer broke off: {came} bytes of {due}");
        }
        Ok(answer)
    }

    /// Sends a JSON body, whatever is answered.
    pub fn send(&self, method: &str, path: &str, body: &Value) -> Result<Answer> {
        let request = self
            .request(method, path, &[("content-type", "application/json")])?
            .body(body.to_string().into_bytes())?;
        whole(self.agent.run(request)?).with_context(|| format!("{method} {path}"))
    }

    /// Sends a JSON body, or nothing where it is null, and must be answered with success; answers that answer's JSON.
    pub fn change(&self, method: &str, path: &str, body: &Value) -> Result<Value> {
        let answer = if body.is_null() {
            whole(self.agent.run(self.request(method, path, &[])?.body(())?)?)?
        } else {
            self.send(method, path, body)?
        };
        if !(200..300).contains(&answer.status) {
            bail!("{method} {path}: {}: {}", answer.status, answer.text());
        }
        if answer.body.is_empty() { Ok(Value::Null) } else { answer.json() }
    }

    /// A WebSocket, or the status with which it is refused.
    pub fn socket(&self, path: &str) -> Result<std::result::Result<WebSocket<TcpStream>, u16>> {
        let address = self.base.strip_prefix("http://").context("no address")?;
        let mut request = format!("ws://{address}{path}").into_client_request()?;
        if let Some(token) = &self.token {
            request.headers_mut().insert("authorization", format!("Bearer {token}").parse()?);
        }
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(MESSAGE_LIMIT))?;
        match tungstenite::client(request, stream) {
            Ok((socket, _)) => Ok(Ok(socket)),
            Err(tungstenite::HandshakeError::Failure(tungstenite::Error::Http(refused))) => {
                Ok(Err(refused.status().as_u16()))
            }
            Err(error) => bail!("no WebSocket: {error}"),
        }
    }

    fn begin(&self, path: &str, headers: &[(&str, &str)]) -> Result<ureq::http::Response<Body>> {
        let request = self.request("GET", path, headers)?.body(())?;
        self.agent.run(request).with_context(|| format!("GET {path}"))
    }

    fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<ureq::http::request::Builder> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Ok(request)
    }
}

fn whole(response: ureq::http::Response<Body>) -> Result<Answer> {
    let (head, body) = response.into_parts();
    let mut bytes = Vec::new();
    body.into_reader().read_to_end(&mut bytes).context("the answer broke off")?;
    Ok(Answer { status: head.status.as_u16(), headers: head.headers, body: bytes })
}
