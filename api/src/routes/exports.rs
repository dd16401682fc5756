//! `/exports`: files that can be downloaded again, and gone on with where a download broke off ([`crate::exports`]).

use super::App;
use super::footage::{Manner, answer_file, named, prepared};
use crate::auth::Identity;
use crate::downloads;
use crate::events::EventKind;
use crate::exports::{Export, Measured};
use crate::extract::{Json, Path, moment};
use crate::gate::Asking;
use crate::problem::Problem;
use crate::routes::Container;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::Response;
use jiff::{SignedDuration, Timestamp};
use keha_fs::{HoldId, HoldRequest, StreamName, TimeRange, Uuid, WallTime};
use keha_player::footage::{FootageRequest, Prepared};
use keha_player::library::Snapshot;
use keha_player::units::duration;
use keha_player::units::time::rfc3339;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

/// How long an export is kept, if nothing else is said.
const KEPT: &str = "1d";
/// And at most.
const KEPT_MAX: SignedDuration = SignedDuration::from_hours(31 * 24);

/// What to export.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewExport {
    /// Names of cameras (`door`) and their further streams (`door/sub`).
    streams: Vec<String>,
    /// Its beginning (inclusive), in the forms that queries take.
    from: String,
    /// Its end (exclusive).
    to: String,
    #[serde(default)]
    format: Container,
    /// Which part, from 1, where the footage does not fit into one file.
    part: Option<usize>,
    /// How long it is kept: a duration such as `12h`; a day if left out, 31 days at most.
    keep: Option<String>,
}

/// An export.
#[derive(Serialize, ToSchema)]
pub(super) struct ExportDocument {
    id: String,
    user: String,
    streams: Vec<String>,
    #[schema(format = DateTime)]
    from: String,
    #[schema(format = DateTime)]
    to: String,
    format: Container,
    part: Option<usize>,
    #[schema(format = DateTime)]
    created: String,
    #[schema(format = DateTime)]
    expires: String,
    file_name: String,
    /// `measuring`: its length is being found out; `ready`; `failed`.
    state: &'static str,
    /// Why it failed.
    failed: Option<String>,
    /// Whether a hold keeps its footage from being overwritten.
    held: bool,
    /// The file's length.
    bytes: Option<u64>,
    /// The file's BLAKE3.
    blake3: Option<String>,
}

/// The exports of cameras that may be seen.
#[utoipa::path(get, path = "/exports", tag = "footage", responses((status = 200, description = "The exports", body = Vec<ExportDocument>)))]
pub(super) async fn list(State(app): State<App>, Asking(identity): Asking) -> Json<Vec<ExportDocument>> {
    let all = app.exports.all(Timestamp::now());
    let seen = all.iter().filter(|(_, export)| may_see(&identity, export));
    Json(seen.map(|(id, export)| ExportDocument::new(id, export)).collect())
}

/// Makes a named export. Its footage is held as long as it is kept, where there is room for that.
#[utoipa::path(post, path = "/exports", tag = "footage", request_body = NewExport,
    responses((status = 201, description = "It can be asked for", body = ExportDocument), (status = 404, description = "Nothing is recorded there"),
        (status = 409, description = "It does not fit into one file: choose a part"), (status = 422, description = "The streams, the range or the format does not do")))]
