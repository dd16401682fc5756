//! Which pictures are recorded: one after the other, or keyframe by keyframe, forwards or backwards, for players that step and play
//! backwards. Their bytes come as snapshots or footage.

use super::App;
use crate::extract::{Json, Query, Watched, moment, path_name};
use crate::problem::Problem;
use axum::extract::State;
use axum::http::StatusCode;
use keha_fs::{Uuid, VolumeId, WallTime};
use keha_player::cursor::{Across, Direction, Mark, Moment, Nearest, Step};
use keha_player::library::Whole;
use keha_player::units::time::rfc3339;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use utoipa::{IntoParams, ToSchema};

/// The most pictures of an answer; what follows is asked for by `next`.
const PICTURES_MAX: u16 = 1000;
/// How many are told where nobody says.
const PICTURES: u16 = 100;

/// Which way.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Way {
    /// To what was recorded later.
    #[default]
    Forwards,
    /// To what was recorded before.
    Backwards,
}

/// Which of them.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Kind {
    /// Those that decoding can begin with; without video, the first sound of each chunk.
    #[default]
    Keyframe,
    /// All, in the order of decoding; without video, each piece of sound.
    Picture,
}

/// Which pictures.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Wanted {
    /// The moment to begin at, in the forms that queries take: with the first picture at or behind it, or backwards the last one at or before it. Left
    /// out: with the first there is, or backwards the last.
    #[param(example = "-10m")]
    at: Option<String>,
    /// Begin behind this picture instead: its `mark`, or the `next` of an answer.
    after: Option<String>,
    /// `forwards` if left out.
    #[serde(default)]
    #[param(inline)]
    direction: Way,
    /// `keyframe` if left out.
    #[serde(default)]
    #[param(inline)]
    step: Kind,
    /// How many at most: 1 to 1000, 100 if left out.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u16>,
}

/// Pictures in the order in which a player comes by them.
#[derive(Serialize, ToSchema)]
pub(super) struct PicturesDocument {
    camera: String,
    stream: String,
    pictures: Vec<PictureDocument>,
    /// Where there may be more, `after` for what follows.
    next: Option<String>,
    /// Volumes that do not answer and may have pictures of it: those are not told.
    missing: Vec<String>,
}

/// A picture.
#[derive(Serialize, ToSchema)]
struct PictureDocument {
    /// When it is.
    #[schema(format = DateTime)]
    at: String,
    /// Whether decoding can begin with it.
    keyframe: bool,
    /// Its size in bytes.
    bytes: u32,
    /// The run that it belongs to: a stretch of one media clock.
    run: String,
    /// What its decoder has to be set up with: where this changes, it begins anew.
    configuration: String,
    /// Why it does not join the picture told before it; null if it does, or none was.
    discontinuity: Option<&'static str>,
    /// Stands for this picture in `after`, for as long as it is recorded.
    mark: String,
}

/// The pictures that are recorded, from a moment or a picture on, forwards or backwards. In the order of recording: behind the end of a run may
/// come an earlier moment, where a clock was set back.
#[utoipa::path(get, path = "/cameras/{camera}/streams/{stream}/pictures", tag = "footage", params(Wanted,
        ("camera" = String, Path, description = "Its name"), ("stream" = String, Path, description = "`main`, or the name of a further stream")),
    responses((status = 200, description = "The pictures; none if there is none that way", body = PicturesDocument), (status = 404, description = "Nothing was ever recorded of it"),
        (status = 410, description = "The picture to begin behind is not recorded any more"), (status = 503, description = "It may stand in a volume that does not answer"), (status = 422, description = "The moment, the mark or the limit does not do")))]
pub(super) async fn list(
    State(app): State<App>,
    watched: Watched,
    Query(wanted): Query<Wanted>,
) -> Result<Json<PicturesDocument>, Problem> {
    let asked = wanted.asked()?;
    let document = app.read_while(watched.identity.name.clone(), move |app, is_wanted| {
        let whole = app.whole(&watched.stream)?;
        let (pictures, next) = told(&whole, &asked, is_wanted)?;
        let stream = path_name(&watched.stream).to_owned();
        let missing = whole.missing().iter().map(|missing| missing.volume.clone()).collect();
        Ok(PicturesDocument { camera: watched.camera, stream, pictures, next, missing })
    });
    document.await.map(Json)
}

/// What is asked for, understood.
struct Asked {
    begin: Begin,
    direction: Direction,
    step: Step,
    limit: usize,
}

enum Begin {
    End,
    At(WallTime),
    /// In this volume; in the one with the latest footage where a mark of an earlier version names none.
    After(Option<VolumeId>, Mark),
}

