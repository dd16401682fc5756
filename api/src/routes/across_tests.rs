//! A camera that was recorded into one volume and then into another, and a volume that does not answer: asked as clients ask.

use super::tests::{Server, basic_of};
use super::{MISSING, MOMENT};
use crate::app::App;
use crate::filed::filed;
use crate::testing::{FakeControl, NOON, app, footage, footage_in};
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use keha_fs::{StreamName, TimeRange};
use keha_player::footage::{FootageRequest, Format};
use keha_player::library::Library;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tower::ServiceExt;

const DOOR: &str = "/api/v1/cameras/door/streams/main";

/// The door: ten seconds in the attic, two of nothing, and ten in the cellar; the yard: in the cellar alone.
struct World {
    server: Server,
    app: App,
    control: Arc<FakeControl>,
    cellar: PathBuf,
}

impl World {
    fn new() -> World {
        let directory = tempfile::tempdir().expect("a directory");
        let attic = footage(directory.path(), &["door"]);
        let cellar = footage_in("cellar", NOON.plus_ns(12_000_000_000), directory.path(), &["door", "yard"]);
        let (control, path) = (Arc::new(FakeControl::default()), cellar.1.clone());
        let app = app((directory.path(), ""), false, Arc::clone(&control), Library::new([attic, cellar]));
        World { server: Server::with(directory, app.clone(), true), app, control, cellar: path }
    }

    async fn get(&self, path: &str) -> (StatusCode, Value) {
        let answer = self.server.get(path, &[("authorization", &basic_of("root"))]).await;
        (answer.status, answer.body)
    }

    async fn post(&self, path: &str, body: Value) -> (StatusCode, Value) {
        let root = basic_of("root");
        let answer = self.server.ask(Method::POST, path, &[("authorization", &root)], Some(body)).await;
        (answer.status, answer.body)
    }

    async fn headers(&self, path: &str) -> (StatusCode, HeaderMap) {
        let request = Request::builder().uri(path).header("host", "127.0.0.1:8080");
        let mut request =
            request.header("authorization", basic_of("root")).body(Body::empty()).expect("a request");
        request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([192, 0, 2, 1], 5000))));
        let answer = self.server.router.clone().oneshot(request).await.expect("an answer");
        (answer.status(), answer.headers().clone())
    }

    /// The cellar does not answer from now on, or does again.
    fn away(&self, away: bool) {
        let elsewhere = self.cellar.with_extension("away");
        let (from, to) = if away { (&self.cellar, &elsewhere) } else { (&elsewhere, &self.cellar) };
        std::fs::rename(from, to).expect("moved");
        self.app.services.library.outdate();
    }

    async fn names(&self) -> Vec<String> {
        let (status, text) = self.get(&format!("{DOOR}/hls/vod.m3u8")).await;
        assert_eq!(status, StatusCode::OK, "{text}");
        let lines = text.as_str().expect("a playlist").lines();
        lines.filter(|line| line.ends_with(".m4s")).map(str::to_owned).collect()
    }
}

fn told(body: &Value, list: &str) -> Vec<(String, String)> {
    let each = body[list].as_array().expect("a list").iter();
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    each.map(|range| (text(&range["from"]), text(&range["to"]))).collect()
}

#[tokio::test]
async fn timelines_days_and_forecasts_are_of_all_volumes() {
    let world = World::new();
    let (status, body) = world.get(&format!("{DOOR}/timeline")).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let at = |text: &str| format!("2026-03-01T12:00:{text}0000000Z");
    assert_eq!(told(&body, "recorded"), [(at("00.00"), at("09.98")), (at("12.00"), at("21.98"))]);
    assert_eq!(told(&body, "gaps"), [(at("09.98"), at("12.00"))]);
    assert_eq!((&body["overlaps"], &body["missing"]), (&json!([]), &json!([])));
    let (_, all) = world.get("/api/v1/timeline?resolution=10s").await;
    let cameras: Vec<&Value> = all.as_array().expect("a list").iter().map(|one| &one["camera"]).collect();
    assert_eq!(cameras, ["door", "yard"]);
    assert_eq!(told(&all[0], "recorded"), [(at("00.00"), at("21.98"))]);
    let (_, days) = world.get(&format!("{DOOR}/days")).await;
    assert_eq!(days.as_array().map(Vec::len), Some(1));
    let (_, forecast) = world.get("/api/v1/forecast").await;
    let door = &forecast[0];
    assert_eq!((forecast.as_array().map(Vec::len), &door["volume"]), (Some(2), &json!("cellar")));
    assert_eq!((&door["samples"], door["volumes"].as_array().map(Vec::len)), (&json!(1000), Some(2)));
    assert_eq!((&door["first"], &door["last"]), (&json!(at("00.00")), &json!(at("21.98"))));
}

