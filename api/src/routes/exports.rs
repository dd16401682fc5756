//! `/exports`: files that can be downloaded again, and gone on with where a download broke off ([`crate::exports`]).

use super::App;
use super::footage::{Manner, answer_file, named};
use crate::audit::Subject;
use crate::auth::Identity;
use crate::downloads;
use crate::export_making::{Needed, made, removed};
use crate::exports::Export;
use crate::extract::{Json, Path, moment};
use crate::filed::{Filed, filed, filed_again};
use crate::gate::Asking;
use crate::measuring::measure;
use crate::placing::Places;
use crate::problem::Problem;
use crate::routes::Container;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::Response;
use jiff::{SignedDuration, Timestamp};
use keha_fs::{StreamName, TimeRange, WallTime};
use keha_player::footage::FootageRequest;
use keha_player::library::{Found, Whole};
use keha_player::units::duration;
use keha_player::units::time::rfc3339;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use utoipa::ToSchema;

/// What was recorded so long before the last sample on the disk is there with all its tracks.
const SETTLED_NS: i64 = 2_000_000_000;
/// A stream without a sample for so long is not being recorded.
const GOES_ON_NS: i64 = 15_000_000_000;
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
    /// Its end (exclusive); not in the future.
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
    /// Volumes that did not answer when it was made and may have part of its range: that is not in it.
    missing: Vec<String>,
    /// Whether holds keep all of its footage from being overwritten: only of whoever may change all of its cameras, where there is room.
    held: bool,
    /// How much of it holds keep: `all`, `part`, `none`.
    holding: &'static str,
    /// Volumes in which its footage was to be held and is not: they were not being written, or had no room.
    not_held: Vec<String>,
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

/// Makes a named export of footage that is there. Where whoever asks may change all of its cameras, its footage is held as long as it is
/// kept, if there is room for that; else it goes when its turn comes (`held` is false).
#[utoipa::path(post, path = "/exports", tag = "footage", request_body = NewExport,
    responses((status = 201, description = "It can be asked for", body = ExportDocument), (status = 404, description = "Nothing is recorded there"),
        (status = 409, description = "It does not fit into one file: choose a part"), (status = 422, description = "The streams, the range or the format does not do, or there are too many exports"),
        (status = 503, description = "It cannot be noted: the disk of the state directory refuses it, or does not answer")))]
pub(super) async fn add(
    State(app): State<App>,
    Asking(identity): Asking,
    subject: Subject,
    Json(new): Json<NewExport>,
) -> Result<(StatusCode, Json<ExportDocument>), Problem> {
    subject.tell(format!("{} from {} to {}", new.streams.join(", "), new.from, new.to));
    let (mut request, keep) = new.request(&identity)?;
    let streams = request.streams.clone();
    let settled = app.read(identity.name.clone(), move |app| settled(app, &streams)).await?;
    request.range.to = request.range.to.map(|to| settled.map_or(to, |settled| to.min(settled)));
    if request.range.to <= request.range.from {
        return Err(Problem::new(
            StatusCode::NOT_FOUND,
            "nothing is recorded there, or not yet: ask again in some seconds",
        ));
    }
    let asked = request.clone();
    let filed = app.read_while(identity.name.clone(), move |app, is_wanted| filed(app, &asked, is_wanted));
    let Filed { volumes, prepared, streams, missing } = filed.await?;
    let created = Timestamp::now();
    let range = request.range;
    let export = Export {
        user: identity.name.clone(),
        streams: request.streams.iter().map(StreamName::to_string).collect(),
        from_ns: range.from.map_or(i64::MIN, |from| from.0),
        to_ns: range.to.map_or(i64::MAX, |to| to.0),
        format: new.format,
        part: new.part,
        created,
        expires: created + keep,
        tag: prepared.entity_tag(),
        file_name: prepared.file_name(),
        volumes: prepared.volumes().iter().map(ToString::to_string).collect(),
        looked_at: volumes.iter().map(|volume| volume.volume.info().id.to_string()).collect(),
        missing,
        holds: Vec::new(),
        not_held: Vec::new(),
        measured: None,
        failed: None,
    };
    // What was prepared begins with a keyframe before the range, and may end behind it.
    let (from, to) = prepared.moments();
    let from = range.from.map_or(from, |asked| asked.min(from));
    let to = range.to.map_or(to, |asked| asked.max(to));
    let places = |whole: &Whole| (whole.name.clone(), Places::of(whole, from, to, now()));
    let needed = Needed { streams: streams.iter().map(places).collect(), from, to };
    let (id, export) = made(&app, identity, needed, export).await?;
    subject.tell(format!("{id}: {}", in_words(&export)));
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
    if export.measured.is_none() {
        measure(&app, &id);
    }
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
    subject: Subject,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let export = told(&subject, known(&app, &identity, &id)?);
    let place = app.downloads.place(&identity.name)?;
    let asked = export.clone();
    // The place goes along with the work: it is taken until that ends, also where the client is gone.
    let marked = headers.contains_key(header::RANGE).then(|| id.clone());
    let (volumes, prepared, marks, place) = app
        .read_while(identity.name.clone(), move |app, is_wanted| {
            let Filed { volumes, prepared, .. } = filed_again(app, &asked, is_wanted)?;
            // What has a table finds its bytes without.
            let marks =
                marked.filter(|_| prepared.bytes().is_none()).and_then(|id| app.exports.marks.read(&id));
            Ok((volumes, prepared, marks, place))
        })
        .await?;
    if export.measured.is_none() {
        measure(&app, &id);
    }
    let length = prepared.bytes().or(export.measured.as_ref().map(|measured| measured.bytes));
    if length.is_none() {
        let why = "the export is being measured";
        return Err(Problem::wait(StatusCode::SERVICE_UNAVAILABLE, why, Duration::from_secs(2)));
    }
    let manner = Manner { method, headers, inline: false };
    answer_file(&manner, length, &prepared, |bytes| {
        downloads::body(volumes, Arc::clone(&prepared), bytes, marks, place)
    })
}

