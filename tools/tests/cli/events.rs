//! What `keha serve` with the built binary says happened, asked over HTTP.

use crate::server::{Server, command, directory, until};
use serde_json::Value;
use std::time::Duration;

/// The events of a camera: identifiers and kinds.
fn events(server: &Server, camera: &str) -> Vec<(u64, String)> {
    let (status, body) = server.ask("GET", &format!("/api/v1/events?limit=1000&cameras={camera}"), "", None);
    assert_eq!(status, 200, "{body}");
    let told: Value = serde_json::from_str(&body).expect("JSON");
    let events = told["events"].as_array().expect("events");
    let one = |event: &Value| {
        let id = event["id"].as_str().and_then(|id| id.parse().ok()).expect("an identifier");
        (id, event["kind"].as_str().expect("a kind").to_owned())
    };
    events.iter().map(one).collect()
}

/// Waits for so many events of a camera: their kinds.
fn await_events(server: &Server, camera: &str, count: usize) -> Vec<(u64, String)> {
    until("events", || Some(events(server, camera)).filter(|events| events.len() >= count))
}

fn switch(server: &Server, on: bool) {
    let path = "/api/v1/cameras/front/streams/main/recording";
    let (status, said) = server.ask("PUT", path, &format!("{{\"on\":{on}}}"), None);
    assert_eq!(status, 204, "{said}");
}

#[test]
fn what_happens_to_a_camera_is_told_in_order_and_goes_on_after_a_restart() {
    let dir = directory("");
    let mut serve = command(dir.path(), &["serve", "--http", "127.0.0.1:0"]);
    let mut server = Server::of(serve.env("KEHA_LOG", "warn,keha_recorder=info"));
    let added = r#"{"name":"front","url":"testsrc://?size=320x240&fps=10&gop=5"}"#;
    until("the volume is open", || {
        (server.ask("POST", "/api/v1/cameras", added, None).0 == 201).then_some(())
    });
    await_events(&server, "front", 1);
    switch(&server, false);
    await_events(&server, "front", 3);
    switch(&server, true);
    let before = await_events(&server, "front", 5);
    let kinds: Vec<&str> = before.iter().map(|(_, kind)| kind.as_str()).collect();
    assert_eq!(kinds, ["camera_up", "camera_down", "gap_began", "camera_up", "gap_ended"]);
    // One that cannot be reached is told once, however often it is tried.
    let nobody = r#"{"name":"away","url":"rtsp://127.0.0.1:1/x"}"#;
    assert_eq!(server.ask("POST", "/api/v1/cameras", nobody, None).0, 201);
    until("it was tried again", || (server.log().matches("cannot record yet").count() > 2).then_some(()));
    assert_eq!(events(&server, "away").len(), 1, "{:?}", events(&server, "away"));

    assert_eq!(server.terminate(Duration::from_secs(5)).code(), Some(0), "{}", server.log());
    let server = Server::start(dir.path());
    let after = await_events(&server, "front", 6);
    assert_eq!((&after[..5], after[5].1.as_str()), (&before[..], "camera_up"));
    assert!(after.windows(2).all(|pair| pair[0].0 < pair[1].0), "{after:?}");
}
