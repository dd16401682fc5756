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
//! - `skipped`: the client was too slow; `samples` pictures and packets of sound were left out before the next keyframe.
//! - `gap`: nothing was recorded `from` ... `to`, for the `reason`.
//! - `unplayable`: the stream has no track that a browser can play; `reason` says why.
//!
//! The first message is an `init` or `waiting`, or none until the first picture comes. Where pictures are reordered (B-pictures) times
//! of presentation may be before those of pictures sent earlier, as they are in files.
//!
//! Nothing is expected of the client but pongs: a ping comes every 15 s, and whoever was not heard for 45 s, or does not take a message
//! in 30 s, is dropped. A message of the client's is answered by closing (1008), and none may have more than 1 KiB. When the server
//! ends, it closes with 1001.
//!
//! What must not live here: who may see what (`extract`), whether a page of another site asks (`gate`).

#[cfg(test)]
mod tests;
mod told;

use super::App;
use crate::extract::Watched;
use crate::gate::is_foreign;
use crate::problem::Problem;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::extract::{OriginalUri, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use keha_player::live::{self, Viewer};
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

/// The most bytes that a client may say at once.
const HEARD_BYTES_MAX: usize = 1 << 10;

/// How long things may take.
#[derive(Clone, Copy, Debug)]
struct Patience {
    /// How often a ping is sent.
    ping: Duration,
    /// Who was not heard for so long is gone.
    unheard: Duration,
    /// Who does not take a message in so long is gone.
    untaken: Duration,
}

const PATIENCE: Patience = Patience {
    ping: Duration::from_secs(15),
    unheard: Duration::from_secs(45),
    untaken: Duration::from_secs(30),
};

/// Live video in a WebSocket: fragmented MP4 in binary messages, what it is in text messages.
#[utoipa::path(get, path = "/cameras/{camera}/streams/{stream}/live", tag = "footage",
    params(("camera" = String, Path, description = "Its name"), ("stream" = String, Path, description = "`main`, or the name of a further stream")),
    responses((status = 101, description = "A WebSocket. Text messages are JSON objects with a `type` (`init`, `waiting`, `skipped`, `gap`, `unplayable`); behind `init` come binary messages: an init segment, then a fragment for each picture"),
        (status = 400, description = "This is no WebSocket handshake"), (status = 404, description = "There is no such camera or stream"),
        (status = 426, description = "The connection cannot become a WebSocket"), (status = 503, description = "Too many watch already")))]
pub(super) async fn watch(
    State(app): State<App>,
    watched: Watched,
    headers: HeaderMap,
    OriginalUri(uri): OriginalUri,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    // A browser brings a password that it remembers to whatever page asks, and lets none give it one for a WebSocket.
    let remembered = headers.get(header::AUTHORIZATION).and_then(|field| field.to_str().ok());
    let remembered =
        remembered.is_some_and(|field| field.get(..6).is_some_and(|b| b.eq_ignore_ascii_case("basic ")));
    if remembered && is_foreign(&headers, &uri) {
        return Err(Problem::forbidden("another site's page asks by a password: use a signed URL"));
    }
    let upgrade = upgrade.map_err(|no| Problem::new(no.status(), no.body_text()))?;
    let cameras = app.control(|control| Ok(control.cameras())).await?;
    let mut known = cameras.iter().flat_map(|camera| &camera.streams);
    if !known.any(|stream| stream.name == watched.stream) {
        let why = format!("{} is not recorded here: see /api/v1/cameras", watched.stream);
        return Err(Problem::new(StatusCode::NOT_FOUND, why));
    }
    let viewer = app.live.watch(&watched.stream);
    let viewer = viewer.map_err(|no| Problem::new(StatusCode::SERVICE_UNAVAILABLE, no.to_string()))?;
    Ok(upgraded(upgrade, viewer, PATIENCE))
}

/// Answers the handshake, and then tells what comes.
fn upgraded(upgrade: WebSocketUpgrade, viewer: Viewer, patience: Patience) -> Response {
    let bounded = upgrade.max_message_size(HEARD_BYTES_MAX).max_frame_size(HEARD_BYTES_MAX);
    bounded.on_upgrade(move |socket| serve(socket, viewer, patience))
}

async fn serve(mut socket: WebSocket, mut viewer: Viewer, patience: Patience) {
    let mut pings = interval(patience.ping);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut heard = Instant::now();
    loop {
        let told = tokio::select! {
            message = viewer.next() => match message {
                Some(message) => tell(&mut socket, message, patience).await,
                None => return close(socket, close_code::AWAY, "the server ends", patience).await,
            },
            said = socket.recv() => match said {
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {
                    heard = Instant::now();
                    Some(())
                }
                Some(Ok(Message::Text(_) | Message::Binary(_))) => {
                    return close(socket, close_code::POLICY, "nothing is to be said here", patience).await;
                }
                Some(Ok(Message::Close(_)) | Err(_)) | None => None,
            },
            _ = pings.tick() => match heard.elapsed() < patience.unheard {
                true => send(&mut socket, Message::Ping(Default::default()), patience).await,
                false => None,
            },
        };
        if told.is_none() {
            return;
        }
    }
}

/// Tells a message; `None` if the client is gone.
async fn tell(socket: &mut WebSocket, message: live::Message, patience: Patience) -> Option<()> {
    let text = told::text(&message);
    if let Some(text) = text {
        send(socket, Message::Text(text.into()), patience).await?;
    }
    match message {
        live::Message::Init(init) => send(socket, Message::Binary(init.bytes.clone()), patience).await,
        live::Message::Fragment(fragment) => send(socket, Message::Binary(fragment.bytes), patience).await,
        _ => Some(()),
    }
}

async fn send(socket: &mut WebSocket, message: Message, patience: Patience) -> Option<()> {
    timeout(patience.untaken, socket.send(message)).await.ok()?.ok()
}

async fn close(mut socket: WebSocket, code: u16, reason: &'static str, patience: Patience) {
    let frame = CloseFrame { code, reason: reason.into() };
    // Who does not take it is gone, too.
    let _gone = send(&mut socket, Message::Close(Some(frame)), patience).await;
}
