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

/// What is an answer, and no failure: there is nothing at that moment, it is gone, or there are too many at once.
const ANSWERS: [u16; 7] = [200, 201, 204, 206, 404, 410, 503];
/// The same of what a live playlist listed just now: it must be there.
const LISTED_ANSWERS: [u16; 2] = [200, 503];
/// The same of a file: what was recorded before and behind a kill may not fit into one.
const DOWNLOAD_ANSWERS: [u16; 5] = [200, 404, 409, 410, 503];

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
    /// So many requests,
    pub asked: u64,
    /// and so many of those were answered by 503: too much at a time.
    pub refused: u64,
}

impl Did {
    /// # Errors
    /// More than half was refused: that is no server that is busy, but one that does not serve.
    pub fn is_served(self) -> Result<Did> {
        if self.refused > self.asked / 2 {
            bail!("of {} requests {} were refused as too much at a time", self.asked, self.refused);
        }
        Ok(self)
    }
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
    pub fn stay(&mut self, is_over: impl Fn() -> bool) -> Result<Did> {
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
        }
        Ok(self.did)
    }

    /// What it did so far.
    pub fn did(&self) -> Did {
        self.did
    }

    /// What is an answer to reckon with.
    fn answered(&mut self, answer: Answer) -> Result<Answer> {
        self.answered_as(&ANSWERS, answer)
    }

    fn answered_as(&mut self, reckoned: &[u16], answer: Answer) -> Result<Answer> {
        if !reckoned.contains(&answer.status) {
            bail!("{}: {}", answer.status, answer.text());
        }
        self.did.asked += 1;
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
        let is_live = self.chance.random_bool(0.5);
        let playlist = match is_live {
            true => format!("{stream}/hls/live.m3u8"),
            false => format!("{stream}/hls/vod.m3u8?from={from}&to={to}"),
        };
        let text = self.answered(self.client.get(&playlist)?)?.text();
        let wanted = self.chance.random_range(0..4);
        // What was listed just now is there.
        let reckoned = if is_live { &LISTED_ANSWERS[..] } else { &ANSWERS };
        for segment in text.lines().filter(|line| line.ends_with(".m4s")).take(wanted) {
            let answer = self.client.get(&format!("{stream}/hls/{segment}"))?;
            self.answered_as(reckoned, answer).with_context(|| format!("{segment} of {playlist}"))?;
        }
        Ok(())
    }

    /// Takes some of a file, and is gone.
    fn download(&mut self, camera: &str) -> Result<()> {
        let (from, to) = self.range()?;
        let format = ["mp4", "fmp4", "mkv"][self.chance.random_range(0..3)];
        let bytes = self.chance.random_range(0..2 << 20);
        let path = format!("{}/footage?from={from}&to={to}&format={format}", stream(camera));
        let answer = self.client.beginning(&path, bytes)?;
        self.answered_as(&DOWNLOAD_ANSWERS, answer).with_context(|| path).map(drop)
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
        let mut socket = match self.client.socket(&format!("{}/live", stream(camera)))? {
            Ok(socket) => socket,
            Err(503) => {
                self.did = self.did + Did { asked: 1, refused: 1 };
                return Ok(());
            }
            Err(status) => bail!("no WebSocket: {status}"),
        };
        self.did.asked += 1;
        for _ in 0..self.chance.random_range(0..20) {
            socket.read().context("live video ended")?;
        }
        Ok(())
    }
}

fn stream(camera: &str) -> String {
    format!("/api/v1/cameras/{camera}/streams/main")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    /// A visitor of a server that answers one request so.
    fn visited(answer: &'static str, what: impl FnOnce(&mut Visitor<'_>) -> Result<()>) -> (Result<()>, Did) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let base = format!("http://{}", listener.local_addr().expect("an address"));
        let server = std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().expect("somebody asks");
            let mut request = [0; 4096];
            assert!(socket.read(&mut request).expect("a request") > 0);
            socket.write_all(answer.as_bytes()).expect("he listens");
        });
        let mut visitor = Visitor::new(Client::new(base, None), &[], 7, false);
        let done = what(&mut visitor);
        server.join().expect("it answered");
        (done, visitor.did())
    }

    #[test]
    fn a_download_that_fails_or_breaks_off_is_no_answer() {
        let download = |visitor: &mut Visitor<'_>| visitor.download("door");
        for wrong in [
            "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nhalf",
        ] {
            assert!(visited(wrong, download).0.is_err(), "{wrong}");
        }
        let (done, did) = visited("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n", download);
        done.expect("too much at a time is an answer");
        assert_eq!((did.asked, did.refused), (1, 1));
    }

    #[test]
    fn a_server_that_refuses_more_than_half_does_not_serve() {
        let did = |asked, refused| Did { asked, refused }.is_served();
        assert!(did(100, 50).is_ok() && did(0, 0).is_ok());
        assert!(did(100, 51).is_err() && did(1, 1).is_err());
    }
}
