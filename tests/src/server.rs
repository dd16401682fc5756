//! Cameras: GStreamer's RTSP server (`tests/scripts/rtsp_server.py`) on a loopback port of its own.
//!
//! Many cameras in one process, each a mount that plays a clip as it is, in real time. The send log says what went out
//! when. Dropping the value ends the process.

use crate::media::Clip;
use crate::wait;
use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Deserialize;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// How cameras ask who is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auth {
    /// RFC 7617.
    Basic,
    /// RFC 7616, as RTSP uses it.
    Digest,
}

/// What the cameras' RTCP sender reports say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SenderReports {
    /// The time.
    Right,
    /// Nothing: none is sent.
    Absent,
    /// A time wrong by so many seconds.
    OffBySeconds(i64),
}

/// How a server is to behave.
#[derive(Clone, Debug)]
pub struct Options {
    /// User, password and method demanded of clients.
    pub login: Option<(String, String, Auth)>,
    /// Sessions allowed at once; 0 is any number.
    pub max_sessions: u32,
    /// What sender reports say.
    pub sender_reports: SenderReports,
}

impl Default for Options {
    fn default() -> Self {
        Self { login: None, max_sessions: 0, sender_reports: SenderReports::Right }
    }
}

/// One line of the send log: a sample handed to the payloader.
#[derive(Clone, Debug, Deserialize)]
pub struct Sent {
    /// When, Unix nanoseconds.
    #[serde(rename = "t")]
    pub wall_ns: u64,
    /// The camera.
    #[serde(rename = "m")]
    pub mount: String,
    /// Counts the camera's sessions from 1.
    #[serde(rename = "s")]
    pub session: u32,
    /// The track's place in the clip.
    #[serde(rename = "k")]
    pub track: usize,
    /// The sample, counted on over the laps of the clip: sample `number % len` of it.
    #[serde(rename = "n")]
    pub number: u64,
    /// Its presentation time on the session's clock, nanoseconds.
    #[serde(rename = "p")]
    pub running_ns: u64,
}

/// A running server.
pub struct CameraServer {
    child: Child,
    stdin: Option<ChildStdin>,
    answers: Receiver<String>,
    port: u16,
    log: PathBuf,
    login: Option<(String, String)>,
    _scratch: tempfile::TempDir,
}

impl CameraServer {
    /// Starts a server without cameras.
    pub fn start(options: &Options) -> Result<Self> {
        let scratch = tempfile::tempdir()?;
        let log = scratch.path().join("sent.jsonl");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/rtsp_server.py");
        let mut command = Command::new("/usr/bin/python3");
        command.arg(script).arg("--log").arg(&log);
        if let Some((user, password, auth)) = &options.login {
            let auth = if *auth == Auth::Basic { "basic" } else { "digest" };
            command.args(["--user", user, "--password", password, "--auth", auth]);
        }
        if options.max_sessions > 0 {
            command.args(["--max-sessions", &options.max_sessions.to_string()]);
        }
        command.arg(match options.sender_reports {
            SenderReports::Right => "--sender-reports=right".to_owned(),
            SenderReports::Absent => "--sender-reports=absent".to_owned(),
            SenderReports::OffBySeconds(seconds) => format!("--sender-reports={seconds}"),
        });
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().context(
                "starting the camera server (needs /usr/bin/python3, python3-gi, gir1.2-gst-rtsp-server-1.0)",
            )?;
        let (sender, answers) = channel();
        let stdout = child.stdout.take().context("no stdout")?;
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let stdin = child.stdin.take();
        let login = options.login.clone().map(|(user, password, _)| (user, password));
        let mut server = Self { child, stdin, answers, port: 0, log, login, _scratch: scratch };
        let hello = server.answer()?;
        server.port = hello["port"].as_u64().and_then(|port| u16::try_from(port).ok()).context("no port")?;
        Ok(server)
    }

    /// Starts a server with these cameras, each playing its clip in a loop.
    pub fn with_cameras<'a>(cameras: impl IntoIterator<Item = (&'a str, &'a Clip)>) -> Result<Self> {
        let mut server = Self::start(&Options::default())?;
        for (name, clip) in cameras {
            server.add(name, clip)?;
        }
        Ok(server)
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL of a camera, with user and password where the server asks for them.
    pub fn url(&self, name: &str) -> String {
        match &self.login {
            Some((user, password)) => format!("rtsp://{user}:{password}@127.0.0.1:{}/{name}", self.port),
            None => format!("rtsp://127.0.0.1:{}/{name}", self.port),
        }
    }

