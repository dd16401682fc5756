//! Who gets what from which path, asked as clients ask.

use super::router;
use crate::app::App;
use crate::auth::{Cameras, Grant, Role};
use crate::testing::app;
use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Method, Request, StatusCode, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use keha_player::library::Library;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use tower::ServiceExt;

pub(crate) struct Server {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) router: Router,
}

/// What came back.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(super) cookie: Option<String>,
    pub(crate) tag: Option<String>,
    pub(crate) body: Value,
}

/// What is sent with a request.
pub(crate) type Fields<'a> = &'a [(&'a str, &'a str)];

impl Server {
    /// With users `root` (administrator), `anna` (viewer of the door) and `dora` (administrator of the door), each with the password
    /// `secret of NAME`; or with nobody.
    pub(crate) fn new(users: bool, loopback: bool) -> Server {
        Server::below("", users, loopback)
    }

    pub(crate) fn below(base: &str, users: bool, loopback: bool) -> Server {
        let directory = tempfile::tempdir().expect("a directory");
        let app = app((directory.path(), base), loopback, Arc::default(), Library::default());
        Server::with(directory, app, users)
    }

    /// The same of what handlers reach.
    pub(super) fn with(directory: tempfile::TempDir, app: App, users: bool) -> Server {
        let door = || Cameras::Only(["door".to_owned()].into());
        if users {
            let grants = [
                ("root", Grant { role: Role::Admin, cameras: Cameras::All }),
                ("anna", Grant { role: Role::Viewer, cameras: door() }),
                ("dora", Grant { role: Role::Admin, cameras: door() }),
            ];
            for (name, grant) in grants {
                app.gate.accounts().add_user(name, &format!("secret of {name}"), grant).expect("added");
            }
        }
        Server { directory, router: router(app) }
    }

    /// Another server after this one, with what it left in the same directory.
    pub(super) fn again(self, app: App) -> Server {
        Server { router: router(app), ..self }
    }

    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        fields: Fields<'_>,
        body: Option<Value>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        if !fields.iter().any(|(name, _)| *name == "host") {
            request = request.header("host", "127.0.0.1:8080");
        }
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let body = match body {
            Some(body) => {
                request = request.header(header::CONTENT_TYPE, "application/json");
                Body::from(body.to_string())
            }
            None => Body::empty(),
        };
        let mut request = request.body(body).expect("a request");
        request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([192, 0, 2, 1], 5000))));
        let response = self.router.clone().oneshot(request).await.expect("an answer");
        let status = response.status();
        assert_eq!(response.headers()["x-content-type-options"], "nosniff", "{path}");
        let cookie = response
            .headers()
            .get(header::SET_COOKIE)
            .map(|cookie| cookie.to_str().expect("text").to_owned());
        let tag = response.headers().get(header::ETAG).map(|tag| tag.to_str().expect("text").to_owned());
        let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.expect("a body");
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Answer { status, cookie, tag, body }
    }

    pub(crate) async fn get(&self, path: &str, fields: Fields<'_>) -> Answer {
        self.ask(Method::GET, path, fields, None).await
    }

    /// Logs in: the cookie to send and the page's token.
    pub(super) async fn log_in(&self, name: &str) -> (String, String) {
        let who = json!({"name": name, "password": format!("secret of {name}")});
        let answer = self.ask(Method::POST, "/api/v1/session", &[], Some(who)).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        let cookie = answer.cookie.expect("a cookie");
        assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
        let cookie = cookie.split(';').next().expect("a value").to_owned();
        (cookie, answer.body["forgery_token"].as_str().expect("a token").to_owned())
    }
}

pub(crate) fn basic(name: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{name}:{password}")))
}

pub(crate) fn basic_of(name: &str) -> String {
    basic(name, &format!("secret of {name}"))
}

/// Who may ask for a path.
#[derive(Clone, Copy, PartialEq)]
enum May {
    /// Whoever is known.
    Known,
    /// Whoever may see the door.
    See,
    /// Whoever may change the door.
    Change,
    /// Whoever may change all.
    Administer,
    /// Anybody.
    Anybody,
}

