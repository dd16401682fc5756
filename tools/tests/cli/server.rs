//! A `keha serve` under test, and what it is asked over HTTP and on its control sockets.

use crate::support::keha;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A server in a directory of its own; it is killed when the test is over.
pub(crate) struct Server {
    child: Child,
    address: String,
    log: Arc<Mutex<Vec<String>>>,
}

/// A directory with this configuration: a volume `main` and what follows.
pub(crate) fn directory(rest: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a temporary directory");
    configure(dir.path(), rest);
    dir
}

/// Writes the configuration anew.
pub(crate) fn configure(dir: &Path, rest: &str) {
    let volume = "[[volumes]]\nname = \"main\"\npath = \"main.ring\"\nsize = \"64MiB\"\n";
    let path = dir.join("keha.toml");
    fs::write(&path, format!("[server]\nstate = \"state\"\n{volume}{rest}")).expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("changed");
}

/// A built-in camera in a configuration.
pub(crate) fn camera(name: &str, more: &str) -> String {
    format!("[[cameras]]\nname = \"{name}\"\nurl = \"testsrc://?size=320x240&fps=10&gop=5\"\n{more}\n")
}

/// A command in `dir`, with control sockets of its own.
pub(crate) fn command(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = keha();
    command.current_dir(dir).env("KEHA_RUNTIME_DIR", dir.join("run")).args(arguments);
    command
}

impl Server {
    /// Starts `keha serve` in `dir` and waits until it listens.
    pub(crate) fn start(dir: &Path) -> Server {
        Server::of(&mut command(dir, &["serve", "--http", "127.0.0.1:0"]))
    }

    /// Starts a command that serves, and waits until it listens.
    pub(crate) fn of(command: &mut Command) -> Server {
        let mut child =
            command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the binary runs");
        let stderr = BufReader::new(child.stderr.take().expect("a pipe"));
        let log = Arc::new(Mutex::new(Vec::new()));
        let lines = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                lines.lock().expect("no panic").push(line);
            }
        });
        let mut server = Server { child, address: String::new(), log };
        server.address = until("it listens", || {
            let log = server.log();
            let at = log.split("serving at ").nth(1)?;
            at.split('/').nth(2).map(str::to_owned)
        });
        server
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// What it said on standard error so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().expect("no panic").join("\n")
    }

    pub(crate) fn await_log(&self, says: &str) {
        until(says, || self.log().contains(says).then_some(()));
    }

    /// Asks; answers status and body.
    pub(crate) fn ask(&self, method: &str, path: &str, body: &str, login: Option<&str>) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
        let login = login.map(|login| format!("Authorization: {login}\r\n")).unwrap_or_default();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{login}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        );
        stream.write_all(request.as_bytes()).expect("it is taken");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let (head, body) = answer.split_once("\r\n\r\n").expect("head and body");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        (status, body.to_owned())
    }

    /// What it says of a camera.
    pub(crate) fn camera(&self, name: &str) -> Option<Value> {
        let (status, body) = self.ask("GET", &format!("/api/v1/cameras/{name}"), "", None);
        (status == 200).then(|| serde_json::from_str(&body).expect("a document"))
    }

    /// Waits until a camera's stream has recorded so many samples; what it says of the camera then.
    pub(crate) fn await_samples(&self, name: &str, samples: u64) -> Value {
        until(name, || {
            let camera = self.camera(name)?;
            let there = camera["streams"][0]["samples"].as_u64()? >= samples;
            (there && camera["streams"][0]["state"] == "recording").then_some(camera)
        })
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).expect("a process id");
        kill(Pid::from_raw(pid), signal).expect("it runs");
    }

    /// SIGTERM, and the end, for which it has `patience`.
    pub(crate) fn terminate(&mut self, patience: Duration) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        let end = Instant::now() + patience;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status;
            }
            assert!(Instant::now() < end, "it does not end: {}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// SIGKILL.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits for an answer, for a bounded time.
pub(crate) fn until<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ready() {
            return answer;
        }
        assert!(Instant::now() < end, "waited in vain for: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// How many samples, runs and gaps a stream of a closed volume has.
pub(crate) fn recorded(dir: &Path, volume: &str, stream: &str) -> (u64, usize, usize) {
    let path: PathBuf = dir.join(volume);
    let volume = keha_fs::Volume::open(&path).expect("a volume");
    let name = keha_fs::StreamName::new(stream).expect("a name");
    let stream = volume.stream(&name).expect("the stream");
    let mut cursor = volume.read(stream.id, keha_fs::TimeRange::default()).expect("readable");
    let (mut samples, mut runs, mut gaps) = (0, 0, 0);
    while let Some(item) = cursor.next_item().expect("readable") {
        match item {
            keha_fs::Item::Sample(_) => samples += 1,
            keha_fs::Item::Run(_) => runs += 1,
            keha_fs::Item::Gap(_) => gaps += 1,
            _ => {}
        }
    }
    (samples, runs, gaps)
}