pub(super) async fn add(
    State(app): State<App>,
    Asking(identity): Asking,
    Json(new): Json<NewExport>,
) -> Result<(StatusCode, Json<ExportDocument>), Problem> {
    let refused = |why: String| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, why);
    let keep = duration::parse_positive(new.keep.as_deref().unwrap_or(KEPT))
        .map_err(|why| refused(format!("keep: {why}")))?;
    let keep = SignedDuration::try_from(keep).unwrap_or(SignedDuration::MAX);
    if keep > KEPT_MAX {
        return Err(refused("keep: an export is kept for 31 days at most".to_owned()));
    }
    let streams = named(&identity, new.streams.iter().map(String::as_str))?;
    let range = TimeRange { from: Some(moment("from", &new.from)?), to: Some(moment("to", &new.to)?) };
    let request =
        FootageRequest { streams: streams.clone(), range, format: new.format.format(), part: new.part };
    let (snapshot, prepared) = app.read(move |app| prepared(app, &request)).await?;
    let created = Timestamp::now();
    let expires = created + keep;
    let holds = hold(&app, &identity, &streams, range, expires).await;
    let id = Uuid::new_v4().simple().to_string();
    let export = Export {
        user: identity.name.clone(),
        streams: streams.iter().map(StreamName::to_string).collect(),
        from_ns: range.from.map_or(i64::MIN, |from| from.0),
        to_ns: range.to.map_or(i64::MAX, |to| to.0),
        format: new.format,
        part: new.part,
        created,
        expires,
        tag: prepared.entity_tag(),
        file_name: prepared.file_name(),
        holds,
        measured: None,
        failed: None,
    };
    let (key, noted) = (id.clone(), export.clone());
    app.read(move |app| Ok(app.exports.change(&key, created, |new| *new = Some(noted))?)).await?;
    measure(&app, &id, snapshot, prepared);
    for camera in export.cameras() {
        app.note(EventKind::ExportMade, Some(camera), &identity.name, export.file_name.clone());
    }
    Ok((StatusCode::CREATED, Json(ExportDocument::new(&id, &export))))
}

/// An export, and how far it is.
#[utoipa::path(get, path = "/exports/{export}", tag = "footage", params(("export" = String, Path, description = "Its id")),
    responses((status = 200, description = "The export", body = ExportDocument), (status = 404, description = "There is none of that id, or not any more")))]
pub(super) async fn show(
    State(app): State<App>,
    Asking(identity): Asking,
    Path(id): Path<String>,
) -> Result<Json<ExportDocument>, Problem> {
    let export = known(&app, &identity, &id)?;
    Ok(Json(ExportDocument::new(&id, &export)))
}

/// The file of an export. Any range of it can be asked for, once it is ready; MP4 at once.
#[utoipa::path(get, path = "/exports/{export}/file", tag = "footage", params(("export" = String, Path, description = "Its id")),
    responses((status = 200, description = "The file", content_type = "video/mp4", body = Vec<u8>), (status = 206, description = "A range of its bytes"),
        (status = 304, description = "The client has it"), (status = 404, description = "There is none of that id, or not any more"),
        (status = 410, description = "Its footage is not what it was"), (status = 416, description = "The file has no such bytes"), (status = 503, description = "It is being measured, or there are too many downloads at a time")))]
pub(super) async fn file(
    State(app): State<App>,
    Asking(identity): Asking,
    Path(id): Path<String>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let export = known(&app, &identity, &id)?;
    let place = app.downloads.place(&identity.name)?;
    let none = || {
        Problem::new(
            StatusCode::GONE,
            "the footage is not what it was when the export was made: export it anew",
        )
    };
    let request = export.request().ok_or_else(none)?;
    let (snapshot, prepared) = app.read(move |app| prepared(app, &request)).await?;
    if prepared.entity_tag() != export.tag {
        return Err(none());
    }
    let length = prepared.bytes().or(export.measured.as_ref().map(|measured| measured.bytes));
    if length.is_none() {
        measure(&app, &id, snapshot, prepared);
        let why = "the export is being measured";
        return Err(Problem::wait(StatusCode::SERVICE_UNAVAILABLE, why, std::time::Duration::from_secs(2)));
    }
    let manner = Manner { method, headers, inline: false };
    answer_file(&manner, length, &prepared, |bytes| {
        downloads::body(snapshot, Arc::clone(&prepared), bytes, place)
    })
}

/// Removes an export: what held its footage is lifted.
#[utoipa::path(delete, path = "/exports/{export}", tag = "footage", params(("export" = String, Path, description = "Its id")),
    responses((status = 204, description = "Done"), (status = 404, description = "There is none of that id, or not any more")))]
