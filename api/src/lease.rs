//! Leases: a running download keeps what it has not read yet ahead of the ring.
//!
//! A lease is a hold that expires soon and is taken anew while the download goes on, for [`LASTS`] at most; it ends with the download,
//! and by itself if the server ends first. Where it cannot be taken anew, the one before stands until it expires. It is taken only where
//! the ring would come that way in the time that a download may take, and only once the download has gone on for [`BEFORE`]: most are
//! over by then, and a volume makes and lifts holds between its rounds alone. What may be held is bounded by the volume: where there is no room, the
//! download goes on without, and breaks off if the ring comes first.

use crate::app::App;
use keha_fs::{HoldId, HoldRequest, StreamName, WallTime};
use keha_player::library::Whole;
use std::time::Duration;
use tokio::sync::oneshot;

/// How long a download goes on before it takes one.
const BEFORE: Duration = Duration::from_secs(10);
/// How long a lease lasts without being taken anew.
const LIFE: Duration = Duration::from_secs(600);
/// After which time it is taken anew.
const RENEWED: Duration = Duration::from_secs(300);
/// How long a download keeps anything from the ring, however slowly it goes.
const LASTS: Duration = Duration::from_secs(6 * 3600);
/// What is overwritten in more than this time needs no lease.
const SOON: Duration = Duration::from_secs(2 * 3600);

/// Footage is held until this is dropped.
pub(crate) struct Lease {
    _ended: oneshot::Sender<()>,
}

/// What a lease is of: a stream in a volume, by its name.
pub(crate) type Leased = (String, StreamName);

/// Where the ring would soon overwrite something of some streams from a moment on, up to another one.
pub(crate) fn in_danger(streams: &[Whole], from: WallTime, to: WallTime) -> Vec<Leased> {
    let mut leased = Vec::new();
    for whole in streams {
        for part in whole.parts_in(from, to) {
            let Some((first, left)) = part.stream.first.zip(part.stream.overwritten_in) else { continue };
            let behind = u64::try_from(from.since_ns(first)).map_or(Duration::ZERO, Duration::from_nanos);
            if left.saturating_add(behind) < SOON {
                leased.push((part.snapshot.name.clone(), whole.name.clone()));
            }
        }
    }
    leased
}

/// Holds a range of streams for a download, if there is anything to hold.
pub(crate) fn lease(app: &App, streams: Vec<Leased>, from: WallTime, to: WallTime) -> Option<Lease> {
    if streams.is_empty() {
        return None;
    }
    let (ended, mut end) = oneshot::channel::<()>();
    let app = app.clone();
    tokio::spawn(async move {
        if tokio::time::timeout(BEFORE, &mut end).await.is_ok() {
            return;
        }
        let mut held: Vec<Option<HoldId>> = vec![None; streams.len()];
        let lasts = tokio::time::Instant::now() + LASTS;
        while tokio::time::Instant::now() < lasts {
            for (stream, held) in streams.iter().zip(&mut held) {
                // What could not be taken anew stays until it expires.
                if let Some(anew) = hold(&app, stream, from, to).await {
                    lift(&app, held.replace(anew)).await;
                }
            }
            // The sender sends nothing: it is dropped with the download.
            if tokio::time::timeout(RENEWED, &mut end).await.is_ok() {
                break;
            }
        }
        for held in held {
            lift(&app, held).await;
        }
    });
    Some(Lease { _ended: ended })
}

async fn hold(app: &App, (volume, stream): &Leased, from: WallTime, to: WallTime) -> Option<HoldId> {
    let now = i64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX);
    let expires = Some(WallTime(now).plus(LIFE));
    let request = HoldRequest { stream: stream.clone(), from, to, label: "a download".to_owned(), expires };
    let volume = volume.clone();
    let held = app.control(move |control| control.add_hold_in(&volume, request)).await;
    held.inspect_err(|problem| tracing::warn!(%stream, ?problem, "a download goes on without a new lease"))
        .ok()
        .map(|hold| hold.id)
}

async fn lift(app: &App, held: Option<HoldId>) {
    let Some(id) = held else { return };
    if let Err(problem) = app.control(move |control| control.lift_hold(id)).await {
        tracing::debug!(%id, ?problem, "a lease expires by itself");
    }
}

#[cfg(test)]
mod tests {
    use super::{BEFORE, LASTS, Leased, RENEWED, lease};
    use crate::testing::{FakeControl, app};
    use keha_fs::{StreamName, WallTime};
    use keha_player::library::Library;
    use std::sync::Arc;
    use std::time::Duration;

    /// Lets all that is to be done by now be done.
    async fn settle() {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }

    fn streams() -> Vec<Leased> {
        let leased = |name| ("attic".to_owned(), StreamName::new(name).expect("a name"));
        ["door", "yard"].map(leased).to_vec()
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_that_cannot_be_taken_anew_stands_and_ends_with_the_download() {
        let directory = tempfile::tempdir().expect("a directory");
        let control = Arc::new(FakeControl::default());
        let app = app((directory.path(), ""), false, Arc::clone(&control), Library::default());
        let lease = lease(&app, streams(), WallTime(0), WallTime(1)).expect("a lease");
        settle().await;
        assert!(control.held().is_empty(), "most downloads are over soon");
        tokio::time::sleep(BEFORE).await;
        let first = control.held();
        assert_eq!(first.len(), 2);
        control.refuse_holds(true);
        tokio::time::sleep(RENEWED).await;
        assert_eq!(control.held(), first, "they are good for minutes more");
        control.refuse_holds(false);
        tokio::time::sleep(RENEWED).await;
        let second = control.held();
        assert!(second.len() == 2 && second.iter().all(|id| !first.contains(id)));
        drop(lease);
        settle().await;
        assert!(control.held().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn no_download_keeps_the_ring_away_for_ever() {
        let directory = tempfile::tempdir().expect("a directory");
        let control = Arc::new(FakeControl::default());
        let app = app((directory.path(), ""), false, Arc::clone(&control), Library::default());
        let _lease = lease(&app, streams(), WallTime(0), WallTime(1)).expect("a lease");
        tokio::time::sleep(LASTS - RENEWED).await;
        assert_eq!(control.held().len(), 2);
        tokio::time::sleep(2 * RENEWED).await;
        assert!(control.held().is_empty());
    }
}
