//! `/signed-urls`: short-lived URLs for `<video>`, for players, for a link in a message.

use super::App;
use crate::audit::Subject;
use crate::auth::Sealed;
use crate::extract::Json;
use crate::gate::{Asking, SEALED};
use crate::problem::Problem;
use axum::extract::State;
use axum::http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The longest time that a signed URL is good for, in seconds.
const SECONDS_MAX: u32 = 24 * 3600;
/// The most characters of a path.
const PATH_CHARACTERS_MAX: usize = 1000;

/// What to sign.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UrlToSign {
    /// A path of this server; with `/` at its end, all below it too.
    path: String,
    /// For how long, in seconds.
    seconds: u32,
}

/// A signed URL.
#[derive(Serialize, ToSchema)]
pub(super) struct SignedUrl {
    /// The path with the query that signs it; the query signs what is below it, too.
    url: String,
    /// When it ends.
    #[schema(value_type = String, format = DateTime)]
    expires: Timestamp,
}

/// Signs a URL for a player that cannot log in. It opens no more than whoever asked for it may see, as long as he is the same.
#[utoipa::path(post, path = "/signed-urls", tag = "access", request_body = UrlToSign,
    responses((status = 200, description = "The URL", body = SignedUrl), (status = 422, description = "The path or the time does not do, or a token asks")))]
pub(super) async fn make(
    State(app): State<App>,
    Asking(identity): Asking,
    subject: Subject,
    Json(wanted): Json<UrlToSign>,
) -> Result<Json<SignedUrl>, Problem> {
    let refuse = |why: &str| Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, why));
    if identity.generation == 0 {
        return refuse(
            "URLs are signed for users: a token can be sent itself, and without users none is needed",
        );
    }
    // Whoever copies a path from a page has the base in it.
    let base = &app.settings.base_path;
    let below = wanted.path.strip_prefix(base).filter(|path| path.starts_with("/api/v1/"));
    let path = below.unwrap_or(&wanted.path);
    let plain = path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte));
    if !path.starts_with("/api/v1/") || path.len() > PATH_CHARACTERS_MAX || !plain {
        return refuse("path must be one of this server's below /api/v1/, without a query");
    }
    subject.tell(format!("{path} for {} s", wanted.seconds));
    if !(1..=SECONDS_MAX).contains(&wanted.seconds) {
        return refuse("seconds must be 1 to 86400");
    }
    let expires = Timestamp::now() + SignedDuration::from_secs(i64::from(wanted.seconds));
    let sealed = Sealed {
        user: identity.name.clone(),
        generation: identity.generation,
        expires,
        path: Some(path.to_owned()),
    };
    let url = format!("{base}{path}?{SEALED}={}", app.gate.sealer().url(&sealed));
    Ok(Json(SignedUrl { url, expires }))
}
