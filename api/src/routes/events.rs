//! `/events`: what happened, as a query and as a WebSocket that goes on where a client was.
//!
//! In the WebSocket each event is a text message: the same object as in the answer to a query. A client that comes back asks for what
//! is behind the last `id` it saw (`after`). `{"missed": true}` says that some of it is no longer kept. Nothing is expected of the client
//! but pongs; see `/live` for how long it is waited for, and for what ends it.

use super::App;
use super::socket::{self, Coming, Guest, PATIENCE};
use crate::events::{After, Event, EventId, EventKind, Follower, GIVEN_MAX, Query as Asked, Told};
use crate::extract::{Json, Query, moment};
use crate::gate::Asking;
use crate::problem::Problem;
use crate::sockets::Kind;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{OriginalUri, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use keha_player::units::time::timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use utoipa::{IntoParams, ToSchema};

/// How many events an answer has, if nothing else is said.
const LIMIT: usize = 100;

/// Which events.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Wanted {
    /// Behind this event: the last `id` that a client has.
    after: Option<String>,
    /// From this moment on, in the forms that queries take.
    from: Option<String>,
    /// Kinds, with commas between them; all if left out.
    kinds: Option<String>,
    /// Names of cameras, with commas between them; all that may be seen if left out.
    cameras: Option<String>,
    /// At most so many (1 to 1000); 100 if left out. Without `after` and `from` these are the newest.
    limit: Option<usize>,
}

/// Something that happened.
#[derive(Serialize, ToSchema)]
pub(super) struct EventDocument<'a> {
    /// Rises from one event to the next, over restarts too.
    id: String,
    #[schema(format = DateTime)]
    at: String,
    /// `camera_up`, `camera_down`, `camera_moved`, `gap_began`, `gap_ended`, `hold_added`, `hold_lifted`, `hold_lost`, `disk`, `export_made`, `access_changed`.
    #[schema(value_type = String)]
    kind: EventKind,
    camera: Option<&'a str>,
    /// Who did it.
    user: Option<&'a str>,
    text: &'a str,
}

/// What happened, as far as it was asked for.
#[derive(Serialize, ToSchema)]
pub(super) struct EventsDocument<'a> {
    /// In the order in which they did.
    events: Vec<EventDocument<'a>>,
    /// Some of what happened in the time asked for, behind `after` or since `from`, may be missing: it is no longer kept.
    missed: bool,
    /// Give this as `after` to go on behind what was told here. There always is one, also where nothing was told.
    next: String,
}

impl Wanted {
    fn query(&self, identity: &crate::auth::Identity) -> Result<Asked, Problem> {
        let refused = |why: String| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, why);
        let from = match (&self.after, &self.from) {
            (Some(_), Some(_)) => return Err(refused("after, from: give one of them".to_owned())),
            (Some(id), None) => {
                Some(After::Id(id.parse().map_err(|_| refused(format!("after: {id:?} is no event's id")))?))
            }
            (None, Some(text)) => Some(After::Time(timestamp(moment("from", text)?))),
            (None, None) => None,
        };
        let kind = |name: &str| {
            serde_json::from_value::<EventKind>(name.into())
                .map_err(|_| refused(format!("kinds: there is no {name:?}")))
        };
        let kinds: Option<BTreeSet<EventKind>> =
            self.kinds.as_deref().map(|names| names.split(',').map(kind).collect()).transpose()?;
        let limit = self.limit.unwrap_or(LIMIT);
        if !(1..=GIVEN_MAX).contains(&limit) {
            return Err(refused(format!("limit: 1 to {GIVEN_MAX}")));
        }
        let cameras = self.cameras.as_deref().map(|names| names.split(',').map(str::to_owned).collect());
        Ok(Asked {
            from,
            kinds: kinds.unwrap_or_default(),
            cameras,
            grant: Some(identity.grant.clone()),
            limit,
        })
    }
}

/// What happened, in the order in which it did. The newest 10,000 events are kept.
#[utoipa::path(get, path = "/events", tag = "system", params(Wanted),
    responses((status = 200, description = "The events", body = EventsDocument), (status = 422, description = "A parameter does not do")))]
