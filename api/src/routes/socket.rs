//! What all WebSockets of this interface share (RFC 6455): the server speaks, the client listens and answers pings.
//!
//! A ping comes every 15 s, and whoever was not heard for 45 s, or does not take a message in 30 s, is dropped. A message of the client's
//! is answered by closing (1008), and none may have more than 1 KiB.

use crate::gate::is_foreign;
use crate::problem::Problem;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::http::{HeaderMap, Uri, header};
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

/// Sees to it that a client is there.
pub(super) struct Watch {
    patience: Patience,
    pings: Interval,
    heard: Instant,
}

impl Watch {
    pub(super) fn new(patience: Patience) -> Watch {
        let mut pings = interval(patience.ping);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Watch { patience, pings, heard: Instant::now() }
    }

    /// Hears what the client says, and pings; ends, with `None`, only once the client is gone or said what it must not. Nothing is lost if
    /// the wait is given up.
    pub(super) async fn heard(&mut self, socket: &mut WebSocket) -> Option<()> {
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
                    send(socket, Message::Ping(Default::default()), self.patience).await?;
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
