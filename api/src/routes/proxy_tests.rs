//! What a proxy in front of the server makes different: the path below which it answers, and who asks.

use super::tests::{Fields, Server, basic_of};
use crate::connections::ByHttps;
use axum::body::{Body, to_bytes};
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use serde_json::json;
use std::net::SocketAddr;
use tower::ServiceExt;

/// An answer as it is sent, without its date.
async fn sent(server: &Server, method: Method, path: &str) -> (StatusCode, HeaderMap, String) {
    let request = Request::builder().method(method).uri(path).header("host", "127.0.0.1:8480");
    let mut request = request.body(Body::empty()).expect("a request");
    request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([127, 0, 0, 1], 5000))));
    let response = server.router.clone().oneshot(request).await.expect("an answer");
    let (parts, body) = response.into_parts();
    let text = to_bytes(body, 4 << 20).await.expect("a body");
    (parts.status, parts.headers, String::from_utf8_lossy(&text).into_owned())
}

#[tokio::test]
async fn below_a_base_path_every_kind_of_path_is_there_and_no_link_leaves_it() {
    let server = Server::below("/keha", true, false);
    for (from, to) in [("/keha", "/keha/"), ("/keha/api/docs", "/keha/api/docs/")] {
        let (status, headers, _) = sent(&server, Method::GET, from).await;
        assert!(status.is_redirection(), "{from}: {status}");
        assert_eq!(headers[header::LOCATION], to);
    }
    for (path, kind, holds) in [
        ("/keha/", "text/html", "src=\"web/keha.js\""),
        ("/keha/web/keha.js", "text/javascript", "'api/v1'"),
        ("/keha/web/keha.css", "text/css", "{"),
        ("/keha/api/docs/", "text/html", "swagger"),
        ("/keha/api/openapi.json", "application/json", "\"/api/v1/session\""),
        ("/keha/healthz", "", ""),
    ] {
        let (status, headers, text) = sent(&server, Method::GET, path).await;
        let is = headers.get(header::CONTENT_TYPE).map_or("", |kind| kind.to_str().expect("text"));
        assert!(
            status == StatusCode::OK && is.starts_with(kind) && text.contains(holds),
            "{path}: {status} {is}"
        );
    }
    for path in ["/", "/api/v1/session", "/kehax/", "/keha/nowhere", "/keha/api/v1/nowhere"] {
        let (status, headers, _) = sent(&server, Method::GET, path).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
        assert_eq!(headers[header::CONTENT_TYPE], "application/problem+json", "{path}");
    }
    assert_eq!(sent(&server, Method::POST, "/keha/").await.0, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn a_url_that_is_signed_below_a_base_path_opens_what_it_names() {
    let server = Server::below("/keha", true, false);
    let anna = basic_of("anna");
    let hls = "/api/v1/cameras/door/streams/main/hls/";
    for (wanted, opened) in [
        ("/api/v1/session".to_owned(), ""),
        ("/keha/api/v1/session".to_owned(), ""),
        (hls.to_owned(), "live.m3u8"),
    ] {
        let body = json!({"path": wanted, "seconds": 60});
        let signed = server
            .ask(Method::POST, "/keha/api/v1/signed-urls", &[("authorization", &anna)], Some(body))
            .await;
        let url = signed.body["url"].as_str().expect("a URL").to_owned();
        let (path, query) = url.split_once('?').expect("what signs it");
        assert!(path.starts_with("/keha/api/v1/"), "{url}");
        let answer = server.get(&format!("{path}{opened}?{query}"), &[]).await;
        // Nothing is recorded of the door.
        let expected = if opened.is_empty() { StatusCode::OK } else { StatusCode::NOT_FOUND };
        assert_eq!(answer.status, expected, "{url}: {}", answer.body);
        let elsewhere = server.get(&format!("/keha/api/v1/users?{query}"), &[]).await;
        assert_eq!(elsewhere.status, StatusCode::UNAUTHORIZED);
    }
    let outside = json!({"path": "/keha/healthz", "seconds": 60});
    let refused = server
        .ask(Method::POST, "/keha/api/v1/signed-urls", &[("authorization", &anna)], Some(outside))
        .await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn without_users_nobody_comes_in_through_a_proxy() {
    let open = Server::new(false, true);
    assert_eq!(open.get("/api/v1/users", &[]).await.status, StatusCode::OK);
    for name in ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via"] {
        let fields: Fields<'_> = &[(name, "203.0.113.5")];
        let answer = open.get("/api/v1/users", fields).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{name}");
        assert!(answer.body["detail"].as_str().is_some_and(|why| why.contains("keha user add")), "{name}");
    }
    let below = Server::below("/keha", false, true);
    assert_eq!(below.get("/keha/api/v1/users", &[]).await.status, StatusCode::FORBIDDEN);
    let known = Server::below("/keha", true, true);
    let fields: Fields<'_> = &[("x-forwarded-for", "203.0.113.5"), ("authorization", &basic_of("root"))];
    assert_eq!(known.get("/keha/api/v1/users", fields).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_session_goes_no_further_than_the_path_of_this_server_and_as_encrypted_as_it_was_asked() {
    for (base, path, encrypted) in [("", "/", true), ("", "/", false), ("/keha", "/keha", true)] {
        let server = Server::below(base, true, false);
        let who = json!({"name": "root", "password": "secret of root"}).to_string();
        let request = Request::builder().method(Method::POST).uri(format!("{base}/api/v1/session"));
        let request = request.header("host", "keha.example").header("content-type", "application/json");
        let mut request = request.body(Body::from(who)).expect("a request");
        request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([192, 0, 2, 1], 5000))));
        if encrypted {
            request.extensions_mut().insert(ByHttps);
        }
        let response = server.router.clone().oneshot(request).await.expect("an answer");
        let begun = response.headers()[header::SET_COOKIE].to_str().expect("text").to_owned();
        let fields: Fields<'_> = &[("authorization", &basic_of("root"))];
        let ended = server.ask(Method::DELETE, &format!("{base}/api/v1/session"), fields, None).await;
        for (cookie, secure) in [(begun, encrypted), (ended.cookie.expect("one"), false)] {
            let parts: Vec<&str> = cookie.split("; ").collect();
            assert!(parts.contains(&format!("Path={path}").as_str()), "{cookie}");
            assert_eq!(parts.contains(&"Secure"), secure, "{cookie}");
        }
    }
}
