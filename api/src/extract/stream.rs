//! Cameras and streams in paths, with what whoever asks may do with them. A handler of a camera's path takes one of these: so none forgets
//! to ask.
//!
//! Of a camera that somebody may not see he is told the same whether it is there or not.

use crate::auth::{Grant, Identity};
use crate::extract::Path;
use crate::gate::Asking;
use crate::problem::Problem;
use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use keha_fs::StreamName;
use serde::Deserialize;
use std::sync::Arc;

/// The name in paths of a camera's main stream.
const MAIN: &str = "main";

/// A stream's name as paths have it behind its camera's.
pub(crate) fn path_name(stream: &StreamName) -> &str {
    stream.as_str().split_once('/').map_or(MAIN, |(_, sub)| sub)
}

/// Whoever asks may see this camera, or this stream of it.
pub(crate) struct Watched {
    /// Who.
    pub(crate) identity: Arc<Identity>,
    /// The camera.
    pub(crate) camera: String,
    /// The stream; the main one where the path names none.
    pub(crate) stream: StreamName,
}

/// Whoever asks may change this camera, its recording and its holds.
pub(crate) struct Changed(pub(crate) Watched);

#[derive(Deserialize)]
struct Named {
    camera: String,
    stream: Option<String>,
}

impl Watched {
    /// The stream that a path names.
    fn name(camera: &str, stream: Option<&str>) -> Option<StreamName> {
        let name = match stream {
            None | Some(MAIN) => StreamName::new(camera).ok(),
            Some(sub) => StreamName::new(&format!("{camera}/{sub}")).ok(),
        };
        name.filter(|name| name.camera() == camera)
    }

    async fn permitted<S: Send + Sync>(
        parts: &mut Parts,
        state: &S,
        may: fn(&Grant, &str) -> bool,
    ) -> Result<Watched, Problem> {
        let Asking(identity) = Asking::from_request_parts(parts, state).await?;
        let Path(Named { camera, stream }) = Path::from_request_parts(parts, state).await?;
        if !may(&identity.grant, &camera) {
            return Err(Problem::forbidden("this camera is not yours to see or to change"));
        }
        let name = Watched::name(&camera, stream.as_deref());
        let name = name.ok_or_else(|| {
            Problem::new(StatusCode::NOT_FOUND, "there is no such camera or stream: see /api/v1/cameras")
        })?;
        Ok(Watched { identity, camera, stream: name })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Watched {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Watched, Problem> {
        Watched::permitted(parts, state, Grant::may_see).await
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Changed {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Changed, Problem> {
        Watched::permitted(parts, state, Grant::may_change).await.map(Changed)
    }
}

#[cfg(test)]
mod tests {
    use super::Watched;

    #[test]
    fn paths_name_streams_and_nothing_else() {
        let table = [
            ("front", None, Some("front")),
            ("front", Some("main"), Some("front")),
            ("front", Some("sub"), Some("front/sub")),
            ("front", Some(".."), None),
            ("front", Some("a/b"), None),
            ("front/sub", None, None),
            ("front/sub", Some("main"), None),
            ("", None, None),
            ("Front", None, None),
        ];
        for (camera, stream, expected) in table {
            let name = Watched::name(camera, stream);
            assert_eq!(name.as_ref().map(|name| name.as_str()), expected, "{camera} {stream:?}");
        }
    }
}
