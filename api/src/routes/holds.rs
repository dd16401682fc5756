//! `/holds`: footage that is not overwritten until it is said otherwise.

use super::{App, told_missing};
use crate::audit::Subject;
use crate::control::ControlError;
use crate::events::EventKind;
use crate::extract::{Json, Path, moment, path_name};
use crate::gate::Asking;
use crate::placing::Places;
use crate::problem::Problem;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use keha_fs::{Hold, HoldId, HoldRequest, StreamId, StreamName, Uuid, WallTime};
use keha_player::library::Snapshot;
use keha_player::units::time::rfc3339;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

/// A hold.
#[derive(Serialize, ToSchema)]
pub(super) struct HoldDocument {
    #[schema(pattern = "^[0-9a-f-]{36}$")]
    id: String,
    /// The camera; null where a hold was lost and nothing tells.
    camera: Option<String>,
    stream: Option<String>,
    volume: String,
    #[schema(format = DateTime)]
    from: Option<String>,
    #[schema(format = DateTime)]
    to: Option<String>,
    /// Who holds it, and why.
    label: String,
    #[schema(format = DateTime)]
    created: String,
    /// When it ends by itself.
    #[schema(format = DateTime)]
    expires: Option<String>,
    /// The stream is still being recorded for it.
    growing: bool,
    /// It ended early because the volume had no room for more.
    cut_short: bool,
    /// A hold was lost here. Lifting it says that this is known.
    lost: bool,
}

/// What is to be held.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewHold {
    camera: String,
    /// `main` if left out.
    stream: Option<String>,
    /// Its beginning (inclusive), in the forms that queries take.
    from: String,
    /// Its end (exclusive); may lie in the future.
    to: String,
    /// Who holds it, and why; at most 128 bytes.
    #[serde(default)]
    label: String,
    /// When it ends by itself.
    expires: Option<String>,
}

/// What was made.
#[derive(Serialize, ToSchema)]
pub(super) struct MadeHold {
    /// The first of its holds.
    #[schema(pattern = "^[0-9a-f-]{36}$")]
    id: String,
    /// Its holds: one in each volume that has part of the range. Each is lifted by itself.
    holds: Vec<PlacedHold>,
    /// Volumes that may have part of the range, and in which nothing is held: they do not answer, or are not being written now.
    missing: Vec<String>,
}

/// A hold in a volume.
#[derive(Serialize, ToSchema)]
struct PlacedHold {
    #[schema(pattern = "^[0-9a-f-]{36}$")]
    id: String,
    /// Null where it is the one that the stream is recorded into.
    volume: Option<String>,
}

/// The holds on cameras that may be seen, in the order of their making. What is held in volumes that do not answer is not known:
/// `X-Keha-Missing-Volumes` names those that may have something of these cameras.
#[utoipa::path(get, path = "/holds", tag = "holds", responses((status = 200, description = "The holds", body = Vec<HoldDocument>)))]
pub(super) async fn list(State(app): State<App>, Asking(identity): Asking) -> Result<Response, Problem> {
    let told = app.read(identity.name.clone(), move |app| {
        let mut documents = Vec::new();
        let (snapshots, missing) = app.snapshots_and_missing();
        for snapshot in snapshots {
            for hold in snapshot.volume.holds() {
                let name = name_of(&snapshot, hold.stream);
                let seen = match &name {
                    Some(name) => identity.grant.may_see(name.camera()),
                    None => identity.grant.may_administer(),
                };
                documents.extend(seen.then(|| document(&snapshot.name, name.as_ref(), &hold)));
            }
        }
        Ok((documents, app.missing_for(&identity.grant, missing)))
    });
    let (documents, missing) = told.await?;
    Ok(told_missing(Json(documents).into_response(), &missing))
}

/// Holds a range of a stream, in each volume that has part of it: in all of them, or, where one refuses, in none. When this is answered, the
/// holds survive any crash.
#[utoipa::path(post, path = "/holds", tag = "holds", request_body = NewHold,
    responses((status = 201, description = "It is held", body = MadeHold), (status = 404, description = "Nothing is there, and nothing is to come"),
        (status = 409, description = "There is no room to hold it"), (status = 422, description = "The range, the label or the expiry does not do"),
        (status = 503, description = "Nothing is there, and a volume does not answer that may have it; or it reaches into what is to come, and that cannot be noted: nothing is held")))]
