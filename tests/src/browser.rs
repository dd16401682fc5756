//! Chromium without a window, driven over the DevTools protocol: pages as people's browsers run them.
//!
//! Needs Debian's `chromium`. It is asked to close when the value is dropped, and killed where it does not. Must not live
//! here: what a page should show.

use crate::process::Running;
use crate::wait;
use anyhow::{Context, Result, anyhow, bail};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use std::io::ErrorKind;
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};
use tungstenite::{Message, WebSocket};

/// The longest that it may take to start, and to answer one command.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);
/// The longest that it may take to close.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);
/// How long one reading from the socket waits.
const READ_LIMIT: Duration = Duration::from_millis(100);

/// What makes it quiet, small, and the same in a corner of a loaded machine as in front of somebody's eyes.
const ARGUMENTS: [&str; 15] = [
    "--headless=new",
    "--no-sandbox",
    "--remote-debugging-port=0",
    "--autoplay-policy=no-user-gesture-required",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-background-timer-throttling",
    "--disable-renderer-backgrounding",
    "--disable-backgrounding-occluded-windows",
    "--no-first-run",
    "--window-size=1300,1000",
];

/// A browser with one page.
pub struct Browser {
    running: Running,
    socket: WebSocket<TcpStream>,
    session: Option<String>,
    last_id: u64,
    events: Vec<Value>,
    _profile: tempfile::TempDir,
}

impl Browser {
    /// Starts it with an empty page.
    pub fn start() -> Result<Browser> {
        let profile = tempfile::tempdir()?;
        let mut command = Command::new("chromium");
        command
            .args(ARGUMENTS)
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank");
        let running =
            Running::start(&mut command).context("starting chromium (Debian's package chromium)")?;
        let url = wait::until("chromium to listen", ANSWER_LIMIT, || {
            let said = running.stderr();
            Ok(said
                .iter()
                .find_map(|line| Some(line.split_once("DevTools listening on ")?.1.trim().to_owned())))
        })
        .with_context(|| running.stderr().join("\n"))?;
        let socket = connect(&url)?;
        let mut browser =
            Browser { running, socket, session: None, last_id: 0, events: Vec::new(), _profile: profile };
        let target = browser.command("Target.createTarget", json!({ "url": "about:blank" }))?;
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = browser.command("Target.attachToTarget", attach)?;
        browser.session = Some(attached["sessionId"].as_str().context("no session")?.to_owned());
        for domain in ["Page.enable", "Runtime.enable", "Log.enable"] {
            browser.command(domain, json!({}))?;
        }
        Ok(browser)
    }

    /// Opens a page.
    pub fn open(&mut self, url: &str) -> Result<()> {
        let opened = self.command("Page.navigate", json!({ "url": url }))?;
        match opened["errorText"].as_str() {
            Some(error) => bail!("{url}: {error}"),
            None => self.until("the page to be loaded", ANSWER_LIMIT, "document.readyState === 'complete'"),
        }
    }

    /// The value of a JavaScript expression, or of the promise that it is; an exception is an error.
    pub fn evaluate(&mut self, expression: &str) -> Result<Value> {
        let asked = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let answer = self.command("Runtime.evaluate", asked)?;
        match answer.get("exceptionDetails") {
            Some(exception) => bail!("{}", exception_text(exception)),
            None => Ok(answer["result"]["value"].clone()),
        }
    }

    /// Waits until a JavaScript expression is true.
    pub fn until(&mut self, what: &str, limit: Duration, expression: &str) -> Result<()> {
        let waited = wait::until(what, limit, || {
            Ok((self.evaluate(&format!("Boolean({expression})"))? == json!(true)).then_some(()))
        });
        waited.with_context(|| format!("the page said: {:?}", self.complaints().unwrap_or_default()))
    }