/// Removes an export: what held its footage is lifted.
#[utoipa::path(delete, path = "/exports/{export}", tag = "footage", params(("export" = String, Path, description = "Its id")),
    responses((status = 204, description = "Done"), (status = 404, description = "There is none of that id, or not any more")))]
pub(super) async fn remove(
    State(app): State<App>,
    Asking(identity): Asking,
    Path(id): Path<String>,
    subject: Subject,
) -> Result<StatusCode, Problem> {
    let export = told(&subject, known(&app, &identity, &id)?);
    if export.user != identity.name && !identity.grant.may_administer() {
        return Err(Problem::forbidden(
            "an export is removed by whoever made it, or an administrator of all cameras",
        ));
    }
    removed(&app, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn may_see(identity: &Identity, export: &Export) -> bool {
    export.cameras().into_iter().all(|camera| identity.grant.may_see(camera))
}

/// Tells the log of an export: its identifier says nothing once it is gone.
fn told(subject: &Subject, export: Export) -> Export {
    subject.tell(in_words(&export));
    export
}

/// What an export is of.
fn in_words(export: &Export) -> String {
    let (from, to) = (rfc3339(WallTime(export.from_ns)), rfc3339(WallTime(export.to_ns)));
    format!("{} from {from} to {to}", export.streams.join(", "))
}

/// An export that whoever asks may see. He is told the same of one that he may not, and of none.
fn known(app: &App, identity: &Identity, id: &str) -> Result<Export, Problem> {
    let export = app.exports.get(id, Timestamp::now()).filter(|export| may_see(identity, export));
    export.ok_or_else(|| {
        Problem::new(StatusCode::NOT_FOUND, "there is no such export, or not any more: see /api/v1/exports")
    })
}

impl NewExport {
    /// What to prepare, and how long it is to be kept.
    fn request(&self, identity: &Identity) -> Result<(FootageRequest, SignedDuration), Problem> {
        let refused = |why: String| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, why);
        let keep = duration::parse_positive(self.keep.as_deref().unwrap_or(KEPT))
            .map_err(|why| refused(format!("keep: {why}")))?;
        let keep = SignedDuration::try_from(keep).unwrap_or(SignedDuration::MAX);
        if keep > KEPT_MAX {
            return Err(refused("keep: an export is kept for 31 days at most".to_owned()));
        }
        let streams = named(identity, self.streams.iter().map(String::as_str))?;
        let (from, to) = (moment("from", &self.from)?, moment("to", &self.to)?);
        // What is still to come would be held before it is there, and is another file each time.
        if i128::from(to.0) > Timestamp::now().as_nanosecond() {
            return Err(refused(
                "to: an export ends in the past; what is to come is held by /holds".to_owned(),
            ));
        }
        let range = TimeRange { from: Some(from), to: Some(to) };
        Ok((FootageRequest { streams, range, format: self.format.format(), part: self.part }, keep))
    }
}

/// Up to when streams are on the disk with all their tracks; `None` for streams that end there. A file that ended behind that would be
/// another one a moment later. Blocks.
fn settled(app: &App, streams: &[StreamName]) -> Result<Option<WallTime>, Problem> {
    let now = now();
    let mut earliest: Option<WallTime> = None;
    for stream in streams {
        let whole = app.whole(stream)?;
        let goes_on = |part: &&Found| {
            let last = part.stream.last.is_some_and(|last| now.since_ns(last) < GOES_ON_NS);
            part.snapshot.index.is_live() && last
        };
        // Where it went from one volume to another, the one before has what it has.
        let last = whole.latest().filter(goes_on).and_then(|part| part.stream.last);
        let settled = last.map(|last| last.plus_ns(-SETTLED_NS));
        earliest = [earliest, settled].into_iter().flatten().min();
    }
    Ok(earliest)
}

fn now() -> WallTime {
    WallTime(i64::try_from(Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX))
}

impl ExportDocument {
    fn new(id: &str, export: &Export) -> ExportDocument {
        let state = match (&export.measured, &export.failed) {
            (_, Some(_)) => "failed",
            (Some(_), None) => "ready",
            (None, None) => "measuring",
        };
        let holding = match (export.holds.is_empty(), export.not_held.is_empty()) {
            (true, _) => "none",
            (false, true) => "all",
            (false, false) => "part",
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
            missing: export.missing.clone(),
            held: holding == "all",
            holding,
            not_held: export.not_held.clone(),
            bytes: export.measured.as_ref().map(|measured| measured.bytes),
            blake3: export.measured.as_ref().map(|measured| measured.blake3.clone()),
        }
    }
}