/// Every path that is described, with what a right request brings, and who may ask.
fn paths() -> Vec<(&'static str, &'static str, Option<Value>, May)> {
    let grant = json!({"role": "viewer", "cameras": {"only": []}});
    let camera = json!({"url": "rtsp://door.example/main"});
    let hold = json!({"camera": "door", "from": "-10m", "to": "now"});
    let bert = json!({"name": "bert", "password": "correct horse", "grant": grant});
    let token = json!({"label": "x", "grant": grant, "expires": null});
    vec![
        ("get", "/healthz", None, May::Anybody),
        ("get", "/readyz", None, May::Anybody),
        (
            "post",
            "/api/v1/session",
            Some(json!({"name": "anna", "password": "secret of anna"})),
            May::Anybody,
        ),
        ("get", "/api/v1/session", None, May::Known),
        ("delete", "/api/v1/session", None, May::Known),
        ("post", "/api/v1/signed-urls", Some(json!({"path": "/api/v1/session", "seconds": 60})), May::Known),
        ("get", "/api/v1/users", None, May::Administer),
        ("post", "/api/v1/users", Some(bert), May::Administer),
        (
            "put",
            "/api/v1/users/{user}/password",
            Some(json!({"password": "battery staple"})),
            May::Administer,
        ),
        ("put", "/api/v1/users/{user}/grant", Some(grant), May::Administer),
        ("delete", "/api/v1/users/{user}", None, May::Administer),
        ("get", "/api/v1/tokens", None, May::Administer),
        ("post", "/api/v1/tokens", Some(token), May::Administer),
        ("delete", "/api/v1/tokens/{token}", None, May::Administer),
        ("get", "/api/v1/cameras", None, May::Known),
        (
            "post",
            "/api/v1/cameras",
            Some(json!({"name": "gate", "url": "rtsp://gate.example/"})),
            May::Administer,
        ),
        ("get", "/api/v1/cameras/{camera}", None, May::See),
        ("put", "/api/v1/cameras/{camera}", Some(camera.clone()), May::Change),
        ("delete", "/api/v1/cameras/{camera}", None, May::Change),
        ("post", "/api/v1/camera-tests", Some(camera), May::Administer),
        (
            "put",
            "/api/v1/cameras/{camera}/streams/{stream}/recording",
            Some(json!({"on": false})),
            May::Change,
        ),
        ("get", "/api/v1/cameras/{camera}/streams/{stream}/timeline", None, May::See),
        ("get", "/api/v1/cameras/{camera}/streams/{stream}/days", None, May::See),
        ("get", "/api/v1/cameras/{camera}/streams/{stream}/footage", None, May::See),
        ("get", "/api/v1/cameras/{camera}/streams/{stream}/snapshot.jpg", None, May::See),
        ("get", "/api/v1/cameras/{camera}/streams/{stream}/pictures", None, May::See),
        ("get", "/api/v1/cameras/{camera}/streams/{stream}/hls/live.m3u8", None, May::See),
        ("get", "/api/v1/cameras/{camera}/streams/{stream}/hls/vod.m3u8", None, May::See),
        ("get", "/api/v1/cameras/{camera}/streams/{stream}/hls/{file}", None, May::See),
        ("get", "/api/v1/cameras/{camera}/hls/master.m3u8", None, May::See),
        ("get", "/api/v1/footage?streams={camera}", None, May::See),
        ("get", "/api/v1/exports", None, May::Known),
        (
            "post",
            "/api/v1/exports",
            Some(json!({"streams": ["door"], "from": "-10m", "to": "now"})),
            May::Known,
        ),
        ("get", "/api/v1/exports/{export}", None, May::Known),
        ("delete", "/api/v1/exports/{export}", None, May::Known),
        ("get", "/api/v1/exports/{export}/file", None, May::Known),
        ("get", "/api/v1/cameras/{camera}/streams/{stream}/live", None, May::See),
        ("get", "/api/v1/events", None, May::Known),
        ("get", "/api/v1/events/live", None, May::Known),
        ("get", "/api/v1/timeline", None, May::Known),
        ("get", "/api/v1/forecast", None, May::Known),
        ("get", "/api/v1/holds", None, May::Known),
        ("post", "/api/v1/holds", Some(hold), May::Change),
        ("delete", "/api/v1/holds/{hold}", None, May::Known),
        ("get", "/api/v1/volumes", None, May::Administer),
        ("get", "/api/v1/metrics", None, May::Administer),
        ("get", "/metrics", None, May::Administer),
    ]
}

fn filled(path: &str, camera: &str) -> String {
    let path = path
        .replace("{camera}", camera)
        .replace("{stream}", "main")
        .replace("{user}", "bert")
        .replace("{file}", "x.m4s")
        .replace("{export}", "0000");
    path.replace("{token}", "0000").replace("{hold}", "00000000-0000-0000-0000-000000000000")
}

