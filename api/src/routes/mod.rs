//! The paths of the interface, each in a file of its own. What is below `/api/v1` passes the gate.

mod health;
mod session;
mod signed_urls;
mod tokens;
mod users;

use crate::auth::Accounts;
use crate::gate::{self, Gate};
use crate::problem::Problem;
use crate::server::{Services, Settings};
use axum::Router;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::Response;
use axum::routing::{delete, get, post, put};
use std::sync::Arc;

/// What every handler reaches.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) gate: Arc<Gate>,
    pub(crate) services: Services,
    pub(crate) settings: Arc<Settings>,
    /// Whether browsers reach this server by TLS alone.
    pub(crate) tls: bool,
}

impl App {
    pub(crate) fn new(gate: Gate, settings: Settings, services: Services) -> App {
        App { gate: Arc::new(gate), services, settings: Arc::new(settings), tls: false }
    }

    /// Changes the accounts: hashing a password and flushing a file take a while, on a thread that may wait.
    async fn change<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut Accounts) -> crate::Result<T> + Send + 'static,
    ) -> Result<T, Problem> {
        let gate = self.gate.clone();
        let changed = tokio::task::spawn_blocking(move || gate.change_accounts(change)).await;
        Ok(changed.map_err(|error| Problem::internal(&error))??)
    }
}

/// All paths.
pub(crate) fn router(app: App) -> Router {
    let inside = Router::new()
        .route("/session", get(session::show).delete(session::end))
        .route("/signed-urls", post(signed_urls::make))
        .route("/users", get(users::list).post(users::add))
        .route("/users/{user}", delete(users::remove))
        .route("/users/{user}/password", put(users::set_password))
        .route("/users/{user}/grant", put(users::set_grant))
        .route("/tokens", get(tokens::list).post(tokens::add))
        .route("/tokens/{token}", delete(tokens::remove))
        .layer(from_fn_with_state(app.gate.clone(), gate::pass))
        // Logging in is asked by somebody whom nobody knows yet.
        .route("/session", post(session::begin))
        .with_state(app);
    Router::new()
        .route("/healthz", get(health::alive))
        .nest("/api/v1", inside)
        .fallback(async || Problem::new(StatusCode::NOT_FOUND, "there is no such path: see /api/docs"))
        .layer(map_response(protected))
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
#[path = "routes_tests.rs"]
mod tests;
