//! `/session`: logging in with a browser, and who is logged in.
//!
//! The cookie is sealed and ends by itself; the server keeps nothing. Logging out makes the browser forget it; a password that is changed
//! ends all of a user's sessions.

use super::App;
use crate::auth::{Grant, Identity, Sealed};
use crate::connections::ByHttps;
use crate::extract::Json;
use crate::gate::{Asking, COOKIE, session_of};
use crate::problem::Problem;
use axum::extract::{ConnectInfo, OriginalUri, State};
use axum::http::{Extensions, HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use utoipa::ToSchema;

/// How long a session lasts.
const LIFE: SignedDuration = SignedDuration::from_hours(12);

/// Who logs in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LogIn {
    name: String,
    #[schema(write_only)]
    password: String,
}

/// Who is logged in.
#[derive(Serialize, ToSchema)]
struct Session {
    user: String,
    grant: Grant,
    /// What a page sends in `X-Keha-Forgery-Token` with each change; null where a session is not what says who asks.
    forgery_token: Option<String>,
}

impl Session {
    fn of(identity: &Identity, forgery_token: Option<String>) -> Json<Session> {
        Json(Session { user: identity.name.clone(), grant: identity.grant.clone(), forgery_token })
    }
}

/// Logs in a browser, and sets its cookie.
#[utoipa::path(post, path = "/session", tag = "access", security(()), request_body = LogIn,
    responses((status = 200, description = "Logged in; the cookie is set", body = Session), (status = 401, description = "Wrong name or password"),
        (status = 429, description = "Too many wrong passwords: wait")))]
pub(super) async fn begin(
    State(app): State<App>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    OriginalUri(uri): OriginalUri,
    asked: Extensions,
    Json(who): Json<LogIn>,
) -> Result<Response, Problem> {
    let identity = app.gate.by_password(peer.ip(), &who.name, &who.password).await;
    let status = match &identity {
        Ok(Some(_)) => StatusCode::OK,
        Ok(None) => StatusCode::UNAUTHORIZED,
        Err(_) => StatusCode::TOO_MANY_REQUESTS,
    };
    app.audit.note(&who.name, peer.ip(), (&Method::POST, &uri), status, "");
    // A page asks, which tells the person itself.
    let identity = identity
        .map_err(|wait| Problem::too_many(wait.0))?
        .ok_or_else(|| Problem::unauthorized("wrong name or password", false))?;
    let expires = Timestamp::now() + LIFE;
    let sealed = Sealed { user: identity.name.clone(), generation: identity.generation, expires, path: None };
    let cookie = app.gate.sealer().session(&sealed);
    let forgery_token = app.gate.sealer().forgery_token(&cookie);
    let mut response = Session::of(&identity, Some(forgery_token)).into_response();
    response.headers_mut().insert(header::SET_COOKIE, set_cookie(&app, &asked, &cookie, LIFE)?);
    Ok(response)
}

/// Who asks, by whatever means.
#[utoipa::path(get, path = "/session", tag = "access", responses((status = 200, description = "Who asks", body = Session)))]
pub(super) async fn show(State(app): State<App>, Asking(identity): Asking, headers: HeaderMap) -> Response {
    let token = session_of(&headers).map(|session| app.gate.sealer().forgery_token(session));
    Session::of(&identity, token).into_response()
}

/// Makes the browser forget its cookie.
#[utoipa::path(delete, path = "/session", tag = "access", responses((status = 204, description = "The cookie is taken away")))]
pub(super) async fn end(State(app): State<App>, asked: Extensions) -> Result<Response, Problem> {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let forgotten = set_cookie(&app, &asked, "", SignedDuration::ZERO)?;
    response.headers_mut().insert(header::SET_COOKIE, forgotten);
    Ok(response)
}

/// No script reads it, no other site's page sends it, nor does what stands beside Keha behind the same proxy get it; what was asked
/// encrypted is never sent in the clear (RFC 6265bis).
fn set_cookie(
    app: &App,
    asked: &Extensions,
    value: &str,
    life: SignedDuration,
) -> Result<HeaderValue, Problem> {
    let path = match app.settings.base_path.as_str() {
        "" => "/",
        base => base,
    };
    let is_encrypted = app.is_encrypted() || asked.get::<ByHttps>().is_some();
    let secure = if is_encrypted { "; Secure" } else { "" };
    let life = life.as_secs();
    let text = format!("{COOKIE}={value}; Path={path}; HttpOnly; SameSite=Strict; Max-Age={life}{secure}");
    HeaderValue::from_str(&text).map_err(|error| Problem::internal(&error))
}
