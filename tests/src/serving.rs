//! A running `keha serve`: a configuration, a volume and a state directory of its own, on a port that the system chooses.
//!
//! Everything is gone when it is dropped. Must not live here: what a right answer is, and what asks for it.

use crate::http::Client;
use crate::process::{Running, keha_ok};
use crate::rig::{COMMAND_LIMIT, scratch, text};
use crate::wait;
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::fmt::Write;
use std::path::PathBuf;
use std::time::Duration;

/// The longest that a server may take to listen, to be ready, and to record something.
pub const READY_LIMIT: Duration = Duration::from_secs(60);
/// The longest that it may take to end: it promises 5 s where the machine is idle.
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// The cameras of `keha demo`: pictures, rates and sound of all sorts.
pub const DEMO: [(&str, &str); 4] = [
    ("gate", "testsrc://?size=1280x720&fps=25&gop=25&audio=1"),
    ("hall", "testsrc://?size=640x360&fps=15&gop=30"),
    ("yard", "testsrc://?size=640x360&fps=10&gop=20&audio=1"),
    ("dock", "testsrc://?size=320x240&fps=5&gop=25"),
];

/// A server.
pub struct Serving {
    running: Running,
    base: String,
    token: Option<String>,
    dir: tempfile::TempDir,
}

/// What a stream of a camera has counted since the server was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Samples recorded.
    pub samples: u64,
    /// Samples left out.
    pub dropped_samples: u64,
}

impl Serving {
    /// Starts a server that records these cameras of its configuration file into one volume of 256 MiB.
    pub fn start(cameras: &[(&str, &str)]) -> Result<Serving> {
        Self::start_with(cameras, "256MiB")
    }

    /// The same with a volume of another size.
    pub fn start_with(cameras: &[(&str, &str)], size: &str) -> Result<Serving> {
        let dir = scratch()?;
        let mut config = String::from("[server]\nhttp = \"127.0.0.1:0\"\nstate = \"state\"\n");
        writeln!(config, "[[volumes]]\nname = \"main\"\npath = \"test.ring\"\nsize = \"{size}\"")?;
        for (name, url) in cameras {
            writeln!(config, "[[cameras]]\nname = \"{name}\"\nurl = \"{url}\"")?;
        }
        Self::start_in(dir, &config)
    }

    /// The same with a configuration of the test's own, in a directory with what it needs.
    pub fn start_in(dir: tempfile::TempDir, config: &str) -> Result<Serving> {
        std::fs::write(dir.path().join("keha.toml"), config)?;
        let (running, base) = run(&dir.path().join("keha.toml"))?;
        Ok(Serving { running, base, token: None, dir })
    }

    /// A server that was ended, or killed here and now, is started again on what it left. It may listen elsewhere.
    pub fn kill_and_start_again(&mut self) -> Result<()> {
        self.kill()?;
        self.start_again()
    }

    /// SIGKILL; answers when, Unix nanoseconds, as seen just before.
    pub fn kill(&mut self) -> Result<u64> {
        self.running.kill()
    }

    /// A server that was killed is started again on what it left. It may listen elsewhere.
    pub fn start_again(&mut self) -> Result<()> {
        (self.running, self.base) = run(&self.config())?;
        Ok(())
    }

    /// Makes a token of an administrator, which every client sends from now on.
    pub fn add_token(&mut self) -> Result<()> {
        let state = self.dir.path().join("state");
        let made =
            keha_ok(&["token", "add", "tests", "--role", "admin", "--state", text(&state)?], COMMAND_LIMIT)?;
        self.token = Some(made.trim().to_owned());
        Ok(())
    }

    /// Somebody else who asks it, with a token of an administrator of his own: what one reads at a time is bounded for each.
    ///
    /// # Errors
    /// There is no administrator yet ([`Serving::add_token`]), or the server refuses.
    pub fn another(&self, label: &str) -> Result<Client> {
        let wanted = json!({ "label": label, "grant": { "role": "admin", "cameras": "all" } });
        let made = self.client().change("POST", "/api/v1/tokens", &wanted)?;
        Ok(Client::new(self.base.clone(), Some(made["token"].as_str().context("no token")?.to_owned())))
    }

    /// The token of an administrator, once there is one.
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// Somebody who asks it.
    pub fn client(&self) -> Client {
        Client::new(self.base.clone(), self.token.clone())
    }

    /// Where it answers, such as `http://127.0.0.1:8480`.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Its configuration file.
    pub fn config(&self) -> PathBuf {
        self.dir.path().join("keha.toml")
    }

    /// Its volume.
    pub fn volume(&self) -> PathBuf {
        self.dir.path().join("test.ring")
    }

    /// The directory of its files, with room for a test's.
    pub fn dir(&self) -> &std::path::Path {
        self.dir.path()
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.running.id()
    }

