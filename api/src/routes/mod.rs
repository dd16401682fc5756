//! The paths of the interface, each in a file of its own. What is below `/api/v1` passes the gate, and so does `/metrics`.

mod camera_documents;
mod cameras;
mod events;
mod exports;
mod footage;
mod health;
mod hls;
mod holds;
mod live;
mod metrics;
mod pages;
mod pictures;
mod session;
mod signed_urls;
mod snapshot;
mod socket;
mod timeline;
mod tokens;
mod users;
mod volumes;

pub(crate) use footage::Container;
pub(crate) use health::Readiness;

use crate::app::App;
use crate::gate;
use crate::openapi::Document;
use crate::problem::Problem;
use crate::{audit, etag};
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{from_fn, from_fn_with_state, map_response};
use axum::response::Response;
use axum::routing::get;
use tower_http::cors::{AllowOrigin, CorsLayer};
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use utoipa_swagger_ui::{Config, SwaggerUi};

/// Below what all paths but those of the pages are.
pub(crate) const API: &str = "/api/v1";

/// In which header stands of when a picture is, or the first of a file.
pub(crate) const MOMENT: HeaderName = HeaderName::from_static("x-keha-moment");
/// In which header stand the volumes that do not answer and may have part of what was asked for.
pub(crate) const MISSING: HeaderName = HeaderName::from_static("x-keha-missing-volumes");
/// The most bytes of a request's body: what is sent here is small.
const BODY_BYTES_MAX: usize = 64 << 10;

/// All paths.
pub(crate) fn router(app: App) -> Router {
    let (base, origins) = (app.settings.base_path.clone(), app.settings.allowed_origins.clone());
    let (router, described) = described(app);
    let document = Document::new(&described);
    let router =
        router.merge(pages::parts()).route("/api/openapi.json", get(async move || document.answer()));
    // What is nested loses the `/` at its end, and with it what the links of a page count from.
    let docs = SwaggerUi::new(format!("{base}/api/docs")).config(Config::from("../openapi.json"));
    let router = match base.as_str() {
        "" => router,
        base => Router::new().nest(base, router).merge(pages::entrance(base)),
    };
    router
        .route(&format!("{base}/"), get(pages::page))
        .layer(from_fn(etag::tagged))
        // Large files that never change: they are not hashed for each who asks.
        .merge(docs)
        .method_not_allowed_fallback(async || {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "this path knows no such method: see /api/docs")
        })
        .fallback(async || Problem::new(StatusCode::NOT_FOUND, "there is no such path: see /api/docs"))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(cors(&origins))
        .layer(map_response(protected))
}

/// Which other sites' pages may read answers. They send a token or a password; never a session.
fn cors(origins: &[String]) -> CorsLayer {
    let origins = origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok());
    let methods = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::DELETE];
    let sent =
        [header::AUTHORIZATION, header::CONTENT_TYPE, header::RANGE, header::IF_RANGE, header::IF_NONE_MATCH];
    let read = [
        header::ETAG,
        header::CONTENT_RANGE,
        header::ACCEPT_RANGES,
        header::CONTENT_DISPOSITION,
        MOMENT,
        MISSING,
    ];
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins))
        .allow_methods(methods)
        .allow_headers(sent)
        .expose_headers(read)
}

/// Says which volumes do not answer and may have part of what was asked for, if any.
fn told_missing(mut response: Response, missing: &[String]) -> Response {
    if !missing.is_empty()
        && let Ok(missing) = HeaderValue::from_str(&missing.join(", "))
    {
        response.headers_mut().insert(MISSING, missing);
    }
    response
}

/// The paths that are described, and what is said of them.
fn described(app: App) -> (Router, OpenApi) {
    let inside = OpenApiRouter::new()
        .routes(routes!(session::show, session::end))
        .routes(routes!(signed_urls::make))
        .routes(routes!(users::list, users::add))
        .routes(routes!(users::remove))
        .routes(routes!(users::set_password))
        .routes(routes!(users::set_grant))
        .routes(routes!(tokens::list, tokens::add))
        .routes(routes!(tokens::remove))
        .routes(routes!(cameras::list, cameras::add))
        .routes(routes!(cameras::show, cameras::change, cameras::remove))
        .routes(routes!(cameras::bring_home))
        .routes(routes!(cameras::test))
        .routes(routes!(cameras::record))
        .routes(routes!(timeline::of_stream))
        .routes(routes!(timeline::of_all))
        .routes(routes!(timeline::days))
        .routes(routes!(live::watch))
        .routes(routes!(timeline::forecast))
        .routes(routes!(footage::of_stream))
        .routes(routes!(footage::of_several))
        .routes(routes!(exports::list, exports::add))
        .routes(routes!(exports::show, exports::remove))
        .routes(routes!(exports::file))
        .routes(routes!(hls::choices))
        .routes(routes!(hls::live))
        .routes(routes!(hls::recorded))
        .routes(routes!(hls::segment))
        .routes(routes!(pictures::list))
        .routes(routes!(snapshot::show))
        .routes(routes!(holds::list, holds::add))
        .routes(routes!(holds::lift))
        .routes(routes!(events::list))
        .routes(routes!(events::follow))
        .routes(routes!(volumes::list))
        .routes(routes!(metrics::show));
    let inside = guarded(inside, &app)
        // Logging in is asked by somebody whom nobody knows yet.
        .routes(routes!(session::begin));
    let (router, mut described) = OpenApiRouter::with_openapi(crate::openapi::document())
        .routes(routes!(health::alive))
        .routes(routes!(health::ready))
        .nest(API, inside)
        // Where Prometheus looks if it is told nothing else.
        .merge(guarded(OpenApiRouter::new().routes(routes!(metrics::show)), &app))
        .with_state(app)
        .split_for_parts();
    crate::openapi::complete(&mut described);
    (router, described)
}

/// The same, where the gate knows who asks, and the audit log is told.
fn guarded(paths: OpenApiRouter<App>, app: &App) -> OpenApiRouter<App> {
    paths
        .layer(from_fn_with_state(app.clone(), audit::layer))
        .layer(from_fn_with_state(app.gate.clone(), gate::pass))
        .layer(from_fn_with_state(app.clone(), audit::refusals))
}

/// What no answer goes without: it is kept in no shared cache, taken for nothing but what it says, and shown in no other site's frame.
async fn protected(mut response: Response) -> Response {
    let headers = response.headers_mut();
    let fields = [
        (header::CACHE_CONTROL, "private, no-cache"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "SAMEORIGIN"),
        (header::REFERRER_POLICY, "same-origin"),
    ];
    for (name, value) in fields {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod across_tests;
#[cfg(test)]
mod bounds_tests;
#[cfg(test)]
mod cors_tests;
#[cfg(test)]
#[path = "routes_tests.rs"]
pub(crate) mod tests;

#[cfg(test)]
#[path = "proxy_tests.rs"]
mod proxy_tests;

#[cfg(test)]
mod exports_tests;

#[cfg(test)]
mod rights_tests;
