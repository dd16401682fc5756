//! The commands on volumes with the built binary: what works, and how bad volumes are refused.

use crate::support::{assert_refused, keha, names, run, stderr, stdout, volume};
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

#[test]
fn a_volume_is_created_and_looked_into() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let dry = run(dir.path(), &["volume", "create", "a.ring", "--size", "64MiB", "--dry-run"]);
    assert!(
        dry.status.success() && stdout(&dry).starts_with("would create a.ring: 64 MiB"),
        "{}",
        stdout(&dry)
    );
    assert!(names(dir.path()).is_empty());

    let path = volume(dir.path(), "64MiB");
    assert_eq!(fs::metadata(dir.path().join(path)).expect("there").len(), 64 << 20);
    for arguments in [
        &["volume", "info", path][..],
        &["volume", "info", path, "--json"],
        &["volume", "blocks", path],
        &["volume", "blocks", path, "--json"],
        &["volume", "dump", path, "--block", "0"],
        &["volume", "dump", path, "--block", "0", "--json"],
        &["volume", "check", path],
        &["volume", "check", path, "--json"],
    ] {
        let output = run(dir.path(), arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", stderr(&output));
        assert!(output.stderr.is_empty(), "{arguments:?}: {}", stderr(&output));
        if arguments.last() == Some(&"--json") {
            let document: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one document");
            assert!(
                document["schema"].as_str().is_some_and(|schema| schema.starts_with("keha.volume-")),
                "{document}"
            );
        }
    }
    let by_environment =
        keha().current_dir(dir.path()).env("KEHA_VOLUME", path).args(["volume", "info"]).output();
    assert!(stdout(&by_environment.expect("the binary runs")).contains("no streams yet"));
}

#[test]
fn a_volume_is_never_created_over_anything() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    fs::write(dir.path().join("a.ring"), "precious").expect("written");
    assert_refused(&run(dir.path(), &["volume", "create", "a.ring", "--size", "64MiB"]), 1, "already exists");
    assert_eq!(fs::read(dir.path().join("a.ring")).expect("there"), b"precious");
}

#[test]
fn a_volume_that_does_not_work_out_is_refused_before_anything_is_written() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    for (arguments, status) in [
        (&["--size", "1"][..], 1),
        (&["--size", "1MiB", "--streams", "1000"], 1),
        (&["--size", "64MiB", "--block-size", "3MiB"], 2),
        (&["--size", "64MiB", "--label", &"x".repeat(65)], 2),
        (&["--size", "8000000TiB"], 1),
    ] {
        let all = [&["volume", "create", "a.ring"], arguments].concat();
        assert_refused(&run(dir.path(), &all), status, "");
    }
    // More than any disk that this runs on has.
    assert_refused(&run(dir.path(), &["volume", "create", "a.ring", "--size", "60TiB"]), 1, "a.ring");
    assert_refused(
        &run(dir.path(), &["volume", "create", "no/such/a.ring", "--size", "64MiB"]),
        1,
        "no/such/a.ring",
    );
    assert!(names(dir.path()).is_empty(), "{:?}", names(dir.path()));
}

#[test]
fn what_is_no_volume_is_refused_with_one_line() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = |name: &str, bytes: &[u8]| fs::write(dir.path().join(name), bytes).expect("written");
    file("empty", b"");
    file("short", b"short");
    file("zeros", &vec![0; 1 << 20]);
    file(
        "random",
        &(0..1_u32 << 18).flat_map(|i| i.wrapping_mul(0x9E37_79B9).to_le_bytes()).collect::<Vec<u8>>(),
    );
    fs::create_dir(dir.path().join("directory")).expect("created");
    for command in ["info", "blocks", "check", "dump"] {
        let extra: &[&str] = if command == "dump" { &["--block", "0"] } else { &[] };
        for (name, says) in [
            ("missing", "missing: cannot open"),
            ("empty", "not a Keha volume"),
            ("short", "not a Keha volume"),
            ("zeros", "not a Keha volume"),
            ("random", "not a Keha volume"),
            ("directory", "directory"),
        ] {
            let arguments = [&["volume", command, name], extra].concat();
            assert_refused(&run(dir.path(), &arguments), 1, says);
        }
    }
}

