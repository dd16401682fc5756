//! `/cameras`: what there is, and changing it.

use super::App;
use super::camera_documents::{CameraDocument, NewCamera, TrackDocument};
use crate::audit::Subject;
use crate::control::{KeepLogin, Login};
use crate::extract::{Changed, Json, Watched};
use crate::gate::{Administrator, Asking};
use crate::problem::Problem;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A camera to try.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CameraTest {
    /// Its address: `rtsp://host/path`.
    url: String,
    /// Who logs in, where that is not in the address.
    username: Option<String>,
    /// With which password.
    #[schema(write_only)]
    password: Option<String>,
}

/// What a camera offers.
#[derive(Serialize, ToSchema)]
pub(super) struct CameraOffer {
    /// The tracks that would be recorded.
    tracks: Vec<TrackDocument>,
    /// The others, and why each would not be.
    skipped: Vec<String>,
}

/// Whether a stream is to be recorded.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Recording {
    on: bool,
}

/// The cameras that whoever asks may see, by name.
#[utoipa::path(get, path = "/cameras", tag = "cameras",
    responses((status = 200, description = "The cameras", body = Vec<CameraDocument>)))]
pub(super) async fn list(
    State(app): State<App>,
    Asking(identity): Asking,
) -> Result<Json<Vec<CameraDocument>>, Problem> {
    let cameras = app.control(|control| Ok(control.cameras())).await?;
    let seen = cameras.iter().filter(|camera| identity.grant.may_see(&camera.name));
    Ok(Json(seen.map(|camera| CameraDocument::new(camera, &identity.grant)).collect()))
}

/// A camera and what its streams are doing.
#[utoipa::path(get, path = "/cameras/{camera}", tag = "cameras", params(("camera" = String, Path, description = "Its name")),
    responses((status = 200, description = "The camera", body = CameraDocument), (status = 404, description = "There is none of that name")))]
pub(super) async fn show(State(app): State<App>, watched: Watched) -> Result<Json<CameraDocument>, Problem> {
    let cameras = app.control(|control| Ok(control.cameras())).await?;
    let camera = cameras.iter().find(|camera| camera.name == watched.camera);
    camera
        .map(|camera| Json(CameraDocument::new(camera, &watched.identity.grant)))
        .ok_or_else(|| unknown(&watched.camera))
}

/// Adds a camera, and begins to record it.
#[utoipa::path(post, path = "/cameras", tag = "cameras", request_body = NewCamera,
    responses((status = 201, description = "It is recorded from now on"), (status = 409, description = "There is one of that name"),
        (status = 422, description = "The name, an address or the volume does not do")))]
pub(super) async fn add(
    State(app): State<App>,
    _: Administrator,
    subject: Subject,
    Json(new): Json<NewCamera>,
) -> Result<StatusCode, Problem> {
    let (name, settings) = new.named()?;
    subject.tell(format!("camera {name}"));
    app.control(move |control| control.add_camera(&name, &settings)).await?;
    Ok(StatusCode::CREATED)
}

/// Changes a camera that was added over HTTP. Streams whose address stays the same are recorded on without a gap. Without a login it
/// keeps the one it has as long as all addresses stay at the same host; for whoever does not administer all cameras, only as long as no address
/// is new.
#[utoipa::path(put, path = "/cameras/{camera}", tag = "cameras", request_body = NewCamera,
    params(("camera" = String, Path, description = "Its name")),
    responses((status = 204, description = "Done"), (status = 404, description = "There is none of that name"),
        (status = 409, description = "It stands in the configuration file, where alone it is changed"),
        (status = 422, description = "An address or the volume does not do, or the login has to be given again")))]
pub(super) async fn change(
    State(app): State<App>,
    Changed(watched): Changed,
    Json(new): Json<NewCamera>,
) -> Result<StatusCode, Problem> {
    let settings = new.of(&watched.camera)?;
    let administers = watched.identity.grant.may_administer();
    let keep = if administers { KeepLogin::SameHost } else { KeepLogin::SameAddresses };
    app.control(move |control| control.change_camera(&watched.camera, &settings, keep)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Ends the recording of a camera that was added over HTTP, and forgets it. Its footage stays until the ring overwrites it.
#[utoipa::path(delete, path = "/cameras/{camera}", tag = "cameras", params(("camera" = String, Path, description = "Its name")),
    responses((status = 204, description = "Done"), (status = 404, description = "There is none of that name"),
        (status = 409, description = "It stands in the configuration file, where alone it is changed")))]
pub(super) async fn remove(State(app): State<App>, Changed(watched): Changed) -> Result<StatusCode, Problem> {
    app.control(move |control| control.remove_camera(&watched.camera)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Has a camera recorded on its own volume again that went on on another one because that had failed. It never returns by itself.
#[utoipa::path(post, path = "/cameras/{camera}/return", tag = "cameras", params(("camera" = String, Path, description = "Its name")),
    responses((status = 204, description = "It is recorded on its own volume from now on"), (status = 404, description = "There is none of that name"),
        (status = 409, description = "It was not moved, or its own volume does not take it: it is recorded where it was")))]
pub(super) async fn bring_home(
    State(app): State<App>,
    _: Administrator,
    Changed(watched): Changed,
) -> Result<StatusCode, Problem> {
    app.control(move |control| control.return_camera(&watched.camera)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Connects to an address and says what it offers. Nothing is recorded or kept.
#[utoipa::path(post, path = "/camera-tests", tag = "cameras", request_body = CameraTest,
    responses((status = 200, description = "What it offers", body = CameraOffer), (status = 422, description = "It is no address"),
        (status = 502, description = "What the camera or the network said")))]
pub(super) async fn test(
    State(app): State<App>,
    _: Administrator,
    Json(tried): Json<CameraTest>,
) -> Result<Json<CameraOffer>, Problem> {
    let CameraTest { url, username, password } = tried;
    let login = username.map(|username| Login { username, password: password.unwrap_or_default() });
    let offer = app.control(move |control| control.test_camera(&url, login.as_ref())).await?;
    let tracks = offer.tracks.iter().map(TrackDocument::new).collect();
    Ok(Json(CameraOffer { tracks, skipped: offer.skipped }))
}

/// Begins or ends the recording of one stream, until it is said otherwise, also when the server is started again.
#[utoipa::path(put, path = "/cameras/{camera}/streams/{stream}/recording", tag = "cameras", request_body = Recording,
    params(("camera" = String, Path, description = "Its name"), ("stream" = String, Path, description = "`main`, or the name of a further stream")),
    responses((status = 204, description = "Done"), (status = 404, description = "There is none of that name")))]
pub(super) async fn record(
    State(app): State<App>,
    Changed(watched): Changed,
    subject: Subject,
    Json(recording): Json<Recording>,
) -> Result<StatusCode, Problem> {
    subject.tell(if recording.on { "on" } else { "off" }.to_owned());
    app.control(move |control| control.set_recording(&watched.stream, recording.on)).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn unknown(camera: &str) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, format!("there is no camera {camera}: see /api/v1/cameras"))
}