    /// Clicks at a place of the page, in CSS pixels, as a mouse does.
    pub fn click(&mut self, x: f64, y: f64) -> Result<()> {
        for kind in ["mousePressed", "mouseReleased"] {
            let event = json!({ "type": kind, "x": x, "y": y, "button": "left", "clickCount": 1 });
            self.command("Input.dispatchMouseEvent", event)?;
        }
        Ok(())
    }

    /// What the page shows, as PNG.
    pub fn screenshot(&mut self) -> Result<Vec<u8>> {
        let shot = self.command("Page.captureScreenshot", json!({ "format": "png" }))?;
        Ok(BASE64_STANDARD.decode(shot["data"].as_str().context("no picture")?)?)
    }

    /// What went wrong in the page so far: exceptions that nobody caught, and errors in its console.
    pub fn complaints(&mut self) -> Result<Vec<String>> {
        // An answer comes behind all that happened before it.
        self.command("Runtime.evaluate", json!({ "expression": "0" }))?;
        Ok(self.events.iter().filter_map(complaint).collect())
    }

    /// Sends a command and waits for its answer; events that come before it are kept.
    fn command(&mut self, method: &str, params: Value) -> Result<Value> {
        self.last_id += 1;
        let id = self.last_id;
        let mut request = json!({ "id": id, "method": method, "params": params });
        if let Some(session) = &self.session {
            request["sessionId"] = json!(session);
        }
        self.socket
            .send(Message::text(request.to_string()))
            .with_context(|| format!("{method}: chromium is gone"))?;
        let end = Instant::now() + ANSWER_LIMIT;
        while Instant::now() < end {
            let Some(message) = self.read()? else { continue };
            if message["id"] != json!(id) {
                self.events.push(message);
            } else if let Some(error) = message.get("error") {
                bail!("{method}: {error}");
            } else {
                return Ok(message["result"].clone());
            }
        }
        Err(anyhow!("{method}: chromium does not answer"))
    }

    /// The next message, if one comes soon.
    fn read(&mut self) -> Result<Option<Value>> {
        match self.socket.read() {
            Ok(Message::Text(text)) => Ok(Some(serde_json::from_str(&text)?)),
            Ok(_) => Ok(None),
            Err(tungstenite::Error::Io(error))
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
            {
                Ok(None)
            }
            Err(error) => Err(error).context("chromium is gone"),
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Its many processes end with it when it closes; what does not close is killed with `running`.
        self.session = None;
        let close = json!({ "id": self.last_id + 1, "method": "Browser.close" });
        if self.socket.send(Message::text(close.to_string())).is_ok() {
            self.running.wait(CLOSE_LIMIT).ok();
        }
    }
}

fn connect(url: &str) -> Result<WebSocket<TcpStream>> {
    let address = url.strip_prefix("ws://").and_then(|rest| rest.split('/').next()).context("no address")?;
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    let (socket, _) = tungstenite::client(url, stream).map_err(|error| anyhow!("{url}: {error}"))?;
    socket.get_ref().set_read_timeout(Some(READ_LIMIT))?;
    Ok(socket)
}

fn exception_text(exception: &Value) -> String {
    let text = exception["exception"]["description"].as_str().or(exception["text"].as_str());
    format!("the page threw: {}", text.unwrap_or("something"))
}

fn complaint(event: &Value) -> Option<String> {
    let params = &event["params"];
    match event["method"].as_str()? {
        "Runtime.exceptionThrown" => Some(exception_text(&params["exceptionDetails"])),
        "Runtime.consoleAPICalled" if params["type"] == "error" => {
            Some(format!("console.error: {}", params["args"]))
        }
        // It asks every server for one, which no page of text names.
        "Log.entryAdded"
            if params["entry"]["url"].as_str().is_some_and(|url| url.ends_with("/favicon.ico")) =>
        {
            None
        }
        "Log.entryAdded" if params["entry"]["level"] == "error" => {
            Some(format!("{} ({})", params["entry"]["text"], params["entry"]["url"]))
        }
        _ => None,
    }
}