/// The mark of a picture, and of the volume that it stands in: chunks of different volumes have the same numbers.
fn mark_of(volume: Option<VolumeId>, mark: Mark) -> String {
    volume.map_or_else(|| mark.to_string(), |volume| format!("{mark}-{}", volume.0.simple()))
}

fn parsed(text: &str) -> Result<Begin, String> {
    let volume = text.rsplit_once('-').filter(|(_, volume)| volume.len() == 32);
    let volume = volume.and_then(|(mark, volume)| Some((mark, VolumeId(Uuid::try_parse(volume).ok()?))));
    let parsed = match volume {
        Some((mark, volume)) => Begin::After(Some(volume), mark.parse()?),
        None => Begin::After(None, text.parse()?),
    };
    Ok(parsed)
}

impl Wanted {
    fn asked(&self) -> Result<Asked, Problem> {
        let refused = |why: String| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, why);
        let begin = match (&self.at, &self.after) {
            (None, None) => Begin::End,
            (Some(at), None) => Begin::At(moment("at", at)?),
            (None, Some(mark)) => parsed(mark).map_err(|why| refused(format!("after: {why}")))?,
            (Some(_), Some(_)) => return Err(refused("at, after: give one of them".to_owned())),
        };
        let limit = self.limit.unwrap_or(PICTURES);
        if !(1..=PICTURES_MAX).contains(&limit) {
            return Err(refused(format!("limit: 1 to {PICTURES_MAX}, not {limit}")));
        }
        let direction = match self.direction {
            Way::Forwards => Direction::Forwards,
            Way::Backwards => Direction::Backwards,
        };
        let step = match self.step {
            Kind::Keyframe => Step::Keyframe,
            Kind::Picture => Step::Picture,
        };
        Ok(Asked { begin, direction, step, limit: usize::from(limit) })
    }
}

/// The pictures, and the mark to go on behind.
fn told(
    whole: &Whole,
    asked: &Asked,
    is_wanted: &dyn Fn() -> bool,
) -> Result<(Vec<PictureDocument>, Option<String>), Problem> {
    let Asked { begin, direction, step, limit } = asked;
    let mut cursor = Across::new(whole.parts(), is_wanted);
    let mut next = match begin {
        Begin::End => cursor.step(*direction, *step)?,
        Begin::At(wall) => {
            let nearest = match direction {
                Direction::Forwards => Nearest::AtOrAfter,
                Direction::Backwards => Nearest::AtOrBefore,
            };
            cursor.seek(*wall, nearest, *step)?
        }
        Begin::After(volume, mark) => {
            let latest = || whole.latest().map(|latest| latest.volume().info().id);
            let resumed = match volume.or_else(latest) {
                Some(volume) => cursor.resume(volume, *mark)?,
                None => None,
            };
            let resumed = resumed.ok_or_else(|| gone(whole, *volume))?;
            match cursor.step(*direction, *step) {
                // That picture is there: a later look tells what is behind it.
                Err(error) if is_overwritten(&error) => {
                    return Ok((Vec::new(), Some(mark_of(cursor.volume(), Mark::of(&resumed.row)))));
                }
                step => step?,
            }
        }
    };
    let mut pictures = Vec::new();
    while let Some(moment) = next {
        let mark = mark_of(cursor.volume(), Mark::of(&moment.row));
        pictures.push(document(&moment, &mark));
        if pictures.len() >= *limit {
            return Ok((pictures, Some(mark)));
        }
        next = match cursor.step(*direction, *step) {
            // What was found is told; who goes on behind it is told the rest.
            Err(error) if is_overwritten(&error) => return Ok((pictures, Some(mark))),
            step => step?,
        };
    }
    Ok((pictures, None))
}

fn is_overwritten(error: &keha_player::Error) -> bool {
    matches!(error, keha_player::Error::Volume(keha_fs::Error::Overwritten { .. }))
}

/// The picture to begin behind is not there: not now, or not any more.
fn gone(whole: &Whole, volume: Option<VolumeId>) -> Problem {
    let is_there = |volume| whole.parts().iter().any(|part| part.volume().info().id == volume);
    if volume.is_some_and(|volume| !is_there(volume)) && !whole.missing().is_empty() {
        let names: Vec<&str> = whole.missing().iter().map(|missing| missing.volume.as_str()).collect();
        let why = format!("{}: no answer, and the picture to begin behind may stand there", names.join(", "));
        return Problem::wait(StatusCode::SERVICE_UNAVAILABLE, &why, Duration::from_secs(10));
    }
    let why = "the picture to begin behind is not recorded any more: begin at a moment";
    Problem::new(StatusCode::GONE, why)
}

