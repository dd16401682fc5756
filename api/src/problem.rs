//! Errors as clients see them: `application/problem+json` (RFC 9457), with a detail that says what to do.

use crate::control::ControlError;
use crate::error::Error;
use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use std::time::Duration;
use utoipa::ToSchema;

/// Why a request was not done.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    detail: String,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// As it is sent. The type is `about:blank`: the status says what kind of problem it is (RFC 9457, section 4.2.1).
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct Body<'a> {
    r#type: &'static str,
    title: &'a str,
    status: u16,
    /// What is wrong, and what to do.
    detail: &'a str,
}

impl Problem {
    /// A problem of this status; `detail` is a sentence that says what is wrong and what to do.
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Problem {
        Problem { status, detail: detail.into(), headers: Vec::new() }
    }

    /// Nobody knows who asks. `challenge` asks a browser or a player for a name and a password (RFC 7617).
    pub(crate) fn unauthorized(detail: &str, challenge: bool) -> Problem {
        let mut problem = Problem::new(StatusCode::UNAUTHORIZED, detail);
        let asked =
            if challenge { "Basic realm=\"Keha\", charset=\"UTF-8\"" } else { "Bearer realm=\"Keha\"" };
        problem.headers.push((header::WWW_AUTHENTICATE, HeaderValue::from_static(asked)));
        problem
    }

    /// Whoever asks may not.
    pub(crate) fn forbidden(detail: &str) -> Problem {
        Problem::new(StatusCode::FORBIDDEN, detail)
    }

    /// An export cannot be had as it was made.
    pub(crate) fn changed() -> Problem {
        let why = "the footage is not what it was when the export was made: export it anew";
        Problem::new(StatusCode::GONE, why)
    }

    /// Not now, but after a while (RFC 6585, section 4).
    pub(crate) fn too_many(wait: Duration) -> Problem {
        Problem::wait(StatusCode::TOO_MANY_REQUESTS, "too many passwords were tried", wait)
    }

    /// Not now: `why` tells in some words why not.
    pub(crate) fn wait(status: StatusCode, why: &str, wait: Duration) -> Problem {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        let mut problem = Problem::new(status, format!("{why}: try again in {seconds} s"));
        problem.headers.push((header::RETRY_AFTER, HeaderValue::from(seconds)));
        problem
    }

    /// Whether it is told when to ask again: it says nothing of what was asked for.
    pub(crate) fn is_for_now(&self) -> bool {
        self.headers.iter().any(|(name, _)| *name == header::RETRY_AFTER)
    }

    /// What is wrong and what to do.
    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    /// The same with another header.
    pub(crate) fn with(mut self, name: HeaderName, value: HeaderValue) -> Problem {
        self.headers.push((name, value));
        self
    }