pub(super) async fn add(
    State(app): State<App>,
    Asking(identity): Asking,
    subject: Subject,
    Json(new): Json<NewHold>,
) -> Result<(StatusCode, Json<MadeHold>), Problem> {
    subject.tell(new.in_words());
    if !identity.grant.may_change(&new.camera) {
        return Err(Problem::forbidden("this camera is not yours to change"));
    }
    let name = match new.stream.as_deref() {
        None | Some("main") => StreamName::new(&new.camera),
        Some(sub) => StreamName::new(&format!("{}/{sub}", new.camera)),
    };
    let stream =
        name.map_err(|_| Problem::new(StatusCode::NOT_FOUND, "there is no such camera or stream"))?;
    let request = HoldRequest {
        stream,
        from: moment("from", &new.from)?,
        to: moment("to", &new.to)?,
        label: new.label,
        expires: new.expires.as_deref().map(|text| moment("expires", text)).transpose()?,
    };
    let text = format!(
        "{} from {} to {}: {}",
        request.stream,
        rfc3339(request.from),
        rfc3339(request.to),
        request.label
    );
    let looking = app.clone();
    // In one go: it is made and told of also where whoever asks does not wait.
    let placed = app.change_volumes(move |control| {
        let now = WallTime(i64::try_from(Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX));
        // Whoever records knows what is wrong with one of which nothing is recorded.
        let places = Places::of(&looking.any(&request.stream), request.from, request.to, now);
        let placed = places.hold(control, &request)?;
        let ids: Vec<String> = placed.holds.iter().map(|(_, hold)| hold.id.to_string()).collect();
        subject.tell(format!("{}: {text}", ids.join(", ")));
        looking.note(EventKind::HoldAdded, Some(request.stream.camera()), &identity.name, text);
        Ok((ids, placed))
    });
    let (ids, placed) = placed.await?;
    let hold = |(volume, hold): (Option<String>, Hold)| PlacedHold { id: hold.id.to_string(), volume };
    let made = MadeHold {
        id: ids.into_iter().next().unwrap_or_default(),
        holds: placed.holds.into_iter().map(hold).collect(),
        missing: placed.missing,
    };
    Ok((StatusCode::CREATED, Json(made)))
}

/// Lifts a hold: its footage is overwritten in its turn.
#[utoipa::path(delete, path = "/holds/{hold}", tag = "holds", params(("hold" = String, Path, description = "Its identity")),
    responses((status = 204, description = "Done"), (status = 404, description = "There is none of that identity"),
        (status = 503, description = "There is none, but it may stand in a volume that does not answer; or it reaches into what is to come, and that it ends cannot be noted: it stands")))]
pub(super) async fn lift(
    State(app): State<App>,
    Asking(identity): Asking,
    Path(hold): Path<String>,
    subject: Subject,
) -> Result<StatusCode, Problem> {
    let none = || Problem::new(StatusCode::NOT_FOUND, "there is no such hold: see /api/v1/holds");
    let id = HoldId(hold.parse::<Uuid>().map_err(|_| none())?);
    let asks = Arc::clone(&identity);
    let camera = app.read(identity.name.clone(), move |app| {
        let (snapshots, missing) = app.snapshots_and_missing();
        let held = snapshots.into_iter().find_map(|snapshot| {
            let hold = snapshot.volume.holds().into_iter().find(|hold| hold.id == id)?;
            let name = name_of(&snapshot, hold.stream);
            subject.tell(in_words(name.as_ref(), &hold));
            Some(name)
        });
        let unknown = || match app.missing_for(&asks.grant, missing) {
            missing if missing.is_empty() => none(),
            missing => ControlError::Away(missing).into(),
        };
        held.ok_or_else(unknown)
    });
    let camera = camera.await?;
    let may = match &camera {
        Some(name) => identity.grant.may_change(name.camera()),
        None => identity.grant.may_administer(),
    };
    if !may {
        return Err(Problem::forbidden("this camera is not yours to change"));
    }
    let hold = app.change_volumes(move |control| control.lift_hold(id)).await?;
    let camera = camera.as_ref().map(StreamName::camera);
    app.note(EventKind::HoldLifted, camera, &identity.name, format!("{id}: {}", hold.label));
    Ok(StatusCode::NO_CONTENT)
}

impl NewHold {
    /// What is asked for, as it was said.
    fn in_words(&self) -> String {
        let stream = self.stream.as_deref().unwrap_or("main");
        format!("{} {stream} from {} to {}: {}", self.camera, self.from, self.to, self.label)
    }
}

/// A hold, for whoever reads of it once it is gone.
fn in_words(name: Option<&StreamName>, hold: &Hold) -> String {
    let moment = |wall: Option<WallTime>| wall.map_or_else(|| "?".to_owned(), rfc3339);
    let (from, to) = (moment(hold.range.from), moment(hold.range.to));
    format!("{} from {from} to {to}: {}", name.map_or("?", StreamName::as_str), hold.label)
}

fn name_of(snapshot: &Snapshot, stream: StreamId) -> Option<StreamName> {
    snapshot.streams.iter().find(|known| known.id == stream).map(|known| known.name.clone())
}

fn document(volume: &str, name: Option<&StreamName>, hold: &Hold) -> HoldDocument {
    HoldDocument {
        id: hold.id.to_string(),
        camera: name.map(|name| name.camera().to_owned()),
        stream: name.map(|name| path_name(name).to_owned()),
        volume: volume.to_owned(),
        from: hold.range.from.map(rfc3339),
        to: hold.range.to.map(rfc3339),
        label: hold.label.clone(),
        created: rfc3339(hold.created),
        expires: hold.expires.map(rfc3339),
        growing: hold.growing,
        cut_short: hold.cut_short,
        lost: hold.lost,
    }
}
