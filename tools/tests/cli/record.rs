//! `keha record`, `export`, `status` and `demo` with the built binary and the built-in camera, and how they are refused.

use crate::support::{assert_refused, keha, names, run, stderr, stdout, volume};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

const SMALL: &str = "a=testsrc://?size=320x240&fps=10&gop=10";
const PATIENCE: Duration = Duration::from_secs(60);

/// A recorder that writes documents; it is killed when the test is over.
struct Recorder {
    child: Child,
    lines: Receiver<String>,
}

impl Recorder {
    fn start(dir: &Path, arguments: &[&str]) -> Recorder {
        let mut command = recorder(dir, arguments);
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary runs");
        let stdout = child.stdout.take().expect("a pipe");
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            let lines = BufReader::new(stdout).lines().map_while(Result::ok);
            for line in lines {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Recorder { child, lines }
    }

    /// Waits for a document that `wanted` accepts.
    fn await_document(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + PATIENCE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left).expect("a document in time");
            let document: Value = serde_json::from_str(&line).expect("each line is a document");
            assert_eq!(document["schema"], "keha.record/1");
            if wanted(&document) {
                return document;
            }
        }
    }

    fn await_durable(&self) {
        self.await_document(|document| {
            document["event"] == "round"
                && document["streams"][0]["durable"]["tracks"][0]["samples"]
                    .as_u64()
                    .is_some_and(|samples| samples > 20)
        });
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).expect("a process id");
        kill(Pid::from_raw(pid), signal).expect("it runs");
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn recorder(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = keha();
    command.current_dir(dir).env("KEHA_RUNTIME_DIR", dir.join("run")).arg("record").args(arguments);
    command
}

fn seconds_recorded(dir: &Path, seconds: &str) {
    let output = recorder(dir, &["a.ring", "--camera", SMALL, "--duration", seconds])
        .output()
        .expect("the binary runs");
    assert!(output.status.success() && output.stderr.is_empty(), "{}", stderr(&output));
    let said = stdout(&output);
    assert!(said.contains("a: recording") && said.contains("everything is on the disk"), "{said}");
}

#[test]
fn what_is_recorded_is_exported() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    volume(dir.path(), "64MiB");
    seconds_recorded(dir.path(), "4s");
    let dry = run(dir.path(), &["export", "a.ring", "--stream", "a", "--dry-run"]);
    assert!(dry.status.success() && stdout(&dry).contains("video avc1 320x240"), "{}", stdout(&dry));
    assert_eq!(names(dir.path()), ["a.ring", "run"]);

    let export = ["export", "a.ring", "--stream", "a", "--from", "-10m", "--to", "now", "-o", "out.mkv"];
    let output = run(dir.path(), &export);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(
        stderr(&output).starts_with("range: from ") && stderr(&output).contains("(10m)"),
        "{}",
        stderr(&output)
    );
    assert!(stdout(&output).starts_with("out.mkv: "), "{}", stdout(&output));
    assert_eq!(names(dir.path()), ["a.ring", "out.mkv", "out.mkv.json", "run"]);
    assert_refused(&run(dir.path(), &export), 1, "--force");
    let again = run(dir.path(), &[&["-q"], &export[..], &["--force"]].concat());
    assert!(again.status.success() && again.stderr.is_empty(), "{}", stderr(&again));

    let piped = run(dir.path(), &["-q", "export", "a.ring", "--stream", "a", "-o", "-"]);
    assert!(
        piped.status.success() && piped.stdout.starts_with(&[0x1a, 0x45, 0xdf, 0xa3]),
        "{}",
        stderr(&piped)
    );
    for (arguments, status, says) in [
        (&["--stream", "b"][..], 1, "no stream b"),
        (
            &["--stream", "a", "--from", "2001-01-01T00:00:00Z", "--to", "2001-01-02T00:00:00Z"],
            4,
            "available: a from",
        ),
        (&["--stream", "a", "--from", "now", "--to", "-1m"], 2, "is not before --to"),
        (&["--stream", "a", "--duration", "5s"], 2, "--from"),
        (&["--stream", "a", "--from", "2026-10-25T03:30:00[Europe/Helsinki]"], 2, "happens twice"),
        (&["--stream", "a", "--run", "0"], 2, "counted from 1"),
        (&["--stream", "a", "--run", "9"], 2, "no run 9"),
        (&["--stream", "a", "--stream", "a"], 2, "twice"),
    ] {
        let all = [&["export", "a.ring", "-o", "other.mkv"], arguments].concat();
        assert_refused(&run(dir.path(), &all), status, says);
    }
    assert_refused(
        &run(dir.path(), &["export", "a.ring", "--stream", "a", "-o", "no/such/out.mkv"][..]),
        1,
        "no/such",
    );
    assert!(!names(dir.path()).iter().any(|name| name.contains("other") || name.contains("partial")));
}