#[test]
fn a_volume_without_permission_is_refused() {
    if nix::unistd::Uid::effective().is_root() {
        return;
    }
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = volume(dir.path(), "64MiB");
    fs::set_permissions(dir.path().join(path), fs::Permissions::from_mode(0o000)).expect("changed");
    assert_refused(&run(dir.path(), &["volume", "info", path]), 1, "ermission denied");
}

#[test]
fn an_image_cut_short_is_still_read() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = volume(dir.path(), "64MiB");
    let file = fs::OpenOptions::new().write(true).open(dir.path().join(path)).expect("there");
    file.set_len(40 << 20).expect("cut");
    let output = run(dir.path(), &["volume", "info", path]);
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert!(
        stdout(&output).contains("64 MiB in") && stdout(&output).contains("damaged "),
        "{}",
        stdout(&output)
    );
    assert_eq!(fs::metadata(dir.path().join(path)).expect("there").len(), 40 << 20, "reading writes nothing");
}

#[test]
fn a_stream_or_block_that_is_not_there_is_said() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = volume(dir.path(), "64MiB");
    assert_refused(&run(dir.path(), &["volume", "info", path, "--stream", "front"]), 1, "no stream");
    assert_refused(
        &run(dir.path(), &["volume", "dump", path, "--block", "4000000000"]),
        2,
        "the volume has blocks 0 to",
    );
}

#[test]
fn a_volume_grows_when_nobody_records_into_it() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = volume(dir.path(), "64MiB");
    let mut recorder = keha()
        .current_dir(dir.path())
        .env("KEHA_RUNTIME_DIR", dir.path())
        .args(["record", path, "--json", "--camera", "front=testsrc://?size=320x240"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary runs");
    let mut lines = BufReader::new(recorder.stdout.take().expect("its output")).lines();
    let mut seen = |event: &str| lines.by_ref().map_while(Result::ok).any(|line| line.contains(event));
    assert!(seen("\"started\"") && seen("\"round\""));
    assert_refused(
        &run(dir.path(), &["-q", "volume", "grow", path, "--size", "128MiB"]),
        1,
        "already open for writing",
    );
    recorder.kill().expect("killed");
    recorder.wait().expect("it ends");
    assert_eq!(fs::metadata(dir.path().join(path)).expect("there").len(), 64 << 20);

    assert_refused(&run(dir.path(), &["volume", "grow", path]), 1, "no room for one more block");
    let dry = run(dir.path(), &["volume", "grow", path, "--size", "128MiB", "--dry-run", "--json"]);
    let planned: serde_json::Value = serde_json::from_slice(&dry.stdout).expect("one document");
    assert_eq!(
        (planned["schema"].as_str(), planned["dry_run"].as_bool()),
        (Some("keha.volume-grow/1"), Some(true))
    );
    assert_eq!(planned["volume"]["size_bytes"], 128 << 20);
    assert_eq!(fs::metadata(dir.path().join(path)).expect("there").len(), 64 << 20, "a plan writes nothing");

    let grown = run(dir.path(), &["volume", "grow", path, "--size", "128MiB"]);
    assert!(
        grown.status.success() && stdout(&grown).starts_with("grew a.ring: from 64 MiB in "),
        "{}",
        stderr(&grown)
    );
    let info = run(dir.path(), &["volume", "info", path, "--json"]);
    let info: serde_json::Value = serde_json::from_slice(&info.stdout).expect("one document");
    assert_eq!(info["volume"], planned["volume"]);
    let check = run(dir.path(), &["volume", "check", path]);
    assert_eq!(check.status.code(), Some(0), "{}{}", stdout(&check), stderr(&check));
}
