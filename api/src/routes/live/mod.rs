//! `/cameras/{camera}/streams/{stream}/live`: live video in a WebSocket (RFC 6455).
//!
//! The server speaks, the client listens. Binary messages are pieces of one fragmented MP4 stream, to be appended in their order to a
//! `SourceBuffer` (`mode` `segments`). Text messages are JSON objects; their `type` says what they are, and more fields and types may
//! come:
//!
//! - `init`: the next binary message is an init segment, the ones behind it its fragments, beginning with a keyframe. `codecs` is for
//!   `addSourceBuffer('video/mp4; codecs="..."')`, and `changeType` where it changed. `number` counts from 1. `video` (`codec`, `width`,
//!   `height`, `timescale`) and `audio` (`codec`, `sample_rate`, `channels`, `timescale`) are there or null. `wall` is the moment (RFC
//!   3339) of the first sample, `axis_ms` the same moment on the axis of the fragments, in milliseconds: 0 is 1970, and both say the
//!   same unless the recorder's clock was set back. A page sets `timestampOffset` to minus the first `axis_ms` / 1000, and leaves it;
//!   at a later `init` it seeks to where that begins.
//! - `waiting`: nothing is recorded since `since`. The next is an `init` or fragments of the last one.
//! - `skipped`: the client was too slow, or what was recorded was not had in time; `samples` pictures and packets of sound (more, if that
//!   is not known) were left out before the next keyframe.
//! - `gap`: nothing was recorded `from` ... `to`, for the `reason`.
//! - `unplayable`: the stream has no track that a browser can play; `reason` says why.
//!
//! The first message is an `init` or `waiting`, or none until the first picture comes. Where pictures are reordered (B-pictures) times
//! of presentation may be before those of pictures sent earlier, as they are in files.
//!
//! Nothing is expected of the client but pongs ([`super::socket`]). When the server ends, it closes with 1001; when who watches may not any more, with 1008.
//!
//! What must not live here: who may see what (`extract`), whether a page of another site asks (`gate`).

#[cfg(test)]
mod tests;
mod told;

use super::App;
use super::socket::{self, Coming, Guest, PATIENCE, Patience, Watch};
use crate::extract::Watched;
use crate::problem::Problem;
use crate::sockets::Kind;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade, close_code};
use axum::extract::{OriginalUri, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use keha_player::live::{self, Viewer};

/// Live video in a WebSocket: fragmented MP4 in binary messages, what it is in text messages.
#[utoipa::path(get, path = "/cameras/{camera}/streams/{stream}/live", tag = "footage",
    params(("camera" = String, Path, description = "Its name"), ("stream" = String, Path, description = "`main`, or the name of a further stream")),
    responses((status = 101, description = "A WebSocket. Text messages are JSON objects with a `type` (`init`, `waiting`, `skipped`, `gap`, `unplayable`); behind `init` come binary messages: an init segment, then a fragment for each picture"),
        (status = 400, description = "This is no WebSocket handshake"), (status = 404, description = "There is no such camera or stream"),
        (status = 426, description = "The connection cannot become a WebSocket"), (status = 503, description = "Too many watch already")))]
pub(super) async fn watch(
    State(app): State<App>,
    watched: Watched,
    coming: Coming,
    headers: HeaderMap,
    OriginalUri(uri): OriginalUri,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let upgrade = socket::permitted(upgrade, &headers, &uri)?;
    let cameras = app.control(|control| Ok(control.cameras())).await?;
    let mut known = cameras.iter().flat_map(|camera| &camera.streams);
    if !known.any(|stream| stream.name == watched.stream) {
        let why = format!("{} is not recorded here: see /api/v1/cameras", watched.stream);
        return Err(Problem::new(StatusCode::NOT_FOUND, why));
    }
    let guest = coming.enter(&app, Kind::Live, Some(watched.camera))?;
    let viewer = app.live.watch(&watched.stream);
    let viewer = viewer.map_err(|no| Problem::new(StatusCode::SERVICE_UNAVAILABLE, no.to_string()))?;
    Ok(upgraded(upgrade, viewer, guest, PATIENCE))
}

/// Answers the handshake, and then tells what comes.
fn upgraded(upgrade: WebSocketUpgrade, viewer: Viewer, guest: Guest, patience: Patience) -> Response {
    upgrade.on_upgrade(move |socket| serve(socket, viewer, guest, patience))
}

async fn serve(mut socket: WebSocket, mut viewer: Viewer, guest: Guest, patience: Patience) {
    let mut watch = Watch::new(guest, patience);
    loop {
        let goes_on = tokio::select! {
            message = viewer.next() => match message {
                Some(message) => tell(&mut socket, message, patience).await,
                None => return socket::close(&mut socket, close_code::AWAY, "the server ends", patience).await,
            },
            goes_on = watch.heard(&mut socket) => goes_on.map(drop),
        };
        if goes_on.is_none() {
            return;
        }
    }
}

/// Tells a message; `None` if the client is gone.
async fn tell(socket: &mut WebSocket, message: live::Message, patience: Patience) -> Option<()> {
    if let Some(text) = told::text(&message) {
        socket::send(socket, Message::Text(text.into()), patience).await?;
    }
    match message {
        live::Message::Init(init) => {
            socket::send(socket, Message::Binary(init.bytes.clone()), patience).await
        }
        live::Message::Fragment(fragment) => {
            socket::send(socket, Message::Binary(fragment.bytes), patience).await
        }
        _ => Some(()),
    }
}
