//! HLS (RFC 8216): playlists of what was recorded and of what goes on, and the segments they list.
//!
//! A signed URL that ends in `/` signs what is below it: the query that signs it is put behind every URI of a playlist.

use super::{App, told_missing};
use crate::extract::{Path, Query, RangeQuery, Watched, path_name};
use crate::gate::SEALED;
use crate::problem::Problem;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use keha_fs::{StreamName, TimeRange, WallTime};
use keha_player::hls::{Uris, Variant, master, vod};
use keha_player::library::Whole;
use serde::Deserialize;
use std::time::Duration;

const PLAYLIST: &str = "application/vnd.apple.mpegurl";
const SEGMENT: &str = "video/mp4";
/// What a segment's name means never changes. Who may see it is asked each time all the same, but by the browser's own cache.
const FOR_EVER: &str = "private, max-age=31536000, immutable";
/// But for the end of a stream that may go on after all: its tag tells whether it has changed.
const FOR_NOW: &str = "private, no-cache";
/// How much of a stream's end tells what it is like.
const RECENT_NS: i64 = 60_000_000_000;

/// What signs a URL.
#[derive(Deserialize)]
pub(super) struct Signed {
    sealed: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct File {
    file: String,
}

impl Signed {
    fn suffix(&self) -> String {
        self.sealed.as_ref().map_or_else(String::new, |sealed| format!("?{SEALED}={sealed}"))
    }

    fn uris(&self) -> Result<Uris, Problem> {
        Ok(Uris::new("", self.suffix())?)
    }
}

/// The playlist of a stream that goes on: its newest segments. Play it with any HLS player.
#[utoipa::path(get, path = "/cameras/{camera}/streams/{stream}/hls/live.m3u8", tag = "footage",
    params(("camera" = String, Path, description = "Its name"), ("stream" = String, Path, description = "`main`, or the name of a further stream")),
    responses((status = 200, description = "The playlist", content_type = "application/vnd.apple.mpegurl", body = String), (status = 404, description = "Nothing was ever recorded of it"),
        (status = 503, description = "There is no whole segment yet")))]
pub(super) async fn live(
    State(app): State<App>,
    watched: Watched,
    Query(signed): Query<Signed>,
) -> Result<Response, Problem> {
    let uris = signed.uris()?;
    let text = app
        .read(watched.identity.name.clone(), move |app| {
            app.media.live_playlist(&app.whole(&watched.stream)?, &uris)
        })
        .await?;
    Ok(playlist(text))
}

/// The playlist of a range, across gaps and changes of the configuration.
#[utoipa::path(get, path = "/cameras/{camera}/streams/{stream}/hls/vod.m3u8", tag = "footage", params(RangeQuery,
        ("camera" = String, Path, description = "Its name"), ("stream" = String, Path, description = "`main`, or the name of a further stream")),
    responses((status = 200, description = "The playlist", content_type = "application/vnd.apple.mpegurl", body = String), (status = 404, description = "Nothing is recorded there"),
        (status = 422, description = "The range does not do, or is too long")))]
pub(super) async fn recorded(
    State(app): State<App>,
    watched: Watched,
    Query(range): Query<RangeQuery>,
    Query(signed): Query<Signed>,
) -> Result<Response, Problem> {
    let (range, uris) = (range.range()?, signed.uris()?);
    let text = app.read(watched.identity.name.clone(), move |app| {
        let whole = app.whole(&watched.stream)?;
        let (plan, missing) = (app.media.plan(&whole, range)?, whole.missing_in(range));
        if plan.segments.is_empty() {
            return Err(if missing.is_empty() { not_recorded() } else { not_there(&missing) });
        }
        Ok((vod(&plan.segments, &uris)?, missing))
    });
    let (text, missing) = text.await?;
    Ok(told_missing(playlist(text), &missing))
}

/// What there is to choose from of a camera: each of its streams, live, or in a range if one is given.
#[utoipa::path(get, path = "/cameras/{camera}/hls/master.m3u8", tag = "footage", params(RangeQuery,
        ("camera" = String, Path, description = "Its name")),
    responses((status = 200, description = "The playlist", content_type = "application/vnd.apple.mpegurl", body = String), (status = 404, description = "Nothing is recorded there"),
        (status = 422, description = "The range does not do, or is too long")))]
pub(super) async fn choices(
    State(app): State<App>,
    watched: Watched,
    Query(asked): Query<RangeQuery>,
    Query(signed): Query<Signed>,
) -> Result<Response, Problem> {
    let range = asked.range()?;
    let text = app.read(watched.identity.name.clone(), move |app| {
        let variants = streams_of(app, &watched.camera).into_iter().map(|name| {
            let uri = format!("../streams/{}/hls/{}", path_name(&name), media_playlist(range, &signed));
            let whole = app.whole(&name).map_err(Problem::from);
            let variant = whole.and_then(|whole| variant(app, &whole, range, &uri));
            (name, variant)
        });
        Ok(master(&offered(variants)?)?)
    });
    Ok(playlist(text.await?))
}

/// A segment that a playlist lists (`.m4s`), or what goes before some of them (`.mp4`). The name is all that its bytes depend on.
#[utoipa::path(get, path = "/cameras/{camera}/streams/{stream}/hls/{file}", tag = "footage",
    params(("camera" = String, Path, description = "Its name"), ("stream" = String, Path, description = "`main`, or the name of a further stream"),
        ("file" = String, Path, description = "A name from a playlist")),
    responses((status = 200, description = "Its bytes", content_type = "video/mp4", body = Vec<u8>), (status = 404, description = "There is no such segment, or not any more"),
        (status = 410, description = "It is being overwritten")))]
