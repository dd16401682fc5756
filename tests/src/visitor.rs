//! A client of a server that seeks, plays, downloads, watches and exports at random, one after the other.
//!
//! Must not live here: how many there are, and what their coming and going may cost.

use crate::http::{Answer, Client};
use crate::process::now_ns;
use crate::serving::moment_text;
use anyhow::{Context, Result, bail};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;
use std::net::TcpStream;
use std::time::Duration;
use tungstenite::client::IntoClientRequest;

/// The longest that a message may take to come.
const MESSAGE_LIMIT: Duration = Duration::from_secs(30);
/// What is an answer, and no failure: there is nothing at that moment, it is gone, or there are too many at once.
const ANSWERS: [u16; 7] = [200, 201, 204, 206, 404, 410, 503];

/// One client.
pub struct Visitor<'a> {
    client: Client,
    cameras: &'a [String],
    chance: StdRng,
    /// It makes an export, once: each takes the volume two rounds, for its footage is held, and then let go.
    exports: bool,
    did: Did,
}

/// What clients did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Did {
    /// So many things,
    pub asked: u64,
    /// and so many requests of those were answered by 503: too much at a time.
    pub refused: u64,
}

impl std::ops::Add for Did {
    type Output = Did;

    fn add(self, more: Did) -> Did {
        Did { asked: self.asked + more.asked, refused: self.refused + more.refused }
    }
}

impl<'a> Visitor<'a> {
    /// Somebody who asks for these cameras; who makes an export, where `exports` says so.
    pub fn new(client: Client, cameras: &'a [String], seed: u64, exports: bool) -> Self {
        Visitor { client, cameras, chance: StdRng::seed_from_u64(seed), exports, did: Did::default() }
    }

    /// Does one thing after the other until it is time to go; answers what it did.
    ///
    /// # Errors
    /// At the first answer that is none of those that a client has to reckon with.
    pub fn stay(mut self, is_over: impl Fn() -> bool) -> Result<Did> {
        while !is_over() {
            let camera = self.cameras[self.chance.random_range(0..self.cameras.len())].clone();
            let did = match self.chance.random_range(0..5) {
                0 => self.play(&camera),
                1 => self.download(&camera),
                2 => self.watch(&camera),
                3 if std::mem::take(&mut self.exports) => self.export(&camera),
                _ => self.seek(&camera),
            };
            did.with_context(|| format!("a client at {camera}"))?;
            self.did.asked += 1;
        }
        Ok(self.did)
    }

    /// What is an answer to reckon with.
    fn answered(&mut self, answer: Answer) -> Result<Answer> {
        if !ANSWERS.contains(&answer.status) {
            bail!("{}: {}", answer.status, answer.text());
        }
        self.did.refused += u64::from(answer.status == 503);
        Ok(answer)
    }

    /// A moment of the last seconds, and one a little later that is not to come.
    fn range(&mut self) -> Result<(String, String)> {
        let now_ns = i64::try_from(now_ns())?;
        let from = now_ns - self.chance.random_range(1_000_000_000..15_000_000_000);
        let to = from + self.chance.random_range(500_000_000..8_000_000_000);
        Ok((moment_text(from)?, moment_text(to.min(now_ns))?))
    }

    fn seek(&mut self, camera: &str) -> Result<()> {
        let (from, to) = self.range()?;
        let stream = stream(camera);
        self.answered(self.client.get(&format!("{stream}/timeline?from={from}&to={to}"))?)?;
        self.answered(self.client.get(&format!("{stream}/snapshot.jpg?at={from}&width=160"))?).map(drop)
    }

    fn play(&mut self, camera: &str) -> Result<()> {
        let (from, to) = self.range()?;
        let stream = stream(camera);
        let playlist = match self.chance.random_bool(0.5) {
            true => format!("{stream}/hls/live.m3u8"),
            false => format!("{stream}/hls/vod.m3u8?from={from}&to={to}"),
        };
        let text = self.answered(self.client.get(&playlist)?)?.text();
        let wanted = self.chance.random_range(0..4);
        for segment in text.lines().filter(|line| line.ends_with(".m4s")).take(wanted) {
            self.answered(self.client.get(&format!("{stream}/hls/{segment}"))?)?;
        }
        Ok(())
    }

    /// Takes some of a file, and is gone.
    fn download(&mut self, camera: &str) -> Result<()> {
        let (from, to) = self.range()?;
        let format = ["mp4", "fmp4", "mkv"][self.chance.random_range(0..3)];
        let bytes = self.chance.random_range(0..2 << 20);
        let path = format!("{}/footage?from={from}&to={to}&format={format}", stream(camera));
        self.client.beginning(&path, bytes).map(drop)
    }

    fn export(&mut self, camera: &str) -> Result<()> {
        let (from, to) = self.range()?;
        let wanted = json!({ "streams": [camera], "from": from, "to": to, "format": "mkv", "keep": "1m" });
        let made = self.answered(self.client.send("POST", "/api/v1/exports", &wanted)?)?;
        if made.status != 201 {
            return Ok(());
        }
        let made = made.json()?;
        let id = made["id"].as_str().context("no id")?;
        self.answered(self.client.get(&format!("/api/v1/exports/{id}/file"))?)?;
        self.client.change("DELETE", &format!("/api/v1/exports/{id}"), &json!(null)).map(drop)
    }

    /// Watches some messages of live video, and is gone without a word.
    fn watch(&mut self, camera: &str) -> Result<()> {
        let address = self.client.base().strip_prefix("http://").context("no address")?;
        let mut request = format!("ws://{address}{}/live", stream(camera)).into_client_request()?;
        if let Some(token) = self.client.token() {
            request.headers_mut().insert("authorization", format!("Bearer {token}").parse()?);
        }
        let socket = TcpStream::connect(address)?;
        socket.set_read_timeout(Some(MESSAGE_LIMIT))?;
        let mut socket = match tungstenite::client(request, socket) {
            Ok((socket, _)) => socket,
            Err(tungstenite::HandshakeError::Failure(tungstenite::Error::Http(refused)))
                if refused.status().as_u16() == 503 =>
            {
                return Ok(());
            }
            Err(error) => bail!("no WebSocket: {error}"),
        };
        for _ in 0..self.chance.random_range(0..20) {
            socket.read().context("live video ended")?;
        }
        Ok(())
    }
}

fn stream(camera: &str) -> String {
    format!("/api/v1/cameras/{camera}/streams/main")
}