#[test]
fn a_closed_pipe_leaves_an_export_incomplete_and_says_so() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    volume(dir.path(), "64MiB");
    seconds_recorded(dir.path(), "3s");
    let mut command = keha();
    command.current_dir(dir.path()).args(["-q", "export", "a.ring", "--stream", "a", "-o", "-"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary runs");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert_eq!(stderr(&output).lines().count(), 1, "{}", stderr(&output));
}

#[test]
fn a_recorder_tells_what_it_does_and_stops_cleanly() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let dir = tempfile::tempdir().expect("a temporary directory");
        volume(dir.path(), "64MiB");
        let mut recorder = Recorder::start(dir.path(), &["a.ring", "--json", "--camera", SMALL]);
        let started = recorder.await_document(|document| document["event"] == "started");
        assert_eq!(started["volume"]["path"], "a.ring");
        recorder.await_durable();

        let status = |arguments: &[&str]| {
            let mut command = keha();
            command.current_dir(dir.path()).env("KEHA_RUNTIME_DIR", dir.path().join("run")).arg("status");
            command.args(arguments).output().expect("the binary runs")
        };
        let answer = status(&["a.ring", "--json"]);
        let document: Value = serde_json::from_slice(&answer.stdout).expect("a document");
        assert_eq!(
            (&document["schema"], &document["streams"][0]["name"]),
            (&"keha.status/1".into(), &"a".into())
        );
        assert!(stdout(&status(&["a.ring"])).contains("recording"));
        let second = run(dir.path(), &["record", "a.ring", "--camera", SMALL, "--duration", "1s"]);
        assert_refused(&second, 1, "already open for writing");

        recorder.signal(signal);
        let stopped = recorder.await_document(|document| document["event"] == "stopped");
        assert_eq!((&stopped["reason"], &stopped["all_written"]), (&signal.as_str().into(), &true.into()));
        assert_eq!(recorder.child.wait().expect("it ends").code(), Some(0));
        assert!(names(&dir.path().join("run")).is_empty(), "the control socket is gone");
        assert_refused(&status(&["a.ring"]), 1, "nobody records into it");
        let check = run(dir.path(), &["volume", "check", "a.ring"]);
        assert!(check.status.success(), "{}", stdout(&check));
    }
}

#[test]
fn a_service_manager_hears_when_it_is_ready_alive_and_stopping() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    volume(dir.path(), "64MiB");
    let path = dir.path().join("notify");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    socket.set_read_timeout(Some(PATIENCE)).expect("set");
    let mut command = recorder(dir.path(), &["a.ring", "--json", "--camera", SMALL]);
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "3000000");
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary runs");
    let heard = |wanted: &str| {
        let mut message = [0; 4096];
        // Status and signs of life come every second: a bounded number of them lies between two others.
        (0..200).any(|_| {
            socket.recv(&mut message).is_ok_and(|n| String::from_utf8_lossy(&message[..n]).contains(wanted))
        })
    };
    assert!(heard("READY=1") && heard("WATCHDOG=1") && heard("STATUS=1 of 1 streams recording"));
    let pid = i32::try_from(child.id()).expect("a process id");
    kill(Pid::from_raw(pid), Signal::SIGTERM).expect("it runs");
    assert!(heard("STOPPING=1"));
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}