fn document(moment: &Moment, mark: &str) -> PictureDocument {
    let row = &moment.row;
    PictureDocument {
        at: rfc3339(row.wall),
        keyframe: moment.keyframe,
        bytes: row.bytes,
        run: row.run.to_string(),
        configuration: row.configuration.to_string(),
        discontinuity: moment.discontinuity.as_ref().map(|told| told.as_str()),
        mark: mark.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Server, basic_of};
    use crate::testing::{app, footage};
    use axum::http::StatusCode;
    use keha_player::library::Library;
    use serde_json::{Value, json};
    use std::sync::Arc;

    const PATH: &str = "/api/v1/cameras/door/streams/main/pictures";

    /// With ten seconds of sound of the door, in packets of 20 ms.
    fn server() -> Server {
        let directory = tempfile::tempdir().expect("a directory");
        let library = Library::new([footage(directory.path(), &["door", "yard"])]);
        let app = app((directory.path(), ""), false, Arc::default(), library);
        Server::with(directory, app, true)
    }

    async fn asked(server: &Server, query: &str) -> Value {
        let anna = basic_of("anna");
        let answer = server.get(&format!("{PATH}?{query}"), &[("authorization", &anna)]).await;
        assert_eq!(answer.status, StatusCode::OK, "{query}: {}", answer.body);
        answer.body
    }

    /// All, page by page: their moments.
    async fn walked(server: &Server, query: &str) -> Vec<String> {
        let (mut all, mut after) = (Vec::new(), String::new());
        loop {
            let body = asked(server, &format!("{query}{after}")).await;
            let pictures = body["pictures"].as_array().expect("a list");
            all.extend(pictures.iter().map(|picture| picture["at"].as_str().expect("a moment").to_owned()));
            match body["next"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => return all,
            }
        }
    }

    #[tokio::test]
    async fn pages_forwards_and_backwards_are_the_same_pictures() {
        let server = server();
        let forwards = walked(&server, "step=picture&limit=77").await;
        let mut backwards = walked(&server, "step=picture&direction=backwards&limit=91").await;
        backwards.reverse();
        assert_eq!((forwards.len(), &forwards[499]), (500, &"2026-03-01T12:00:09.980000000Z".to_owned()));
        assert_eq!(forwards, backwards);
        let keyframes = walked(&server, "limit=1").await;
        assert!(
            !keyframes.is_empty()
                && keyframes.len() < 500
                && keyframes.iter().all(|at| forwards.contains(at))
        );
    }

    #[tokio::test]
    async fn a_moment_is_the_beginning_in_either_direction() {
        let server = server();
        let first = |body: Value| body["pictures"][0].clone();
        let at = "at=2026-03-01T12:00:05.030Z&step=picture&limit=1";
        let behind = first(asked(&server, at).await);
        assert_eq!(behind["at"], json!("2026-03-01T12:00:05.040000000Z"));
        assert_eq!((&behind["bytes"], &behind["discontinuity"]), (&json!(160), &Value::Null));
        let before = first(asked(&server, &format!("{at}&direction=backwards")).await);
        assert_eq!(
            (&before["at"], &before["run"]),
            (&json!("2026-03-01T12:00:05.020000000Z"), &behind["run"])
        );
        let beyond = asked(&server, "at=2026-03-02T12:00:00Z").await;
        assert_eq!((&beyond["pictures"], &beyond["next"]), (&json!([]), &Value::Null));
    }

    #[tokio::test]
    async fn what_does_not_do_is_refused_with_why() {
        let (server, anna) = (server(), basic_of("anna"));
        let table = [
            ("limit=0", 422, "limit"),
            ("limit=1001", 422, "limit"),
            ("step=sound", 422, "sound"),
            ("direction=up", 422, "up"),
            ("at=yesterday", 422, "at"),
            ("after=x", 422, "after"),
            ("after=1-1-1&at=now", 422, "one of them"),
            ("after=999999-1-1", 410, "not recorded"),
            ("after=2-1-999", 410, "not recorded"),
        ];
        for (query, status, says) in table {
            let answer = server.get(&format!("{PATH}?{query}"), &[("authorization", &anna)]).await;
            let detail = answer.body["detail"].as_str().unwrap_or_default();
            assert!(
                answer.status == status && detail.contains(says),
                "{query}: {} {}",
                answer.status,
                answer.body
            );
        }
        let yard = PATH.replace("door", "yard");
        assert_eq!(server.get(&yard, &[("authorization", &anna)]).await.status, StatusCode::FORBIDDEN);
    }
}
