//! `keha serve` with the built binary and built-in cameras: what it records, what it makes of changes and of what is missing,
//! and how it ends.

use crate::server::{Server, camera, command, configure, directory, recorded, until};
use crate::support::{assert_refused, names, run, stderr, stdout};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::fs;
use std::io::{ErrorKind, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Within which a server that is told to stop has ended.
const STOP: Duration = Duration::from_secs(5);

#[test]
fn a_server_records_its_cameras_is_asked_and_stops_losing_nothing() {
    let sub = "[[cameras.streams]]\nname = \"sub\"\nurl = \"testsrc://?size=320x240&fps=5\"";
    let dir = directory(&format!("{}{}", camera("front", sub), camera("yard", "")));
    let mut server = Server::start(dir.path());
    let front = server.await_samples("front", 10);
    assert_eq!(front["streams"].as_array().map(Vec::len), Some(2));
    server.await_samples("yard", 10);
    assert_eq!(server.ask("GET", "/healthz", "", None).0, 200);

    // The control socket works as that of keha record.
    until("all streams to be told", || {
        let status =
            command(dir.path(), &["status", "main.ring", "--json"]).output().expect("the binary runs");
        let status: Value = serde_json::from_slice(&status.stdout).expect("a document");
        (status["streams"].as_array()?.len() == 3).then_some(())
    });
    let hold =
        ["hold", "add", "main.ring", "--stream", "yard", "--from", "-1s", "--to", "now", "--label", "x"];
    let held = command(dir.path(), &hold).output().expect("the binary runs");
    assert!(held.status.success(), "{}", stderr(&held));
    let mut second =
        command(dir.path(), &["record", "main.ring", "--camera", "a=testsrc://", "--duration", "1s"]);
    assert_refused(&second.output().expect("the binary runs"), 1, "already open for writing");

    let counted = server.await_samples("front", 20)["streams"][0]["samples"].as_u64().expect("a number");
    assert_eq!(server.terminate(STOP).code(), Some(0), "{}", server.log());
    assert!(server.log().contains("stopped (SIGTERM), everything is on the disk"), "{}", server.log());
    assert!(names(&dir.path().join("run")).is_empty(), "the control socket is gone");
    let (samples, runs, gaps) = recorded(dir.path(), "main.ring", "front");
    assert!(samples >= counted && (runs, gaps) == (1, 0), "{samples} of {counted}, {runs}, {gaps}");
    assert!(run(dir.path(), &["volume", "check", "main.ring"]).status.success());
}

#[test]
fn a_missing_volume_keeps_nothing_else_from_being_recorded_and_is_tried_again() {
    let volumes = "[[volumes]]\nname = \"away\"\npath = \"away/away.ring\"\nsize = \"64MiB\"\n[[volumes]]\nname = \"bad\"\npath = \"bad.ring\"\n";
    let (b, c) = (camera("b", "volume = \"away\""), camera("c", "volume = \"bad\""));
    let dir = directory(&format!("{volumes}{}{b}{c}", camera("a", "")));
    fs::write(dir.path().join("bad.ring"), "no volume").expect("written");
    let mut server = Server::start(dir.path());
    server.await_samples("a", 10);
    for (name, says) in [("b", "away.ring: "), ("c", "bad.ring: ")] {
        // While it is being tried again, that is what is told.
        until(name, || {
            let stream = server.camera(name)?["streams"][0].clone();
            assert_eq!(stream["state"], "no_volume");
            assert_eq!(stream["last_sample"], Value::Null);
            stream["last_error"].as_str()?.contains(says).then_some(())
        });
        server.await_log(says);
    }
    let since = |name: &str| server.camera(name).map(|camera| camera["streams"][0]["since"].clone());
    assert_eq!(since("b"), since("b"), "it is not the moment of asking");
    until("the volume's trouble to be told", || {
        let volumes = server.ask("GET", "/api/v1/volumes", "", None).1;
        (volumes.contains("\"away\"") && volumes.contains("away.ring: ")).then_some(())
    });
    fs::create_dir(dir.path().join("away")).expect("created");
    server.await_samples("b", 5);
    assert_eq!(server.terminate(STOP).code(), Some(0), "{}", server.log());
    assert_eq!(recorded(dir.path(), "main.ring", "a").1, 1, "it was not touched by that");
}

#[test]
fn a_file_that_is_read_again_changes_what_changed_in_it_and_nothing_else() {
    let before = [camera("stays", ""), camera("goes", ""), camera("changes", "")].concat();
    let dir = directory(&before);
    let mut server = Server::start(dir.path());
    for name in ["stays", "goes", "changes"] {
        server.await_samples(name, 10);
    }
    configure(dir.path(), &format!("{before}[[cameras]]\nname = \"wrong\"\n"));
    server.signal(Signal::SIGHUP);
    server.await_log("nothing was changed");
    assert!(server.log().contains("missing field `url`"), "{}", server.log());
    assert!(server.camera("wrong").is_none() && server.camera("goes").is_some());

    let other = "[[cameras]]\nname = \"changes\"\nurl = \"testsrc://?size=640x360&fps=10&gop=5\"\n";
    let more = "[[volumes]]\nname = \"more\"\npath = \"more.ring\"\nsize = \"64MiB\"\n";
    let new = camera("new", "volume = \"more\"");
    configure(dir.path(), &format!("{more}{}{other}{new}", camera("stays", "")));
    // What is said of a volume that stays where it is interrupts none of its cameras.
    let path = dir.path().join("keha.toml");
    let text = fs::read_to_string(&path).expect("there");
    let text = text.replacen("size = \"64MiB\"", "size = \"128MiB\"\nscrub = \"7d\"\nio_depth = 1", 1);
    fs::write(&path, text.replacen("[server]", "[server]\ncache = \"1MiB\"", 1)).expect("written");
    server.signal(Signal::SIGHUP);
    server.await_log("read again");
    for says in [
        "keeps the size that it has",
        "scrub was changed",
        "io_depth was changed: that counts when",
        "from the next start on: cache",
    ] {
        server.await_log(says);
    }
    until("the new address", || {
        let camera = server.camera("changes")?;
        (camera["streams"][0]["tracks"][0]["width"] == 640).then_some(())
    });
    server.await_samples("new", 10);
    assert!(server.camera("goes").is_none());
    let stays = server.await_samples("stays", 20);
    assert_eq!(stays["streams"][0]["gaps"], 0);
    assert_eq!(server.terminate(STOP).code(), Some(0), "{}", server.log());
    assert_eq!(recorded(dir.path(), "main.ring", "stays").1, 1);
    assert_eq!(recorded(dir.path(), "main.ring", "changes").1, 2);
    assert!(recorded(dir.path(), "more.ring", "new").0 >= 10);
}

#[test]
fn cameras_that_are_added_over_http_are_there_after_a_kill_and_show_no_secret() {
    let dir = directory(&camera("a", ""));
    let server = Server::start(dir.path());
    server.await_samples("a", 1);
    let added = r#"{"name":"b","url":"testsrc://?size=320x240&fps=10&gop=5","streams":[{"name":"sub","url":"rtsp://u:hunter22@127.0.0.1:1/x"}]}"#;
    let (status, said) = server.ask("POST", "/api/v1/cameras", added, None);
    assert_eq!(status, 201, "{said}");
    server.await_samples("b", 1);
    for (body, expected) in [
        (added, 409),
        (r#"{"name":"a","url":"testsrc://"}"#, 409),
        (r#"{"name":"c","url":"http://u:hunter22@h/"}"#, 422),
        (r#"{"name":"c","url":"testsrc://","volume":"attic"}"#, 422),
    ] {
        let (status, said) = server.ask("POST", "/api/v1/cameras", body, None);
        assert_eq!(status, expected, "{body}: {said}");
        assert!(!said.contains("hunter22"), "{said}");
    }
    for (method, body) in [("DELETE", ""), ("PUT", r#"{"url":"testsrc://"}"#)] {
        let (status, said) = server.ask(method, "/api/v1/cameras/a", body, None);
        assert_eq!(status, 409, "{said}");
    }
    let off = server.ask("PUT", "/api/v1/cameras/b/streams/main/recording", r#"{"on":false}"#, None);
    assert_eq!(off.0, 204, "{}", off.1);
    assert_eq!(server.camera("b").expect("there")["streams"][0]["state"], "stopped");
    let kept = dir.path().join("state/cameras.json");
    assert_eq!(fs::metadata(&kept).expect("there").permissions().mode() & 0o777, 0o600);
    let said = server.log() + &server.camera("b").expect("there").to_string();
    assert!(!said.contains("hunter22"), "{said}");
    server.kill();

    // What was stopped stays so, and a file that is damaged keeps no camera from being recorded.
    fs::write(dir.path().join("state/exports.json"), "{").expect("written");
    let mut server = Server::start(dir.path());
    server.await_log("exports.json.damaged-1");
    server.await_samples("a", 5);
    let main = server.camera("b").expect("there")["streams"][0].clone();
    assert_eq!((&main["state"], &main["samples"]), (&"stopped".into(), &0.into()), "{main}");
    let on = server.ask("PUT", "/api/v1/cameras/b/streams/main/recording", r#"{"on":true}"#, None);
    assert_eq!(on.0, 204, "{}", on.1);
    let b = server.await_samples("b", 5);
    assert_eq!((&b["read_only"], b["streams"].as_array().map(Vec::len)), (&false.into(), Some(2)));
    let changed = r#"{"url":"testsrc://?size=640x360&fps=10&gop=5"}"#;
    assert_eq!(server.ask("PUT", "/api/v1/cameras/b", changed, None).0, 204);
    until("the change", || (server.camera("b")?["streams"][0]["tracks"][0]["width"] == 640).then_some(()));
    assert_eq!(server.ask("DELETE", "/api/v1/cameras/b", "", None).0, 204);
    assert!(server.camera("b").is_none());
    assert!(!fs::read_to_string(&kept).expect("there").contains("\"b\""));
    assert_eq!(server.ask("DELETE", "/api/v1/cameras/b", "", None).0, 404);
    assert_eq!(server.terminate(STOP).code(), Some(0), "{}", server.log());
    assert!(recorded(dir.path(), "main.ring", "b").0 >= 5, "its footage stays");
    assert_in_the_manual(&dir.path().join("state"));
}

/// The manual's table of the state directory lacked half of what is in it.
fn assert_in_the_manual(state: &Path) {
    let manual = include_str!("../../../docs/command-line.md");
    let (_, section) = manual.split_once("### The state directory").expect("its section");
    let rows =
        section.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    let listed: Vec<&str> = rows
        .filter_map(|row| row.split('|').nth(1))
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .collect();
    let known = |name: &str| {
        let name = name.split(".damaged-").next().unwrap_or(name);
        let name = name.trim_end_matches(".lock").trim_end_matches(".new");
        listed.iter().any(|listed| match listed.split_once('*') {
            Some((begin, end)) => name.starts_with(begin) && name.ends_with(end),
            None => *listed == name,
        })
    };
    let there = names(state);
    let unknown: Vec<&String> = there.iter().filter(|name| !known(name)).collect();
    assert!(there.len() >= 5 && unknown.is_empty(), "{unknown:?} of {there:?} and {listed:?}");
}

#[test]
fn a_server_that_cannot_start_says_why_in_one_line() {
    let dir = directory(&camera("a", ""));
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let serve = |arguments: &[&str]| {
        command(dir.path(), &[&["serve"], arguments].concat()).output().expect("the binary runs")
    };
    assert_refused(&serve(&["--config", "missing.toml"]), 1, "missing.toml: cannot open");
    assert_refused(&serve(&["--http", "8480"]), 2, "127.0.0.1:8480");
    assert_refused(&serve(&["--http", &address]), 1, "cannot listen on");
    assert_refused(&serve(&["--http", "0.0.0.0:0"]), 2, "keha user add");
    fs::write(dir.path().join("bare.toml"), "[[volumes]]\nname = \"a\"\npath = \"a.ring\"\n")
        .expect("written");
    assert_refused(&serve(&["--config", "bare.toml"]), 2, "give --state");
    assert!(!names(dir.path()).iter().any(|name| name.ends_with(".ring")), "nothing was recorded");

    let check = run(dir.path(), &["config", "check"]);
    assert!(
        check.status.success() && stdout(&check).contains("camera a in volume main"),
        "{}",
        stdout(&check)
    );
    configure(dir.path(), "[[cameras]]\nnam = \"a\"\n");
    assert_refused(
        &run(dir.path(), &["config", "check"]),
        2,
        "keha.toml: line 8: camera ?: unknown key \"nam\"",
    );
}

#[test]
fn the_demo_is_a_server_and_takes_the_next_port_where_the_usual_one_is_taken() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    // Either this test has it or somebody else.
    let _taken = TcpListener::bind("127.0.0.1:8480");
    let mut demo = Server::of(&mut command(dir.path(), &["demo", "--size", "64MiB"]));
    assert!(!demo.address().ends_with(":8480"), "{}", demo.address());
    for name in ["gate", "hall", "yard", "dock"] {
        demo.await_samples(name, 5);
    }
    assert_eq!(demo.terminate(STOP).code(), Some(0), "{}", demo.log());
}

#[test]
fn the_services_are_what_systemd_understands() {
    let dist = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dist");
    let dir = tempfile::tempdir().expect("a temporary directory");
    for name in ["keha.service", "keha-record.service"] {
        let text = fs::read_to_string(dist.join(name)).expect("there");
        // Neither program nor manual need be installed here.
        let text: Vec<String> = text
            .lines()
            .filter(|line| !line.starts_with("Documentation="))
            .map(|line| line.replace("ExecStart=/usr/bin/keha", "ExecStart=/bin/true"))
            .collect();
        let path = dir.path().join(name);
        fs::write(&path, text.join("\n")).expect("written");
        let output = match Command::new("systemd-analyze").arg("verify").arg(&path).output() {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                // Past the harness, which shows nothing of what passes; `.ci/run` counts such lines.
                let name = std::thread::current().name().unwrap_or("a test").to_owned();
                let why = "systemd-analyze is not installed (1 so far)";
                writeln!(std::io::stderr(), "\nnot tried: {name}: {why}").ok();
                return;
            }
            output => output.expect("systemd-analyze"),
        };
        let said = stderr(&output);
        assert!(output.status.success() && !said.contains(name), "{said}");
    }
}
