//! What the log tells of requests whose path alone says little, and of footage that is watched: asked as clients ask.

use super::tests::lines;
use crate::routes::tests::{Server, basic_of};
use crate::testing::{FakeControl, app, footage};
use axum::http::{Method, StatusCode};
use keha_player::library::Library;
use serde_json::{Value, json};
use std::sync::Arc;
use std::task::{Context, Waker};

const HLS: &str = "/api/v1/cameras/door/streams/main/hls";

/// A server with ten seconds of the door and of the yard, from noon on.
fn server() -> Server {
    let directory = tempfile::tempdir().expect("a directory");
    let library = Library::new([footage(directory.path(), &["door", "yard"])]);
    let app = app((directory.path(), ""), false, Arc::default(), library);
    Server::with(directory, app, true)
}

/// All lines of a server, which ends with that.
fn noted(server: Server) -> Vec<Value> {
    let Server { directory, router } = server;
    drop(router);
    // Beside it in that directory stand the events.
    lines(directory.path()).into_iter().filter(|line| line["method"].is_string()).collect()
}

/// Asks, and tells what came back.
async fn asked(server: &Server, who: &str, (method, path): (Method, &str), body: Option<Value>) -> Value {
    let answer = server.ask(method, path, &[("authorization", &basic_of(who))], body).await;
    json!({"status": answer.status.as_u16(), "body": answer.body})
}

#[tokio::test]
async fn what_stands_in_a_body_alone_is_noted_without_any_secret() {
    let server = Server::new(true, false);
    let grant = |cameras: Value| json!({"role": "viewer", "cameras": cameras});
    let url = "rtsp://root:hunter2@gate.example/main?password=hunter3";
    let table = [
        ("root", "/api/v1/cameras", json!({"name": "gate", "url": url}), 201, "camera gate"),
        (
            "root",
            "/api/v1/users",
            json!({"name": "bert", "password": "hunter2 hunter3", "grant": grant(json!({"only": ["door", "yard"]}))}),
            201,
            "user bert: viewer of door, yard",
        ),
        (
            "root",
            "/api/v1/tokens",
            json!({"label": "script", "grant": grant(json!("all")), "expires": "2999-01-01T00:00:00Z"}),
            201,
            "ID: token script: viewer of all cameras, until 2999-01-01T00:00:00Z",
        ),
        (
            "anna",
            "/api/v1/signed-urls",
            json!({"path": "/api/v1/session", "seconds": 60}),
            200,
            "/api/v1/session for 60 s",
        ),
        (
            "root",
            "/api/v1/holds",
            json!({"camera": "door", "from": "2026-03-01T12:00:00Z", "to": "2026-03-01T12:00:05Z", "label": "theft"}),
            201,
            "ID: door from 2026-03-01T12:00:00.000000000Z to 2026-03-01T12:00:05.000000000Z: theft",
        ),
        (
            "anna",
            "/api/v1/holds",
            json!({"camera": "yard", "from": "-10m", "to": "now"}),
            403,
            "yard main from -10m to now: ",
        ),
        (
            "anna",
            "/api/v1/exports",
            json!({"streams": ["yard", "door"], "from": "-10m", "to": "now"}),
            403,
            "yard, door from -10m to now",
        ),
    ];
    let mut expected = Vec::new();
    for (who, path, body, status, what) in table {
        let answer = asked(&server, who, (Method::POST, path), Some(body)).await;
        assert_eq!(answer["status"], status, "{path}: {answer}");
        let id = answer["body"]["id"].as_str().unwrap_or_default();
        expected.push((path, status, what.replace("ID", id)));
    }
    let change = json!({"role": "admin", "cameras": "all"});
    asked(&server, "root", (Method::PUT, "/api/v1/users/bert/grant"), Some(change)).await;
    expected.push(("/api/v1/users/bert/grant", 204, "admin of all cameras".to_owned()));
    let recording = "/api/v1/cameras/door/streams/main/recording";
    asked(&server, "root", (Method::PUT, recording), Some(json!({"on": false}))).await;
    expected.push((recording, 204, "off".to_owned()));
    let lines = noted(server);
    let text = format!("{lines:?}");
    assert!(!text.contains("hunter") && !text.contains("keha_"), "{text}");
    let told: Vec<(&str, u64, String)> = lines
        .iter()
        .map(|line| {
            let text = |name: &str| line[name].as_str().unwrap_or_default();
            (text("path"), line["status"].as_u64().expect("a number"), text("what").to_owned())
        })
        .collect();
    assert_eq!(told, expected);
}