#[tokio::test]
async fn files_and_playlists_are_of_all_volumes() {
    let world = World::new();
    let (status, headers) = world.headers(&format!("{DOOR}/footage")).await;
    assert_eq!((status, headers.get(MISSING)), (StatusCode::OK, None));
    assert_eq!(headers[MOMENT], "2026-03-01T12:00:00.000000000Z");
    let names = world.names().await;
    for name in &names {
        let (status, body) = world.get(&format!("{DOOR}/hls/{name}")).await;
        assert_eq!(status, StatusCode::OK, "{name}: {body}");
    }
    // Of streams that stand in different volumes a file can be made, too.
    let streams = ["door", "yard"].map(|name| StreamName::new(name).expect("a name")).to_vec();
    let request = FootageRequest { streams, range: TimeRange::default(), format: Format::Mp4, part: None };
    let app = world.app.clone();
    let filed = tokio::task::spawn_blocking(move || filed(&app, &request, &|| true)).await;
    let filed = filed.expect("no panic").expect("a file");
    assert_eq!((filed.prepared.samples(), filed.volumes.len()), (1500, 2));
}

#[tokio::test]
async fn what_does_not_answer_is_said_and_the_rest_is_given() {
    let world = World::new();
    let names = world.names().await;
    world.away(true);
    let (status, body) = world.get(&format!("{DOOR}/timeline")).await;
    assert_eq!((status, &body["missing"]), (StatusCode::OK, &json!(["cellar"])));
    let reasons: Vec<&Value> =
        body["gaps"].as_array().expect("a list").iter().map(|gap| &gap["reason"]).collect();
    assert_eq!(reasons.last(), Some(&&json!("volume not there")), "{body}");
    for path in ["footage", "hls/vod.m3u8", "days"] {
        let (status, headers) = world.headers(&format!("{DOOR}/{path}")).await;
        assert_eq!(status, StatusCode::OK, "{path}");
        assert_eq!(headers.get(MISSING).map(|it| it.as_bytes()), Some(&b"cellar"[..]), "{path}");
    }
    let before = format!("{DOOR}/footage?to=2026-03-01T12:00:08Z");
    assert_eq!(world.headers(&before).await.1.get(MISSING), None, "all of that is there");
    let (_, all) = world.get("/api/v1/timeline").await;
    let yard = all.as_array().expect("a list").iter().find(|one| one["camera"] == "yard");
    assert_eq!(yard.map(|yard| &yard["missing"]), Some(&json!(["cellar"])), "{all}");
    let (mut there, mut away) = (0, 0);
    for name in &names {
        match world.get(&format!("{DOOR}/hls/{name}")).await {
            (StatusCode::OK, _) => there += 1,
            (StatusCode::SERVICE_UNAVAILABLE, body) => {
                assert!(body["detail"].as_str().is_some_and(|why| why.contains("cellar")), "{body}");
                away += 1;
            }
            (status, body) => panic!("{name}: {status} {body}"),
        }
    }
    assert!(there > 0 && away > 0, "{there} {away}");
    world.away(false);
    for name in &names {
        assert_eq!(world.get(&format!("{DOOR}/hls/{name}")).await.0, StatusCode::OK, "{name}");
    }
}

