//! `/tokens`: what programs send. For administrators of all cameras.

use super::App;
use crate::auth::Grant;
use crate::gate::Administrator;
use crate::problem::Problem;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A token, without its secret.
#[derive(Serialize)]
pub(super) struct Listed {
    id: String,
    label: String,
    grant: Grant,
    expires: Option<Timestamp>,
}

/// A token to make.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct New {
    label: String,
    grant: Grant,
    expires: Option<Timestamp>,
}

/// A token that was just made.
#[derive(Serialize)]
pub(super) struct Made {
    id: String,
    /// To be sent as `Authorization: Bearer`. It is told this once.
    token: String,
}

/// `GET /tokens`.
pub(super) async fn list(State(app): State<App>, _: Administrator) -> Json<Vec<Listed>> {
    let accounts = app.gate.accounts();
    let listed = accounts.tokens().map(|(id, label, grant, expires)| Listed {
        id: id.to_owned(),
        label: label.to_owned(),
        grant: grant.clone(),
        expires,
    });
    Json(listed.collect())
}

/// `POST /tokens`.
pub(super) async fn add(
    State(app): State<App>,
    _: Administrator,
    Json(new): Json<New>,
) -> Result<(StatusCode, Json<Made>), Problem> {
    let now = Timestamp::now();
    let made =
        app.change(move |accounts| accounts.add_token(&new.label, new.grant, new.expires, now)).await?;
    Ok((StatusCode::CREATED, Json(Made { id: made.id, token: made.text })))
}

/// `DELETE /tokens/{token}`.
pub(super) async fn remove(
    State(app): State<App>,
    _: Administrator,
    Path(token): Path<String>,
) -> Result<StatusCode, Problem> {
    app.change(move |accounts| accounts.remove_token(&token)).await?;
    Ok(StatusCode::NO_CONTENT)
}
