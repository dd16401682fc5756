//! A file of footage: prepared, and the volumes that it is written from.

use crate::app::App;
use crate::prepared::{Asked, Kept};
use crate::problem::Problem;
use axum::http::StatusCode;
use keha_fs::{ReadPurpose, StreamId, Volume, VolumeId};
use keha_player::footage::{FootageRequest, Standing, prepare_of};
use keha_player::library::{Snapshot, Whole};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// A file.
pub(crate) struct Filed {
    /// What it is written from.
    pub(crate) volumes: Vec<Arc<Snapshot>>,
    pub(crate) prepared: Arc<Kept>,
    /// Its streams.
    pub(crate) streams: Vec<Whole>,
    /// Volumes that do not answer and may have part of the range: it is not in the file.
    pub(crate) missing: Vec<String>,
}

/// Lays a file out, or finds it laid out: of all that there is of its streams, or of what these volumes have alone. Blocks, for as long as it
/// is wanted.
///
/// # Errors
/// 503 where one of the volumes that are named does not answer.
pub(crate) fn filed(
    app: &App,
    request: &FootageRequest,
    only: Option<&[VolumeId]>,
    is_wanted: &dyn Fn() -> bool,
) -> Result<Filed, Problem> {
    if request.streams.is_empty() {
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "streams: name at least one"));
    }
    let mut streams = Vec::with_capacity(request.streams.len());
    for name in &request.streams {
        streams.push(app.whole(name)?);
    }
    let missing = missing(&streams, request);
    if let Some(only) = only {
        let there: BTreeSet<VolumeId> = each_part(&streams).map(|(id, _)| id).collect();
        // One that nobody knows any more is another thing: then the file comes out as another one.
        if only.iter().any(|id| !there.contains(id)) && !missing.is_empty() {
            let why = format!("{}: no answer, and it may have part of it", missing.join(", "));
            return Err(Problem::wait(StatusCode::SERVICE_UNAVAILABLE, &why, Duration::from_secs(10)));
        }
        for whole in &mut streams {
            let within = whole.in_volumes(only);
            // One that has nothing of the range is in none of them.
            if !within.parts().is_empty() {
                *whole = within;
            }
        }
    }
    let volumes: BTreeMap<VolumeId, Arc<Snapshot>> = each_part(&streams).collect();
    let standing = volumes.values().map(|snapshot| {
        let ids = streams.iter().filter_map(|whole| {
            let mine = whole.parts().iter().find(|part| part.snapshot.name == snapshot.name)?;
            Some(mine.stream.id)
        });
        Standing::of(&snapshot.index, &ids.collect::<Vec<StreamId>>(), request.range)
    });
    let asked = Asked {
        volumes: volumes.keys().copied().collect(),
        request: request.clone(),
        standing: standing.collect(),
    };
    let prepared =
        app.desk.prepare(asked, is_wanted, |is_wanted| prepare_of(&streams, request, is_wanted))?;
    Ok(Filed { volumes: volumes.into_values().collect(), prepared, streams, missing })
}

/// The same looks at volumes, for who reads much of them.
pub(crate) fn in_bulk(volumes: &[Arc<Snapshot>]) -> Vec<Volume> {
    volumes.iter().map(|snapshot| snapshot.volume.clone().reading_for(ReadPurpose::Bulk)).collect()
}

fn each_part(streams: &[Whole]) -> impl Iterator<Item = (VolumeId, Arc<Snapshot>)> {
    let parts = streams.iter().flat_map(|whole| whole.parts());
    parts.map(|part| (part.volume().info().id, Arc::clone(&part.snapshot)))
}

/// The volumes that do not answer and may have part of the range.
fn missing(streams: &[Whole], request: &FootageRequest) -> Vec<String> {
    let all = streams.iter().flat_map(|whole| whole.missing_in(request.range));
    all.collect::<BTreeSet<_>>().into_iter().collect()
}