#[tokio::test]
async fn every_path_that_is_described_is_known_here() {
    let server = Server::new(true, false);
    let document = server.get("/api/openapi.json", &[]).await.body;
    let described = document["paths"].as_object().expect("paths").iter();
    let mut described: Vec<(String, String)> = described
        .flat_map(|(path, item)| {
            item.as_object().expect("methods").keys().map(|method| (path.clone(), method.clone()))
        })
        .collect();
    let mut known: Vec<(String, String)> = paths()
        .iter()
        .map(|(method, path, ..)| {
            let path = path.split('?').next().unwrap_or_default();
            (path.to_owned(), (*method).to_owned())
        })
        .collect();
    described.sort();
    known.sort();
    assert_eq!(described, known);
}

#[tokio::test]
async fn every_path_asks_who_it_is_and_what_he_may() {
    let server = Server::new(true, false);
    for (method, path, body, may) in paths() {
        let method: Method = method.to_uppercase().parse().expect("a method");
        let ask = async |path: &str, fields: Fields<'_>| {
            server.ask(method.clone(), path, fields, body.clone()).await
        };
        let door = filled(path, "door");
        for authorization in ["", "Bearer keha_0000_AAAA", "Basic ???"] {
            let fields = [("authorization", authorization)];
            let answer = ask(&door, if authorization.is_empty() { &[] } else { &fields }).await;
            let refused = answer.status == StatusCode::UNAUTHORIZED;
            assert_eq!(refused, may != May::Anybody, "{method} {path} {authorization}: {}", answer.status);
            assert!(!refused || answer.body["status"] == 401, "{}", answer.body);
        }
        let allowed = |name| match may {
            May::Anybody | May::Known | May::See => true,
            May::Change => name != "anna",
            May::Administer => name == "root",
        };
        for name in ["anna", "dora", "root"] {
            let known = basic_of(name);
            let answer = ask(&door, &[("authorization", &known)]).await;
            let forbidden = answer.status == StatusCode::FORBIDDEN;
            assert_eq!(
                forbidden,
                !allowed(name),
                "{method} {path} by {name}: {} {}",
                answer.status,
                answer.body
            );
            assert_ne!(answer.status, StatusCode::INTERNAL_SERVER_ERROR, "{method} {path}: {}", answer.body);
            // Another camera's, whether it is there or not.
            for other in ["yard", "nowhere", "..%2fdoor", "door%2f..%2fyard", "%00"] {
                let elsewhere = filled(path, other);
                if elsewhere == door || name == "root" {
                    continue;
                }
                let answer = ask(&elsewhere, &[("authorization", &known)]).await;
                // What is no name at all is said to be none, where it stands in the query.
                let no_name = path.contains('?') && answer.status == StatusCode::UNPROCESSABLE_ENTITY;
                let right = no_name || answer.status == StatusCode::FORBIDDEN;
                assert!(right, "{method} {elsewhere} by {name}: {}", answer.status);
            }
        }
    }
}

#[tokio::test]
async fn cameras_of_the_file_are_read_only_and_others_come_and_go() {
    let server = Server::new(true, false);
    let root = basic_of("root");
    let fields: Fields<'_> = &[("authorization", &root)];
    let url = json!({"url": "rtsp://root:secret@gate.example/main"});
    let door = server.ask(Method::PUT, "/api/v1/cameras/door", fields, Some(url.clone())).await;
    assert_eq!(door.status, StatusCode::CONFLICT, "{}", door.body);
    assert!(door.body["detail"].as_str().is_some_and(|detail| detail.contains("configuration file")));
    let mut gate = url.clone();
    gate["name"] = json!("gate");
    for expected in [StatusCode::CREATED, StatusCode::CONFLICT] {
        let added = server.ask(Method::POST, "/api/v1/cameras", fields, Some(gate.clone())).await;
        assert_eq!(added.status, expected, "{}", added.body);
    }
    let shown = server.get("/api/v1/cameras/gate", fields).await;
    assert_eq!((shown.status, &shown.body["read_only"]), (StatusCode::OK, &json!(false)));
    assert!(!shown.body.to_string().contains("secret"), "{}", shown.body);
    let changed = server.ask(Method::PUT, "/api/v1/cameras/gate", fields, Some(url)).await;
    assert_eq!(changed.status, StatusCode::NO_CONTENT, "{}", changed.body);
    let removed = server.ask(Method::DELETE, "/api/v1/cameras/gate", fields, None).await;
    assert_eq!(removed.status, StatusCode::NO_CONTENT);
    assert_eq!(server.get("/api/v1/cameras/gate", fields).await.status, StatusCode::NOT_FOUND);
    let seen = server.get("/api/v1/cameras", &[("authorization", &basic_of("anna"))]).await.body;
    assert_eq!(seen.as_array().map(Vec::len), Some(1), "{seen}");
}