#[test]
fn recording_goes_on_when_nobody_reads_its_documents() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    volume(dir.path(), "64MiB");
    let mut command = recorder(dir.path(), &["a.ring", "--json", "--camera", SMALL, "--duration", "3s"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary runs");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stderr(&output).contains("recording goes on without it"), "{}", stderr(&output));
    let info = run(dir.path(), &["volume", "info", "a.ring", "--json"]);
    let info: Value = serde_json::from_slice(&info.stdout).expect("a document");
    assert!(info["streams"][0]["samples"].as_u64().is_some_and(|samples| samples >= 10), "{info}");
}

#[test]
fn a_recorder_is_refused_before_anything_is_written() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    volume(dir.path(), "16MiB");
    let path = dir.path().join("cameras.toml");
    fs::write(&path, "[[cameras]]\nname = \"a\"\nurl = \"rtsp://u:hunter2@127.0.0.1/\"\n").expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("changed");
    let before = fs::read(dir.path().join("a.ring")).expect("there");
    let many: Vec<String> = (0..100).map(|i| format!("--camera=c{i}=testsrc://")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    for (arguments, status, says) in [
        (&["a.ring"][..], 2, "--camera"),
        (&["--camera", SMALL], 2, "KEHA_VOLUME"),
        (&["missing.ring", "--camera", SMALL], 1, "missing.ring"),
        (&["a.ring", "--camera", "front"], 2, "NAME=URL"),
        (&["a.ring", "--camera", "Front=testsrc://"], 2, "name"),
        (&["a.ring", "--camera", "a/sub=testsrc://"], 2, "name"),
        (&["a.ring", "--camera", "a=http://u:hunter2@h/"], 2, "rtsp://"),
        (&["a.ring", "--camera", "a=testsrc://?colour=red"], 2, "colour"),
        (&["a.ring", "--camera", "a=u:hunter2@h"], 2, "a"),
        (&["a.ring", "--camera", SMALL, "--camera", SMALL], 2, "given twice"),
        (&["a.ring", "--camera", SMALL, "--duration", "0s"], 2, "longer than zero"),
        (&["a.ring", "--camera", SMALL, "--duration", "30"], 2, "30s"),
        (&["a.ring", "--cameras", "missing.toml"], 1, "missing.toml"),
        (&["a.ring", "--cameras", "cameras.toml"], 1, "chmod 600"),
        (&[&["a.ring"], &many[..]].concat(), 1, "streams"),
    ] {
        let output = recorder(dir.path(), arguments).output().expect("the binary runs");
        assert_refused(&output, status, says);
        assert!(!stderr(&output).contains("hunter2"), "{}", stderr(&output));
    }
    assert!(fs::read(dir.path().join("a.ring")).expect("there") == before, "the volume was written");
    assert_eq!(names(dir.path()), ["a.ring", "cameras.toml"]);
}

#[test]
fn a_recording_without_a_picture_fails_with_the_reason_and_no_secret() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    volume(dir.path(), "16MiB");
    // Nobody listens on a port that was just free.
    let port =
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port();
    let camera = format!("a=rtsp://viewer:hunter2@127.0.0.1:{port}/live");
    let output =
        recorder(dir.path(), &["-vvv", "a.ring", "--camera", &camera, "--json", "--duration", "2s"]).output();
    let output = output.expect("the binary runs");
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let last = stderr(&output).lines().last().unwrap_or_default().to_owned();
    assert!(last.starts_with("keha: nothing was recorded: a: ") && last.contains("refused"), "{last}");
    let shown = stdout(&output) + &stderr(&output);
    assert!(shown.contains("viewer:***@") && !shown.contains("hunter2"), "{shown}");
}

#[test]
fn the_demo_goes_on_where_it_stopped() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    for (says, turn) in [("created", 1), ("goes on", 2)] {
        let mut command = keha();
        command.current_dir(dir.path()).env("KEHA_RUNTIME_DIR", dir.path().join("run"));
        let output =
            command.args(["demo", "--size", "64MiB", "--duration", "3s"]).output().expect("the binary runs");
        let said = stderr(&output);
        assert!(
            output.status.success()
                && said.contains(says)
                && said.contains(" export keha-data/demo.ring")
                && said.contains("serving at http://127.0.0.1:"),
            "{said}"
        );
        let info = run(dir.path(), &["volume", "info", "keha-data/demo.ring", "--json"]);
        let info: Value = serde_json::from_slice(&info.stdout).expect("a document");
        let streams = info["streams"].as_array().expect("streams");
        assert_eq!(streams.len(), 4);
        assert!(
            streams.iter().all(|stream| stream["samples"].as_u64().is_some_and(|n| n >= 5 * turn)),
            "{info}"
        );
    }
}
