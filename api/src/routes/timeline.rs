//! When there is footage: ranges, gaps, days, and how long it stays.

use super::{App, told_missing};
use crate::extract::{Json, Query, RangeQuery, Watched, path_name};
use crate::gate::Asking;
use crate::problem::Problem;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use jiff::tz::TimeZone;
use keha_fs::{TimeRange, WallTime};
use keha_player::library::{Found, Whole};
use keha_player::timeline::{self, Reason, Recorded, Timeline, TimelineGap};
use keha_player::units::duration;
use keha_player::units::time::rfc3339;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use utoipa::{IntoParams, ToSchema};

/// The most ranges and gaps of a stream in an answer; what follows is asked for by `next`.
const ENTRIES_MAX: usize = 10_000;
/// And of all streams in an answer: some 15 MB of text.
const ENTRIES_OF_ALL_MAX: usize = 100_000;

/// How a timeline is to be.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Wanted {
    /// What is no further apart is one: a duration such as `1s` or `5m`. Left out, ends are exact to the sample.
    resolution: Option<String>,
}

/// Which streams.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// Names of cameras, with commas between them; all that may be seen if left out. Main streams are told.
    cameras: Option<String>,
}

/// When a stream has footage.
#[derive(Serialize, ToSchema)]
pub(super) struct TimelineDocument {
    camera: String,
    stream: String,
    /// What is recorded, in the order of time.
    recorded: Vec<RecordedDocument>,
    /// What is not, as far as the stream reaches, in the order of time, one entry for each reason.
    gaps: Vec<GapDocument>,
    /// What is recorded more than once: clocks were set back, or two volumes have it.
    overlaps: Vec<RecordedDocument>,
    /// The stream may be going on: behind the last range nothing is known yet. Not so of one of which nothing came for half a minute.
    live: bool,
    /// The volumes that do not answer and may have footage of the range. What is known of it is a gap `volume not there`.
    missing: Vec<String>,
    /// Where there is more than one answer holds: ask again from this moment on.
    #[schema(format = DateTime)]
    next: Option<String>,
}

/// A time with footage.
#[derive(Serialize, ToSchema)]
struct RecordedDocument {
    /// The first sample, or the beginning of the range asked for.
    #[schema(format = DateTime)]
    from: String,
    /// The last sample, or the end of the range asked for.
    #[schema(format = DateTime)]
    to: String,
}

/// A time without.
#[derive(Serialize, ToSchema)]
struct GapDocument {
    /// From the last sample before it, or the beginning of the range.
    #[schema(format = DateTime)]
    from: String,
    /// To the first sample behind it, or the end of the range.
    #[schema(format = DateTime)]
    to: String,
    /// Why.
    reason: &'static str,
    /// More about it.
    detail: Option<String>,
}

/// When a stream has footage, and why it has none elsewhere.
#[utoipa::path(get, path = "/cameras/{camera}/streams/{stream}/timeline", tag = "footage", params(RangeQuery, Wanted,
        ("camera" = String, Path, description = "Its name"), ("stream" = String, Path, description = "`main`, or the name of a further stream")),
    responses((status = 200, description = "The timeline", body = TimelineDocument), (status = 404, description = "Nothing was ever recorded of it"),
        (status = 422, description = "The range or the resolution does not do")))]
pub(super) async fn of_stream(
    State(app): State<App>,
    watched: Watched,
    Query(range): Query<RangeQuery>,
    Query(wanted): Query<Wanted>,
) -> Result<Json<TimelineDocument>, Problem> {
    let (range, resolution) = (range.range()?, wanted.resolution()?);
    let document = app.read(watched.identity.name.clone(), move |app| {
        let whole = app.whole(&watched.stream)?;
        Ok(bounded(&watched, told(&whole, range, resolution)?, ENTRIES_MAX))
    });
    document.await.map(Json)
}