pub(super) async fn segment(
    State(app): State<App>,
    watched: Watched,
    Path(File { file }): Path<File>,
) -> Result<Response, Problem> {
    let (made, is_settled) = app
        .read(watched.identity.name.clone(), move |app| {
            let unknown = || {
                Problem::new(
                    axum::http::StatusCode::NOT_FOUND,
                    "there is no such segment: load the playlist again",
                )
            };
            let segment =
                file.strip_suffix(".m4s").map(|name| name.parse().map_err(|_| unknown())).transpose()?;
            let init =
                file.strip_suffix(".mp4").map(|name| name.parse().map_err(|_| unknown())).transpose()?;
            let whole = app.whole(&watched.stream)?;
            match (segment, init) {
                (Some(name), _) => Ok(app.media.segment(&whole, &name)?),
                (None, Some(name)) => Ok((app.media.init(&whole, &name)?, true)),
                (None, None) => Err(unknown()),
            }
        })
        .await?;
    let kept = if is_settled { FOR_EVER } else { FOR_NOW };
    Ok(([(header::CONTENT_TYPE, SEGMENT), (header::CACHE_CONTROL, kept)], made).into_response())
}

fn playlist(text: String) -> Response {
    ([(header::CONTENT_TYPE, PLAYLIST)], text).into_response()
}

fn not_recorded() -> Problem {
    Problem::new(
        axum::http::StatusCode::NOT_FOUND,
        "nothing that can be played is recorded there: see the timeline",
    )
}

/// Nothing is recorded there in the volumes that answer.
fn not_there(missing: &[String]) -> Problem {
    let why = format!("what is recorded there may stand in {}, which does not answer", missing.join(", "));
    Problem::wait(axum::http::StatusCode::SERVICE_UNAVAILABLE, &why, Duration::from_secs(10))
}

fn streams_of(app: &App, camera: &str) -> Vec<StreamName> {
    let names = app.wholes().into_iter().map(|whole| whole.name);
    names.filter(|name| name.camera() == camera).collect()
}

/// The media playlist that a master playlist names, with the range and what signs it.
fn media_playlist(range: TimeRange, signed: &Signed) -> String {
    let moment = |name: &str, wall: Option<WallTime>| {
        wall.map(|wall| format!("{name}={}", keha_player::rfc3339(wall)))
    };
    let sealed = signed.sealed.as_ref().map(|sealed| format!("{SEALED}={sealed}"));
    let file = if range == TimeRange::default() { "live.m3u8" } else { "vod.m3u8" };
    let query: Vec<String> =
        [moment("from", range.from), moment("to", range.to), sealed].into_iter().flatten().collect();
    if query.is_empty() { file.to_owned() } else { format!("{file}?{}", query.join("&")) }
}

/// What there is to choose from: a stream that cannot be played costs the others nothing. If none can, what is wrong with the first.
fn offered(
    streams: impl Iterator<Item = (StreamName, Result<Option<Variant>, Problem>)>,
) -> Result<Vec<Variant>, Problem> {
    let (mut variants, mut refused) = (Vec::new(), None);
    for (stream, variant) in streams {
        match variant {
            Ok(variant) => variants.extend(variant),
            Err(problem) => {
                tracing::warn!(%stream, ?problem, "a stream cannot be played, and is left out of its camera's playlist");
                refused.get_or_insert(problem);
            }
        }
    }
    if variants.is_empty() { Err(refused.unwrap_or_else(not_recorded)) } else { Ok(variants) }
}

fn variant(app: &App, whole: &Whole, range: TimeRange, uri: &str) -> Result<Option<Variant>, Problem> {
    let recent = || {
        let now = i64::try_from(Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX);
        let last = whole.reach().map_or(WallTime(now), |(_, last)| last);
        TimeRange { from: Some(last.plus_ns(-RECENT_NS)), to: None }
    };
    let range = if range == TimeRange::default() { recent() } else { range };
    let segments = app.media.plan(whole, range)?.segments;
    if segments.is_empty() {
        return Ok(None);
    }
    Ok(Some(Variant::of_parts(whole.parts(), &segments, uri)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::StatusCode;

    #[test]
    fn a_stream_that_cannot_be_played_costs_the_others_nothing() {
        let stream = |name: &str| StreamName::new(name).unwrap();
        let broken = || Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "no codec of ours"));
        let variant = || Variant {
            uri: "live.m3u8".to_owned(),
            codecs: Vec::new(),
            resolution: None,
            frame_rate: None,
            bandwidth: 1,
            average_bandwidth: 1,
        };
        let streams = [(stream("front"), broken()), (stream("front/sub"), Ok(Some(variant())))];
        assert_eq!(offered(streams.into_iter()).ok(), Some(vec![variant()]));
        let streams = [(stream("front"), broken()), (stream("front/sub"), Ok(None))];
        let status = offered(streams.into_iter()).unwrap_err().into_response().status();
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
        let status = offered(std::iter::empty()).unwrap_err().into_response().status();
        assert_eq!(status, StatusCode::NOT_FOUND);
    }
}
