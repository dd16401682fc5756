//! Pictures: the nearest keyframe as JPEG.

use super::{App, MOMENT, told_missing};
use crate::extract::{Query, Watched, moment};
use crate::problem::Problem;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use keha_fs::TimeRange;
use keha_player::snapshot::{Moment, find_of};
use keha_player::units::time::rfc3339;
use serde::Deserialize;
use utoipa::IntoParams;

/// Which picture.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Wanted {
    /// The moment, in the forms that queries take; the newest picture if left out.
    #[param(example = "-1h")]
    at: Option<String>,
    /// How wide, in pixels (16 to 3840). It is never enlarged.
    width: Option<u16>,
}

/// The keyframe nearest to a moment, at or before it where there is one.
#[utoipa::path(get, path = "/cameras/{camera}/streams/{stream}/snapshot.jpg", tag = "footage", params(Wanted,
        ("camera" = String, Path, description = "Its name"), ("stream" = String, Path, description = "`main`, or the name of a further stream")),
    responses((status = 200, description = "The picture; X-Keha-Moment tells of when it is", content_type = "image/jpeg", body = Vec<u8>),
        (status = 404, description = "Nothing is recorded"), (status = 422, description = "The moment or the width does not do, or the picture does not decode"),
        (status = 501, description = "Pictures of this codec need a program that is not installed"), (status = 503, description = "Too many pictures are being made")))]
pub(super) async fn show(
    State(app): State<App>,
    watched: Watched,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Problem> {
    let at = match wanted.at.as_deref() {
        None | Some("now") => Moment::Newest,
        Some(text) => Moment::At(moment("at", text)?),
    };
    let (name, picture, missing) = app
        .read(watched.identity.name.clone(), move |app| {
            let whole = app.whole(&watched.stream)?;
            let found = find_of(&whole.holdings(), at)?;
            let found = found.and_then(|(part, name)| Some((whole.parts().get(part)?, name)));
            let none = || Problem::new(StatusCode::NOT_FOUND, "nothing of this stream is recorded");
            let (part, name) = found.ok_or_else(none)?;
            // What it is about: the moment that was asked for, up to the one that was found.
            let about = match at {
                Moment::Newest => TimeRange { from: Some(name.at), to: None },
                Moment::At(asked) => {
                    TimeRange { from: Some(name.at.min(asked)), to: Some(name.at.max(asked)) }
                }
            };
            Ok((name, app.media.snapshot(part, &name, wanted.width)?, whole.missing_in(about)))
        })
        .await?;
    let headers = [(header::CONTENT_TYPE, "image/jpeg".to_owned()), (MOMENT, rfc3339(name.at))];
    Ok(told_missing((headers, picture).into_response(), &missing))
}