/// The timelines of several cameras' main streams at once; cameras without footage are left out.
#[utoipa::path(get, path = "/timeline", tag = "footage", params(RangeQuery, Wanted, Which),
    responses((status = 200, description = "A timeline each", body = Vec<TimelineDocument>),
        (status = 422, description = "The range or the resolution does not do")))]
pub(super) async fn of_all(
    State(app): State<App>,
    Asking(identity): Asking,
    Query(range): Query<RangeQuery>,
    Query(wanted): Query<Wanted>,
    Query(which): Query<Which>,
) -> Result<Json<Vec<TimelineDocument>>, Problem> {
    let (range, resolution) = (range.range()?, wanted.resolution()?);
    let names: Option<Vec<String>> = which.cameras.map(|names| names.split(',').map(str::to_owned).collect());
    let documents = app.read(identity.name.clone(), move |app| {
        let (mut documents, mut left) = (Vec::new(), ENTRIES_OF_ALL_MAX);
        for whole in app.wholes() {
            let camera = whole.name.camera().to_owned();
            let wanted = names.as_ref().is_none_or(|names| names.contains(&camera));
            if !wanted || path_name(&whole.name) != "main" || !identity.grant.may_see(&camera) {
                continue;
            }
            let watched = Watched { identity: identity.clone(), camera, stream: whole.name.clone() };
            let document = bounded(&watched, told(&whole, range, resolution)?, left.min(ENTRIES_MAX));
            left = left.saturating_sub(document.entries());
            documents.push(document);
        }
        Ok(documents)
    });
    documents.await.map(Json)
}

impl Wanted {
    fn resolution(&self) -> Result<Duration, Problem> {
        let text = self.resolution.as_deref().unwrap_or("0s");
        duration::parse(text)
            .map_err(|why| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, format!("resolution: {why}")))
    }
}

impl TimelineDocument {
    /// The longest of its lists.
    fn entries(&self) -> usize {
        self.recorded.len().max(self.gaps.len()).max(self.overlaps.len())
    }
}

/// A timeline, and the volumes that are missing in it.
fn told(whole: &Whole, range: TimeRange, resolution: Duration) -> Result<(Timeline, Vec<String>), Problem> {
    Ok((whole.timeline(range, resolution)?, whole.missing_in(range)))
}

/// So much of a timeline as one answer holds: so many entries of each kind.
fn bounded(
    watched: &Watched,
    (answer, missing): (Timeline, Vec<String>),
    entries_max: usize,
) -> TimelineDocument {
    let next = next(&answer, entries_max);
    let before = |from: WallTime| next.is_none_or(|next| from < next);
    let recorded = |ranges: &[Recorded]| {
        // As many may begin at one moment, behind which none comes.
        ranges.iter().filter(|range| before(range.from)).take(entries_max).map(recorded).collect()
    };
    TimelineDocument {
        camera: watched.camera.clone(),
        stream: path_name(&watched.stream).to_owned(),
        recorded: recorded(&answer.recorded),
        gaps: answer.gaps.iter().filter(|gap| before(gap.from)).map(gap).collect(),
        overlaps: recorded(&answer.overlaps),
        live: answer.live,
        missing,
        next: next.map(rfc3339),
    }
}

/// Where an answer has to end, if there is more than one holds; always behind its beginning.
fn next(answer: &Timeline, entries_max: usize) -> Option<WallTime> {
    let recorded = answer.recorded.get(entries_max).map(|range| range.from);
    let gap = answer.gaps.get(entries_max).map(|gap| gap.from);
    let first = answer.overlaps.first().map(|range| range.from);
    let overlap = answer.overlaps.get(entries_max).map(|range| range.from).filter(|from| Some(*from) > first);
    recorded.into_iter().chain(gap).chain(overlap).min()
}

fn recorded(range: &Recorded) -> RecordedDocument {
    RecordedDocument { from: rfc3339(range.from), to: rfc3339(range.to) }
}