    /// Something of this server failed; the log says what.
    pub(crate) fn internal(error: &dyn std::error::Error) -> Problem {
        tracing::error!(%error, "a request could not be done");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the server could not do it; its log says why")
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Problem {
        let status = match error {
            Error::Refused { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            Error::Exists { .. } => StatusCode::CONFLICT,
            Error::Unknown { .. } => StatusCode::NOT_FOUND,
            Error::Io { .. } | Error::State { .. } | Error::Listen { .. } => {
                return Problem::internal(&error);
            }
            Error::Unkept { .. } => return unkept(&error, "what was asked"),
        };
        Problem::new(status, error.to_string())
    }
}

impl From<ControlError> for Problem {
    fn from(error: ControlError) -> Problem {
        let status = match error {
            ControlError::Exists(_) | ControlError::ReadOnly(_) | ControlError::Conflict(_) => {
                StatusCode::CONFLICT
            }
            ControlError::Unknown(_) => StatusCode::NOT_FOUND,
            ControlError::Refused(_) => StatusCode::UNPROCESSABLE_ENTITY,
            ControlError::Failed(_) => StatusCode::BAD_GATEWAY,
            ControlError::Away(_) => {
                let why = error.to_string();
                return Problem::wait(StatusCode::SERVICE_UNAVAILABLE, &why, Duration::from_secs(10));
            }
            ControlError::Unkept { ref what, ref source } => return unkept(source, what),
            ControlError::Ending => {
                let why = "the server is being stopped";
                return Problem::wait(StatusCode::SERVICE_UNAVAILABLE, why, Duration::from_secs(10));
            }
            // What was asked may be done all the same.
            ControlError::Volume(error @ keha_fs::Error::Io { .. }) => return Problem::internal(&error),
            ControlError::Volume(error) => return error.into(),
        };
        Problem::new(status, error.to_string())
    }
}

/// Something is not known to outlive the server. Which file that is about the log says: it names paths of this machine.
fn unkept(error: &Error, what: &str) -> Problem {
    tracing::error!(%error, "a request could not be done");
    let why = format!(
        "{what}: the disk of the state directory refuses it, or does not answer; the server's log says why"
    );
    Problem::wait(StatusCode::SERVICE_UNAVAILABLE, &why, Duration::from_secs(10))
}

impl From<keha_fs::Error> for Problem {
    fn from(error: keha_fs::Error) -> Problem {
        use keha_fs::Error;
        let status = match error {
            // Its text names the other streams of the volume, which whoever asks may not know of.
            Error::NoSuchStream { name, .. } => {
                let why = format!("nothing was ever recorded of stream {name}, or not where the others are");
                return Problem::new(StatusCode::NOT_FOUND, why);
            }
            Error::NoSuchHold { .. } | Error::NotRecorded { .. } => StatusCode::NOT_FOUND,
            Error::Overwritten { .. } => StatusCode::GONE,
            Error::NoRoomToHold { .. }
            | Error::HoldsFull { .. }
            | Error::Held { .. }
            | Error::Erasing { .. } => StatusCode::CONFLICT,
            Error::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
            // Its text may name paths of this machine.
            Error::Stopped(_) => {
                tracing::warn!(%error, "a request could not be done");
                let why = "the volume takes nothing any more; the server's log says why";
                return Problem::new(StatusCode::SERVICE_UNAVAILABLE, why);
            }
            // It may be about to be made, or be plugged in again; when is not known.
            Error::Io { .. } | Error::NotAVolume { .. } => {
                tracing::error!(%error, "a request could not be done");
                let why = "a volume cannot be read now; the server's log says why";
                return Problem::new(StatusCode::SERVICE_UNAVAILABLE, why);
            }
            _ => return Problem::internal(&error),
        };
        Problem::new(status, error.to_string())
    }
}

impl From<keha_player::Error> for Problem {
    fn from(error: keha_player::Error) -> Problem {
        use keha_player::Error;
        let status = match error {
            Error::Volume(error) => return error.into(),
            Error::NotRecorded { .. } | Error::NoSegment { .. } => StatusCode::NOT_FOUND,
            Error::Overwritten { .. } | Error::Changed { .. } => StatusCode::GONE,
            Error::SeveralParts { .. } => StatusCode::CONFLICT,
            Error::Invalid(_) | Error::Mp4 { .. } | Error::Snapshot(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Error::NoDecoder { .. } => StatusCode::NOT_IMPLEMENTED,
            Error::Busy(why) => {
                return Problem::wait(StatusCode::SERVICE_UNAVAILABLE, &why, Duration::from_secs(5));
            }
            // Whoever asked is gone, and is told nothing.
            Error::Cancelled => {
                let why = "it was broken off";
                return Problem::wait(StatusCode::SERVICE_UNAVAILABLE, why, Duration::from_secs(1));
            }
            _ => return Problem::internal(&error),
        };
        Problem::new(status, error.to_string())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let title = self.status.canonical_reason().unwrap_or("Error");
        let body = Body { r#type: "about:blank", title, status: self.status.as_u16(), detail: &self.detail };
        let mut response = (self.status, Json(body)).into_response();
        response.headers_mut().extend(self.headers);
        let problem = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, problem);
        response
    }
}
