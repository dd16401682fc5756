//! `/users`: who may log in. For administrators of all cameras; a password is also changed by its user.

use super::App;
use crate::audit::{Subject, in_words};
use crate::auth::Grant;
use crate::events::EventKind;
use crate::extract::{Json, Path};
use crate::gate::{Administrator, Asking};
use crate::problem::Problem;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A user, without the password.
#[derive(Serialize, ToSchema)]
pub(super) struct UserDocument {
    name: String,
    grant: Grant,
}

/// A user to add.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewUser {
    name: String,
    #[schema(write_only)]
    password: String,
    grant: Grant,
}

/// Another password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewPassword {
    #[schema(write_only)]
    password: String,
}

/// Who may log in.
#[utoipa::path(get, path = "/users", tag = "access", responses((status = 200, description = "The users", body = Vec<UserDocument>)))]
pub(super) async fn list(State(app): State<App>, _: Administrator) -> Json<Vec<UserDocument>> {
    let accounts = app.gate.accounts();
    let listed =
        accounts.users().map(|(name, grant)| UserDocument { name: name.to_owned(), grant: grant.clone() });
    Json(listed.collect())
}

/// Adds a user.
#[utoipa::path(post, path = "/users", tag = "access", request_body = NewUser,
    responses((status = 201, description = "Added"), (status = 409, description = "There is one of that name"), (status = 422, description = "The name or the password does not do")))]
pub(super) async fn add(
    State(app): State<App>,
    Administrator(identity): Administrator,
    subject: Subject,
    Json(new): Json<NewUser>,
) -> Result<StatusCode, Problem> {
    subject.tell(format!("user {}: {}", new.name, in_words(&new.grant)));
    let name = new.name.clone();
    app.change(move |accounts| accounts.add_user(&new.name, &new.password, new.grant)).await?;
    app.note(EventKind::AccessChanged, None, &identity.name, format!("user {name} added"));
    Ok(StatusCode::CREATED)
}

/// Changes a password: by an administrator, or by the user.
#[utoipa::path(put, path = "/users/{user}/password", tag = "access", request_body = NewPassword, params(("user" = String, Path, description = "Whose")),
    responses((status = 204, description = "Done; all of the user's sessions have ended"), (status = 404, description = "There is none of that name"), (status = 422, description = "The password does not do")))]
pub(super) async fn set_password(
    State(app): State<App>,
    Asking(identity): Asking,
    Path(user): Path<String>,
    Json(new): Json<NewPassword>,
) -> Result<StatusCode, Problem> {
    if !identity.grant.may_administer() && identity.name != user {
        return Err(Problem::forbidden("this takes an administrator of all cameras, or the user"));
    }
    let text = format!("the password of user {user} was changed");
    app.change(move |accounts| accounts.set_password(&user, &new.password)).await?;
    app.note(EventKind::AccessChanged, None, &identity.name, text);
    Ok(StatusCode::NO_CONTENT)
}

/// Says what a user may do.
#[utoipa::path(put, path = "/users/{user}/grant", tag = "access", request_body = Grant, params(("user" = String, Path, description = "Whose")),
    responses((status = 204, description = "Done"), (status = 404, description = "There is none of that name")))]
pub(super) async fn set_grant(
    State(app): State<App>,
    Administrator(identity): Administrator,
    Path(user): Path<String>,
    subject: Subject,
    Json(grant): Json<Grant>,
) -> Result<StatusCode, Problem> {
    subject.tell(in_words(&grant));
    let name = user.clone();
    app.change(move |accounts| accounts.set_grant(&user, grant)).await?;
    app.note(EventKind::AccessChanged, None, &identity.name, format!("what user {name} may do was changed"));
    Ok(StatusCode::NO_CONTENT)
}

/// Removes a user.
#[utoipa::path(delete, path = "/users/{user}", tag = "access", params(("user" = String, Path, description = "Whom")),
    responses((status = 204, description = "Done; all of the user's sessions and signed URLs have ended"), (status = 404, description = "There is none of that name")))]
pub(super) async fn remove(
    State(app): State<App>,
    Administrator(identity): Administrator,
    Path(user): Path<String>,
) -> Result<StatusCode, Problem> {
    let name = user.clone();
    app.change(move |accounts| accounts.remove_user(&user)).await?;
    app.note(EventKind::AccessChanged, None, &identity.name, format!("user {name} removed"));
    Ok(StatusCode::NO_CONTENT)
}
