//! What all WebSockets of this interface share (RFC 6455): the server speaks, the client listens and answers pings.
//!
//! A ping comes every 15 s, and whoever was not heard for 45 s, or does not take a message in 30 s, is dropped. A message of the client's
//! is answered by closing (1008), and none may have more than 1 KiB.
//!
//! With each ping it is asked whether the right by which the handshake was made still holds; if not, the socket is closed (1008). An open
//! socket counts among the connections, and among those of its user or token.

use super::App;
use crate::auth::Grant;
use crate::connections::Held;
use crate::gate::{Right, is_foreign};
use crate::problem::Problem;
use crate::sockets::Kind;
use axum::extract::FromRequestParts;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use jiff::Timestamp;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, timeout};

/// The most bytes that a client may say at once.
const HEARD_BYTES_MAX: usize = 1 << 10;

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// How often a ping is sent.
    pub(super) ping: Duration,
    /// Who was not heard for so long is gone.
    pub(super) unheard: Duration,
    /// Who does not take a message in so long is gone.
    pub(super) untaken: Duration,
}

pub(super) const PATIENCE: Patience = Patience {
    ping: Duration::from_secs(15),
    unheard: Duration::from_secs(45),
    untaken: Duration::from_secs(30),
};

/// A handshake of somebody who may ask for it, with its bounds.
pub(super) fn permitted(
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
    headers: &HeaderMap,
    uri: &Uri,
) -> Result<WebSocketUpgrade, Problem> {
    // A browser brings a password that it remembers to whatever page asks, and lets none give it one for a WebSocket.
    let remembered = headers.get(header::AUTHORIZATION).and_then(|field| field.to_str().ok());
    let remembered =
        remembered.is_some_and(|field| field.get(..6).is_some_and(|b| b.eq_ignore_ascii_case("basic ")));
    if remembered && is_foreign(headers, uri) {
        return Err(Problem::forbidden("another site's page asks by a password: use a signed URL"));
    }
    let upgrade = upgrade.map_err(|no| Problem::new(no.status(), no.body_text()))?;
    Ok(upgrade.max_message_size(HEARD_BYTES_MAX).max_frame_size(HEARD_BYTES_MAX))
}

/// By what right, and over which connection, a handshake was asked for.
pub(super) struct Coming {
    right: Right,
    /// Not there in tests without connections.
    held: Option<Held>,
}

impl<S: Sync> FromRequestParts<S> for Coming {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Coming, Problem> {
        let held = parts.extensions.get().cloned();
        let nobody = || Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "nobody asked who this is");
        Ok(Coming { right: parts.extensions.get().cloned().ok_or_else(nobody)?, held })
    }
}

impl Coming {
    /// Takes a place for a socket, which stays open as long as a camera (or, if it is of none, anything) may be seen.
    ///
    /// # Errors
    /// 503 where he has too many.
    pub(super) fn enter(self, app: &App, kind: Kind, camera: Option<String>) -> Result<Guest, Problem> {
        let place = app.sockets.place(kind, self.right.name())?;
        let gate = Arc::clone(&app.gate);
        Ok(Guest::new(move || {
            // Kept as long as this is.
            let _kept = (&place, &self.held);
            let grant = gate.still(&self.right, Timestamp::now())?.grant;
            let sees = camera.as_ref().is_none_or(|camera| grant.may_see(camera));
            sees.then_some(grant)
        }))
    }
}

/// Somebody who has a socket.
pub(super) struct Guest {
    still: Box<dyn Fn() -> Option<Grant> + Send + Sync>,
}

impl Guest {
    /// Somebody who may stay as long as this tells what he may do.
    pub(super) fn new(still: impl Fn() -> Option<Grant> + Send + Sync + 'static) -> Guest {
        Guest { still: Box::new(still) }
    }
}

/// Sees to it that a client is there, and may be.
pub(super) struct Watch {
    guest: Guest,
    patience: Patience,
    pings: Interval,
    heard: Instant,
}

impl Watch {
    pub(super) fn new(guest: Guest, patience: Patience) -> Watch {
        let mut pings = interval(patience.ping);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Watch { guest, patience, pings, heard: Instant::now() }
    }

    /// Hears what the client says, and pings; ends with what he may do now when he was pinged, and with `None` once the client is gone, said
    /// what it must not, or may not stay. Nothing is lost if the wait is given up.
    pub(super) async fn heard(&mut self, socket: &mut WebSocket) -> Option<Grant> {
        loop {
            tokio::select! {
                said = socket.recv() => match said {
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => self.heard = Instant::now(),
                    Some(Ok(Message::Text(_) | Message::Binary(_))) => {
                        close(socket, close_code::POLICY, "nothing is to be said here", self.patience).await;
                        return None;
                    }
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                },
                _ = self.pings.tick() => {
                    if self.heard.elapsed() >= self.patience.unheard {
                        return None;
                    }
                    let Some(grant) = (self.guest.still)() else {
                        close(socket, close_code::POLICY, "the right to this has ended", self.patience).await;
                        return None;
                    };
                    send(socket, Message::Ping(Default::default()), self.patience).await?;
                    return Some(grant);
                }
            }
        }
    }
}

/// Sends a message; `None` if the client is gone, or does not take it.
pub(super) async fn send(socket: &mut WebSocket, message: Message, patience: Patience) -> Option<()> {
    timeout(patience.untaken, socket.send(message)).await.ok()?.ok()
}

/// Closes, and says why.
pub(super) async fn close(socket: &mut WebSocket, code: u16, reason: &'static str, patience: Patience) {
    let frame = CloseFrame { code, reason: reason.into() };
    // Who does not take it is gone, too.
    let _gone = send(socket, Message::Close(Some(frame)), patience).await;
}
