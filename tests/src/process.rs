//! The real `keha` binary as a child: started, watched line by line, stopped, killed; never left behind.
//!
//! The binary is the one beside the test executable (`make test` builds it first), or the one named by `KEHA_BIN`.

use crate::ground::launch;
use crate::wait;
use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long a killed child may take to be gone.
const GONE_LIMIT: Duration = Duration::from_secs(10);

/// The directory the running test was built into: `target/PROFILE`.
pub fn build_dir() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let mut dir = own.parent().context("an executable without a directory")?;
    if dir.ends_with("deps") {
        dir = dir.parent().context("deps without a parent")?;
    }
    Ok(dir.to_owned())
}

/// The `keha` binary under test.
pub fn keha_binary() -> Result<PathBuf> {
    let path = match std::env::var_os("KEHA_BIN") {
        Some(path) => PathBuf::from(path),
        None => build_dir()?.join("keha"),
    };
    if !path.exists() {
        bail!("no binary at {}: run `cargo build -p keha` first, or name one by KEHA_BIN", path.display());
    }
    Ok(path)
}

/// A `keha` command to its end, at most `limit`; a longer one is killed and an error.
pub fn keha<A: AsRef<OsStr>>(arguments: &[A], limit: Duration) -> Result<Output> {
    let mut child = Running::keha(arguments)?;
    let status = child.wait(limit)?;
    let (stdout, stderr) = (child.stdout().join("\n").into_bytes(), child.stderr().join("\n").into_bytes());
    Ok(Output { status, stdout, stderr })
}

/// A `keha` command that must end with status 0 within `limit`; answers its stdout.
pub fn keha_ok<A: AsRef<OsStr>>(arguments: &[A], limit: Duration) -> Result<String> {
    let output = keha(arguments, limit)?;
    if !output.status.success() {
        let shown: Vec<_> = arguments.iter().map(|a| a.as_ref().to_string_lossy()).collect();
        bail!("keha {}: {}\n{}", shown.join(" "), output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8(output.stdout)?)
}

type Lines = Arc<Mutex<Vec<(u64, String)>>>;

/// A running child whose output is collected; killed when dropped.
pub struct Running {
    child: Child,
    stdout: Lines,
    stderr: Lines,
    readers: Vec<std::thread::JoinHandle<()>>,
}

impl Running {
    /// Starts `keha` with these arguments.
    pub fn keha<A: AsRef<OsStr>>(arguments: &[A]) -> Result<Self> {
        Self::keha_with(arguments, |_| Ok(()))
    }

    /// Starts `keha` with these arguments in an environment of its own, and as the ground of the volume that they name says
    /// ([`crate::ground`]).
    pub fn keha_with<A: AsRef<OsStr>>(
        arguments: &[A],
        prepare: impl FnOnce(&mut Command) -> Result<()>,
    ) -> Result<Self> {
        let mut command = launch::command(arguments)?;
        prepare(&mut command)?;
        Self::start(&mut command)
    }

    /// Starts any command.
    pub fn start(command: &mut Command) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {command:?}"))?;
        let (stdout, stderr) = (Lines::default(), Lines::default());
        let readers = vec![
            collect(child.stdout.take().context("no stdout")?, stdout.clone()),
            collect(child.stderr.take().context("no stderr")?, stderr.clone()),
        ];
        Ok(Self { child, stdout, stderr, readers })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill(Pid::from_raw(i32::try_from(self.child.id())?), signal)?)
    }

    /// Waits for the end, at most `limit`; kills it and fails when that is over.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let ended = wait::until("a child to end", limit, || Ok(self.child.try_wait()?));
        if ended.is_err() {
            self.give_up();
            let stderr = self.stderr();
            let last = &stderr[stderr.len().saturating_sub(20)..];
            return ended.with_context(|| format!("killed it; the end of its stderr:\n{}", last.join("\n")));
        }
        self.drain();
        ended
    }

    /// SIGTERM, and the end within `limit`.
    pub fn terminate(&mut self, limit: Duration) -> Result<ExitStatus> {
        self.signal(Signal::SIGTERM)?;
        self.wait(limit)
    }

    /// SIGKILL, and reaped; answers when, Unix nanoseconds, as seen just before.
    pub fn kill(&mut self) -> Result<u64> {
        let when = now_ns();
        self.child.kill()?;
        self.child.wait()?;
        self.drain();
        Ok(when)
    }

    /// The end, if it has come.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Lines on stdout so far.
    pub fn stdout(&self) -> Vec<String> {
        texts(&self.stdout)
    }

    /// Lines on stdout so far, each with the Unix time at which it came, nanoseconds.
    pub fn stdout_timed(&self) -> Vec<(u64, String)> {
        self.stdout.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Lines on stderr so far.
    pub fn stderr(&self) -> Vec<String> {
        texts(&self.stderr)
    }

    /// Lines on stdout so far that are JSON documents.
    pub fn json(&self) -> Vec<serde_json::Value> {
        self.stdout().iter().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// SIGKILL, and a while for it: who waits in the kernel for a disk that stalls is left behind, or the stall would never end.
    fn give_up(&mut self) {
        self.child.kill().ok();
        wait::until("a killed child to be gone", GONE_LIMIT, || Ok(self.child.try_wait()?)).ok();
    }

    fn drain(&mut self) {
        for reader in self.readers.drain(..) {
            // A reader cannot fail; a grandchild holding the pipe open is not something these tests start.
            reader.join().ok();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.give_up();
        }
    }
}

fn texts(lines: &Lines) -> Vec<String> {
    lines.lock().unwrap_or_else(PoisonError::into_inner).iter().map(|(_, line)| line.clone()).collect()
}

fn collect(from: impl Read + Send + 'static, to: Lines) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned();
            to.lock().unwrap_or_else(PoisonError::into_inner).push((now_ns(), line));
        }
    })
}

/// Unix time, nanoseconds.
pub fn now_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}
