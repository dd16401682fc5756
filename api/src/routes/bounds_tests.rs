//! What anybody may ask for without end costs nothing, and what costs something is bounded.

use super::tests::{Server, basic_of};
use crate::app::App;
use crate::testing::{FakeControl, app};
use axum::http::StatusCode;
use keha_player::library::Library;
use serde_json::Value;
use std::sync::Arc;

fn server() -> (Server, App, Arc<FakeControl>) {
    let (directory, control) = (tempfile::tempdir().expect("a directory"), Arc::<FakeControl>::default());
    let app = app((directory.path(), ""), false, Arc::clone(&control), Library::default());
    (Server::with(directory, app.clone(), true), app, control)
}

/// Anybody may ask whether the server is ready, as often as he likes: that must not have whoever records tell of all cameras each time.
#[tokio::test]
async fn whether_it_is_ready_is_found_out_once_for_many() {
    let (server, _, control) = server();
    let before = std::time::Instant::now();
    for _ in 0..50 {
        assert_eq!(server.get("/readyz", &[]).await.status, StatusCode::OK);
    }
    let seconds = before.elapsed().as_secs() as usize;
    assert!(control.listed() <= 1 + seconds, "{} times", control.listed());
}

#[tokio::test]
async fn the_description_is_the_same_each_time_and_its_tag_is_known() {
    let (server, ..) = server();
    let first = server.get("/api/openapi.json", &[]).await;
    let tag = first.tag.expect("a tag");
    assert!(first.body["paths"].is_object());
    let again = server.get("/api/openapi.json", &[("if-none-match", &tag)]).await;
    assert_eq!((again.status, again.body), (StatusCode::NOT_MODIFIED, Value::Null));
    assert_eq!(server.get("/api/docs/", &[]).await.tag, None, "what never changes is hashed by nobody");
}

/// Clients that ask for much and hang up kept all threads busy, and then nobody could log in.
#[tokio::test]
async fn who_reads_too_much_is_sent_away_and_others_log_in_all_the_same() {
    let (server, app, _) = server();
    let (begin, begun) = std::sync::mpsc::channel::<()>();
    let begun = Arc::new(std::sync::Mutex::new(begun));
    let reading: Vec<_> = (0..8)
        .map(|_| {
            let (app, begun) = (app.clone(), Arc::clone(&begun));
            tokio::spawn(async move {
                let hung = move |_: &App| Ok(begun.lock().expect("free").recv().is_ok());
                app.read("anna".to_owned(), hung).await.map(drop)
            })
        })
        .collect();
    while app.reading.free() > crate::budget::READING_MAX - 8 {
        tokio::task::yield_now().await;
    }
    // The clients are gone; their work is not.
    for reading in reading {
        reading.abort();
        assert!(reading.await.is_err(), "hung up");
    }
    assert_eq!(app.reading.free(), crate::budget::READING_MAX - 8);
    let (anna, root) = (basic_of("anna"), basic_of("root"));
    let refused = server.get("/api/v1/timeline", &[("authorization", &anna)]).await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE, "{}", refused.body);
    server.log_in("anna").await;
    assert_eq!(server.get("/api/v1/timeline", &[("authorization", &root)]).await.status, StatusCode::OK);
    drop(begin);
}