pub(super) async fn list(
    State(app): State<App>,
    Asking(identity): Asking,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Problem> {
    let found = app.services.events.query(&wanted.query(&identity)?);
    let document = EventsDocument {
        events: found.events.iter().map(|event| EventDocument::new(event)).collect(),
        missed: found.missed,
        next: found.next.to_string(),
    };
    Ok(axum::response::IntoResponse::into_response(Json(document)))
}

/// What happens, as it does, in a WebSocket; with `after`, first what happened behind that.
#[utoipa::path(get, path = "/events/live", tag = "system", params(Wanted),
    responses((status = 101, description = "A WebSocket. Each text message is an event, or `{\"missed\": true}` where some are no longer kept"),
        (status = 400, description = "This is no WebSocket handshake"), (status = 422, description = "A parameter does not do"), (status = 426, description = "The connection cannot become a WebSocket")))]
pub(super) async fn follow(
    State(app): State<App>,
    Asking(identity): Asking,
    Query(wanted): Query<Wanted>,
    coming: Coming,
    headers: HeaderMap,
    OriginalUri(uri): OriginalUri,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let upgrade = socket::permitted(upgrade, &headers, &uri)?;
    let query = wanted.query(&identity)?;
    let after = match query.from {
        Some(After::Id(id)) => Some(id),
        Some(After::Time(time)) => Some(EventId::before(time)),
        None => None,
    };
    let guest = coming.enter(&app, Kind::Events, None)?;
    let follower = app.services.events.follow(after, query);
    Ok(upgrade.on_upgrade(|socket| serve(socket, follower, guest)))
}

async fn serve(mut socket: WebSocket, mut follower: Follower, guest: Guest) {
    let mut watch = socket::Watch::new(guest, PATIENCE);
    loop {
        let goes_on = tokio::select! {
            told = follower.next() => match told {
                Some(told) => tell(&mut socket, &told).await,
                None => None,
            },
            grant = watch.heard(&mut socket) => grant.map(|grant| follower.permit(grant)),
        };
        if goes_on.is_none() {
            return;
        }
    }
}

/// Tells what happened; `None` if the client is gone.
async fn tell(socket: &mut WebSocket, told: &Told) -> Option<()> {
    let texts = match told {
        Told::Events(events) => {
            events.iter().map(|event| serde_json::to_string(&EventDocument::new(event)).ok()).collect()
        }
        Told::Missed => vec![Some(r#"{"missed":true}"#.to_owned())],
    };
    for text in texts.into_iter().flatten() {
        socket::send(socket, Message::Text(text.into()), PATIENCE).await?;
    }
    Some(())
}

impl EventDocument<'_> {
    fn new(event: &Event) -> EventDocument<'_> {
        EventDocument {
            id: event.id.to_string(),
            at: event.at.to_string(),
            kind: event.kind,
            camera: event.camera.as_deref(),
            user: event.user.as_deref(),
            text: &event.text,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::events::{EventKind, KEPT_MAX, NewEvent};
    use crate::routes::tests::{Server, basic_of};
    use crate::testing::app;
    use keha_player::library::Library;
    use serde_json::{Value, json};
    use std::sync::Arc;

    #[tokio::test]
    async fn who_asks_again_for_what_is_next_is_told_all_once_and_what_he_missed() {
        let directory = tempfile::tempdir().expect("a directory");
        let app = app((directory.path(), ""), false, Arc::default(), Library::default());
        let events = Arc::clone(&app.services.events);
        let note = |text: String| {
            events.note(NewEvent { kind: EventKind::Disk, camera: None, user: None, text });
        };
        let server = Server::with(directory, app, true);
        let root = basic_of("root");
        let asked = async |query: &str| {
            let path = format!("/api/v1/events?{query}");
            server.get(&path, &[("authorization", &root)]).await.body
        };
        let nothing = asked("").await;
        assert_eq!(nothing, json!({"events": [], "missed": false, "next": "0"}));
        (0..5).for_each(|number| note(number.to_string()));
        let (mut told, mut next) = (Vec::new(), "0".to_owned());
        for given in [2, 2, 1, 0, 0] {
            let body = asked(&format!("limit=2&after={next}")).await;
            let texts = body["events"].as_array().expect("events").iter();
            let before = told.len();
            told.extend(texts.map(|event| event["text"].as_str().expect("a text").to_owned()));
            assert_eq!((told.len() - before, &body["missed"]), (given, &Value::Bool(false)), "{body}");
            next = body["next"].as_str().expect("from where to go on").to_owned();
        }
        assert_eq!(told, ["0", "1", "2", "3", "4"]);
        (0..=KEPT_MAX).for_each(|number| note(number.to_string()));
        let body = asked(&format!("limit=1&after={next}")).await;
        assert_eq!((&body["missed"], &body["events"][0]["text"]), (&json!(true), &json!("1")), "{body}");
    }
}
