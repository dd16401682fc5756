//! Named exports, and errors about footage, of a volume with two cameras: asked as clients ask.

use super::tests::{Server, basic_of};
use crate::testing::{FakeControl, NOON, app, footage};
use axum::http::{Method, StatusCode};
use keha_player::library::Library;
use serde_json::{Value, json};
use std::sync::Arc;

const FROM: &str = "2026-03-01T12:00:00Z";
const TO: &str = "2026-03-01T12:00:05Z";

/// A server with footage of the door (two streams) and of the yard.
fn server() -> (Server, Arc<FakeControl>) {
    let directory = tempfile::tempdir().expect("a directory");
    let library = Library::new([footage(directory.path(), &["door", "door/sub", "yard"])]);
    let control = Arc::new(FakeControl::default());
    let app = app((directory.path(), ""), false, Arc::clone(&control), library);
    (Server::with(directory, app, true), control)
}

fn wanted(streams: &[&str], to: &str, format: &str) -> Option<Value> {
    Some(json!({"streams": streams, "from": FROM, "to": to, "format": format}))
}

async fn made(server: &Server, name: &str, streams: &[&str], format: &str) -> Value {
    let fields = [("authorization", &*basic_of(name))];
    let made = server.ask(Method::POST, "/api/v1/exports", &fields, wanted(streams, TO, format)).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    made.body
}

/// An export once it is ready.
async fn ready(server: &Server, id: &str) -> Value {
    let root = basic_of("root");
    let path = format!("/api/v1/exports/{id}");
    for _ in 0..10_000 {
        let shown = server.get(&path, &[("authorization", &root)]).await.body;
        if shown["state"] == "ready" {
            return shown;
        }
        tokio::task::yield_now().await;
    }
    panic!("export {id} is never ready")
}

#[tokio::test]
async fn who_may_see_one_camera_learns_of_no_other() {
    let (server, _) = server();
    let anna = basic_of("anna");
    let fields = [("authorization", anna.as_str())];
    for streams in ["door,door/nosuch", "door/nosuch", "door/nosuch,door"] {
        let query = format!("/api/v1/footage?streams={streams}&from={FROM}&to={TO}");
        let asked = server.get(&query, &fields).await;
        let streams: Vec<&str> = streams.split(',').collect();
        let posted = server.ask(Method::POST, "/api/v1/exports", &fields, wanted(&streams, TO, "mkv")).await;
        for answer in [asked, posted] {
            let told = answer.body.to_string();
            let right = told.contains("door/nosuch") && !told.contains("yard") && !told.contains("ring");
            assert!(answer.status == StatusCode::NOT_FOUND && right, "{} {told}", answer.status);
        }
    }
}

/// It was made, and its footage was not held: nobody was told to ask the next server.
#[tokio::test]
async fn an_export_that_cannot_be_held_because_the_server_ends_is_not_made() {
    let (server, control) = server();
    control.end();
    let fields = [("authorization", &*basic_of("root"))];
    let asked =
        server.ask(Method::POST, "/api/v1/exports", &fields, wanted(&["door", "yard"], TO, "mkv")).await;
    assert_eq!(asked.status, StatusCode::SERVICE_UNAVAILABLE, "{}", asked.body);
    assert_eq!(server.get("/api/v1/exports", &fields).await.body, json!([]));
}

#[tokio::test]
async fn the_exports_of_those_hold_footage_who_may_change_all_of_its_cameras() {
    let (server, control) = server();
    for (name, streams, holds) in
        [("anna", &["door"][..], 0), ("dora", &["door", "door/sub"], 2), ("root", &["door", "yard"], 2)]
    {
        let before = control.held().len();
        let made = made(&server, name, streams, "mkv").await;
        assert_eq!(control.held().len() - before, holds, "{name}");
        assert_eq!(made["held"], json!(holds > 0), "{name}");
        let path = format!("/api/v1/exports/{}", made["id"].as_str().expect("an identifier"));
        let fields = [("authorization", &*basic_of(name))];
        let removed = server.ask(Method::DELETE, &path, &fields, None).await;
        assert_eq!(removed.status, StatusCode::NO_CONTENT);
        assert_eq!(control.held().len(), before, "what was held is lifted: {name}");
    }
}

