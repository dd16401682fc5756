//! Which pages of other sites may ask and read, judged as a browser judges (Fetch standard, CORS protocol).

use super::tests::{Fields, Server, basic_of};
use crate::app::App;
use crate::server::Settings;
use crate::testing::{app, footage};
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, HeaderName, Method, Request, StatusCode, header};
use keha_player::library::Library;
use std::net::SocketAddr;
use std::sync::Arc;
use tower::ServiceExt;

const WALL: &str = "https://wall.example";
/// Nearly the same, and others.
const FOREIGN: [&str; 6] = [
    "http://wall.example",
    "https://wall.example:8443",
    "https://wall.example.evil.example",
    "https://evil.example",
    "https://WALL.example",
    "null",
];

/// A server that lets the pages of these sites read, with footage of the door.
fn server(allowed: &[&str]) -> Server {
    let directory = tempfile::tempdir().expect("a directory");
    let library = Library::new([footage(directory.path(), &["door"])]);
    let app = app((directory.path(), ""), false, Arc::default(), library);
    let origins = allowed.iter().map(|origin| (*origin).to_owned()).collect();
    let settings = Settings { allowed_origins: origins, ..(*app.settings).clone() };
    Server::with(directory, App { settings: Arc::new(settings), ..app }, true)
}

async fn sent(server: &Server, method: Method, path: &str, fields: Fields<'_>) -> (StatusCode, HeaderMap) {
    let mut request = Request::builder().method(method).uri(path).header("host", "keha.example");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let mut request = request.body(Body::empty()).expect("a request");
    request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([192, 0, 2, 1], 5000))));
    let response = server.router.clone().oneshot(request).await.expect("an answer");
    (response.status(), response.headers().clone())
}

/// The parts of a header that is a list; lower case.
fn listed(headers: &HeaderMap, name: HeaderName) -> Vec<String> {
    let values = headers.get_all(name).into_iter().map(|value| value.to_str().expect("text"));
    values.flat_map(|value| value.split(',')).map(|part| part.trim().to_lowercase()).collect()
}

/// Whether a browser gives a page of this site what came back.
fn may_read(headers: &HeaderMap, origin: &str) -> bool {
    // What a browser sends by itself is never let through.
    assert!(!headers.contains_key(header::ACCESS_CONTROL_ALLOW_CREDENTIALS));
    // Else a cache gives one site what was answered to another.
    assert!(listed(headers, header::VARY).contains(&"origin".to_owned()), "{headers:?}");
    let allowed: Vec<_> = headers.get_all(header::ACCESS_CONTROL_ALLOW_ORIGIN).into_iter().collect();
    assert!(allowed.len() <= 1, "{allowed:?}");
    allowed.first().is_some_and(|allowed| *allowed == origin)
}

/// Whether a browser sends what a page of this site wants to, after it has asked whether it may.
async fn may_send(server: &Server, path: &str, origin: &str, method: &Method, field: &str) -> bool {
    let asked = [
        ("origin", origin),
        ("access-control-request-method", method.as_str()),
        ("access-control-request-headers", field),
    ];
    let (status, headers) = sent(server, Method::OPTIONS, path, &asked).await;
    assert!(!headers.contains_key(header::WWW_AUTHENTICATE), "whoever asks has no login yet");
    let methods = listed(&headers, header::ACCESS_CONTROL_ALLOW_METHODS);
    status.is_success()
        && may_read(&headers, origin)
        && methods.contains(&method.as_str().to_lowercase())
        && listed(&headers, header::ACCESS_CONTROL_ALLOW_HEADERS).contains(&field.to_owned())
}

