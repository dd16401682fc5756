//! Wrong usage of the built binary: one line that says what to do, exit status 2, nothing written. And what help there is.

use crate::support::{assert_refused, keha, names, run, stderr, stdout};
use std::process::Stdio;

#[test]
fn wrong_usage_is_one_line_and_status_2() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    for (arguments, says) in [
        (&[][..], "keha --help"),
        (&["recrod"], "a similar subcommand exists: 'record'"),
        (&["volume"], "see keha volume --help"),
        (&["volume", "create"], "<PATH>"),
        (&["volume", "create", "a.ring"], "--size"),
        (&["volume", "create", "a.ring", "--size", "10G"], "write 10GiB"),
        (&["volume", "create", "a.ring", "--size", "-1"], "'-1'"),
        (&["volume", "create", "a.ring", "--size", "1GiB", "--streams", "0"], "--streams"),
        (&["volume", "create", "a.ring", "--size", "1GiB", "--block-size", "8GiB"], "256MiB"),
        (&["volume", "create", "a.ring", "--size", "1GiB", "--force"], "are for partitions"),
        (&["volume", "create", "partuuid:0"], "not the identity of a partition"),
        (&["volume", "grow"], "KEHA_VOLUME"),
        (&["volume", "grow", "a.ring", "--size", "0"], "0 is no size"),
        (&["volume", "grow", "a.ring", "--force"], "is for partitions"),
        (&["volume", "info", "partuuid:0"], "not the identity of a partition"),
        (&["volume", "info"], "KEHA_VOLUME"),
        (&["volume", "info", ""], "KEHA_VOLUME"),
        (&["volume", "info", "a.ring", "--stream", "Front"], "is not a stream name"),
        (&["volume", "dump", "a.ring"], "--block"),
        (&["-q", "-v", "volume", "info"], "cannot be used with"),
        (&["--log-format", "xml", "volume", "info"], "possible values: text, json"),
        (&["completions", "word"], "possible values: bash"),
    ] {
        assert_refused(&run(dir.path(), arguments), 2, says);
    }
    assert!(names(dir.path()).is_empty());
}

#[test]
fn help_and_version_go_to_standard_output() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    for (arguments, says) in [
        (&["--help"][..], "Exit status: 0 done"),
        (&["-h"], "volume"),
        (&["volume", "create", "--help"], "--size <SIZE>"),
        (&["--version"], "(volume format "),
        (&["-V"], "keha 0."),
        (&["completions", "bash"], "complete -F _keha"),
        (&["completions", "fish"], "complete -c keha"),
        (&["completions", "zsh"], "#compdef keha"),
        (&["man"], ".TH KEHA 1"),
    ] {
        let output = run(dir.path(), arguments);
        assert!(output.status.success() && output.stderr.is_empty(), "{arguments:?}: {}", stderr(&output));
        assert!(stdout(&output).contains(says), "{arguments:?}: {}", stdout(&output));
    }
}

#[test]
fn the_help_of_every_command_is_as_published() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    for command in [
        "",
        "record",
        "export",
        "status",
        "serve",
        "config check",
        "user add",
        "token add",
        "demo",
        "bench storage",
        "bench export",
        "volume create",
        "volume info",
        "volume blocks",
        "volume dump",
        "volume check",
        "volume grow",
    ] {
        let mut arguments: Vec<&str> = command.split_whitespace().collect();
        arguments.push("--help");
        let output = keha()
            .current_dir(dir.path())
            .env("COLUMNS", "100")
            .args(&arguments)
            .output()
            .expect("the binary runs");
        insta::assert_snapshot!(format!("help {command}").trim().replace(' ', "-"), stdout(&output));
    }
}

#[test]
fn every_command_has_a_manual_page() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let output = run(dir.path(), &["-q", "man", "--dir", "pages"]);
    assert!(output.status.success() && output.stderr.is_empty(), "{}", stderr(&output));
    let pages = names(&dir.path().join("pages"));
    for page in ["keha.1", "keha-volume.1", "keha-volume-create.1", "keha-man.1"] {
        assert!(pages.iter().any(|name| name == page), "{page} is missing in {pages:?}");
    }
}

#[test]
fn a_closed_pipe_is_no_error() {
    let mut child =
        keha().arg("man").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary runs");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""));
}

#[test]
fn no_secret_is_shown_in_a_complaint() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    for arguments in [
        &["rtsp://u:hunter2@h/"][..],
        &["volume", "info", "--stream", "rtsp://u:hunter2@h/"],
        &["volume", "info", "x://u:hunter2@h/"],
    ] {
        let output = run(dir.path(), arguments);
        let shown = stderr(&output) + &stdout(&output);
        assert!(!output.status.success() && !shown.contains("hunter2"), "{shown}");
    }
}

/// `.cargo/config.toml` is of no use to a build that does not see it.
#[test]
fn the_allocator_keeps_memory_as_it_was_measured() {
    let told =
        keha().env("_RJEM_MALLOC_CONF", "stats_print:true").arg("--version").output().expect("it runs");
    let told = stderr(&told);
    for says in ["opt.narenas: 2\n", "opt.dirty_decay_ms: 1000 "] {
        assert!(told.contains(says), "no {says} in {told}");
    }
}
