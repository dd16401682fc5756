//! The page that people see: files built into the program. It asks the API for everything it shows.

use axum::Router;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

/// The page runs nothing but its own script, and is told nothing by others.
const POLICY: &str =
    "default-src 'self'; media-src 'self' blob:; img-src 'self' data:; frame-ancestors 'self'";

/// The page and its parts.
pub(super) fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/", get(async || file("text/html; charset=utf-8", include_str!("../../web/index.html"))))
        .route(
            "/web/keha.js",
            get(async || file("text/javascript; charset=utf-8", include_str!("../../web/keha.js"))),
        )
        .route(
            "/web/keha.css",
            get(async || file("text/css; charset=utf-8", include_str!("../../web/keha.css"))),
        )
}

fn file(kind: &'static str, text: &'static str) -> Response {
    let headers: [(HeaderName, HeaderValue); 2] = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
    ];
    (headers, text).into_response()
}