#[tokio::test]
async fn a_page_of_another_site_sends_what_it_needs_if_its_site_is_allowed_and_no_session() {
    let (server, closed) = (server(&[WALL, "https://other.example"]), server(&[]));
    let needed = ["authorization", "content-type", "range", "if-range", "if-none-match"];
    let paths = ["/api/v1/cameras", "/api/v1/cameras/door/streams/main/footage", "/api/v1/nowhere"];
    for method in [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::DELETE] {
        for (path, field) in paths.iter().flat_map(|path| needed.map(|field| (*path, field))) {
            assert!(may_send(&server, path, WALL, &method, field).await, "{method} {path} {field}");
            assert!(!may_send(&closed, path, WALL, &method, field).await, "none is allowed: {method} {path}");
        }
        for field in ["x-keha-forgery-token", "cookie", "x-forwarded-for"] {
            assert!(!may_send(&server, paths[0], WALL, &method, field).await, "{method} {field}");
        }
        for origin in FOREIGN {
            assert!(!may_send(&server, paths[0], origin, &method, needed[0]).await, "{method} {origin}");
        }
    }
    assert!(!may_send(&server, paths[0], WALL, &Method::PATCH, needed[0]).await);
}

#[tokio::test]
async fn a_page_of_another_site_reads_every_answer_if_its_site_is_allowed_and_no_session() {
    let server = server(&[WALL]);
    let root = basic_of("root");
    let (cookie, _) = server.log_in("root").await;
    let (password, session) = (("authorization", root.as_str()), ("cookie", cookie.as_str()));
    for (path, login, here, there) in [
        ("/api/v1/cameras", Some(password), 200, 200),
        ("/api/v1/cameras", None, 401, 401),
        ("/api/v1/cameras", Some(session), 200, 403),
        ("/api/v1/nowhere", Some(password), 404, 404),
        ("/healthz", None, 200, 200),
    ] {
        let asked = async |origin: Option<&'static str>| {
            let fields: Vec<_> = login.into_iter().chain(origin.map(|origin| ("origin", origin))).collect();
            sent(&server, Method::GET, path, &fields).await
        };
        let (status, headers) = asked(None).await;
        assert_eq!(status, here, "{path} {login:?}");
        assert!(!may_read(&headers, "") && !headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN));
        let (status, headers) = asked(Some(WALL)).await;
        assert_eq!(status, there, "{path} {login:?}");
        assert!(may_read(&headers, WALL), "{path} {login:?}: {headers:?}");
        for origin in FOREIGN {
            let (status, headers) = asked(Some(origin)).await;
            assert!(status == there && !may_read(&headers, origin), "{path} {login:?} by {origin}: {status}");
        }
    }
}

#[tokio::test]
async fn a_page_of_another_site_goes_on_with_a_download() {
    let server = server(&[WALL]);
    let root = basic_of("root");
    let range = "from=2026-03-01T12:00:00Z&to=2026-03-01T12:00:05Z&format=mp4";
    let path = format!("/api/v1/cameras/door/streams/main/footage?{range}");
    let (page, range) = ([("authorization", root.as_str()), ("origin", WALL)], ("range", "bytes=100-199"));
    let (status, headers) = sent(&server, Method::GET, &path, &page).await;
    assert_eq!(status, StatusCode::OK);
    let told = listed(&headers, header::ACCESS_CONTROL_EXPOSE_HEADERS);
    let tag = headers.get(header::ETAG).expect("a tag").to_str().expect("text").to_owned();
    for (tag, expected) in [(tag.as_str(), StatusCode::PARTIAL_CONTENT), ("\"other\"", StatusCode::OK)] {
        let fields = [&page[..], &[range, ("if-range", tag)]].concat();
        let (status, headers) = sent(&server, Method::GET, &path, &fields).await;
        assert_eq!(status, expected, "{tag}");
        assert!(may_read(&headers, WALL));
        // What of it no page reads unless it is named.
        let read = ["etag", "accept-ranges", "content-range", "content-disposition", "x-keha-moment"];
        for name in read.into_iter().filter(|name| headers.contains_key(*name)) {
            assert!(told.contains(&name.to_owned()), "{name}");
        }
    }
}
