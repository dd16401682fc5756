//! Footage as a file: Matroska, MP4, fragmented MP4.
//!
//! MP4 has a known length, and any range of its bytes can be asked for. The other two begin to come at once and have no length; who
//! wants to go on where a download of them broke off makes a named export. Where volumes do not answer that may have part of it, the rest is
//! given, and `X-Keha-Missing-Volumes` says which they are.

use super::{App, MOMENT, told_missing};
use crate::auth::Identity;
use crate::downloads;
use crate::etag::is_known;
use crate::extract::{Query, RangeQuery, Watched};
use crate::filed::{Filed, filed};
use crate::gate::Asking;
use crate::lease::{in_danger, lease};
use crate::problem::Problem;
use crate::ranges;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use keha_fs::StreamName;
use keha_player::footage::{FootageRequest, Format, Prepared};
use keha_player::units::time::rfc3339;
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

/// The most streams of a file.
const STREAMS_MAX: usize = 64;

/// A container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Container {
    /// Matroska: all that was recorded, byte for byte.
    Mkv,
    /// MP4 of known length.
    #[default]
    Mp4,
    /// MP4 in fragments, which plays while it comes.
    Fmp4,
}

impl Container {
    pub(crate) fn format(self) -> Format {
        match self {
            Container::Mkv => Format::Mkv,
            Container::Mp4 => Format::Mp4,
            Container::Fmp4 => Format::FragmentedMp4,
        }
    }
}

/// How the file is to be.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Wanted {
    /// `mp4` if left out.
    #[serde(default)]
    format: Container,
    /// Which part, from 1, where the footage does not fit into one file.
    part: Option<usize>,
    /// Whether browsers show it instead of saving it.
    #[serde(default)]
    inline: bool,
}

/// Which streams.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// Names of cameras (`door`) and their further streams (`door/sub`), with commas between them.
    streams: String,
}

/// Footage of a stream as a file.
#[utoipa::path(get, path = "/cameras/{camera}/streams/{stream}/footage", tag = "footage", params(RangeQuery, Wanted,
        ("camera" = String, Path, description = "Its name"), ("stream" = String, Path, description = "`main`, or the name of a further stream")),
    responses((status = 200, description = "The file", content_type = "video/mp4", body = Vec<u8>), (status = 206, description = "A range of an MP4 file's bytes"),
        (status = 304, description = "The client has it"), (status = 404, description = "Nothing is recorded there"), (status = 409, description = "It does not fit into one file: choose a part"),
        (status = 416, description = "The file has no such bytes"), (status = 422, description = "The range or the format does not do"), (status = 503, description = "Too many downloads at a time")))]
pub(super) async fn of_stream(
    State(app): State<App>,
    watched: Watched,
    method: Method,
    headers: HeaderMap,
    Query(range): Query<RangeQuery>,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Problem> {
    let request = wanted.request(vec![watched.stream], &range)?;
    let asked = Manner { method, headers, inline: wanted.inline };
    answer(app, &watched.identity, request, asked).await
}

/// Footage of several streams, on one clock, as one file.
#[utoipa::path(get, path = "/footage", tag = "footage", params(RangeQuery, Wanted, Which),
    responses((status = 200, description = "The file", content_type = "video/mp4", body = Vec<u8>), (status = 206, description = "A range of an MP4 file's bytes"),
        (status = 304, description = "The client has it"), (status = 404, description = "Nothing is recorded there"), (status = 409, description = "It does not fit into one file: choose a part"),
        (status = 416, description = "The file has no such bytes"), (status = 422, description = "The streams, the range or the format does not do"), (status = 503, description = "Too many downloads at a time")))]
pub(super) async fn of_several(
    State(app): State<App>,
    Asking(identity): Asking,
    method: Method,
    headers: HeaderMap,
    Query(range): Query<RangeQuery>,
    Query(wanted): Query<Wanted>,
    Query(which): Query<Which>,
) -> Result<Response, Problem> {
    let request = wanted.request(named(&identity, which.streams.split(','))?, &range)?;
    let asked = Manner { method, headers, inline: wanted.inline };
    answer(app, &identity, request, asked).await
}

/// The streams of these names, if all may be seen.
pub(super) fn named<'a>(
    identity: &Identity,
    names: impl Iterator<Item = &'a str>,
) -> Result<Vec<StreamName>, Problem> {
    let refused = |why: String| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, why);
    let mut streams = Vec::new();
    for name in names {
        let stream = StreamName::new(name).map_err(|error| refused(format!("streams: {error}")))?;
        if !identity.grant.may_see(stream.camera()) {
            return Err(Problem::forbidden("one of these cameras is not yours to see"));
        }
        streams.push(stream);
    }
    if streams.len() > STREAMS_MAX {
        return Err(refused(format!("streams: a file has at most {STREAMS_MAX}")));
    }
    Ok(streams)
}

/// How it is asked for.
pub(super) struct Manner {
    pub(super) method: Method,
    pub(super) headers: HeaderMap,
    pub(super) inline: bool,
}

impl Wanted {
    fn request(&self, streams: Vec<StreamName>, range: &RangeQuery) -> Result<FootageRequest, Problem> {
        Ok(FootageRequest { streams, range: range.range()?, format: self.format.format(), part: self.part })
    }
}