#[tokio::test]
async fn which_footage_an_export_had_is_noted_whenever_it_is_given_or_removed() {
    let server = server();
    let range = ("2026-03-01T12:00:00Z", "2026-03-01T12:00:05Z");
    let body = json!({"streams": ["door"], "from": range.0, "to": range.1});
    let made = asked(&server, "anna", (Method::POST, "/api/v1/exports"), Some(body)).await;
    let id = made["body"]["id"].as_str().unwrap_or_else(|| panic!("{made}")).to_owned();
    let path = format!("/api/v1/exports/{id}");
    let file = asked(&server, "anna", (Method::GET, &format!("{path}/file")), None).await;
    assert_eq!(file["status"], 200, "{file}");
    let removed = asked(&server, "anna", (Method::DELETE, &path), None).await;
    assert_eq!(removed["status"], 204, "{removed}");
    // It is written on a thread of its own, and the export that is being measured keeps the server for a while.
    let is_noted =
        |directory: &std::path::Path| lines(directory).iter().any(|line| line["method"] == "DELETE");
    while !is_noted(server.directory.path()) {
        tokio::task::yield_now().await;
    }
    let of = "door from 2026-03-01T12:00:00.000000000Z to 2026-03-01T12:00:05.000000000Z";
    let told: Vec<Value> = noted(server).iter().map(|line| line["what"].clone()).collect();
    assert_eq!(told, [json!(format!("{id}: {of}")), json!(of), json!(of)]);
}

/// It was made all the same, and nothing told of it: whoever hung up at once left no line.
#[tokio::test]
async fn a_change_whose_client_does_not_wait_is_noted() {
    let (directory, control) = (tempfile::tempdir().expect("a directory"), Arc::<FakeControl>::default());
    let app = app((directory.path(), ""), false, Arc::clone(&control), Library::default());
    let server = Server::with(directory, app, true);
    let body = json!({"camera": "door", "from": "-10m", "to": "now", "label": "theft"});
    // From here on the password is remembered: the gate waits for nothing.
    asked(&server, "root", (Method::GET, "/api/v1/session"), None).await;
    {
        let mut asked = std::pin::pin!(asked(&server, "root", (Method::POST, "/api/v1/holds"), Some(body)));
        let _busy = control.holds();
        assert!(asked.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
    while control.held().is_empty() {
        tokio::task::yield_now().await;
    }
    let lines = noted(server);
    let [line] = &lines[..] else { panic!("{lines:?}") };
    assert_eq!((&line["user"], &line["status"]), (&json!("root"), &json!(499)));
    assert_eq!(line["what"], "door main from -10m to now: theft");
}

/// Only the first of several ranges was noted, and none where somebody had watched live before: both were "hls".
#[tokio::test]
async fn each_range_that_is_watched_is_noted_once_and_live_hides_none() {
    let server = server();
    let get = async |path: &str| {
        let answer = server.get(path, &[("authorization", &basic_of("anna"))]).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.body);
    };
    let range = |second| format!("{HLS}/vod.m3u8?from=2026-03-01T12:00:0{second}Z&to=2026-03-01T12:00:09Z");
    let segment = format!("{HLS}/{}", segments(&server).await.first().expect("one"));
    for _ in 0..3 {
        get(&format!("{HLS}/live.m3u8")).await;
        for second in 0..5 {
            get(&range(second)).await;
        }
        get(&segment).await;
    }
    // What shows nothing that was filmed is not watching.
    let nothing = server.get(&format!("{HLS}/x.m4s"), &[("authorization", &basic_of("anna"))]).await;
    assert_eq!(nothing.status, StatusCode::NOT_FOUND);
    let lines = noted(server);
    let told: Vec<(&str, &str)> = lines
        .iter()
        .filter(|line| line["user"] == "anna")
        .map(|line| (line["path"].as_str().expect("text"), line["query"].as_str().expect("text")))
        .collect();
    let of = |part: &str| told.iter().filter(|(path, _)| path.ends_with(part)).count();
    assert_eq!((of("/live.m3u8"), of("/vod.m3u8"), of(".m4s"), told.len()), (1, 5, 1, 7), "{told:?}");
    let segment = lines.iter().find(|line| line["path"] == segment.as_str()).expect("a segment");
    assert_eq!(segment["what"], "2026-03-01T12:00:00.000000000Z");
}

/// The names of all segments of the door.
async fn segments(server: &Server) -> Vec<String> {
    let path = format!("{HLS}/vod.m3u8");
    let playlist = server.get(&path, &[("authorization", &basic_of("root"))]).await.body;
    let lines = playlist.as_str().expect("a playlist").lines();
    lines.filter(|line| line.ends_with(".m4s")).map(str::to_owned).collect()
}