#[tokio::test]
async fn what_does_not_do_is_a_problem_that_says_why() {
    let server = Server::new(true, false);
    let root = basic_of("root");
    let fields: Fields<'_> = &[("authorization", &root)];
    let long = json!({"name": "x".repeat(100_000), "url": "rtsp://x/"});
    let table = [
        (Method::POST, "/api/v1/cameras", Some(json!({"nam": "gate"})), 422, "nam"),
        (Method::POST, "/api/v1/cameras", Some(json!({"name": 7, "url": "x"})), 422, "name"),
        (Method::POST, "/api/v1/cameras", Some(json!({"url": "rtsp://x/"})), 422, "name"),
        (Method::POST, "/api/v1/cameras", None, 415, "Content-Type"),
        (Method::POST, "/api/v1/cameras", Some(long), 413, "limit"),
        (Method::GET, "/api/v1/timeline?from=yesterday", None, 422, "from"),
        (Method::GET, "/api/v1/timeline?from=now&to=-5m", None, 422, "ends"),
        (Method::GET, "/api/v1/timeline?resolution=5", None, 422, "resolution"),
        (Method::GET, "/api/v1/cameras/door/streams/main/days?zone=Mars/Base", None, 422, "zone"),
        (Method::GET, "/api/v1/cameras/door/streams/main/timeline", None, 404, "door"),
        (Method::GET, "/api/v1/cameras/door/streams/a.b/timeline", None, 404, "camera"),
        (Method::PATCH, "/api/v1/cameras", None, 405, "method"),
        (Method::DELETE, "/api/v1/holds/x", None, 404, "hold"),
    ];
    for (method, path, body, status, says) in table {
        let answer = server.ask(method.clone(), path, fields, body).await;
        let detail = answer.body["detail"].as_str().unwrap_or_default();
        assert!(
            answer.status == status && detail.contains(says),
            "{method} {path}: {} {}",
            answer.status,
            answer.body
        );
    }
}

#[tokio::test]
async fn an_answer_that_did_not_change_is_not_sent_again() {
    let server = Server::new(true, false);
    let root = basic_of("root");
    let first = server.get("/api/v1/cameras", &[("authorization", &root)]).await;
    let tag = first.tag.expect("a tag");
    let again = server.get("/api/v1/cameras", &[("authorization", &root), ("if-none-match", &tag)]).await;
    assert_eq!((again.status, again.body), (StatusCode::NOT_MODIFIED, Value::Null));
}

#[tokio::test]
async fn a_session_changes_something_only_with_the_token_of_its_page() {
    let server = Server::new(true, false);
    let (cookie, token) = server.log_in("root").await;
    let session = [("cookie", cookie.as_str())];
    let shown = server.get("/api/v1/session", &session).await;
    assert_eq!((shown.status, &shown.body["user"]), (StatusCode::OK, &json!("root")));
    assert_eq!(shown.body["forgery_token"], json!(token));
    let body = || Some(json!({"path": "/api/v1/session", "seconds": 60}));
    let post = async |fields: Fields<'_>| {
        server.ask(Method::POST, "/api/v1/signed-urls", fields, body()).await.status
    };
    assert_eq!(post(&session).await, StatusCode::FORBIDDEN);
    assert_eq!(post(&[session[0], ("x-keha-forgery-token", "x")]).await, StatusCode::FORBIDDEN);
    assert_eq!(post(&[session[0], ("x-keha-forgery-token", &token)]).await, StatusCode::OK);
    let foreign = [session[0], ("x-keha-forgery-token", &token), ("origin", "https://evil.example")];
    assert_eq!(post(&foreign).await, StatusCode::FORBIDDEN);
    let read = server.get("/api/v1/users", &[session[0], ("origin", "https://evil.example")]).await;
    assert_eq!(read.status, StatusCode::FORBIDDEN, "also where it only reads, or opens a WebSocket");
}