pub(super) async fn remove(
    State(app): State<App>,
    Asking(identity): Asking,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let export = known(&app, &identity, &id)?;
    if export.user != identity.name && !identity.grant.may_administer() {
        return Err(Problem::forbidden(
            "an export is removed by whoever made it, or an administrator of all cameras",
        ));
    }
    app.read(move |app| Ok(app.exports.change(&id, Timestamp::now(), |known| *known = None)?)).await?;
    for hold in export.holds.iter().filter_map(|id| id.parse::<Uuid>().ok()) {
        if let Err(problem) = app.change_volumes(move |control| control.lift_hold(HoldId(hold))).await {
            tracing::warn!(?problem, "the hold of an export that was removed stays until it expires");
        }
    }
    Ok(StatusCode::NO_CONTENT)
}

fn may_see(identity: &Identity, export: &Export) -> bool {
    export.cameras().all(|camera| identity.grant.may_see(camera))
}

/// An export that whoever asks may see. He is told the same of one that he may not, and of none.
fn known(app: &App, identity: &Identity, id: &str) -> Result<Export, Problem> {
    let export = app.exports.get(id, Timestamp::now()).filter(|export| may_see(identity, export));
    export.ok_or_else(|| {
        Problem::new(StatusCode::NOT_FOUND, "there is no such export, or not any more: see /api/v1/exports")
    })
}

/// Holds what an export needs, where there is room; without, it may be overwritten before it was downloaded.
async fn hold(
    app: &App,
    identity: &Identity,
    streams: &[StreamName],
    range: TimeRange,
    expires: Timestamp,
) -> Vec<String> {
    let mut holds = Vec::new();
    let (Some(from), Some(to)) = (range.from, range.to) else { return holds };
    let expires = i64::try_from(expires.as_nanosecond()).ok().map(WallTime);
    for stream in streams {
        let request = HoldRequest {
            stream: stream.clone(),
            from,
            to,
            label: format!("export by {}", identity.name),
            expires,
        };
        match app.change_volumes(move |control| control.add_hold(request)).await {
            Ok(hold) => holds.push(hold.id.to_string()),
            Err(problem) => tracing::warn!(%stream, ?problem, "the footage of an export is not held"),
        }
    }
    holds
}

/// Finds out an export's length and hash, once, on a thread of its own.
fn measure(app: &App, id: &str, snapshot: Arc<Snapshot>, prepared: Arc<Prepared>) {
    if !app.exports.begin_measuring(id) {
        return;
    }
    let (app, id) = (app.clone(), id.to_owned());
    tokio::task::spawn_blocking(move || {
        let result = prepared.measure(&snapshot.volume);
        let noted = app.exports.change(&id, Timestamp::now(), |export| {
            let Some(export) = export else { return };
            match &result {
                Ok(measured) => {
                    let blake3 = measured.hash.to_hex().to_string();
                    export.measured = Some(Measured { bytes: measured.bytes, blake3 });
                }
                Err(error) => export.failed = Some(error.to_string()),
            }
        });
        if let Err(error) = noted {
            tracing::error!(%error, "what an export came to could not be noted");
        }
        app.exports.end_measuring(&id);
    });
}

impl ExportDocument {
    fn new(id: &str, export: &Export) -> ExportDocument {
        let state = match (&export.measured, &export.failed) {
            (_, Some(_)) => "failed",
            (Some(_), None) => "ready",
            (None, None) => "measuring",
        };
        ExportDocument {
            id: id.to_owned(),
            user: export.user.clone(),
            streams: export.streams.clone(),
            from: rfc3339(WallTime(export.from_ns)),
            to: rfc3339(WallTime(export.to_ns)),
            format: export.format,
            part: export.part,
            created: export.created.to_string(),
            expires: export.expires.to_string(),
            file_name: export.file_name.clone(),
            state,
            failed: export.failed.clone(),
            held: !export.holds.is_empty(),
            bytes: export.measured.as_ref().map(|measured| measured.bytes),
            blake3: export.measured.as_ref().map(|measured| measured.blake3.clone()),
        }
    }
}