fn gap(gap: &TimelineGap) -> GapDocument {
    let detail = match &gap.reason {
        Reason::Recorded(record) => Some(record.detail.clone()).filter(|detail| !detail.is_empty()),
        _ => None,
    };
    GapDocument { from: rfc3339(gap.from), to: rfc3339(gap.to), reason: gap.reason.as_str(), detail }
}

/// In which zone days are meant.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Zone {
    /// A zone of the IANA database, such as `Europe/Helsinki`; UTC if left out.
    zone: Option<String>,
}

/// A day with footage.
#[derive(Serialize, ToSchema)]
pub(super) struct DayDocument {
    /// Which, in the zone asked for.
    #[schema(format = Date)]
    date: String,
    /// Its first moment.
    #[schema(format = DateTime)]
    from: String,
    /// The first moment of the next day: 23 or 25 hours later where clocks are changed.
    #[schema(format = DateTime)]
    to: String,
}

/// The days on which a stream has footage, in a time zone.
#[utoipa::path(get, path = "/cameras/{camera}/streams/{stream}/days", tag = "footage", params(RangeQuery, Zone,
        ("camera" = String, Path, description = "Its name"), ("stream" = String, Path, description = "`main`, or the name of a further stream")),
    responses((status = 200, description = "The days, in their order", body = Vec<DayDocument>), (status = 404, description = "Nothing was ever recorded of it"),
        (status = 422, description = "The range or the zone does not do")))]
pub(super) async fn days(
    State(app): State<App>,
    watched: Watched,
    Query(range): Query<RangeQuery>,
    Query(zone): Query<Zone>,
) -> Result<Response, Problem> {
    let range = range.range()?;
    let name = zone.zone.as_deref().unwrap_or("UTC");
    let zone = TimeZone::get(name).map_err(|_| {
        Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            format!("zone: {name:?} is no time zone: write Europe/Helsinki"),
        )
    })?;
    let days = app.read(watched.identity.name.clone(), move |app| {
        let whole = app.whole(&watched.stream)?;
        Ok((whole.days(range, &zone)?, whole.missing_in(range)))
    });
    let (days, missing) = days.await?;
    let document = |day: &timeline::Day| DayDocument {
        date: day.date.to_string(),
        from: rfc3339(day.from),
        to: rfc3339(day.to),
    };
    let days: Vec<DayDocument> = days.iter().map(document).collect();
    Ok(told_missing(Json(days).into_response(), &missing))
}

/// How much of a stream there is, and how long it stays.
#[derive(Serialize, ToSchema)]
pub(super) struct ForecastDocument {
    camera: String,
    stream: String,
    /// The volume in which its latest footage stands.
    volume: String,
    /// Its first sample that is still there.
    #[schema(format = DateTime)]
    first: Option<String>,
    /// Its last one.
    #[schema(format = DateTime)]
    last: Option<String>,
    samples: u64,
    /// Their bytes.
    bytes: u64,
    /// In how many seconds its oldest footage is overwritten, if all streams go on as in the last day; null if nothing tells.
    overwritten_in_s: Option<f64>,
    /// The same of each volume that has something of it.
    volumes: Vec<PartForecast>,
    /// The volumes that do not answer and may have something of it.
    missing: Vec<String>,
}

/// How much of a stream there is in one volume.
#[derive(Serialize, ToSchema)]
struct PartForecast {
    volume: String,
    #[schema(format = DateTime)]
    first: Option<String>,
    #[schema(format = DateTime)]
    last: Option<String>,
    samples: u64,
    bytes: u64,
    overwritten_in_s: Option<f64>,
}

/// How much there is of each stream that may be seen, and how long it stays.
#[utoipa::path(get, path = "/forecast", tag = "footage",
    responses((status = 200, description = "An entry a stream", body = Vec<ForecastDocument>)))]
