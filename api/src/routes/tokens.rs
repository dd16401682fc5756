//! `/tokens`: what programs send. For administrators of all cameras.

use super::App;
use crate::audit::{Subject, in_words};
use crate::auth::Grant;
use crate::events::EventKind;
use crate::extract::{Json, Path};
use crate::gate::Administrator;
use crate::problem::Problem;
use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A token, without its secret.
#[derive(Serialize, ToSchema)]
pub(super) struct TokenDocument {
    id: String,
    label: String,
    grant: Grant,
    #[schema(value_type = Option<String>, format = DateTime)]
    expires: Option<Timestamp>,
}

/// A token to make.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewToken {
    label: String,
    grant: Grant,
    #[schema(value_type = Option<String>, format = DateTime)]
    expires: Option<Timestamp>,
}

/// A token that was just made.
#[derive(Serialize, ToSchema)]
pub(super) struct MadeToken {
    id: String,
    /// To be sent as `Authorization: Bearer`. It is told this once.
    token: String,
}

/// The tokens of programs.
#[utoipa::path(get, path = "/tokens", tag = "access", responses((status = 200, description = "The tokens, without their secrets", body = Vec<TokenDocument>)))]
pub(super) async fn list(State(app): State<App>, _: Administrator) -> Json<Vec<TokenDocument>> {
    let accounts = app.gate.accounts();
    let listed = accounts.tokens().map(|(id, label, grant, expires)| TokenDocument {
        id: id.to_owned(),
        label: label.to_owned(),
        grant: grant.clone(),
        expires,
    });
    Json(listed.collect())
}

/// Makes a token.
#[utoipa::path(post, path = "/tokens", tag = "access", request_body = NewToken,
    responses((status = 201, description = "MadeToken; its text is told this once", body = MadeToken), (status = 422, description = "The label or the expiry does not do")))]
pub(super) async fn add(
    State(app): State<App>,
    Administrator(identity): Administrator,
    subject: Subject,
    Json(new): Json<NewToken>,
) -> Result<(StatusCode, Json<MadeToken>), Problem> {
    let ends = new.expires.map_or_else(String::new, |expires| format!(", until {expires}"));
    let what = format!("token {}: {}{ends}", new.label, in_words(&new.grant));
    subject.tell(what.clone());
    let name = new.label.clone();
    let now = Timestamp::now();
    let made =
        app.change(move |accounts| accounts.add_token(&new.label, new.grant, new.expires, now)).await?;
    subject.tell(format!("{}: {what}", made.id));
    app.note(EventKind::AccessChanged, None, &identity.name, format!("token {name} made"));
    Ok((StatusCode::CREATED, Json(MadeToken { id: made.id, token: made.text })))
}

/// Removes a token.
#[utoipa::path(delete, path = "/tokens/{token}", tag = "access", params(("token" = String, Path, description = "Its id")),
    responses((status = 204, description = "Done: it opens nothing any more"), (status = 404, description = "There is none of that id")))]
pub(super) async fn remove(
    State(app): State<App>,
    Administrator(identity): Administrator,
    Path(token): Path<String>,
    subject: Subject,
) -> Result<StatusCode, Problem> {
    let name = token.clone();
    if let Some((_, label, ..)) = app.gate.accounts().tokens().find(|(id, ..)| *id == token) {
        subject.tell(format!("token {label}"));
    }
    app.change(move |accounts| accounts.remove_token(&token)).await?;
    app.note(EventKind::AccessChanged, None, &identity.name, format!("token {name} removed"));
    Ok(StatusCode::NO_CONTENT)
}
