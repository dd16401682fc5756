//! The page that people see: files built into the program. It asks the API for everything it shows.

use axum::Router;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;

/// The page runs nothing but its own script, and is told nothing by others.
const POLICY: &str =
    "default-src 'self'; media-src 'self' blob:; img-src 'self' data:; frame-ancestors 'self'";

/// The page. Its links count from the `/` that it is at.
pub(super) async fn page() -> Response {
    file("text/html; charset=utf-8", include_str!("../../web/index.html"))
}

/// Leads to the page of a server that answers below a path.
pub(super) fn entrance<S: Clone + Send + Sync + 'static>(base: &str) -> Router<S> {
    let page = format!("{base}/");
    Router::new().route(base, get(async move || Redirect::temporary(&page)))
}

/// The parts of the page.
pub(super) fn parts<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
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
