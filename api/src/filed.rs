//! A file of footage: prepared, and the volumes that it is written from.

use crate::app::App;
use crate::exports::Export;
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

/// Lays a file out, or finds it laid out: of all that there is of its streams. Blocks, for as long as it is wanted.
///
/// # Errors
/// What is wrong with the request, and with the volumes.
pub(crate) fn filed(
    app: &App,
    request: &FootageRequest,
    is_wanted: &dyn Fn() -> bool,
) -> Result<Filed, Problem> {
    let streams = streams_of(app, request)?;
    let missing = missing(&streams, request);
    laid_out(app, request, streams, missing, is_wanted)
}

/// The same of an export: of the volumes alone that were looked at when it was made. Whatever another one has that did not answer then, it
/// is the same file.
///
/// # Errors
/// 503 where one of those volumes does not answer, and the file cannot be had without; 410 where it comes out as another one.
pub(crate) fn filed_again(
    app: &App,
    export: &Export,
    is_wanted: &dyn Fn() -> bool,
) -> Result<Filed, Problem> {
    let request = export.request().ok_or_else(Problem::changed)?;
    let mut streams = streams_of(app, &request)?;
    let missing = missing(&streams, &request);
    let there: BTreeSet<VolumeId> = each_part(&streams).map(|(id, _)| id).collect();
    // One that nobody knows any more is another thing: then the file comes out as another one.
    let is_away = |id: &VolumeId| !missing.is_empty() && !there.contains(id);
    let why = format!("{}: no answer, and it may have part of it", missing.join(", "));
    let later = || Problem::wait(StatusCode::SERVICE_UNAVAILABLE, &why, Duration::from_secs(10));
    let (needed, looked_at) = (export.needed(), export.looked_at());
    if needed.iter().any(is_away) {
        return Err(later());
    }
    for whole in &mut streams {
        let within = whole.in_volumes(&looked_at);
        // Nothing is noted of those that were made by an earlier version and have nothing of a stream.
        if !within.parts().is_empty() {
            *whole = within;
        }
    }
    let filed = laid_out(app, &request, streams, missing.clone(), is_wanted);
    match filed {
        Ok(filed) if filed.prepared.entity_tag() == export.tag => Ok(filed),
        // What they had may have been another part, or the name of what has none.
        _ if looked_at.iter().any(is_away) => Err(later()),
        Ok(_) => Err(Problem::changed()),
        Err(problem) => Err(problem),
    }
}

fn streams_of(app: &App, request: &FootageRequest) -> Result<Vec<Whole>, Problem> {
    if request.streams.is_empty() {
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "streams: name at least one"));
    }
    Ok(request.streams.iter().map(|name| app.whole(name)).collect::<keha_player::Result<_>>()?)
}

fn laid_out(
    app: &App,
    request: &FootageRequest,
    streams: Vec<Whole>,
    missing: Vec<String>,
    is_wanted: &dyn Fn() -> bool,
) -> Result<Filed, Problem> {
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