#[tokio::test]
async fn another_password_ends_sessions_and_signed_urls() {
    let server = Server::new(true, false);
    let (cookie, token) = server.log_in("anna").await;
    let signed = server
        .ask(
            Method::POST,
            "/api/v1/signed-urls",
            &[("cookie", &cookie), ("x-keha-forgery-token", &token)],
            Some(json!({"path": "/api/v1/session", "seconds": 60})),
        )
        .await;
    let url = signed.body["url"].as_str().expect("a URL").to_owned();
    assert_eq!(server.get(&url, &[]).await.status, StatusCode::OK);
    let elsewhere = url.replace("/session?", "/users?");
    assert_eq!(server.get(&elsewhere, &[]).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(server.ask(Method::DELETE, &url, &[], None).await.status, StatusCode::UNAUTHORIZED);
    let new = Some(json!({"password": "another secret"}));
    let path = "/api/v1/users/anna/password";
    let answer = server.ask(Method::PUT, path, &[("authorization", &basic_of("anna"))], new).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT, "{}", answer.body);
    assert_eq!(server.get(&url, &[]).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(server.get("/api/v1/session", &[("cookie", &cookie)]).await.status, StatusCode::UNAUTHORIZED);
    let old = server.get("/api/v1/session", &[("authorization", &basic_of("anna"))]).await;
    assert_eq!(
        old.status,
        StatusCode::UNAUTHORIZED,
        "what was remembered of the old password counts no more"
    );
}

#[tokio::test]
async fn a_token_is_told_once_and_opens_until_it_is_removed() {
    let server = Server::new(true, false);
    let root = basic_of("root");
    let new = json!({"label": "script", "grant": {"role": "viewer", "cameras": {"only": ["door"]}}, "expires": null});
    let made = server.ask(Method::POST, "/api/v1/tokens", &[("authorization", &root)], Some(new)).await;
    let bearer = format!("Bearer {}", made.body["token"].as_str().expect("a token"));
    let shown = server.get("/api/v1/session", &[("authorization", &bearer)]).await;
    assert_eq!(shown.body["grant"]["cameras"], json!({"only": ["door"]}));
    let listed = server.get("/api/v1/tokens", &[("authorization", &root)]).await.body.to_string();
    assert!(listed.contains("script") && !listed.contains(&bearer[30..]), "{listed}");
    let path = format!("/api/v1/tokens/{}", made.body["id"].as_str().expect("an identifier"));
    assert_eq!(
        server.ask(Method::DELETE, &path, &[("authorization", &root)], None).await.status,
        StatusCode::NO_CONTENT
    );
    assert_eq!(
        server.get("/api/v1/session", &[("authorization", &bearer)]).await.status,
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test]
async fn who_tries_many_passwords_waits_and_others_do_not() {
    let server = Server::new(true, false);
    let mut statuses = Vec::new();
    for attempt in 0..11 {
        let wrong = basic("anna", &format!("wrong {attempt}"));
        statuses.push(server.get("/api/v1/session", &[("authorization", &wrong)]).await.status);
    }
    assert_eq!(statuses.pop(), Some(StatusCode::TOO_MANY_REQUESTS));
    assert!(statuses.iter().all(|status| *status == StatusCode::UNAUTHORIZED), "{statuses:?}");
    let right = server.get("/api/v1/session", &[("authorization", &basic_of("anna"))]).await;
    assert_eq!(
        right.status,
        StatusCode::TOO_MANY_REQUESTS,
        "the right one, too: else he would know that it is"
    );
}

#[tokio::test]
async fn without_users_this_machine_alone_is_let_in() {
    let open = Server::new(false, true);
    assert_eq!(open.get("/api/v1/users", &[]).await.status, StatusCode::OK);
    let rebound = open.get("/api/v1/users", &[("host", "evil.example")]).await;
    assert_eq!(rebound.status, StatusCode::FORBIDDEN);
    let foreign = open.get("/api/v1/users", &[("origin", "https://evil.example")]).await;
    assert_eq!(foreign.status, StatusCode::FORBIDDEN);
    let elsewhere = Server::new(false, false);
    assert_eq!(elsewhere.get("/api/v1/users", &[]).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn the_first_user_ends_that() {
    let open = Server::new(false, true);
    let new =
        json!({"name": "root", "password": "secret of root", "grant": {"role": "admin", "cameras": "all"}});
    assert_eq!(open.ask(Method::POST, "/api/v1/users", &[], Some(new)).await.status, StatusCode::CREATED);
    assert_eq!(open.get("/api/v1/users", &[]).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(
        open.get("/api/v1/users", &[("authorization", &basic_of("root"))]).await.status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn whether_it_is_alive_anybody_may_ask() {
    let server = Server::new(true, false);
    assert_eq!(server.get("/healthz", &[]).await.status, StatusCode::OK);
    assert_eq!(server.get("/nowhere", &[]).await.status, StatusCode::NOT_FOUND);
    assert_eq!(server.get("/api/v1/nowhere", &[]).await.status, StatusCode::NOT_FOUND);
}
