//! `keha user` and `keha token` with the built binary, alone and beside a server that runs.

use crate::server::{Server, command, directory};
use crate::support::{assert_refused, run, stderr, stdout};
use serde_json::Value;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Output, Stdio};

const PASSWORD: &str = "correct horse battery";

/// Runs a command with this on its standard input.
fn with_input(dir: &Path, arguments: &[&str], input: &str) -> Output {
    let mut command = command(dir, arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary runs");
    let _ = child.stdin.take().expect("a pipe").write_all(input.as_bytes());
    child.wait_with_output().expect("it ends")
}

fn basic(name: &str, password: &str) -> String {
    use base64::Engine;
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{name}:{password}")))
}

#[test]
fn users_are_added_shown_and_removed_and_a_running_server_sees_it() {
    let dir = directory("");
    let server = Server::start(dir.path());
    assert_eq!(server.ask("GET", "/api/v1/users", "", None).0, 200, "nobody was ever named");

    let added = with_input(dir.path(), &["user", "add", "anna", "--role", "admin"], &format!("{PASSWORD}\n"));
    assert!(added.status.success() && stderr(&added).contains("anna may log in: admin, all cameras"));
    assert_eq!(server.ask("GET", "/api/v1/users", "", None).0, 401);
    assert_eq!(server.ask("GET", "/api/v1/users", "", Some(&basic("anna", PASSWORD))).0, 200);

    let file = dir.path().join("password");
    fs::write(&file, "another password\n").expect("written");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("changed");
    let change = ["user", "password", "anna", "--password-file", "password"];
    assert_refused(&run(dir.path(), &change), 1, "chmod 600");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("changed");
    assert!(run(dir.path(), &change).status.success());
    assert_eq!(server.ask("GET", "/api/v1/users", "", Some(&basic("anna", PASSWORD))).0, 401);
    assert_eq!(server.ask("GET", "/api/v1/users", "", Some(&basic("anna", "another password"))).0, 200);

    let more = [
        "user",
        "add",
        "ben",
        "--camera",
        "front",
        "--camera",
        "yard",
        "--password-file",
        "-",
        "--state",
        "state",
    ];
    assert!(with_input(dir.path(), &more, PASSWORD).status.success());
    let list = stdout(&run(dir.path(), &["user", "list", "--json"]));
    let list: Value = serde_json::from_str(&list).expect("a document");
    assert_eq!(list["schema"], "keha.user-list/1");
    assert_eq!(
        list["users"][1],
        serde_json::json!({"name": "ben", "role": "viewer", "cameras": ["front", "yard"]})
    );
    assert!(list["users"][0]["cameras"].is_null());
    let text = stdout(&run(dir.path(), &["user", "list"]));
    assert!(text.contains("ben") && !text.contains("argon2"), "{text}");

    assert!(run(dir.path(), &["user", "remove", "anna"]).status.success());
    assert_eq!(server.ask("GET", "/api/v1/users", "", Some(&basic("anna", "another password"))).0, 401);
    assert_refused(&run(dir.path(), &["user", "remove", "anna"]), 1, "no user anna");
    for (arguments, input, status, says) in [
        (&["user", "add", "ben"][..], PASSWORD, 1, "exists already"),
        (&["user", "add", "Carl"], PASSWORD, 2, "name"),
        (&["user", "add", "carl"], "short\n", 2, "characters"),
        (&["user", "add", "carl"], "", 2, "no password"),
        (&["user", "add", "carl", "--camera", "a/b"], PASSWORD, 2, "name of a camera"),
        (&["user", "list", "--config", "missing.toml"], "", 1, "missing.toml"),
    ] {
        assert_refused(&with_input(dir.path(), arguments, input), status, says);
    }
}

#[test]
fn a_token_is_shown_once_and_opens_what_it_allows_until_it_is_removed() {
    let dir = directory("");
    let server = Server::start(dir.path());
    let made =
        run(dir.path(), &["token", "add", "dashboard", "--role", "admin", "--expires", "30d", "--json"]);
    let made: Value = serde_json::from_slice(&made.stdout).expect("a document");
    assert_eq!(made["schema"], "keha.token-add/1");
    let (id, token) = (made["id"].as_str().expect("text"), made["token"].as_str().expect("text"));
    let bearer = format!("Bearer {token}");
    assert_eq!(server.ask("GET", "/api/v1/tokens", "", None).0, 401);
    assert_eq!(server.ask("GET", "/api/v1/tokens", "", Some(&bearer)).0, 200);
    let list = run(dir.path(), &["token", "list"]);
    assert!(stdout(&list).contains(id) && stdout(&list).contains("dashboard"), "{}", stdout(&list));
    let text = fs::read_to_string(dir.path().join("state/accounts.json")).expect("there");
    assert!(!(text + &stdout(&list)).contains(token));
    let plain = run(dir.path(), &["token", "add", "x"]);
    assert_eq!(stdout(&plain).lines().count(), 1);
    assert!(run(dir.path(), &["token", "remove", id]).status.success());
    assert_eq!(server.ask("GET", "/api/v1/tokens", "", Some(&bearer)).0, 401);
    assert_refused(&run(dir.path(), &["token", "remove", id]), 1, "no token");
}