    /// A camera that plays a clip in a loop.
    pub fn add(&mut self, name: &str, clip: &Clip) -> Result<()> {
        self.add_with(name, clip, 1.0, false)
    }

    /// A camera that plays a clip `speed` times as fast, in a loop or `once`.
    pub fn add_with(&mut self, name: &str, clip: &Clip, speed: f64, once: bool) -> Result<()> {
        self.command(json!({"cmd": "add", "mount": name, "clip": clip.path, "speed": speed, "once": once}))
            .map(drop)
    }

    /// A camera that films a clock: pictures made and encoded as they are sent, the time in each as a bar code.
    pub fn add_clock(&mut self, name: &str) -> Result<()> {
        self.command(json!({"cmd": "add", "mount": name, "live": true})).map(drop)
    }

    /// The camera is gone: its clients are dropped, its path answers 404.
    pub fn stop(&mut self, name: &str) -> Result<()> {
        self.command(json!({"cmd": "stop", "mount": name})).map(drop)
    }

    /// A stopped camera is back.
    pub fn restart(&mut self, name: &str) -> Result<()> {
        self.command(json!({"cmd": "start", "mount": name})).map(drop)
    }

    /// The camera drops its clients and serves another clip from now on.
    pub fn switch(&mut self, name: &str, clip: &Clip) -> Result<()> {
        self.command(json!({"cmd": "switch", "mount": name, "clip": clip.path})).map(drop)
    }

    /// Drops the clients of a camera, which stays there; answers how many.
    pub fn kick(&mut self, name: &str) -> Result<u64> {
        self.command(json!({"cmd": "kick", "mount": name}))?["kicked"].as_u64().context("no count")
    }

    /// Waits until a camera has so many clients.
    pub fn await_clients(&mut self, name: &str, count: u64, limit: Duration) -> Result<()> {
        wait::until(&format!("{count} clients of {name}"), limit, || {
            let clients = self.command(json!({"cmd": "clients", "mount": name}))?["clients"].as_u64();
            Ok((clients == Some(count)).then_some(()))
        })
    }

    /// SIGSTOP: every camera of this server stands still with its connections open.
    pub fn freeze(&self) -> Result<()> {
        self.signal(Signal::SIGSTOP)
    }

    /// SIGCONT.
    pub fn thaw(&self) -> Result<()> {
        self.signal(Signal::SIGCONT)
    }

    /// CPU time used so far, user and system, seconds (proc(5) `stat`, fields 14 and 15, at 100 ticks a second).
    pub fn cpu_s(&self) -> Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let after = stat.rsplit_once(')').context("no command in stat")?.1;
        let ticks: u64 =
            after.split_whitespace().skip(11).take(2).filter_map(|n| n.parse::<u64>().ok()).sum();
        Ok(ticks as f64 / 100.0)
    }

    /// Everything sent so far, in order of time.
    pub fn sent(&self) -> Result<Vec<Sent>> {
        let text = std::fs::read_to_string(&self.log)?;
        // The last line may be half written while the server lives.
        let whole = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
        whole.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
    }

    /// What one track of one camera sent so far.
    pub fn sent_by(&self, mount: &str, track: usize) -> Result<Vec<Sent>> {
        Ok(self.sent()?.into_iter().filter(|sent| sent.mount == mount && sent.track == track).collect())
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill(Pid::from_raw(i32::try_from(self.child.id())?), signal)?)
    }

    fn command(&mut self, request: Value) -> Result<Value> {
        let stdin = self.stdin.as_mut().context("the camera server is closed")?;
        writeln!(stdin, "{request}")?;
        let answer = self.answer()?;
        if answer["ok"] != json!(true) {
            bail!("the camera server refused {request}: {answer}");
        }
        Ok(answer)
    }

    fn answer(&mut self) -> Result<Value> {
        let line = self.answers.recv_timeout(ANSWER_LIMIT).context("the camera server does not answer")?;
        Ok(serde_json::from_str(&line)?)
    }
}

impl Drop for CameraServer {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