pub(super) async fn forecast(
    State(app): State<App>,
    Asking(identity): Asking,
) -> Result<Json<Vec<ForecastDocument>>, Problem> {
    let documents = app.read(identity.name.clone(), move |app| {
        let wholes = app.wholes();
        let seen = wholes.iter().filter(|whole| identity.grant.may_see(whole.name.camera()));
        Ok(seen.filter_map(forecast_of).collect())
    });
    documents.await.map(Json)
}

/// `None` for a stream of which nothing can be said now.
fn forecast_of(whole: &Whole) -> Option<ForecastDocument> {
    let parts = whole.parts();
    let oldest = parts.iter().filter(|part| part.stream.first.is_some());
    let oldest = oldest.min_by_key(|part| part.stream.first).or_else(|| parts.first())?;
    let part = |part: &Found| PartForecast {
        volume: part.snapshot.name.clone(),
        first: part.stream.first.map(rfc3339),
        last: part.stream.last.map(rfc3339),
        samples: part.stream.samples,
        bytes: part.stream.payload_bytes,
        overwritten_in_s: part.stream.overwritten_in.map(|left| left.as_secs_f64()),
    };
    let (first, last) = whole.reach().unzip();
    Some(ForecastDocument {
        camera: whole.name.camera().to_owned(),
        stream: path_name(&whole.name).to_owned(),
        volume: whole.latest()?.snapshot.name.clone(),
        first: first.map(rfc3339),
        last: last.map(rfc3339),
        samples: parts.iter().map(|part| part.stream.samples).sum(),
        bytes: parts.iter().map(|part| part.stream.payload_bytes).sum(),
        overwritten_in_s: oldest.stream.overwritten_in.map(|left| left.as_secs_f64()),
        volumes: parts.iter().map(part).collect(),
        missing: whole.missing().iter().map(|missing| missing.volume.clone()).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::{ENTRIES_MAX, bounded};
    use crate::auth::{Cameras, Grant, Identity, Role};
    use crate::extract::Watched;
    use keha_fs::{StreamName, WallTime};
    use keha_player::timeline::{Recorded, Timeline};
    use keha_player::units::time::rfc3339;
    use std::sync::Arc;

    fn watched() -> Watched {
        let grant = Grant { role: Role::Viewer, cameras: Cameras::All };
        let identity = Arc::new(Identity { name: "anna".to_owned(), grant, generation: 0 });
        Watched { identity, camera: "door".to_owned(), stream: StreamName::new("door").expect("a name") }
    }

    fn overlapping(from: impl Fn(i64) -> i64) -> Timeline {
        let range = |at| Recorded { from: WallTime(from(at)), to: WallTime(from(at) + 1) };
        Timeline { overlaps: (0..ENTRIES_MAX as i64 + 7).map(range).collect(), ..Timeline::default() }
    }

    #[test]
    fn what_was_recorded_twice_is_bounded_like_the_rest() {
        let told = bounded(&watched(), (overlapping(|at| at), Vec::new()), ENTRIES_MAX);
        assert_eq!(told.overlaps.len(), ENTRIES_MAX);
        assert_eq!(told.next, Some(rfc3339(WallTime(ENTRIES_MAX as i64))), "what follows is asked for");
        let told = bounded(&watched(), (overlapping(|_| 5), Vec::new()), ENTRIES_MAX);
        assert_eq!((told.overlaps.len(), told.next), (ENTRIES_MAX, None), "nobody asks the same for ever");
    }

    #[test]
    fn what_does_not_fit_beside_other_cameras_is_asked_for_from_where_it_ends() {
        let entry = |at: i64| Recorded { from: WallTime(at * 10), to: WallTime(at * 10 + 5) };
        let answer = Timeline { recorded: (0..10).map(entry).collect(), ..Timeline::default() };
        for (most, from) in [(10, None), (9, Some(90)), (4, Some(40)), (0, Some(0))] {
            let told = bounded(&watched(), (answer.clone(), Vec::new()), most);
            assert_eq!((told.entries(), told.next), (most, from.map(|at| rfc3339(WallTime(at)))));
        }
    }
}