async fn answer(
    app: App,
    identity: &Identity,
    request: FootageRequest,
    asked: Manner,
) -> Result<Response, Problem> {
    let place = app.downloads.place(&identity.name)?;
    // The place goes along with the work: it is taken until that ends, also where the client is gone.
    let (filed, place) = app
        .read_while(identity.name.clone(), move |app, is_wanted| {
            Ok((filed(app, &request, is_wanted)?, place))
        })
        .await?;
    let Filed { volumes, prepared, streams, missing } = filed;
    let length = prepared.bytes();
    let body = |bytes| {
        let (from, to) = prepared.moments();
        let held = (place, lease(&app, in_danger(&streams, from, to), from, to));
        downloads::body(volumes, Arc::clone(&prepared), bytes, None, held)
    };
    Ok(told_missing(answer_file(&asked, length, &prepared, body)?, &missing))
}

/// The answer for a file of this length, if it is known.
pub(super) fn answer_file(
    asked: &Manner,
    length: Option<u64>,
    prepared: &Prepared,
    body: impl FnOnce(Range<u64>) -> Body,
) -> Result<Response, Problem> {
    let text = |text: String| HeaderValue::from_str(&text).map_err(|error| Problem::internal(&error));
    let tag = text(format!("\"{}\"", prepared.entity_tag()))?;
    let disposition = if asked.inline { "inline" } else { "attachment" };
    let mut headers = HeaderMap::new();
    headers.insert(header::ETAG, tag.clone());
    headers.insert(header::CONTENT_TYPE, text(prepared.content_type())?);
    headers.insert(MOMENT, text(rfc3339(prepared.moments().0))?);
    let named = format!("{disposition}; filename=\"{}\"", prepared.file_name());
    headers.insert(header::CONTENT_DISPOSITION, text(named)?);
    let known: Vec<HeaderValue> = asked.headers.get_all(header::IF_NONE_MATCH).iter().cloned().collect();
    if is_known(&known, &tag) {
        return Ok((StatusCode::NOT_MODIFIED, headers).into_response());
    }
    let (status, bytes) = match length {
        None => (StatusCode::OK, 0..u64::MAX),
        Some(length) => {
            headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
            match asked.part(length, &tag) {
                ranges::Asked::Whole => (StatusCode::OK, 0..length),
                ranges::Asked::Part(range) => {
                    let last = range.end.saturating_sub(1);
                    headers.insert(
                        header::CONTENT_RANGE,
                        text(format!("bytes {}-{last}/{length}", range.start))?,
                    );
                    (StatusCode::PARTIAL_CONTENT, range)
                }
                ranges::Asked::Nothing => {
                    let problem = Problem::new(
                        StatusCode::RANGE_NOT_SATISFIABLE,
                        format!("the file has {length} bytes"),
                    );
                    return Ok(problem
                        .with(header::CONTENT_RANGE, text(format!("bytes */{length}"))?)
                        .into_response());
                }
            }
        }
    };
    if length.is_some() {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes.end - bytes.start));
    }
    let body = if asked.method == Method::HEAD { no_body() } else { body(bytes) };
    Ok((status, headers, body).into_response())
}

impl Manner {
    /// What of a file is asked for. A range is one of what GET gives, and of nothing else (RFC 9110, section 14.2).
    fn part(&self, length: u64, tag: &HeaderValue) -> ranges::Asked {
        if self.method == Method::GET {
            ranges::Asked::of(&self.headers, length, tag)
        } else {
            ranges::Asked::Whole
        }
    }
}

/// The body of an answer to HEAD. One that is known to be empty would be told as `Content-Length: 0`, which GET does not have (RFC 9110,
/// section 8.6).
fn no_body() -> Body {
    Body::from_stream(tokio_stream::empty::<std::io::Result<Bytes>>())
}

#[cfg(test)]
mod tests {
    use super::{Manner, no_body};
    use crate::ranges;
    use axum::Router;
    use axum::body::Body;
    use axum::http::{HeaderMap, HeaderValue, Method, Request, header};
    use axum::routing::get;
    use tower::ServiceExt;

    #[tokio::test]
    async fn head_tells_no_length_that_get_does_not() {
        let router: Router = Router::new().route("/", get(async || no_body()));
        let request = Request::head("/").body(Body::empty()).expect("a request");
        let answer = router.oneshot(request).await.expect("an answer");
        assert!(!answer.headers().contains_key(header::CONTENT_LENGTH), "{:?}", answer.headers());
    }

    #[test]
    fn a_range_is_asked_for_by_get_alone() {
        let (headers, tag) = (
            HeaderMap::from_iter([(header::RANGE, HeaderValue::from_static("bytes=0-4"))]),
            HeaderValue::from_static("x"),
        );
        for (method, expected) in
            [(Method::GET, ranges::Asked::Part(0..5)), (Method::HEAD, ranges::Asked::Whole)]
        {
            let manner = Manner { method, headers: headers.clone(), inline: false };
            assert_eq!(manner.part(10, &tag), expected);
        }
    }
}
