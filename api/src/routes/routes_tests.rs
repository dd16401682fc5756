//! Who gets what from which path, asked as clients ask.

use super::{App, router};
use crate::auth::{Cameras, Grant, Role};
use crate::gate::Gate;
use crate::server::{Services, Settings};
use crate::testing::FakeControl;
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

struct Server {
    _directory: tempfile::TempDir,
    router: Router,
}

/// What came back.
struct Answer {
    status: StatusCode,
    cookie: Option<String>,
    body: Value,
}

/// What is sent with a request.
type Fields<'a> = &'a [(&'a str, &'a str)];

impl Server {
    /// With users `root` (administrator), `anna` (viewer of the door) and `dora` (administrator of the door), each with the password
    /// `secret of NAME`; or with nobody.
    fn new(users: bool, loopback: bool) -> Server {
        let directory = tempfile::tempdir().expect("a directory");
        let gate = Gate::open(directory.path(), loopback).expect("a gate");
        let door = || Cameras::Only(["door".to_owned()].into());
        if users {
            let grants = [
                ("root", Grant { role: Role::Admin, cameras: Cameras::All }),
                ("anna", Grant { role: Role::Viewer, cameras: door() }),
                ("dora", Grant { role: Role::Admin, cameras: door() }),
            ];
            for (name, grant) in grants {
                gate.accounts().add_user(name, &format!("secret of {name}"), grant).expect("added");
            }
        }
        let settings = Settings {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            state: directory.path().to_owned(),
            base_path: String::new(),
            allowed_origins: Vec::new(),
            tls: None,
        };
        let library = Arc::new(Library::default());
        let services = Services { library, control: Arc::new(FakeControl::default()) };
        let router = router(App::new(gate, settings, services));
        Server { _directory: directory, router }
    }

    async fn ask(&self, method: Method, path: &str, fields: Fields<'_>, body: Option<Value>) -> Answer {
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
        let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.expect("a body");
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Answer { status, cookie, body }
    }

    async fn get(&self, path: &str, fields: Fields<'_>) -> Answer {
        self.ask(Method::GET, path, fields, None).await
    }

    /// Logs in: the cookie to send and the page's token.
    async fn log_in(&self, name: &str) -> (String, String) {
        let who = json!({"name": name, "password": format!("secret of {name}")});
        let answer = self.ask(Method::POST, "/api/v1/session", &[], Some(who)).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        let cookie = answer.cookie.expect("a cookie");
        assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
        let cookie = cookie.split(';').next().expect("a value").to_owned();
        (cookie, answer.body["forgery_token"].as_str().expect("a token").to_owned())
    }
}

fn basic(name: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{name}:{password}")))
}

fn basic_of(name: &str) -> String {
    basic(name, &format!("secret of {name}"))
}

/// Every path inside the gate, with what a right request brings, and who may: whoever is known (`false`), an administrator (`true`).
fn paths() -> Vec<(Method, &'static str, Option<Value>, bool)> {
    let grant = json!({"role": "viewer", "cameras": {"only": []}});
    vec![
        (Method::GET, "/api/v1/session", None, false),
        (Method::DELETE, "/api/v1/session", None, false),
        (Method::POST, "/api/v1/signed-urls", Some(json!({"path": "/api/v1/session", "seconds": 60})), false),
        (Method::GET, "/api/v1/users", None, true),
        (
            Method::POST,
            "/api/v1/users",
            Some(json!({"name": "bert", "password": "correct horse", "grant": grant})),
            true,
        ),
        (Method::PUT, "/api/v1/users/bert/password", Some(json!({"password": "battery staple"})), true),
        (Method::PUT, "/api/v1/users/bert/grant", Some(grant.clone()), true),
        (Method::DELETE, "/api/v1/users/bert", None, true),
        (Method::GET, "/api/v1/tokens", None, true),
        (Method::POST, "/api/v1/tokens", Some(json!({"label": "x", "grant": grant, "expires": null})), true),
    ]
}

#[tokio::test]
async fn every_path_asks_who_it_is_and_what_he_may() {
    let server = Server::new(true, false);
    for (method, path, body, administrator) in paths() {
        let wrong = basic("root", "wrong");
        let unknown: [(&str, StatusCode); 3] = [
            ("", StatusCode::UNAUTHORIZED),
            (&wrong, StatusCode::UNAUTHORIZED),
            ("Bearer keha_0000_AAAA", StatusCode::UNAUTHORIZED),
        ];
        for (authorization, expected) in unknown {
            let fields = [("authorization", authorization)];
            let fields: Fields<'_> = if authorization.is_empty() { &[] } else { &fields };
            let answer = server.ask(method.clone(), path, fields, body.clone()).await;
            assert_eq!(answer.status, expected, "{method} {path} {authorization}");
            assert_eq!(answer.body["status"], expected.as_u16(), "{}", answer.body);
        }
        for (name, allowed) in [("anna", !administrator), ("dora", !administrator), ("root", true)] {
            let answer =
                server.ask(method.clone(), path, &[("authorization", &basic_of(name))], body.clone()).await;
            let right =
                if allowed { answer.status.is_success() } else { answer.status == StatusCode::FORBIDDEN };
            assert!(right, "{method} {path} by {name}: {} {}", answer.status, answer.body);
        }
    }
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
