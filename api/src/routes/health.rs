//! Whether the server is there, and whether it does its work. Both say nothing else, so that anybody may ask.

use super::App;
use crate::control::{StreamState, VolumeState};
use axum::extract::State;
use axum::http::StatusCode;
use keha_fs::Health;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// For how long it is remembered whether all is well: anybody may ask as often as he likes.
const REMEMBERED: Duration = Duration::from_secs(1);

/// What is told of that.
type Told = (StatusCode, &'static str);

/// What was told last, and when.
#[derive(Default)]
pub(crate) struct Readiness(Mutex<Option<(Instant, Told)>>);

/// The process answers.
#[utoipa::path(get, path = "/healthz", tag = "system", security(()), responses((status = 200, description = "It does", body = String)))]
pub(super) async fn alive() -> &'static str {
    "alive\n"
}

/// All volumes are written as they should be, and every camera that is to be recorded has been reached.
#[utoipa::path(get, path = "/readyz", tag = "system", security(()),
    responses((status = 200, description = "So it is", body = String), (status = 503, description = "Something is missing: see /api/v1/volumes and /api/v1/cameras", body = String)))]
pub(super) async fn ready(State(app): State<App>) -> (StatusCode, &'static str) {
    // Held while it is found out: whoever asks meanwhile is told the same.
    let mut last = app.readiness.0.lock().await;
    if let Some((at, told)) = *last
        && at.elapsed() < REMEMBERED
    {
        return told;
    }
    let (at, told) = (Instant::now(), found_out(&app).await);
    *last = Some((at, told));
    told
}

async fn found_out(app: &App) -> Told {
    let told = app.control(|control| Ok((control.volumes(), control.cameras()))).await;
    let Ok((volumes, cameras)) = told else {
        return (StatusCode::SERVICE_UNAVAILABLE, "the recorder does not answer\n");
    };
    if !volumes.iter().all(is_well) {
        return (StatusCode::SERVICE_UNAVAILABLE, "a volume is missing, or its disk fails\n");
    }
    let mut states = cameras.iter().flat_map(|camera| &camera.streams).map(|stream| &stream.state);
    match states.all(|state| matches!(state, StreamState::Recording | StreamState::Stopped)) {
        true => (StatusCode::OK, "ready\n"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "a camera is not recorded\n"),
    }
}

fn is_well(volume: &VolumeState) -> bool {
    volume.failed.is_none() && volume.round.as_ref().is_none_or(|round| round.health == Health::Good)
}
