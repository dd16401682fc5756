//! Leases: a running download keeps what it has not read yet ahead of the ring.
//!
//! A lease is a hold that expires soon and is taken anew while the download goes on; it ends with the download, and by itself if the
//! server ends first. It is taken only where the ring would come that way in the time that a download may take. What may be held is
//! bounded by the volume: where there is no room, the download goes on without, and breaks off if the ring comes first.

use crate::app::App;
use keha_fs::{HoldId, HoldRequest, StreamName, WallTime};
use keha_player::library::Snapshot;
use std::time::Duration;
use tokio::sync::oneshot;

/// How long a lease lasts without being taken anew.
const LIFE: Duration = Duration::from_secs(600);
/// After which time it is taken anew.
const RENEWED: Duration = Duration::from_secs(300);
/// What is overwritten in more than this time needs no lease.
const SOON: Duration = Duration::from_secs(2 * 3600);

/// Footage is held until this is dropped.
pub(crate) struct Lease {
    _ended: oneshot::Sender<()>,
}

/// Those of some streams of which the ring would soon overwrite something from a moment on.
pub(crate) fn in_danger(snapshot: &Snapshot, streams: &[StreamName], from: WallTime) -> Vec<StreamName> {
    let mut streams = streams.to_vec();
    streams.retain(|name| {
        let Some(stream) = snapshot.stream(name) else { return false };
        let Some((first, left)) = stream.first.zip(stream.overwritten_in) else { return false };
        let behind = u64::try_from(from.since_ns(first)).map_or(Duration::ZERO, Duration::from_nanos);
        left.saturating_add(behind) < SOON
    });
    streams
}

/// Holds a range of streams for a download, if there is anything to hold.
pub(crate) fn lease(app: &App, streams: Vec<StreamName>, from: WallTime, to: WallTime) -> Option<Lease> {
    if streams.is_empty() {
        return None;
    }
    let (ended, mut end) = oneshot::channel::<()>();
    let app = app.clone();
    tokio::spawn(async move {
        let mut held = Vec::new();
        loop {
            let before = std::mem::replace(&mut held, hold(&app, &streams, from, to).await);
            lift(&app, before).await;
            // The sender sends nothing: it is dropped with the download.
            if tokio::time::timeout(RENEWED, &mut end).await.is_ok() {
                return lift(&app, held).await;
            }
        }
    });
    Some(Lease { _ended: ended })
}

async fn hold(app: &App, streams: &[StreamName], from: WallTime, to: WallTime) -> Vec<HoldId> {
    let mut held = Vec::new();
    let now = i64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX);
    let expires = Some(WallTime(now).plus(LIFE));
    for stream in streams {
        let request =
            HoldRequest { stream: stream.clone(), from, to, label: "a download".to_owned(), expires };
        match app.control(move |control| control.add_hold(request)).await {
            Ok(hold) => held.push(hold.id),
            Err(problem) => tracing::warn!(%stream, ?problem, "a download goes on without a lease"),
        }
    }
    held
}

async fn lift(app: &App, held: Vec<HoldId>) {
    for id in held {
        if let Err(problem) = app.control(move |control| control.lift_hold(id)).await {
            tracing::debug!(%id, ?problem, "a lease expires by itself");
        }
    }
}
