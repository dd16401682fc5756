//! `/users`: who may log in. For administrators of all cameras; a password is also changed by its user.

use super::App;
use crate::auth::Grant;
use crate::gate::{Administrator, Asking};
use crate::problem::Problem;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

/// A user, without the password.
#[derive(Serialize)]
pub(super) struct Listed {
    name: String,
    grant: Grant,
}

/// A user to add.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct New {
    name: String,
    password: String,
    grant: Grant,
}

/// Another password.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Password {
    password: String,
}

/// `GET /users`.
pub(super) async fn list(State(app): State<App>, _: Administrator) -> Json<Vec<Listed>> {
    let accounts = app.gate.accounts();
    let listed = accounts.users().map(|(name, grant)| Listed { name: name.to_owned(), grant: grant.clone() });
    Json(listed.collect())
}

/// `POST /users`.
pub(super) async fn add(
    State(app): State<App>,
    _: Administrator,
    Json(new): Json<New>,
) -> Result<StatusCode, Problem> {
    app.change(move |accounts| accounts.add_user(&new.name, &new.password, new.grant)).await?;
    Ok(StatusCode::CREATED)
}

/// `PUT /users/{user}/password`: by an administrator, or by the user.
pub(super) async fn set_password(
    State(app): State<App>,
    Asking(identity): Asking,
    Path(user): Path<String>,
    Json(new): Json<Password>,
) -> Result<StatusCode, Problem> {
    if !identity.grant.may_administer() && identity.name != user {
        return Err(Problem::forbidden("this takes an administrator of all cameras, or the user"));
    }
    app.change(move |accounts| accounts.set_password(&user, &new.password)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `PUT /users/{user}/grant`.
pub(super) async fn set_grant(
    State(app): State<App>,
    _: Administrator,
    Path(user): Path<String>,
    Json(grant): Json<Grant>,
) -> Result<StatusCode, Problem> {
    app.change(move |accounts| accounts.set_grant(&user, grant)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `DELETE /users/{user}`.
pub(super) async fn remove(
    State(app): State<App>,
    _: Administrator,
    Path(user): Path<String>,
) -> Result<StatusCode, Problem> {
    app.change(move |accounts| accounts.remove_user(&user)).await?;
    Ok(StatusCode::NO_CONTENT)
}
