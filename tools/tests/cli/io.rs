//! What does the I/O of a volume: asked for in `keha.toml` and on the command line, told by `keha status` and over HTTP, and refused
//! with what to do where the system refuses it.

use crate::server::{Server, camera, command, configure};
use crate::support::{assert_refused, stderr, stdout, volume};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const STOP: Duration = Duration::from_secs(30);

/// `keha` in `dir` under a filter of system calls that refuses those of io_uring.
fn without_io_uring(dir: &Path, arguments: &[&str]) -> Command {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/scripts/confined.py");
    let plain = command(dir, arguments);
    let mut confined = Command::new("/usr/bin/python3");
    confined.arg(script).arg("--no-io-uring").arg(plain.get_program()).args(plain.get_args());
    for (name, value) in plain.get_envs() {
        match value {
            Some(value) => confined.env(name, value),
            None => confined.env_remove(name),
        };
    }
    confined.current_dir(dir);
    confined
}

/// What is told of the volume `main` by its control socket and over HTTP.
fn told(server: &Server, dir: &Path) -> (Value, Value) {
    server.await_samples("front", 5);
    let status = command(dir, &["status", "main.ring", "--json"]).output().expect("the binary runs");
    let status: Value = serde_json::from_slice(&status.stdout).expect("a document");
    let (code, body) = server.ask("GET", "/api/v1/volumes", "", None);
    assert_eq!(code, 200, "{body}");
    let volumes: Value = serde_json::from_str(&body).expect("a document");
    let over_http = ["io_engine", "io_depth", "io_why_threads"].map(|name| volumes[0][name].clone());
    (status["io"].clone(), over_http.into_iter().collect())
}

#[test]
fn what_is_asked_for_is_used_and_told() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    configure(dir.path(), &format!("io_engine = \"threads\"\nio_depth = 2\n{}", camera("front", "")));
    let mut server = Server::start(dir.path());
    let (status, over_http) = told(&server, dir.path());
    assert_eq!(status, json!({ "engine": "threads", "depth": 2, "why": null }));
    assert_eq!(over_http, json!(["threads", 2, null]));
    let people = command(dir.path(), &["status", "main.ring"]).output().expect("the binary runs");
    assert!(stdout(&people).contains("I/O by threads, 2 at once\n"), "{}", stdout(&people));
    let check = command(dir.path(), &["config", "check"]).output().expect("the binary runs");
    assert!(stdout(&check).contains("io_engine threads with 2 requests at once"), "{}", stdout(&check));
    assert_eq!(server.terminate(STOP).code(), Some(0), "{}", server.log());
}

#[test]
fn where_io_uring_is_refused_threads_serve_and_it_is_told_why() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    configure(dir.path(), &camera("front", ""));
    let mut server = Server::of(&mut without_io_uring(dir.path(), &["serve", "--http", "127.0.0.1:0"]));
    let (status, over_http) = told(&server, dir.path());
    assert_eq!((&status["engine"], &status["depth"]), (&json!("threads"), &json!(4)));
    let why = status["why"].as_str().expect("why");
    assert!(why.contains("a filter of system calls forbids it"), "{why}");
    assert_eq!(over_http, json!(["threads", 4, why]));
    let people = command(dir.path(), &["status", "main.ring"]).output().expect("the binary runs");
    assert!(stdout(&people).contains(&format!("I/O by threads, 4 at once: {why}\n")), "{}", stdout(&people));
    assert_eq!(server.terminate(STOP).code(), Some(0), "{}", server.log());
}

#[test]
fn where_io_uring_is_asked_for_and_refused_the_error_says_why_and_what_to_do() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let ring = volume(dir.path(), "64MiB");
    let arguments = [
        "record",
        ring,
        "--camera",
        "a=testsrc://?size=320x240",
        "--duration",
        "1s",
        "--io-engine",
        "io_uring",
    ];
    let output = without_io_uring(dir.path(), &arguments).output().expect("the binary runs");
    assert_refused(&output, 1, "cannot use io_uring: ");
    let said = stderr(&output);
    assert!(said.contains("allow io_uring_setup") && said.contains("or let threads do the I/O"), "{said}");
    configure(dir.path(), &format!("io_engine = \"io_uring\"\n{}", camera("front", "")));
    let mut server = Server::of(&mut without_io_uring(dir.path(), &["serve", "--http", "127.0.0.1:0"]));
    server.await_log("cannot use io_uring: ");
    server.await_log("tried again every 10 s");
    assert_eq!(server.terminate(STOP).code(), Some(0), "{}", server.log());
}

#[test]
fn an_engine_or_a_depth_that_there_is_not_is_wrong_usage() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let ring = volume(dir.path(), "64MiB");
    for (wrong, says) in [
        (["--io-engine", "uring"], "write auto, io_uring or threads"),
        (["--io-depth", "0"], "write a number from 1 to 32"),
        (["--io-depth", "33"], "write a number from 1 to 32"),
        (["--io-depth", "four"], "write a number from 1 to 32"),
    ] {
        let arguments = [&["record", ring, "--camera", "a=testsrc://"], &wrong[..]].concat();
        let output = command(dir.path(), &arguments).output().expect("the binary runs");
        assert_refused(&output, 2, says);
    }
}
