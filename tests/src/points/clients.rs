//! Clients that seek, play, export, watch and vanish at random, while cameras record: no sample is lost for them, what they cost is
//! bounded, and nothing of them is left when they are gone.

use super::figure;
use crate::http::{Answer, Client};
use crate::serving::{READY_LIMIT, Serving, moment_text};
use crate::usage::resident_peak_bytes;
use crate::wait;
use anyhow::{Context, Result, anyhow, bail};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;
use std::net::TcpStream;
use std::time::{Duration, Instant};
use tungstenite::client::IntoClientRequest;

/// A camera that costs little to make, and whose footage has a size.
const URL: &str = "testsrc://?size=320x240&fps=10&gop=10&audio=1&bitrate=1M";
/// The most memory that the server may have had.
const RESIDENT_BYTES_MAX: u64 = 600 << 20;
/// So many more files and connections than before may be open when all clients are gone: connections of whoever looks.
const MORE_OPEN_MAX: usize = 8;
/// The longest that a message may take to come.
const MESSAGE_LIMIT: Duration = Duration::from_secs(30);
/// What is an answer, and no failure: there is nothing at that moment, it is gone, or there are too many at once.
const ANSWERS: [u16; 7] = [200, 201, 204, 206, 404, 410, 503];

/// So many clients, of whom so many make an export each, at so many cameras, whose volume has this size, for so long.
pub fn whole(
    clients: u64,
    exports: u64,
    cameras: usize,
    size: &str,
    duration: Duration,
    seed: u64,
) -> Result<()> {
    let names: Vec<String> = (1..=cameras).map(|number| format!("cam{number:02}")).collect();
    let list: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), URL)).collect();
    let mut serving = Serving::start_with(&list, size)?;
    serving.add_token()?;
    serving.await_ready()?;
    for name in &names {
        serving.await_footage(name, 3.0)?;
    }
    let open_before = open_files(serving.id())?;
    let end = Instant::now() + duration;
    let asked: u64 = std::thread::scope(|scope| {
        let all: Vec<_> = (0..clients)
            .map(|number| {
                let (client, names) = (serving.client(), &names);
                let token = serving.token();
                scope.spawn(move || {
                    Visitor::new(client, token, names, seed + number, number < exports).stay(end)
                })
            })
            .collect();
        all.into_iter()
            .map(|one| one.join().unwrap_or_else(|_| Err(anyhow!("a client panicked"))))
            .sum::<Result<u64>>()
    })?;
    let peak = resident_peak_bytes(serving.id())?;
    figure(
        "clients",
        &format!("{clients} clients asked {asked} times; the server had at most {} MB", peak >> 20),
    );
    nothing_is_left(&serving, open_before)?;
    for name in &names {
        let counts = serving.counts(name)?;
        if counts.dropped_samples > 0 {
            bail!("{name}: {counts:?}");
        }
        if serving.recorded(name)?.len() != 1 {
            bail!("{name} has gaps: {:?}", serving.recorded(name)?);
        }
    }
    if peak > RESIDENT_BYTES_MAX {
        bail!("the server had {} MB of memory", peak >> 20);
    }
    if let Some(line) =
        serving.stderr().iter().find(|line| line.contains("panicked") || line.contains(" ERROR "))
    {
        bail!("the server said: {line}");
    }
    serving.stop()
}

/// Downloads and viewers are counted down, and their connections and files are closed.
fn nothing_is_left(serving: &Serving, open_before: usize) -> Result<()> {
    for name in ["keha_downloads", "keha_viewers"] {
        wait::until(&format!("{name} to be 0"), READY_LIMIT, || {
            Ok((serving.metric(name)? == 0.0).then_some(()))
        })?;
    }
    wait::until("what was open for clients to be closed", READY_LIMIT, || {
        Ok((open_files(serving.id())? <= open_before + MORE_OPEN_MAX).then_some(()))
    })
}

/// How many files and connections a process has open (proc(5) `fd`).
fn open_files(pid: u32) -> Result<usize> {
    Ok(std::fs::read_dir(format!("/proc/{pid}/fd"))?.count())
}

/// One client.
struct Visitor<'a> {
    client: Client,
    token: Option<&'a str>,
    cameras: &'a [String],
    chance: StdRng,
    /// It makes an export, once: each takes the volume two rounds, for its footage is held, and then let go.
    exports: bool,
}

impl<'a> Visitor<'a> {
    fn new(client: Client, token: Option<&'a str>, cameras: &'a [String], seed: u64, exports: bool) -> Self {
        Visitor { client, token, cameras, chance: StdRng::seed_from_u64(seed), exports }
    }

    /// Does one thing after the other until it is time to go; answers how many.
    fn stay(mut self, end: Instant) -> Result<u64> {
        let mut asked = 0;
        while Instant::now() < end {
            let camera = self.cameras[self.chance.random_range(0..self.cameras.len())].clone();
            let did = match self.chance.random_range(0..5) {
                0 => self.play(&camera),
                1 => self.download(&camera),
                2 => self.watch(&camera),
                3 if std::mem::take(&mut self.exports) => self.export(&camera),
                _ => self.seek(&camera),
            };
            did.with_context(|| format!("a client at {camera}"))?;
            asked += 1;
        }
        Ok(asked)
    }

    /// A moment of the last seconds, and one a little later.
    fn range(&mut self) -> Result<(String, String)> {
        let now_ns = i64::try_from(crate::process::now_ns())?;
        let from = now_ns - self.chance.random_range(1_000_000_000..15_000_000_000);
        Ok((moment_text(from)?, moment_text(from + self.chance.random_range(500_000_000..8_000_000_000))?))
    }

    fn seek(&mut self, camera: &str) -> Result<()> {
        let (from, to) = self.range()?;
        let stream = stream(camera);
        answered(self.client.get(&format!("{stream}/timeline?from={from}&to={to}"))?)?;
        answered(self.client.get(&format!("{stream}/snapshot.jpg?at={from}&width=160"))?).map(drop)
    }

    fn play(&mut self, camera: &str) -> Result<()> {
        let (from, to) = self.range()?;
        let stream = stream(camera);
        let playlist = match self.chance.random_bool(0.5) {
            true => format!("{stream}/hls/live.m3u8"),
            false => format!("{stream}/hls/vod.m3u8?from={from}&to={to}"),
        };
        let text = answered(self.client.get(&playlist)?)?.text();
        let wanted = self.chance.random_range(0..4);
        for segment in text.lines().filter(|line| line.ends_with(".m4s")).take(wanted) {
            answered(self.client.get(&format!("{stream}/hls/{segment}"))?)?;
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
        let made = answered(self.client.send("POST", "/api/v1/exports", &wanted)?)?;
        if made.status != 201 {
            return Ok(());
        }
        let made = made.json()?;
        let id = made["id"].as_str().context("no id")?;
        answered(self.client.get(&format!("/api/v1/exports/{id}/file"))?)?;
        self.client.change("DELETE", &format!("/api/v1/exports/{id}"), &json!(null)).map(drop)
    }

    /// Watches some messages of live video, and is gone without a word.
    fn watch(&mut self, camera: &str) -> Result<()> {
        let address = self.client.base().strip_prefix("http://").context("no address")?;
        let mut request = format!("ws://{address}{}/live", stream(camera)).into_client_request()?;
        if let Some(token) = self.token {
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

fn answered(answer: Answer) -> Result<Answer> {
    if !ANSWERS.contains(&answer.status) {
        bail!("{}: {}", answer.status, answer.text());
    }
    Ok(answer)
}
