//! Runs the built binary and judges how it ended.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// The binary under test, without anything of the environment that it would heed.
pub(crate) fn keha() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keha"));
    for variable in [
        "KEHA_VOLUME",
        "KEHA_CONFIG",
        "KEHA_LOG",
        "KEHA_RUNTIME_DIR",
        "XDG_RUNTIME_DIR",
        "NOTIFY_SOCKET",
        "NO_COLOR",
        "COLUMNS",
    ] {
        command.env_remove(variable);
    }
    command.stdin(Stdio::null());
    command
}

/// Runs it with `arguments` in `dir`.
pub(crate) fn run(dir: &Path, arguments: &[&str]) -> Output {
    keha().current_dir(dir).args(arguments).output().expect("the binary runs")
}

/// Its standard error.
pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Its standard output.
pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Asserts that it failed with `status` and one line that contains `says`, writing nothing to standard output.
pub(crate) fn assert_refused(output: &Output, status: i32, says: &str) {
    let said = stderr(output);
    assert_eq!(output.status.code(), Some(status), "{said}");
    assert!(output.stdout.is_empty(), "{}", stdout(output));
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.starts_with("keha: ") && said.contains(says), "{said}");
}

/// The names of everything in `dir`.
pub(crate) fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).expect("a directory");
    let mut names: Vec<String> = entries
        .map(|entry| entry.expect("an entry").file_name().as_os_str().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// Creates a volume in `dir` and gives its name.
pub(crate) fn volume(dir: &Path, size: impl AsRef<OsStr>) -> &'static str {
    let mut command = keha();
    let output = command.current_dir(dir).args(["volume", "create", "a.ring", "--size"]).arg(size).output();
    let output = output.expect("the binary runs");
    assert!(output.status.success(), "{}", stderr(&output));
    "a.ring"
}