/// A packet of sound lasts 20 ms: the file ends with a whole one.
#[tokio::test]
async fn all_that_an_export_was_made_of_is_held() {
    let (server, control) = server();
    let fields = [("authorization", &*basic_of("root"))];
    let body = wanted(&["door"], "2026-03-01T12:00:04.990Z", "mp4");
    let made = server.ask(Method::POST, "/api/v1/exports", &fields, body).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    let holds = control.holds();
    let [hold] = &holds[..] else { panic!("one hold") };
    let range = &hold.range;
    assert!(range.from <= Some(NOON) && range.to >= Some(NOON.plus_ns(5_000_000_000)), "{range:?}");
}

#[tokio::test]
async fn what_is_still_to_come_is_not_exported() {
    let (server, control) = server();
    let root = basic_of("root");
    let fields = [("authorization", root.as_str())];
    for to in ["2999-01-01T00:00:00Z", "+1h"] {
        let answer = server.ask(Method::POST, "/api/v1/exports", &fields, wanted(&["door"], to, "mkv")).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", answer.body);
    }
    assert!(control.held().is_empty());
}

#[tokio::test]
async fn each_camera_is_told_of_its_own_streams_alone() {
    let (server, _) = server();
    made(&server, "root", &["door", "yard", "door/sub"], "mkv").await;
    let events = async |name: &str| {
        let fields = [("authorization", &*basic_of(name))];
        let told = server.get("/api/v1/events?kinds=export_made", &fields).await.body;
        let told = told["events"].as_array().cloned().unwrap_or_else(|| panic!("{told}"));
        let text = |event: &Value| event["text"].as_str().expect("a text").to_owned();
        told.iter().map(text).collect::<Vec<_>>()
    };
    let of = |streams| format!("{streams} from 2026-03-01T12:00:00.000Z to 2026-03-01T12:00:05.000Z");
    let plain = |text: String| text.replace(".000000000Z", ".000Z");
    let seen: Vec<String> = events("anna").await.into_iter().map(plain).collect();
    assert_eq!(seen, [of("door, door/sub")]);
    assert_eq!(events("root").await.len(), 2);
}

#[tokio::test]
async fn an_export_that_was_not_measured_or_failed_is_measured_when_it_is_asked_for() {
    let directory = tempfile::tempdir().expect("a directory");
    let attic = footage(directory.path(), &["door"]);
    let state = directory.path().to_owned();
    let library = Library::new([attic.clone()]);
    let reached = |library| app((&state, ""), false, Arc::default(), library);
    let before = Server::with(directory, reached(library), true);
    let mut ids = Vec::new();
    for format in ["mp4", "mkv"] {
        ids.push(made(&before, "root", &["door"], format).await["id"].as_str().expect("an id").to_owned());
    }
    let mut whole = Vec::new();
    for id in &ids {
        whole.push(ready(&before, id).await);
    }
    // The server ended while it measured the one, and could not read the other.
    let path = before.directory.path().join("exports.json");
    let mut known: Value = serde_json::from_slice(&std::fs::read(&path).expect("there")).expect("JSON");
    for (id, failed) in ids.iter().zip([Value::Null, json!("cannot read")]) {
        known[id]["measured"] = Value::Null;
        known[id]["failed"] = failed;
    }
    std::fs::write(&path, known.to_string()).expect("written");
    let after = before.again(reached(Library::new([attic])));
    for (id, whole) in ids.iter().zip(whole) {
        assert_eq!(ready(&after, id).await, whole);
    }
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_no_hold_and_no_export() {
    let (server, control) = server();
    let root = basic_of("root");
    let fields = [("authorization", root.as_str())];
    let asked = server.ask(Method::POST, "/api/v1/exports", &fields, wanted(&["door", "yard"], TO, "mkv"));
    {
        let mut asked = std::pin::pin!(asked);
        // Gone as soon as the first hold stands.
        while control.held().is_empty() {
            assert!(futures_util::poll!(&mut asked).is_pending(), "it is not done yet");
            tokio::task::yield_now().await;
        }
    }
    while !control.held().is_empty() {
        tokio::task::yield_now().await;
    }
    let left = || async { server.get("/api/v1/exports", &fields).await.body };
    assert_eq!(left().await, json!([]));
}
