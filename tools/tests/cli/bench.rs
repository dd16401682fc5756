//! `keha bench` with the built binary: that it measures, leaves nothing behind, and begins nothing for which there is no room. How fast
//! anything was is never asked.

use crate::support::{assert_refused, keha, names, run, stderr, stdout, volume};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::path::Path;
use std::process::{Child, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

const SMALL: [&str; 6] = ["--ring", "256MiB", "--amount", "64MiB", "--streams", "8"];

fn storage(dir: &Path, more: &[&str]) -> Output {
    run(dir, &[&["bench", "storage"], &SMALL[..], more].concat())
}

/// A value of a document, with its interval around it.
fn median(document: &serde_json::Value, name: &str) -> f64 {
    let number = |of: &str| document[name][of].as_f64().unwrap_or_else(|| panic!("{name}.{of}: {document}"));
    let (from, median, to) = (number("from"), number("median"), number("to"));
    assert!(from <= median && median <= to, "{name}: {document}");
    median
}

#[test]
fn storing_is_measured_and_nothing_is_left() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let output = storage(dir.path(), &["--turns", "2", "--json"]);
    assert!(output.status.success() && output.stderr.is_empty(), "{}", stderr(&output));
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one document");
    assert_eq!(document["schema"], "keha.bench-storage/1");
    for name in ["ring_mb_s", "bare_mb_s", "ring_over_bare_speed", "ring_cpu_s_per_gb", "writes_per_mb"] {
        assert!(median(&document, name) > 0.0, "{name}: {document}");
    }
    // What is pushed is written, with its tables and little else.
    let written = median(&document, "written_over_payload");
    assert!((1.0..1.5).contains(&written), "{document}");
    assert!(names(dir.path()).is_empty());

    let output = storage(dir.path(), &["--turns", "1", "--io-engine", "threads"]);
    let text = stdout(&output);
    assert!(
        output.status.success() && text.contains("by threads") && text.contains("cameras of 4 Mbit/s"),
        "{text}"
    );
    assert!(names(dir.path()).is_empty());
}

#[test]
fn what_cannot_be_measured_is_refused_before_anything_is_written() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = volume(dir.path(), "64MiB");
    for (arguments, status, says) in [
        (&["storage", "--ring", "1024TiB"][..], 1, "use a smaller --ring or --amount"),
        (&["storage", "--ring", "16MiB"], 2, "--ring: 60 streams need 256 MiB at least"),
        (&["storage", "missing"], 1, "missing: cannot ask for free space"),
        (&["storage", "--turns", "0"], 2, "--turns"),
        (&["storage", "--amount", "1KiB"], 2, "at least 1MiB"),
        (&["export", path], 2, "--stream"),
        (&["export", path, "--stream", "front"], 1, "no stream front"),
        (&["export", "missing.ring", "--stream", "front"], 1, "missing.ring"),
    ] {
        assert_refused(&run(dir.path(), &[&["bench"], arguments].concat()), status, says);
        assert_eq!(names(dir.path()), [path], "{arguments:?}");
    }
    // A file is no directory.
    let small = ["bench", "storage", path, "--ring", "256MiB", "--amount", "1MiB"];
    assert_refused(&run(dir.path(), &small), 1, "a.ring: cannot make a directory");
    assert_eq!(names(dir.path()), [path]);
}

#[test]
fn a_signal_ends_it_and_nothing_is_left() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut command = keha();
    command.current_dir(dir.path()).args(["bench", "storage", "--turns", "1000"]).args(SMALL);
    let child =
        Running(Some(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts")));
    let end = Instant::now() + Duration::from_secs(60);
    let scratch = || names(dir.path()).pop().map(|name| dir.path().join(name));
    // The ring is there when the other file was written once: it measures.
    while !scratch().is_some_and(|scratch| scratch.join("bench.ring").exists()) {
        assert!(Instant::now() < end, "nothing is measured");
        sleep(Duration::from_millis(10));
    }
    let output = child.ended_by(Signal::SIGINT);
    assert_refused(&output, 1, "stopped before it was measured");
    assert!(names(dir.path()).is_empty());
}

/// A process that is ended with the test.
struct Running(Option<Child>);

impl Running {
    fn ended_by(mut self, signal: Signal) -> Output {
        let child = self.0.take().expect("it was started");
        kill(Pid::from_raw(i32::try_from(child.id()).expect("a process id")), signal).expect("it runs");
        child.wait_with_output().expect("it ends")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ended = child.kill();
            let _status = child.wait();
        }
    }
}

#[test]
fn exporting_is_measured_and_nothing_is_left() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = volume(dir.path(), "64MiB");
    let camera = "front=testsrc://?size=320x240&fps=10&gop=10";
    let recorded = keha()
        .current_dir(dir.path())
        .env("KEHA_RUNTIME_DIR", dir.path().join("run"))
        .args(["record", path, "--camera", camera, "--duration", "3s"])
        .output()
        .expect("the binary runs");
    assert!(recorded.status.success(), "{}", stderr(&recorded));
    let before = names(dir.path());
    let bench = ["bench", "export", path, "--stream", "front", "--turns", "2"];
    let output = run(dir.path(), &[&bench[..], &["--json"]].concat());
    assert!(output.status.success() && output.stderr.is_empty(), "{}", stderr(&output));
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one document");
    assert_eq!(document["schema"], "keha.bench-export/1");
    for name in ["export_mb_s", "copy_mb_s", "export_over_copy_speed"] {
        assert!(median(&document, name) > 0.0, "{name}: {document}");
    }
    // As many bytes as an export has.
    let export = run(dir.path(), &["export", path, "--stream", "front", "-o", "out.mkv"]);
    assert!(export.status.success(), "{}", stderr(&export));
    let bytes = fs::metadata(dir.path().join("out.mkv")).expect("there").len();
    assert_eq!(document["turn_bytes"], bytes);
    for name in ["out.mkv", "out.mkv.json"] {
        fs::remove_file(dir.path().join(name)).expect("removed");
    }
    assert_eq!(names(dir.path()), before);
    let text = stdout(&run(dir.path(), &bench));
    assert!(text.contains("stream front") && text.contains("export over copy"), "{text}");
}
