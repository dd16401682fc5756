//! `/volumes`: the disks behind it all. For administrators of all cameras.

use super::App;
use crate::control::VolumeState;
use crate::extract::Json;
use crate::gate::Administrator;
use crate::problem::Problem;
use axum::extract::State;
use keha_fs::Health;
use keha_player::units::time::rfc3339;
use serde::Serialize;
use utoipa::ToSchema;

/// A volume.
#[derive(Serialize, ToSchema)]
pub(super) struct VolumeDocument {
    name: String,
    /// What is wrong with it, if anything is: it is missing, not written, or its disk fails.
    failed: Option<String>,
    /// Of a volume that can be read: its identity.
    #[schema(pattern = "^[0-9a-f-]{36}$")]
    id: Option<String>,
    label: Option<String>,
    size_bytes: Option<u64>,
    block_bytes: Option<u32>,
    blocks: Option<u32>,
    free_blocks: Option<u64>,
    held_blocks: Option<u32>,
    /// Of a volume that is being written: when its last round ended.
    #[schema(format = DateTime)]
    last_round: Option<String>,
    /// Bytes written since the server was started.
    written_bytes: Option<u64>,
    /// Bytes that wait for the disk.
    waiting_bytes: Option<u64>,
    /// Of a volume that is being written: what does its I/O.
    #[schema(pattern = "^(io_uring|threads)$")]
    io_engine: Option<String>,
    /// How many requests its disk sees at once, at most.
    io_depth: Option<usize>,
    /// Why threads do its I/O where io_uring would have been taken.
    io_why_threads: Option<String>,
}

/// The volumes.
#[utoipa::path(get, path = "/volumes", tag = "system", responses((status = 200, description = "The volumes", body = Vec<VolumeDocument>)))]
pub(super) async fn list(
    State(app): State<App>,
    Administrator(identity): Administrator,
) -> Result<Json<Vec<VolumeDocument>>, Problem> {
    let states = app.control(|control| Ok(control.volumes())).await?;
    let documents = app.read(identity.name.clone(), move |app| {
        Ok(app.services.library.volumes().iter().map(|name| document(app, name, &states)).collect::<Vec<_>>())
    });
    documents.await.map(Json)
}

fn document(app: &App, name: &str, states: &[VolumeState]) -> VolumeDocument {
    let state = states.iter().find(|state| state.name == name);
    let round = state.and_then(|state| state.round.as_ref());
    let io = state.and_then(|state| state.io.as_ref());
    let snapshot = app.snapshot(name);
    let unreadable = snapshot.as_ref().err().map(ToString::to_string);
    let failing = round.and_then(|round| match &round.health {
        Health::Good => None,
        Health::Failing { error } => Some(error.clone()),
    });
    let snapshot = snapshot.ok();
    let volume = snapshot.as_ref().map(|snapshot| &snapshot.volume);
    let info = volume.map(|volume| volume.info());
    VolumeDocument {
        name: name.to_owned(),
        failed: unreadable.or_else(|| state.and_then(|state| state.failed.clone())).or(failing),
        id: info.map(|info| info.id.to_string()),
        label: info.map(|info| info.label.clone()),
        size_bytes: info.map(|info| info.size_bytes),
        block_bytes: info.map(|info| info.block_bytes),
        blocks: info.map(|info| info.blocks),
        free_blocks: volume.map(keha_fs::Volume::free_blocks),
        held_blocks: round.map(|round| round.holds.held_blocks),
        last_round: round.map(|round| rfc3339(round.at)),
        written_bytes: round.map(|round| round.written_bytes),
        waiting_bytes: round.map(|round| round.waiting_bytes),
        io_engine: io.map(|io| io.kind.to_string()),
        io_depth: io.map(|io| io.depth),
        io_why_threads: io.and_then(|io| io.why_threads.clone()),
    }
}
