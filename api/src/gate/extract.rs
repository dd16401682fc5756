//! What a handler demands of whoever asks. A handler that takes none of these is open to everybody whom the gate lets pass.

use crate::auth::Identity;
use crate::problem::Problem;
use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use std::sync::Arc;

/// Who asks, whoever it is.
pub(crate) struct Asking(pub(crate) Arc<Identity>);

/// Whoever asks may change what concerns all cameras.
pub(crate) struct Administrator(pub(crate) Arc<Identity>);

impl<S: Sync> FromRequestParts<S> for Asking {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Asking, Problem> {
        let identity = parts.extensions.get::<Arc<Identity>>().cloned();
        // A route outside the gate must not be taken for one inside.
        identity
            .map(Asking)
            .ok_or_else(|| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "nobody asked who this is"))
    }
}

impl<S: Sync> FromRequestParts<S> for Administrator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Administrator, Problem> {
        let Asking(identity) = Asking::from_request_parts(parts, state).await?;
        match identity.grant.may_administer() {
            true => Ok(Administrator(identity)),
            false => Err(Problem::forbidden("this takes an administrator of all cameras")),
        }
    }
}
