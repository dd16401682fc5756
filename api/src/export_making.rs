//! Making and removing named exports: what is noted ([`crate::exports`]) and what is held, in an order in which nothing is left over.
//!
//! | step | if it fails, or the client is gone |
//! |---|---|
//! | noted | nothing was held |
//! | held, where whoever asks may change all cameras of it | goes on without, or with part of it: `held` is false; where the server ends, it is removed |
//! | the holds noted | they are lifted, and the export is removed |
//! | told | the same: nobody knows of it |
//!
//! All of it is done in tasks of their own, which go on when the connection of whoever asks breaks.

use crate::app::App;
use crate::auth::Identity;
use crate::control::ControlError;
use crate::events::EventKind;
use crate::exports::Export;
use crate::measuring::measure;
use crate::placing::Places;
use crate::problem::Problem;
use axum::http::StatusCode;
use jiff::Timestamp;
use keha_fs::{HoldId, HoldRequest, StreamName, Uuid, WallTime};
use keha_player::units::time::rfc3339;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::oneshot;

/// What an export needs: these streams, where they stand, from one moment to another.
pub(crate) struct Needed {
    pub(crate) streams: Vec<(StreamName, Places)>,
    pub(crate) from: WallTime,
    pub(crate) to: WallTime,
}

/// Notes a new export, holds what it needs if whoever asks may do that, and has it measured. Answers its identifier, and the export as it
/// is then.
///
/// # Errors
/// Where it cannot be noted, or there are too many.
pub(crate) async fn made(
    app: &App,
    identity: Arc<Identity>,
    needed: Needed,
    export: Export,
) -> Result<(String, Export), Problem> {
    let (tell, told) = oneshot::channel();
    let app = app.clone();
    tokio::spawn(async move {
        let made = make(&app, &identity, &needed, export).await;
        if let Err(Ok((id, _))) = tell.send(made) {
            tracing::debug!(id, "nobody waits for this export any more");
            undo(&app, id).await;
        }
    });
    told.await.unwrap_or_else(|error| Err(Problem::internal(&error)))
}

/// Removes an export, and lifts what held its footage.
///
/// # Errors
/// Where that cannot be noted.
pub(crate) async fn removed(app: &App, id: String) -> Result<(), Problem> {
    let app = app.clone();
    let removed = tokio::spawn(async move { remove(&app, id).await });
    removed.await.unwrap_or_else(|error| Err(Problem::internal(&error)))
}

async fn make(
    app: &App,
    identity: &Identity,
    needed: &Needed,
    export: Export,
) -> Result<(String, Export), Problem> {
    let id = Uuid::new_v4().simple().to_string();
    change(app, &id, {
        let export = export.clone();
        move |new| *new = Some(export)
    })
    .await?;
    let held = if export.cameras().into_iter().all(|camera| identity.grant.may_change(camera)) {
        match hold(app, needed, &export).await {
            Ok(held) => held,
            Err(ending) => {
                undo(app, id).await;
                return Err(ending);
            }
        }
    } else {
        Held::default()
    };
    let Held { holds, not_held } = held;
    let not_held = not_held.into_iter().collect();
    let export = Export { holds: holds.iter().map(HoldId::to_string).collect(), not_held, ..export };
    if !holds.is_empty() {
        let noted = (export.holds.clone(), export.not_held.clone());
        let noted = change(app, &id, move |known| {
            known.as_mut().map(|known| (known.holds, known.not_held) = noted).is_some()
        });
        let noted = noted.await;
        // Somebody may have removed it already.
        if !matches!(noted, Ok(true)) {
            lift(app, holds).await;
            undo(app, id).await;
            let gone = Problem::new(StatusCode::NOT_FOUND, "the export was removed meanwhile");
            return Err(noted.err().unwrap_or(gone));
        }
    }
    measure(app, &id);
    for camera in export.cameras() {
        let streams: Vec<&str> = export.streams_of(camera).collect();
        let (from, to) = (rfc3339(WallTime(export.from_ns)), rfc3339(WallTime(export.to_ns)));
        let text = format!("{} from {from} to {to}", streams.join(", "));
        app.note(EventKind::ExportMade, Some(camera), &identity.name, text);
    }
    Ok((id, export))
}

/// What was held of an export.
#[derive(Default)]
struct Held {
    holds: Vec<HoldId>,
    /// The names of volumes that have part of it, and hold nothing.
    not_held: BTreeSet<String>,
}

/// Holds what an export needs, where there is room; without, it may be overwritten before it was downloaded.
///
/// # Errors
/// Where the server is being stopped: whoever asks may ask the next one. What was held ends with the export.
async fn hold(app: &App, needed: &Needed, export: &Export) -> Result<Held, Problem> {
    let mut all = Held::default();
    let expires = i64::try_from(export.expires.as_nanosecond()).ok().map(WallTime);
    for (stream, places) in &needed.streams {
        let request = HoldRequest {
            stream: stream.clone(),
            from: needed.from,
            to: needed.to,
            label: format!("export by {}", export.user),
            expires,
        };
        let asked = places.clone();
        let held = app.change_volumes(move |control| match asked.hold(control, &request) {
            Err(ControlError::Ending) => Err(ControlError::Ending),
            held => Ok(held),
        });
        match held.await? {
            Ok(placed) => {
                // What did not answer when it was prepared is not in it.
                let mine = places.volumes().filter(|volume| placed.missing.iter().any(|name| name == volume));
                let mine: Vec<String> = mine.map(str::to_owned).collect();
                if !mine.is_empty() {
                    tracing::warn!(%stream, missing = ?mine, "not all of the footage of an export is held");
                }
                all.not_held.extend(mine);
                all.holds.extend(placed.holds.into_iter().map(|(_, hold)| hold.id));
            }
            Err(error) => {
                tracing::warn!(%stream, %error, "the footage of an export is not held");
                all.not_held.extend(places.volumes().map(str::to_owned));
            }
        }
    }
    Ok(all)
}

async fn remove(app: &App, id: String) -> Result<(), Problem> {
    let export = change(app, &id, Option::take).await?;
    let holds = export.iter().flat_map(|export| &export.holds);
    lift(app, holds.filter_map(|id| id.parse::<Uuid>().ok()).map(HoldId).collect()).await;
    Ok(())
}

async fn undo(app: &App, id: String) {
    if let Err(problem) = remove(app, id).await {
        tracing::warn!(?problem, "an export that nobody knows of stays until it expires");
    }
}

async fn lift(app: &App, holds: Vec<HoldId>) {
    for id in holds {
        if let Err(problem) = app.change_volumes(move |control| control.lift_hold(id)).await {
            tracing::warn!(%id, ?problem, "the hold of an export that was removed stays until it expires");
        }
    }
}

async fn change<T: Send + 'static>(
    app: &App,
    id: &str,
    change: impl FnOnce(&mut Option<Export>) -> T + Send + 'static,
) -> Result<T, Problem> {
    let id = id.to_owned();
    app.work(move |app| Ok(app.exports.change(&id, Timestamp::now(), change)?)).await
}