#[tokio::test]
async fn an_export_is_of_the_volumes_that_it_was_made_of() {
    let world = World::new();
    let wanted = json!({"streams": ["door"], "from": "2026-03-01T12:00:00Z", "to": "2026-03-01T12:00:30Z"});
    let (status, whole) = world.post("/api/v1/exports", wanted.clone()).await;
    assert_eq!((status, &whole["missing"]), (StatusCode::CREATED, &json!([])), "{whole}");
    assert_eq!(world.control.held().len(), 2, "in each volume");
    world.away(true);
    let (_, part) = world.post("/api/v1/exports", wanted).await;
    assert_eq!(part["missing"], json!(["cellar"]), "{part}");
    let file = |export: &Value| format!("/api/v1/exports/{}/file", export["id"].as_str().expect("an id"));
    assert_eq!(world.headers(&file(&whole)).await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(world.headers(&file(&part)).await.0, StatusCode::OK);
    world.away(false);
    assert_eq!(world.headers(&file(&whole)).await.0, StatusCode::OK);
    assert_eq!(world.headers(&file(&part)).await.0, StatusCode::OK, "it is what it was");
}

#[tokio::test]
async fn a_range_is_held_in_each_volume_that_has_part_of_it_or_in_none() {
    let world = World::new();
    let range = |from: &str, to: &str| json!({"camera": "door", "from": from, "to": to});
    let both = || range("2026-03-01T12:00:05Z", "2026-03-01T12:00:15Z");
    let (status, made) = world.post("/api/v1/holds", both()).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    let holds = made["holds"].as_array().expect("a list");
    let mut volumes: Vec<&str> = holds.iter().filter_map(|hold| hold["volume"].as_str()).collect();
    volumes.sort_unstable();
    assert_eq!(
        (volumes, &made["missing"], &made["id"]),
        (vec!["attic", "cellar"], &json!([]), &holds[0]["id"])
    );
    let (_, one) = world.post("/api/v1/holds", range("2026-03-01T12:00:01Z", "2026-03-01T12:00:04Z")).await;
    assert_eq!(
        (one["holds"].as_array().map(Vec::len), &one["holds"][0]["volume"]),
        (Some(1), &json!("attic"))
    );
    let before = world.control.held();
    world.control.full.lock().expect("no panic").insert("cellar".to_owned());
    let (status, refused) = world.post("/api/v1/holds", both()).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(refused["detail"].as_str().is_some_and(|why| why.contains("cellar")), "{refused}");
    assert_eq!(world.control.held(), before, "nothing is left of it");
    world.control.full.lock().expect("no panic").clear();
    world.control.unwritten.lock().expect("no panic").insert("cellar".to_owned());
    let (status, made) = world.post("/api/v1/holds", both()).await;
    assert_eq!((status, &made["missing"]), (StatusCode::CREATED, &json!(["cellar"])), "{made}");
    world.away(true);
    let (status, made) = world.post("/api/v1/holds", both()).await;
    assert_eq!((status, &made["missing"]), (StatusCode::CREATED, &json!(["cellar"])), "{made}");
}

/// The yard stood in a volume that was away: once that was back the file came out as another one, and was 410 for ever.
#[tokio::test]
async fn an_export_of_several_streams_stays_what_it_is_when_a_volume_is_back() {
    let directory = tempfile::tempdir().expect("a directory");
    let attic = footage(directory.path(), &["door"]);
    let cellar = footage_in("cellar", NOON.plus_ns(12_000_000_000), directory.path(), &["door", "yard"]);
    let shed = footage_in("shed", NOON.plus_ns(-3_600_000_000_000), directory.path(), &["yard"]);
    let (control, path) = (Arc::new(FakeControl::default()), cellar.1.clone());
    let library = Library::new([attic, cellar, shed]);
    let app = app((directory.path(), ""), false, Arc::clone(&control), library);
    let server = Server::with(directory, app.clone(), true);
    let world = World { server, app, control, cellar: path };
    world.away(true);
    let wanted =
        json!({"streams": ["door", "yard"], "from": "2026-03-01T12:00:00Z", "to": "2026-03-01T12:00:30Z"});
    let (status, part) = world.post("/api/v1/exports", wanted).await;
    assert_eq!((status, &part["missing"]), (StatusCode::CREATED, &json!(["cellar"])), "{part}");
    let file = format!("/api/v1/exports/{}/file", part["id"].as_str().expect("an id"));
    let (status, before) = world.headers(&file).await;
    assert_eq!(status, StatusCode::OK);
    world.away(false);
    let (status, now) = world.headers(&file).await;
    assert_eq!(
        (status, &now["etag"], &now["content-length"]),
        (status, &before["etag"], &before["content-length"])
    );
    assert_eq!(status, StatusCode::OK, "it is what it was");
}

#[tokio::test]
async fn an_export_of_which_a_part_is_held_says_so() {
    let world = World::new();
    let wanted = json!({"streams": ["door"], "from": "2026-03-01T12:00:00Z", "to": "2026-03-01T12:00:30Z"});
    let held =
        |export: &Value| (export["held"].clone(), export["holding"].clone(), export["not_held"].clone());
    let (_, all) = world.post("/api/v1/exports", wanted.clone()).await;
    assert_eq!(held(&all), (json!(true), json!("all"), json!([])), "{all}");
    world.control.unwritten.lock().expect("no panic").insert("cellar".to_owned());
    let (_, part) = world.post("/api/v1/exports", wanted.clone()).await;
    assert_eq!(held(&part), (json!(false), json!("part"), json!(["cellar"])), "{part}");
    let (_, shown) = world.get(&format!("/api/v1/exports/{}", part["id"].as_str().expect("an id"))).await;
    assert_eq!(held(&shown), held(&part));
    world.control.refuse_holds(true);
    let (_, none) = world.post("/api/v1/exports", wanted).await;
    assert_eq!((&none["held"], &none["holding"]), (&json!(false), &json!("none")), "{none}");
}

/// It was answered that all was held, or that there was no such hold.
#[tokio::test]
async fn holds_name_the_volumes_that_could_not_be_looked_into() {
    let world = World::new();
    let (_, headers) = world.headers("/api/v1/holds").await;
    assert_eq!(headers.get(MISSING), None);
    world.away(true);
    let yard = json!({"camera": "yard", "from": "2026-03-01T12:00:00Z", "to": "2026-03-01T12:00:30Z"});
    let (status, made) = world.post("/api/v1/holds", yard).await;
    assert_eq!((status, &made["missing"]), (StatusCode::CREATED, &json!(["cellar"])), "{made}");
    let (status, headers) = world.headers("/api/v1/holds").await;
    assert_eq!(
        (status, headers.get(MISSING).map(|it| it.as_bytes())),
        (StatusCode::OK, Some(&b"cellar"[..]))
    );
    let hold = format!("/api/v1/holds/{}", keha_fs::Uuid::from_u128(7));
    let lift = async || {
        let root = basic_of("root");
        let answer = world.server.ask(Method::DELETE, &hold, &[("authorization", &root)], None).await;
        (answer.status, answer.body)
    };
    let (status, body) = lift().await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(body["detail"].as_str().is_some_and(|why| why.contains("cellar")), "{body}");
    world.away(false);
    assert_eq!(lift().await.0, StatusCode::NOT_FOUND);
}

/// The list had the pictures of one volume alone, and a mark of another one stood for another picture there.
#[tokio::test]
async fn pictures_are_of_all_volumes_and_marks_say_of_which() {
    let world = World::new();
    let path = format!("{DOOR}/pictures?step=picture&limit=333");
    for direction in ["forwards", "backwards"] {
        let (mut all, mut after) = (Vec::new(), String::new());
        loop {
            let (status, body) = world.get(&format!("{path}&direction={direction}{after}")).await;
            assert_eq!(status, StatusCode::OK, "{body}");
            let pictures = body["pictures"].as_array().expect("a list");
            all.extend(pictures.iter().map(|picture| picture["at"].as_str().expect("a moment").to_owned()));
            assert_eq!(body["missing"], json!([]));
            match body["next"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => break,
            }
        }
        if direction == "backwards" {
            all.reverse();
        }
        assert!(all.len() == 1000 && all.windows(2).all(|pair| pair[0] < pair[1]), "{direction}");
    }
    let mark = async |query: &str| {
        let (_, body) = world.get(&format!("{path}&{query}")).await;
        body["pictures"][0]["mark"].as_str().expect("a mark").to_owned()
    };
    let (attic, cellar) = (mark("at=2026-03-01T12:00:05Z").await, mark("at=2026-03-01T12:00:15Z").await);
    world.away(true);
    let behind = async |mark: &str| world.get(&format!("{path}&after={mark}")).await;
    let (status, body) = behind(&attic).await;
    assert_eq!((status, &body["missing"]), (StatusCode::OK, &json!(["cellar"])), "{body}");
    let (status, body) = behind(&cellar).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{body}");
    world.away(false);
    assert_eq!(behind(&cellar).await.0, StatusCode::OK);
}