    /// What it said on stderr so far.
    pub fn stderr(&self) -> Vec<String> {
        self.running.stderr()
    }

    /// Waits until it says that it is ready: all volumes written, all cameras reached.
    pub fn await_ready(&self) -> Result<()> {
        let client = self.client();
        wait::until("the server to be ready", READY_LIMIT, || {
            Ok((client.get("/readyz")?.status == 200).then_some(()))
        })
    }

    /// Waits until a camera's main stream has at least so many seconds of footage on the disk.
    pub fn await_footage(&self, camera: &str, seconds: f64) -> Result<()> {
        let what = format!("{seconds} s of footage of {camera}");
        wait::until(&what, READY_LIMIT + Duration::from_secs_f64(seconds), || {
            let recorded = self.recorded(camera)?;
            let total: i64 = recorded.iter().map(|(from, to)| to - from).sum();
            Ok((total as f64 / 1e9 >= seconds).then_some(()))
        })
    }

    /// The times with footage of a camera's main stream, Unix nanoseconds; none before the first.
    pub fn recorded(&self, camera: &str) -> Result<Vec<(i64, i64)>> {
        let answer = self.client().get(&format!("/api/v1/cameras/{camera}/streams/main/timeline"))?;
        // Or its volume is about to be made.
        let no_volume = answer.status == 503 && answer.text().contains("a volume cannot be read now");
        if answer.status == 404 || no_volume {
            return Ok(Vec::new());
        }
        let timeline = answer.with_status(200)?.json()?;
        let ranges = timeline["recorded"].as_array().context("no ranges")?;
        ranges.iter().map(|range| Ok((moment_ns(&range["from"])?, moment_ns(&range["to"])?))).collect()
    }

    /// Begins or ends the recording of a camera's main stream.
    pub fn record(&self, camera: &str, on: bool) -> Result<()> {
        let path = format!("/api/v1/cameras/{camera}/streams/main/recording");
        self.client().change("PUT", &path, &json!({ "on": on })).map(drop)
    }

    /// What a camera's main stream has counted.
    pub fn counts(&self, camera: &str) -> Result<Counts> {
        let found = self.client().json(&format!("/api/v1/cameras/{camera}"))?;
        let main = &found["streams"][0];
        let count = |name: &str| main[name].as_u64().with_context(|| format!("no {name} in {found}"));
        Ok(Counts { samples: count("samples")?, dropped_samples: count("dropped_samples")? })
    }

    /// The value of a metric that stands for the server as a whole.
    pub fn metric(&self, name: &str) -> Result<f64> {
        let metrics = self.client().get("/api/v1/metrics")?.with_status(200)?.text();
        let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        Ok(line.with_context(|| format!("no {name} in {metrics}"))?.trim().parse()?)
    }

    /// SIGTERM, and nobody waits.
    pub fn terminate(&self) -> Result<()> {
        self.running.signal(nix::sys::signal::Signal::SIGTERM)
    }

    /// SIGTERM; it must end by itself, with status 0, and have said that everything is on the disk.
    pub fn stop(self) -> Result<()> {
        self.stop_and_keep(|| Ok(()))
    }

    /// The same, and looks at what it left before that is gone.
    pub fn stop_and_keep(mut self, look: impl FnOnce() -> Result<()>) -> Result<()> {
        let status = self.running.terminate(STOP_LIMIT)?;
        let said = self.running.stderr();
        if !status.success() || !said.iter().any(|line| line.contains("everything is on the disk")) {
            bail!("the server ended with {status} and said: {}", said.join("\n"));
        }
        look()
    }
}

/// A moment of a document, Unix nanoseconds.
pub fn moment_ns(value: &Value) -> Result<i64> {
    let text = value.as_str().with_context(|| format!("no moment: {value}"))?;
    let moment: jiff::Timestamp = text.parse().with_context(|| format!("no moment: {text}"))?;
    Ok(i64::try_from(moment.as_nanosecond())?)
}

/// A moment as queries take it.
pub fn moment_text(ns: i64) -> Result<String> {
    Ok(jiff::Timestamp::from_nanosecond(i128::from(ns))?.to_string())
}

/// Starts `keha serve` with a configuration file, and waits until it says where it listens: the process, and that.
pub fn run(config: &std::path::Path) -> Result<(Running, String)> {
    let mut running = Running::keha(&["serve", "--config", text(config)?])?;
    let base = wait::until("the server to listen", READY_LIMIT, || {
        let said = running.stderr();
        let base = said.iter().find_map(|line| Some(line.split_once("serving at ")?.1.to_owned()));
        if base.is_none()
            && let Some(status) = running.ended()?
        {
            bail!("the server ended with {status}: {}", said.join("\n"));
        }
        Ok(base)
    })?;
    Ok((running, base.trim_end_matches('/').to_owned()))
}
