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
    /// As JSON; what is none as text.
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
    pub(crate) fn with(directory: tempfile::TempDir, app: App, users: bool) -> Server {
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
        let text = || match bytes.is_empty() {
            true => Value::Null,
            false => String::from_utf8_lossy(&bytes).into(),
        };
        let body = serde_json::from_slice(&bytes).unwrap_or_else(|_| text());
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
